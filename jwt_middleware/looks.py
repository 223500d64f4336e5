"""Limit fetches for keys that are not in the set: a client may make up any number."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .bridge import holds_thread
from .flight import Flight

QUICK_LOOK_S = 0.25
"""Seconds after the beginning of a fetch for which every request waits for it: a
healthy issuer answers within that time."""
LOOK_S = 2.0
"""The same for a bounded number of requests."""
MOST_THREADS = 1
"""Threads of a WSGI server that wait longer than `QUICK_LOOK_S`: a server may have few
threads, and the key may be made up."""
MOST_TASKS = 100
"""Tasks of an event loop that wait longer than `QUICK_LOOK_S`: a task costs memory, but
no thread."""
MOST_NAMES = 1000
"""Unknown keys for which the time of the first request is remembered."""


class Looks:
    """Decides when the set is fetched for an unknown key, and which requests wait.

    There is one such fetch in a *cooldown* of seconds, however many keys are made up.
    """

    def __init__(self, cooldown: float) -> None:
        self._cooldown = cooldown
        self._first_asked: dict[int, float] = {}
        self._waiting = 0
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the last fetch: its thread does not exist in a forked child."""
        self._lock = threading.Lock()
        self._looked_at = -math.inf

    @property
    def next_at(self) -> float:
        """When the set may be fetched for an unknown key again."""
        return self._looked_at + self._cooldown

    def first_asked(self, name: tuple[object, object], arrived: float) -> float:
        """Return when a request first named the key *name*; *arrived* if this is it.

        If the set was fetched after that, the key does not exist, and the token is not
        valid.  If the set is older, the key may be new.
        """
        known, number = self._first_asked, hash(name)
        with self._lock:
            if number not in known and len(known) >= MOST_NAMES:
                del known[next(iter(known))]
            return known.setdefault(number, arrived)

    def take(self, asked_at: float | None, arrived: float, now: float) -> bool:
        """Claim the single unknown-kid fetch of this cooldown, even if it will fail.

        Return False if it was claimed before.  A fetch that began after the request
        *arrived*, at *asked_at*, counts as that fetch: its answer is new enough.
        """
        if asked_at is not None and asked_at >= arrived:
            self._looked_at = max(self._looked_at, asked_at)
            return False
        if now < self.next_at:
            return False
        self._looked_at = now
        return True

    async def wait(self, flight: Flight, timeout: float) -> bool:
        """Wait for *flight*, for an unknown key.  Return whether it has ended."""
        quick = flight.left(min(QUICK_LOOK_S, timeout))
        if flight.is_open or (quick and await flight.wait(quick)):
            return True
        with self._turn() as may_wait:
            left = flight.left(min(LOOK_S, timeout)) if may_wait else 0
            return await flight.wait(left) if left else flight.is_open

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Count the requests that wait; yield whether one more may."""
        with self._lock:
            self._waiting += 1
            may_wait = self._waiting <= (MOST_THREADS if holds_thread() else MOST_TASKS)
        try:
            yield may_wait
        finally:
            with self._lock:
                self._waiting -= 1
