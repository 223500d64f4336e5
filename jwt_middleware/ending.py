"""Close WebSockets and end responses when their token expires or is revoked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from .errors import AuthError, Unavailable
from .loops import Interrupted, current_loop
from .quoting import shown
from .token import Token

logger = logging.getLogger("jwt_middleware")

LATEST_S = 30.0
"""The most seconds between two checks: the wall clock may be put forward."""
AGAIN_S = 1.0
"""Seconds until the next check, if the store could not be asked."""
PART_S = 1.0
"""Seconds for which an application that has returned waits for the last message."""
CLOSE_S = 5.0
"""Seconds to send the last message to a client that does not read."""

CLOSE: dict[str, Any] = {"type": "websocket.close", "code": 1008}
LAST_PART: dict[str, Any] = {
    "type": "http.response.body",
    "body": b"",
    "more_body": False,
}
EVENTS = b"text/event-stream"
"""The content type of a response that has no end of its own, so that no part of it can
be taken for the whole."""
COMPLETING = "starlette.middleware.base"
"""The module of BaseHTTPMiddleware."""
ADVICE = (
    "the response at %s was cut off, and Starlette's BaseHTTPMiddleware, which stands "
    "outside of JWTMiddleware, completes it, so that it looks whole; put it inside"
)
CLOSING = ("websocket.close", "websocket.http.response.start")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Judge(Protocol):
    """Says whether a token still holds: an `Authenticator`."""

    async def ensure_live(self, token: Token) -> None: ...
    def seconds_left(self, token: Token) -> float: ...
    def watch(self, token: Token, call: Callable[[], None]) -> Callable[[], None]: ...


class TokenEnded(ConnectionResetError):
    """The token has ended.  In ASGI, a send after a disconnect raises an OSError."""


class Ending:
    """A WebSocket or an incomplete response, whose token may end.

    The store calls if the token, its session or its subject is marked, and a timer when
    the token expires; there is no polling.  Messages pass unchanged, in the task that
    asks for them.  When the token ends, the application receives a disconnect message.

    A WebSocket and a stream of events are closed at once.  Any other response is cut
    off when the application returns, so that its client sees an error.
    """

    def __init__(
        self, judge: Judge, token: Token, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._judge = judge
        self._token = token
        self._path = shown(scope["path"])
        self._receive = receive
        self._send = send
        self._loop = current_loop()
        self._sending, self._parting = self._loop.lock(), self._loop.lock()
        self._call_off: Callable[[], None] = _nothing
        """Ends the waiting for the token's expiry."""
        self._checks = 0
        self._ended: AuthError | None = None
        self._is_served = True
        self._is_ending = False
        self._is_websocket = scope["type"] == "websocket"
        self._goodbye = CLOSE if self._is_websocket else None
        self._is_open = self._is_websocket
        """Whether the WebSocket or the response is not complete yet."""

    async def run(self, app: App, scope: Scope) -> None:
        """Call *app*, and let it go on for as long as the token holds."""
        unwatch = self._judge.watch(self._token, lambda: self._loop.spawn(self._check))
        try:
            self._loop.spawn(self._check)  # a mark may have come just before
            await app(scope, self.receive, self.send)
        except Exception as error:  # of an application that did not expect its end
            if not _is_of_the_end(error):
                raise
        finally:
            self._is_served = False
            self._call_off()
            unwatch()
        if self._ended is not None:  # else the server says goodbye in its own way
            await self._loop.give(PART_S, self._until_parted)
        is_cut, self._is_open = self._is_open and self._is_ending, False
        if is_cut and getattr(self._receive, "__module__", "") == COMPLETING:
            logger.warning(ADVICE, self._path)

    async def receive(self) -> Message:
        try:
            return await self._loop.guard(self._receive)
        except Interrupted:
            await self._loop.pause()  # for the others, if the app does not listen
            if self._is_websocket:
                return {"type": "websocket.disconnect", "code": 1008, "reason": ""}
            return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        try:
            await self._loop.guard(self._send_in_turn, message)
        except Interrupted:
            raise TokenEnded("the token has ended") from None
        if self._ended is not None:  # before there was something to end
            await self._end(self._ended)

    async def _send_in_turn(self, message: Message) -> None:
        async with self._sending:
            self._is_open = self._is_open_after(message)
            await self._send(message)

    def _is_open_after(self, message: Message) -> bool:
        """Return whether *message* leaves a WebSocket or a response incomplete.

        A response with a length counts as complete, since it ends soon.
        """
        kind = message["type"]
        if kind == "http.response.start":
            pairs = message.get("headers", ())
            headers = {name.lower(): value for name, value in pairs}
            if headers.get(b"content-type", b"").lower().startswith(EVENTS):
                self._goodbye = LAST_PART
            return b"content-length" not in headers
        if kind == "http.response.body":
            return self._is_open and bool(message.get("more_body"))
        return self._is_open and kind not in CLOSING

    async def _check(self) -> None:
        """End what is open if the token has ended, else come back when it expires."""
        self._checks += 1
        mine = self._checks
        try:
            await self._judge.ensure_live(self._token)
        except Unavailable:
            self._come_back(AGAIN_S)
        except AuthError as error:
            self._ended = error
            await self._end(error)
        else:
            if mine == self._checks:  # else a later check has begun
                left = self._judge.seconds_left(self._token)
                self._come_back(min(left, LATEST_S))

    def _come_back(self, seconds: float) -> None:
        self._call_off()
        if self._is_served and not self._is_ending:
            self._call_off = self._loop.spawn_after(max(seconds, 0), self._check)

    async def _end(self, error: AuthError) -> None:
        """Tell the application, and then the client if the connection is open."""
        if not self._is_open or self._is_ending:
            return
        self._is_ending = True
        logger.info("ended what was open at %s: %s", self._path, error.reason)
        async with self._parting:
            self._loop.interrupt()
            if self._goodbye is not None:
                await self._loop.give(CLOSE_S, self._say_goodbye)

    async def _until_parted(self) -> None:
        async with self._parting:
            pass

    async def _say_goodbye(self) -> None:
        with suppress(Exception):  # of a server, for what it knows to be gone
            async with self._sending:
                is_open, self._is_open = self._is_open, False
                # If it is not open, the application has closed it meanwhile.
                if is_open and self._goodbye is not None:
                    await self._send(self._goodbye)


def _is_of_the_end(error: BaseException) -> bool:
    """Return whether *error* only says that the token has ended."""
    if isinstance(error, BaseExceptionGroup):  # of a task group
        return all(map(_is_of_the_end, error.exceptions))
    is_starlettes = type(error).__name__ == "ClientDisconnect"
    return isinstance(error.__context__ if is_starlettes else error, TokenEnded)


def _nothing() -> None:
    """Call off what was not begun."""
