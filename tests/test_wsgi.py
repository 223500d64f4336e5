"""The WSGI door: what PEP 3333 promises to servers and applications stays so."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest

from jwt_middleware import MemoryStore, Rule, current_token
from jwt_middleware.current import set_current_token
from jwt_middleware.token import KEY
from jwt_middleware.wsgi import JWTMiddleware

from .conftest import Mint, authenticator, clock
from .doors import WSGIDoor
from .store_suite import WaitingStore

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

NOTHING: Mapping[str, Any] = {}
RULES = (Rule("/public", public=True), Rule("/optional", optional=True))


def environ_of(
    path: str = "/", token: str | None = None, extra: Mapping[str, Any] = NOTHING
) -> dict[str, Any]:
    environ: dict[str, Any] = {"PATH_INFO": path, **extra}
    setup_testing_defaults(environ)
    if token is not None:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return environ


def locked(app: WSGIApplication) -> JWTMiddleware:
    return JWTMiddleware(app, authenticator(rules=RULES, store=MemoryStore(clock)))


def ignore(*_: Any) -> Callable[[bytes], object]:
    """A server's ``start_response``, of which nothing is asked."""
    return lambda octets: None


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


class Recorder:
    """An app that keeps what it was called with, and the token of the moment."""

    def __init__(self) -> None:
        self.environs: list[WSGIEnvironment] = []
        self.current: list[object] = []

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        self.environs.append(environ)
        self.current.append(current_token())
        return hello(environ, start_response)


def test_the_app_gets_the_environ_and_start_response_of_the_server(mint: Mint) -> None:
    """The same objects: other middleware keeps its notes in them."""
    given: list[object] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        given.extend((environ, start_response))
        return []

    environ = environ_of(token=mint(), extra={"x.note": object()})
    before = dict(environ)
    locked(app)(environ, ignore)
    assert given[0] is environ
    assert given[1] is ignore
    assert {**environ, KEY: None} == {**before, KEY: None}


def test_what_the_app_returns_is_returned_as_it_is(mint: Mint) -> None:
    """A server looks at the type: of a list of one, of an open file."""
    for result in ([b"x"], (b"x",), io.BytesIO(b"x")):

        def app(_: WSGIEnvironment, __: StartResponse, result: Any = result) -> Any:
            return result

        assert locked(app)(environ_of(token=mint()), ignore) is result


def test_the_file_wrapper_of_the_server_is_left_alone(mint: Mint) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"content"))
        return result

    environ = environ_of(token=mint(), extra={"wsgi.file_wrapper": FileWrapper})
    result = locked(app)(environ, ignore)
    assert isinstance(result, FileWrapper)
    assert b"".join(result) == b"content"


def test_a_stream_is_lazy_and_closed_once_by_the_server(mint: Mint) -> None:
    """No part is made before it is asked for, and `close` is not ours to call."""
    made: list[str] = []

    class Stream:
        def __iter__(self) -> Iterator[bytes]:
            for part in ("a", "b"):
                made.append(part)
                yield part.encode()

        def close(self) -> None:
            made.append("closed")

    result: Any = locked(lambda environ, start: Stream())(
        environ_of(token=mint()), ignore
    )
    assert made == []
    parts = iter(result)
    assert (next(parts), made) == (b"a", ["a"])
    result.close()
    assert made == ["a", "closed"]


def test_a_generator_starts_its_response_when_it_is_asked(mint: Mint) -> None:
    """PEP 3333: an app may call ``start_response`` as late as in its first part."""
    started: list[str] = []

    def start(status: str, *_: Any) -> Callable[[bytes], object]:
        started.append(status)
        return ignore()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield str(environ[KEY]["sub"]).encode()

    result = locked(app)(environ_of(token=mint()), start)
    assert started == []
    assert list(result) == [b"alice"]
    assert started == ["200 OK"]


def test_write_and_exc_info_go_through(mint: Mint) -> None:
    written: list[bytes] = []
    calls: list[tuple[Any, ...]] = []

    def start(*args: Any) -> Callable[[bytes], object]:
        calls.append(args)
        return written.append

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])(b"first")
        try:
            raise LookupError("in the app")
        except LookupError:
            start_response("500 Oops", [("X-A", "b")], sys.exc_info())
        return []

    locked(app)(environ_of(token=mint()), start)
    assert written == [b"first"]
    assert [call[0] for call in calls] == ["200 OK", "500 Oops"]
    assert calls[1][1] == [("X-A", "b")]
    assert calls[1][2][0] is LookupError


