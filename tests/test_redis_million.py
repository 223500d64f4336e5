"""The big one: a million marks that stand.  It takes half a minute."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import redis

from jwt_middleware.marks import Mark, key_of
from jwt_middleware.redis import RedisStore

from .redis_server import RedisServer
from .servers import ROOT

MARKS = 1_000_000
AT_ONCE = 1_000
ATTEMPTS = 5
DAY_H = 24
MOST_MB = 130
"""More memory than before, of the process that has them all."""
LOAD_S = 20
TIMEOUT_S = 120

LOADING = """
import gc, json, sys, time
from jwt_middleware.bridge import ask, run
from jwt_middleware.redis import RedisStore

def resident_mb():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6

url, names = sys.argv[1], sys.argv[2:]
store = RedisStore(url, max_staleness=100)
gc.collect()
before, began = resident_mb(), time.perf_counter()
answer = list(run(ask(store.look, names)))
load_s = time.perf_counter() - began
began = time.perf_counter()
for _ in range(1000):
    again = list(run(ask(store.look, names[:3])))
look_us = (time.perf_counter() - began) * 1000
gc.collect()
grown = resident_mb() - before
print(json.dumps({"answer": answer, "again": again, "load_s": load_s,
                  "look_us": look_us, "grown_mb": grown}))
"""
"""In a process of its own, which has nothing else in memory."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="no /proc here")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """With all the marks, which end in the course of a day."""
    with RedisServer() as server:
        store, now = RedisStore(server.url), time.time()
        began = time.perf_counter()
        for first in range(0, MARKS, AT_ONCE):
            put(store, batch(first, now))
        store.close()
        print(f"\n{MARKS} marks written in {time.perf_counter() - began:.1f} s")
        yield server


def batch(first: int, now: float) -> list[Mark]:
    return [
        (key_of(name_of(number)), float(number), now + 3600 * (1 + number % DAY_H))
        for number in range(first, first + AT_ONCE)
    ]


def put(store: RedisStore, marks: list[Mark]) -> None:
    """Once more where a busy machine is too slow: a put can be done again."""
    for _ in range(ATTEMPTS):
        with suppress(redis.TimeoutError):
            store._there.put(marks)
            return
    raise AssertionError("Redis does not answer")


def name_of(number: int) -> str:
    return f"jti https://issuer.example token {number}"


def test_a_process_holds_a_million_marks(server: RedisServer) -> None:
    """In 130 MB, and it has read them before anybody loses patience."""
    asked = [0, 1, MARKS // 2, MARKS - 1, MARKS]
    ended = subprocess.run(
        [sys.executable, "-c", LOADING, server.url, *map(name_of, asked)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    print({name: round(told[name], 2) for name in ("load_s", "look_us", "grown_mb")})
    assert told["answer"] == [0.0, 1.0, MARKS / 2, MARKS - 1, None]
    assert told["again"] == told["answer"][:3]
    assert told["grown_mb"] <= MOST_MB
    assert told["load_s"] < LOAD_S
