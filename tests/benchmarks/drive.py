"""Requests as a server hands them over: no socket, no client, nothing remembered."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from .rounds import WARM

AUTHORIZATIONS = Sequence[str | None]
"""What stands in the Authorization header of each request; None where it is missing."""
HEADERS = {
    "host": "api.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:152.0) Gecko/20100101",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "en-GB,en;q=0.7",
    "x-request-id": "7f6f4b1e-9f43-4f4e-8d0e-3f2f8c0f8a11",
}

App = Callable[..., Any]
"""Of WSGI or of ASGI."""


class Door(Protocol):
    def seconds(self, app: App, requests: AUTHORIZATIONS) -> tuple[float, set[int]]:
        """Send *requests*, one after the other: the mean of each, and the statuses.

        The first few do not count.
        Every request has a header of its own, so that no hash of it is remembered.
        """


class WSGI:
    def seconds(self, app: App, requests: AUTHORIZATIONS) -> tuple[float, set[int]]:
        environs = [self._environ(authorization) for authorization in requests]
        statuses: list[str] = []

        def start_response(
            status: str, headers: object, exc_info: object = None
        ) -> Any:
            statuses.append(status)

        self._send_all(app, environs[:WARM], start_response)
        took = self._send_all(app, environs[WARM:], start_response)
        assert len(statuses) == len(requests)
        return took / (len(requests) - WARM), {int(each[:3]) for each in statuses}

    @staticmethod
    def _send_all(app: App, environs: Sequence[dict[str, Any]], start: Any) -> float:
        began = time.perf_counter()
        for environ in environs:
            answer = app(environ, start)
            for _ in answer:
                pass
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return time.perf_counter() - began

    @staticmethod
    def _environ(authorization: str | None) -> dict[str, Any]:
        named = {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in HEADERS.items()}
        if authorization is not None:
            named["HTTP_AUTHORIZATION"] = authorization
        return {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/",
            "QUERY_STRING": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **named,
        }


class ASGI:
    def seconds(self, app: App, requests: AUTHORIZATIONS) -> tuple[float, set[int]]:
        scopes = [self._scope(authorization) for authorization in requests]
        statuses: list[int] = []

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def send_all() -> float:
            await self._send_all(app, scopes[:WARM], send)
            return await self._send_all(app, scopes[WARM:], send)

        took = asyncio.run(send_all())
        assert len(statuses) == len(requests)
        return took / (len(requests) - WARM), set(statuses)

    @staticmethod
    async def _send_all(
        app: App,
        scopes: Sequence[dict[str, Any]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> float:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        began = time.perf_counter()
        for scope in scopes:
            await app(scope, receive, send)
        return time.perf_counter() - began

    @staticmethod
    def _scope(authorization: str | None) -> dict[str, Any]:
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        if authorization is not None:
            headers.append((b"authorization", authorization.encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
