"""An application with a MemoryStore and a key of its own, for servers with workers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from jwt_middleware import Key, MemoryStore

logging.basicConfig(filename=os.environ["SERVED_LOG"], format="%(message)s")
store, key = MemoryStore(), Key.generate()


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    store.put("a", 1.0, 9e9)
    key.sign(b"a")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        store.put("a", 1.0, 9e9)
        key.sign(b"a")
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})
