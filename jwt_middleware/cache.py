"""Tokens that were verified, so that they need not be again.

A hit is as good as a fresh verification.  What cannot change is remembered: who
signed, and what the claims say.  All else is asked anew: the dates, the keys of the
issuer, and outside of here revocation, the sender and the scopes.
"""

from __future__ import annotations

import hashlib
import marshal

from .generations import Generations
from .origins import Origin, Origins
from .token import Token

LONGEST = 4096
"""Characters of a token that is kept."""


class VerifiedTokens:
    """At most *size* verified tokens; their texts are not kept, but hashes of them.

    An entry is one string of octets: the garbage collector has nothing to follow, and
    what a handler does to the claims reaches no other request.
    """

    def __init__(self, size: int, origins: Origins) -> None:
        self._entries = Generations(size)
        self._longest = LONGEST if size else 0
        self._origins = origins

    def recall(self, text: str, now: float) -> Token | None:
        """The token of *text*, where it was verified and its dates and keys hold."""
        if len(text) > self._longest or not text.isascii():
            return None
        entry = self._entries.get(hashlib.sha256(text.encode()).digest())
        if entry is None:
            return None
        # Octets that this process wrote itself, where nobody else can write.
        number, begins, ends, digest, claims = marshal.loads(entry)  # noqa: S302
        origin = self._origins.numbered(number)
        if origin is None or not begins <= now < ends:
            return None
        return Token(origin.header, claims, digest=digest)

    def remember(self, text: str, origin: Origin, number: int, token: Token) -> None:
        """Keep a token that was verified, if the keys of *origin* are still held."""
        if len(text) > self._longest or not origin.holds:
            return
        claims = dict(token)
        begins, ends = origin.issuer.policy.window(claims)
        digest = "" if claims.get("jti") else token.identifier
        entry = marshal.dumps((number, begins, ends, digest, claims), 2)
        self._entries.put(hashlib.sha256(text.encode()).digest(), entry)
