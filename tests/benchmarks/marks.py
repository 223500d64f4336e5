"""What a million marks cost the process that holds them.

    python -m tests.benchmarks.marks [--quick] [--json FILE]

One process has two stores on one Redis, with few marks and with many, and asks both
in turn.  A look is for three names, as a request's is: of a token that comes again
and again, and of one that was never seen.  Full collections of the garbage collector
are measured before and after the many are loaded, with what else the process holds;
loading is measured once in each round, from the first look to its answer.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import redis

from jwt_middleware.bridge import ask, run
from jwt_middleware.marks import Mark, key_of
from jwt_middleware.redis import RedisStore
from tests.redis_server import RedisServer

from .report import Row, machine, table

FEW = 1_000
MANY, QUICK_MANY = 1_000_000, 20_000
ROUNDS = 5
LOOKS, QUICK_LOOKS = 20_000, 500
"""In each round, by turns of `LOOKS_AT_ONCE`."""
LOOKS_AT_ONCE = 100
COLLECTIONS = 5
AT_ONCE = 1_000
ATTEMPTS = 5
PATIENCE_S = 600
DAY_H = 24

AGAIN, NEW = "look, 3 names, the same token", "look, 3 names, another token"
COLLECTION, LOADING = "full garbage collection", "load from Redis"
MEASURES = {AGAIN: "µs", NEW: "µs", COLLECTION: "ms", LOADING: "s"}
SETTINGS = f"""\
- Looks: mean of {LOOKS_AT_ONCE} at a time, median of a round's; none of the names is
  marked.
- Collections: median of {COLLECTIONS}; "{FEW:,} marks" is before the many came."""

Results = Mapping[str, Mapping[str, list[float]]]
"""By scenario and number of marks, a value for each round."""


def title(number: int) -> str:
    return f"{number:,} marks"


def write(url: str, number: int) -> None:
    """Put so many, which end in the course of a day."""
    store, now = RedisStore(url, prefix=str(number)), time.time()
    for first in range(0, number, AT_ONCE):
        put(store, batch(range(first, first + AT_ONCE), now))
    store.close()


def put(store: RedisStore, marks: list[Mark]) -> None:
    """Once more where a busy machine is too slow: a put can be done again."""
    for _ in range(ATTEMPTS):
        with suppress(redis.TimeoutError):
            store._there.put(marks)
            return
    raise AssertionError("Redis does not answer")


def batch(numbers: Sequence[int], now: float) -> list[Mark]:
    return [
        (key_of(f"jti https://issuer.example {number}"), now, now + 3600 * (1 + hour))
        for number in numbers
        for hour in [number % DAY_H]
    ]


def loaded(url: str, number: int) -> tuple[RedisStore, float]:
    """A store that holds so many, and the seconds that this took."""
    store = RedisStore(url, PATIENCE_S, prefix=str(number))
    began = time.perf_counter()
    run(ask(store.look, ["first"]))
    seconds = time.perf_counter() - began
    assert len(store._replica.marks) == number
    return store, seconds


def names_of(token: str) -> tuple[str, str, str]:
    return (
        f"jti https://issuer.example token {token}",
        f"sid https://issuer.example session {token}",
        f"sub https://issuer.example user {token}",
    )


def look_us(store: RedisStore, tokens: Iterator[str]) -> float:
    """Mean of some looks, for the next of *tokens*."""
    asked = [names_of(next(tokens)) for _ in range(LOOKS_AT_ONCE)]
    began = time.perf_counter()
    for names in asked:
        store.look(names)
    return (time.perf_counter() - began) / LOOKS_AT_ONCE * 1e6


def looks_us(
    stores: Mapping[str, RedisStore], tokens: Iterator[str], looks: int
) -> Mapping[str, float]:
    """By turns; the median of each."""
    took: dict[str, list[float]] = {name: [] for name in stores}
    for turn in range(looks // LOOKS_AT_ONCE):
        for name in sorted(stores, reverse=bool(turn % 2)):
            took[name].append(look_us(stores[name], tokens))
    return {name: middle(values) for name, values in took.items()}


def collection_ms() -> float:
    def one() -> float:
        began = time.perf_counter()
        gc.collect()
        return (time.perf_counter() - began) * 1e3

    return middle([one() for _ in range(COLLECTIONS)])


def middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def same() -> Iterator[str]:
    while True:
        yield "same"


def others() -> Iterator[str]:
    return (f"other {number}" for number in count())


def measure(url: str, many: int, looks: int, results: Results) -> None:
    """One round: load the few, then the many, and look into both."""
    few_store, few_s = loaded(url, FEW)
    without = collection_ms()
    many_store, many_s = loaded(url, many)
    stores = {title(FEW): few_store, title(many): many_store}
    tokens: Mapping[str, Callable[[], Iterator[str]]] = {AGAIN: same, NEW: others}
    measured = {kind: looks_us(stores, tokens[kind](), looks) for kind in tokens}
    measured[COLLECTION] = {title(FEW): without, title(many): collection_ms()}
    measured[LOADING] = {title(FEW): few_s, title(many): many_s}
    for store in stores.values():
        store.close()
    for scenario, by_number in measured.items():
        for name, value in by_number.items():
            results[scenario][name].append(value)


def rows_of(results: Results) -> Iterator[Row]:
    for scenario, by_number in results.items():
        yield scenario, MEASURES[scenario], by_number


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="marks")
    parser.add_argument("--quick", action="store_true", help="one round, fewer marks")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all measures")
    options = parser.parse_args(arguments)
    many, looks = (QUICK_MANY, QUICK_LOOKS) if options.quick else (MANY, LOOKS)
    rounds = 1 if options.quick else options.rounds
    titles = [title(FEW), title(many)]
    results = {
        scenario: {name: list[float]() for name in titles} for scenario in MEASURES
    }
    with RedisServer() as server:
        for number in (FEW, many):
            write(server.url, number)
        for _ in range(rounds):
            measure(server.url, many, looks, results)
        about = {**machine("redis"), "server": str(server.info("redis_version"))}
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    print(f"\nRounds: {rounds}.\n")
    print(*table(rows_of(results), titles), sep="\n")
    print("\n- Median of the rounds [least–most]; median of the rounds' ratios.")
    print(SETTINGS)
    if options.json:
        content = {"machine": about, "results": results}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
