"""Names of sessions (``sid``) that show a mistake.

Whoever ends the session "alice" has mixed two names up, and nothing would be ended.  So
a session id ends with a checksum.  It is not a secret and not signed: a key may be
replaced while its sessions go on, and whoever calls `end_session` may end any session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from .compact import base64url_decode, base64url_encode
from .errors import MalformedToken

RANDOM_OCTETS = 16
CHECK_OCTETS = 5
"""Of some 10 ** 12 names that mean something else, one looks like a session id."""


def new_session_id(issuer: str) -> str:
    """Return a name that no other session has."""
    octets = secrets.token_bytes(RANDOM_OCTETS)
    return base64url_encode(octets + _checksum(issuer, octets))


def is_session_id(issuer: str, text: str) -> bool:
    """Whether *text* is written as `new_session_id` writes it for *issuer*."""
    try:
        octets = base64url_decode(text.encode("ascii"))
    except (UnicodeEncodeError, MalformedToken):
        return False
    random, check = octets[:RANDOM_OCTETS], octets[RANDOM_OCTETS:]
    return hmac.compare_digest(check, _checksum(issuer, random))


def _checksum(issuer: str, octets: bytes) -> bytes:
    digest = hashlib.sha256(b"session of " + issuer.encode() + b" " + octets)
    return digest.digest()[:CHECK_OCTETS]
