"""Streams that their clients abandon, for `test_abandoned`.

What is left of a stream is garbage in a cycle, and collected in a request to /collect.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from jwt_middleware import Authenticator, Key, Token, TrustedIssuer, current_token
from jwt_middleware.asgi import JWTMiddleware

gc.disable()  # it is done by requests

auth = Authenticator(
    TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
    )
)
found: list[list[str | None]] = []
"""At the end of a stream: the subjects of the current and of the request's token."""


def subject(token: Token | None) -> str | None:
    return None if token is None else token.subject


async def parts(token: Token) -> AsyncIterator[bytes]:
    try:
        while True:
            yield b"part"
    finally:
        found.append([subject(current_token()), subject(token)])


class Leaving(StreamingResponse):
    """Sends a part for each message from the server, until the client has gone."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.itself = self  # a cycle
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for part in self.body_iterator:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if (await receive())["type"] == "http.disconnect":
                return


async def stream(request: Request) -> Response:
    return Leaving(parts(request.user))


async def collect(request: Request) -> Response:
    gc.collect()
    await asyncio.sleep(0)  # the event loop begins to close what is garbage
    return JSONResponse(found)


app = Starlette(
    routes=[Route("/stream", stream), Route("/collect", collect)],
    middleware=[Middleware(JWTMiddleware, auth=auth)],
)
