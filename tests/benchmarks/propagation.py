"""How soon other processes see a mark that one of them made.

    python -m tests.benchmarks.propagation [--quick] [--json FILE]

One process puts marks at random moments, one after the other; four others look for
them all the time, as requests would.  What is measured is the time from the return
of `put` until each of them sees the mark, by the clock that all processes share; a
mark that is seen before `put` returned counts as zero.  All is measured twice: with
readers that do nothing else, and with four threads beside each that compute all the
time.  On fewer cores than readers, the latter wait for their turn to run, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median, quantiles
from typing import TypeAlias

from jwt_middleware.bridge import ask, run
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.store import Store
from tests.redis_server import RedisServer

from .report import Row, machine, table

READERS = 4
BUSY_THREADS = 4
MARKS, QUICK_MARKS = 150, 5
LONGEST_PAUSE_S = 0.06
"""Between two marks, so that they do not keep step with whoever polls."""
LOOK_EVERY_S = 0.001
PATIENCE_S = 10.0
SPAWN = multiprocessing.get_context("spawn")

Opener = Callable[[str], Store]
Pipe: TypeAlias = "Connection[object, object]"


@dataclass(frozen=True)
class Contender:
    """A store, and where it is found by each process."""

    open: Opener
    place: Callable[[str], AbstractContextManager[str]]
    """By the path of an empty folder; lasts for as long as it is used."""


def open_sqlite(place: str) -> Store:
    return SQLiteStore(place)


@contextmanager
def file_in(folder: str) -> Iterator[str]:
    yield str(Path(folder) / "marks.db")


def open_redis(place: str) -> Store:
    return RedisStore(place)


@contextmanager
def server_for(_: str) -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


CONTENDERS: Mapping[str, Contender] = {
    "SQLiteStore": Contender(open_sqlite, file_in),
    "RedisStore": Contender(open_redis, server_for),
}
SCENARIOS = {"readers idle": 0, "readers busy": BUSY_THREADS}
"""Threads that compute beside each reader."""
MEASURES = ("p50, ms", "p99, ms", "most, ms")
SETTINGS = (
    f"""- {READERS} readers; a busy one has {BUSY_THREADS} threads that compute."""
)

Measures = Mapping[str, float]
Results = Mapping[str, Mapping[str, Measures]]
"""By scenario and contender."""


def read(open_store: Opener, place: str, threads: int, count: int, pipe: Pipe) -> None:
    """Say for each mark when it was seen."""
    store, end = open_store(place), threading.Event()
    for _ in range(threads):
        threading.Thread(target=compute, args=[end], daemon=True).start()
    run(ask(store.look, ["first"]))
    pipe.send("ready")
    seen: list[float] = []
    for number in range(count):
        until = time.monotonic() + PATIENCE_S
        while run(ask(store.look, [f"{number}"])) == [None]:
            assert time.monotonic() < until, f"mark {number} is not seen"
            time.sleep(LOOK_EVERY_S)
        seen.append(time.monotonic())
        pipe.send(number)
    end.set()
    pipe.send(seen)


def compute(end: threading.Event) -> None:
    while not end.is_set():
        sum(range(10_000))


@contextmanager
def reader(work: tuple[Opener, str, int, int]) -> Iterator[Pipe]:
    """A process that reads; what is yielded is a pipe to it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=read, args=(*work, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
        process.join(PATIENCE_S)
    finally:
        process.kill()
        process.join()
        ours.close()


def measure(contender: Contender, threads: int, count: int) -> Measures:
    chance = random.Random(7)  # noqa: S311
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        place = stack.enter_context(contender.place(folder))
        store = contender.open(place)
        work = (contender.open, place, threads, count)
        pipes = [stack.enter_context(reader(work)) for _ in range(READERS)]
        hear(pipes)
        marked = []
        for number in range(count):
            time.sleep(chance.random() * LONGEST_PAUSE_S)
            run(ask(store.put, f"{number}", 1.0, time.time() + 3600))
            marked.append(time.monotonic())
            hear(pipes)
        told = hear(pipes)
    return summary([after(marked, seen) for seen in told])


def hear(pipes: Sequence[Pipe]) -> Sequence[object]:
    """What each reader says next."""
    for pipe in pipes:
        assert pipe.poll(PATIENCE_S), "a reader says nothing"
    return [pipe.recv() for pipe in pipes]


def after(marked: Sequence[float], seen: object) -> Sequence[float]:
    assert isinstance(seen, list)
    return [max(0.0, b - a) for a, b in zip(marked, seen, strict=True)]


def summary(by_reader: Sequence[Sequence[float]]) -> Measures:
    times = [1000 * seconds for reader in by_reader for seconds in reader]
    values = median(times), quantiles(times, n=100, method="inclusive")[-1], max(times)
    return dict(zip(MEASURES, values, strict=True))


def rows_of(results: Results) -> Iterator[Row]:
    for scenario, by_name in results.items():
        for what in MEASURES:
            yield scenario, what, {name: [by_name[name][what]] for name in by_name}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="propagation")
    parser.add_argument("--quick", action="store_true", help="a few marks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all measures")
    options = parser.parse_args(arguments)
    count = QUICK_MARKS if options.quick else MARKS
    results = {
        scenario: {
            name: measure(contender, threads, count)
            for name, contender in CONTENDERS.items()
        }
        for scenario, threads in SCENARIOS.items()
    }
    about = machine("jwt-asgi-wsgi")
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    print(f"\nMarks: {count}.\n")
    print(*table(rows_of(results), CONTENDERS), sep="\n")
    print(f"\n{SETTINGS}")
    if options.json:
        content = {"machine": about, "marks": count, "results": results}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
