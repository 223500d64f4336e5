"""What is open ends when its token does."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

from .errors import AuthError, Unavailable, shown
from .loops import Interrupted, current_loop
from .token import Token

logger = logging.getLogger("jwt_middleware")

LATEST_S = 30.0
"""Until the next look at the wall clock, which may be put forward."""
AGAIN_S = 1.0
"""Until the next question, where nobody can say whether the token was revoked."""
PART_S = 1.0
"""For which an application that has returned is held until goodbye was said."""
CLOSE_S = 5.0
"""For saying goodbye to a client that does not read."""

GOODBYE: dict[bool, dict[str, Any]] = {
    True: {"type": "websocket.close", "code": 1008},
    False: {"type": "http.response.body", "body": b"", "more_body": False},
}
"""To a WebSocket, or not."""
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


class Ending:
    """A WebSocket, or a response that goes on, of which the token may end.

    Nothing of it is polled: the store calls when one of the token's handles is marked,
    and a timer when it expires.  Messages pass as they come, in the task that asks
    for them; when the token ends, the application is told that the client has gone.
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
        self._is_open = self._is_websocket
        """Whether there is something that the client has to be told the end of."""

    async def run(self, app: App, scope: Scope) -> None:
        """Call *app*, and let it go on for as long as the token holds."""
        unwatch = self._judge.watch(self._token, lambda: self._loop.spawn(self._check))
        try:
            self._loop.spawn(self._check)  # a mark may have come just before
            await app(scope, self.receive, self.send)
        finally:
            self._is_served = False
            self._call_off()
            unwatch()
        if self._ended is not None:  # else the server says goodbye in its own way
            await self._loop.give(PART_S, self._until_parted)
        self._is_open = False

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
        except Interrupted:  # ASGI: what is sent after the end raises an OSError
            raise ConnectionResetError("the token has ended") from None
        if self._ended is not None:  # before there was something to end
            await self._end(self._ended)

    async def _send_in_turn(self, message: Message) -> None:
        async with self._sending:
            self._is_open = self._is_open_after(message)
            await self._send(message)

    def _is_open_after(self, message: Message) -> bool:
        """Only what has no length goes on; the rest is over soon, and told whole."""
        kind = message["type"]
        if kind == "http.response.start":
            names = [name.lower() for name, _ in message.get("headers", ())]
            return b"content-length" not in names
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
            if mine == self._checks:  # else the answer is older than a question
                left = self._judge.seconds_left(self._token)
                self._come_back(min(left, LATEST_S))

    def _come_back(self, seconds: float) -> None:
        self._call_off()
        if self._is_served and not self._is_ending:
            self._call_off = self._loop.spawn_after(max(seconds, 0), self._check)

    async def _end(self, error: AuthError) -> None:
        """Tell the application, and then the client, if that still listens."""
        if not self._is_open or self._is_ending:
            return
        self._is_ending = True
        logger.info("ended what was open at %s: %s", self._path, error.reason)
        async with self._parting:
            self._loop.interrupt()
            await self._loop.give(CLOSE_S, self._say_goodbye)

    async def _until_parted(self) -> None:
        async with self._parting:
            pass

    async def _say_goodbye(self) -> None:
        with suppress(Exception):  # of a server, for what it knows to be gone
            async with self._sending:
                is_open, self._is_open = self._is_open, False
                if is_open:  # else the application has closed it meanwhile
                    await self._send(GOODBYE[self._is_websocket])


def _nothing() -> None:
    """Call off what was not begun."""
