"""What requests get while other threads of a worker keep the CPU busy.

    python -m tests.benchmarks.busy [--seconds S]

A worker has threads that compute in Python all the time.  Each holds the interpreter
for 5 ms before the next one has its turn, so the thread that feeds the copy of a store
has few turns, and a healthy store could look as if it said nothing.  One more thread
asks the store as requests do.  Told are the answers, those that would be a 503, and how
long an answer took.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from jwt_middleware.bridge import ask, run
from jwt_middleware.redis import RedisStore
from jwt_middleware.replica import Stale
from jwt_middleware.sqlite import SQLiteStore
from tests.redis_server import RedisServer

BUSY_THREADS = (0, 16, 64)
NAMES = ["jti i token", "sid i session", "sub i user"]
"""What is asked for each request."""
PAUSE_S = 0.01
"""Between two requests."""


class Seen(NamedTuple):
    """What the requests of one run got."""

    answers: int
    stale: int
    median_s: float
    worst_s: float


@contextmanager
def busy(threads: int) -> Iterator[None]:
    """Have *threads* threads compute."""
    begun, stopped = threading.Event(), threading.Event()

    def compute() -> None:
        begun.wait()  # until all are there: each start waits for a turn
        while not stopped.is_set():
            sum(range(1000))

    working = [threading.Thread(target=compute, daemon=True) for _ in range(threads)]
    for thread in working:
        thread.start()
    begun.set()
    try:
        yield
    finally:
        stopped.set()
        for thread in working:
            thread.join()


def ask_for(store: SQLiteStore | RedisStore, threads: int, seconds: float) -> Seen:
    """Ask *store* for some seconds, beside busy threads."""
    run(ask(store.look, NAMES))
    took: list[float] = []
    stale = 0
    with busy(threads):
        ends = time.monotonic() + seconds
        while (began := time.monotonic()) < ends:
            try:
                run(ask(store.look, NAMES))
            except Stale:
                stale += 1
            took.append(time.monotonic() - began)
            time.sleep(PAUSE_S)
    return Seen(len(took), stale, median(took), max(took))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.busy")
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder, RedisServer() as server:
        stores: Mapping[str, SQLiteStore | RedisStore] = {
            "SQLiteStore": SQLiteStore(Path(folder) / "marks.db"),
            "RedisStore": RedisStore(server.url),
            "SQLiteStore, 0.5 s": SQLiteStore(
                Path(folder) / "marks.db", max_staleness=0.5
            ),
            "RedisStore, 0.5 s": RedisStore(server.url, max_staleness=0.5),
        }
        for name, store in stores.items():
            with closing(store):
                for threads in BUSY_THREADS:
                    seen = ask_for(store, threads, seconds)
                    print(
                        f"{name}, {threads} busy threads: {seen.answers} answers, "
                        f"{seen.stale} of them 503, {seen.median_s * 1000:.2f} ms, "
                        f"at worst {seen.worst_s * 1000:.0f} ms"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
