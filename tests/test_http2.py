"""Requests of different users on one connection of HTTP/2, and a store with faults.

One connection is one task or thread in some servers, and carries the requests of many
users at once, as behind a proxy.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from jwt_middleware import Key, TokenIssuer

from .redis_server import RedisServer, eventually
from .servers import serving

pytest.importorskip("h2", reason="h2 is not installed")

KEY = Key.generate("ES256", kid="served")
ISSUER = TokenIssuer("https://issuer.example", audience="api", key=KEY)
APP = "tests.served_redis:asgi_app"
SERVERS = {
    "hypercorn": ("hypercorn", APP, "--bind=fd://{fd}"),
    "granian": (
        *("granian", APP, "--interface=asgi", "--http=2", "--host=127.0.0.1"),
        *("--port={port}", "--workers-kill-timeout=2"),
    ),
}
Headers = dict[str, str]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=SERVERS)
def url(request: pytest.FixtureRequest, redis: RedisServer) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]  # granian takes no socket
    command = [part.replace("{port}", f"{own}") for part in SERVERS[request.param]]
    environment = {
        "SERVED_KEY": json.dumps(KEY.public.to_jwk()),
        "SERVED_REDIS": redis.url,
    }
    with serving(*command, environment=environment) as given:
        url = f"http://127.0.0.1:{own if request.param == 'granian' else given}"
        eventually(lambda: talk(url, lambda client: answers(client)), "it answers")
        yield url


def talk(url: str, story: Callable[[httpx2.AsyncClient], Awaitable[Any]]) -> Any:
    """Have *story* talk over one connection of HTTP/2."""

    async def connected() -> Any:
        limits = httpx2.Limits(max_connections=1)
        async with httpx2.AsyncClient(
            base_url=url, http1=False, http2=True, limits=limits, timeout=30
        ) as client:
            return await story(client)

    return asyncio.run(connected())


async def answers(client: httpx2.AsyncClient) -> bool:
    with suppress(httpx2.ConnectError):
        return (await client.get("/")).status_code == 401
    return False


def of(name: str) -> Headers:
    return {"Authorization": f"Bearer {ISSUER.issue(name).access_token}"}


async def statuses(
    client: httpx2.AsyncClient, asked: Sequence[Headers], path: str = "/"
) -> Sequence[int]:
    """Ask for all at once."""
    given = await asyncio.gather(*(client.get(path, headers=one) for one in asked))
    assert {answer.http_version for answer in given} == {"HTTP/2"}
    return [answer.status_code for answer in given]


def test_users_of_one_connection_do_not_share_a_token(url: str) -> None:
    async def story(client: httpx2.AsyncClient) -> None:
        good, bad, nobody = of("alice"), of("eve"), Headers()
        assert await statuses(client, [bad], "/revoke") == [200]
        for _ in range(5):
            asked = [good, bad, nobody] * 10
            assert await statuses(client, asked) == [200, 401, 401] * 10

    talk(url, story)


def test_redis_may_go_away_and_come_back(url: str, redis: RedisServer) -> None:
    """Nobody is let in who was revoked; the others are, on the same connection."""

    async def story(client: httpx2.AsyncClient) -> None:
        good, bad = of("alice"), of("eve")
        assert await statuses(client, [bad], "/revoke") == [200]
        await asyncio.to_thread(redis.restart)  # it is empty now
        for _ in range(200):
            asked = await statuses(client, [good, bad, bad, good])
            assert {asked[1], asked[2]} <= {401, 503}
            assert {asked[0], asked[3]} <= {200, 503}
            revoked = await statuses(client, [of("bob")], "/revoke")
            if (asked, revoked) == ([200, 401, 401, 200], [200]):
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"the last answers are {asked}, {revoked}")

    talk(url, story)
