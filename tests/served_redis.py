"""Applications behind the lock, with the marks in Redis, for servers with workers.

``/revoke`` takes back the token that it comes with.  Every answer tells in a header
which worker gave it, also a refusal.  Where the environment has ``SERVED_TOKEN``, it
is verified at import, which with ``--preload`` is before the fork.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from jwt_middleware import Authenticator, Key, Token, TrustedIssuer, current_token
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.redis import RedisStore
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

auth = Authenticator(
    TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
    ),
    store=RedisStore(os.environ["SERVED_REDIS"]),
)
if "SERVED_TOKEN" in os.environ:
    auth.authenticate(os.environ["SERVED_TOKEN"])


def shown() -> Token:
    token = current_token()
    assert token is not None, "the lock let nobody in"
    return token


def plain_wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/revoke":
        auth.revoke(shown())
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/revoke":
        await auth.arevoke(shown())
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


guarded_wsgi = WSGIMiddleware(plain_wsgi, auth)
guarded_asgi = ASGIMiddleware(plain_asgi, auth)


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, ("X-Worker", str(os.getpid()))], *rest)

    return guarded_wsgi(environ, start)


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    async def tell(message: Any) -> None:
        if message["type"] == "http.response.start":
            worker = (b"x-worker", str(os.getpid()).encode())
            message = {**message, "headers": [*message["headers"], worker]}
        await send(message)

    await guarded_asgi(scope, receive, tell)
