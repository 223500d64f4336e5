"""A bounded mapping for many threads, read without a lock."""

from __future__ import annotations

import threading

from .fork import start_anew_after_fork


class Generations:
    """Octets under octets, of which those that nobody asks for are forgotten.

    Two generations: what is put, or asked for again, is in the young one; when that
    has grown to half of *size*, it becomes the old one, and what was old is dropped.
    A read is one or two looks into a dict, each of them atomic.
    """

    def __init__(self, size: int) -> None:
        self._half = max(size // 2, 1)
        self._keeps_old = size > 1
        self._young: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}
        self.start_anew()
        start_anew_after_fork(self)

    def start_anew(self) -> None:
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: bytes) -> bytes | None:
        """What stands under *key*, or None."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: bytes, value: bytes) -> None:
        """Let *value* stand under *key*."""
        with self._lock:
            if len(self._young) >= self._half:
                self._old = self._young if self._keeps_old else {}
                self._young = {}
            self._young[key] = value
