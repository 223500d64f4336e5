"""Real applications in this process: one request, handed in as a server does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .routes import Run, read_files, recorded_runs


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request."""

    status: int
    """500 if the application raised."""
    body: str
    runs: tuple[Run, ...]

    @property
    def is_refused(self) -> bool:
        """Whether the middleware said that the credentials are not enough."""
        return self.status in (401, 403) and self.body.startswith('{"error')


async def ask_asgi(app: Any, scope: Any, sent: str) -> Outcome:
    """Send *scope* to an ASGI application; *sent* names the request's credentials."""
    status, body, is_first = 500, b"", True

    async def receive() -> Any:
        nonlocal is_first
        if is_first:
            is_first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        return await asyncio.Event().wait()  # the client stays

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        body += message.get("body", b"")

    with recorded_runs() as runs:
        try:
            await app(scope, receive, send)
        except Exception as error:
            status, body = 500, repr(error).encode()
    text = body.decode("latin-1")
    return Outcome(status, text, (*runs, *read_files(text, sent)))


async def ask_wsgi(app: Any, environ: Any, sent: str) -> Outcome:
    """Send *environ* to a WSGI application."""
    status, body = 500, b""

    def start_response(line: str, headers: Any, exc_info: Any = None) -> Any:
        nonlocal status
        status = int(line[:3])
        return lambda octets: None

    with recorded_runs() as runs:
        try:
            result = app(environ, start_response)
            try:
                body = b"".join(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except Exception as error:
            status, body = 500, repr(error).encode()
    text = body.decode("latin-1")
    return Outcome(status, text, (*runs, *read_files(text, sent)))


Ask = Callable[[Any, Any, str], Awaitable[Outcome]]
ASK: dict[str, Ask] = {"asgi": ask_asgi, "wsgi": ask_wsgi}
