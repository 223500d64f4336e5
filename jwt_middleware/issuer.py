"""Making tokens, for applications that log their own users in."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .compact import MAX_LENGTH, read_json_object, write_json
from .errors import InvalidToken, MalformedToken
from .jose import Key, sign_compact
from .options import (
    SCOPE,
    TEXT,
    read_clock,
    read_one_or_several,
    read_parts,
    read_seconds,
    read_word,
    read_words,
)
from .policy import FOREIGN_CLAIMS
from .trust import TrustedIssuer

TYPE = "at+jwt"
LONGEST_ACCESS = 86400
"""Seconds; what a verifier accepts by default.  RFC 6750 §5.3 advises an hour."""
OWN_CLAIMS = frozenset(
    {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "scope", "scp", "cnf"}
    | {"typ", "token_use", *FOREIGN_CLAIMS}
)
"""Names that we set ourselves, or that would make another kind of token."""

SECRET_NAMES = frozenset(
    """
    password passwd passphrase pwd pin otp secret client_secret api_key private_key
    secret_key access_token refresh_token id_token credit_card card_number pan cvc cvv
    cvv2 iban ssn social_security_number recovery_code security_answer
    """.replace("_", "").split()
)
"""Claims that are refused, compared without case, ``-`` and ``_``."""


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login gives."""

    access_token: str = field(repr=False)
    expires_in: int
    """Seconds from now."""
    session_id: str = field(repr=False)
    """``sid``; `Authenticator.revoke_session` ends it."""
    refresh_token: str | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The answer of a token endpoint (RFC 6749 §5.1), to be sent with
        ``Cache-Control: no-store``."""
        answer = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        return answer


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
    - *access_lifetime*: seconds, 600 by default, at most 86400.

    Raises ValueError for a key that cannot sign and for lifetimes out of bounds.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Iterable[str],
        key: Key | Sequence[Key],
        access_lifetime: float = 600,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = read_word("issuer", issuer)
        self._audience = read_one_or_several("audience", audience, TEXT)
        self._keys = (key,) if isinstance(key, Key) else read_parts("key", key, "sign")
        if not self._keys or not self._keys[0].can_sign:
            raise ValueError("key must be a private Key, or several, the first private")
        self._lifetime = int(
            read_seconds(
                "access_lifetime", access_lifetime, least=1, most=LONGEST_ACCESS
            )
        )
        self._trusted = TrustedIssuer(
            self.issuer, audience=self._audience, keys=self._keys, types=(TYPE,)
        )
        self._now = read_clock(now)

    def issue(
        self, subject: str, *, scope: str | Iterable[str] = (), **claims: Any
    ) -> TokenPair:
        """Make a token for *subject*, who has just logged in: a new session.

        *scope* is one scope or several; *claims* are added as they are.  Anyone who
        holds the token can read them, so a name that clearly carries a secret is
        refused, like those that this method sets itself; only ``client_id`` may be
        given, and is the issuer else.  Raises ValueError.
        """
        several = filter(None, scope.split(" ")) if isinstance(scope, str) else scope
        scopes = read_words("scope", several, SCOPE)
        added = read_claims(claims)
        if not isinstance(subject, str) or not subject:
            raise ValueError("subject must be a string that is not empty")
        now, audience = int(self._now()), self._audience
        payload = {
            "client_id": self.issuer,  # the application is its own client
            **added,
            "iss": self.issuer,
            "sub": subject,
            "aud": audience[0] if len(audience) == 1 else list(audience),
            "iat": now,
            "exp": now + self._lifetime,
            "jti": secrets.token_urlsafe(16),
            "sid": secrets.token_urlsafe(16),
        }
        if scopes:
            payload["scope"] = " ".join(scopes)
        self._ensure_acceptable(payload, now)
        text = _sign(payload, self._keys[0])
        return TokenPair(text, expires_in=self._lifetime, session_id=payload["sid"])

    def _ensure_acceptable(self, claims: Mapping[str, Any], now: float) -> None:
        try:
            self._trusted.policy.check({"typ": TYPE}, claims, now)
        except InvalidToken as error:
            raise ValueError(f"no token that would be accepted: {error}") from None

    def jwks(self) -> dict[str, Any]:
        """The public keys, to be served as ``/.well-known/jwks.json`` (RFC 7517 §5).

        A secret is never among them.
        """
        published = [key.public.to_jwk() for key in self._keys if not key.is_symmetric]
        return {"keys": published}

    def trusted(self) -> TrustedIssuer:
        """What an `Authenticator` of the same application needs."""
        return self._trusted


def read_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return *claims* as whoever verifies the token will read them.

    Raise ValueError for what is not JSON, and for what does not belong into a token
    that anyone who holds it can read.
    """
    try:
        plain = read_json_object(write_json(claims))
    except (TypeError, ValueError, RecursionError, MalformedToken):
        raise ValueError(
            "the claims are not plain JSON: strings, numbers, lists, objects"
        ) from None
    if taken := sorted(OWN_CLAIMS & plain.keys()):
        raise ValueError(
            f"the claim {taken[0]!r} is set by the issuer, or means another token"
        )
    for name in _names(plain):
        if re.sub(r"[-_]", "", name).lower() in SECRET_NAMES:
            raise ValueError(
                f"the claim {name!r} looks like a secret, and whoever holds a token "
                "can read it: a JWT is signed, not encrypted; keep it in your database"
            )
    return plain


def _names(value: Any) -> Iterator[str]:
    """Every name in a JSON value, at any depth."""
    members = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict):
        yield from value
    if isinstance(value, (dict, list)):
        for member in members:
            yield from _names(member)


def _sign(claims: Mapping[str, Any], key: Key) -> str:
    text = sign_compact({"typ": TYPE}, write_json(claims), key)
    if len(text) > MAX_LENGTH:
        raise ValueError(
            f"a token of {len(text)} characters; at most {MAX_LENGTH} are accepted"
        )
    return text
