"""The lock as WSGI middleware (PEP 3333)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .authenticator import Authenticator, ensure_authenticator
from .bridge import run
from .challenge import Reply
from .credentials import Renewal
from .request import Request
from .token import KEY, set_current_token

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class JWTMiddleware:
    """Lets a request through to *app* only where *auth* does.

    >>> from flask import Flask
    >>> app = Flask(__name__)
    >>> app.wsgi_app = JWTMiddleware(app.wsgi_app, auth)

    The app finds the `Token`, or None, in ``environ["jwt_middleware.token"]``.
    """

    def __init__(self, app: WSGIApplication, auth: Authenticator) -> None:
        ensure_authenticator(auth)
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
        decision = run(self.auth.decide(EnvironRequest(environ)))
        if isinstance(decision, Reply):
            return self.refuse(decision, environ, start_response)
        set_current_token(decision.token)
        environ[KEY] = decision.token
        if decision.renewal is not None:
            start_response = renewing(decision.renewal, start_response)
        return self.app(environ, start_response)

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
        method: str = self._environ["REQUEST_METHOD"]
        return method.upper()

    @property
    def scheme(self) -> str:
        scheme: str = self._environ["wsgi.url_scheme"]
        return scheme

    @property
    def path(self) -> str:
        return _decoded(self._environ.get("PATH_INFO", ""))

    @property
    def raw_path(self) -> str:
        """Not in PEP 3333: gunicorn and werkzeug say RAW_URI, uWSGI REQUEST_URI."""
        uri = self._environ.get("RAW_URI") or self._environ.get("REQUEST_URI") or ""
        return str(uri).partition("?")[0]

    @property
    def is_handshake(self) -> bool:
        return False  # a WSGI server cannot say so

    def header(self, name: str) -> Sequence[str]:
        value = self._environ.get(_variable(name))
        return () if value is None else (value,)


def renewing(renewal: Renewal, start_response: StartResponse) -> StartResponse:
    """A *start_response* that completes *renewal* as the answer begins."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        completed = run(renewal.complete(int(status[:3]), headers))
        return start_response(status, list(completed), *exc_info)

    return start


@lru_cache
def _variable(name: str) -> str:
    """The CGI name of a header; few are ever asked for."""
    return f"HTTP_{name.upper().replace('-', '_')}"


def send_reply(reply: Reply, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with *reply*."""
    start_response(_status_line(reply.status), list(reply.headers))
    return [reply.body]


@cache
def _status_line(status: HTTPStatus) -> str:
    return f"{status.value} {status.phrase}"


def _decoded(path: str) -> str:
    """PEP 3333 gives octets in the guise of latin-1; paths are UTF-8."""
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "surrogateescape")
