"""Decide which entries ended so long ago that they may be dropped."""

from __future__ import annotations

import math
from typing import NamedTuple

KEPT_S = 3600
"""Seconds for which entries are kept after their end: the wall clock may be wrong."""


class Readings(NamedTuple):
    """The lowest readings of a wall clock, in two periods of a monotonic clock.

    If a wall clock jumps ahead, every entry seems to have ended, although the clock may
    be corrected a minute later.  A monotonic clock cannot jump, but it does not know
    the date.  So an entry may be dropped only if every reading of the wall clock was
    past its end for `KEPT_S` seconds of the monotonic clock.  Two numbers are enough to
    decide that: the lowest reading of the current period, and the lowest of the period
    before.  So entries are kept for one to two periods after their end.

    The monotonic clock of the operating system is the same in all processes and begins
    again at every boot: after a boot too few seconds are counted, and never too many.
    """

    began: float
    """When the current period began, by the monotonic clock."""
    lowest: float
    """The lowest reading of the wall clock in the current period."""
    lowest_before: float = -math.inf
    """The lowest reading in the period before, which lasted for `KEPT_S` seconds."""

    def noted(self, wall: float, monotonic: float) -> Readings:
        """Return the readings after one more reading of both clocks."""
        if monotonic < self.began:  # the machine was started again
            return Readings(monotonic, min(wall, self.lowest), self.lowest_before)
        if monotonic - self.began >= KEPT_S:
            return Readings(monotonic, wall, self.lowest)
        return self if wall >= self.lowest else self._replace(lowest=wall)

    @property
    def dropped_until(self) -> float:
        """Entries whose end is not later than this date may be dropped."""
        return min(self.lowest, self.lowest_before)


NO_READINGS = Readings(math.inf, math.inf)
