"""gunicorn's gevent and gthread workers, with every store and with remote keys.

gevent replaces locks and threads.  In a worker that was not preloaded, and where the
application patches first, all of ours are gevent's; with ``--preload`` they are made,
and used, before.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jwt_middleware import Key, TokenIssuer

from .keyserver import KeyServer
from .redis_server import RedisServer, eventually
from .servers import fetch, serving

pytest.importorskip("gevent", reason="gevent is not installed")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

KEY = Key.generate("ES256", kid="served")
ISSUER = TokenIssuer("https://issuer.example", audience="api", key=KEY)
AT_ONCE = 3
NAMES = ("memory", "sqlite", "redis", "remote")
GEVENT = "--worker-class=gevent"
USED = {"SERVED_TOKEN": ISSUER.issue("before the fork").access_token}
MODES: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "gevent": ((GEVENT,), {}),
    "gevent, preload": ((GEVENT, "--preload"), {}),
    "gevent, preload, patched first": ((GEVENT, "--preload"), {"PATCHED_FIRST": "1"}),
    "gevent, preload, used before": ((GEVENT, "--preload"), USED),
    "gthread": (("--worker-class=gthread", "--threads=12"), {}),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RedisServer, KeyServer]]:
    with RedisServer() as redis, KeyServer([KEY]) as keys:
        yield redis, keys


@pytest.fixture(scope="module", params=MODES)
def port(
    request: pytest.FixtureRequest,
    servers: tuple[RedisServer, KeyServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    options, extra = MODES[request.param]
    redis, keys = servers
    file: Path = tmp_path_factory.mktemp("gevent") / "marks.db"
    environment = {
        "SERVED_KEY": json.dumps(KEY.public.to_jwk()),
        "SERVED_REDIS": redis.url,
        "SERVED_SQLITE": str(file),
        "SERVED_JWKS": keys.jwks_url,
        **extra,
    }
    command = ("gunicorn", "tests.served_gevent:app", "--bind=fd://{fd}", *options)
    with serving(*command, environment=environment) as opened:
        yield opened


def test_simultaneous_first_requests_are_answered_and_a_revoked_one_is_not(
    port: int,
) -> None:
    """Of every store, all at once: none waits for a lock that another holds."""
    headers = {"Authorization": f"Bearer {ISSUER.issue('alice').access_token}"}

    def ask(path: str) -> int:
        return fetch(port, path, headers=headers)[0]

    asked = [f"/{name}" for name in NAMES] * AT_ONCE
    with ThreadPoolExecutor(len(asked)) as pool:
        assert list(pool.map(ask, asked)) == [200] * len(asked)
        revoked = [f"/{name}/revoke" for name in NAMES]
        assert list(pool.map(ask, revoked)) == [200] * len(NAMES)
        assert list(pool.map(ask, asked)) == [401] * len(asked)


@pytest.mark.parametrize("name", ["memory", "sqlite", "redis", "remote"])
def test_requests_that_revoke_and_look_at_once_do_not_stop_the_worker(
    port: int, name: str
) -> None:
    tokens = [ISSUER.issue(f"user {number}").access_token for number in range(8)]

    def revoke(token: str) -> tuple[int, int]:
        headers = {"Authorization": f"Bearer {token}"}
        paths = (f"/{name}/revoke", f"/{name}")
        first, then = (fetch(port, path, headers=headers)[0] for path in paths)
        return first, then

    with ThreadPoolExecutor(len(tokens)) as pool:
        assert list(pool.map(revoke, tokens)) == [(200, 401)] * len(tokens)


def test_redis_may_go_away_and_come_back_under_every_worker(
    port: int, servers: tuple[RedisServer, KeyServer]
) -> None:
    """Nobody is let in who was revoked; the others are, when it is back."""
    redis, _ = servers
    good, bad = (
        {"Authorization": f"Bearer {ISSUER.issue(name).access_token}"}
        for name in ("alice", "eve")
    )
    assert fetch(port, "/redis/revoke", headers=bad)[0] == 200
    redis.restart()  # it is empty now
    assert fetch(port, "/redis", headers=bad)[0] in (401, 503)
    eventually(lambda: fetch(port, "/redis", headers=good)[0] == 200, "it is served")
    assert fetch(port, "/redis", headers=bad)[0] == 401

    def can_revoke() -> bool:
        return fetch(port, "/redis/revoke", headers=good)[0] == 200

    eventually(can_revoke, "a worker writes again")
    assert fetch(port, "/redis", headers=good)[0] == 401
