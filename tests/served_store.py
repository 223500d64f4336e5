"""An application behind the lock, for several workers with one SQLite file.

It says which worker answered, and takes tokens back: ``POST /revoke/<subject>``.
Where ``USED_BEFORE_FORK`` is a token, the store is in use when workers are forked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from jwt_middleware import Key, Rule
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .conftest import authenticator, clock, trusted

REVOKE = "/revoke/"

auth = authenticator(
    trusted(keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))]),
    store=SQLiteStore(os.environ["SERVED_STORE"], now=clock),
    rules=(Rule(f"{REVOKE}*", methods=("POST",), public=True),),
)
if token := os.environ.get("USED_BEFORE_FORK"):
    auth.authenticate(token)
    auth.revoke_subject("before the fork")


def plain_wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path.startswith(REVOKE):
        auth.revoke_subject(path.removeprefix(REVOKE))
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"].startswith(REVOKE):
        await auth.arevoke_subject(scope["path"].removeprefix(REVOKE))
    body = str(os.getpid()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def telling_wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Say of every answer, a refusal too, which worker it is from."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        told = [*headers, ("X-Worker", str(os.getpid()))]
        return start_response(status, told, *rest)

    return wsgi_lock(environ, start)


async def telling_asgi(scope: Any, receive: Any, send: Any) -> None:
    async def tell(message: Any) -> None:
        if message["type"] == "http.response.start":
            worker = (b"x-worker", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], worker]}
        await send(message)

    if scope["type"] == "http":
        await asgi_lock(scope, receive, tell)


wsgi_lock = WSGIMiddleware(plain_wsgi, auth)
asgi_lock = ASGIMiddleware(plain_asgi, auth)
