"""Applications that go on, behind the lock, for `test_ending_servers`.

Under ``/echo`` and ``/flood`` there are WebSockets and responses; under ``/public``
others may revoke, and ask what the applications of a subject were told.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import Any

import anyio

from jwt_middleware import Authenticator, Key, MemoryStore, Rule, TrustedIssuer
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.token import KEY

BLOCK = 65_536
"""Octets of which a flood is made."""
LENGTH = 1_000

auth = Authenticator(
    TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
        leeway=0,
    ),
    rules=(Rule("/public/*", public=True),),
    store=MemoryStore(),
)
told: dict[str, list[str]] = defaultdict(list)
"""To the applications, by the subject of their token."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"].startswith("/public/"):
        await public(scope["path"].split("/")[2:], send)
    elif scope["type"] == "websocket":
        await websocket(scope, receive, send, told[scope[KEY]["sub"]])
    else:
        await http(scope, receive, send, told[scope[KEY]["sub"]])


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def public(words: list[str], send: Any) -> None:
    """Revoke what a subject or session has, or tell what was told."""
    match words:
        case ["revoke", "subject", value]:
            await auth.arevoke_subject(value)
        case ["revoke", "session", value]:
            await auth.arevoke_session(value)
        case ["told", value]:
            await respond(send, told[value])
            return
    await respond(send, words)


async def respond(send: Any, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def websocket(scope: Any, receive: Any, send: Any, told: list[str]) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/flood":
        await flood(send, {"type": "websocket.send", "bytes": b"x" * BLOCK}, told)
        return
    while (message := await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.send", "text": message["text"]})
    told.append(f"disconnect {message['code']}")


async def http(scope: Any, receive: Any, send: Any, told: list[str]) -> None:
    headers = [(b"content-type", b"text/csv")]
    if scope["path"] == "/events":
        headers = [(b"content-type", b"text/event-stream")]
    if scope["path"] == "/length":
        headers = [(b"content-length", str(LENGTH).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello\n", "more_body": True})
    if scope["path"] == "/length":  # the rest comes when the token has ended
        while auth.seconds_left(scope["user"]) > 0:
            await anyio.sleep(0.01)
        rest = b"x" * (LENGTH - len(b"hello\n"))
        await send({"type": "http.response.body", "body": rest})
        return
    if scope["path"] == "/flood":
        block = {"type": "http.response.body", "body": b"x" * BLOCK, "more_body": True}
        await flood(send, block, told)
        return
    while (message := await receive())["type"] != "http.disconnect":
        pass
    told.append(message["type"])


async def flood(send: Any, message: Any, told: list[str]) -> None:
    """Send without an end, and listen to nobody."""
    told.append("flood")
    try:
        while True:
            await send(message)
    except OSError:
        told.append("OSError")


asgi_app = JWTMiddleware(app, auth, end_responses=True)
