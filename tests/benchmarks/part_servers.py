"""What a lock costs a real server: processor time for each request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import load, served
from .rounds import OURS, WITHOUT, Effort, Group, Section, Turn, take_turns
from .stacks import STACKS
from .tokens import Signer, signer_of

ROOT = Path(__file__).parents[2]
APP = "tests.benchmarks.served:load"
CPU, RATE = "CPU of a request", "requests per second"


def note(effort: Effort) -> str:
    by_wrk = load.uses_wrk(effort.server_s)
    return f"""\
One worker, {load.CONNECTIONS} connections, a hot RS256 token in every request. CPU time
is the server's alone. Requests per second are told and not judged: client and server
share the machine. Load by {"wrk" if by_wrk else "a client of our own, in Python"}."""


@dataclass(frozen=True)
class Server:
    stack: str
    module: str
    arguments: Sequence[str]
    """``{port}`` is filled in."""
    peers: Sequence[str]


SERVERS: Mapping[str, Server] = {
    "uvicorn": Server(
        "ASGI",
        "uvicorn",
        (APP, "--factory", "--port={port}", "--no-access-log", "--log-level=critical"),
        ("MCP SDK + PyJWT",),
    ),
    "granian": Server(
        "ASGI",
        "granian",
        ("--interface=asgi", "--factory", "--port={port}", "--no-log", APP),
        ("MCP SDK + PyJWT",),
    ),
    "gunicorn": Server(
        "Flask",
        "gunicorn",
        (
            "--worker-class=gthread",
            "--threads=4",
            "--bind=127.0.0.1:{port}",
            f"{APP}()",
        ),
        ("flask-jwt-extended",),
    ),
}


@dataclass(frozen=True)
class Started:
    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def running(server: Server, lock: str, signer: Signer) -> Iterator[Started]:
    """Start it on a free port."""
    port = load.free_port()
    arguments = [argument.format(port=port) for argument in server.arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", server.module, *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            served.STACK: server.stack,
            served.LOCK: lock,
            served.JWK: json.dumps(dict(signer.key.to_jwk(private=True))),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Started(port, process)
    finally:
        process.terminate()
        process.wait(load.PATIENCE_S)


class Loaded:
    """A server under load; each turn tells the CPU time, and the rate is kept."""

    def __init__(self, started: Started, token: str, seconds: float) -> None:
        self._port, self._process = started.port, started.process
        self._token, self._seconds = token, seconds
        self.rates: list[float] = []

    def assert_outcomes(self, lock: str) -> None:
        load.wait_for(self._port, self._process)
        assert load.status(self._port, self._token) == 200
        if lock != WITHOUT:
            assert load.status(self._port, None) == 401
        load.send(self._port, self._token, self._seconds)

    def turn(self) -> float:
        before = load.cpu_s(self._process.pid)
        answered, took = load.send(self._port, self._token, self._seconds)
        self.rates.append(answered / took)
        return (load.cpu_s(self._process.pid) - before) / answered


def groups(
    name: str, server: Server, locks: Sequence[str], effort: Effort
) -> list[Group]:
    """All run at once, and have their load in turns: who waits takes no time."""
    signer = signer_of("RS256")
    (token,) = signer.distinct(1)
    with ExitStack() as stack:
        loaded = {
            lock: Loaded(
                stack.enter_context(running(server, lock, signer)),
                token,
                effort.server_s,
            )
            for lock in locks
        }
        for lock, one in loaded.items():
            one.assert_outcomes(lock)
        turns: Mapping[str, Turn] = {lock: one.turn for lock, one in loaded.items()}
        seconds = take_turns(turns, effort.server_rounds, effort.seed)
    in_us = {lock: [1e6 * s for s in values] for lock, values in seconds.items()}
    rates = {lock: one.rates for lock, one in loaded.items()}
    ratios = [(WITHOUT, lock) for lock in locks if lock != WITHOUT]
    return [
        Group(f"{name}, {CPU}", "µs", in_us, ratios),
        Group(f"{name}, {RATE}", "1/s", rates, ()),
    ]


def section(name: str, server: Server, effort: Effort) -> Section:
    title, locks, absent = f"Server: {name}", [WITHOUT, OURS], list[str]()
    if not find_spec(server.module):
        return Section(
            title, note(effort), (), [f"{name}: No module named '{server.module}'"]
        )
    signer = signer_of("RS256")
    for peer in server.peers if effort.has_peers else ():
        try:
            STACKS[server.stack].peers[peer](signer)
        except ModuleNotFoundError as error:
            absent.append(f"{peer}: {error}")
        else:
            locks.append(peer)
    return Section(title, note(effort), groups(name, server, locks, effort), absent)


def measure(effort: Effort) -> Iterator[Section]:
    for name, server in SERVERS.items():
        if load.can_measure():
            yield section(name, server, effort)
        else:
            why = f"{name}: CPU time of another process is read from /proc"
            yield Section(f"Server: {name}", note(effort), (), [why])
