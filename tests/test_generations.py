"""A mapping that forgets what nobody asks for, under many threads."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwt_middleware.generations import Generations

from .children import THREADS, at_once, in_child

ROUNDS = 2_000

many = settings(deadline=None, max_examples=200)


def octets(number: int) -> bytes:
    return number.to_bytes(32, "big")


def filled(size: int, count: int) -> Generations:
    generations = Generations(size)
    for number in range(count):
        generations.put(octets(number), octets(number + 1))
    return generations


def bound(size: int) -> int:
    """The most that may be kept."""
    return size


def test_what_was_put_is_found_and_nothing_else() -> None:
    generations = filled(10, 3)
    assert [generations.get(octets(n)) for n in range(3)] == [
        octets(n + 1) for n in range(3)
    ]
    assert generations.get(octets(3)) is None
    assert generations.get(b"") is None
    assert len(generations) == 3


def test_what_is_put_again_stands_alone() -> None:
    """Also where the one before has grown old."""
    generations = filled(4, 2)
    for number in (10, 11):
        generations.put(octets(number), b"")
        generations.put(octets(0), b"new")
        assert generations.get(octets(0)) == b"new"
    assert len(generations) <= 4


def test_an_empty_value_is_a_value() -> None:
    generations = Generations(4)
    generations.put(b"key", b"")
    assert generations.get(b"key") == b""


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 100, 101])
def test_no_more_is_kept_than_was_allowed(size: int) -> None:
    generations = Generations(size)
    for number in range(5 * size + 5):
        generations.put(octets(number), b"")
        assert len(generations) <= bound(size)
        assert generations.get(octets(number)) == b""
        generations.get(octets(number // 2))
        assert len(generations) <= bound(size)


def test_what_is_asked_for_stays_while_the_others_are_forgotten() -> None:
    generations = filled(10, 1)
    for number in range(1, 1_000):
        generations.put(octets(number), b"")
        assert generations.get(octets(0)) == octets(1)
    assert sum(generations.get(octets(n)) is not None for n in range(1, 990)) == 0


def test_what_nobody_asks_for_is_forgotten() -> None:
    generations = filled(10, 21)
    assert generations.get(octets(0)) is None


def test_asking_for_what_is_not_there_forgets_nothing() -> None:
    """A stranger's tokens drive out nobody's."""
    generations = filled(10, 10)
    before = (dict(generations._young), dict(generations._old))
    for number in range(100, 10_100):
        assert generations.get(octets(number)) is None
    assert (generations._young, generations._old) == before
    assert len(generations) == 10


@many
@given(
    st.integers(1, 9),
    st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=80),
)
def test_the_last_half_that_was_used_is_always_there(
    size: int, steps: list[tuple[bool, int]]
) -> None:
    """And whatever is there is what was put last."""
    generations = Generations(size)
    last: dict[int, bytes] = {}
    used: OrderedDict[int, None] = OrderedDict()
    for step, (is_put, number) in enumerate(steps):
        if is_put:
            last[number] = octets(step)
            generations.put(octets(number), last[number])
        found = generations.get(octets(number))
        assert found in (None, last.get(number))
        if found is not None:
            used[number] = None
            used.move_to_end(number)
        recent = list(used)[-max(size // 2, 1) :]
        young_or_old = generations._young.keys() | generations._old.keys()
        assert {octets(n) for n in recent} <= young_or_old
        assert len(generations) <= bound(size)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_threads_find_what_was_put_under_that_name(size: int) -> None:
    generations = Generations(size)

    def work() -> int:
        chosen = random.Random(id(object()))  # noqa: S311
        found = 0
        for _ in range(ROUNDS):
            number = chosen.randrange(2 * size + 2)
            value = generations.get(octets(number))
            if value is None:
                generations.put(octets(number), octets(number + 1))
            else:
                assert value == octets(number + 1)
                found += 1
            assert len(generations._young) <= bound(size) // 2 + THREADS
        return found

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        found = at_once(work)
    finally:
        sys.setswitchinterval(before)
    assert len(found) == THREADS, "a thread has failed"
    assert sum(found) > 0
    assert len(generations) <= bound(size) + THREADS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_was_forked_while_it_was_written_can_write() -> None:
    generations = filled(4, 4)

    def use() -> list[bytes | None]:
        for number in range(4, 8):
            generations.put(octets(number), b"child")
        return [generations.get(octets(n)) for n in (0, 7)]

    with generations._lock:
        assert in_child(use) == [None, b"child"]
    assert generations.get(octets(3)) == octets(4)
    assert generations.get(octets(7)) is None


def test_the_garbage_collector_has_nothing_to_follow() -> None:
    generations = filled(1_000, 1_000)
    for half in (generations._young, generations._old):
        assert half
        assert not any(map(gc.is_tracked, [*half.keys(), *half.values()]))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8])
def test_there_are_never_more_than_the_size(size: int) -> None:
    kept = Generations(size)
    for number in range(50):
        kept.put(bytes([number]), b"x")
        assert 1 <= len(kept) <= size
    assert kept.get(bytes([49])) == b"x"
