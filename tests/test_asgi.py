"""The ASGI door: what ASGI 3.0 promises to servers and applications stays so."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest
import trio

from jwt_middleware import Cookie, MemoryStore, Rule, Token, current_token
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.current import set_current_token
from jwt_middleware.errors import NoCredentials
from jwt_middleware.requirement import Requirement
from jwt_middleware.token import ANONYMOUS, KEY

from .asgi_checker import App, Message, Receive, Scope, Send, StrictASGI
from .conftest import Mint, authenticator, clock
from .doors import ASGIDoor
from .store_suite import WaitingStore

RULES = (Rule("/public", public=True), Rule("/optional", optional=True))
OFFER: dict[str, Any] = {"websocket.http.response": {}}


def locked(app: App) -> App:
    auth = authenticator(rules=RULES, store=MemoryStore(clock))
    return JWTMiddleware(app, auth)


def scope_of(path: str = "/", token: str | None = None, **extra: Any) -> dict[str, Any]:
    """The least that a scope must have."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    return {**scope, **extra}


async def no_receive() -> Message:
    raise AssertionError("nobody was to receive anything yet")


async def no_send(message: Message) -> None:
    raise AssertionError(f"nobody was to send {message}")


class Recorder:
    """An app that keeps what it was called with, and the token of the moment."""

    def __init__(self) -> None:
        self.calls: list[tuple[Scope, Receive, Send]] = []
        self.current: list[Token | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append((scope, receive, send))
        self.current.append(current_token())

    @property
    def scope(self) -> Scope:
        ((scope, _, _),) = self.calls
        return scope


async def serve(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def call(app: App, scope: Scope, *incoming: Message) -> list[Message]:
    """Run *app*; return what it sent."""
    sent: list[Message] = []
    waiting = list(incoming)

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(serve(app, scope, receive, send))
    return sent


def pass_through(scope: Scope) -> Recorder:
    """Have *scope* pass the lock; nothing may be sent or received."""
    app = Recorder()
    asyncio.run(serve(locked(app), scope, no_receive, no_send))
    return app


def test_lifespan_is_none_of_our_business() -> None:
    """The same scope, receive and send; also before there are any headers."""
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    app = pass_through(scope)
    ((seen, receive, send),) = app.calls
    assert seen is scope
    assert (receive, send) == (no_receive, no_send)
    assert scope == {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


@pytest.mark.parametrize("kind", ["webtransport", "HTTP", "", "http ", None])
def test_a_protocol_of_tomorrow_does_not_walk_past_the_lock(
    kind: str | None, mint: Mint
) -> None:
    app = Recorder()
    scope = scope_of(token=mint(), type=kind)
    with pytest.raises(ValueError, match="no protocol that can be judged"):
        asyncio.run(serve(locked(app), scope, no_receive, no_send))
    assert app.calls == []


def test_the_app_gets_receive_of_the_server(mint: Mint) -> None:
    """Nothing is received before the app does, and nothing stands between."""
    ((_, receive, _),) = pass_through(scope_of(token=mint())).calls
    assert receive is no_receive


def test_headers_that_can_be_read_once_reach_the_app(mint: Mint) -> None:
    """The specification says an iterable."""
    text = f"Bearer {mint()}".encode()
    pairs = [(b"x-a", b"1"), (b"authorization", text), (b"x-a", b"2")]
    app = pass_through(scope_of(headers=iter(pairs)))
    assert list(app.scope["headers"]) == pairs
    assert list(app.scope["headers"]) == pairs


def test_the_app_gets_the_scope_of_the_caller(mint: Mint) -> None:
    """An outer middleware, such as an access log, can read the user afterwards."""
    scope = scope_of(token=mint(), state={}, extensions={})
    before = dict(scope)
    inner = pass_through(scope).scope
    assert inner is scope
    assert {name for name in scope if name not in before} == {KEY, "user", "auth"}
    assert all(scope[name] is before[name] for name in before)
    assert scope["user"]["sub"] == "alice"


def test_an_outer_middleware_sees_the_user_of_a_locked_mount(mint: Mint) -> None:
    """Starlette's router copies nothing either: the innermost lock is read."""
    app = Recorder()
    inner = JWTMiddleware(app, authenticator())
    outer = JWTMiddleware(inner, authenticator(rules=(Rule("/*", public=True),)))
    scope = scope_of("/", mint(sub="bob"))
    asyncio.run(serve(outer, scope, no_receive, no_send))
    assert scope[KEY]["sub"] == scope["user"]["sub"] == "bob"


def test_a_refused_request_leaves_no_user_in_the_scope(mint: Mint) -> None:
    scope = scope_of(token=mint(exp=-100))
    sent = call(locked(Recorder()), scope)
    assert sent[0]["status"] == 401
    assert not {KEY, "user", "auth"} & scope.keys()


def test_a_token_is_also_user_and_auth(mint: Mint) -> None:
    """In the shapes of Starlette's AuthenticationMiddleware."""
    scope = pass_through(scope_of(token=mint(scope="read write"))).scope
    token = scope[KEY]
    assert isinstance(token, Token)
    assert scope["user"] is token
    assert scope["auth"] == token
    assert scope["user"].is_authenticated
    assert scope["user"].display_name == scope["user"].identity == "alice"
    assert scope["auth"].scopes == {"read", "write", "authenticated"}
    assert token.scopes == {"read", "write"}


def test_nobody_is_granted_a_scope_by_being_authenticated(mint: Mint) -> None:
    """Starlette's "authenticated" satisfies neither a rule nor a guard of ours."""
    auth = authenticator(rules=(Rule("/admin", scopes=("authenticated",)),))
    app = Recorder()
    sent = call(JWTMiddleware(app, auth), scope_of("/admin", mint(scope="read")))
    assert (sent[0]["status"], app.calls) == (403, [])
    given = pass_through(scope_of(token=mint(scope="read"))).scope["auth"]
    with pytest.raises(NoCredentials):
        Requirement(("authenticated",)).permit(given, 0.0)
    assert "alice" not in repr(given)
    assert len(given) == len(dict(given)) > 3
    granted = scope_of("/admin", mint(scope="authenticated"))
    asyncio.run(serve(JWTMiddleware(app, auth), granted, no_receive, no_send))
    assert len(app.calls) == 1


@pytest.mark.parametrize("path", ["/public", "/optional"])
def test_without_a_token_the_user_is_anonymous(path: str) -> None:
    scope = pass_through(scope_of(path)).scope
    assert scope[KEY] is None
    assert scope["user"] is scope["auth"] is ANONYMOUS
    assert not scope["user"].is_authenticated
    assert scope["user"].display_name == scope["user"].identity == ""
    assert scope["auth"].scopes == frozenset()


@pytest.mark.parametrize(
    "outer", [{"user": object()}, {"auth": object()}, {"user": None}]
)
def test_what_an_outer_middleware_left_out_is_filled_in(outer: dict[str, Any]) -> None:
    scope = pass_through(scope_of("/public", **outer)).scope
    assert {"user": ANONYMOUS, "auth": ANONYMOUS, **outer}.items() <= scope.items()


@pytest.mark.parametrize("path", ["/public", "/optional"])
def test_the_user_of_an_outer_middleware_stays_where_there_is_no_token(
    path: str,
) -> None:
    """A session in front of us may know who it is."""
    user, auth = object(), object()
    scope = pass_through(scope_of(path, user=user, auth=auth)).scope
    assert scope["user"] is user
    assert scope["auth"] is auth
    assert scope[KEY] is None


def test_a_token_takes_the_place_of_an_outer_user(mint: Mint) -> None:
    scope = pass_through(scope_of(token=mint(), user=object(), auth=object())).scope
    assert scope["user"] is scope[KEY]
    assert scope["auth"] == scope[KEY]


@pytest.mark.parametrize("path", ["/", "/public", "/optional"])
def test_a_token_in_the_scope_is_never_believed(mint: Mint, path: str) -> None:
    """Whoever put it there: what stands behind the lock is from the lock."""
    spoofed = Token({}, {"sub": "admin"})
    text = mint() if path == "/" else None
    app = pass_through(scope_of(path, text, **{KEY: spoofed}))
    assert app.scope[KEY] is not spoofed
    assert app.current == [app.scope[KEY]]


def test_names_of_headers_may_be_in_upper_case(mint: Mint) -> None:
    """Against the specification; some test clients and Lambda adapters do it."""
    headers = [(b"Authorization", f"Bearer {mint()}".encode())]
    assert pass_through(scope_of(headers=headers)).scope[KEY] is not None
    headers *= 2
    headers[0] = (b"AUTHORIZATION", b"Bearer another")
    app = Recorder()
    sent = call(locked(app), scope_of(headers=headers))
    assert sent[0]["status"] == 400
    assert app.calls == []


def test_octets_of_a_header_that_are_no_text_are_no_crash() -> None:
    sent = call(
        locked(Recorder()), scope_of(headers=[(b"authorization", b"Bearer \xff\x00")])
    )
    assert sent[0]["status"] == 400


@pytest.mark.parametrize("root", ["", "/api", "/api/v1"])
def test_a_mounted_app_is_ruled_below_its_mount(root: str) -> None:
    """Servers tell the path with its prefix, or without it: both are seen."""
    for path in (f"{root}/public", "/public"):
        assert pass_through(scope_of(path, root_path=root)).scope["path"] == path


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/pub", "/public"),
        ("/public", "/public"),
        ("/api", "/apipublic"),
        ("/api", "/api"),
        ("/api", "/other/public"),
        ("/api", "/api/api/public"),
        ("/public", "/"),
    ],
)
def test_a_root_cuts_whole_segments_and_once(root: str, path: str) -> None:
    """A router may strip "/pub" from "/public", so that path is not public either."""
    app = Recorder()
    sent = call(locked(app), scope_of(path, root_path=root))
    assert not app.calls
    assert sent[0]["status"] == 401


@pytest.mark.parametrize(
    ("raw_path", "is_open"),
    [
        ({}, True),
        ({"raw_path": None}, True),
        ({"raw_path": b""}, True),
        ({"raw_path": b"/public"}, True),
        ({"raw_path": b"/publi\xff"}, True),
        ({"raw_path": b"/public?next=%2Fhome"}, True),
        ({"raw_path": b"/pub%2Flic"}, False),
        ({"raw_path": b"http://x.example/public"}, False),
    ],
)
def test_the_raw_path_is_optional(raw_path: dict[str, Any], is_open: bool) -> None:
    app = Recorder()
    sent = call(locked(app), scope_of("/public", **raw_path))
    assert bool(app.calls) == is_open
    assert is_open or sent[0]["status"] == 401


def test_the_least_that_a_scope_may_have_is_enough(mint: Mint) -> None:
    """Scheme, root path and headers have defaults in the specification."""
    app = Recorder()
    sent = call(locked(app), {"type": "http", "method": "GET", "path": "/"})
    assert sent[0]["status"] == 401
    bare: Scope = {"type": "websocket", "path": "/"}
    assert call(locked(app), bare, {"type": "websocket.connect"}) == [
        {"type": "websocket.close", "code": 1008}
    ]
    assert app.calls == []
    strict = JWTMiddleware(app, authenticator(require_https=True))
    for scope in (scope_of(token=mint()), scope_of(token=mint(), type="websocket")):
        call(strict, scope, {"type": "websocket.connect"})
    assert app.calls == []


def test_a_refusal_is_a_whole_response_and_receives_nothing() -> None:
    app, sent = Recorder(), []

    async def send(message: Message) -> None:
        sent.append(message)

    strict = StrictASGI(locked(app))
    asyncio.run(serve(strict, scope_of(method="POST"), no_receive, send))
    assert app.calls == []
    assert [message["type"] for message in sent] == [
        "http.response.start",
        "http.response.body",
    ]
    assert sent[0]["status"] == 401
    assert type(sent[0]["status"]) is int
    assert all(name == name.lower() for name, _ in sent[0]["headers"])


@pytest.mark.parametrize("error", [LookupError("x"), KeyError("type"), SystemExit(3)])
def test_what_the_app_raises_comes_out(mint: Mint, error: BaseException) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        call(locked(app), scope_of(token=mint()))
    assert caught.value is error


def test_a_request_that_is_cancelled_ends_as_cancelled(mint: Mint) -> None:
    """In the app, and while the store is asked: no 503, and no pass."""

    class Stuck(WaitingStore):
        async def look(self, names: Any) -> Any:
            inside.set()
            await asyncio.Event().wait()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        inside.set()
        await asyncio.Event().wait()

    async def cancel(app: App) -> None:
        task = asyncio.ensure_future(app(scope_of(token=mint()), no_receive, no_send))
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    untouched = Recorder()
    for app in (
        locked(waiting),
        JWTMiddleware(untouched, authenticator(store=Stuck())),
    ):
        inside = asyncio.Event()
        asyncio.run(cancel(app))
    assert untouched.calls == []


def test_what_send_raises_comes_out() -> None:
    """The client is gone, or the server says so."""

    async def gone(message: Message) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        asyncio.run(serve(locked(Recorder()), scope_of(), no_receive, gone))


class TestWebSocket:
    """A handshake is refused as the server allows it."""

    def test_a_good_token_opens_it(self, asgi_door: ASGIDoor, mint: Mint) -> None:
        answer, sent = asgi_door.websocket(bearer=mint())
        assert answer.status == 101
        assert sent == [{"type": "websocket.accept"}]
        assert answer.token is not None
        assert answer.current == answer.token

    def test_nothing_is_received_before_the_app_does(self, mint: Mint) -> None:
        """`no_receive` fails when it is called."""
        app = pass_through(scope_of(token=mint(), type="websocket"))
        assert len(app.calls) == 1

    def test_a_refusal_is_a_response_where_the_server_offers_it(
        self, asgi_door: ASGIDoor, mint: Mint
    ) -> None:
        answer, sent = asgi_door.websocket(bearer=mint(exp=-100))
        assert not answer.entered
        assert [message["type"] for message in sent] == [
            "websocket.http.response.start",
            "websocket.http.response.body",
        ]
        plain = asgi_door.get(bearer=mint(exp=-100))
        assert (answer.status, answer.headers) == (401, plain.headers)
        assert answer.body == plain.body

    @pytest.mark.parametrize("extensions", [None, {}, {"tls": {}}])
    def test_else_it_is_closed_before_it_opens(
        self, extensions: dict[str, Any] | None
    ) -> None:
        """1008, policy violation: the server makes a 403 of it."""
        app = Recorder()
        scope = scope_of(type="websocket", extensions=extensions)
        sent = call(StrictASGI(locked(app)), scope, {"type": "websocket.connect"})
        assert sent == [{"type": "websocket.close", "code": 1008}]
        assert app.calls == []

    @pytest.mark.parametrize("extensions", [{}, OFFER])
    def test_one_that_left_before_it_connected_gets_nothing(
        self, extensions: dict[str, Any]
    ) -> None:
        app = Recorder()
        scope = scope_of(type="websocket", extensions=extensions)
        gone = {"type": "websocket.disconnect", "code": 1006}
        assert call(StrictASGI(locked(app)), scope, gone) == []
        assert app.calls == []

    @pytest.mark.parametrize("scheme", [{}, {"scheme": "https"}, {"scheme": "wss"}])
    def test_it_is_judged_as_one_whatever_its_scheme(
        self, mint: Mint, scheme: dict[str, str]
    ) -> None:
        """A middleware for proxies may have written https into the scope, and over
        HTTP/2 there is no ``Upgrade`` (RFC 8441 §5)."""
        app = Recorder()
        guarded = JWTMiddleware(app, authenticator(sources=(Cookie("t"),)))
        headers = [
            (b"host", b"api.example"),
            (b"origin", b"https://evil.example"),
            (b"cookie", f"t={mint()}".encode()),
        ]
        scope = scope_of(type="websocket", **scheme) | {"headers": headers}
        sent = call(guarded, scope, {"type": "websocket.connect"})
        assert sent == [{"type": "websocket.close", "code": 1008}]
        assert app.calls == []

    def test_no_subprotocol_carries_a_token(
        self, asgi_door: ASGIDoor, mint: Mint
    ) -> None:
        """It would be echoed; the place for it is a header or a cookie."""
        headers = [("Sec-WebSocket-Protocol", f"bearer, {mint()}")]
        answer, _ = asgi_door.websocket(headers=headers)
        assert answer.status == 401


class TestCurrentToken:
    """Set on entry to every call: contexts are passed on by servers."""

    def test_the_next_request_in_the_same_context_starts_with_none(
        self, mint: Mint
    ) -> None:
        """As servers do that serve a pipelined request inside the one before."""
        app = Recorder()
        guarded = locked(app)

        async def one_after_another() -> None:
            await guarded(scope_of(token=mint()), no_receive, no_send)
            assert current_token() is not None
            await guarded(scope_of("/public"), no_receive, no_send)
            await guarded(scope_of(token=mint()), no_receive, no_send)
            await guarded(scope_of("/optional"), no_receive, no_send)
            await guarded(scope_of(token=mint(sub="bob")), no_receive, no_send)

        asyncio.run(one_after_another())
        subjects = [token and token["sub"] for token in app.current]
        assert subjects == ["alice", None, "alice", None, "bob"]

    @pytest.mark.parametrize("kind", ["http", "websocket"])
    def test_a_refused_request_has_none_either(self, mint: Mint, kind: str) -> None:
        seen: list[Token | None] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            seen.append(current_token())

        async def in_alices_context() -> None:
            set_current_token(Token({}, {"sub": "alice"}))
            scope = scope_of(token="nonsense", type=kind, extensions=OFFER)
            await locked(Recorder())(scope, receive, send)
            seen.append(current_token())

        asyncio.run(in_alices_context())
        assert seen == [None, None, None]

    def test_it_is_none_while_a_request_is_judged(self, mint: Mint) -> None:
        seen: list[Token | None] = []

        class Watching(MemoryStore):
            def look(self, names: Any) -> Any:
                seen.append(current_token())
                return [None for _ in names]

        async def in_alices_context() -> None:
            set_current_token(Token({}, {"sub": "alice"}))
            guarded = JWTMiddleware(Recorder(), authenticator(store=Watching(clock)))
            await guarded(scope_of(token=mint()), no_receive, no_send)

        asyncio.run(in_alices_context())
        assert seen == [None]

    def test_requests_at_a_time_have_one_each(self, mint: Mint) -> None:
        seen: dict[str, object] = {}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            inside.append(scope[KEY]["sub"])
            if len(inside) == 2:
                both_inside.set()
            await both_inside.wait()
            token = current_token()
            seen[scope[KEY]["sub"]] = token and token["sub"]

        async def both() -> None:
            guarded = locked(app)
            scopes = [scope_of(token=mint(sub=sub)) for sub in ("alice", "bob")]
            await asyncio.gather(*(guarded(s, no_receive, no_send) for s in scopes))

        inside: list[str] = []
        both_inside = asyncio.Event()
        asyncio.run(both())
        assert seen == {"alice": "alice", "bob": "bob"}

    def test_lifespan_leaves_it_alone(self) -> None:
        """It is no request."""
        context = contextvars.copy_context()
        context.run(set_current_token, Token({}, {"sub": "alice"}))
        app = Recorder()
        scope: Scope = {"type": "lifespan"}
        context.run(asyncio.run, serve(locked(app), scope, no_receive, no_send))
        assert app.current[0] is not None


def by_trio(work: Callable[[], Any]) -> None:
    trio.run(work)


def by_asyncio(work: Callable[[], Any]) -> None:
    asyncio.run(work())


@pytest.mark.parametrize("carry", [by_asyncio, by_trio])
def test_a_plain_store_is_asked_in_a_thread_under_either_loop(
    mint: Mint, carry: Callable[[Callable[[], Any]], None]
) -> None:
    """And what it says holds."""

    class Plain:
        """A store that may wait: its methods are not marked as instant."""

        def __init__(self) -> None:
            self.marks = MemoryStore(clock)

        def add(self, name: str, at: float, until: float) -> bool:
            return self.marks.add(name, at, until)

        def put(self, name: str, at: float, until: float) -> None:
            self.marks.put(name, at, until)

        def look(self, names: Any) -> Any:
            return self.marks.look(names)

    auth = authenticator(store=Plain())
    app, sent = Recorder(), []

    async def send(message: Message) -> None:
        sent.append(message)

    async def before_and_after() -> None:
        guarded = JWTMiddleware(app, auth)
        await guarded(scope_of(token=mint()), no_receive, send)
        await auth.arevoke(mint())
        await guarded(scope_of(token=mint()), no_receive, send)

    carry(before_and_after)
    assert len(app.calls) == 1
    assert sent[0]["status"] == 401


def test_an_asynchronous_store_is_awaited(mint: Mint) -> None:
    store = WaitingStore()
    door = ASGIDoor(authenticator(store=store))
    assert door.get(bearer=mint()).status == 200
    authenticator(store=store.marks).revoke(mint())
    assert door.get(bearer=mint()).status == 401


def test_it_can_be_wrapped_twice(mint: Mint) -> None:
    """The inner lock finds no token, and keeps the user of the outer one."""
    app = Recorder()
    outer = JWTMiddleware(locked(app), authenticator())
    asyncio.run(serve(outer, scope_of("/public", mint()), no_receive, no_send))
    assert app.scope[KEY] is None
    assert app.current == [None]
    assert app.scope["user"]["sub"] == "alice"
