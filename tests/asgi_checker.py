"""What `wsgiref.validate` is for WSGI: a checker of ASGI applications."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
FORBIDDEN = re.compile(rb"[\x00-\x08\x0A-\x1F\x7F]")
BODILESS = (204, 304)
WRITTEN = frozenset({"jwt_middleware.token", "user", "auth"})
"""What an authenticating middleware writes into the scope that it was given."""

# From a state and a message to the next state.
NEXT = {
    ("new", "http.response.start"): "started",
    ("started", "http.response.body"): "body",
    ("body", "http.response.body"): "body",
    ("connecting", "websocket.accept"): "open",
    ("connecting", "websocket.close"): "done",
    ("connecting", "websocket.http.response.start"): "denying",
    ("denying", "websocket.http.response.body"): "denied",
    ("denied", "websocket.http.response.body"): "denied",
    ("open", "websocket.send"): "open",
    ("open", "websocket.close"): "done",
}


class Violation(AssertionError):
    """An application broke the ASGI specification."""


def demand(holds: object, text: str) -> None:
    if not holds:
        raise Violation(text)


class StrictASGI:
    """Wraps *app* and raises `Violation` for what a lenient server would swallow.

    - the caller's scope is what it was, to its last nested value's identity, but for
      what is `WRITTEN`;
    - messages come in an order that the protocol has, a denial only after
      ``websocket.connect`` was received and only where the server offers it;
    - header names are lower-case octets, values octets without control characters,
      both in pairs; the status is a whole number;
    - ``content-length`` stands once and is the number of octets sent; neither HEAD
      nor 204 nor 304 has a body;
    - the response ends.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        before = _without_written(scope)
        headers = scope.get("headers")
        listed = list(headers) if isinstance(headers, (list, tuple)) else None
        exchange = _Exchange(scope)
        await self.app(scope, exchange.receiving(receive), exchange.sending(send))
        demand(_without_written(scope) == before, "the caller's scope was changed")
        demand(all(scope[k] is before[k] for k in before), "a scope value was replaced")
        if listed is not None:
            demand(
                list(scope["headers"]) == listed, "the caller's headers were changed"
            )
        exchange.ensure_ended()


def _without_written(scope: Scope) -> dict[str, Any]:
    return {name: value for name, value in scope.items() if name not in WRITTEN}


class _Exchange:
    def __init__(self, scope: Scope) -> None:
        self.kind = scope["type"]
        self.method = scope.get("method", "GET")
        self.extensions = scope.get("extensions") or {}
        self.state = "new"
        self.declared: int | None = None
        self.sent = 0
        self.status = 0
        self.is_ended = False

    def receiving(self, receive: Receive) -> Receive:
        async def wrapped() -> Message:
            message = await receive()
            if message["type"] == "websocket.connect":
                self.state = "connecting"
            if message["type"] in ("websocket.disconnect", "http.disconnect"):
                self.is_ended = True
            return message

        return wrapped

    def sending(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if self.kind != "lifespan":
                self.check(message)
            await send(message)

        return wrapped

    def check(self, message: Message) -> None:
        demand(isinstance(message, dict), "a message is no dict")
        kind = message.get("type")
        demand((self.state, kind) in NEXT, f"{kind} in state {self.state}")
        self.state = NEXT[self.state, str(kind)]
        if str(kind).startswith("websocket.http.response"):
            demand("websocket.http.response" in self.extensions, "denial not offered")
        if str(kind).endswith("response.start"):
            self.check_start(message)
        elif str(kind).endswith("response.body"):
            self.check_body(message)
        elif kind == "websocket.close":
            demand(type(message.get("code", 1000)) is int, "the close code is no int")
            self.is_ended = True
        elif kind == "websocket.accept":
            self.is_ended = True  # what follows may last

    def check_start(self, message: Message) -> None:
        self.status = message.get("status", 0)
        demand(type(self.status) is int and 200 <= self.status < 600, "no status")
        lengths = []
        for pair in message.get("headers", ()):
            demand(len(pair) == 2, "a header is no pair")
            name, value = pair
            demand(isinstance(name, bytes), "a header name is no bytes")
            demand(isinstance(value, bytes), "a header value is no bytes")
            demand(
                NAME.fullmatch(name), f"a header name that is not lower case: {name!r}"
            )
            demand(not FORBIDDEN.search(value), f"a control character in {name!r}")
            if name == b"content-length":
                lengths.append(value)
        demand(len(lengths) <= 1, "content-length stands twice")
        if lengths:
            demand(lengths[0].isdigit(), "content-length is no number")
            self.declared = int(lengths[0])

    def check_body(self, message: Message) -> None:
        body = message.get("body", b"")
        demand(isinstance(body, bytes), "a body is no bytes")
        demand(not self.is_ended, "a body after the end")
        is_bodiless = self.method == "HEAD" or self.status in BODILESS
        demand(not (is_bodiless and body), "a body where none may be")
        self.sent += len(body)
        if message.get("more_body", False):
            return
        self.is_ended = True
        if self.declared is not None and not is_bodiless:
            demand(self.sent == self.declared, "content-length is not what was sent")

    def ensure_ended(self) -> None:
        if self.kind != "lifespan":
            demand(self.is_ended, f"the response does not end (state {self.state})")
