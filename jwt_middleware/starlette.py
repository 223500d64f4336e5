"""A courtesy to Starlette: the lock in one line, and refusals inside an endpoint."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from .asgi import JWTMiddleware, encoded, from_scope
from .authenticator import Authenticator
from .challenge import Reply
from .errors import AuthError
from .request import Request
from .requirement import Requirement
from .token import KEY
from .token import current_token as current_token

Endpoint = Callable[..., Any]
R = TypeVar("R", bound=Response)


def init_app(app: Starlette, auth: Authenticator) -> None:
    """Put *auth* in front of *app*, and have it answer an `AuthError` of an endpoint.

    >>> app = Starlette()
    >>> init_app(app, auth)

    Middleware that is added afterwards stands outside of it, as CORS should.
    """
    app.add_middleware(JWTMiddleware, auth=auth)
    app.add_exception_handler(AuthError, refusing(auth))


def refusing(auth: Authenticator) -> Callable[[Any, Any], Awaitable[Any]]:
    """An exception handler: ``Starlette(exception_handlers={AuthError: ...})``."""

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
    requirement = Requirement(scopes, acr, amr, max_age)

    def permit(*args: Any, **kwargs: Any) -> None:
        found = [a for a in (*args, *kwargs.values()) if isinstance(a, HTTPConnection)]
        token = found[0].scope.get(KEY) if found else None
        requirement.permit(token, now())

    return lambda endpoint: _guarded(endpoint, permit)


def from_request(connection: HTTPConnection) -> Request:
    """Read a request or WebSocket of Starlette, for `SessionCookies`."""
    return from_scope(connection.scope, connection.scope["headers"])


def set_cookies(response: R, values: Iterable[str]) -> R:
    """Add what `SessionCookies.write` or ``clear`` returned; no cache keeps it."""
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

    return awaited if inspect.iscoroutinefunction(endpoint) else called


def _ensure_takes_connection(endpoint: Endpoint) -> None:
    """Raise ValueError where nothing tells at a call whose request it is."""
    names = () if inspect.isclass(endpoint) else inspect.signature(endpoint).parameters
    if "request" not in names and "websocket" not in names:
        raise ValueError(
            f"{endpoint!r} takes no 'request' and no 'websocket'; requires() guards a "
            "function or a method that takes one"
        )


def _response(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = encoded(reply.headers)  # a challenge may stand twice
    return response


async def _close(websocket: WebSocket, reply: Reply) -> None:
    """Refuse a WebSocket: before it is accepted as a request, afterwards by 1008."""
    if websocket.client_state is WebSocketState.CONNECTING:
        await websocket.receive()  # ASGI: the handshake is taken before it is answered
    is_accepted = websocket.application_state is not WebSocketState.CONNECTING
    can_deny = "websocket.http.response" in (websocket.scope.get("extensions") or {})
    if can_deny and not is_accepted:
        await websocket.send_denial_response(_response(reply))
    elif websocket.application_state is not WebSocketState.DISCONNECTED:
        await websocket.close(1008)
