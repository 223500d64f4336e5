"""The lock as ASGI middleware (ASGI 3.0)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from .authenticator import Authenticator, ensure_authenticator
from .challenge import Reply, encoded
from .credentials import Renewal
from .ending import Ending
from .options import read_flag
from .request import Request
from .token import ANONYMOUS, KEY, Token, set_current_token

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

BEGINNINGS = (
    "http.response.start",
    "websocket.accept",
    "websocket.http.response.start",
)
"""The messages that carry the headers of an answer."""


class JWTMiddleware:
    """Lets a request or WebSocket through to *app* only where *auth* does.

    >>> from starlette.applications import Starlette
    >>> from starlette.middleware import Middleware
    >>> app = Starlette(middleware=[Middleware(JWTMiddleware, auth=auth)])

    The app finds the `Token`, or None, in ``scope["jwt_middleware.token"]``; it is
    also ``scope["user"]`` and ``scope["auth"]``, as Starlette expects them.

    A WebSocket is closed (1008) when its token expires or is revoked; with
    *end_responses*, a response that still goes on, such as a stream of events, is
    ended then as well.
    """

    def __init__(
        self, app: ASGIApp, auth: Authenticator, *, end_responses: bool = False
    ) -> None:
        ensure_authenticator(auth)
        self.app = app
        self.auth = auth
        self._ends = {"websocket"}
        if read_flag("end_responses", end_responses):
            self._ends.add("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            # A protocol of tomorrow must not walk past the lock.
            raise ValueError(f"no protocol that can be judged: {scope['type']!r}")
        set_current_token(None)  # the context may be that of the request before
        headers = list(scope.get("headers", ()))  # an iterable, perhaps for one time
        decision = await self.auth.decide(ScopeRequest(scope, headers))
        if isinstance(decision, Reply):
            await send_reply(decision, scope, receive, send)
            return
        set_current_token(decision.token)
        inner = attached(scope, headers, decision.token)
        app = self.app
        if decision.renewal is not None:
            app = renewing(decision.renewal, app)
        if decision.token is None or scope["type"] not in self._ends:
            await app(inner, receive, send)
            return
        ending = Ending(self.auth, decision.token, inner, receive, send)
        await ending.run(app, inner)


class ScopeRequest(Request):
    """A request as it stands in an ASGI *scope*, of which *headers* are a list."""

    __slots__ = ("_headers", "_scope")

    def __init__(self, scope: Scope, headers: Headers) -> None:
        self._scope = scope
        self._headers = headers

    @property
    def method(self) -> str:
        method: str = "GET" if self.is_handshake else self._scope["method"]
        return method.upper()

    @property
    def scheme(self) -> str:
        scheme: str = self._scope.get("scheme", "ws" if self.is_handshake else "http")
        return scheme

    @property
    def path(self) -> str:
        path, root = self._scope["path"], self._scope.get("root_path")
        return _without_root(path, root) if root else path

    @property
    def raw_path(self) -> str:
        raw_path: bytes = self._scope.get("raw_path") or b""
        return raw_path.decode("latin-1").partition("?")[0]

    @property
    def is_handshake(self) -> bool:
        return bool(self._scope["type"] == "websocket")

    def header(self, name: str) -> Sequence[str]:
        wanted, found = name.encode(), []
        for key, value in self._headers:
            if key.lower() == wanted:
                found.append(value.decode("latin-1"))
        return tuple(found)


def renewing(renewal: Renewal, app: ASGIApp) -> ASGIApp:
    """*app*, of which the beginning of an answer completes *renewal*.

    Nearer to it than what ends answers: that must not end one which has not begun.
    """

    async def renewed(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] in BEGINNINGS:
                message = await _completed(renewal, message)
            await send(message)

        await app(scope, receive, sending)

    return renewed


async def _completed(renewal: Renewal, message: Message) -> Message:
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in message.get("headers", ())
    ]
    completed = await renewal.complete(message.get("status", 101), headers)
    return {**message, "headers": encoded(completed)}


def attached(scope: Scope, headers: Headers, token: Token | None) -> Scope:
    """A copy of *scope* that holds *token*."""
    if token is not None:
        return {**scope, "headers": headers, KEY: token, "user": token, "auth": token}
    # What an outer middleware set stays.
    nobody = {"user": ANONYMOUS, "auth": ANONYMOUS}
    return {**nobody, **scope, "headers": headers, KEY: None}


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


def _without_root(path: str, root: str) -> str:
    """The path below *root*: servers tell it with its prefix, or without."""
    if path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path
