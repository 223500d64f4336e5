"""Starlette and FastAPI behind the lock, for a real server: `test_starlette`.

FastAPI is mounted, and so has a handler of refusals of its own.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi import WebSocket as FastAPIWebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Key,
    Rule,
    Token,
    TrustedIssuer,
    fastapi,
    starlette,
)
from jwt_middleware.errors import InvalidToken

auth = Authenticator(
    TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
    ),
    sources=(BearerHeader(), BearerHeader("X-Token", scheme="Token")),
    rules=(
        Rule("/optional/*", optional=True),
        Rule("/fastapi/optional/*", optional=True),
    ),
)


@starlette.requires("read")
async def read(request: Request) -> Response:
    return PlainTextResponse(request.user.display_name)


@starlette.requires("read", max_age=300)
async def echo(websocket: WebSocket) -> None:
    """Say everything again; refuse to go on at a word."""
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "refuse":
            raise InvalidToken("the message of the log")
        await websocket.send_text(f"{websocket.user.display_name}: {text}")


inner = FastAPI()
inner.add_exception_handler(AuthError, fastapi.refusing(auth))
Reader = Annotated[Token, Depends(fastapi.requires("read", max_age=300))]


@inner.get("/optional/read")
def inner_read(token: Reader) -> str:
    return str(token.subject)


@inner.websocket("/optional/echo")
async def inner_echo(websocket: FastAPIWebSocket, token: Reader) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "refuse":
            raise InvalidToken("the message of the log")
        await websocket.send_text(f"{token.subject}: {text}")


routes: list[Any] = [
    Route("/optional/read", read),
    WebSocketRoute("/optional/echo", echo),
    Mount("/fastapi", inner),
]
app = Starlette(routes=routes)
starlette.init_app(app, auth)
