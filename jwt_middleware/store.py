"""Marks that end: what is revoked, replayed or used up."""

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

    Dates are seconds since 1970.  The methods may be plain or coroutines; the latter
    serve ASGI only.  What they raise makes the answer a 503.
    """

    def add(self, name: str, at: float, until: float) -> bool | Awaitable[bool]:
        """Mark *name* if it is not; atomic.  False where it was marked.

        With an *until* that has passed nothing is marked, and the answer is the same:
        so one may ask of a name that another worker has added.  After False, `look`
        in this process says since when.
        """
        ...

    def put(self, name: str, at: float, until: float) -> Awaitable[None] | None:
        """Mark *name*.  Of a mark that stands, the later date and end remain: no
        race of two calls may take back what one of them revoked."""
        ...

    def look(
        self, names: Sequence[str]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        """When each of *names* was marked, or None; in one round trip."""
        ...

    # A store may also have
    #     watch(self, names, call) -> a function that ends it
    # which has *call* called, by any thread, when one of *names* is marked.  Without
    # it, what is open ends when its token expires, and not when that is revoked.
    # And it may have
    #     place: Hashable
    # which is equal in two stores just if what is marked in one is found in the other.


def is_elsewhere(one: Store, other: Store) -> bool:
    """Whether what is marked in *one* is not found in *other*, if both can say so."""
    places = [getattr(store, "place", None) for store in (one, other)]
    return None not in places and places[0] != places[1]


class MemoryStore:
    """The marks of one process: for tests, and for a single worker.

    >>> store = MemoryStore()
    >>> [store.add("used j1", at=0, until=4e9) for _ in range(2)]
    [True, False]

    Another worker does not see them.  Marks that ended an hour or two ago are dropped
    at the next write, so memory is bounded by what is marked at a time.  *now* is the
    wall clock, by which marks end; *clock* is a monotonic one.  Marks are dropped only
    if the wall clock was past their end for an hour of the monotonic clock: a wall
    clock may jump ahead and be put right again.
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
            if until <= now:  # it was only asked
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
        """Where the marks are: here, and in no other."""
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
        """Forget who watches in the parent; called in the child."""
        self._watchers = Watchers()

    def _stands(self, name: str, now: float) -> bool:
        mark = self._marks.get(name)
        return mark is not None and mark[1] > now

    def _set(self, name: str, at: float, until: float) -> None:
        if name not in self._marks:
            heapq.heappush(self._ends, (until, name))
        self._marks[name] = (at, until)

    def _forget(self) -> float:
        """Drop what ended long ago.  Return the time."""
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
