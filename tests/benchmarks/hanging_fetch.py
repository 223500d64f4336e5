"""What other requests notice while the key server hangs: ours beside PyJWKClient.

    python -m tests.benchmarks.hanging_fetch [--quick] [--rounds N] [--json FILE]

The contenders take turns behind one real uvicorn, in a thread, with keys from a real
key server.  Requests come by the clock, whether those before them were answered or
not, each on a connection of its own and from another event loop: what stalls the
server cannot slow the clock down.  Each has another token, so that no cache of
verified tokens answers it, and the status of each is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import uvicorn

from jwt_middleware import Key, TokenIssuer
from jwt_middleware.asgi import ASGIApp, Receive, Scope, Send
from tests import keyserver_answers as answers
from tests.keyserver import HOST, KeyServer
from tests.keyserver_exchange import Answer, Exchange

from .contenders import AUDIENCE, CONTENDERS, ISSUER, SETTINGS, Age, Contender
from .report import Row, machine, table

ROUNDS = 5
HANG_S, QUICK_HANG_S = 0.5, 0.1
EVERY_S = 0.005
"""Between two requests, which come for as long as the server hangs."""
BURST = 50
"""Requests that come at once."""
LIBRARIES = ("jwt-asgi-wsgi", "pyjwt", "cryptography", "uvicorn", "httptools")
TIMES = ("p50, ms", "p99, ms")
BURSTS = ("last, ms", "fetches")


@dataclass(frozen=True)
class Scenario:
    """What is wrong, and the measures that tell."""

    title: str
    age: Age
    """Of the set when the requests come."""
    measures: Sequence[str] = (*TIMES, "fetches")
    has_stranger: bool = False
    """Whether a token of an unknown key comes first, and is being looked for."""
    is_burst: bool = False
    fails: bool = False
    """Whether the key server answers 500 at once; else it hangs, and then is well."""


SCENARIOS = (
    Scenario("nothing is fetched", "fresh", TIMES),
    Scenario("unknown key; hangs", "rested", has_stranger=True),
    Scenario("set is due; hangs", "due"),
    Scenario("set has ended; hangs", "ended"),
    Scenario(f"cold, {BURST} at once; hangs", "none", BURSTS, is_burst=True),
    Scenario(
        f"set has ended, {BURST} at once; 500",
        "ended",
        ("accepted", *BURSTS),
        is_burst=True,
        fails=True,
    ),
)

Measures = Mapping[str, float]
Results = Mapping[Scenario, Mapping[str, list[Measures]]]
"""By scenario and contender, the measures of each round."""


class Stage:
    """An application that is now this one, now that one, on a real server."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    @contextmanager
    def served(self) -> Iterator[int]:
        """Run uvicorn in a thread, and yield its port."""
        with socket.create_server((HOST, 0), backlog=256) as listening:
            config = uvicorn.Config(
                self, loop="asyncio", lifespan="off", access_log=False, log_config=None
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=[[listening]])
            thread.start()
            try:
                yield listening.getsockname()[1]
            finally:
                server.should_exit = True
                thread.join()


