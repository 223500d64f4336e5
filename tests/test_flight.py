"""One call at a time, which everybody may wait for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jwt_middleware.bridge import Latch, run
from jwt_middleware.flight import SingleFlight
from jwt_middleware.fork import _after_in_child

SOON_S = 30
"""Nobody waits as long: it is for a test that fails."""


class Call:
    """A call that is held until it is let go."""

    def __init__(self) -> None:
        self.times = 0
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        self.begun.set()
        self.may_end.wait(SOON_S)


def yes() -> bool:
    return True


def no() -> bool:
    return False


def landed(latch: Latch | None) -> bool:
    assert latch is not None
    return run(latch.wait(SOON_S))


def test_a_call_is_made_once_for_all_who_come_meanwhile() -> None:
    call = Call()
    flights = SingleFlight(call)
    first = flights.join(yes)
    assert all(flights.join(may) is first for may in (yes, no) for _ in range(10))
    call.may_end.set()
    assert landed(first)
    assert call.times == 1


def test_after_it_another_may_be_made() -> None:
    call = Call()
    call.may_end.set()
    flights = SingleFlight(call)
    assert landed(flights.join(yes))
    assert landed(flights.join(yes))
    assert call.times == 2


def test_none_is_made_where_none_may_be() -> None:
    call = Call()
    assert SingleFlight(call).join(no) is None
    assert call.times == 0


def test_who_may_begin_is_asked_by_one_at_a_time() -> None:
    """What one call changes, the next question sees: else two would be made in turn."""
    done: list[int] = []
    flights = SingleFlight(lambda: done.append(1))
    barrier = threading.Barrier(8)

    def join(_: int) -> None:
        barrier.wait(SOON_S)
        latch = flights.join(lambda: not done)
        if latch is not None:
            landed(latch)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(join, range(8)))
    assert done == [1]


def test_a_call_that_fails_is_no_end() -> None:
    """Nobody waits for it for ever, and the next is made."""

    def fail() -> None:
        raise ZeroDivisionError

    reported: list[object] = []
    before, threading.excepthook = threading.excepthook, reported.append
    try:
        flights = SingleFlight(fail)
        assert landed(flights.join(yes))
        assert landed(flights.join(yes))
    finally:
        threading.excepthook = before
    assert len(reported) == 2


def test_it_keeps_no_process_from_ending() -> None:
    daemons: list[bool] = []
    flights = SingleFlight(lambda: daemons.append(threading.current_thread().daemon))
    assert landed(flights.join(yes))
    assert daemons == [True]


def test_where_no_thread_can_be_had_none_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As at the limit of a container, or while the interpreter shuts down."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    call = Call()
    call.may_end.set()
    flights = SingleFlight(call)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            flights.join(yes)
    assert landed(flights.join(yes))


def in_child(work: Callable[[], bool]) -> bool:
    """Whether *work* says yes in a fork of this process."""
    child = os.fork()
    if child == 0:  # leave without pytest's own ending
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_starts_with_nothing_under_way() -> None:
    """The thread that would open the latch, or give back the lock, is not there."""
    call = Call()
    flights = SingleFlight(call)
    under_way = flights.join(yes)
    assert call.begun.wait(SOON_S)

    def flies_itself() -> bool:
        call.may_end.set()
        latch = flights.join(yes)
        return latch is not under_way and landed(latch)

    with flights._lock:
        assert in_child(flies_itself)
    assert flights.join(no) is under_way
    call.may_end.set()
    assert landed(under_way)


def test_what_a_child_forgets_is_every_flight() -> None:
    """What runs in the child, seen in this process."""
    call = Call()
    flights = SingleFlight(call)
    under_way = flights.join(yes)
    _after_in_child()
    assert flights.join(no) is None
    call.may_end.set()
    assert landed(under_way)
