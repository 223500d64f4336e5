"""An `AuthError` of a Flask view as a werkzeug HTTPException, as extensions expect it.

flask-restx and flask-restful answer any other exception by a 500 of their own, and
leave only an HTTPException its status and its headers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import Response
from werkzeug.exceptions import HTTPException

from .challenge import Reply
from .errors import AuthError

Respond = Callable[[AuthError], Response]


class HTTPRefusal(HTTPException):
    """The second base class of an `AuthError` that Flask sees."""

    # Not an attribute of the class: Flask would look for handlers of the status first.
    code: int | None = None
    told: Callable[[], dict[str, str]]
    respond: Callable[[HTTPRefusal], Response]

    @property
    def data(self) -> dict[str, str]:
        """The JSON that flask-restx and flask-restful answer with.

        They call `get_response` first.  If a handler of the application has made the
        answer, they do not call it, and this JSON would replace that answer.
        """
        if self.response is None:
            raise AttributeError("no response was asked for")
        return self.told()

    def get_response(self, *_: Any, **__: Any) -> Any:
        """Return the answer that the middleware would give."""
        if self.response is None:
            self.response = self.respond(self)
        return self.response


def as_http_exceptions(
    call: Callable[..., Any], respond: Respond
) -> Callable[..., Any]:
    """Return *call* with a change: an `AuthError` of it is an HTTPException too."""

    @functools.wraps(call)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except AuthError as error:
            if isinstance(error, HTTPException):
                raise
            raise _as_http_exception(error, respond) from error.__cause__

    return called


def response_of(reply: Reply) -> Response:
    """Return *reply* as a response of Flask, with the headers of *reply* alone."""
    response = Response(reply.body, reply.status)
    response.headers.clear()  # werkzeug sets Content-Length, of no octets for HEAD
    response.headers.extend(reply.headers)
    return response


def _as_http_exception(error: AuthError, respond: Respond) -> Exception:
    # A new object: an application may raise the same one in two threads.
    kind: Any = type(error)
    both: Any = _with_http(kind)
    converted: Any = both.__new__(both, *error.args)
    converted.__dict__.update(error.__dict__)
    converted.code = int(error.status)
    converted.response = None
    converted.respond = respond
    found: Exception = converted.with_traceback(error.__traceback__)
    return found


@functools.cache
def _with_http(kind: type[AuthError]) -> type:
    """Return a subclass of *kind* and HTTPException; handlers of *kind* handle it."""
    names = {
        "__str__": kind.__str__,  # for the log; that of HTTPException says less
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    return type(kind.__name__, (kind, HTTPRefusal), names)
