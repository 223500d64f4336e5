"""The copy of marks, fed by hand, on clocks that a test turns on."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import inf
from typing import Any

import pytest
import trio
import trio.testing

from jwt_middleware.bridge import Latch, ask, run
from jwt_middleware.grace import KEPT_S
from jwt_middleware.marks import DRAWERS, SWEPT_AT_ONCE, key_of
from jwt_middleware.replica import (
    CATCH_UP_S,
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    SWEEP_S,
    Replica,
    Stale,
)

from .carriers import LOOPS, Carry, by_trio
from .children import THREADS, at_once, in_child
from .servers import ROOT, TIMEOUT_S
from .store_suite import NOW, Clock

STALENESS_S = 5.0
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

Order = Callable[[Replica], None]


class HandFeed:
    """Does what a test orders, and nothing else."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.orders: queue.Queue[Order] = queue.Queue()
        self.runs: list[tuple[int, threading.Thread]] = []
        """Process and thread of each."""
        self.stop = threading.Event()
        """That of the latest run."""

    def run(self, replica: Replica, stop: threading.Event) -> None:
        self.stop = stop
        self.runs.append((os.getpid(), threading.current_thread()))
        self.begun.release()
        while not stop.is_set():
            try:
                order = self.orders.get(timeout=0.005)
            except queue.Empty:
                continue
            try:
                order(replica)
            finally:
                self.orders.task_done()

    def __repr__(self) -> str:
        return "<HandFeed>"


class Bench:
    """A replica, its feed and its clocks."""

    def __init__(
        self, feed: HandFeed | None = None, *, passes_stale: bool = False
    ) -> None:
        self.wall, self.clock, self.feed = Clock(), Clock(50.0), feed or HandFeed()
        self.replica = Replica(
            self.feed,
            max_staleness=STALENESS_S,
            passes_stale=passes_stale,
            now=self.wall,
            clock=self.clock,
        )

    def order(self, order: Order) -> None:
        """Have the feed do it, and wait until it has."""
        self.feed.orders.put(order)
        self.feed.orders.join()

    def confirm(self) -> None:
        self.order(lambda replica: replica.confirm(self.clock()))

    def mark(self, name: str, at: float = 1.0, until: float = NOW + 100) -> None:
        self.order(lambda replica: replica.merge(key_of(name), at, until))

    def look(self, *names: str) -> Sequence[float | None]:
        answer: Sequence[float | None] = run(ask(self.replica.look, names))
        return answer

    def load(self) -> None:
        """Begin, and let the first copy come."""
        self.feed.orders.put(lambda replica: replica.confirm(self.clock()))
        self.look()


@pytest.fixture
def bench() -> Any:
    one = Bench()
    yield one
    one.replica.close()


@pytest.fixture
def lenient() -> Any:
    """One that passes by what it holds."""
    one = Bench(passes_stale=True)
    yield one
    one.replica.close()


# The first look, and the others


def test_nothing_begins_before_the_first_look(bench: Bench) -> None:
    """A process that only prepares, and then forks, has no thread to lose."""
    before = threading.active_count()
    bench.replica.merge(key_of("a"), 1.0, NOW + 1)
    bench.replica.watch(["a"], lambda: None)()
    assert (threading.active_count(), bench.feed.runs) == (before, [])


def test_the_first_look_waits_for_the_copy_in_a_thread(bench: Bench) -> None:
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(bench.look, "a", "b")
        assert bench.feed.begun.acquire(timeout=TIMEOUT_S)
        bench.mark("a", 7.0)
        assert not looking.done(), "a mark is no copy"
        bench.confirm()
        assert looking.result(TIMEOUT_S) == [7.0, None]


async def in_asyncio(look: Callable[[], Any], then: Callable[[], Any]) -> Any:
    async def later() -> None:
        then()

    looked, _ = await asyncio.gather(look(), later())
    return looked


