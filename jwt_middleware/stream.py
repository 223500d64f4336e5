"""How marks in Redis reach every worker, and come back when Redis has lost them."""

from __future__ import annotations

import logging
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
        self._debts = _Debts()
        start_anew_after_fork(self)

    def wrote(self, entry: bytes) -> None:
        """Note an entry that Redis has acknowledged, and must not lose."""
        if len(self._own) >= MOST_OWN:  # nobody looks here, so nobody reads
            self._own.clear()
        self._own.add(entry)

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
                self._ensure_same_epoch()
                checked = as_of
            if not is_behind:
                replica.confirm(as_of)
            self._debts.give_back(self._there, replica)

    def _begin(self, replica: Replica) -> bool:
        """Copy all that stands, unless the log goes on where it was left.

        Whether it was copied.  What Redis came back without is given back to it.
        """
        there, epoch = self._there, self._there.epoch(begins=True)
        known = (self._last, *tuple(self._own))
        if epoch == self._epoch and all(there.has(entry) for entry in known):
            return False
        newest = there.newest()  # before the copy: what comes meanwhile is read then
        there.copy_to(replica.merge_all)
        if self._epoch is not None:
            self._debts.are_owed = True
        self._own.difference_update(known)
        self._last, self._epoch = newest, epoch
        return True

    def _ensure_same_epoch(self) -> None:
        if self._there.epoch() != self._epoch:
            raise ConnectionError("Redis has begun anew")

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


class _Debts:
    """Marks that we hold, and that Redis may have lost.

    They are given back bit by bit, between two readings, by one worker at a time;
    the others then see that nothing is missing.
    """

    def __init__(self) -> None:
        self.are_owed = self.are_given_back = False
        self._name = secrets.token_hex(8).encode()
        self._missing: Iterator[Mark] = iter(())
        self._batch: list[Mark] = []

    def give_back(self, there: RedisMarks, replica: Replica) -> None:
        """Write some of them, if there are any and nobody else does."""
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
