"""Session ids (``sid``) with a checksum.

A call that ends the session "alice" mixes up a user name and a session id, and would
end nothing.  The checksum shows that.  It is neither secret nor signed: a key may be
replaced while sessions go on, and the caller of `end_session` may end any session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from .compact import base64url_decode, base64url_encode
from .errors import MalformedToken

RANDOM_OCTETS = 16
CHECK_OCTETS = 5
"""Octets of the checksum: one of 10 ** 12 other strings passes for a session id."""


def new_session_id(issuer: str) -> str:
    """Return a random session id, which no other session has."""
    octets = secrets.token_bytes(RANDOM_OCTETS)
    return base64url_encode(octets + _checksum(issuer, octets))


def is_session_id(issuer: str, text: str) -> bool:
    """Return whether *text* may be a result of `new_session_id` for *issuer*."""
    try:
        octets = base64url_decode(text.encode("ascii"))
    except (UnicodeEncodeError, MalformedToken):
        return False
    random, check = octets[:RANDOM_OCTETS], octets[RANDOM_OCTETS:]
    return hmac.compare_digest(check, _checksum(issuer, random))


def _checksum(issuer: str, octets: bytes) -> bytes:
    digest = hashlib.sha256(b"session of " + issuer.encode() + b" " + octets)
    return digest.digest()[:CHECK_OCTETS]
