"""The lock as ASGI middleware (ASGI 3.0)."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .asgi_request import Scope as Scope
from .asgi_request import ScopeRequest as ScopeRequest
from .authenticator import Authenticator, ensure_authenticator
from .challenge import Reply, encoded
from .current import set_current_token
from .decision import Completion, Pass
from .ending import Ending
from .errors import AuthError
from .options import can_take, read_flag
from .roots import AppRoot
from .token import ANONYMOUS, KEY, StarletteAuth, Token
from .tracebacks import drop_frames

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
"""Any application: frameworks write the three types in ways of their own."""

WITH_HEADERS = (
    "http.response.start",
    "websocket.accept",
    "websocket.http.response.start",
)
"""The messages that carry the headers of an answer."""
BEGINNINGS = (*WITH_HEADERS, "websocket.close")
"""The messages after which there can be no other answer."""


class JWTMiddleware:
    """Lets a request or WebSocket through to *app* only where *auth* does.

    >>> from starlette.applications import Starlette
    >>> from starlette.middleware import Middleware
    >>> app = Starlette(middleware=[Middleware(JWTMiddleware, auth=auth)])

    The app finds the `Token`, or None, in ``scope["jwt_middleware.token"]``.
    ``scope["user"]`` and ``scope["auth"]`` have the form that Starlette expects.  The
    middleware writes all three into the scope that the server gave it, so that an outer
    middleware, such as an access log, can read them afterwards.

    If *app* raises an `AuthError` before its response has begun, the middleware answers
    it like an error of its own.

    A WebSocket is closed (1008) when its token expires or is revoked.  With
    *end_responses*, an incomplete response without ``Content-Length`` then ends as
    well: a stream of events is completed, and any other response is cut off.
    """

    def __init__(
        self, app: ASGIApp, auth: Authenticator, *, end_responses: bool = False
    ) -> None:
        ensure_authenticator(auth, app)
        if not can_take(app, 3):
            raise ValueError(
                "app is not an ASGI application, which takes scope, receive and send; "
                "for a WSGI application write "
                "jwt_middleware.wsgi.JWTMiddleware(app, auth)"
            )
        self.app = app
        self.auth = auth
        self._app_root = AppRoot.of(app)
        self._ends = {"websocket"}
        if read_flag("end_responses", end_responses):
            self._ends.add("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            ensure_lifespan(scope)
            await self.app(scope, receive, send)
            return
        set_current_token(None)  # the context may be that of the request before
        headers = scope.get("headers", ())
        if type(headers) is not list:  # an iterable, which perhaps can be read once
            headers = scope["headers"] = list(headers)
        request = ScopeRequest({**scope}, headers, self._app_root)  # routers change it
        decision = await self.auth.decide(request)
        if isinstance(decision, Reply):
            await send_reply(decision, scope, receive, send)
            return
        set_current_token(decision.token)
        attach(scope, decision.token)
        app = self._app_for(decision, scope["type"])
        answer, receive_connect = Answer(send), receive
        if scope["type"] == "websocket":
            receive, receive_connect = remembering_connect(receive)
        try:
            await app(scope, receive, answer.send)
        except AuthError as error:
            if answer.has_begun:
                drop_frames(error)
                raise
            reply = self.auth.refuse(error, request)
            await send_reply(reply, scope, receive_connect, send)

    def _app_for(self, decision: Pass, kind: str) -> ASGIApp:
        """Return the application, wrapped to complete and to end its answers."""
        app = self.app
        if decision.completion is not None:
            app = completing(decision.completion, app)
        if decision.token is not None and kind in self._ends:
            app = ending(self.auth, decision.token, app)
        return app


def ensure_lifespan(scope: Scope) -> None:
    """Raise ValueError for a protocol of tomorrow, which nothing here could check."""
    if scope["type"] != "lifespan":
        raise ValueError(f"no protocol that can be judged: {scope['type']!r}")


def completing(completion: Completion, app: ASGIApp) -> ASGIApp:
    """Return *app* with *completion* applied when an answer begins.

    Nearer to it than what ends answers: that must not end one which has not begun.
    """

    async def completed(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] in WITH_HEADERS:
                message = await _completed(completion, message)
            await send(message)

        await app(scope, receive, sending)

    return completed


def ending(auth: Authenticator, token: Token, app: ASGIApp) -> ASGIApp:
    """*app*, of which a WebSocket or an answer ends when *token* does."""

    async def ended(scope: Scope, receive: Receive, send: Send) -> None:
        await Ending(auth, token, scope, receive, send).run(app, scope)

    return ended


async def _completed(completion: Completion, message: Message) -> Message:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in message.get("headers", ())
    ]
    completed = await completion.complete(message.get("status", 101), headers)
    return {**message, "headers": encoded(completed)}


_marked: Any = getattr(inspect, "markcoroutinefunction", lambda function: function)
"""`inspect.markcoroutinefunction`, which Python 3.11 does not have."""


class Answer:
    """The answer of an application.  It *has_begun* when there can be no other."""

    __slots__ = ("_send", "has_begun")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    def send(self, message: Message) -> Awaitable[None]:
        # Not a coroutine function, which would cost every message a frame.
        if not self.has_begun:
            self.has_begun = message["type"] in BEGINNINGS
        return self._send(message)

    send = _marked(send)  # asgiref warns of a function that is not one


def remembering_connect(receive: Receive) -> tuple[Receive, Receive]:
    """Return *receive* for an application, and *receive* for a reply in its place.

    The second returns the ``websocket.connect`` that the application may have taken.
    """
    taken: list[Message] = []

    async def of_application() -> Message:
        message = await receive()
        if message["type"] == "websocket.connect":
            taken.append(message)
        return message

    async def in_its_place() -> Message:
        return taken[0] if taken else await receive()

    return of_application, in_its_place


def attach(scope: Scope, token: Token | None) -> None:
    """Write *token* into *scope*, as Starlette's AuthenticationMiddleware does."""
    scope[KEY] = token
    if token is None:  # what an outer middleware has set stays
        scope.setdefault("user", ANONYMOUS)
        scope.setdefault("auth", ANONYMOUS)
    else:
        scope["user"] = token
        scope["auth"] = StarletteAuth(token)


async def send_reply(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with *reply*; to a WebSocket handshake as the server allows it."""
    kind = "http.response"
    if scope["type"] == "websocket":
        if (await receive())["type"] != "websocket.connect":  # gone already
            return
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008})  # a 403 before accept
            return
    headers = list(reply.raw_headers)
    await send(
        {"type": f"{kind}.start", "status": int(reply.status), "headers": headers}
    )
    await send({"type": f"{kind}.body", "body": reply.body})
