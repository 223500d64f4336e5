"""Marks in memory: what is kept of two, what ends, and what a million costs."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from math import inf

import pytest

from jwt_middleware.grace import KEPT_S
from jwt_middleware.marks import (
    DRAWERS,
    KEY_OCTETS,
    SWEPT_AT_ONCE,
    Marks,
    key_of,
)

from .children import THREADS, at_once
from .servers import ROOT, TIMEOUT_S
from .store_suite import NOW, Clock

KEY = key_of("a")
MOST_OCTETS = 130_000_000
SWEEPS = DRAWERS // SWEPT_AT_ONCE
"""Until each drawer had its turn."""

MILLION = """
import gc, json, time
from pathlib import Path
from jwt_middleware.marks import Marks, key_of

def resident():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])

def collected():
    begun = time.perf_counter()
    gc.collect()
    return time.perf_counter() - begun

before, empty = resident(), collected()
marks = Marks()
for number in range(1_000_000):
    marks.merge(key_of(f"jti https://issuer.example {number}"), 1.5, 9e9, 1.0)
print(json.dumps({
    "marks": len(marks),
    "octets": resident() - before,
    "empty_ms": 1000 * empty,
    "full_ms": 1000 * collected(),
}))
"""


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock."""
    return Clock(50.0)


@pytest.fixture
def marks(clock: Clock) -> Marks:
    return Marks(clock)


def key_in(drawer: int, name: str = "") -> bytes:
    """A key that lies in *drawer*."""
    return bytes([drawer]) + key_of(name)[1:]


# Keys


def test_a_key_is_short_and_says_nothing() -> None:
    assert len(key_of("sub https://issuer.example alice")) == KEY_OCTETS
    assert b"alice" not in key_of("alice")
    assert key_of("a") == key_of("a") != key_of("b")


