"""Refuse to serve an application that is put together wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .asgi import ASGIApp, Receive, Scope, Send


class Checking:
    """ASGI middleware: calls *check* before a request, if there are new routes.

    What *check* raises (RuntimeError) stops the server as it starts.  If the server
    does not tell when it starts, every request raises that.
    """

    def __init__(
        self, app: ASGIApp, application: Any, check: Callable[[Any], None]
    ) -> None:
        self.app = app
        self._application = application
        self._check = check
        self._checked = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        count = len(self._application.routes)
        if count != self._checked:
            try:
                self._check(self._application)
            except RuntimeError as error:
                if scope["type"] == "lifespan":
                    await receive()
                    message = {"type": "lifespan.startup.failed", "message": str(error)}
                    await send(message)
                raise
            self._checked = count
        await self.app(scope, receive, send)
