"""The lock as WSGI middleware (PEP 3333)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .authenticator import Authenticator, ensure_authenticator
from .bridge import needs_loop, run
from .challenge import Reply
from .current import set_current_token
from .decision import Completion
from .errors import AuthError
from .options import can_take
from .request import NO_ROOTS, Request, Roots
from .token import KEY
from .tracebacks import drop_frames, shows_no_token

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class JWTMiddleware:
    """Lets a request through to *app* only where *auth* does.

    >>> from flask import Flask
    >>> app = Flask(__name__)
    >>> app.wsgi_app = JWTMiddleware(app.wsgi_app, auth)

    The app finds the `Token`, or None, in ``environ["jwt_middleware.token"]``.  An
    `AuthError` that it raises before its answer has begun is answered as one of the
    middleware's own.
    """

    def __init__(self, app: WSGIApplication, auth: Authenticator) -> None:
        ensure_authenticator(auth, app)
        if needs_loop(app) or not can_take(app, 2):
            raise ValueError(
                "app is an ASGI application; write "
                "jwt_middleware.asgi.JWTMiddleware(app, auth)"
            )
        if auth.needs_loop:
            raise ValueError(
                "WSGI has no event loop for an asynchronous store; give the "
                "Authenticator one with plain methods"
            )
        self.app = app
        self.auth = auth

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        set_current_token(None)  # a thread still holds the one of its last request
        # A server that calls WSGI in the thread of its loop stops that loop anyway.
        decision = run(self.auth.decide(EnvironRequest(environ)), may_stop_loop=True)
        if isinstance(decision, Reply):
            return self.refuse(decision, environ, start_response)
        set_current_token(decision.token)
        environ[KEY] = decision.token
        start = start_response
        if decision.completion is not None:
            start = completing(decision.completion, start_response)
        # Routers and inner middleware change these two.
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        try:
            parts = self.app(environ, start)
        except AuthError as error:
            try:
                return self._refuse(method, path, environ, start, error)
            except AuthError:  # the server raises it again: PEP 3333
                drop_frames(error)
                raise
        if isinstance(parts, (list, tuple)) or _is_of_server(parts, environ):
            return parts
        refuse = partial(self._refuse, method, path, environ, start)
        return Parts(parts, refuse)

    @shows_no_token
    def _refuse(
        self,
        method: str,
        path: str,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        error: AuthError,
    ) -> Iterable[bytes]:
        sent = {**environ, "REQUEST_METHOD": method, "PATH_INFO": path}
        reply = self.auth.refuse(error, EnvironRequest(sent))
        return send_reply(reply, start_response, error)

    def refuse(
        self, reply: Reply, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer with *reply*; `jwt_middleware.flask` adds the headers of Flask's."""
        return send_reply(reply, start_response)


class EnvironRequest(Request):
    """A request as it stands in a WSGI *environ*."""

    __slots__ = ("_environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    @property
    def method(self) -> str:
        return self.sent_method.upper()

    @property
    def sent_method(self) -> str:
        method: str = self._environ["REQUEST_METHOD"]
        return method

    @property
    def scheme(self) -> str:
        scheme: str = self._environ["wsgi.url_scheme"]
        return scheme

    @property
    def path(self) -> str:
        return _decoded(self._environ.get("PATH_INFO", ""))

    @property
    def whole_path(self) -> str:
        path: str = self._environ.get("PATH_INFO", "")
        if root := self._environ.get("SCRIPT_NAME"):
            path = root + path
        return path if path.isascii() else _decoded(path)

    @property
    def roots(self) -> Roots:
        root = self._environ.get("SCRIPT_NAME")
        return _roots(root) if root else NO_ROOTS

    @property
    def raw_path(self) -> str:
        """Not in PEP 3333: gunicorn and werkzeug say RAW_URI, uWSGI REQUEST_URI."""
        environ = self._environ
        uri: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
        return uri.partition("?")[0] if "?" in uri else uri

    @property
    def is_handshake(self) -> bool:
        return False  # a WSGI server cannot say so

    def header(self, name: str) -> Sequence[str]:
        value = self._environ.get(_variable(name))
        return () if value is None else (value,)


def completing(completion: Completion, start_response: StartResponse) -> StartResponse:
    """Return *start_response* with *completion* applied when the answer begins."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        completed = run(
            completion.complete(int(status[:3]), headers), may_stop_loop=True
        )
        return start_response(status, list(completed), *exc_info)

    return start


@lru_cache
def _variable(name: str) -> str:
    """The CGI name of a header; few are ever asked for."""
    return f"HTTP_{name.upper().replace('-', '_')}"


class Parts:
    """The parts of an answer; *refuse* answers an AuthError before the first of them.

    The server closes what the application has returned, through this.
    """

    __slots__ = ("_parts", "_refuse")

    def __init__(
        self, parts: Iterable[bytes], refuse: Callable[[AuthError], Iterable[bytes]]
    ) -> None:
        self._parts = parts
        self._refuse = refuse

    def __iter__(self) -> Iterator[bytes]:
        parts, refused = iter(self._parts), None
        try:
            for part in parts:
                yield part  # an empty one sends nothing yet: PEP 3333
                if part:
                    break
        except AuthError as error:
            refused = error
        yield from parts if refused is None else self._refuse(refused)

    def close(self) -> None:
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()


def _is_of_server(parts: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether *parts* are a file that the server sends by itself: PEP 3333."""
    wrapper = environ.get("wsgi.file_wrapper")
    return hasattr(parts, "read") or (
        isinstance(wrapper, type) and isinstance(parts, wrapper)
    )


@lru_cache
def _roots(root: str) -> Roots:
    """Return what an application may strip whose ``SCRIPT_NAME`` is *root*."""
    return Roots((_decoded(root),))


def send_reply(
    reply: Reply, start_response: StartResponse, error: AuthError | None = None
) -> Iterable[bytes]:
    """Answer with *reply*.

    *error* was raised by an application that may have begun another answer; the
    server raises it again if the first octets of that are on their way (PEP 3333).
    """
    status, headers = _status_line(reply.status), list(reply.headers)
    if error is None:
        start_response(status, headers)
    else:
        exc_info: Any = (type(error), error, error.__traceback__)
        start_response(status, headers, exc_info)
    return [reply.body]


@cache
def _status_line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def _decoded(path: str) -> str:
    """PEP 3333 gives octets in the guise of latin-1; paths are UTF-8."""
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
