"""Marks with an end: for tokens that were revoked, replayed or used up."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from .bridge import instant
from .fork import rest_during_fork, start_anew_after_fork
from .grace import NO_READINGS
from .watchers import Watchers
from .workers import SeveralWorkersWarning

_warning = SeveralWorkersWarning(
    "MemoryStore is used in several workers of one server, and each has its own: what "
    "is revoked in one passes in the others; use SQLiteStore or RedisStore"
)


class Store(Protocol):
    """Remembers when a name was marked, until the mark ends.

    Dates are seconds since 1970.  The methods may be plain or coroutines; a store with
    coroutines works with ASGI only.  If a method raises, the answer is a 503.
    """

    def add(self, name: str, at: float, until: float) -> bool | Awaitable[bool]:
        """Mark *name* unless it is marked; atomic across all workers.

        Return True if this call marked it, and False if it was marked before.  If
        *until* has passed, mark nothing and return the same: so a caller can ask
        whether any worker has marked *name*.  After False, `look` in this process
        returns the date of the mark.
        """
        ...

    def put(self, name: str, at: float, until: float) -> Awaitable[None] | None:
        """Mark *name*.  If it is marked, keep the later date and the later end: of two
        calls that race, neither may undo the other."""
        ...

    def look(
        self, names: Sequence[str]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        """Return when each of *names* was marked, or None; in one round trip."""
        ...

    # A store may also have
    #     watch(self, names, call) -> a function that ends it
    # which lets any thread call *call* when one of *names* is marked.  Without it, a
    # WebSocket ends when its token expires, and not when the token is revoked.
    # And it may have
    #     place: Hashable
    # which is equal in two stores if and only if they have the same marks.


def is_elsewhere(one: Store, other: Store) -> bool:
    """Return whether two stores have different marks, if both have a ``place``."""
    places = [getattr(store, "place", None) for store in (one, other)]
    return None not in places and places[0] != places[1]


class MemoryStore:
    """The marks of one process: for tests, and for a single worker.

    >>> store = MemoryStore()
    >>> [store.add("used j1", at=0, until=4e9) for _ in range(2)]
    [True, False]

    Another worker does not see them.  A write drops the marks that ended an hour or two
    ago, so memory does not grow without bound.  *now* is the wall clock, by which marks
    end; *clock* is a monotonic clock.  A mark is dropped only if the wall clock was
    past its end for an hour of the monotonic clock: a wall clock may jump ahead and be
    corrected later.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.time,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._clock = clock
        self._readings = NO_READINGS
        self._lock = threading.Lock()
        self._marks: dict[str, tuple[float, float]] = {}
        self._ends: list[tuple[float, str]] = []  # one entry for each name
        self._watchers = Watchers()
        rest_during_fork(self)
        start_anew_after_fork(self)

    @instant
    def add(self, name: str, at: float, until: float) -> bool:
        _warning.check()
        with self._lock:
            now = self._forget()
            if self._stands(name, now):
                return False
            if until <= now:  # the caller only asks
                return True
            self._set(name, at, until)
        self._watchers.call(name)
        return True

    @instant
    def put(self, name: str, at: float, until: float) -> None:
        _warning.check()
        with self._lock:
            now = self._forget()
            standing_at, standing_until = at, until
            if self._stands(name, now):
                standing_at, standing_until = self._marks[name]
            self._set(name, max(at, standing_at), max(until, standing_until))
        self._watchers.call(name)

    @instant
    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        marks = list(map(self._marks.get, names))  # each read is atomic
        now = self._now()
        return [
            mark[0] if mark is not None and mark[1] > now else None for mark in marks
        ]

    def watch(
        self, names: Sequence[str], call: Callable[[], None]
    ) -> Callable[[], None]:
        """Have *call* called, by any thread, when one of *names* is marked.

        What is returned ends that.
        """
        return self._watchers.add(names, call)

    @property
    def place(self) -> object:
        """Equal to itself only: no other store has the same marks."""
        return self

    def __repr__(self) -> str:
        return f"<MemoryStore of {self.size} marks>"

    @property
    def size(self) -> int:
        """Marks in memory, those that ended and are not dropped yet included."""
        return len(self._marks)

    def rest(self) -> None:
        """Let no thread write while the process forks."""
        self._lock.acquire()

    def go_on(self) -> None:
        """Let threads write again, in the parent and in the child."""
        self._lock.release()

    def start_anew(self) -> None:
        """Forget the watchers of the parent; called in the child."""
        self._watchers = Watchers()

    def _stands(self, name: str, now: float) -> bool:
        mark = self._marks.get(name)
        return mark is not None and mark[1] > now

    def _set(self, name: str, at: float, until: float) -> None:
        if name not in self._marks:
            heapq.heappush(self._ends, (until, name))
        self._marks[name] = (at, until)

    def _forget(self) -> float:
        """Drop the marks that ended long ago.  Return the time."""
        now = self._now()
        self._readings = self._readings.noted(now, self._clock())
        end = self._readings.dropped_until
        while self._ends and self._ends[0][0] <= end:
            _, name = heapq.heappop(self._ends)
            until = self._marks[name][1]
            if until > end:  # put again meanwhile, with a later end
                heapq.heappush(self._ends, (until, name))
            else:
                del self._marks[name]
        return now
