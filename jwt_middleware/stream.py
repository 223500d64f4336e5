"""Copy marks from Redis to every worker, and notice when Redis has lost some."""

from __future__ import annotations

import logging
import math
import struct
import threading
from collections.abc import Iterable, Iterator

from .fork import start_anew_after_fork
from .healing import Debts
from .marks import Mark
from .redis_forms import PACKED, Entry
from .redis_marks import READ_AT_ONCE, RedisMarks
from .replica import Replica

logger = logging.getLogger("jwt_middleware")

BELIEVED_S = 30.0
"""Seconds without a worker that owes entries, after which Redis is trusted even if
nothing can be written to it."""
WHOLE_S = 60.0
"""Seconds between two checks whether Redis has evicted entries."""
SOON_S = 0.05
"""Seconds between two readings, while this worker waits for more than new entries."""
MOST_POLLS = 20
"""The most readings in a row by one look, each of `READ_AT_ONCE` entries."""
MOST_OWN = 1000
"""The most entries of our own that are remembered until they are read."""


class Stream:
    """Copies the marks in Redis; the feed of a `Replica`.

    A copy is complete if Redis was whole when the copy was made.  If Redis is not
    marked as whole, it may have lost entries that other workers still hold: those
    workers have *settle_s* seconds to connect again and note that.
    """

    def __init__(self, there: RedisMarks, settle_s: float) -> None:
        self._there = there
        self._settle_s = settle_s
        self._last = b""
        """The last entry of the log that was read."""
        self._own: set[bytes] = set()
        """Entries that this process has written, and not read yet."""
        self._epoch = b""
        self._is_running = False
        self._is_complete = False
        self._saw_whole = False
        """Whether an earlier reading in this epoch has found Redis whole."""
        self._unowed_since = math.inf
        """Since when, in this epoch, every reading has found no worker that owes."""
        self._checked_at = -math.inf
        self._debts = Debts()
        self._must_owe = False
        """Whether the parent of this process owed entries when it forked."""
        start_anew_after_fork(self)

    @property
    def epoch(self) -> bytes:
        """The epoch that Redis must have to call a name new; empty for any epoch."""
        return self._epoch if self._is_running else b""

    def wrote(self, entry: bytes) -> None:
        """Note an entry that Redis has acknowledged, and must not lose."""
        if len(self._own) >= MOST_OWN:  # without looks, no thread reads them
            self._own.clear()
        self._own.add(entry)
        if _order(entry) <= _order(self._last):  # the thread has read it already
            self._own.discard(entry)

    def __repr__(self) -> str:
        return "Redis"

    def start_anew(self) -> None:
        # The parent may end before it has written everything back.
        self._must_owe = self._must_owe or self._debts.are_owed
        self._debts = Debts()
        self._is_running = False

    def run(self, replica: Replica, stop: threading.Event) -> None:
        self._is_running = True
        begun = replica.clock()
        if self._begin(replica) and self._is_complete:
            replica.confirm(begun)
        is_behind = True  # so the first reading does not wait
        while not stop.is_set():
            is_behind = self._cycle(replica, is_behind)
        self._is_running = False

    def poll(self, replica: Replica) -> None:
        """Read new entries in the thread of a look, without moving `_last`."""
        last, epoch, asked = self._last, self._epoch, replica.clock()
        if not epoch:  # the first copy is not made yet
            return
        for _ in range(MOST_POLLS):
            news = self._there.read(last, epoch)
            if not news.is_same:
                raise ConnectionError("Redis has lost entries, or was replaced")
            for _ in self._marks(news.entries, replica):
                pass
            if len(news.entries) < READ_AT_ONCE:
                if self._is_complete:
                    replica.confirm(asked)
                return
            last = news.entries[-1][0]

    def _cycle(self, replica: Replica, is_behind: bool) -> bool:
        """Read once.  Return whether there may be more."""
        wait_s = self._wait_s(is_behind)
        asked = replica.clock()
        news = self._there.read(self._last, self._epoch, wait_s)
        answered = replica.clock()
        if not news.is_same or (self._saw_whole and not news.is_marked_whole):
            # At once: new workers wait only briefly before they trust Redis.
            self._debts.owe(self._there, replica, b"")
            raise ConnectionError("Redis has lost entries, or was replaced")
        self._take(news.entries, replica)
        is_behind = len(news.entries) == READ_AT_ONCE
        # If Redis was whole before this reading, all that was written back is read.
        self._is_complete |= self._saw_whole and not is_behind
        self._saw_whole |= news.is_whole
        if self._is_complete and not is_behind:
            # If nothing came, there was nothing new when the server stopped waiting.
            was_silent = not news.entries and answered - asked >= wait_s
            replica.confirm(asked + wait_s if was_silent else asked)
        if self._debts.are_owed:
            self._debts.give_back(self._there, replica)
        elif not news.is_marked_whole:
            self._settle(news.is_owed, replica)
        if answered - self._checked_at > WHOLE_S:
            self._ensure_sets(replica)
        return is_behind

    def _wait_s(self, is_behind: bool) -> float:
        if is_behind:
            return 0.0
        is_calm = self._is_complete and self._saw_whole and not self._debts.are_owed
        return self._there.block_s if is_calm else min(SOON_S, self._there.block_s)

    def _settle(self, is_owed: bool, replica: Replica) -> None:
        """Mark Redis as whole, if no worker has owed entries for `settle_s` seconds.

        If Redis cannot be written to, other workers cannot note there that they owe
        entries.  Then this worker uses what is there after `BELIEVED_S` seconds.
        """
        now = replica.clock()
        if is_owed:
            self._unowed_since = math.inf
            return
        self._unowed_since = min(self._unowed_since, now)
        waited = now - self._unowed_since
        if waited < self._settle_s:
            return
        try:
            self._there.mark_whole(self._epoch)
        except Exception:  # of a library: no permission, or no memory
            if waited < BELIEVED_S:
                raise
            self._is_complete = True

    def _begin(self, replica: Replica) -> bool:
        """Copy all marks, unless the log goes on after the last entry that was read.

        Return whether the marks were copied.  If Redis has lost some, owe them.
        """
        there = self._there
        epoch = there.epoch(begins=True) or b""
        has_lost = self._epoch not in (b"", epoch)
        if has_lost:  # before all else: new workers do not wait for long
            self._debts.owe(there, replica, epoch)
        news = there.read(self._last, epoch)
        own = tuple(self._own)
        is_whole = news.is_marked_whole or not self._saw_whole
        goes_on = epoch == self._epoch and news.is_same and is_whole
        if goes_on and not self._must_owe and all(map(there.has, own)):
            return False
        if self._epoch and not has_lost:  # lost in the same epoch
            self._debts.owe(there, replica, epoch)
        newest = there.newest()  # before the copy: later entries are read afterwards
        there.copy_to(lambda marks: self._merge(tuple(marks), replica))
        replica.tell_all()
        self._ensure_sets(replica)
        # Only now, so that a copy that was interrupted is made again.
        self._last, self._epoch = newest, epoch
        self._saw_whole, self._unowed_since = news.is_whole, math.inf
        self._is_complete |= news.is_whole
        self._own.difference_update(own)
        self._must_owe = False
        return True

    def _merge(self, marks: Iterable[Mark], replica: Replica) -> None:
        replica.merge_all(marks)
        if self._debts.are_owed:
            self._debts.has_read(marks, replica)

    def _ensure_sets(self, replica: Replica) -> None:
        """Raise ConnectionError if Redis has dropped sets too early."""
        self._checked_at = replica.clock()
        if self._there.forget_lost():
            logger.error(
                "Redis has evicted entries; write maxmemory-policy noeviction in its "
                "configuration"
            )
            raise ConnectionError("Redis has lost entries")

    def _take(self, entries: Iterable[Entry], replica: Replica) -> None:
        entries = tuple(entries)
        marks = list(self._marks(entries, replica))
        if self._debts.are_owed:
            self._debts.has_read(marks, replica)
        for identifier, _ in entries:
            self._own.discard(identifier)
            self._last = identifier

    def _marks(self, entries: Iterable[Entry], replica: Replica) -> Iterator[Mark]:
        """Merge entries of the log, and yield their marks."""
        for _, fields in entries:
            try:
                mark = PACKED.unpack(fields[b"mark"])
            except (KeyError, struct.error):
                logger.error("an entry of the log in Redis is not a mark; ignored")
                continue
            replica.merge(*mark)
            yield mark


def _order(entry: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry.split(b"-"))) if entry else ()