def test_what_the_app_raises_comes_out(mint: Mint) -> None:
    """As it is, also what is no `Exception`."""
    for error in (LookupError("x"), KeyboardInterrupt(), SystemExit(3)):

        def app(*_: Any, error: BaseException = error) -> list[bytes]:
            raise error

        with pytest.raises(type(error)) as caught:
            locked(app)(environ_of(token=mint()), ignore)
        assert caught.value is error


@pytest.mark.parametrize(
    ("path", "has_token", "subject"),
    [
        ("/", True, "alice"),
        ("/public", True, None),
        ("/public", False, None),
        ("/optional", True, "alice"),
        ("/optional", False, None),
    ],
)
def test_a_token_in_the_environ_is_never_believed(
    mint: Mint, path: str, has_token: bool, subject: str | None
) -> None:
    """Whoever put it there: what stands behind the lock is from the lock."""
    app = Recorder()
    token = mint() if has_token else None
    spoofed = {KEY: {"sub": "admin"}}
    locked(app)(environ_of(path, token, spoofed), ignore)
    (environ,) = app.environs
    found = environ[KEY]
    assert (found and found["sub"]) == subject
    assert app.current == [found]


@pytest.mark.parametrize(
    "name", ["HTTP_JWT_MIDDLEWARE.TOKEN", "HTTP_JWT_MIDDLEWARE_TOKEN"]
)
def test_no_header_lands_where_the_token_does(name: str) -> None:
    app = Recorder()
    locked(app)(environ_of("/public", extra={name: "x"}), ignore)
    assert app.environs[0][KEY] is None


def test_a_thread_forgets_whom_it_served(mint: Mint) -> None:
    """One thread serves alice, then nobody, then someone who is refused."""
    app = Recorder()
    guarded = locked(app)
    guarded(environ_of(token=mint()), ignore)
    assert current_token() is not None
    guarded(environ_of("/public"), ignore)
    assert current_token() is None
    guarded(environ_of("/optional"), ignore)
    assert app.current[1:] == [None, None]
    guarded(environ_of(token=mint()), ignore)
    guarded(environ_of(token="nonsense"), ignore)
    assert current_token() is None


def test_the_token_is_none_while_a_request_is_judged(mint: Mint) -> None:
    """What is asked meanwhile, such as a store, sees no one's identity."""
    seen: list[object] = []

    class Watching(MemoryStore):
        def look(self, names: Any) -> Any:
            seen.append(current_token())
            return [None for _ in names]

    set_current_token(authenticator().authenticate(mint()))
    guarded = JWTMiddleware(hello, authenticator(store=Watching(clock)))
    guarded(environ_of(token=mint()), ignore)
    assert seen == [None]


def test_threads_have_a_token_each(mint: Mint) -> None:
    """Two requests at a time, each in the app when the other is."""
    both_inside = threading.Barrier(2)
    seen: dict[str, object] = {}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        both_inside.wait(10)
        token = current_token()
        seen[environ[KEY]["sub"]] = token and token["sub"]
        return []

    guarded = locked(app)
    threads = [
        threading.Thread(target=guarded, args=(environ_of(token=mint(sub=s)), ignore))
        for s in ("alice", "bob")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"alice": "alice", "bob": "bob"}


def test_a_refusal_calls_no_app_and_reads_no_body() -> None:
    app = Recorder()
    started: list[tuple[Any, ...]] = []

    def start(*args: Any) -> Callable[[bytes], object]:
        started.append(args)
        return ignore()

    body = io.BytesIO(b"x" * 100)
    result = locked(app)(environ_of(extra={"wsgi.input": body}), start)
    assert app.environs == []
    assert body.tell() == 0
    ((status, headers),) = started
    assert status == "401 Unauthorized"
    assert isinstance(headers, list)
    assert dict(headers)["Content-Length"] == str(len(b"".join(result)))


