"""What a fork does to threads, locks and open files, and how to live with it."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Starting(Protocol):
    """Something with a thread of its own, or with a lock, which a child has not."""

    def start_anew(self) -> None:
        """Make the locks anew, and forget the threads; called in the child."""
        ...


class Resting(Protocol):
    """Something that must not be in use while the process forks."""

    def rest(self) -> None:
        """Wait until it is not in use, and let nobody use it."""
        ...

    def go_on(self) -> None:
        """Let it be used again; called in the parent and in the child."""
        ...


_starting: WeakSet[Starting] = WeakSet()
_resting: WeakSet[Resting] = WeakSet()
_at_rest: list[Resting] = []
_lock = threading.Lock()
"""Another thread may add one while the process forks."""


def start_anew_after_fork(one: Starting) -> None:
    """Have *one* told in every child.  It may be forgotten meanwhile."""
    with _lock:
        _starting.add(one)


def rest_during_fork(one: Resting) -> None:
    """Have *one* told before a fork and after it.  It may be forgotten meanwhile."""
    with _lock:
        _resting.add(one)


def _before() -> None:
    with _lock:
        every = list(_resting)
    for one in every:
        one.rest()
        _at_rest.append(one)


def _after() -> None:
    while _at_rest:
        _at_rest.pop().go_on()


def _after_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _after()
    for one in list(_starting):
        one.start_anew()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(
        before=_before, after_in_parent=_after, after_in_child=_after_in_child
    )
