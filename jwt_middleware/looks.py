"""Fetches for keys that are not in the set: strangers may name any number of them."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .bridge import holds_thread
from .flight import Flight

QUICK_LOOK_S = 0.25
"""Seconds after the beginning of a fetch for which every request waits for it: as long
as a healthy issuer takes."""
LOOK_S = 2.0
"""Seconds after the beginning of a fetch for which the most patient requests wait."""
MOST_THREADS = 1
"""Threads of a WSGI server that wait longer than `QUICK_LOOK_S`: they may be few, and
the key may be made up."""
MOST_TASKS = 100
"""Tasks of an event loop that do; a task costs memory, and no thread."""
MOST_NAMES = 1000
"""Keys of which the moment is remembered at which they were first asked for."""


class Looks:
    """Says when the set is fetched for a key that it does not have, and who waits.

    One fetch in a *cooldown*, however many strangers make keys up.
    """

    def __init__(self, cooldown: float) -> None:
        self._cooldown = cooldown
        self._first_asked: dict[int, float] = {}
        self._waiting = 0
        self.start_anew()

    def start_anew(self) -> None:
        """Forget the last look: a child of a fork may have lost it with its thread."""
        self._lock = threading.Lock()
        self._looked_at = -math.inf

    @property
    def next_at(self) -> float:
        """When the set may be fetched for an unknown key again."""
        return self._looked_at + self._cooldown

    def first_asked(self, name: tuple[object, object], arrived: float) -> float:
        """Return when the key called *name* was first asked for; *arrived* if now.

        A set that was asked for since does not have the key, and so the token is not
        good.  Of an older set that cannot be said: the key may be new.
        """
        known, number = self._first_asked, hash(name)
        with self._lock:
            if number not in known and len(known) >= MOST_NAMES:
                del known[next(iter(known))]
            return known.setdefault(number, arrived)

    def take(self, asked_at: float | None, arrived: float, now: float) -> bool:
        """Claim the look of this cooldown, even if its fetch will fail.

        Return False if there is none.  A set that was asked for since the request
        *arrived* counts as a look, since it cannot be newer.
        """
        if asked_at is not None and asked_at >= arrived:
            self._looked_at = max(self._looked_at, asked_at)
            return False
        if now < self.next_at:
            return False
        self._looked_at = now
        return True

    async def wait(self, flight: Flight, timeout: float) -> bool:
        """Whether *flight* ends while a request for an unknown key waits for it."""
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
