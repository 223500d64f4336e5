"""Making tokens, for applications that log their own users in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .access import TYPE, AccessTokens, read_less
from .bridge import run
from .claims import read_claims
from .errors import InvalidGrant
from .jose import Key
from .keys import OwnKeys, read_signing_keys
from .options import (
    SCOPE,
    TEXT,
    read_clock,
    read_date,
    read_issuer,
    read_one_or_several,
    read_seconds,
    read_words,
)
from .pair import TokenPair
from .refresh import Grant
from .sessions import Sessions, read_limits, read_whole
from .store import Store
from .tracebacks import shows_no_token
from .trust import MOST_LEEWAY, TrustedIssuer

LONGEST_ACCESS = 86400
"""Seconds; what a verifier accepts by default.  RFC 6750 §5.3 advises an hour."""


class TokenIssuer:
    """Signs access tokens for users whom the application has logged in (RFC 9068).

    >>> key = Key.generate()
    >>> issuer = TokenIssuer("https://app.example.com", audience="app", key=key)
    >>> auth = Authenticator(issuer.trusted())
    >>> pair = issuer.issue("alice", scope=("read",), name="Alice")
    >>> auth.authenticate(pair.access_token)["name"]
    'Alice'

    - *issuer*: the ``iss``; the URL of the application.
    - *audience*: the ``aud``; one string or several.
    - *key*: a `Key` or several; the first signs, all are published.
    - *store*: where the use of refresh tokens is marked; without one there are none.
    - *access_lifetime*: seconds, 600 by default, at most 86400.
    - *session_lifetime*: seconds from the login, however often it is refreshed.
    - *idle_lifetime*: seconds for which a refresh token may lie unused; None means
      the whole session.
    - *reuse_leeway*: seconds, at most 10, for which a refresh token that was used
      gives the same successor again, for browser tabs that race.
    - *leeway*: seconds by which the clocks of the workers may differ, from 1 to 300;
      an expired token is accepted for as long.

    Raises ValueError for a key that cannot sign and for lifetimes out of bounds.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Iterable[str],
        key: Key | Sequence[Key],
        store: Store | None = None,
        access_lifetime: float = 600,
        session_lifetime: float = 28800,
        idle_lifetime: float | None = None,
        reuse_leeway: float = 0,
        leeway: float = 30,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = read_issuer(issuer)
        self._audience = read_one_or_several("audience", audience, TEXT)
        self._keys = read_signing_keys(key)
        self._lifetime = read_whole("access_lifetime", access_lifetime, LONGEST_ACCESS)
        limits = read_limits(
            self._lifetime, store, session_lifetime, idle_lifetime, reuse_leeway
        )
        # Marks on a session have to last for as long as it can be refreshed.
        max_lifetime = max(LONGEST_ACCESS, limits.lifetime)
        self._trusted = self._trust(leeway, max_lifetime)
        self._trusted.session_store = store
        self._access = AccessTokens(self._trusted, self._audience, self._keys[0])
        self._now = read_clock(now)
        self._sessions = Sessions(self._trusted, self._keys, store, limits, self._now)

    def _trust(self, leeway: float, max_lifetime: float) -> TrustedIssuer:
        return TrustedIssuer(
            self.issuer,
            audience=self._audience,
            keys=OwnKeys(*self._keys),
            types=(TYPE,),
            leeway=read_seconds("leeway", leeway, least=1, most=MOST_LEEWAY),
            max_lifetime=max_lifetime,
        )

    @property
    def reuse_leeway(self) -> float:
        """Seconds for which tabs may race; none without refresh tokens."""
        return self._sessions.reuse_leeway

    @property
    def has_sessions(self) -> bool:
        """Whether there are refresh tokens, and sessions that can be ended."""
        return self._sessions.are_kept

    @property
    def is_renewable(self) -> bool:
        """Whether a refresh token outlives the access token that it comes with."""
        longest = self._lifetime + self._trusted.policy.leeway
        return not self.has_sessions or self._sessions.idle_lifetime > longest

    @shows_no_token
    def issue(
        self, subject: str, *, scope: str | Iterable[str] = (), **claims: Any
    ) -> TokenPair:
        """Make tokens for *subject*, who has just logged in: a new session.

        *scope* is one scope or several; *claims* are added as they are.  Anyone who
        holds the token can read them, so a name that clearly carries a secret is
        refused, like those that this method sets itself; only ``client_id`` may be
        given, and is the issuer else.  ``auth_time`` is now, unless it is given; for
        step-up (RFC 9470) add ``acr`` and ``amr``.  Raises ValueError, and with a
        store RevocationsUnavailable.  In a coroutine, await `aissue`.
        """
        return run(self.aissue(subject, scope=scope, **claims))

    @shows_no_token
    async def aissue(
        self, subject: str, *, scope: str | Iterable[str] = (), **claims: Any
    ) -> TokenPair:
        """Make tokens for a new session, like `issue`."""
        several = filter(None, scope.split(" ")) if isinstance(scope, str) else scope
        scopes = read_words("scope", several, SCOPE)
        # RFC 9068 §2.2.1: the moment of the login, however often it is refreshed.
        added = read_claims({"auth_time": int(self._now()), **claims})
        read_date("auth_time", added["auth_time"])
        if not isinstance(subject, str) or not subject:
            raise ValueError(
                f"subject must be a string that is not empty, not {subject!r}"
            )
        grant = await self._sessions.begin(subject, scopes, added)
        return self._pair(grant, scopes)

    @shows_no_token
    def refresh(
        self, refresh_token: str, *, scope: str | Iterable[str] | None = None
    ) -> TokenPair:
        """Take a refresh token for new tokens of its session; it is used up by that.

        One that comes again ends the whole session, unless it comes within
        *reuse_leeway*: then the same successor is returned.  *scope* may only be
        less than was granted, and is so for the access token alone.  Raises
        InvalidGrant, and RevocationsUnavailable.  In a coroutine, await `arefresh`.
        """
        return run(self.arefresh(refresh_token, scope=scope))

    @shows_no_token
    async def arefresh(
        self, refresh_token: str, *, scope: str | Iterable[str] | None = None
    ) -> TokenPair:
        """Take a refresh token for new tokens, like `refresh`."""
        grant = await self._sessions.read(refresh_token)
        scopes = read_less(scope, grant.scopes)
        return self._pair(await self._sessions.use(grant), scopes)

    @shows_no_token
    async def apeek(
        self, refresh_token: str, *, beside: str | None = None
    ) -> TokenPair:
        """The tokens of the session as it stands; *refresh_token* stays unused.

        For who has to answer a request before the session may go on.  Raises like
        `arefresh`: one that was used before ends the session.  *beside* is an access
        token that was sent with it, and has to be of the same session.
        """
        grant = await self._sessions.read(refresh_token)
        if beside is not None:
            self._sessions.ensure_same_session(grant, beside)
        await self._sessions.ensure_unused(grant)
        return self._pair(grant, grant.scopes)

    @shows_no_token
    async def arenew(self, refresh_token: str) -> TokenPair | None:
        """Take a refresh token that `apeek` found unused for new tokens.

        None where another request was faster, which is no theft.
        """
        grant = await self._sessions.read(refresh_token)
        successor = await self._sessions.try_use(grant)
        return None if successor is None else self._pair(successor, grant.scopes)

    @shows_no_token
    def end_session(self, refresh_token_or_sid: str) -> None:
        """End a session: its refresh token and its access tokens, in every worker.

        Raises InvalidGrant for what is neither a refresh token nor a session id of
        this issuer, such as a user's name; ValueError for what is not a string; and
        RevocationsUnavailable.  In a coroutine, await `aend_session`.
        """
        run(self.aend_session(refresh_token_or_sid))

    @shows_no_token
    async def aend_session(self, refresh_token_or_sid: str) -> None:
        """End a session, like `end_session`."""
        await self._sessions.end(refresh_token_or_sid)

    @shows_no_token
    async def aend_session_by(self, token: str) -> None:
        """End the session of which *token* is, a refresh token or an access token.

        For a text that a client sent: it must not be a ``sid``, which is no secret.
        """
        await self._sessions.end_by(token)

    def _pair(self, grant: Grant, scopes: Sequence[str]) -> TokenPair:
        now = max(int(self._now()), grant.issued_at)
        lifetime = int(min(self._lifetime, grant.ends_at - now))
        if lifetime <= 0:
            raise InvalidGrant("the session is at its end")
        refresh_token = self._sessions.write(grant)
        return TokenPair(
            self._access.write(grant, scopes, now, int(now) + lifetime),
            expires_in=lifetime,
            session_id=grant.session_id,
            refresh_token=refresh_token,
            refresh_expires_in=int(grant.expires_at - now) if refresh_token else None,
        )

    def jwks(self) -> dict[str, Any]:
        """The public keys, to be served as ``/.well-known/jwks.json`` (RFC 7517 §5).

        A secret is never among them.
        """
        published = [key.public.to_jwk() for key in self._keys if not key.is_symmetric]
        return {"keys": published}

    def trusted(self) -> TrustedIssuer:
        """What an `Authenticator` of the same application needs."""
        return self._trusted
