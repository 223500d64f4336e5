"""The store of one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import pytest

from jwt_middleware import MemoryStore
from jwt_middleware.grace import KEPT_S
from jwt_middleware.store import Store

from .children import in_child
from .servers import TIMEOUT_S
from .store_suite import NOW, Clock, StoreSuite, at_once


class TestMemoryStore(StoreSuite):
    """What any store must do."""

    def open(self, now: Callable[[], float]) -> Store:
        return MemoryStore(now)


def test_a_name_that_is_put_often_takes_the_room_of_one() -> None:
    """10,000 logouts of one user, each with a later end, leave one entry."""
    clock = Clock()
    store = MemoryStore(clock)
    for turn in range(10_000):
        store.put("a", NOW + turn, NOW + turn + 10)
        clock.now += 0.001
    assert store.size == 1
    assert len(store._ends) == 1
    assert store.look(["a"]) == [NOW + 9_999]


def kept_for_the_grace(store: MemoryStore, monotonic: Clock) -> None:
    """Let the store see for two periods what time it is now."""
    for _ in range(2):
        store.add("only asked", 0, 0)
        monotonic.now += KEPT_S
    store.add("only asked", 0, 0)


def test_marks_that_ended_are_dropped_after_the_grace() -> None:
    clock, monotonic = Clock(), Clock(50.0)
    store = MemoryStore(clock, clock=monotonic)
    for turn in range(1_000):
        store.put(f"name {turn}", NOW, NOW + turn + 1)
    clock.now = NOW + 990
    assert store.size == 1_000
    store.add("another", NOW, NOW + 991)
    assert store.size == len(store._ends) == 1_001
    kept_for_the_grace(store, monotonic)
    assert store.size == len(store._ends) == 11
    clock.now = NOW + 10_000
    store.put("last", NOW, NOW + 20_000)
    kept_for_the_grace(store, monotonic)
    assert store.size == len(store._ends) == 1


def test_a_mark_that_was_prolonged_is_dropped_at_its_later_end() -> None:
    clock, monotonic = Clock(), Clock(50.0)
    store = MemoryStore(clock, clock=monotonic)
    store.put("a", NOW, NOW + 1)
    store.put("a", NOW, NOW + 9)
    store.put("other", NOW, NOW + 99)
    for seconds, count in ((1, 2), (8, 2), (9, 1)):
        clock.now = NOW + seconds
        kept_for_the_grace(store, monotonic)
        assert store.size == count


def test_memory_stays_bounded_while_many_threads_write() -> None:
    clock, monotonic = Clock(), Clock(50.0)
    store = MemoryStore(clock, clock=monotonic)

    def write() -> None:
        for turn in range(200):
            store.put(f"name {turn}", NOW, NOW + turn % 7)
            store.look([f"name {turn}"])

    at_once(write)
    clock.now = NOW + 7
    store.put("last", NOW, NOW + 8)
    kept_for_the_grace(store, monotonic)
    assert store.size == len(store._ends) == 1


class Yielding(str):
    """A name that lets other threads go first whenever it is looked up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return super().__hash__()


def test_no_thread_gets_between_the_look_and_the_mark() -> None:
    """As `StoreSuite` asks, but with every switch of threads provoked."""
    store = MemoryStore(Clock())
    for turn in range(20):
        name = Yielding(turn)
        answers = at_once(lambda name=name: store.add(name, NOW, NOW + 9))  # type: ignore[misc]
        assert sum(answers) == 1
    assert store.size == len(store._ends) == 20


def test_the_wall_clock_is_the_default() -> None:
    """Dates are seconds since 1970, which other processes share."""
    store = MemoryStore()
    store.put("a", 1.0, time.time() + 60)
    store.put("b", 1.0, time.time() - 60)
    assert store.look(["a", "b"]) == [1.0, None]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_marks_are_made_leaves_no_lock_behind() -> None:
    """A thread that the child does not have cannot release what it held."""
    store, stop = MemoryStore(Clock()), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            store.put(f"{number}", 1.0, NOW + 9)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(10):
            assert in_child(lambda: store.add("mine", 3.0, NOW + 9)) is True
    finally:
        stop.set()
        writing.join(TIMEOUT_S)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_who_watches_in_the_parent_is_not_called_in_the_child() -> None:
    """The event loop that the call would wake runs in the parent only."""
    store, called = MemoryStore(Clock()), []
    store.watch(["a"], lambda: called.append(os.getpid()))

    def work() -> list[int]:
        store.put("a", 1.0, NOW + 9)
        return called

    assert in_child(work) == []
    store.put("a", 2.0, NOW + 9)
    assert called == [os.getpid()]


def test_a_forked_child_calls_nobody_who_watches_in_its_parent() -> None:
    """Those are of event loops that the child does not run."""
    store, called = MemoryStore(), list[str]()
    store.watch(["a"], lambda: called.append("parent"))
    store.start_anew()
    store.watch(["a"], lambda: called.append("child"))
    store.put("a", 1.0, 9e9)
    assert called == ["child"]
