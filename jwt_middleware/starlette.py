"""A courtesy to Starlette: the lock in one line, and refusals inside an endpoint."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from .asgi import (
    ASGIApp,
    JWTMiddleware,
    Message,
    Receive,
    Scope,
    ScopeRequest,
    Send,
)
from .authenticator import Authenticator
from .bridge import needs_loop
from .challenge import Reply
from .errors import AuthError
from .options import read_clock
from .renewal import is_for_caches
from .request import Request
from .requirement import Requirement
from .token import KEY
from .token import current_token as current_token

NOTED = "jwt_middleware.starlette.noted"
Endpoint = Callable[..., Any]
R = TypeVar("R", bound=Response)


def init_app(
    app: Starlette, auth: Authenticator, *, end_responses: bool = False
) -> None:
    """Put *auth* in front of *app*, and have it answer an `AuthError` of an endpoint.

    An application that is mounted in it answers its own: give it
    ``exception_handlers={AuthError: refusing(auth)}``.

    >>> app = Starlette()
    >>> init_app(app, auth)

    Middleware that is added afterwards stands outside of it, as CORS should.
    """
    app.add_middleware(_Noting)
    app.add_middleware(JWTMiddleware, auth=auth, end_responses=end_responses)
    app.add_exception_handler(AuthError, refusing(auth))


def refusing(auth: Authenticator) -> Callable[[Any, Any], Coroutine[Any, Any, Any]]:
    """An exception handler: ``Starlette(exception_handlers={AuthError: ...})``.

    Where `init_app` stands in front it tells a WebSocket as well why it is refused;
    alone it only closes it.
    """

    async def refuse(connection: HTTPConnection, error: AuthError) -> Response | None:
        reply = auth.refuse(error, from_request(connection))
        if not isinstance(connection, WebSocket):
            return _response(reply)
        await _close(connection, reply)
        return None

    return refuse


def requires(
    *scopes: str,
    acr: Sequence[str] = (),
    amr: Sequence[str] = (),
    max_age: int | None = None,
    now: Callable[[], float] = time.time,
) -> Callable[[Endpoint], Endpoint]:
    """Guard an endpoint: a token with all *scopes*, of a user who logged in like that.

    The endpoint takes a ``request`` or a ``websocket``:

    >>> @requires("pay", acr=("urn:example:gold",), max_age=300)
    ... async def pay(request): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)

    def permit(*args: Any, **kwargs: Any) -> None:
        found = [a for a in (*args, *kwargs.values()) if isinstance(a, HTTPConnection)]
        token = found[0].scope.get(KEY) if found else None
        requirement.permit(token, now())

    return lambda endpoint: _guarded(endpoint, permit)


def from_request(connection: HTTPConnection) -> Request:
    """Read a request or WebSocket of Starlette, for `SessionCookies`."""
    scope = connection.scope
    # Below a mount, the root is longer than the one that the lock saw.
    root = scope.get("app_root_path", scope.get("root_path", ""))
    return ScopeRequest({**scope, "root_path": root}, scope["headers"])


def set_cookies(response: R, values: Iterable[str]) -> R:
    """Add what `SessionCookies.write` or ``clear`` returned; no cache keeps it."""
    for name in filter(is_for_caches, list(response.headers.keys())):
        del response.headers[name]
    for value in values:
        response.headers.append("Set-Cookie", value)
    response.headers["Cache-Control"] = "no-store"
    return response


def _guarded(endpoint: Endpoint, permit: Callable[..., None]) -> Endpoint:
    _ensure_takes_connection(endpoint)

    @functools.wraps(endpoint)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        permit(*args, **kwargs)
        return await endpoint(*args, **kwargs)

    @functools.wraps(endpoint)
    def called(*args: Any, **kwargs: Any) -> Any:
        permit(*args, **kwargs)
        return endpoint(*args, **kwargs)

    return awaited if needs_loop(endpoint) else called


def _ensure_takes_connection(endpoint: Endpoint) -> None:
    """Raise ValueError where nothing tells at a call whose request it is."""
    names = () if inspect.isclass(endpoint) else inspect.signature(endpoint).parameters
    if "request" not in names and "websocket" not in names:
        raise ValueError(
            f"{endpoint!r} takes no 'request' and no 'websocket'; requires() guards a "
            "function or a method that takes one"
        )


def _response(reply: Reply) -> Response:
    response = Response(reply.body, int(reply.status))
    response.raw_headers = list(reply.raw_headers)  # a challenge may stand twice
    return response


async def _close(websocket: WebSocket, reply: Reply) -> None:
    """Refuse a WebSocket: before it is accepted as a request, afterwards by 1008."""
    noted = websocket.scope.get(NOTED)
    if noted is None and websocket.client_state is WebSocketState.CONNECTING:
        await websocket.close(1008)  # it may have missed the handshake: see `_Noting`
        return
    if noted is not None and "websocket.connect" not in noted:
        await websocket.receive()  # ASGI: the handshake is taken before it is answered
    can_deny = "websocket.http.response" in (websocket.scope.get("extensions") or {})
    is_accepted = noted is not None and "websocket.accept" in noted
    is_new = websocket.application_state is WebSocketState.CONNECTING
    if can_deny and is_new and not is_accepted:
        await websocket.send_denial_response(_response(reply))
    elif websocket.application_state is not WebSocketState.DISCONNECTED:
        await websocket.close(1008)


class _Noting:
    """Notes in the scope of a WebSocket which messages have passed.

    The object that Starlette hands to an exception handler may be another one than
    that of the endpoint, and know nothing of them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        noted: set[str] = set()

        async def receiving() -> Message:
            message = await receive()
            noted.add(message["type"])
            return message

        async def sending(message: Message) -> None:
            noted.add(message["type"])
            await send(message)

        await self.app({**scope, NOTED: noted}, receiving, sending)
