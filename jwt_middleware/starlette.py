"""Starlette: the middleware in one line, guards, and refusals inside an endpoint."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar, cast

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
from .authenticator import Authenticator, ensure_authenticator
from .bridge import needs_loop
from .challenge import Reply
from .current import current_token as current_token
from .errors import AuthError, NoCredentials
from .guards import check_guards, note_guard
from .options import read_clock
from .renewal import is_for_caches
from .request import Request
from .requirement import Requirement, no_middleware
from .startup import Checking
from .token import KEY, Token

NOTED = "jwt_middleware.starlette.noted"
INIT_APP = "jwt_middleware.starlette.init_app(app, auth)"
P = ParamSpec("P")
T = TypeVar("T")
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
    init_checked(app, auth, end_responses, check_endpoints)


def init_checked(
    app: Starlette,
    auth: Authenticator,
    end_responses: bool,
    check: Callable[[Starlette], None],
) -> None:
    """Do what `init_app` does, and call *check* before *app* serves its routes.

    What *check* raises stops the server as it starts, else every request.
    """
    if not isinstance(app, Starlette):
        raise ValueError(
            f"app is {type(app).__name__}, not a Starlette or FastAPI application; "
            "give that object itself, or write jwt_middleware.flask.init_app for Flask"
        )
    ensure_authenticator(auth)
    app.add_middleware(_Noting)
    app.add_middleware(Checking, application=app, check=check)
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
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Guard an endpoint: a token with all *scopes*, of a user who logged in like that.

    The endpoint takes a ``request`` or a ``websocket``.  Write it next to the
    function, below the route of FastAPI:

    >>> @requires("pay", acr=("urn:example:gold",), max_age=300)
    ... async def pay(request): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)

    def permit(*args: Any, **kwargs: Any) -> None:
        found = [a for a in (*args, *kwargs.values()) if isinstance(a, HTTPConnection)]
        requirement.permit(_token_of(found[0]) if found else None, now())

    return lambda endpoint: _guarded(endpoint, permit)


def require_token(connection: HTTPConnection) -> Token:
    """Return the token of a request or WebSocket, else raise NoCredentials.

    It is ``connection.user``, with its type.
    """
    token = _token_of(connection)
    if token is None:
        raise NoCredentials("no credentials")
    return token


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


def check_endpoints(app: Starlette) -> None:
    """Raise RuntimeError if a guard was put above a function that is a route."""
    check_guards(getattr(route, "endpoint", None) for route in all_routes(app))


def all_routes(holder: object) -> Iterator[Any]:
    """The routes in *holder*, in those that it mounts and in included routers."""
    for route in getattr(holder, "routes", None) or ():
        yield route
        yield from all_routes(route)
        yield from all_routes(getattr(route, "original_router", None))  # FastAPI


def _token_of(connection: HTTPConnection) -> Token | None:
    if KEY not in connection.scope:
        raise no_middleware(INIT_APP)
    token = connection.scope[KEY]
    return token if isinstance(token, Token) else None


def _guarded(endpoint: Callable[P, T], permit: Callable[..., None]) -> Callable[P, T]:
    _ensure_takes_connection(endpoint)

    @functools.wraps(endpoint)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
        permit(*args, **kwargs)
        return await endpoint(*args, **kwargs)  # type: ignore[misc]

    @functools.wraps(endpoint)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        permit(*args, **kwargs)
        return endpoint(*args, **kwargs)

    guard: Any = awaited if needs_loop(endpoint) else called
    note_guard(guard, endpoint)
    return cast("Callable[P, T]", guard)


def _ensure_takes_connection(endpoint: Callable[..., Any]) -> None:
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
