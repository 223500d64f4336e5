"""An AuthError that leaves the application is answered like one of the middleware."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from jwt_middleware import AuthError, MemoryStore, Rule, asgi, wsgi
from jwt_middleware.errors import (
    InsufficientScope,
    NoCredentials,
    StepUpRequired,
    TokenExpired,
    Unavailable,
)

from .asgi_checker import Message, Receive, Scope, Send
from .conftest import Mint, authenticator, clock
from .doors import ASGIDoor, Door, WSGIDoor

ERRORS: tuple[Callable[[], AuthError], ...] = (
    lambda: InsufficientScope("lacks pay", scopes=("pay",)),
    lambda: StepUpRequired("too old", demanded={"max_age": "5"}),
    lambda: NoCredentials("nothing"),
    lambda: TokenExpired("long ago"),
    lambda: Unavailable("the store", retry_after=7),
)
Sent = list[Message]


def auth_of() -> Any:
    rules = (Rule("/public", public=True), Rule("/optional", optional=True))
    return authenticator(rules=rules, store=MemoryStore(clock))


def asgi_answer(
    app: Any, token: str | None, *, kind: str = "http", **extra: Any
) -> tuple[Sent, Scope]:
    """Serve one scope; return what was sent, and the scope."""
    scope: dict[str, Any] = {"type": kind, "method": "GET", "path": "/", "headers": []}
    if token is not None:
        scope["headers"] = [(b"authorization", f"Bearer {token}".encode())]
    scope |= extra
    first = "websocket.connect" if kind == "websocket" else "http.request"
    incoming: Sent = [{"type": first}]
    sent: Sent = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def serve() -> None:
        await asgi.JWTMiddleware(app, auth_of())(scope, receive, send)

    asyncio.run(serve())
    return sent, scope


def environ_of(token: str | None, **extra: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return environ | extra


def wsgi_answer(app: Any, token: str | None, **extra: Any) -> tuple[str, Any, bytes]:
    """Serve one environ, under the checker of the standard library."""
    server = WSGIServer()
    guarded: Any = validator(wsgi.JWTMiddleware(app, auth_of()))
    parts: Any = guarded(environ_of(token, **extra), server.start)
    try:
        for part in parts:
            server.write(part)
    finally:
        parts.close()
    return server.status, server.headers, server.body


class WSGIServer:
    """The part of a server that PEP 3333 describes: headers leave with the body."""

    def __init__(self) -> None:
        self.status, self.body = "", b""
        self.headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info and self.body:
            raise exc_info[1]
        assert exc_info or not self.status
        self.status, self.headers = status, headers
        return self.write

    def write(self, part: bytes) -> None:
        assert self.status
        self.body += part


def refused(door: type[Door], error: AuthError) -> tuple[int, dict[str, str], bytes]:
    """What the middleware itself answers, through the same door."""

    class Refusing(Rule):
        def permit(self, token: Any) -> None:
            raise error

    answer = door(authenticator(rules=(Refusing("/*"),))).get()
    return answer.status, dict(answer.headers), answer.body


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("asked", [False, True], ids=["at once", "after reading"])
def test_an_error_of_an_asgi_application_is_answered(
    make: Callable[[], AuthError], asked: bool, mint: Mint
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if asked:
            await receive()
        scope.update(method="HEAD", path="/elsewhere", root_path="/")  # as a router may
        raise make()

    (start, body), _ = asgi_answer(app, mint())
    headers = {n.decode(): v.decode() for n, v in start["headers"]}
    assert (start["status"], headers, body["body"]) == refused(ASGIDoor, make())


@pytest.mark.parametrize("make", ERRORS, ids=lambda make: type(make()).__name__)
@pytest.mark.parametrize("started", [False, True], ids=["at once", "after start"])
@pytest.mark.parametrize("when", ["called", "first", "second"])
def test_an_error_of_a_wsgi_application_is_answered(
    make: Callable[[], AuthError], started: bool, when: str, mint: Mint
) -> None:
    """Also when it is raised before the first octets of what it returns."""
    closed = []

    class Streamed:
        def __iter__(self) -> Iterator[bytes]:
            if when == "second":
                yield b""
            raise make()

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ.update(REQUEST_METHOD="HEAD", PATH_INFO="/elsewhere")
        if started or when == "second":
            start_response("200 OK", [("Content-Type", "text/plain")])
        if when == "called":
            raise make()
        return Streamed()

    status, headers, body = wsgi_answer(app, mint())
    named = {name.lower(): value for name, value in headers}
    assert (int(status[:3]), named, body) == refused(WSGIDoor, make())
    assert closed == ([] if when == "called" else [True])


@pytest.mark.parametrize("when", ["called", "first"])
def test_another_error_of_a_wsgi_application_goes_on_to_the_server(
    when: str, mint: Mint
) -> None:
    def failing() -> Iterator[bytes]:
        raise ZeroDivisionError
        yield b""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        parts = failing()
        return parts if when == "first" else [next(parts)]

    with pytest.raises(ZeroDivisionError):
        wsgi_answer(app, mint())


def test_parts_of_an_answer_that_nobody_has_to_close_are_sent(mint: Mint) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"a", b"b"])

    status, _, body = wsgi_answer(app, mint())
    assert (status, body) == ("200 OK", b"ab")


def test_what_has_begun_is_not_answered_again(mint: Mint) -> None:
    """An AuthError in the middle of an answer goes on to the server."""

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise TokenExpired("meanwhile")

    def parts(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        raise TokenExpired("meanwhile")

    def written(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])(b"a")
        raise TokenExpired("meanwhile")

    with pytest.raises(TokenExpired):
        asgi_answer(streaming, mint())
    for app in (parts, written):
        with pytest.raises(TokenExpired):
            wsgi_answer(app, mint())


@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("can_deny", [False, True])
def test_a_websocket_is_refused_before_it_is_accepted(
    received: bool, can_deny: bool, mint: Mint
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if received:
            await receive()
        raise InsufficientScope("lacks pay", scopes=("pay",))

    extensions: dict[str, Any] = {"websocket.http.response": {}} if can_deny else {}
    sent, _ = asgi_answer(app, mint(), kind="websocket", extensions=extensions)
    if can_deny:
        assert (sent[0]["type"], sent[0]["status"]) == (
            "websocket.http.response.start",
            403,
        )
    else:
        assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize("last", ["websocket.accept", "websocket.close"])
def test_a_websocket_that_is_accepted_or_closed_is_not_answered(
    last: str, mint: Mint
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": last})
        raise TokenExpired("meanwhile")

    with pytest.raises(TokenExpired):
        asgi_answer(app, mint(), kind="websocket")


@pytest.mark.parametrize("path", ["/public", "/optional", "/"])
def test_it_is_answered_under_every_rule(path: str, mint: Mint) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise NoCredentials("the application wants more")

    def wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise NoCredentials("the application wants more")

    token = mint() if path == "/" else None
    sent, _ = asgi_answer(app, token, path=path)
    assert sent[0]["status"] == 401
    assert wsgi_answer(wsgi_app, token, PATH_INFO=path)[0] == "401 Unauthorized"


def test_any_other_error_goes_on_as_it_is(mint: Mint) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("of the application")

    def wsgi_app(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise KeyError("of the application")

    with pytest.raises(KeyError):
        asgi_answer(app, mint())
    with pytest.raises(KeyError):
        wsgi_answer(wsgi_app, mint())
