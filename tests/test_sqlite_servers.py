"""Four workers of a real server on one SQLite file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from .conftest import SIGNING_KEY, mint_token
from .servers import TIMEOUT_S, fetch, serving

REVOKE = "/revoke/"
WORKERS = 4
AT_ONCE = 8
ALL_KNOW_S = 1.0
AFTERWARDS = 200

GUNICORN = ("gunicorn", "tests.served_store:telling_wsgi", "--bind=fd://{fd}")
SERVERS = {
    "gunicorn": (*GUNICORN, "--workers=4"),
    "gunicorn-gthread": (
        *(*GUNICORN, "--workers=4"),
        *("--worker-class=gthread", "--threads=4"),
    ),
    "gunicorn-preload": (*GUNICORN, "--workers=4", "--preload"),
    "uvicorn": (
        *("uvicorn", "tests.served_store:telling_asgi", "--fd={fd}"),
        *("--workers=4", "--lifespan=off"),
    ),
}


@pytest.fixture(scope="module", params=SERVERS)
def port(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of each server in turn, with a file of its own."""
    path: Path = tmp_path_factory.mktemp(request.param) / "marks.db"
    with served(request.param, path) as opened:
        yield opened


@contextmanager
def served(name: str, path: Path) -> Iterator[int]:
    environment = {
        "SERVED_STORE": str(path),
        "SERVED_KEY": json.dumps(SIGNING_KEY.public.to_jwk()),
    }
    if name == "gunicorn-preload":
        environment["USED_BEFORE_FORK"] = mint_token()
    with serving(*SERVERS[name], environment=environment) as opened:
        yield opened


@dataclass(frozen=True)
class Told:
    """Which worker answered what, and when it was asked."""

    worker: str
    status: int
    asked: float


def show(port: int, token: str) -> Told:
    asked = time.monotonic()
    headers = {"Authorization": f"Bearer {token}"}
    status, answered, _ = fetch(port, "/", headers=headers)
    return Told(answered["X-Worker"], status, asked)


def hammer(port: int, token: str, count: int) -> list[Told]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda _: show(port, token), range(count)))


def statuses(answers: Iterable[Told]) -> set[int]:
    return {told.status for told in answers}


def until_all_say(port: int, token: str, status: int) -> list[Told]:
    """Go on until every worker answered with *status*; all answers."""
    answers: list[Told] = []
    end = time.monotonic() + TIMEOUT_S
    while len({told.worker for told in answers if told.status == status}) < WORKERS:
        assert time.monotonic() < end, f"not all workers answered {status}"
        answers += hammer(port, token, 16)
    return answers


def test_what_one_worker_takes_back_is_refused_by_all(port: int) -> None:
    """After a second no worker accepts it, and none ever does again."""
    subject = uuid4().hex
    token, other = mint_token(sub=subject), mint_token(sub="other")
    workers = {told.worker for told in until_all_say(port, token, 200)}
    assert len(workers) == WORKERS
    assert fetch(port, REVOKE + subject, method="POST")[0] == 200
    done = time.monotonic()
    answers = until_all_say(port, token, 401)
    late = [told for told in answers if told.asked > done + ALL_KNOW_S]
    assert statuses(late) <= {401}
    assert statuses(hammer(port, token, AFTERWARDS)) == {401}
    assert statuses(hammer(port, other, 20)) == {200}


def test_each_worker_refuses_at_once_what_it_took_back_itself(port: int) -> None:
    """Also where the request comes in the same instant, to the same worker."""
    for _ in range(10):
        subject = uuid4().hex
        status, headers, _ = fetch(port, REVOKE + subject, method="POST")
        mine = headers["X-Worker"]
        seen = hammer(port, mint_token(sub=subject), 16)
        assert status == 200
        assert statuses(told for told in seen if told.worker == mine) <= {401}


def test_what_was_revoked_before_the_fork_is_refused_after_it(
    tmp_path: Path,
) -> None:
    """The master had a thread and a connection; each worker makes its own."""
    with served("gunicorn-preload", tmp_path / "marks.db") as port:
        until_all_say(port, mint_token(sub="before the fork"), 401)
        until_all_say(port, mint_token(), 200)


@pytest.mark.parametrize("name", ["gunicorn", "uvicorn"])
def test_a_restart_of_the_server_forgets_nothing(tmp_path: Path, name: str) -> None:
    token = mint_token(sub="alice")
    with served(name, tmp_path / "marks.db") as port:
        assert show(port, token).status == 200
        assert fetch(port, f"{REVOKE}alice", method="POST")[0] == 200
    with served(name, tmp_path / "marks.db") as port:
        assert statuses(hammer(port, token, 40)) == {401}
