"""From text to a token that we believe."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from .bridge import ask
from .cache import VerifiedTokens
from .compact import Compact, read_json_object
from .errors import (
    LifetimeExceeded,
    TokenExpired,
    TokenNotYetValid,
    UnknownIssuer,
    WrongType,
)
from .jose import Key, ensure_signed, read_jws
from .origins import Origin, Origins
from .policy import REFRESH_TYPE
from .pools import CHECKS
from .quoting import shown
from .revocation import Revocations
from .token import Token
from .trust import TrustedIssuer


class Verifier:
    """Issuers, keys, policy and revocations, in the one right order.

    1. Size, alphabet, three segments, strict JSON (`read_jws`).
    2. The issuer, among those that are trusted.
    3. Its keys that fit ``alg`` and ``kid``.
    4. The signature.
    5. Type, dates, audience and the other claims (`Policy`).
    6. Revocation.
    """

    def __init__(
        self,
        issuers: Mapping[str, TrustedIssuer],
        revocations: Revocations,
        now: Callable[[], float],
        cache_size: int = 0,
    ) -> None:
        self._origins = Origins()
        self._verified = VerifiedTokens(cache_size, self._origins)
        self._issuers = issuers
        self._revocations = revocations
        self._now = now

    async def verify(self, text: str) -> Token:
        """Return the token.  Raise InvalidToken, or Unavailable."""
        key = self._verified.key(text)
        token = None if key is None else self._verified.recall(key, self._now())
        if token is None:
            token = await self._verify(text, key)
        wait = self._revocations.ensure_live(token)
        if wait is not None:
            await wait
        return token

    async def verify_to_revoke(self, text: str) -> Token | None:
        """Return the token, though it may have been revoked or be valid later only.

        None where it has expired, so that nothing is left to take back.
        """
        origin, compact, claims = await self._read(text)
        try:
            origin.issuer.policy.check(compact.header, claims, self._now())
        except TokenExpired:
            return None
        except (TokenNotYetValid, LifetimeExceeded):
            pass  # it may become valid
        return _token(compact, claims)

    async def ensure_live(self, token: Token) -> None:
        """Raise InvalidToken if *token* has ended since it was verified: it expired, it
        was revoked, or its issuer has no key any more that its header may mean.

        Raise Unavailable if the store or the keys cannot be had.
        """
        if self.seconds_left(token) <= 0:
            raise TokenExpired(f"exp is {token.expires_at}")
        wait = self._revocations.ensure_live(token)
        if wait is not None:
            await wait
        await self._issuers[token.issuer].resolve(token.header)

    def seconds_left(self, token: Token) -> float:
        """Until *token* expires, leeway included."""
        leeway = self._issuers[token.issuer].policy.leeway
        return token.expires_at + leeway - self._now()

    async def _verify(self, text: str, key: bytes | None) -> Token:
        origin, compact, claims = await self._read(text)
        number = self._origins.learn(origin, compact.segment)
        policy = origin.issuer.policy
        begins, ends = policy.check(compact.header, claims, self._now())
        token = _token(compact, claims)
        if key is not None and number:
            digest = "" if claims.get("jti") else token.identifier
            self._verified.remember(key, (number, begins, ends, digest, claims))
        return token

    async def _read(self, text: str) -> tuple[Origin, Compact, dict[str, Any]]:
        """Take a token apart and check whose it is; its claims are not yet judged."""
        compact = read_jws(text, self._origins.headers)
        claims = read_json_object(compact.payload)
        if compact.header.get("typ") == REFRESH_TYPE:
            raise WrongType("a refresh token was sent; send the access token")
        issuer = self._issuer(claims)  # an unproved word, so it chooses among ours only
        origin = await self._signed(compact, issuer)
        self._revocations.note_issue(issuer.issuer, claims.get("iat"))
        return origin, compact, claims

    async def _signed(self, compact: Compact, issuer: TrustedIssuer) -> Origin:
        """Return the origin of what an issuer has signed.  Raise BadSignature."""
        origin = self._origins.found(issuer.issuer, compact.segment)
        if origin is None:
            held = issuer.held()
            fitting = await issuer.resolve(compact.header)
            # What was held before and after is what was chosen from, unless it was
            # exchanged for other keys meanwhile, and put back.
            if issuer.held() is not held or not _are_among(fitting, held):
                held = None
            is_dear = any(key.is_dear for key in fitting)
            origin = Origin(issuer, compact.header, fitting, held, is_dear)
        if not origin.is_dear:
            ensure_signed(compact, origin.fitting)
            return origin
        await ask(ensure_signed, compact, origin.fitting, pool=CHECKS)
        if origin.held is None or issuer.held() is origin.held:
            return origin
        return await self._signed(compact, issuer)  # its keys have changed meanwhile

    def _issuer(self, claims: Mapping[str, Any]) -> TrustedIssuer:
        iss = claims.get("iss")
        issuer = self._issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            expected = " or ".join(shown(name) for name in self._issuers)
            raise UnknownIssuer(f"iss is {shown(iss)}, expected {expected}")
        return issuer


def _are_among(chosen: Iterable[Key], held: object) -> bool:
    if not isinstance(held, Collection):  # None, or a slip of a source of one's own
        return False
    return all(any(key is one for one in held) for key in chosen)


def _token(compact: Compact, claims: Mapping[str, Any]) -> Token:
    digest = "" if claims.get("jti") else compact.digest
    return Token(compact.header, claims, digest)