async def in_trio(look: Callable[[], Any], then: Callable[[], Any]) -> Any:
    looked: list[Any] = []

    async def looking() -> None:
        looked.append(await look())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(looking)
        await trio.testing.wait_all_tasks_blocked()
        then()
    return looked[0]


@pytest.mark.parametrize(
    ("carry", "both"),
    [
        pytest.param(asyncio.run, in_asyncio, id="asyncio"),
        pytest.param(by_trio, in_trio, id="trio"),
    ],
)
def test_the_first_look_does_not_hold_the_loop_up(
    bench: Bench, carry: Carry, both: Any
) -> None:
    """What it waits for is brought by another task of the same loop."""
    bench.feed.orders.put(lambda replica: replica.merge(key_of("a"), 7.0, NOW + 9))

    async def main() -> Any:
        return await both(
            lambda: ask(bench.replica.look, ["a", "b"]),
            lambda: bench.feed.orders.put(lambda r: r.confirm(bench.clock())),
        )

    assert carry(main()) == [7.0, None]


def test_of_many_first_looks_one_begins_and_all_wait(bench: Bench) -> None:
    def feed() -> None:
        bench.feed.begun.acquire(timeout=TIMEOUT_S)
        bench.mark("a", 7.0)
        bench.confirm()

    with ThreadPoolExecutor(1) as pool:
        feeding = pool.submit(feed)
        assert at_once(lambda: bench.look("a")) == [[7.0]] * THREADS
        feeding.result(TIMEOUT_S)
    assert len(bench.feed.runs) == 1


def test_a_later_look_is_answered_on_the_spot(bench: Bench) -> None:
    """No coroutine is even made: there is nothing to wait for."""
    bench.load()
    bench.mark("a", 7.0)
    assert bench.replica.look(["b", "a", "b"]) == [None, 7.0, None]
    assert bench.replica.look([]) == []


@pytest.mark.parametrize("carry", LOOPS)
def test_a_later_look_needs_no_thread(bench: Bench, carry: Carry) -> None:
    bench.load()
    before = threading.active_count()

    async def main() -> Any:
        return await ask(bench.replica.look, ["a"]), threading.active_count()

    assert carry(main()) == ([None], before)


@pytest.mark.parametrize(("staleness", "seconds"), [(0.1, 1.5), (2.0, 2.0), (5.0, 3.0)])
def test_a_copy_that_does_not_come_is_waited_for_within_bounds(
    monkeypatch: pytest.MonkeyPatch, staleness: float, seconds: float
) -> None:
    """A store that was just made needs a second, however old a copy may be."""
    waited: list[float] = []

    async def wait(latch: Latch, seconds: float) -> bool:
        waited.append(seconds)
        return False

    monkeypatch.setattr(Latch, "wait", wait)
    feed = HandFeed()
    replica = Replica(feed, max_staleness=staleness, passes_stale=False, now=Clock())
    with pytest.raises(Stale, match="inf seconds"):
        run(ask(replica.look, ["a"]))
    assert waited == [seconds]
    replica.close()


def test_what_is_merged_here_is_seen_at_once(bench: Bench) -> None:
    bench.load()
    bench.replica.merge(key_of("a"), 7.0, NOW + 1)
    assert bench.look("a") == [7.0]


# How old it may be


def test_marks_pass_until_they_are_too_old(bench: Bench) -> None:
    bench.load()
    bench.mark("a", 7.0)
    bench.clock.now += STALENESS_S
    assert bench.look("a", "b") == [7.0, None]
    bench.clock.now += 0.001
    with pytest.raises(Stale, match=r"5\.0 seconds old"):
        bench.look("a")


def test_nothing_is_answered_by_what_is_too_old(bench: Bench) -> None:
    """Not even where it holds the mark: 503 is what all are told."""
    bench.load()
    bench.mark("a")
    bench.clock.now += STALENESS_S + 1
    for names in ((), ("a",), ("b",)):
        with pytest.raises(Stale):
            bench.look(*names)


