"""Contenders that take turns, and what their turns say."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

OURS, RAW, WITHOUT = "jwt_middleware", "raw signature check", "without a lock"
MOST_CALLS, FEWEST_CALLS = 200, 10
WARM = 2
"""Calls of each turn that do not count: the turn before has emptied the processor's
caches, which would tell against whoever is called seldom."""

Turn = Callable[[], float]
"""Takes one measure, such as the seconds of a call."""
Values = Mapping[str, Sequence[float]]
"""By contender, what was measured in each round."""


@dataclass(frozen=True)
class Effort:
    """How much is done; as it stands, a few minutes."""

    rounds: int = 31
    turn_s: float = 0.002
    """About how long a contender is measured at a time."""
    cold_calls: int = 16
    """Tokens never seen before, at a time."""
    algorithms: Sequence[str] = ("RS256", "ES256", "Ed25519", "HS256")
    cached: Sequence[int] = (100, 10_000, 100_000, 1_000_000)
    marks: Sequence[int] = (0, 10_000, 1_000_000)
    kept: int = 100_000
    """Tokens that the garbage collector walks over."""
    beside_threads: int = 20
    """Requests in a round, beside threads that are busy."""
    server_rounds: int = 11
    server_s: float = 0.4
    """Of load on one server at a time."""
    has_peers: bool = True
    seed: int = 7


QUICK = Effort(
    rounds=7,
    turn_s=0.0008,
    cold_calls=10,
    cached=(100, 10_000),
    marks=(0, 100_000),
    kept=20_000,
    beside_threads=5,
    server_rounds=3,
    server_s=0.15,
)
TINY = Effort(
    rounds=2,
    turn_s=0.0,
    cold_calls=3,
    algorithms=("RS256",),
    cached=(10, 20),
    marks=(0, 10),
    kept=50,
    beside_threads=1,
    server_rounds=2,
    server_s=0.01,
)
"""Shows that everything still runs, and nothing else."""


@dataclass(frozen=True)
class Group:
    """What was measured side by side, and which of it to divide by which."""

    title: str
    unit: str
    values: Values
    ratios: Sequence[tuple[str, str]]

    def ratio(self, over: str, under: str) -> Sequence[float]:
        """Round by round."""
        pairs = zip(self.values[over], self.values[under], strict=True)
        return [a / b if b else float("nan") for a, b in pairs]


@dataclass(frozen=True)
class Section:
    """Groups with the same contenders: one table."""

    title: str
    note: str
    groups: Sequence[Group]
    absent: Sequence[str] = ()
    """Contenders that could not be measured, and why."""


def take_turns(turns: Mapping[str, Turn], rounds: int, seed: int) -> Values:
    """Let each have its turn once in every round, in an order by chance."""
    chance, order = random.Random(seed), list(turns)  # noqa: S311
    values: Mapping[str, list[float]] = {name: [] for name in turns}
    with collector_off():
        for _ in range(rounds):
            chance.shuffle(order)
            for name in order:
                values[name].append(turns[name]())
            gc.collect(0)  # what this round has left, outside of any turn
    return values


@contextmanager
def collector_off() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def calls_for(turn_s: float, call_s: float) -> int:
    """How many calls of *call_s* fill a turn."""
    wanted = round(turn_s / call_s) if call_s else MOST_CALLS
    return max(FEWEST_CALLS, min(MOST_CALLS, wanted))


def calling(call: Callable[[], object], turn_s: float) -> Turn:
    """Seconds of a *call*; the mean of as many as fill a turn."""

    def seconds(count: int) -> float:
        for _ in range(WARM):
            call()
        began = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - began) / count

    seconds(FEWEST_CALLS)
    count = calls_for(turn_s, seconds(FEWEST_CALLS))
    return lambda: seconds(count)


def calling_with(
    call: Callable[[Any], object], batches: Iterator[Sequence[Any]]
) -> Turn:
    """Seconds of a *call* with one argument; the mean of a batch for each turn."""

    def seconds() -> float:
        batch = next(batches)
        for argument in batch[:WARM]:
            call(argument)
        began = time.perf_counter()
        for argument in batch[WARM:]:
            call(argument)
        return (time.perf_counter() - began) / (len(batch) - WARM)

    return seconds


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, and the quartiles around it."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = quantiles(values, n=4, method="inclusive")
    return median, low, high
