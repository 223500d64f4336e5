"""The big one: a million marks that stand."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest
import redis

from jwt_middleware.marks import key_of
from jwt_middleware.redis_forms import HOUR_S, PACKED
from jwt_middleware.redis_marks import RedisMarks

from .interpreters import printed
from .redis_server import RedisServer

MARKS = 1_000_000
AT_ONCE = 1_000
DAY_H = 24
MOST_MB = 130
"""More memory than before, of the process that has them all."""
LOAD_S = 20
TIMEOUT_S = 120

LOADING = """
import gc, json, sys, time
from jwt_middleware.bridge import ask, run
from jwt_middleware.redis import RedisStore
from jwt_middleware.replica import Stale

def resident_mb():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024 / 1e6

url, names = sys.argv[1], sys.argv[2:]
store = RedisStore(url, max_staleness=100)
gc.collect()
before, began = resident_mb(), time.perf_counter()
while True:
    try:
        answer = list(run(ask(store.look, names)))
        break
    except Stale:  # a busy machine; meanwhile requests are told to come again
        pass
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
        client, now = server.client(TIMEOUT_S), time.time()
        for hour in range(DAY_H):
            for first in range(hour, MARKS, DAY_H * AT_ONCE):
                put(
                    client,
                    range(first, min(first + DAY_H * AT_ONCE, MARKS), DAY_H),
                    now,
                )
        client.close()
        yield server


def put(client: redis.Redis, numbers: range, now: float) -> None:
    """Marks of one hour, only where workers that begin look for them."""
    there = RedisMarks(lambda seconds: client, "jwt_middleware", 1.0)
    until = now + HOUR_S * (1 + numbers[0] % DAY_H)
    place, forgotten = there.set_of(until)
    packed = [PACKED.pack(key_of(name_of(n)), float(n), until) for n in numbers]
    client.sadd(place, *packed)
    client.zadd(b"{jwt_middleware}:sets", {place: forgotten})


def name_of(number: int) -> str:
    return f"jti https://issuer.example token {number}"


def test_a_process_holds_a_million_marks(server: RedisServer) -> None:
    """In 130 MB, and it has read them before anybody loses patience."""
    asked = [0, 1, MARKS // 2, MARKS - 1, MARKS]
    names = map(name_of, asked)
    told = json.loads(printed("-c", LOADING, server.url, *names, timeout=TIMEOUT_S))
    print({name: round(told[name], 2) for name in ("load_s", "look_us", "grown_mb")})
    assert told["answer"] == [0.0, 1.0, MARKS / 2, MARKS - 1, None]
    assert told["again"] == told["answer"][:3]
    assert told["grown_mb"] <= MOST_MB
    assert told["load_s"] < LOAD_S
