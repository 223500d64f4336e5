"""What an application may put into a token, which anyone who holds it can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .compact import read_json_object, write_json
from .errors import MalformedToken
from .kinds import FOREIGN_CLAIMS
from .quoting import shown

OWN_CLAIMS = frozenset(
    {"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "scope", "scp", "cnf"}
    | {"typ", "token_use", "session_started_at", *FOREIGN_CLAIMS}
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


def read_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return *claims* as whoever verifies the token will read them.

    Raise ValueError for what is not JSON, and for what does not belong into a token
    that anyone who holds it can read.
    """
    plain: dict[str, Any] = {}
    for name, value in claims.items():
        try:
            plain |= read_json_object(write_json({name: value}))
        except (TypeError, ValueError, RecursionError, MalformedToken):
            raise ValueError(
                f"the claim {shown(name)}, a {type(value).__name__}, is not plain JSON"
                "; write strings, numbers, booleans, None, lists and dicts of them, "
                "and a date as .timestamp()"
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
