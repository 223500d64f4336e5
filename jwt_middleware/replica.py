"""Marks that are kept elsewhere, copied into this process and kept fresh."""

from __future__ import annotations

import inspect
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from .bridge import Latch, ask, instant
from .fork import start_anew_after_fork
from .marks import Mark, Marks, key_of
from .quoting import shown
from .watchers import Watchers

logger = logging.getLogger("jwt_middleware")

Dates = Sequence[float | None]

FIRST_WAIT_S = 0.1
"""Seconds before a feed that failed runs again; doubled up to `LONGEST_WAIT_S`."""
LONGEST_WAIT_S = 0.5
FIRST_COPY_S = 3.0
"""The longest wait, in seconds, for the first copy, unless the feed is failing."""
LEAST_FIRST_COPY_S = 1.5
"""The least of that wait: a store that was just made is not trusted for a second."""
SWEEP_S = 1.0
CLOSE_S = 5.0
CATCH_UP_S = 5.0
"""The longest wait, in seconds, for a look that reads the store itself."""


class Stale(Exception):
    """The copy may lack marks that were made more than *max_staleness* seconds ago."""


class Feed(Protocol):
    """Reads the marks of a store into a `Replica`."""

    def run(self, replica: Replica, stop: threading.Event) -> None:
        """Call `merge` and `confirm` of *replica* until *stop* is set, or raise."""
        ...

    # A feed may also have
    #     poll(self, replica)
    # which reads new marks once, in the calling thread, and calls `merge` and
    # `confirm`, or raises.  It may run at the same time as `run` and another `poll`,
    # and must end within seconds.  A look that finds the copy stale calls it: the
    # thread of the feed may not have run, if other threads keep the CPU busy.