def test_what_is_heard_again_passes_again(bench: Bench) -> None:
    bench.load()
    bench.clock.now += STALENESS_S + 1
    with pytest.raises(Stale):
        bench.look("a")
    bench.mark("a", 7.0)
    with pytest.raises(Stale):
        bench.look("a")
    bench.confirm()
    assert bench.look("a") == [7.0]


def test_an_earlier_word_does_not_make_it_older(bench: Bench) -> None:
    bench.load()
    bench.clock.now += 4
    bench.confirm()
    bench.order(lambda replica: replica.confirm(51.0))
    bench.clock.now += 5
    assert bench.look("a") == [None]


def test_the_wall_clock_does_not_make_it_old(bench: Bench) -> None:
    """Somebody sets it back, or forth: marks end by it, and nothing else does."""
    bench.load()
    bench.mark("a", 7.0, NOW + 100)
    bench.wall.now -= 10_000
    assert bench.look("a") == [7.0]
    bench.wall.now += 1_000_000
    assert bench.look("a") == [None]


def test_a_lenient_one_passes_and_says_so(
    lenient: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    lenient.load()
    lenient.mark("a", 7.0)
    lenient.clock.now += STALENESS_S
    assert lenient.look("a") == [7.0]
    assert caplog.text == ""
    lenient.clock.now += 3
    assert lenient.look("a", "b") == [7.0, None]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "passed by marks that are 8.0 seconds old"


class SlowFeed(HandFeed):
    """Reads the store for a look, and takes longer than a copy may be old."""

    def __init__(self, pass_time: Callable[[], None]) -> None:
        super().__init__()
        self.pass_time = pass_time

    def poll(self, replica: Replica) -> None:
        asked = replica.clock()
        self.pass_time()
        replica.merge(key_of("a"), 7.0, NOW + 100)
        replica.confirm(asked)


def test_a_look_that_reads_for_long_is_answered_by_what_it_read() -> None:
    """It knows all marks of before it began, as beside threads that are busy."""

    def pass_time() -> None:
        slow.clock.now += 10 * STALENESS_S

    slow = Bench(SlowFeed(pass_time))
    slow.load()
    slow.clock.now += STALENESS_S + 1
    assert slow.look("a") == [7.0]
    slow.clock.now += 1
    assert slow.look("a") == [7.0], "and so is the next one, that has to read again"
    slow.replica.close()


# A feed that fails


class FailingFeed:
    """Fails each time, but for the turns in *confirms*, when it first has news."""

    def __init__(self, clock: Clock, confirms: Sequence[int] = ()) -> None:
        self.clock, self.confirms, self.turn = clock, confirms, 0
        self.thread = threading.current_thread()

    def run(self, replica: Replica, stop: threading.Event) -> None:
        self.turn += 1
        self.thread = threading.current_thread()
        if self.turn in self.confirms:
            self.clock.now += 0.01
            replica.confirm(self.clock())
        raise OSError(f"turn {self.turn}\n\x1b[31m")

    def __repr__(self) -> str:
        return "<FailingFeed>"


class ImpatientFeed(FailingFeed):
    """Notes how long is waited between its turns, waits for nothing, ends at *most*."""

    def __init__(self, clock: Clock, confirms: Sequence[int], most: int) -> None:
        super().__init__(clock, confirms)
        self.most = most
        self.waits: list[float] = []

    def run(self, replica: Replica, stop: threading.Event) -> None:
        def wait(timeout: float) -> bool:
            self.waits.append(timeout)
            if len(self.waits) >= self.most:
                stop.set()
            return stop.is_set()

        vars(stop)["wait"] = wait
        super().run(replica, stop)


def waits_of(confirms: Sequence[int], most: int) -> list[float]:
    clock = Clock(50.0)
    feed = ImpatientFeed(clock, confirms, most)
    replica = Replica(
        feed, max_staleness=0.1, passes_stale=True, now=Clock(), clock=clock
    )
    run(ask(replica.look, []))
    feed.thread.join(TIMEOUT_S)
    assert (feed.turn, len(feed.waits)) == (most, most)
    return feed.waits


def test_a_feed_that_fails_is_begun_anew_after_growing_waits() -> None:
    waits = waits_of((), 7)
    assert waits[0] == FIRST_WAIT_S
    for earlier, later in pairwise(waits):
        assert later == min(2 * earlier, LONGEST_WAIT_S)
    assert waits[-1] == LONGEST_WAIT_S


def test_a_feed_that_had_news_is_begun_anew_soon() -> None:
    assert waits_of((5,), 6)[4] == FIRST_WAIT_S


def test_one_outage_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """And its end is told, however often was tried in between."""
    caplog.set_level(logging.DEBUG, "jwt_middleware")
    waits_of((4,), 6)
    told = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if "are fed" in record.getMessage() or "not fed" in record.getMessage()
    ]
    assert [level for level, _ in told] == [
        *("WARNING", "DEBUG", "DEBUG", "INFO", "WARNING", "DEBUG", "DEBUG")
    ]
    assert told[3][1] == "marks are fed again: <FailingFeed>"


