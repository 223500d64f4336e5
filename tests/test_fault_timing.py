"""Who waits for the issuer's keys, for how long, and how often they are fetched.

Over real sockets, by both doors.  What is told when that goes wrong: `test_faults`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio
import trio.testing

from jwt_middleware import Authenticator, Key, asgi

from . import keyserver_answers as answers
from .conftest import SIGNING_KEY, mint_token
from .doors import KEY, ASGIDoor, Door, WSGIDoor
from .faults import (
    COOLDOWN_S,
    LIFETIME_S,
    SLACK_S,
    SOON_S,
    ensure_unavailable,
    landed,
    lock,
    made_up,
    remote,
    signed_by,
    timed,
)
from .keyserver import KeyServer
from .keyserver_exchange import Exchange
from .store_suite import Clock

CROWD = 50
FLOOD = 1000
COOLDOWNS = 3
NEW = Key.generate("ES256", kid="new")


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer([SIGNING_KEY]) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


class Gate(Clock):
    """A clock that tells when *number* threads have asked for the time."""

    def __init__(self, number: int) -> None:
        super().__init__(1000.0)
        self._number = number
        self._seen: set[int] = set()
        self.all_came = threading.Event()

    def __call__(self) -> float:
        self._seen.add(threading.get_ident())
        if len(self._seen) >= self._number:
            self.all_came.set()
        return self.now


async def status_of(auth: Authenticator, token: str) -> int:
    """What a request is answered, under whichever loop runs."""
    header = [("Authorization", f"Bearer {token}")]
    scope = ASGIDoor.scope("http", "/", "/", header, "https", "", "")
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope[KEY] is not None
        await send({"type": "http.response.start", "status": 200})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    await asgi.JWTMiddleware(app, auth)({**scope, "method": "GET"}, receive, send)
    status: int = sent[0]["status"]
    return status


# Many at once


def test_threads_that_come_together_wait_for_one_fetch(server: KeyServer) -> None:
    server.answer = answers.hang
    gate = Gate(CROWD + 1)  # and the thread that fetches
    guarded, token = WSGIDoor(lock(remote(server, gate))), mint_token()
    with ThreadPoolExecutor(CROWD) as pool:
        asked = [pool.submit(guarded.get, bearer=token) for _ in range(CROWD)]
        server.wait_for_hits(1)
        assert gate.all_came.wait(SOON_S)
        server.release()
        assert [future.result().status for future in asked] == [200] * CROWD
    assert len(server.hits) == 1


def test_tasks_of_asyncio_that_come_together_wait_for_one_fetch(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    auth, token = lock(remote(server, clock)), mint_token()

    async def come() -> list[int]:
        async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as group:
            tasks = [group.create_task(status_of(auth, token)) for _ in range(CROWD)]
            await asyncio.to_thread(server.wait_for_hits, 1)
            server.release()
        return [task.result() for task in tasks]

    assert asyncio.run(come()) == [200] * CROWD
    assert len(server.hits) == 1


def test_tasks_of_trio_that_come_together_wait_for_one_fetch(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    auth, token = lock(remote(server, clock)), mint_token()
    statuses = []

    async def one() -> None:
        statuses.append(await status_of(auth, token))

    async def come() -> None:
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:
                for _ in range(CROWD):
                    nursery.start_soon(one)
                await trio.to_thread.run_sync(server.wait_for_hits, 1)
                server.release()

    trio.run(come)
    assert statuses == [200] * CROWD
    assert len(server.hits) == 1


def test_keys_that_arrive_while_a_request_looks_are_used(
    door: Door, server: KeyServer
) -> None:
    """A fetch that another had begun ends between a request's look at what is held
    and its joining that fetch: then there are keys, and nothing to wait for."""

    class Interrupted(Clock):
        asked = 0

        def __call__(self) -> float:
            if threading.current_thread() is threading.main_thread():
                self.asked += 1
                if self.asked == 2:  # the first is to know when the request came
                    other = threading.Thread(target=keys.load)
                    other.start()
                    other.join()
            return self.now

    keys = remote(server, Interrupted(1000.0))
    answer = door.behind(lock(keys)).get(bearer=mint_token())
    assert keys.state().status == "fresh"
    assert answer.status == 200


# Keys that nobody has


@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_made_up_keys_cost_one_fetch_in_a_cooldown(
    door: Door, server: KeyServer, clock: Clock, is_warm: bool
) -> None:
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    if is_warm:
        keys.load()
        clock.now += 1
    before = len(server.hits)
    for number in range(FLOOD):
        hits = len(server.hits)
        answer = guarded.get(bearer=made_up())
        if is_warm or number:
            assert answer.status == (401 if len(server.hits) > hits else 503)
            assert (answer.status == 503) is (answer.header("retry-after") is not None)
        if number % (FLOOD // 10) == 0:
            assert guarded.get(bearer=mint_token()).status == 200
        clock.now += COOLDOWNS * COOLDOWN_S / FLOOD
    assert COOLDOWNS <= len(server.hits) - before <= COOLDOWNS + 1


def test_a_flood_while_the_server_is_down_costs_no_more(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """Not 401: among the unknown keys may be a new one."""
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    keys.load()
    server.answer = answers.ANSWERS["status_503"]
    clock.now += 1
    for _ in range(FLOOD // 10):
        ensure_unavailable(guarded.get(bearer=made_up()))
        clock.now += 10 * COOLDOWNS * COOLDOWN_S / FLOOD
    assert guarded.get(bearer=mint_token()).status == 200
    assert len(server.hits) - 1 <= COOLDOWNS + 1


def test_a_new_key_is_known_at_once_where_none_was_looked_for(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 200
    server.keys = [SIGNING_KEY, NEW]
    clock.now += 1
    assert guarded.get(bearer=signed_by(NEW)).status == 200
    assert guarded.get(bearer=mint_token()).status == 200
    assert len(server.hits) == 2


def test_a_new_key_amid_a_flood_is_known_when_the_cooldown_has_passed(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """Also if strangers have the look, which serves everybody.  Until then nobody can
    say that the key does not exist: 503 with ``Retry-After``, not 401."""
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 200
    clock.now += 1
    assert guarded.get(bearer=made_up()).status == 401
    server.keys = [NEW]
    clock.now += COOLDOWN_S - 1
    for token in (made_up(), signed_by(NEW)):
        answer = guarded.get(bearer=token)
        assert (answer.status, answer.header("retry-after")) == (503, "1")
    clock.now += 1
    assert guarded.get(bearer=made_up()).status == 401
    assert guarded.get(bearer=signed_by(NEW)).status == 200
    clock.now += COOLDOWN_S
    assert guarded.get(bearer=mint_token()).status == 401
    assert len(server.hits) == 4


def test_one_request_looks_once_though_a_fetch_takes_longer_than_a_cooldown(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """What was asked for after the request came cannot lack a key of before."""

    def slow(exchange: Exchange) -> None:
        if len(server.hits) < 10:  # or else a request that goes on would never end
            clock.now += 2
        answers.ok(exchange)

    keys = remote(server, clock, cooldown=1)
    guarded = door.behind(lock(keys))
    keys.load()
    clock.now += 2
    server.answer = slow
    assert guarded.get(bearer=made_up()).status == 401
    assert len(server.hits) == 2


# While a fetch hangs


def test_known_keys_do_not_wait_for_an_unknown_one(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    keys.load()
    clock.now += 1
    server.answer = answers.hang
    with ThreadPoolExecutor(1) as pool:
        unknown = pool.submit(guarded.get, bearer=made_up())
        server.wait_for_hits(2)
        answer, seconds = timed(lambda: guarded.get(bearer=mint_token()))
        assert answer.status == 200
        assert seconds < SOON_S
        assert not unknown.done()
        server.release()
        assert unknown.result().status == 401


def test_good_requests_do_not_queue_behind_made_up_keys(
    server: KeyServer, clock: Clock
) -> None:
    """A WSGI server of four threads, strangers, and an issuer that hangs."""
    keys = remote(server, clock)
    guarded = WSGIDoor(lock(keys))
    keys.load()
    clock.now += 1
    server.answer = answers.hang
    began = time.monotonic()

    def good() -> float:
        assert guarded.get(bearer=mint_token()).status == 200
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as pool:
        strangers, welcome = [], []
        for _ in range(20):
            strangers.append(pool.submit(guarded.get, bearer=made_up()))
            welcome.append(pool.submit(good))
        assert max(future.result() for future in welcome) < 1
        server.release()
        for stranger in strangers:
            assert stranger.result().status in (401, 503)


def test_a_request_for_an_unknown_key_waits_no_longer_than_the_timeout(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    keys = remote(server, clock, timeout=0.4)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200
    clock.now += 1
    server.answer = answers.hang
    answer, seconds = timed(lambda: guarded.get(bearer=made_up()))
    ensure_unavailable(answer)
    assert seconds < 0.4 + SLACK_S


def test_a_loop_of_asyncio_goes_on_while_a_request_waits(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    keys = remote(server, clock)
    auth = lock(keys)

    async def scenario() -> int:
        async with asyncio.timeout(SOON_S):
            waiting = asyncio.create_task(status_of(auth, mint_token()))
            await asyncio.to_thread(server.wait_for_hits, 1)
            for _ in range(100):  # a heart that beats
                await asyncio.sleep(0.001)
            assert not waiting.done()
            server.release()
            return await waiting

    assert asyncio.run(scenario()) == 200


def test_a_loop_of_trio_goes_on_while_a_request_waits(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    auth = lock(remote(server, clock))
    statuses = []

    async def one() -> None:
        statuses.append(await status_of(auth, mint_token()))

    async def scenario() -> None:
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                await trio.to_thread.run_sync(server.wait_for_hits, 1)
                for _ in range(100):
                    await trio.sleep(0.001)
                assert statuses == []
                server.release()

    trio.run(scenario)
    assert statuses == [200]


def test_a_client_of_asyncio_that_leaves_takes_no_fetch_with_it(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    auth, token = lock(remote(server, clock)), mint_token()

    async def scenario() -> int:
        async with asyncio.timeout(SOON_S):
            leaving = asyncio.create_task(status_of(auth, token))
            staying = asyncio.create_task(status_of(auth, token))
            await asyncio.to_thread(server.wait_for_hits, 1)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert not staying.done()
            server.release()
            return await staying

    assert asyncio.run(scenario()) == 200
    assert len(server.hits) == 1


def test_a_client_of_trio_that_leaves_takes_no_fetch_with_it(
    server: KeyServer, clock: Clock
) -> None:
    server.answer = answers.hang
    auth, token = lock(remote(server, clock)), mint_token()
    statuses = []

    async def one(scope: trio.CancelScope) -> None:
        with scope:
            statuses.append(await status_of(auth, token))

    async def scenario() -> None:
        leaving, staying = trio.CancelScope(), trio.CancelScope()
        with trio.fail_after(SOON_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, leaving)
                nursery.start_soon(one, staying)
                await trio.to_thread.run_sync(server.wait_for_hits, 1)
                leaving.cancel()
                await trio.testing.wait_all_tasks_blocked()
                assert statuses == []
                server.release()

    trio.run(scenario)
    assert statuses == [200]
    assert len(server.hits) == 1


def test_all_clients_may_leave_and_the_keys_come_all_the_same(
    server: KeyServer, clock: Clock
) -> None:
    """Their loop is closed when the fetch ends."""
    server.answer = answers.hang
    keys = remote(server, clock)
    auth, token = lock(keys), mint_token()

    async def scenario() -> None:
        leaving = asyncio.create_task(status_of(auth, token))
        await asyncio.to_thread(server.wait_for_hits, 1)
        leaving.cancel()

    asyncio.run(scenario())
    server.release()
    landed(keys)
    assert WSGIDoor(auth).get(bearer=token).status == 200
    assert len(server.hits) == 1


# Behind the requests


def test_keys_are_renewed_behind_the_requests_before_they_are_stale(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200
    server.answer, server.keys = answers.hang, [SIGNING_KEY, NEW]
    clock.now += 0.71 * LIFETIME_S  # 0.8 less a tenth, by chance, and never earlier
    assert guarded.get(bearer=mint_token()).status == 200
    assert keys._upkeep._flights.join(lambda: False) is None
    clock.now += 0.1 * LIFETIME_S
    for _ in range(10):
        answer, seconds = timed(lambda: guarded.get(bearer=mint_token()))
        assert answer.status == 200
        assert seconds < SOON_S
    server.wait_for_hits(2)
    server.release()
    landed(keys)
    assert (keys.state().status, keys.state().age) == ("fresh", 0)
    assert guarded.get(bearer=signed_by(NEW)).status == 200
    assert len(server.hits) == 2


def test_a_renewal_that_fails_is_tried_again_and_nobody_notices(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200
    server.answer = answers.close
    for hits, seconds in ((2, 0.81 * LIFETIME_S), (3, 1), (4, 2)):
        clock.now += seconds
        for _ in range(3):
            assert guarded.get(bearer=mint_token()).status == 200
            landed(keys)
        assert len(server.hits) == hits
        assert keys.state().status == "fresh"
    server.answer = answers.ok
    clock.now += 4
    assert guarded.get(bearer=mint_token()).status == 200
    landed(keys)
    assert (keys.state().failures, keys.state().age) == (0, 0)
