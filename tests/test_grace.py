"""When an entry that has ended may be dropped, for wall clocks of every kind."""

from __future__ import annotations

import random

import pytest

from jwt_middleware.grace import KEPT_S, NO_READINGS, Readings

from .store_suite import NOW


def note(readings: Readings, wall: float, *monotonic: float) -> Readings:
    for each in monotonic:
        readings = readings.noted(wall, each)
    return readings


def test_nothing_is_dropped_before_the_grace_has_passed() -> None:
    readings = note(NO_READINGS, NOW, 50.0, 51.0, 49.0 + KEPT_S)
    assert readings.dropped_until == -float("inf")
    assert note(readings, NOW, 50.0 + KEPT_S).dropped_until == NOW


def test_two_readings_of_a_wrong_clock_are_not_enough() -> None:
    """A store that is written to once a day sees few of them."""
    readings = note(NO_READINGS, NOW, 50.0)
    readings = note(readings, NOW + 9e6, 50.0 + 24 * KEPT_S)
    assert readings.dropped_until == NOW


def test_one_right_reading_within_the_grace_is_enough_to_keep() -> None:
    readings = note(NO_READINGS, NOW + 9e6, 50.0, 60.0)
    readings = note(readings, NOW, 70.0)
    readings = note(readings, NOW + 9e6, 80.0, 50.0 + KEPT_S)
    assert readings.dropped_until == NOW


def test_after_a_boot_the_grace_is_counted_again() -> None:
    """The monotonic clock begins again; what was seen before still counts."""
    readings = note(NO_READINGS, NOW, 9e5, 9e5 + KEPT_S)
    readings = note(readings, NOW + 9e6, 10.0, 9.0 + KEPT_S)
    assert readings.dropped_until == NOW
    assert note(readings, NOW + 9e6, 10.0 + KEPT_S).dropped_until == NOW
    later = note(readings, NOW + 9e6, 10.0 + KEPT_S, 10.0 + 2 * KEPT_S)
    assert later.dropped_until == NOW + 9e6


@pytest.mark.parametrize("seed", range(50))
def test_the_bound_is_never_above_any_reading_of_the_last_grace(seed: int) -> None:
    """And with a right clock, it is at most two periods and a step behind."""
    chance = random.Random(seed)  # noqa: S311
    readings, monotonic, seen = NO_READINGS, chance.uniform(0, 1e6), []
    most_step = chance.choice([1.0, 60.0, KEPT_S / 3])
    for _ in range(500):
        monotonic += chance.uniform(0, most_step)
        is_wrong = chance.random() < 0.1
        wall = NOW + monotonic + (chance.uniform(-9e4, 9e4) if is_wrong else 0)
        seen.append((monotonic, wall))
        readings = readings.noted(wall, monotonic)
        last = [wall for at, wall in seen if at >= monotonic - KEPT_S]
        assert readings.dropped_until <= min(last)
        recent = [wall for at, wall in seen if at >= monotonic - 2 * KEPT_S - most_step]
        if monotonic - seen[0][0] > 2 * KEPT_S + 2 * most_step:
            assert readings.dropped_until >= min(recent)
