"""Servers of two kinds with four workers each, and one Redis.

What one worker takes back, all refuse; and who has refused does so for good.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest

from jwt_middleware import Key, TokenIssuer, TokenPair

from .redis_server import RedisServer
from .servers import TIMEOUT_S, fetch, serving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

KEY = Key.generate("HS256", kid="served")
ISSUER = TokenIssuer("https://issuer.example", audience="api", key=KEY)
WORKERS = 4
ROUNDS = 5
HAMMERS = 3
"""Threads that ask each server."""
STALENESS_S = 5.0
"""For which a worker may not know, by default."""
AFTERWARDS = 50
"""Further questions to each server when all have refused."""

GUNICORN = (
    *("gunicorn", "tests.served_redis:wsgi_app", "--bind=fd://{fd}", "--preload"),
    f"--workers={WORKERS}",
)
UVICORN = (
    *("uvicorn", "tests.served_redis:asgi_app", "--fd={fd}"),
    f"--workers={WORKERS}",
)


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    """gunicorn, whose application was used before the fork, and uvicorn."""
    with RedisServer() as server:
        environment = {
            "SERVED_KEY": json.dumps(KEY.to_jwk(private=True)),
            "SERVED_REDIS": server.url,
        }
        # uvicorn imports the application in a running event loop, and starts no fork.
        before = {"SERVED_TOKEN": ISSUER.issue("before the fork").access_token}
        with (
            serving(*GUNICORN, environment=environment | before) as gunicorn,
            serving(*UVICORN, environment=environment) as uvicorn,
        ):
            opened = gunicorn, uvicorn
            warm_up(opened)
            yield opened


def warm_up(ports: tuple[int, int]) -> None:
    """Block until all workers are there; whoever hammers meanwhile holds them up."""
    hammer = Hammer(ports, ISSUER.issue("first"))
    while len(hammer.workers(200)) < WORKERS * len(ports):
        for port in ports:
            hammer.ask(port)
        time.sleep(0.005)


@dataclass(frozen=True)
class Said:
    """What a worker answered, and when."""

    asked: float
    answered: float
    worker: str
    status: int


@dataclass
class Hammer:
    """Asks all servers, by several threads, with one token."""

    ports: tuple[int, int]
    pair: TokenPair
    said: list[Said] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.pair.access_token}"}

    def ask(self, port: int, path: str = "/") -> Said:
        asked = time.monotonic()
        status, headers, _ = fetch(port, path, headers=self.headers)
        said = Said(asked, time.monotonic(), headers["X-Worker"], status)
        self.said.append(said)
        return said

    def keep_asking(self, port: int) -> None:
        while not self.stopped.is_set():
            self.ask(port)

    def workers(self, status: int) -> set[str]:
        """Those that answered so."""
        return {said.worker for said in tuple(self.said) if said.status == status}

    def wait_for_all(self, status: int) -> None:
        """Block until all workers have answered so."""
        ends = time.monotonic() + TIMEOUT_S
        while len(self.workers(status)) < WORKERS * len(self.ports):
            assert time.monotonic() < ends, f"{self.workers(status)} said {status}"
            time.sleep(0.005)


@pytest.mark.parametrize("through", [0, 1], ids=["gunicorn", "uvicorn"])
def test_what_one_worker_revokes_all_refuse_for_good(
    ports: tuple[int, int], through: int
) -> None:
    took, answers = [], 0
    for turn in range(ROUNDS):
        hammer = Hammer(ports, ISSUER.issue(f"alice {turn}"))
        took.append(seconds_accepted(hammer, through))
        answers += len(hammer.said)
        ensure_nobody_took_it_back(hammer.said)
    print(f"accepted for at most {max(took) * 1000:.1f} ms more; {answers} answers")
    assert max(took) < STALENESS_S


def seconds_accepted(hammer: Hammer, through: int) -> float:
    """For which a token is accepted after its revocation, by whoever is slowest."""
    ports = hammer.ports
    with ThreadPoolExecutor(HAMMERS * len(ports)) as pool:
        asking = [pool.submit(hammer.keep_asking, port) for port in ports * HAMMERS]
        try:
            hammer.wait_for_all(200)
            revoker = hammer.ask(ports[through], "/revoke")
            hammer.wait_for_all(401)
        finally:
            hammer.stopped.set()
            wait(asking)
    afterwards = [hammer.ask(port) for port in ports for _ in range(AFTERWARDS)]
    assert revoker.status == 200
    assert {said.status for said in hammer.said} == {200, 401}
    assert {said.status for said in afterwards} == {401}
    late = [said for said in hammer.said if said.asked > revoker.answered]
    passed = [said for said in late if said.status == 200]
    assert revoker.worker not in {said.worker for said in passed}
    return max((said.asked - revoker.answered for said in passed), default=0.0)


def ensure_nobody_took_it_back(every: list[Said]) -> None:
    """No worker accepts what it was asked when it had refused."""
    by_worker = defaultdict(list)
    for said in every:
        by_worker[said.worker].append(said)
    assert len(by_worker) == 2 * WORKERS
    for answers in by_worker.values():
        refused = min(said.answered for said in answers if said.status == 401)
        assert max(said.asked for said in answers if said.status == 200) <= refused


def test_a_token_that_was_used_before_the_fork_is_refused_after_it(
    ports: tuple[int, int],
) -> None:
    """Twenty, one after the other: the parent's copy is no worker's."""
    for turn in range(20):
        hammer = Hammer(ports, ISSUER.issue(f"user {turn}"))
        assert hammer.ask(ports[turn % 2], "/revoke").status == 200
        ends = time.monotonic() + STALENESS_S
        while {hammer.ask(port).status for port in ports * WORKERS} != {401}:
            assert time.monotonic() < ends
