"""Marks in memory that take little room, even by the million."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from .grace import NO_READINGS

Mark = tuple[bytes, float, float]
"""A key, its date and its end."""

KEY_OCTETS = 12
"""Of the hash that stands for a name: of a million, no two are alike."""
DRAWERS = 256
REMEMBERED = 300
"""Characters of a name whose hash is remembered."""
LEAST_SECRET = 32
"""Octets of a secret: fewer could be guessed."""
SWEPT_AT_ONCE = 8
"""Drawers: a million marks are swept bit by bit, and nobody waits for long."""


def hash_with(secret: bytes) -> Callable[[str], bytes]:
    """Return a function that hashes names with *secret*.

    Without the secret, nobody can compare a hash with those of the names that they
    know.  An empty secret leaves the hashes unkeyed.
    """

    def hashed(name: str) -> bytes:
        octets = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(octets, digest_size=KEY_OCTETS, key=secret).digest()

    remembered = lru_cache(maxsize=16_384)(hashed)  # a token comes again and again

    def key_of(name: str) -> bytes:
        return remembered(name) if len(name) <= REMEMBERED else hashed(name)

    return key_of


key_of = hash_with(b"")


def read_secret(value: str | bytes | None) -> bytes:
    """Return the secret that names are hashed with; empty if *value* is None.

    BLAKE2b takes up to 64 octets, so a hash of *value* is its key.
    """
    if value is None:
        return b""
    if not isinstance(value, (str, bytes)):
        raise ValueError(
            f"secret must be bytes, a string or None, not {type(value).__name__}"
        )
    octets = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    if len(octets) < LEAST_SECRET:
        raise ValueError(
            f"secret has {len(octets)} octets, and needs {LEAST_SECRET} random ones; "
            "make it with secrets.token_bytes(32) and keep it in a file"
        )
    return hashlib.blake2b(octets, person=b"jwmw secret").digest()


def fingerprint_of(secret: bytes) -> bytes:
    """Return what tells stores with different secrets apart; empty for no secret."""
    if not secret:
        return b""
    return hashlib.blake2b(
        b"", digest_size=16, key=secret, person=b"jwmw which"
    ).digest()


class Marks:
    """When keys were marked, and until when the marks stand.

    A mark is a complex number, *at* and *until*: 32 octets that the garbage collector
    need not look at.  A tuple of two numbers takes 104, and a million of them make
    every full collection slow.  Reading takes no lock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self._clock = clock
        self._readings = NO_READINGS
        self._drawers: list[dict[bytes, complex]] = [{} for _ in range(DRAWERS)]
        self._next = 0

    def look(self, key: bytes, now: float) -> float | None:
        """When *key* was marked, or None."""
        mark = self._drawers[key[0]].get(key)
        return mark.real if mark is not None and mark.imag > now else None

    def merge(self, key: bytes, at: float, until: float, now: float) -> bool:
        """Mark *key*; of a mark that stands, the later date and end remain.

        Whether that changed anything.
        """
        with self.lock:
            drawer = self._drawers[key[0]]
            mark = _merged(drawer.get(key), complex(at, until), now)
            if mark is None or mark == drawer.get(key):
                return False
            drawer[key] = mark
            return True

    def merge_all(self, marks: Iterable[Mark], now: float) -> None:
        """Mark many keys in one go, like `merge`."""
        drawers = self._drawers
        with self.lock:
            for key, at, until in marks:
                drawer = drawers[key[0]]
                mark = complex(at, until)
                if key in drawer:
                    mark = _merged(drawer[key], mark, now) or drawer[key]
                drawer[key] = mark

    def sweep(self, now: float) -> None:
        """Drop the marks that ended long ago, of some drawers in turn.

        *now* counts as one reading of the wall clock, which may be wrong.
        """
        with self.lock:
            self._readings = self._readings.noted(now, self._clock())
            end = self._readings.dropped_until
        for _ in range(SWEPT_AT_ONCE):
            with self.lock:
                drawer = self._drawers[self._next]
                self._drawers[self._next] = {
                    key: mark for key, mark in drawer.items() if mark.imag > end
                }
                self._next = (self._next + 1) % DRAWERS

    def lacking_in(self, other: Marks, now: float) -> Iterator[Mark]:
        """The marks that stand here, and not as late or as long in *other*."""
        for drawer, theirs in zip(self._drawers, other._drawers, strict=True):
            with self.lock:
                marks = list(drawer.items())
            for key, mark in marks:
                its = theirs.get(key, complex(-math.inf, -math.inf))
                is_there = its.real >= mark.real and its.imag >= mark.imag
                if mark.imag > now and not is_there:
                    yield key, mark.real, mark.imag

    def __len__(self) -> int:
        """Marks in memory, some that have ended included."""
        return sum(map(len, self._drawers))


def _merged(old: complex | None, new: complex, now: float) -> complex | None:
    """What stands after *new*; None where that changes nothing.

    Of two that stand, the later date and end remain; what has ended says nothing of
    what stands.
    """
    if old is None or old.imag <= now < new.imag:
        return new
    if new.imag <= now < old.imag:
        return None
    return complex(max(old.real, new.real), max(old.imag, new.imag))
