"""Refresh tokens: how a session goes on without a new login (RFC 6749 §6, RFC 9700).

They are for their issuer alone, so they are signed by a secret that is derived from
its key: no interface that takes access tokens has it, and two workers sign alike.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Any

from .compact import MAX_LENGTH, base64url_encode, read_json_object, write_json
from .errors import InvalidGrant, InvalidToken, TokenExpired, TokenNotYetValid
from .jose import Key, read_jws, sign_compact, verify_compact
from .policy import REFRESH_TYPE, Policy

TYPE = REFRESH_TYPE
UNNUMBERED = -1
"""The number of a refresh token that an earlier version wrote without one."""
WINDOW_USES = 128
"""Refreshes of one session, one after the other, in about a minute and a half."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a refresh token stands for, in one moment of its session."""

    subject: str = field(repr=False)
    session_id: str = field(repr=False)
    identifier: str = field(repr=False)
    issued_at: float
    started_at: float
    """When the session began.  After "log out everywhere" this is just after the date
    of the revocation, even if the clock is behind that date."""
    expires_at: int
    """When this token ends, used or not."""
    ends_at: int
    """When the session ends, however often it is refreshed."""
    scopes: tuple[str, ...]
    claims: Mapping[str, Any] = field(repr=False)
    generation: int = 0
    """The number of this token in its session."""
    window_started_at: float = 0
    """When the first refresh in the current window of `WINDOW_USES` was made."""


class RefreshTokens:
    """Writes and reads the refresh tokens of *issuer*; the first of *keys* signs.

    They give access tokens for *audience*, and for no other.  The clocks of workers
    differ by *leeway* seconds at most.
    """

    def __init__(
        self, issuer: str, audience: Iterable[str], keys: Sequence[Key], leeway: float
    ) -> None:
        self._issuer = issuer
        self._audience = sorted(audience)
        self._secrets = tuple(_derived(key) for key in keys if key.can_sign)
        self._policy = Policy(
            issuer=issuer,
            audiences=frozenset({issuer}),
            types=frozenset({TYPE}),
            leeway=leeway,
            max_lifetime=inf,
        )

    def write(self, grant: Grant) -> str:
        """Return the token.  The same grant gives the same text."""
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": grant.subject,
            "sid": grant.session_id,
            "jti": grant.identifier,
            "iat": grant.issued_at,
            "exp": grant.expires_at,
            "session_started_at": grant.started_at,
            "session_ends_at": grant.ends_at,
            "scope": " ".join(grant.scopes),
            "claims": dict(grant.claims),
            "generation": grant.generation,
            "window_started_at": grant.window_started_at,
            "audience": self._audience,
        }
        text = sign_compact({"typ": TYPE}, write_json(claims), self._secrets[0])
        if len(text) > MAX_LENGTH:
            raise ValueError(
                f"a refresh token of {len(text)} characters; none reads it"
            )
        return text

    def read(self, text: str, now: float) -> Grant:
        """Return what *text* stands for, though it may have been used.

        Raise InvalidGrant for what is forged, of another kind, or at its end.
        """
        grant = self.read_ended(text, now)
        if grant.expires_at <= now:  # by our own clock, and without leeway
            raise InvalidGrant(f"exp is {grant.expires_at}, now is {now:.0f}")
        if grant.issued_at > now + self._policy.leeway:
            raise InvalidGrant(f"iat is {grant.issued_at}, now is {now:.0f}")
        return grant

    def read_ended(self, text: str, now: float) -> Grant:
        """Return what *text* stands for, as for a logout.  Raise InvalidGrant."""
        if not isinstance(text, str):
            raise InvalidGrant(f"a {type(text).__name__} is not text")
        try:
            header, payload = verify_compact(text, self._secrets)
            claims = read_json_object(payload)
            with suppress(TokenExpired, TokenNotYetValid):
                self._policy.check(header, claims, now)
        except InvalidToken as error:
            why = f"{error.reason}: {error}{_advice(text)}"
            raise InvalidGrant(why) from error
        if claims.get("audience") != self._audience:
            raise InvalidGrant("it is for another audience")
        return Grant(
            subject=claims["sub"],
            session_id=claims["sid"],
            identifier=claims["jti"],
            issued_at=claims["iat"],
            # An earlier version did not write it.
            started_at=claims.get("session_started_at", claims["iat"]),
            expires_at=claims["exp"],
            ends_at=claims["session_ends_at"],
            scopes=tuple(claims["scope"].split()),
            claims=claims["claims"],
            generation=claims.get("generation", UNNUMBERED),
            window_started_at=claims.get("window_started_at", claims["iat"]),
        )

    def successor(self, grant: Grant, used_at: float, idle_lifetime: float) -> Grant:
        """The grant that follows *grant*, which was used at a moment.

        Nothing in it is random, nor of the key, which may just be changing: so all who
        were racing are given the same.  Only who holds *grant* knows its identifier.
        """
        digest = hashlib.sha256(f"after {grant.identifier}".encode()).digest()
        issued_at = max(int(used_at), grant.issued_at)
        is_first = grant.generation % WINDOW_USES == 0
        return replace(
            grant,
            identifier=base64url_encode(digest),
            issued_at=issued_at,
            expires_at=int(min(issued_at + idle_lifetime, grant.ends_at)),
            generation=grant.generation + 1,
            window_started_at=ceil(used_at) if is_first else grant.window_started_at,
        )


def _advice(text: str) -> str:
    """Return what to send if *text* says that it is another kind of token."""
    with suppress(InvalidToken):
        if read_jws(text).header.get("typ") != TYPE:
            return "; this is no refresh token of this issuer; send the refresh token"
    return ""


def _derived(key: Key) -> Key:
    """A secret that only who has the private *key* can make."""
    material = json.dumps(key.to_jwk(private=True), sort_keys=True).encode()
    secret = hmac.digest(material, b"jwt_middleware refresh tokens", "sha256")
    return Key.from_secret(secret, "HS256", kid=key.kid)
