"""Check an application when its server starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .asgi import ASGIApp, Receive, Scope, Send


class Checking:
    """ASGI middleware that calls *check* before a request, if there are new routes.

    If *check* raises RuntimeError, the server does not start.  If the server sends no
    lifespan events, every request raises the error.
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
