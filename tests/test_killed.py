"""A worker that is killed after a refresh token was marked, and before it answered.

The client has then a token that is used up, and none to follow it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jwt_middleware import Authenticator, Key, TokenIssuer, TokenPair
from jwt_middleware.errors import InvalidGrant, RefreshReused, TokenRevoked

from .conftest import NOW
from .redis_server import RedisServer
from .served_killed import URL, Shared, open_store
from .servers import ROOT, TIMEOUT_S
from .store_suite import Clock

KEY = Key.generate("ES256")


class Worker:
    """One of those that live: with a store object of its own, and the tests' clock."""

    def __init__(self, store: Shared, wall: Clock, reuse_leeway: float) -> None:
        self.issuer = TokenIssuer(
            URL,
            audience="app",
            key=KEY,
            store=store,
            reuse_leeway=reuse_leeway,
            now=wall,
        )
        self.auth = Authenticator(self.issuer.trusted(), store=store, now=wall)

    def refresh(self, pair: TokenPair) -> TokenPair:
        assert pair.refresh_token is not None
        return self.issuer.refresh(pair.refresh_token)

    def accepts(self, pair: TokenPair) -> bool:
        try:
            self.auth.authenticate(pair.access_token)
        except TokenRevoked:
            return False
        return True


class Site:
    """Workers that share their marks, and can be killed."""

    def __init__(self, kind: str, where: str, stack: ExitStack) -> None:
        self.wall = Clock(NOW)
        self._kind = kind
        self._where = where
        self._stack = stack

    def worker(self, reuse_leeway: float = 0) -> Worker:
        store = open_store(self._kind, self._where, self.wall)
        self._stack.callback(store.close)
        return Worker(store, self.wall, reuse_leeway)

    def refresh_in_child(
        self, pair: TokenPair, moment: str, reuse_leeway: float = 0
    ) -> tuple[int, str]:
        """How a worker ended that was to refresh, and what it answered."""
        command = [sys.executable, "-m", "tests.served_killed", self._kind]
        done = subprocess.run(
            [*command, self._where, moment, str(reuse_leeway)],
            cwd=ROOT,
            env={**os.environ, "SERVED_KEY": json.dumps(KEY.to_jwk(private=True))},
            input=f"{pair.refresh_token}\n",
            text=True,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
        )
        return done.returncode, done.stdout.strip()

    def kill(self, pair: TokenPair, moment: str, reuse_leeway: float = 0) -> None:
        """Have a worker killed at a moment of its refresh: it gives no answer."""
        ended = self.refresh_in_child(pair, moment, reuse_leeway)
        assert ended == (-signal.SIGKILL, "")


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield Site("sqlite", str(tmp_path / "marks.db"), stack)
            return
        with RedisServer() as server:  # ends first, so that no store waits for it
            yield Site("redis", server.url, stack)


def test_a_worker_that_is_not_killed_answers(site: Site) -> None:
    """And what it has used is used for the others."""
    worker = site.worker()
    pair = worker.issuer.issue("alice")
    code, answer = site.refresh_in_child(pair, "never")
    assert (code, answer.count(".")) == (0, 2)
    assert worker.issuer.refresh(answer).session_id == pair.session_id
    with pytest.raises(RefreshReused):
        worker.refresh(pair)


def test_a_token_whose_use_was_not_marked_is_as_good_as_before(site: Site) -> None:
    """Once, as any other."""
    worker, other = site.worker(), site.worker()
    pair = worker.issuer.issue("alice")
    site.kill(pair, "before")
    site.wall.now += 1
    newer = worker.refresh(pair)
    assert other.accepts(newer)
    with pytest.raises(RefreshReused):
        other.refresh(pair)
    assert not other.accepts(newer)


def test_after_the_mark_the_session_is_over_and_a_new_login_works(site: Site) -> None:
    """Nobody can say whether the answer came: it may be with a thief."""
    worker, other = site.worker(), site.worker()
    pair = worker.issuer.issue("alice")
    site.kill(pair, "after")
    assert worker.accepts(pair), "nothing is over before it shows"
    site.wall.now += 1
    with pytest.raises(RefreshReused) as refusal:
        worker.refresh(pair)
    assert refusal.value.told()["error"] == "invalid_grant"
    assert not worker.accepts(pair)
    for one in (worker, other):
        with pytest.raises(InvalidGrant):
            one.refresh(pair)

    fresh = worker.issuer.issue("alice")
    assert worker.accepts(fresh)
    newer = other.refresh(fresh)
    assert worker.accepts(newer)
    assert worker.refresh(newer).session_id == fresh.session_id
    with pytest.raises(RefreshReused):
        other.refresh(fresh)


def test_what_the_killed_worker_would_have_given_is_no_good_after_that(
    site: Site,
) -> None:
    """As where its answer reached a thief, who is slower than the user."""
    worker = site.worker(reuse_leeway=10)
    pair = worker.issuer.issue("alice")
    site.kill(pair, "after")
    unsent = worker.refresh(pair)
    strict = site.worker()
    site.wall.now += 1
    with pytest.raises(RefreshReused):
        strict.refresh(pair)
    with pytest.raises(InvalidGrant):
        strict.refresh(unsent)
    assert not strict.accepts(unsent)


def test_within_the_leeway_the_same_token_gives_the_one_successor(site: Site) -> None:
    """In every worker and as often as it is asked; later it ends the session."""
    worker, other = site.worker(10), site.worker(10)
    pair = worker.issuer.issue("alice")
    site.kill(pair, "after", reuse_leeway=10)
    code, answer = site.refresh_in_child(pair, "never", reuse_leeway=10)
    site.wall.now += 10
    given = [one.refresh(pair) for one in (worker, other, worker)]
    assert code == 0
    assert {successor.refresh_token for successor in given} == {answer}
    assert all(other.accepts(successor) for successor in given)

    newest = other.refresh(given[0])
    assert newest.session_id == pair.session_id
    assert newest.refresh_token not in (answer, pair.refresh_token)
    assert worker.accepts(newest)

    site.wall.now += 1
    with pytest.raises(RefreshReused):
        other.refresh(pair)
    for ended in (*given, newest):
        assert not other.accepts(ended)
        with pytest.raises(InvalidGrant):
            other.refresh(ended)
    assert worker.accepts(worker.issuer.issue("alice"))


def test_a_successor_is_used_once_like_any_other(site: Site) -> None:
    """The leeway of the token before it is not its own."""
    worker, other = site.worker(10), site.worker(10)
    pair = worker.issuer.issue("alice")
    site.kill(pair, "after", reuse_leeway=10)
    successor = worker.refresh(pair)
    newest = worker.refresh(successor)
    site.wall.now += 11
    with pytest.raises(RefreshReused):
        other.refresh(successor)
    assert not other.accepts(newest)