def test_a_key_is_the_same_in_every_process() -> None:
    """Unlike ``hash(name)``, which a random seed turns into another one."""
    told = subprocess.run(
        [
            *(sys.executable, "-c"),
            "from jwt_middleware.marks import key_of; print(key_of('a').hex())",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == key_of("a").hex()


@pytest.mark.parametrize(
    "name", ["", "\ud800", "a\udfffb", "\x00", "é", "e\u0301", "😀", "x" * 100_000]
)
def test_any_string_has_a_key_of_its_own(marks: Marks, name: str) -> None:
    """Lone surrogates too, which JSON can bring and UTF-8 cannot hold."""
    assert key_of(name) != key_of(name + "?")
    assert marks.merge(key_of(name), 1.0, NOW + 1, NOW)
    assert marks.look(key_of(name), NOW) == 1.0


def test_what_looks_alike_has_different_keys() -> None:
    names = ["é", "e\u0301", "a", "A", "a ", " a", "a\x00", "\ud83d\ude00", "😀"]
    assert len({key_of(name) for name in names}) == len(names)


# Of two marks


@pytest.mark.parametrize("turned", [False, True])
def test_the_later_date_and_the_later_end_remain(marks: Marks, turned: bool) -> None:
    merges = [(5.0, NOW + 10), (3.0, NOW + 30)]
    for at, until in reversed(merges) if turned else merges:
        assert marks.merge(KEY, at, until, NOW)
    assert marks.look(KEY, NOW + 29) == 5.0
    assert marks.look(KEY, NOW + 30) is None


def test_what_changes_nothing_is_told(marks: Marks) -> None:
    """Nobody who watches need be woken."""
    assert marks.merge(KEY, 5.0, NOW + 10, NOW) is True
    for at, until in ((5.0, NOW + 10), (4.0, NOW + 10), (5.0, NOW + 9), (1.0, NOW)):
        assert marks.merge(KEY, at, until, NOW) is False
    assert marks.merge(KEY, 5.5, NOW + 1, NOW) is True
    assert marks.merge(KEY, 1.0, NOW + 11, NOW) is True


def test_a_mark_ends_at_its_end_and_not_after_it(marks: Marks) -> None:
    marks.merge(KEY, 1.0, NOW + 10, NOW)
    assert marks.look(KEY, NOW + 9.999) == 1.0
    assert marks.look(KEY, NOW + 10) is None


def test_what_ended_says_nothing_any_more(marks: Marks) -> None:
    """Not even by its later date, though it still lies there."""
    marks.merge(KEY, 7.0, NOW + 10, NOW)
    assert marks.merge(KEY, 3.0, NOW + 20, NOW + 10) is True
    assert marks.look(KEY, NOW + 10) == 3.0


def test_a_mark_that_has_ended_long_ago_is_taken(marks: Marks) -> None:
    """A new worker whose clock is days ahead needs it when the clock is right again."""
    assert marks.merge(KEY, 1.0, NOW, NOW + 100 * KEPT_S) is True
    marks.merge_all([(key_of("b"), 2.0, NOW)], NOW + 100 * KEPT_S)
    assert marks.look(KEY, NOW - 1) == 1.0
    assert marks.look(key_of("b"), NOW - 1) == 2.0


@pytest.mark.parametrize("ahead", [60.0, 2 * KEPT_S, 100 * KEPT_S])
def test_a_clock_that_was_wrong_and_is_put_right_takes_nothing_away(
    marks: Marks, clock: Clock, ahead: float
) -> None:
    """A machine that began hours ahead would else never know of the mark."""
    marks.merge(KEY, 5.0, NOW + 30, NOW + ahead)
    marks.merge(KEY, 3.0, NOW + 20, NOW + ahead)
    for _ in range(3):
        clock.now += KEPT_S / 4
        sweep_all(marks, NOW + ahead)
    assert marks.look(KEY, NOW + ahead) is None
    assert marks.look(KEY, NOW) == 5.0


def test_a_mark_may_never_end(marks: Marks) -> None:
    marks.merge(KEY, 5.0, inf, NOW)
    assert marks.merge(KEY, 3.0, NOW + 1, NOW) is False
    sweep_all(marks, 1e300)
    assert marks.look(KEY, 1e300) == 5.0
    assert list(marks.lacking_in(Marks(), 1e300)) == [(KEY, 5.0, inf)]


@pytest.mark.parametrize("at", [0.0, -0.0, -5.0, 1e300, inf, 1_800_000_000.123456])
def test_a_date_comes_back_as_it_was(marks: Marks, at: float) -> None:
    marks.merge(KEY, at, NOW + 1, NOW)
    assert marks.look(KEY, NOW) == at


def test_nobody_is_marked_at_first(marks: Marks) -> None:
    assert marks.look(KEY, NOW) is None
    assert (len(marks), list(marks.lacking_in(Marks(), NOW))) == (0, [])


# Sweeping


def sweep_all(marks: Marks, now: float) -> None:
    for _ in range(SWEEPS):
        marks.sweep(now)


def wait_for_the_grace(marks: Marks, clock: Clock, now: float) -> None:
    """Let the clock say for two periods that it is *now*."""
    for _ in range(2):
        marks.sweep(now)
        clock.now += KEPT_S


def test_a_sweep_drops_what_ended_and_nothing_else(marks: Marks, clock: Clock) -> None:
    for number in range(2_000):
        marks.merge(key_of(f"{number}"), float(number), NOW + 1 + number % 2, NOW)
    sweep_all(marks, NOW)
    assert len(marks) == 2_000
    wait_for_the_grace(marks, clock, NOW + 1)
    sweep_all(marks, NOW + 1 + KEPT_S)
    assert len(marks) == 1_000
    for number in range(2_000):
        expected = float(number) if number % 2 else None
        assert marks.look(key_of(f"{number}"), NOW + 1) == expected
    wait_for_the_grace(marks, clock, NOW + 2)
    sweep_all(marks, NOW + 2 + KEPT_S)
    assert len(marks) == 0


def test_drawers_are_swept_in_turn(marks: Marks, clock: Clock) -> None:
    """Some at a time: nobody waits for a million marks to be looked through."""
    for _ in range(DRAWERS // SWEPT_AT_ONCE):
        marks.sweep(NOW + 1)
    wait_for_the_grace(marks, clock, NOW + 1)
    for _ in range(DRAWERS // SWEPT_AT_ONCE - 2):
        marks.sweep(NOW + 1)
    for drawer in range(DRAWERS):
        marks.merge(key_in(drawer), 1.0, NOW + 1, NOW)
    for turn in range(SWEEPS):
        assert len(marks) == DRAWERS - turn * SWEPT_AT_ONCE
        marks.sweep(NOW + 1 + KEPT_S)
    assert len(marks) == 0
    marks.merge(key_in(0), 1.0, NOW + 1, NOW)
    marks.sweep(NOW + 1 + KEPT_S)
    assert len(marks) == 0, "the turn has not come round"


# Many at once


def test_many_marks_are_merged_as_each_would_be(marks: Marks) -> None:
    """Of the two ways to merge, neither may be the laxer one."""
    given = [
        *((KEY, 5.0, NOW + 10), (KEY, 3.0, NOW + 30), (KEY, 4.0, NOW + 5)),
        *((key_of("b"), 1.0, NOW), (key_of("c"), 1.0, inf), (key_of("c"), 2.0, NOW)),
        (key_of("ended"), 3.0, NOW + 20),
    ]
    one_by_one = Marks()
    for each in (marks, one_by_one):
        each.merge(key_of("ended"), 7.0, NOW - 1, NOW - 2)
    for key, at, until in given:
        one_by_one.merge(key, at, until, NOW)
    marks.merge_all(given, NOW)
    assert sorted(marks.lacking_in(Marks(), NOW)) == sorted(
        [
            (KEY, 5.0, NOW + 30),
            (key_of("c"), 1.0, inf),
            (key_of("ended"), 3.0, NOW + 20),
        ]
    )
    assert list(marks.lacking_in(one_by_one, NOW)) == []
    assert list(one_by_one.lacking_in(marks, NOW)) == []


def test_every_mark_that_stands_is_listed(marks: Marks) -> None:
    for number in range(300):
        marks.merge(key_of(f"{number}"), float(number), NOW + 1 + number % 2, NOW)
    listed = sorted(marks.lacking_in(Marks(), NOW + 1))
    assert len(marks) == 300
    assert listed == sorted(
        (key_of(f"{n}"), float(n), NOW + 2) for n in range(1, 300, 2)
    )


@pytest.mark.parametrize(
    ("at", "until", "is_lacking"),
    [
        (5.0, NOW + 10, False),
        (6.0, NOW + 11, False),
        (4.0, NOW + 11, True),
        (6.0, NOW + 9, True),
        (9.0, NOW - 1, True),
    ],
)
def test_what_is_as_late_and_as_long_elsewhere_is_not_lacking(
    marks: Marks, at: float, until: float, is_lacking: bool
) -> None:
    other = Marks()
    marks.merge(KEY, 5.0, NOW + 10, NOW)
    other.merge(KEY, at, until, NOW - 2)
    assert list(marks.lacking_in(other, NOW)) == [(KEY, 5.0, NOW + 10)] * is_lacking


def test_marks_may_be_made_while_they_are_listed(marks: Marks) -> None:
    for number in range(100):
        marks.merge(key_of(f"{number}"), 1.0, NOW + 1, NOW)
    for index, (key, _, _) in enumerate(marks.lacking_in(Marks(), NOW)):
        marks.merge(key, 2.0, NOW + 9, NOW)
        marks.merge(key_in(255, f"more {index}"), 1.0, NOW + 1, NOW)
        marks.sweep(NOW)
    assert all(marks.look(key_of(f"{number}"), NOW) == 2.0 for number in range(100))


# Threads


def test_of_many_threads_one_changes_a_mark(marks: Marks) -> None:
    for number in range(50):
        key = key_of(f"{number}")
        told = at_once(lambda key=key: marks.merge(key, 1.0, NOW + 1, NOW))  # type: ignore[misc]
        assert sum(told) == 1


def test_no_mark_is_lost_between_threads_that_sweep(marks: Marks, clock: Clock) -> None:
    """A drawer that is swept is another dict: what comes meanwhile must be in it."""
    wait_for_the_grace(marks, clock, NOW)
    turns, interval = iter(range(THREADS)), sys.getswitchinterval()

    def work() -> None:
        mine = next(turns)
        for number in range(200):
            marks.merge(key_of(f"{mine} {number}"), 1.0, NOW + 1, NOW)
            marks.merge(key_of(f"ended {mine} {number}"), 1.0, NOW - 1, NOW)
            marks.merge(key_of("shared"), float(mine), NOW + 1, NOW)
            marks.sweep(NOW)

    sys.setswitchinterval(1e-6)
    try:
        at_once(work)
    finally:
        sys.setswitchinterval(interval)
    for mine in range(THREADS):
        for number in range(200):
            assert marks.look(key_of(f"{mine} {number}"), NOW) == 1.0
    assert marks.look(key_of("shared"), NOW) == THREADS - 1
    sweep_all(marks, NOW)
    assert len(marks) == 200 * THREADS + 1


def test_reading_takes_no_lock(marks: Marks) -> None:
    """A request waits neither for a sweep nor for a merge."""
    marks.merge(KEY, 1.0, NOW + 1, NOW)
    seen: list[float | None] = []
    with marks.lock:
        reader = threading.Thread(target=lambda: seen.append(marks.look(KEY, NOW)))
        reader.start()
        reader.join(TIMEOUT_S)
    assert seen == [1.0]


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc here")
def test_a_million_marks_take_little_room() -> None:
    """In a process of their own."""
    told = subprocess.run(
        [sys.executable, "-c", MILLION],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    measured = json.loads(told.stdout)
    print(measured)
    assert measured["marks"] == 1_000_000
    assert measured["octets"] < MOST_OCTETS
