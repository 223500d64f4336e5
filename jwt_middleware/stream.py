"""How marks in Redis reach every worker, and come back when Redis has lost them."""

from __future__ import annotations

import logging
import math
import secrets
import struct
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice

from .fork import start_anew_after_fork
from .marks import Mark, Marks
from .redis_marks import PACKED, READ_AT_ONCE, RedisMarks
from .replica import Replica

logger = logging.getLogger("jwt_middleware")

CHECK_S = 1.0
"""Between two looks whether Redis has begun anew."""
WHOLE_S = 60.0
"""Between two looks whether it has evicted marks."""
MOST_OWN = 1000
HEALED_AT_ONCE = 500
HEALER_S = 10


class Stream:
    """Copies what is marked in Redis; the feed of a `Replica`."""

    def __init__(self, there: RedisMarks) -> None:
        self._there = there
        self._last = b""
        """The entry of the log up to which all is known."""
        self._own: set[bytes] = set()
        """Entries that we wrote, and have not read yet."""
        self._epoch: bytes | None = None
        self._seen_whole = -math.inf
        self._debts = _Debts()
        start_anew_after_fork(self)

    def wrote(self, entry: bytes) -> None:
        """Note an entry that Redis has acknowledged, and must not lose."""
        if len(self._own) >= MOST_OWN:  # nobody looks here, so nobody reads
            self._own.clear()
        self._own.add(entry)
        if _order(entry) <= _order(self._last):  # the thread was faster
            self._own.discard(entry)

    def __repr__(self) -> str:
        return "Redis"

    def start_anew(self) -> None:
        self._debts = _Debts()  # the parent's are its own to give back

    def run(self, replica: Replica, stop: threading.Event) -> None:
        begun = checked = replica.clock()
        is_behind = not self._begin(replica)
        if not is_behind:
            replica.confirm(begun)
        while not stop.is_set():
            as_of = replica.clock()
            may_wait = not is_behind and not self._debts.are_given_back
            entries = self._there.read(self._last, wait=may_wait)
            self._take(entries, replica)
            is_behind = len(entries) == READ_AT_ONCE  # there may be more
            if not entries or as_of - checked > CHECK_S:
                self._ensure_same(replica)
                checked = as_of
            if not is_behind:
                replica.confirm(as_of)
            self._debts.give_back(self._there, replica)

    def _begin(self, replica: Replica) -> bool:
        """Copy all that stands, unless the log goes on where it was left.

        Whether it was copied.  What Redis came back without is given back to it.
        """
        there = self._there
        epoch = there.epoch(begins=True)
        there.ensure_master()
        known = (self._last, *tuple(self._own))
        if epoch == self._epoch and all(there.has(entry) for entry in known):
            return False
        newest = there.newest()  # before the copy: what comes meanwhile is read then
        there.copy_to(replica.merge_all)
        replica.tell_all()
        is_news = self._epoch is None
        self._debts = _Debts()
        self._debts.are_owed = not is_news or self._has_lost_sets(replica)
        self._own.difference_update(known)
        self._last, self._epoch = newest, epoch
        return True

    def _ensure_same(self, replica: Replica) -> None:
        """Raise ConnectionError where Redis is not what it was, so that we begin."""
        there = self._there
        there.ensure_master()
        is_same = there.epoch() == self._epoch
        if not is_same or (self._last and not there.has(self._last)):
            raise ConnectionError("Redis has begun anew")
        if replica.clock() - self._seen_whole > WHOLE_S:
            self._debts.are_owed |= self._has_lost_sets(replica)

    def _has_lost_sets(self, replica: Replica) -> bool:
        self._seen_whole = replica.clock()
        is_lost = self._there.has_lost_sets(replica.now())
        if is_lost:
            logger.error("Redis has evicted marks: set its maxmemory-policy noeviction")
        return is_lost

    def _take(
        self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]], replica: Replica
    ) -> None:
        for identifier, fields in entries:
            try:
                replica.merge(*PACKED.unpack(fields[b"mark"]))
            except (KeyError, struct.error):
                logger.error("an entry of the log in Redis is no mark")
            self._own.discard(identifier)
            self._last = identifier


def _order(entry: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry.split(b"-"))) if entry else ()


class _Debts:
    """Marks that we hold, and that Redis may have lost.

    They are given back bit by bit, between two readings, by one worker at a time;
    the others then see that nothing is missing.
    """

    def __init__(self) -> None:
        self.are_owed = self.are_given_back = self._has_failed = False
        self._name = secrets.token_hex(8).encode()
        self._missing: Iterator[Mark] = iter(())
        self._batch: list[Mark] = []

    def give_back(self, there: RedisMarks, replica: Replica) -> None:
        """Write some of them, if there are any and nobody else does.

        Where that fails, the reading goes on, and it is tried again.
        """
        try:
            self._give_back(there, replica)
        except Exception as error:  # of a library
            level = logging.DEBUG if self._has_failed else logging.WARNING
            self._has_failed = True
            logger.log(level, "marks cannot be given back: %s", type(error).__name__)

    def _give_back(self, there: RedisMarks, replica: Replica) -> None:
        if not self.are_owed or not there.may_heal(self._name, HEALER_S):
            return
        if not self.are_given_back:
            stand = Marks()
            there.copy_to(partial(stand.merge_all, now=replica.now()))
            self._missing = replica.marks.lacking_in(stand, replica.now())
            self.are_given_back = True
        # What could not be written is kept for the next time.
        self._batch = self._batch or list(islice(self._missing, HEALED_AT_ONCE))
        if self._batch:
            there.put(self._batch)
            self._batch = []
        else:
            self.are_owed = self.are_given_back = False
            there.end_healing()