class Bench:
    """Has a contender go through a scenario, and measures."""

    def __init__(self, server: KeyServer, stage: Stage, port: int, hang_s: float):
        self._server, self._stage, self._port = server, stage, port
        self._hang_s = hang_s
        self._count = round(hang_s / EVERY_S)
        subjects = (f"user-{n}" for n in range(max(BURST, self._count) + 1))
        self._first, *self._tokens = [_token(server.keys[0], name) for name in subjects]
        self._stranger = _token(Key.generate("ES256", kid="unknown"), "stranger")

    async def measure(self, scenario: Scenario, contender: Contender) -> Measures:
        await self._set_up(scenario, contender)
        before = len(self._server.hits)
        stranger = await self._stranger_comes() if scenario.has_stranger else None
        answered = await self._requests(scenario)
        assert stranger is None or await stranger == 401
        await asyncio.to_thread(self._server.wait_until_left)
        fetches = len(self._server.hits) - before
        assert (fetches == 0) == (scenario.age == "fresh"), f"{fetches} fetches"
        allowed = {200, 503} if scenario.fails else {200}
        assert allowed.issuperset(status for status, _ in answered), answered
        times = [1000 * seconds for _, seconds in answered]
        return {
            "p50, ms": median(times),
            "p99, ms": quantiles(times, n=100, method="inclusive")[-1],
            "last, ms": max(times),
            "accepted": sum(status == 200 for status, _ in answered),
            "fetches": fetches,
        }

    async def _set_up(self, scenario: Scenario, contender: Contender) -> None:
        """Let *contender* hold keys of the right age, and then the trouble begin."""
        self._stage.app = contender.app
        self._server.answer = answers.ok
        if scenario.age != "none":
            assert await self._request(self._first) == 200
            await contender.grow()
        self._server.answer = self._answer_in(scenario)

    async def _stranger_comes(self) -> asyncio.Task[int]:
        """Send a token of an unknown key; return when its key is being asked for."""
        expected = len(self._server.hits) + 1
        stranger = asyncio.create_task(self._request(self._stranger))
        await asyncio.to_thread(self._server.wait_for_hits, expected)
        return stranger

    def _answer_in(self, scenario: Scenario) -> Answer:
        def hang(exchange: Exchange) -> None:
            exchange.released.wait(self._hang_s)
            answers.ok(exchange)

        return answers.STATUSES["status_500"] if scenario.fails else hang

    async def _requests(self, scenario: Scenario) -> Sequence[tuple[int, float]]:
        """Status of each, and seconds from its start to its answer."""
        count, every = (BURST, 0.0) if scenario.is_burst else (self._count, EVERY_S)

        async def one(number: int) -> tuple[int, float]:
            await asyncio.sleep(number * every)
            start = time.perf_counter()
            status = await self._request(self._tokens[number])
            return status, time.perf_counter() - start

        return await asyncio.gather(*(one(number) for number in range(count)))

    async def _request(self, token: str) -> int:
        """The status that *token* gets."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        head = "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n"
        writer.write(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        status = (await reader.read()).split()[1]
        writer.close()
        await writer.wait_closed()
        return int(status)


def _token(key: Key, subject: str) -> str:
    issuer = TokenIssuer(ISSUER, audience=AUDIENCE, key=key)
    return issuer.issue(subject).access_token


def measured(rounds: int, hang_s: float) -> Results:
    """Go through all scenarios in each round, and in each let all take their turn."""
    results: Results = {
        scenario: {name: [] for name in CONTENDERS} for scenario in SCENARIOS
    }
    stage, names, key = Stage(), list(CONTENDERS), Key.generate("ES256", kid="known")
    with KeyServer([key]) as server, stage.served() as port:
        bench = Bench(server, stage, port, hang_s)
        for number in range(rounds):
            turn = number % len(names)
            for scenario in SCENARIOS:
                for name in names[turn:] + names[:turn]:
                    contender = CONTENDERS[name](server.jwks_url, scenario.age)
                    measures = asyncio.run(bench.measure(scenario, contender))
                    results[scenario][name].append(measures)
    return results


def rows_of(results: Results) -> Iterator[Row]:
    for scenario, by_name in results.items():
        for measure in scenario.measures:
            values = {name: [m[measure] for m in by_name[name]] for name in by_name}
            yield scenario.title, measure, values


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="hanging_fetch")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="all measures")
    options = parser.parse_args(arguments)
    rounds, hang_s = (1, QUICK_HANG_S) if options.quick else (options.rounds, HANG_S)
    logging.getLogger("jwt_middleware").addHandler(logging.NullHandler())
    results, about = measured(rounds, hang_s), machine(*LIBRARIES)
    print("; ".join(f"{name} {value}" for name, value in about.items()))
    print(f"\nRounds: {rounds}; the key server hangs for {hang_s} s.\n")
    print(*table(rows_of(results), CONTENDERS), sep="\n")
    print("\n- Median of the rounds [least–most]; median of the rounds' ratios.")
    print(SETTINGS)
    if options.json:
        told = {scenario.title: by_name for scenario, by_name in results.items()}
        content = {"machine": about, "hang_s": hang_s, "results": told}
        options.json.write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
