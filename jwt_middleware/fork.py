"""What a fork leaves behind: threads, and the locks that they held."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """Something with a thread of its own, or with a lock."""

    def start_anew(self) -> None:
        """Make the locks anew, and forget the threads; called in the child."""
        ...


_every: WeakSet[Forked] = WeakSet()


def start_anew_after_fork(one: Forked) -> None:
    """Have *one* told in every child; it may be forgotten meanwhile."""
    _every.add(one)


def _start_all_anew() -> None:
    for one in _every:
        one.start_anew()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_start_all_anew)