def test_what_is_logged_of_a_fault_is_one_line_of_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    waits_of((), 1)
    (text,) = [
        record.getMessage()
        for record in caplog.records
        if "not fed" in record.getMessage()
    ]
    assert text.startswith("marks are not fed by <FailingFeed>: OSError: ")
    assert text.isprintable()


def test_a_feed_that_fails_comes_back(bench: Bench) -> None:
    """With the marks that were held, and by itself."""

    def fail(_: Replica) -> None:
        raise RuntimeError("the disk is gone")

    bench.load()
    bench.mark("a", 7.0)
    assert bench.feed.begun.acquire(timeout=TIMEOUT_S)
    bench.order(fail)
    assert bench.look("a") == [7.0], "an outage shorter than the bound is not noticed"
    assert bench.feed.begun.acquire(timeout=TIMEOUT_S)
    bench.mark("b", 8.0)
    bench.confirm()
    assert bench.look("a", "b") == [7.0, 8.0]


def test_a_thread_that_cannot_start_is_started_by_a_later_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process has too many: who looks is told, and the next one tries again."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start"):
                bench.look("a")
    bench.load()
    assert bench.look("a") == [None]


# Marks that end


def test_marks_that_ended_are_dropped_bit_by_bit(bench: Bench) -> None:
    """With the news, and not more often than each second."""
    bench.load()
    for number in range(500):
        bench.mark(f"{number}", until=NOW + 1)
    bench.mark("stays", 7.0, until=inf)
    bench.wall.now += 1
    for _ in range(2):
        bench.clock.now += KEPT_S
        bench.confirm()
    assert len(bench.replica.marks) > 450, "one sweep does not drop all"
    sizes = []
    for _ in range(DRAWERS // SWEPT_AT_ONCE):
        bench.clock.now += SWEEP_S
        bench.confirm()
        sizes.append(len(bench.replica.marks))
        bench.clock.now += SWEEP_S / 2
        bench.confirm()
        assert len(bench.replica.marks) == sizes[-1]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 300
    assert sizes[-1] == 1
    assert bench.look("stays") == [7.0]


# Who watches


def test_who_watches_is_called_when_a_name_is_marked(bench: Bench) -> None:
    called: list[str] = []
    ends = [
        bench.replica.watch(["a", "b"], lambda: called.append("a or b")),
        bench.replica.watch(["b"], lambda: called.append("b")),
    ]
    bench.load()
    bench.mark("a")
    bench.mark("x")
    assert called == ["a or b"]
    bench.mark("b")
    assert sorted(called) == ["a or b", "a or b", "b"]
    ends[0]()
    bench.mark("a", 2.0)
    bench.mark("b", 2.0)
    assert sorted(called) == ["a or b", "a or b", "b", "b"]


def test_nobody_is_called_for_what_was_known(bench: Bench) -> None:
    called: list[None] = []
    bench.load()
    bench.mark("a", 5.0)
    bench.replica.watch(["a"], lambda: called.append(None))
    bench.mark("a", 5.0)
    bench.mark("a", 4.0)
    bench.mark("b", 9.0)
    assert called == []
    bench.replica.merge(key_of("a"), 6.0, NOW + 1)
    assert called == [None]


def test_who_is_called_sees_the_mark(bench: Bench) -> None:
    """Not one that is about to be made: the call may come before anything else."""
    seen: list[Sequence[float | None]] = []
    bench.load()
    bench.replica.watch(["a"], lambda: seen.append(bench.look("a")))
    bench.mark("a", 7.0)
    assert seen == [[7.0]]


def test_many_marks_at_once_are_seen_and_call_who_watches(bench: Bench) -> None:
    called: list[str] = []
    bench.load()
    bench.replica.watch(["a"], lambda: called.append("a"))
    bench.order(lambda r: r.merge_all([(key_of("a"), 7.0, inf), (key_of("b"), 8.0, 0)]))
    assert bench.look("a", "b") == [7.0, None]
    assert called == []
    bench.order(lambda r: r.tell_all())
    assert called == ["a"]


# Its end


def test_a_close_ends_the_thread_and_a_look_begins_anew(bench: Bench) -> None:
    """With the marks that are held; but what was missed is waited for."""
    bench.load()
    bench.mark("a", 7.0)
    (_, first), *_ = bench.feed.runs
    bench.replica.close()
    assert not first.is_alive()
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(bench.look, "a", "b")
        bench.mark("b", 8.0)
        assert not looking.done()
        bench.confirm()
        assert looking.result(TIMEOUT_S) == [7.0, 8.0]
    assert len(bench.feed.runs) == 2


def test_a_close_is_harmless_before_the_first_look_and_twice(bench: Bench) -> None:
    bench.replica.close()
    bench.replica.close()
    bench.load()
    bench.replica.close()
    bench.replica.close()
    assert len(bench.feed.runs) == 1


def test_a_close_ends_a_wait_for_a_feed_that_failed() -> None:
    """At once: nobody waits for the second that it would rest."""
    clock = Clock(50.0)
    feed = FailingFeed(clock)
    replica = Replica(
        feed, max_staleness=0.1, passes_stale=True, now=Clock(), clock=clock
    )
    run(ask(replica.look, []))
    assert feed.thread is not threading.current_thread()
    replica.close()
    assert not feed.thread.is_alive()


def test_one_that_nobody_has_any_more_is_forgotten() -> None:
    bench = Bench()
    gone = weakref.ref(bench.replica)
    del bench
    assert gone() is None


# A fork


class SteadyFeed:
    """Confirms, and marks *name* in the process and the thread that it runs in."""

    def __init__(self) -> None:
        self.name = "parent"
        self.processes: list[int] = []
        """The process of each run."""

    def run(self, replica: Replica, stop: threading.Event) -> None:
        self.processes.append(os.getpid())
        replica.merge(key_of(self.name), 2.0, NOW + 100)
        while not stop.is_set():
            replica.confirm(replica.clock())
            stop.wait(0.01)


def steady(staleness_s: float = STALENESS_S) -> tuple[SteadyFeed, Replica]:
    feed = SteadyFeed()
    replica = Replica(feed, max_staleness=staleness_s, passes_stale=False, now=Clock())
    return feed, replica


def test_a_child_begins_anew_with_the_marks_of_its_parent() -> None:
    feed, replica = steady()
    replica.merge(key_of("a"), 7.0, NOW + 100)
    look = run(ask(replica.look, ["a", "parent", "child"]))
    assert look == [7.0, 2.0, None]

    def work() -> tuple[object, int]:
        feed.name = "child"
        looked = run(ask(replica.look, ["a", "parent", "child"]))
        replica.close()
        return looked, feed.processes.count(os.getpid())

    assert in_child(work) == ([7.0, 2.0, 2.0], 1)
    assert run(ask(replica.look, ["a", "parent", "child"])) == [7.0, 2.0, None]
    replica.close()


def test_a_child_of_one_that_was_not_used_begins_by_itself() -> None:
    feed, replica = steady()
    assert in_child(lambda: run(ask(replica.look, ["parent"]))) == [2.0]
    assert feed.processes == [], "nothing runs in the parent"


FORKING = """
import faulthandler, os, threading
from jwt_middleware.bridge import Latch, ask, run
from jwt_middleware.marks import key_of
from tests.test_replica import NOW, steady

_, replica = steady()
run(ask(replica.look, []))

def mark():
    number = 0
    while True:
        number += 1
        replica.merge(key_of(f"{number}"), 1.0, NOW + 9)
        replica.watch([f"{number}"], lambda: None)()

for _ in range(4):
    threading.Thread(target=mark, daemon=True).start()
for _ in range(50):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        called = []
        replica.watch(["mine"], lambda: called.append(None))
        replica.merge(key_of("mine"), 3.0, NOW + 9)
        seen = run(ask(replica.look, ["mine"])), len(called)
        os._exit(0 if seen == ([3.0], 1) else 1)
    assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""


def test_a_fork_while_marks_are_made_leaves_no_lock_behind() -> None:
    """A thread that is gone cannot give back what it held.

    In a process of its own: what measures the coverage here has a lock as well.
    """
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_who_watched_in_the_parent_is_not_called_in_the_child() -> None:
    """What it would wake is a loop that runs in the parent."""
    _, replica = steady()
    called: list[int] = []
    replica.watch(["a"], lambda: called.append(os.getpid()))

    def work() -> list[int]:
        replica.merge(key_of("a"), 7.0, NOW + 1)
        return called

    assert in_child(work) == []
    replica.merge(key_of("a"), 7.0, NOW + 1)
    assert called == [os.getpid()]


def test_a_child_begins_with_the_marks_that_are_held() -> None:
    """What happens in the child, seen in this process."""
    _, replica = steady()
    replica.merge(key_of("a"), 7.0, NOW + 9)
    called: list[None] = []
    replica.watch(["a"], lambda: called.append(None))
    replica.start_anew()
    assert replica.as_of == -inf
    replica.merge(key_of("a"), 8.0, NOW + 9)
    assert called == []
    assert run(ask(replica.look, ["a"])) == [8.0]
    replica.close()


def test_a_look_that_waits_while_the_store_is_closed_begins_anew(bench: Bench) -> None:
    """It would else wait for a copy that never comes, and nobody would begin one."""
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(bench.look, "a")
        assert bench.feed.begun.acquire(timeout=TIMEOUT_S)
        bench.replica.close()
        assert bench.feed.begun.acquire(timeout=TIMEOUT_S), "a second time"
        bench.mark("a", 7.0)
        bench.confirm()
        assert looking.result(TIMEOUT_S) == [7.0]


# Locks, and threads that come and go


def test_no_lock_is_held_while_the_thread_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Thread.start` waits; under gevent other greenlets run then, and look as well."""
    start, seen = threading.Thread.start, []
    started: list[threading.Thread] = []

    def slow_start(thread: threading.Thread) -> None:
        started.append(thread)
        if thread is started[0]:
            seen.append(at_once_with_a_limit(bench.replica.look, []))
        start(thread)

    def at_once_with_a_limit(look: Callable[..., Any], names: Sequence[str]) -> bool:
        other = threading.Thread(target=lambda: look(names).close(), daemon=True)
        other.start()
        other.join(TIMEOUT_S)
        return not other.is_alive()

    monkeypatch.setattr(threading.Thread, "start", slow_start)
    bench.load()
    assert seen == [True]
    assert bench.feed.runs == [(os.getpid(), started[0])]


def test_no_lock_is_held_while_a_close_waits_for_the_thread(bench: Bench) -> None:
    """Who looks meanwhile goes by what is held."""
    go_on, reached = threading.Event(), threading.Event()

    def hang(_: Replica) -> None:
        reached.set()
        go_on.wait(TIMEOUT_S)

    bench.load()
    bench.mark("a", 7.0)
    bench.feed.orders.put(hang)
    assert reached.wait(TIMEOUT_S)
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(bench.replica.close)
        assert bench.feed.stop.wait(TIMEOUT_S)
        looked = pool.submit(bench.look, "a").result(TIMEOUT_S)
        assert not closing.done()
        go_on.set()
        closing.result(TIMEOUT_S)
    assert looked == [7.0]


def test_a_thread_that_does_not_end_is_waited_for_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed is run by one thread at a time."""
    monkeypatch.setattr("jwt_middleware.replica.CLOSE_S", 0.01)
    go_on, reached = threading.Event(), threading.Event()

    def hang(_: Replica) -> None:
        reached.set()
        go_on.wait(TIMEOUT_S)

    bench.load()
    bench.feed.orders.put(hang)
    assert reached.wait(TIMEOUT_S)
    bench.replica.close()
    looking: Any = bench.replica.look(["a"])  # has started the next thread
    assert len(bench.feed.runs) == 1
    bench.feed.orders.put(lambda replica: replica.confirm(bench.clock()))
    go_on.set()
    assert run(looking) == [None]
    assert len(bench.feed.runs) == 2


def test_a_close_beside_another_does_nothing_twice(bench: Bench) -> None:
    go_on, reached = threading.Event(), threading.Event()

    def hang(_: Replica) -> None:
        reached.set()
        go_on.wait(TIMEOUT_S)

    bench.load()
    bench.feed.orders.put(hang)
    assert reached.wait(TIMEOUT_S)
    with ThreadPoolExecutor(4) as pool:
        closings = [pool.submit(bench.replica.close) for _ in range(4)]
        go_on.set()
        for closing in closings:
            closing.result(TIMEOUT_S)
    bench.load()
    assert bench.look("a") == [None]


# A look that reads the store itself


class PolledFeed(HandFeed):
    """Can also be read by a look; *reads* says what then happens."""

    def __init__(self) -> None:
        super().__init__()
        self.polls: list[threading.Thread] = []
        self.reads: Order = lambda replica: replica.confirm(replica.clock())

    def poll(self, replica: Replica) -> None:
        self.polls.append(threading.current_thread())
        self.reads(replica)


@pytest.fixture
def polled() -> Any:
    one = Bench(PolledFeed())
    yield one
    one.replica.close()


def test_a_look_that_finds_the_copy_stale_reads_the_store(polled: Bench) -> None:
    """The thread that feeds it may have had no turn, beside busy threads."""
    polled.load()
    polled.clock.now += STALENESS_S
    assert polled.look("a") == [None]
    assert polled.feed.polls == []  # type: ignore[attr-defined]
    polled.clock.now += 1

    def read(replica: Replica) -> None:
        replica.merge(key_of("a"), 7.0, NOW + 9)
        replica.confirm(replica.clock())

    polled.feed.reads = read  # type: ignore[attr-defined]
    assert polled.look("a") == [7.0]
    assert polled.look("a") == [7.0]
    assert polled.feed.polls == [threading.current_thread()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("carry", LOOPS)
def test_under_a_loop_a_thread_reads_the_store(polled: Bench, carry: Carry) -> None:
    polled.load()
    polled.clock.now += STALENESS_S + 1
    assert carry(ask(polled.replica.look, ["a"])) == [None]
    (reader,) = polled.feed.polls  # type: ignore[attr-defined]
    assert reader is not threading.current_thread()


def test_a_reading_that_helps_nothing_is_stale(polled: Bench) -> None:
    polled.load()
    polled.clock.now += STALENESS_S + 1
    polled.feed.reads = lambda _: None  # type: ignore[attr-defined]
    with pytest.raises(Stale):
        polled.look("a")


def test_a_reading_that_fails_is_tried_once_until_the_feed_works_again(
    polled: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is away for long costs no request a wait."""

    def fail(_: Replica) -> None:
        raise OSError("the disk is gone")

    polled.load()
    polled.clock.now += STALENESS_S + 1
    polled.feed.reads = fail  # type: ignore[attr-defined]
    for _ in range(3):
        with pytest.raises(Stale):
            polled.look("a")
    assert len(polled.feed.polls) == 1  # type: ignore[attr-defined]
    assert caplog.text.count("the disk is gone") == 1
    polled.confirm()
    assert polled.look("a") == [None]


@pytest.mark.parametrize("carry", [run, *LOOPS])
def test_one_look_reads_and_the_others_wait_for_it(polled: Bench, carry: Carry) -> None:
    go_on, reached = threading.Event(), threading.Event()

    def read(replica: Replica) -> None:
        reached.set()
        go_on.wait(TIMEOUT_S)
        replica.merge(key_of("a"), 7.0, NOW + 9)
        replica.confirm(replica.clock())

    polled.load()
    polled.clock.now += STALENESS_S + 1
    polled.feed.reads = read  # type: ignore[attr-defined]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(polled.look, "a")
        assert reached.wait(TIMEOUT_S)
        others = [pool.submit(carry, ask(polled.replica.look, ["a"])) for _ in range(3)]
        assert not any(other.done() for other in others)
        go_on.set()
        assert first.result(TIMEOUT_S) == [7.0]
        assert [other.result(TIMEOUT_S) for other in others] == [[7.0]] * 3
    assert len(polled.feed.polls) == 1  # type: ignore[attr-defined]


def test_who_comes_while_a_reading_hangs_is_told_at_once(polled: Bench) -> None:
    """The longest wait counts from when the reading began."""
    go_on, reached = threading.Event(), threading.Event()

    def read(_: Replica) -> None:
        reached.set()
        go_on.wait(TIMEOUT_S)

    polled.load()
    polled.clock.now += STALENESS_S + 1
    polled.feed.reads = read  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(polled.look, "a")
        assert reached.wait(TIMEOUT_S)
        polled.clock.now += CATCH_UP_S
        with pytest.raises(Stale):
            polled.look("a")
        assert not first.done()
        go_on.set()
        assert isinstance(first.exception(TIMEOUT_S), Stale)


LOCK = threading.Lock


class OvertakenLock:
    """A lock that another caller gets first, the next time, if *overtake* is set."""

    overtake: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.lock = LOCK()
        self.acquire, self.release = self.lock.acquire, self.lock.release

    def __enter__(self) -> None:
        overtake, OvertakenLock.overtake = OvertakenLock.overtake, None
        if overtake is not None:
            overtake()
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def test_of_two_who_begin_one_starts_the_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have seen that there is none, and the later one finds it begun."""
    feed = HandFeed()
    with monkeypatch.context() as locks:
        locks.setattr(threading, "Lock", OvertakenLock)
        bench = Bench(feed)
    OvertakenLock.overtake = bench.load
    assert bench.look("a") == [None]
    assert OvertakenLock.overtake is None
    bench.replica.close()
    assert len(bench.feed.runs) == 1


def test_a_thread_that_cannot_start_leaves_the_next_one_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may be closed, and be used again, while the start fails."""
    with monkeypatch.context() as full:

        def refuse(_: threading.Thread) -> None:
            bench.replica.close()
            full.undo()
            bench.load()
            raise RuntimeError("can't start new thread")

        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            bench.look("a")
    assert bench.look("a") == [None]
    assert len(bench.feed.runs) == 1
