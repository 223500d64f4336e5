"""One call at a time, in a thread of its own, which everybody may wait for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from weakref import WeakSet

from .bridge import Latch


class Flight(Latch):
    """One call; the latch opens when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()


class SingleFlight:
    """Makes *call* in a daemon thread, never twice at once.

    A fork leaves the thread behind: in the child nothing is under way, and
    *after_fork* is called.
    """

    def __init__(
        self, call: Callable[[], None], after_fork: Callable[[], None]
    ) -> None:
        self._call = call
        self._after_fork = after_fork
        self._lock = threading.Lock()
        self._flight: Flight | None = None
        _EVERY.add(self)

    def join(self, may_start: Callable[[], bool]) -> Flight | None:
        """Return the flight that is under way, or None.

        Where there is none, *may_start* is asked, by one thread at a time, whether to
        begin one.  Raise RuntimeError where no thread can be had.
        """
        with self._lock:
            if self._flight is None and may_start():
                flight = Flight()
                # A daemon, so that it keeps no process from ending.
                threading.Thread(target=self._fly, args=(flight,), daemon=True).start()
                self._flight = flight
            return self._flight

    def ground(self) -> None:
        """Forget what is under way; its thread and who held the lock are gone."""
        self._lock = threading.Lock()
        self._flight = None
        self._after_fork()

    def _fly(self, flight: Flight) -> None:
        try:
            self._call()
        finally:
            with self._lock:
                self._flight = None
            flight.open()


_EVERY: WeakSet[SingleFlight] = WeakSet()


def _ground_all() -> None:
    for flights in _EVERY:
        flights.ground()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_ground_all)
