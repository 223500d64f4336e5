"""A courtesy to Flask: the lock in one line, and refusals from inside a view."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from flask import Flask, Response, current_app, request
from werkzeug import Request as FlaskRequest
from werkzeug.wrappers import Response as AnyResponse

from .authenticator import Authenticator
from .errors import AuthError
from .options import read_clock
from .renewal import is_for_caches
from .request import Request
from .requirement import Requirement
from .token import KEY, Token
from .wsgi import EnvironRequest, JWTMiddleware

View = Callable[..., Any]
R = TypeVar("R", bound=AnyResponse)


def init_app(app: Flask, auth: Authenticator) -> None:
    """Put *auth* in front of *app*, and have it answer an `AuthError` of a view.

    Without it Flask answers what `requires` raises by a 500.

    >>> app = Flask(__name__)
    >>> init_app(app, auth)
    """
    app.wsgi_app = JWTMiddleware(app.wsgi_app, auth)  # type: ignore[method-assign]

    def refuse(error: AuthError) -> Response:
        reply = auth.refuse(error, from_request(request))
        response = Response(reply.body, reply.status)
        response.headers.clear()  # werkzeug counts the octets, also where HEAD has none
        response.headers.extend(reply.headers)
        return response

    app.register_error_handler(AuthError, refuse)


def current_token() -> Token | None:
    """Return the token of the request that Flask serves, or None."""
    token = request.environ.get(KEY)
    return token if isinstance(token, Token) else None


def requires(
    *scopes: str,
    acr: Sequence[str] = (),
    amr: Sequence[str] = (),
    max_age: int | None = None,
    now: Callable[[], float] = time.time,
) -> Callable[[View], View]:
    """Guard a view: a token with all *scopes*, of a user who logged in like that.

    It stands below the route, or the route would lead past it:

    >>> app = Flask(__name__)
    >>> @app.post("/payments")
    ... @requires("pay", acr=("urn:example:gold",), max_age=300)
    ... def pay(): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)

    def decorate(view: View) -> View:
        if inspect.isclass(view):
            raise ValueError("requires() guards a function; name it in 'decorators'")

        @functools.wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            requirement.permit(current_token(), now())
            return current_app.ensure_sync(view)(*args, **kwargs)

        return guarded

    return decorate


def from_request(request: FlaskRequest) -> Request:
    """Read a request of Flask, for `SessionCookies`."""
    return EnvironRequest(request.environ)


def set_cookies(response: R, values: Iterable[str]) -> R:
    """Add what `SessionCookies.write` or ``clear`` returned; no cache keeps it."""
    for name in filter(is_for_caches, list(response.headers.keys())):
        del response.headers[name]
    for value in values:
        response.headers.add("Set-Cookie", value)
    response.headers["Cache-Control"] = "no-store"
    return response
