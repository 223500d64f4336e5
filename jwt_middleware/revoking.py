"""The methods of an `Authenticator` that take tokens back."""

from __future__ import annotations

from .bridge import run
from .revocation import Revocations
from .token import Token
from .tracebacks import shows_no_token
from .verifier import Verifier


class Revoking:
    """The methods of an `Authenticator` that revoke, in the store that it was given."""

    _revocations: Revocations
    _verifier: Verifier

    @shows_no_token
    def revoke(self, token: Token | str) -> None:
        """Take back one token, given as a `Token` or as its text.

        Raise `InvalidToken` if a text does not verify; an expired token needs no
        revocation.  This and the other three methods raise `RevocationsUnavailable` if
        the store fails: the revocation may not have been written; try again.  With a
        store that needs an event loop, and in a coroutine, await `arevoke` and so on.
        """
        run(self.arevoke(token))

    @shows_no_token
    async def arevoke(self, token: Token | str) -> None:
        """Take back one token, like `revoke`."""
        self._revocations.demand_store()
        if isinstance(token, str):
            found = await self._verifier.verify_to_revoke(token)
        elif isinstance(token, Token):
            found = token
        else:  # such as None: a logout must not quietly do nothing
            raise ValueError(f"give a Token or its text, not {type(token).__name__}")
        if found is not None:
            await self._revocations.revoke_token(found)

    def revoke_jti(self, jti: str, issuer: str | None = None) -> None:
        """Take back the token with this ``jti``.

        *issuer* may be left out, here and below, if there is only one.
        """
        run(self.arevoke_jti(jti, issuer))

    async def arevoke_jti(self, jti: str, issuer: str | None = None) -> None:
        """Take back the token with this ``jti``, like `revoke_jti`."""
        await self._revocations.revoke_jti(jti, issuer)

    def revoke_session(self, sid: str, issuer: str | None = None) -> None:
        """Take back every token of a session (``sid``), whenever it was issued."""
        run(self.arevoke_session(sid, issuer))

    async def arevoke_session(self, sid: str, issuer: str | None = None) -> None:
        """Take back the tokens of a session, like `revoke_session`."""
        await self._revocations.revoke_session(sid, issuer)

    def revoke_subject(
        self, sub: str, issuer: str | None = None, before: float | None = None
    ) -> None:
        """Take back every token that was issued to a subject until *before*.

        *before* is in seconds since 1970 and defaults to now.  It is compared with
        ``iat``, by the issuer's clock; a token of the same second counts as issued
        before.  For a `TokenIssuer`, the beginning of the session is compared, less the
        leeway; a login after this call works at once all the same.
        """
        run(self.arevoke_subject(sub, issuer, before))

    async def arevoke_subject(
        self, sub: str, issuer: str | None = None, before: float | None = None
    ) -> None:
        """Take back the tokens of a subject, like `revoke_subject`."""
        await self._revocations.revoke_subject(sub, issuer, before)
