"""One call at a time, in a thread of its own, which everybody may wait for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from weakref import WeakSet

from .bridge import Latch


class SingleFlight:
    """Makes *call* in a daemon thread, never twice at once.

    A fork leaves the thread behind: in the child nothing is under way.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._latch: Latch | None = None
        _EVERY.add(self)

    def join(self, may_start: Callable[[], bool]) -> Latch | None:
        """Return what opens when the call has ended.

        Where none is under way, *may_start* is asked, by one thread at a time, whether
        to begin.  None where it says no, and where no thread can be had.
        """
        with self._lock:
            if self._latch is None and may_start():
                self._latch = latch = Latch()
                # A daemon, so that it keeps no process from ending.
                thread = threading.Thread(target=self._fly, args=(latch,), daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self._latch = None
            return self._latch

    def ground(self) -> None:
        """Forget what is under way; its thread and who held the lock are gone."""
        self._lock = threading.Lock()
        self._latch = None

    def _fly(self, latch: Latch) -> None:
        try:
            self._call()
        finally:
            with self._lock:
                self._latch = None
            latch.open()


_EVERY: WeakSet[SingleFlight] = WeakSet()


def _ground_all() -> None:
    for flight in _EVERY:
        flight.ground()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_ground_all)
