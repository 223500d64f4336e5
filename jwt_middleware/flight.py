"""One call at a time, in a thread of its own, which everybody may wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .bridge import Latch
from .fork import start_anew_after_fork


class Flight(Latch):
    """One call; the latch opens when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()

    def left(self, seconds: float) -> float:
        """What is left of *seconds* since it began; 0 when they are over."""
        return max(0, self.began + seconds - time.monotonic())


class SingleFlight:
    """Makes *call* in a daemon thread, never twice at once.

    A fork leaves the thread behind: in the child nothing is under way.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._flight: Flight | None = None
        start_anew_after_fork(self)

    def join(self, may_start: Callable[[], bool]) -> Flight | None:
        """Return the flight that is under way, or None.

        If there is none, *may_start* is asked, by one thread at a time, whether to
        begin one.  It is asked under the lock, so it must not wait for anything.
        Raise RuntimeError if no thread can be started.
        """
        with self._lock:
            if self._flight is not None or not may_start():
                return self._flight
            flight = self._flight = Flight()
        self._start(flight)
        return flight

    def start_anew(self) -> None:
        self._lock = threading.Lock()
        self._flight = None

    def _start(self, flight: Flight) -> None:
        # Without the lock: `start` waits for the thread to begin.  Under gevent another
        # greenlet runs meanwhile, and would wait for the lock with the whole process.
        try:
            # A daemon, so that it keeps no process from ending.
            threading.Thread(target=self._fly, args=(flight,), daemon=True).start()
        except BaseException:
            self._end(flight)
            raise

    def _fly(self, flight: Flight) -> None:
        try:
            self._call()
        finally:
            self._end(flight)

    def _end(self, flight: Flight) -> None:
        with self._lock:
            if self._flight is flight:
                self._flight = None
        flight.open()
