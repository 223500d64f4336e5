"""Tokens that were verified, so that they need not be again.

A hit is as good as a fresh verification.  What cannot change is remembered: who
signed, and what the claims say.  All else is asked anew: the dates, the keys of the
issuer, and outside of here revocation, the sender and the scopes.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .fork import start_anew_after_fork
from .generations import Generations
from .jose import Key
from .token import Token
from .trust import TrustedIssuer

LONGEST = 4096
"""Characters of a token that is kept."""
MOST_ORIGINS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What many tokens have in common: issuer, its keys at that time, and header."""

    issuer: TrustedIssuer
    keys: Sequence[Key] | None
    """None where they were not at hand."""
    header: Mapping[str, Any]

    @property
    def holds(self) -> bool:
        """Whether the issuer has these very keys still, and none newer."""
        return self.keys is not None and self.issuer.held() is self.keys


class VerifiedTokens:
    """At most *size* verified tokens; their texts are not kept, but hashes of them.

    An entry is one string of octets, so that the garbage collector has nothing to
    follow, and what a handler does to the claims reaches no other request.
    """

    def __init__(self, size: int) -> None:
        self._entries = Generations(size)
        self._is_used = size > 0
        self._origins: dict[int, Origin] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._last = 0
        self.start_anew()
        start_anew_after_fork(self)

    def start_anew(self) -> None:
        self._lock = threading.Lock()

    def recall(self, text: str, now: float) -> Token | None:
        """The token of *text*, where it was verified and its dates and keys hold."""
        if len(text) > LONGEST or not self._is_used:
            return None
        try:
            key = hashlib.sha256(text.encode("ascii")).digest()
        except UnicodeEncodeError:
            return None
        entry = self._entries.get(key)
        if entry is None:
            return None
        # Octets that this process wrote itself, and nobody else can reach.
        number, begins, ends, digest, claims = marshal.loads(entry)  # noqa: S302
        origin = self._origins.get(number)
        if origin is None or not begins <= now < ends or not origin.holds:
            return None
        return Token(origin.header, claims, digest=digest)

    def remember(self, text: str, origin: Origin, token: Token) -> None:
        """Keep a token that was verified, if the keys of *origin* are still held."""
        if len(text) > LONGEST or not self._is_used or not origin.holds:
            return
        claims = dict(token)
        begins, ends = origin.issuer.policy.window(claims)
        number = self._number(origin, text.partition(".")[0])
        digest = "" if claims.get("jti") else token.identifier
        entry = marshal.dumps((number, begins, ends, digest, claims), 2)
        self._entries.put(hashlib.sha256(text.encode("ascii")).digest(), entry)

    def _number(self, origin: Origin, header: str) -> int:
        """The number of an origin; another one when the keys have changed."""
        name = (origin.issuer.issuer, header)
        with self._lock:
            number = self._numbers.get(name)
            if number is not None and self._origins[number].keys is origin.keys:
                return number
            if number is not None:
                del self._origins[number]
            elif len(self._numbers) >= MOST_ORIGINS:
                oldest = next(iter(self._numbers))
                del self._origins[self._numbers.pop(oldest)]
            self._last += 1
            self._numbers[name] = self._last
            self._origins[self._last] = origin
            return self._last
