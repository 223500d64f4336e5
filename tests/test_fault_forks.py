"""A process that forks while keys are fetched, and before, and after."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from jwt_middleware import Key

from . import keyserver_answers as answers
from .conftest import SIGNING_KEY, mint_token
from .keyserver import KeyServer
from .keyserver_exchange import Answer, Exchange
from .servers import ROOT, TIMEOUT_S, fetch, serving

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

NEW = Key.generate("ES256", kid="new")

BEGUN = """
import os, signal, sys, threading
from jwt_middleware import RemoteKeys
from jwt_middleware.fetch import Fetcher
from tests.conftest import authenticator, trusted

url, first, second, in_child = sys.argv[1:]
fetcher = Fetcher(loopback_http=True, cafile=second if "https" in url else None)
keys = RemoteKeys(url, fetcher=fetcher, timeout=3)
auth = authenticator(trusted(keys=keys))

def fork():
    if os.fork():
        os.wait()
        print("forked", flush=True)
        return
    signal.alarm(20)
    try:
        auth.authenticate(in_child)
    except BaseException as error:
        print("in the child:", repr(error), file=sys.stderr, flush=True)
    os._exit(0)
"""
"""What each script begins with."""

WHILE_IT_FETCHES = """
if first:
    auth.authenticate(first)
print("ready", flush=True)
sys.stdin.readline()
thread = threading.Thread(target=auth.authenticate, args=[second])
thread.start()
sys.stdin.readline()
fork()
thread.join()
"""

WHAT_IT_IMPORTS = """
before = set(sys.modules)
keys.load()
print(*sorted(set(sys.modules) - before), flush=True)
"""


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer([SIGNING_KEY]) as running:
        yield running


@contextmanager
def running(script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run *script*; it must end well."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", BEGUN + script, *words],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
        _, told = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, told) == (0, "")
    finally:
        process.kill()
        process.communicate()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ensure_said(process: subprocess.Popen[str], word: str) -> None:
    """Wait until *process* has come so far."""
    assert process.stdout is not None
    assert process.stdout.readline() == f"{word}\n"


def in_turn(*several: Answer) -> Answer:
    """One answer after the other, and the last for ever."""
    left = list(several)

    def answer(exchange: Exchange) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return answer


def test_a_child_fetches_what_its_parent_is_fetching(server: KeyServer) -> None:
    """The thread that fetches stays behind; the child must not wait for it."""
    server.answer = in_turn(answers.hang, answers.ok)
    token = mint_token()
    with running(WHILE_IT_FETCHES, server.jwks_url, "", token, token) as process:
        ensure_said(process, "ready")
        go_on(process)
        server.wait_for_hits(1)
        go_on(process)
        ensure_said(process, "forked")
        server.release()
    assert len(server.hits) == 2


def test_a_child_looks_for_the_key_that_its_parent_is_looking_for(
    server: KeyServer,
) -> None:
    """That the parent has begun to look counts for nothing in the child."""
    server.answer = in_turn(answers.ok, answers.hang, answers.ok)
    known, new = mint_token(), mint_token(key=NEW)
    with running(WHILE_IT_FETCHES, server.jwks_url, known, new, new) as process:
        ensure_said(process, "ready")
        server.keys = [SIGNING_KEY, NEW]
        go_on(process)
        server.wait_for_hits(2)
        go_on(process)
        ensure_said(process, "forked")
        server.release()
    assert len(server.hits) == 3


@pytest.mark.parametrize("tls", [False, True])
def test_the_thread_that_fetches_imports_nothing(tls: bool) -> None:
    """A fork amid an import leaves a child that can never import the same."""
    with KeyServer([SIGNING_KEY], tls=tls) as server:
        words = (server.jwks_url, mint_token(), server.cafile if tls else "", "")
        with running(WHAT_IT_IMPORTS, *words) as process:
            ensure_said(process, "")


@pytest.mark.parametrize(
    ("before_fork", "fetches"), [("fetched", 1), ("being fetched", 3)]
)
def test_workers_of_gunicorn_answer_though_the_app_was_used_before_the_fork(
    server: KeyServer, before_fork: str, fetches: int
) -> None:
    """They have the keys that were there, and fetch those that were not."""
    token = mint_token()
    environment = {
        "SERVED_JWKS": server.jwks_url,
        "SERVED_TOKEN": token,
        "BEFORE_FORK": before_fork,
    }
    if before_fork != "fetched":
        server.answer = in_turn(answers.hang, answers.ok)
    command = ("gunicorn", "tests.served_remote:app", "--preload", "--workers=2")
    with serving(*command, "--bind=fd://{fd}", environment=environment) as port:
        server.wait_for_hits(1, TIMEOUT_S)
        assert len(answering(port, token)) == 2
        assert len(server.hits) == fetches
        server.release()


def answering(port: int, token: str) -> set[str]:
    """Ask both workers: one is busy with half a request while the other answers."""
    first, rest = "GET / HTTP/1.1\r\nHost: x\r\n", f"Authorization: Bearer {token}\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as half:
        half.sendall(first.encode())
        status, _, other = fetch(
            port, "/", headers={"Authorization": f"Bearer {token}"}
        )
        assert status == 200
        half.sendall(f"{rest}Connection: close\r\n\r\n".encode())
        answer = b""
        while octets := half.recv(65_536):
            answer += octets
    assert answer.startswith(b"HTTP/1.1 200")
    return {other, answer.decode().rpartition("\r\n\r\n")[2]}