class Replica:
    """A copy of marks in memory, which a thread keeps up to date.

    A look reads the copy.  The thread starts with the first look of a process.  If the
    copy is more than *max_staleness* seconds old, a look reads the store itself, if the
    feed can do that.  If the copy is still too old, the look raises `Stale`, or with
    *passes_stale* uses the copy and logs that.  *key_of* hashes a name.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        max_staleness: float,
        passes_stale: bool,
        now: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        key_of: Callable[[str], bytes] = key_of,
    ) -> None:
        self.marks = Marks(clock)
        self._key_of = key_of
        self.now = now
        self.clock = clock
        self._feed = feed
        self._max_staleness = max_staleness
        self._passes_stale = passes_stale
        self.as_of = -math.inf
        """The copy has all marks that were made before, by the monotonic clock."""
        self._swept_at = -math.inf
        self._is_failing = False
        self._loaded = Latch()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ending: threading.Thread | None = None
        """The thread of an earlier run, which may not have ended yet."""
        self._catching_up: tuple[float, Latch] | None = None  # its deadline and end
        self._lock = threading.Lock()  # never held while anything waits
        self._watchers = Watchers()
        start_anew_after_fork(self)

    @instant
    def look(self, names: Sequence[str]) -> Dates | Awaitable[Dates]:
        """Return when each of *names* was marked; the first look waits for the copy."""
        asked = self.clock()
        if self._thread is None:
            self._begin()
        if not self._loaded.is_open:
            return self._first_look(names, asked)
        if asked - self.as_of > self._max_staleness:
            return self._late_look(names, asked)
        return self._look(names, asked)

    def merge(self, key: bytes, at: float, until: float) -> None:
        """Take over a mark, and call its watchers."""
        now = self.now()
        if self.marks.merge(key, at, until, now):
            self._watchers.call(key)
        if self._thread is None:  # else `confirm` sweeps
            self.marks.sweep(now)

    def merge_all(self, marks: Iterable[Mark]) -> None:
        """Take over many marks.  Call `tell_all` afterwards."""
        self.marks.merge_all(marks, self.now())

    def tell_all(self) -> None:
        """Call all watchers."""
        self._watchers.call_all()

    def confirm(self, as_of: float) -> None:
        """Note that the copy has all marks made before *as_of* (monotonic clock)."""
        self.as_of = max(self.as_of, as_of)
        if as_of - self._swept_at >= SWEEP_S:
            self._swept_at = as_of
            self.marks.sweep(self.now())
        if self._is_failing:
            self._is_failing = False
            logger.info("marks are fed again: %r", self._feed)
        self._loaded.open()

    def watch(
        self, names: Sequence[str], call: Callable[[], None]
    ) -> Callable[[], None]:
        """Let any thread call *call* when one of *names* is marked.

        Return a function that ends this.  Look once more afterwards: a mark may have
        come just before.
        """
        return self._watchers.add([self._key_of(name) for name in names], call)

    def close(self) -> None:
        """Stop the thread.  A later look starts a new one, and keeps the copy."""
        with self._lock:
            thread, stop = self._thread, self._stop
        stop.set()
        if thread is not None and thread.is_alive():
            thread.join(CLOSE_S)
        with self._lock:
            if self._thread is not thread:  # another caller has closed it meanwhile
                return
            loaded = self._loaded
            self._forget()
            self._ending = thread
        loaded.open()  # a look that waits for this copy starts again

    def start_anew(self) -> None:
        self.marks.lock = threading.Lock()
        self._lock, self._ending = threading.Lock(), None
        self._watchers = Watchers()  # the others belong to loops of the parent
        self._forget()

    def _forget(self) -> None:
        self._thread, self._stop, self._loaded = None, threading.Event(), Latch()
        self.as_of, self._is_failing = -math.inf, False
        self._catching_up = None

    def _begin(self) -> None:
        """Start the thread, unless another caller does.

        The lock is not held meanwhile: `Thread.start` waits, and under gevent another
        greenlet runs then, which may need the lock.
        """
        with self._lock:
            if self._thread is not None:
                return
            arguments = self._stop, self._ending
            thread = threading.Thread(target=self._run, args=arguments, daemon=True)
            self._thread = thread
        try:
            thread.start()
        except BaseException:  # too many threads: the next look tries again
            with self._lock:
                if self._thread is thread:
                    self._thread = None
            raise

    def _run(self, stop: threading.Event, before: threading.Thread | None) -> None:
        if before is not None and before.is_alive():  # one thread at a time runs a feed
            before.join()
        wait = 0.0
        while not stop.is_set():
            begun = self.clock()
            try:
                self._feed.run(self, stop)
            except Exception as error:  # of a library, or of a disk
                self._fail(error)
            wait = 0.0 if self.as_of > begun else 2 * wait  # 0 if it had worked
            wait = min(max(wait, FIRST_WAIT_S), LONGEST_WAIT_S)
            stop.wait(wait)

    def _fail(self, error: Exception) -> None:
        told = f"{type(error).__name__}: {shown(str(error))}"
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        logger.log(level, "marks are not fed by %r: %s", self._feed, told)

    async def _first_look(self, names: Sequence[str], asked: float) -> Dates:
        loaded = self._loaded
        if not self._is_failing:
            seconds = max(self._max_staleness, LEAST_FIRST_COPY_S)
            await loaded.wait(min(seconds, FIRST_COPY_S))
        if loaded is self._loaded:
            return await self._late_look(names, asked)
        answer = self.look(names)  # the replica was closed meanwhile
        return await answer if inspect.isawaitable(answer) else answer

    async def _late_look(self, names: Sequence[str], asked: float) -> Dates:
        """Read the store for this look if the copy is too old and the feed works."""
        is_late = asked - self.as_of > self._max_staleness
        if is_late and not self._is_failing and hasattr(self._feed, "poll"):
            await self._catch_up()
        return self._look(names, asked)

    async def _catch_up(self) -> None:
        """Let the feed read new marks.  One caller does so for all that wait."""
        mine = self.clock() + CATCH_UP_S, Latch()
        with self._lock:
            current = self._catching_up = self._catching_up or mine
        if current is not mine:
            until, ended = current
            await ended.wait(max(0.0, until - self.clock()))
            return
        try:
            await ask(self._poll)
        finally:
            self._catching_up = None
            mine[1].open()

    def _poll(self) -> None:
        try:
            self._feed.poll(self)  # type: ignore[attr-defined]
        except Exception as error:  # of a library, or of a disk
            self._fail(error)

    def _look(self, names: Sequence[str], asked: float) -> Dates:
        """Read the copy, if it was new enough when the look was *asked*.

        It need not be new enough now: with busy threads, reading may take that long.
        """
        age = asked - self.as_of
        if age > self._max_staleness:
            if not self._passes_stale:
                raise Stale(f"the copy of the store is {age:.1f} seconds old")
            logger.warning("passed by marks that are %.1f seconds old", age)
        now, look, key_of = self.now(), self.marks.look, self._key_of
        return [look(key_of(name), now) for name in names]
