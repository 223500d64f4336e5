"""Write entries back that Redis has lost."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from .marks import Mark, Marks
from .redis_marks import OWED_S, RedisMarks
from .replica import Replica

logger = logging.getLogger("jwt_middleware")

HEALED_AT_ONCE = 500
"""Entries that are written back in one step."""
HEALER_S = 10
"""Seconds after which another worker may write back, if the one that does has died."""
GIVING_S = 30.0
"""Seconds for which new workers wait for a worker that has entries to write back, and
that may be unable to write."""
LEAST_GIVEN_PER_S = 500
"""Entries that are written back in a second if Redis is slow: if there are many, new
workers wait longer."""


class Debts:
    """Entries that this process holds, and that Redis may have lost.

    One worker at a time writes them back, in batches between two readings; the others
    read what it writes.  While a worker owes entries, Redis does not count as whole,
    but only for a bounded time, since the worker may be unable to write.
    """

    def __init__(self) -> None:
        self.are_owed = False
        self._name = secrets.token_hex(8).encode()
        self._noted_at = self._noted_until = -math.inf
        self._epoch = b""
        self._has_failed = False
        self._there_again = Marks()
        """The entries that were read from Redis since the loss."""
        self._missing: Iterator[Mark] | None = None
        self._batch: list[Mark] = []

    def owe(self, there: RedisMarks, replica: Replica, epoch: bytes) -> None:
        """Note in Redis at once that this process may have entries to write back."""
        self.are_owed, self._noted_at = True, -math.inf
        if epoch != self._epoch:  # else a copy after the same loss was interrupted
            wait_s = GIVING_S + len(replica.marks) / LEAST_GIVEN_PER_S
            self._epoch, self._noted_until = epoch, replica.clock() + wait_s
        self._there_again = Marks()
        self._missing, self._batch = None, []
        self._note(there, replica)

    def has_read(self, marks: Iterable[Mark], replica: Replica) -> None:
        """Note that Redis has *marks*."""
        self._there_again.merge_all(marks, replica.now())

    def give_back(self, there: RedisMarks, replica: Replica) -> None:
        """Write some of the entries, unless another worker does.

        If that fails, reading goes on, and a later call tries again.
        """
        try:
            self._give_back(there, replica)
        except Exception as error:  # of a library
            level = logging.DEBUG if self._has_failed else logging.WARNING
            self._has_failed = True
            logger.log(
                level,
                "entries cannot be written back to Redis: %s",
                type(error).__name__,
            )
            with suppress(Exception):  # another worker may be able to
                there.end_healing(self._name)

    def _give_back(self, there: RedisMarks, replica: Replica) -> None:
        self._note(there, replica)
        if not there.may_heal(self._name, HEALER_S):
            return
        if self._missing is None:
            self._missing = replica.marks.lacking_in(self._there_again, replica.now())
        # A batch that could not be written is kept for the next call.
        self._batch = self._batch or list(islice(self._missing, HEALED_AT_ONCE))
        if self._batch:
            there.put(self._batch)
            self._batch = []
            return
        there.end_owing(self._name)
        there.end_healing(self._name)
        self.are_owed, self._missing, self._there_again = False, None, Marks()

    def _note(self, there: RedisMarks, replica: Replica) -> None:
        now = replica.clock()
        if now < self._noted_until and now - self._noted_at > OWED_S / 3:
            there.owe(self._name)
            self._noted_at = now
