"""How good a set of keys still is, and when it is fetched anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jwt_middleware.keyset import KeySet, KeysState, Tries, lifetime_of


@pytest.mark.parametrize(
    ("max_age", "lifetime"),
    [
        *[(None, 600), (300, 300), (0, 60), (-5, 60), (59, 60), (3601, 3600)],
        *[(1e9, 3600), (float("inf"), 3600), (float("nan"), 600)],
    ],
)
def test_what_the_issuer_says_counts_within_bounds(
    max_age: float | None, lifetime: float
) -> None:
    """A slip of its cache must neither flood it nor keep a withdrawn key for a day."""
    assert lifetime_of(max_age, 600) == lifetime


def test_the_default_is_the_users_own() -> None:
    assert lifetime_of(None, 5) == 5


def held(lifetime: float = 1000, max_staleness: float = 500) -> KeySet:
    return KeySet((), {}, asked_at=0, lifetime=lifetime, max_staleness=max_staleness)


def test_a_set_is_due_at_four_fifths_of_its_life_or_somewhat_earlier() -> None:
    """So that the workers of a machine do not ask at once."""
    due = [held().due_at for _ in range(200)]
    assert all(720 <= at <= 800 for at in due)
    assert len(set(due)) > 100


def test_a_copy_is_due_at_a_moment_of_its_own() -> None:
    """As each of the workers that inherit one set."""
    one = held()
    assert len({replace(one).due_at for _ in range(50)}) > 40


def test_a_set_is_fresh_then_stale_then_nothing() -> None:
    told = [(999, "fresh"), (1000, "stale"), (1499, "stale"), (1500, "expired")]
    assert [(at, held().status(at)) for at, _ in told] == told


def test_the_wait_doubles_up_to_the_longest() -> None:
    tries, waits = Tries(longest=30), []
    for _ in range(8):
        tries.failed("down", now=100)
        waits.append(tries.next_at - 100)
    for wait, longest in zip(waits, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert 0.9 * longest <= wait <= longest
    assert (tries.failures, tries.error) == (8, "down")


def test_a_wait_is_never_too_long_to_count() -> None:
    tries = Tries(longest=30)
    tries.failures = 10_000
    tries.failed("down", now=0)
    assert tries.next_at <= 30


def test_a_success_ends_the_waiting() -> None:
    tries = Tries(longest=30)
    tries.failed("down", now=100)
    tries.succeeded()
    assert (tries.failures, tries.error) == (0, None)
    assert tries.next_at < 100


@pytest.mark.parametrize(
    ("status", "is_usable"),
    [("none", False), ("fresh", True), ("stale", True), ("expired", False)],
)
def test_a_probe_is_told_whether_tokens_can_be_verified(
    status: str, is_usable: bool
) -> None:
    state = KeysState(status, (), None, 0, 0, None)  # type: ignore[arg-type]
    assert state.is_usable is is_usable
