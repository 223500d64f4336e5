"""FastAPI: dependencies that its documentation shows with a padlock."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from fastapi import FastAPI, Security, params
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from .authenticator import Authenticator
from .current import current_token as token_of_context
from .options import read_clock
from .requirement import Requirement, no_middleware
from .starlette import all_routes, check_endpoints, init_checked
from .starlette import from_request as from_request
from .starlette import refusing as refusing
from .starlette import set_cookies as set_cookies
from .token import KEY, Token

logger = logging.getLogger("jwt_middleware")

INIT_APP = "jwt_middleware.fastapi.init_app(app, auth)"


def init_app(app: FastAPI, auth: Authenticator, *, end_responses: bool = False) -> None:
    """Put *auth* in front of *app*, like `jwt_middleware.starlette.init_app`.

    Before *app* serves a request, its dependencies are looked through: scopes that
    nothing would read raise RuntimeError.

    >>> app = FastAPI()
    >>> init_app(app, auth)
    """
    init_checked(app, auth, end_responses, _check_app)


class _OptionalToken(SecurityBase):
    """A dependency: the token of the request or WebSocket, or None.

    It reads what the middleware has verified, and verifies nothing itself.  If
    scopes are asked for, it refuses like `current_token`.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "JWT"

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> Token | None:
        if KEY not in connection.scope:
            raise no_middleware(INIT_APP)
        if connection.scope[KEY] is None and not security_scopes.scopes:
            return None
        return Requirement(security_scopes.scopes).permit(connection.scope[KEY], 0)


class _BearerToken(SecurityBase):
    """A dependency: the token of the request or WebSocket, with the scopes asked for.

    It reads what the middleware has verified, and verifies nothing itself.  Raises
    NoCredentials and InsufficientScope.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "JWT"

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> Token:
        if KEY not in connection.scope:
            raise no_middleware(INIT_APP)
        return Requirement(security_scopes.scopes).permit(connection.scope[KEY], 0)


current_token = _BearerToken()
"""``Security(current_token, scopes=["read"])``, or ``Depends(current_token)``."""
optional_token = _OptionalToken()
"""``Depends(optional_token)``: a `Token`, or None under an optional or public rule."""


def requires(
    *scopes: str,
    acr: Sequence[str] = (),
    amr: Sequence[str] = (),
    max_age: int | None = None,
    now: Callable[[], float] = time.time,
) -> Callable[..., Coroutine[Any, Any, Token]]:
    """A dependency: a token with all *scopes*, of a user who logged in like that.

    >>> from fastapi import Depends, FastAPI
    >>> app = FastAPI()
    >>> @app.post("/payments")
    ... def pay(token: Annotated[Token, Depends(requires("pay", max_age=300))]): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)
    shown = Security(current_token, scopes=scopes)

    async def permit(*, token: Any = shown) -> Token:
        return requirement.permit(token, now())

    # Used as a decorator, it raises a TypeError that begins with this name.
    permit.__qualname__ = "Depends(requires(...)) is not a decorator: the dependency"
    return permit


def _check_app(app: Any) -> None:
    """Raise RuntimeError if a guard or scopes of *app* would not be looked at."""
    check_endpoints(app)
    for route in (app.router, *all_routes(app)):
        router = getattr(route, "original_router", None)  # of one that was included
        included = getattr(route, "include_context", None)
        for holder in (route, router, included):
            for needed in getattr(holder, "dependencies", None) or ():
                _check(needed, is_scoped=False)
        for needed in _dependencies_of(getattr(route, "endpoint", None)):
            _check(needed, is_scoped=False)


def _check(needed: object, *, is_scoped: bool) -> None:
    """Raise RuntimeError if *needed* asks for scopes that nothing reads."""
    if not isinstance(needed, params.Depends):
        return
    scopes = needed.scopes if isinstance(needed, params.Security) else None
    if isinstance(scopes, str):
        raise RuntimeError(
            f"scopes={scopes!r} asks for each of its letters; write scopes=[{scopes!r}]"
        )
    is_scoped = is_scoped or bool(scopes)
    if is_scoped and needed.dependency is token_of_context:
        raise RuntimeError(
            "jwt_middleware.current_token reads no scopes; "
            "in Security(...) write jwt_middleware.fastapi.current_token"
        )
    for inner in _dependencies_of(needed.dependency):
        _check(inner, is_scoped=is_scoped)


def _dependencies_of(call: object) -> Iterator[object]:
    """What may be dependencies among the parameters of *call*."""
    if not callable(call):
        return
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return
    for parameter in parameters:
        yield parameter.default
        yield from getattr(_annotation(parameter, call), "__metadata__", ())


def _annotation(parameter: inspect.Parameter, call: Any) -> object:
    """Return the annotation of *parameter*, as FastAPI would read it.

    Raise RuntimeError if it is a dependency that FastAPI cannot read, and so ignores;
    warn if it is another text that FastAPI cannot read.
    """
    text = parameter.annotation
    if not isinstance(text, str):
        return text
    function = inspect.unwrap(call)
    names = getattr(function, "__globals__", None)
    if names is None:  # of a class or an object
        names = vars(sys.modules.get(getattr(function, "__module__", None) or "", sys))
    try:
        return eval(text, dict(names))  # noqa: S307, the application's own source
    except Exception as error:
        message = (
            f"FastAPI does not see what is asked for by {parameter.name}: {text} of "
            f"{call!r}, since it cannot be evaluated ({error}); define its names in "
            "the module, outside of functions and of 'if TYPE_CHECKING'"
        )
    if "Depends(" in text or "Security(" in text:
        raise RuntimeError(message)
    logger.warning("%s", message)  # it may be a name for a dependency
    return None
