"""A generator that its request has abandoned is not told the user of another one."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio.testing

from jwt_middleware import Key, Token, TokenIssuer, current_token
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.token import KEY as TOKEN_KEY

from .conftest import authenticator, mint_token
from .servers import TIMEOUT_S, fetch, serving

KEY = Key.generate("HS256", kid="served")
ENVIRONMENT = {"SERVED_KEY": json.dumps(KEY.to_jwk(private=True))}


class Garbage:
    """Holds a generator in a cycle, as a traceback may."""

    def __init__(self, parts: AsyncIterator[bytes]) -> None:
        self.parts = parts
        self.itself = self


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def scope_of(subject: str) -> dict[str, Any]:
    text = mint_token(sub=subject).encode()
    headers = [(b"authorization", b"Bearer " + text)]
    return {"type": "http", "method": "GET", "path": "/", "scheme": "https"} | {
        "headers": headers
    }


async def asyncio_turn() -> None:
    await asyncio.sleep(0.01)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # of trio
@pytest.mark.parametrize(
    ("run", "pause"),
    [
        (lambda main: asyncio.run(main()), asyncio_turn),
        (trio.run, trio.testing.wait_all_tasks_blocked),
    ],
    ids=["asyncio", "trio"],
)
def test_an_abandoned_generator_finds_no_user_of_another_request(
    run: Callable[[Any], None], pause: Any
) -> None:
    """The token of its own request, which it has kept, is still right."""
    found: list[Token | None] = []
    kept: list[Token] = []
    seen: list[Token | None] = []

    async def parts(token: Token) -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            found.append(current_token())
            kept.append(token)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["user"].subject == "alice":
            assert await anext(Garbage(parts(scope[TOKEN_KEY])).parts) == b"one"
            return
        gc.collect()
        await pause()
        seen.append(current_token())

    async def main() -> None:
        middleware: Any = JWTMiddleware(app, authenticator())
        for subject in ("alice", "bob"):
            await middleware(scope_of(subject), None, None)

    with no_collection():
        run(main)
    assert found == [None]
    assert [token.subject for token in kept] == ["alice"]
    assert [token.subject for token in seen if token] == ["bob"]


def test_a_generator_that_a_request_closes_itself_finds_the_user() -> None:
    found: list[Token | None] = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"one"
        finally:
            found.append(current_token())

    async def app(scope: Any, receive: Any, send: Any) -> None:
        opened: Any = parts()
        await anext(opened)
        await opened.aclose()

    middleware: Any = JWTMiddleware(app, authenticator())
    asyncio.run(middleware(scope_of("alice"), None, None))
    assert [token.subject for token in found if token] == ["alice"]


def test_a_token_is_current_in_callbacks_of_a_loop_and_beside_one() -> None:
    """Where there is no task, and where asyncio is loaded but does not run."""
    found: list[Token | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().call_soon(lambda: found.append(current_token()))
        await asyncio.sleep(0)
        await asyncio.to_thread(lambda: found.append(current_token()))
        found.append(current_token())

    middleware: Any = JWTMiddleware(app, authenticator())
    asyncio.run(middleware(scope_of("alice"), None, None))
    assert [token.subject for token in found if token] == ["alice"] * 3


def test_a_served_stream_that_is_abandoned_finds_no_other_user() -> None:
    issuer = TokenIssuer("https://issuer.example", audience="api", key=KEY)

    def headers(subject: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {issuer.issue(subject).access_token}"}

    with serving(
        *("uvicorn", "tests.served_abandoned:app", "--fd={fd}"), environment=ENVIRONMENT
    ) as port:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
            lines = ["GET /stream HTTP/1.1", "Host: x"]
            lines += [f"{name}: {value}" for name, value in headers("alice").items()]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        end = time.monotonic() + TIMEOUT_S
        found: list[Any] = []
        while not found:
            assert time.monotonic() < end
            found = json.loads(fetch(port, "/collect", headers=headers("bob"))[2])
    assert found == [[None, "alice"]]
