"""Flask: the middleware in one line, guards, and refusals from inside a view."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from flask import Flask, Response, current_app, request
from werkzeug import Request as FlaskRequest
from werkzeug.wrappers import Response as AnyResponse

from .authenticator import Authenticator
from .challenge import Reply
from .errors import AuthError, NoCredentials
from .flask_errors import as_http_exceptions, response_of
from .guards import check_guards, note_guard
from .options import read_clock
from .quoting import shown
from .renewal import is_for_caches
from .request import Request
from .requirement import Requirement, no_middleware
from .token import KEY, Token
from .tracebacks import drop_frames
from .wsgi import EnvironRequest, JWTMiddleware, send_reply

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

logger = logging.getLogger("jwt_middleware")

NAME = "jwt_middleware"
INIT_APP = "jwt_middleware.flask.init_app(app, auth)"
ASGI_SCOPE = "asgi.scope"
"""Where a2wsgi puts the scope of the ASGI application that Flask is mounted in."""
SENDING_FILES = ("x-accel-", "x-sendfile", "x-lighttpd-send-file", "x-litespeed-")
"""Beginnings of headers by which an application has its server send a file."""
FIXED = {
    *("accept-ranges", "connection", "content-digest", "content-disposition"),
    *("content-encoding", "content-language", "content-length", "content-location"),
    *("content-md5", "content-range", "content-type", "digest", "etag", "location"),
    *("last-modified", "pragma", "refresh", "repr-digest", "retry-after", "trailer"),
    *("transfer-encoding", "www-authenticate"),
}
"""Headers of a refusal that no hook changes: they belong to its status and body."""
P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=AnyResponse)


def init_app(app: Flask, auth: Authenticator) -> None:
    """Put *auth* in front of *app*, and have it answer an `AuthError` of a view.

    Without it Flask answers what `requires` raises by a 500.  What a view raises is
    an HTTPException of werkzeug too, so that extensions such as flask-restx keep its
    status and its challenge.

    >>> app = Flask(__name__)
    >>> init_app(app, auth)

    A refusal passes through the application's ``after_request`` hooks, such as
    those of Flask-CORS.  They may add headers; the refusal's status, its body and
    the headers that describe them stay.  No view and no other hook is called.
    """
    if not isinstance(app, Flask):
        raise ValueError(
            f"app is {type(app).__name__}, not a Flask application; give the Flask "
            "object itself, or write init_app of jwt_middleware.starlette or .fastapi"
        )
    app.extensions[NAME] = auth
    app.wsgi_app = _FlaskMiddleware(app, auth)  # type: ignore[method-assign]

    def respond(error: AuthError) -> Response:
        return response_of(auth.refuse(error, from_request(request)))

    app.register_error_handler(AuthError, respond)
    for name in ("preprocess_request", "dispatch_request"):
        setattr(app, name, as_http_exceptions(getattr(app, name), respond))


def current_token() -> Token | None:
    """Return the token of the request that Flask serves, or None.

    If Flask is mounted in an ASGI application by a2wsgi, and the middleware stands
    in front of that, this is the token of its scope.
    """
    token = _attached().get(KEY)
    return token if isinstance(token, Token) else None


def require_token() -> Token:
    """Return the token of the request.  Raise NoCredentials if there is none."""
    token = current_token()
    if token is None:
        error = NoCredentials("no credentials")
        _check_init_app(error)
        raise error
    return token


def requires(
    *scopes: str,
    acr: Sequence[str] = (),
    amr: Sequence[str] = (),
    max_age: int | None = None,
    now: Callable[[], float] = time.time,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Guard a view: a token with all *scopes*, of a user who logged in like that.

    Write it below the route.  Above the route it would guard nothing, and the first
    request raises RuntimeError:

    >>> app = Flask(__name__)
    >>> @app.post("/payments")
    ... @requires("pay", acr=("urn:example:gold",), max_age=300)
    ... def pay(): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)

    def decorate(view: Callable[P, T]) -> Callable[P, T]:
        if inspect.isclass(view):
            raise ValueError("requires() guards a function; name it in 'decorators'")

        @functools.wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                requirement.permit(current_token(), now())
            except AuthError as error:
                _check_init_app(error)
                raise
            answer: T = current_app.ensure_sync(view)(*args, **kwargs)
            return answer

        note_guard(guarded, view)
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


class _FlaskMiddleware(JWTMiddleware):
    """The middleware, with refusals that the hooks of *flask* have seen."""

    def __init__(self, flask: Flask, auth: Authenticator) -> None:
        super().__init__(flask.wsgi_app, auth)
        self._flask = flask
        self._checked = 0

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        views = self._flask.view_functions
        if len(views) != self._checked:  # the first request, or a route was added
            before = self._flask.before_request_funcs.values()
            check_guards([*views.values(), *chain(*before)])
            self._checked = len(views)
        try:
            return super().__call__(environ, start_response)
        except AuthError as error:
            drop_frames(error)
            raise

    def refuse(
        self, reply: Reply, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not any(self._flask.after_request_funcs.values()):
            return send_reply(reply, start_response)
        environ[KEY] = None
        response = _with_headers_of(_through_hooks(self._flask, reply, environ), reply)
        return response(environ, start_response)


def _attached() -> Mapping[str, Any]:
    """What the middleware has attached the token to: the environ, or ASGI's scope."""
    environ = request.environ
    if KEY in environ:
        return environ
    scope = environ.get(ASGI_SCOPE)
    return scope if isinstance(scope, Mapping) else environ


def _check_init_app(error: AuthError) -> None:
    """Say what to write if nothing in this application answers *error*."""
    if NAME in current_app.extensions:
        return
    if KEY not in _attached():
        raise no_middleware(INIT_APP) from None
    error.add_note(f"Flask answers this by a 500 unless you write {INIT_APP}")


def _through_hooks(flask: Flask, reply: Reply, environ: WSGIEnvironment) -> AnyResponse:
    """Return the response that the ``after_request`` hooks make of *reply*.

    They are called one by one: if one raises, as one that needs what a
    ``before_request`` hook would have set, the others still add their headers.
    """
    response: AnyResponse = response_of(reply)
    try:
        with flask.request_context(environ):
            for hook in _after_request_hooks(flask):
                response = _hooked(flask, hook, response)
    except Exception as error:
        _warn(flask, error)
    return response


def _after_request_hooks(flask: Flask) -> Iterator[Callable[..., Any]]:
    """The hooks of the request's blueprints and of *flask*, in Flask's order."""
    for name in (*request.blueprints, None):
        yield from reversed(flask.after_request_funcs.get(name, ()))


def _hooked(app: Flask, hook: Callable[..., Any], response: AnyResponse) -> AnyResponse:
    try:
        changed = app.ensure_sync(hook)(response)
    except Exception as error:
        _warn(hook, error)
        return response
    return changed if isinstance(changed, AnyResponse) else response


def _warn(where: object, error: Exception) -> None:
    """Tell of a failure that must not become the answer to a refused request."""
    found = f"{type(error).__name__}: {error}"
    logger.warning("on a refused request %s raised %s", shown(where), shown(found))


def _with_headers_of(hooked: AnyResponse, reply: Reply) -> Response:
    """Return *reply* with the headers that the hooks have added."""
    response = response_of(reply)
    for name, value in hooked.headers:
        if (name, value) not in reply.headers and not _is_fixed(name.lower()):
            response.headers.add(name, value)
    response.call_on_close(hooked.close)
    return response


def _is_fixed(name: str) -> bool:
    return name in FIXED or is_for_caches(name) or name.startswith(SENDING_FILES)
