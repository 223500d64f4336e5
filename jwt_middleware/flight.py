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

    def start_anew(self) -> None:
        self._lock = threading.Lock()
        self._flight = None

    def _fly(self, flight: Flight) -> None:
        try:
            self._call()
        finally:
            with self._lock:
                self._flight = None
            flight.open()
