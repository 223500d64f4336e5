"""Applications behind the lock for the real servers of `test_servers`.

Each tells who `current_token` says is asking, also on a path that is public.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from jwt_middleware import (
    Authenticator,
    Cookie,
    Key,
    Rule,
    TrustedIssuer,
    current_token,
)
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.credentials import BearerHeader
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

auth = Authenticator(
    TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
    ),
    sources=(BearerHeader(), Cookie()),
    rules=(Rule("/public", public=True),),
)


def who() -> bytes:
    token = current_token()
    return b"nobody" if token is None else str(token.subject).encode()


def plain_wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", str(len(who())))])
    return [who()]


async def plain_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": who().decode()})
        await send({"type": "websocket.close"})
        return
    length = str(len(who())).encode()
    headers = [(b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": who()})


wsgi_app = WSGIMiddleware(plain_wsgi, auth)
asgi_app = ASGIMiddleware(plain_asgi, auth)