def test_a_refusal_is_made_anew_for_every_request() -> None:
    """A server may change the list of headers that it is given (PEP 3333)."""
    guarded = locked(hello)
    given: list[list[tuple[str, str]]] = []

    def start(status: str, headers: Any, *_: Any) -> Callable[[bytes], object]:
        given.append(list(headers))
        headers.clear()
        return ignore()

    for _ in range(2):
        guarded(environ_of(), start)
    assert given[0] == given[1] != []


def test_the_least_that_pep_3333_asks_for_is_enough(mint: Mint) -> None:
    """SCRIPT_NAME, PATH_INFO and QUERY_STRING may be absent where they are empty."""
    environ = {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "https"}
    app = Recorder()
    environ["HTTP_AUTHORIZATION"] = f"Bearer {mint()}"
    assert list(locked(app)(environ, ignore)) == [b"hello"]


def test_an_empty_header_is_a_header() -> None:
    """Some servers give "" for what they could not read."""
    started: list[str] = []
    environ = environ_of(extra={"HTTP_AUTHORIZATION": ""})
    locked(hello)(environ, lambda status, *_: started.append(status))  # type: ignore[arg-type]
    assert started == ["401 Unauthorized"]


@pytest.mark.parametrize("variable", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("raw", "is_open"),
    [
        ("/public", True),
        ("/public?x=%2F", True),
        ("", True),
        (None, True),
        ("/pub%2Flic", False),
        ("http://x.example/public", False),
    ],
)
def test_the_path_as_it_was_sent_counts_where_a_server_tells(
    variable: str, raw: str | None, is_open: bool
) -> None:
    """gunicorn and werkzeug say RAW_URI, uWSGI REQUEST_URI, wsgiref neither."""
    app = Recorder()
    locked(app)(environ_of("/public", extra={variable: raw}), ignore)
    assert bool(app.environs) == is_open


@pytest.mark.parametrize(
    ("path", "is_open"),
    [
        ("/m\u00fcnchen", True),
        ("/m\u00fcnchen".encode().decode("latin-1"), False),
        ("/\udcff", False),
    ],
)
def test_a_path_comes_as_octets_in_disguise(path: str, is_open: bool) -> None:
    """PEP 3333 shows each octet as a character; a rule is written in plain text."""
    auth = authenticator(rules=(Rule("/m\u00fcnchen", public=True),))
    assert WSGIDoor(auth).get(path).entered == is_open


def test_a_path_that_no_server_would_give_is_locked() -> None:
    """Text that was decoded already, against PEP 3333: no crash, and no pass."""
    app = Recorder()
    started: list[str] = []
    guarded = JWTMiddleware(app, authenticator(rules=RULES))
    guarded(
        environ_of("/public/\u4eac"),
        lambda status, *_: started.append(status),  # type: ignore[arg-type]
    )
    assert started == ["401 Unauthorized"]


def test_a_store_that_needs_a_loop_is_refused_at_construction() -> None:
    """Never at the first request."""
    with pytest.raises(ValueError, match="WSGI has no event loop"):
        JWTMiddleware(hello, authenticator(store=WaitingStore()))


def test_a_store_that_turns_out_to_need_a_loop_lets_nobody_in(mint: Mint) -> None:
    """A plain function that gives a coroutine cannot be told before it is called."""
    slow = WaitingStore()

    class Disguised(MemoryStore):
        def look(self, names: Any) -> Any:
            return slow.look(names)

    store = Disguised(clock)
    app = Recorder()
    guarded = JWTMiddleware(app, authenticator(store=store))
    statuses: list[str] = []

    def start_response(status: str, *_: Any) -> Callable[[bytes], object]:
        statuses.append(status)
        return ignore()

    guarded(environ_of(token=mint()), start_response)
    assert statuses == ["503 Service Unavailable"]
    assert app.environs == []
    assert current_token() is None


def test_it_can_be_wrapped_twice(mint: Mint) -> None:
    """An app within a mounted app: the innermost lock has the last word."""
    app = Recorder()
    outer = JWTMiddleware(locked(app), authenticator())
    outer(environ_of("/public", mint()), ignore)
    assert app.environs[0][KEY] is None
    assert app.current == [None]
