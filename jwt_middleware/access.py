"""Access tokens of our own, in the shape of RFC 9068."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from .compact import MAX_LENGTH, write_json
from .errors import InvalidScope, InvalidToken
from .jose import Key, sign_compact
from .refresh import Grant
from .trust import TrustedIssuer

TYPE = "at+jwt"


class AccessTokens:
    """Writes the access tokens of an issuer, signed with *key*."""

    def __init__(
        self, trusted: TrustedIssuer, audience: tuple[str, ...], key: Key
    ) -> None:
        self._trusted = trusted
        self._audience = audience
        self._key = key

    def write(
        self, grant: Grant, scopes: Sequence[str], issued_at: float, expires_at: int
    ) -> str:
        """Return a token.  Raise ValueError for one that would not be accepted."""
        audience = self._audience
        claims = {
            "client_id": self._trusted.issuer,  # the application is its own client
            **grant.claims,
            "iss": self._trusted.issuer,
            "sub": grant.subject,
            "aud": audience[0] if len(audience) == 1 else list(audience),
            "iat": issued_at,
            "exp": expires_at,
            "jti": secrets.token_urlsafe(16),
            "sid": grant.session_id,
            "session_started_at": grant.started_at,
        }
        if scopes:
            claims["scope"] = " ".join(scopes)
        try:
            self._trusted.policy.check({"typ": TYPE}, claims, issued_at)
        except InvalidToken as error:
            raise ValueError(f"no token that would be accepted: {error}") from None
        text = sign_compact({"typ": TYPE}, write_json(claims), self._key)
        if len(text) > MAX_LENGTH:
            raise ValueError(
                f"a token of {len(text)} characters; at most {MAX_LENGTH} are accepted"
            )
        return text


def read_less(
    scope: str | Iterable[str] | None, granted: Sequence[str]
) -> Sequence[str]:
    """Return the scopes that are asked for.  Raise InvalidScope if they are more."""
    if scope is None:
        return granted
    several = filter(None, scope.split(" ")) if isinstance(scope, str) else scope
    wanted = tuple(dict.fromkeys(several))  # each once, and as a client wrote it
    if more := set(wanted) - set(granted):
        raise InvalidScope(f"{len(more)} scopes more than were granted")
    return wanted
