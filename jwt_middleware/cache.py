"""Tokens that were verified, so that they need not be again.

A hit is as good as a fresh verification.  What cannot change is remembered: who
signed, and what the claims say.  All else is asked anew: the dates, the keys of the
issuer, and outside of here revocation, the sender and the scopes.
"""

from __future__ import annotations

import marshal
from hashlib import sha256
from typing import Any

from .generations import Generations
from .origins import Origins
from .token import Token

LONGEST = 4096
"""Characters of a token that is kept."""

Entry = tuple[int, float, float, str, dict[str, Any]]
"""The number of an origin; from when, and until when; digest and claims."""


class VerifiedTokens:
    """At most *size* verified tokens; their texts are not kept, but hashes of them.

    An entry is one string of octets: the garbage collector has nothing to follow, and
    what a handler does to the claims reaches no other request.
    """

    def __init__(self, size: int, origins: Origins) -> None:
        self._entries = Generations(size)
        self._longest = LONGEST if size else 0
        self._origins = origins

    def key(self, text: str) -> bytes | None:
        """What *text* is known by; None where it is not to be kept."""
        if len(text) > self._longest or not text.isascii():
            return None
        return sha256(text.encode()).digest()

    def recall(self, key: bytes, now: float) -> Token | None:
        """The token under *key*, where it was verified and its dates and keys hold."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        # Octets that this process wrote itself, where nobody else can write.
        number, begins, ends, digest, claims = marshal.loads(entry)  # noqa: S302
        origin = self._origins.numbered(number)
        if origin is None or not begins <= now < ends:
            return None
        return Token(origin.header, claims, digest)

    def remember(self, key: bytes, entry: Entry) -> None:
        """Keep what was verified."""
        self._entries.put(key, marshal.dumps(entry, 2))
