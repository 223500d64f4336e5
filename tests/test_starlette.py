"""The courtesy to Starlette: `requires`, refusals of endpoints, WebSockets, cookies."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.authentication import requires as starlettes_requires
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, Router, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import jwt_middleware
from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Key,
    MemoryStore,
    Rule,
    SessionCookies,
    TokenIssuer,
)
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.current import set_current_token
from jwt_middleware.errors import (
    InvalidGrant,
    InvalidToken,
    NoCredentials,
    StepUpRequired,
    TokenRevoked,
    Unavailable,
)
from jwt_middleware.starlette import (
    current_token,
    from_request,
    init_app,
    refusing,
    require_token,
    requires,
    set_cookies,
)
from jwt_middleware.testing import Clock
from jwt_middleware.token import KEY

from .asgi_checker import StrictASGI
from .conftest import NOW, authenticator, clock, mint_token
from .servers import fetch, serving
from .test_challenge import REFUSALS, named
from .test_flask import EVIL, LACKING, ODD, PLANTS
from .test_requirement import GOLD, SILVER, SOME_REFUSALS, STEP_UP, login_site

RULES = (Rule("/optional/*", optional=True), Rule("/public/*", public=True))
GUARDS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "open": lambda endpoint: endpoint,
    "any": requires(),
    "read": requires("read"),
    "both": requires("read", "write"),
    "gold": requires("pay", acr=(GOLD, SILVER), max_age=300, now=clock),
    "mfa": requires(amr=("otp", "pwd"), now=clock),
    "recent": requires(max_age=0, now=lambda: NOW + 60),
}
GUARDED = [name for name in GUARDS if name != "open"]
GOOD = {
    "scope": "read write pay",
    "acr": GOLD,
    "amr": ["otp", "pwd"],
    "auth_time": NOW + 60,
}


def auth_with(**options: Any) -> Authenticator:
    return authenticator(**{"store": MemoryStore(clock), "rules": RULES, **options})


def subject() -> str:
    token = current_token()
    return "nobody" if token is None else str(token.subject)


def sync_endpoint(request: Request) -> Response:
    return PlainTextResponse(subject())


async def endpoint(request: Request) -> Response:
    return PlainTextResponse(subject())


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(subject())
    await websocket.close()


def guarded_routes() -> list[BaseRoute]:
    """Each guard on a path where a token is asked for, may be there, or is not read."""
    routes: list[BaseRoute] = []
    for name, guard in GUARDS.items():
        for prefix in ("", "/optional", "/public"):
            routes += [
                Route(f"{prefix}/{name}", guard(endpoint)),
                Route(f"{prefix}/sync/{name}", guard(sync_endpoint)),
                WebSocketRoute(f"{prefix}/ws/{name}", guard(echo)),
            ]
    return routes


def app_of(*routes: BaseRoute, auth: Authenticator | None = None) -> Starlette:
    app = Starlette(routes=routes)
    init_app(app, auth or auth_with())
    return app


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_token(**claims)}"}


def challenges(response: httpx2.Response) -> list[str]:
    return response.headers.get_list("www-authenticate")


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(app_of(*guarded_routes())) as opened:
        yield opened


KINDS = ["", "/sync"]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["", "/optional", "/public"])
def test_a_guard_lets_nobody_in_without_a_token(
    client: TestClient, prefix: str, kind: str, path: str
) -> None:
    """Also where the lock does not ask for one; and says nothing of what is asked."""
    response = client.get(f"{prefix}{kind}/{path}")
    assert response.status_code == 401
    assert challenges(response) == ['Bearer realm="api"']
    assert response.json() == {"error_description": "An access token is required."}


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_the_lock_did_not_read_opens_no_guard(
    client: TestClient, kind: str, path: str
) -> None:
    """A public path reads no token, so it attaches none."""
    response = client.get(f"/public{kind}/{path}", headers=bearer(**GOOD))
    assert (response.status_code, challenges(response)) == (401, ['Bearer realm="api"'])


@pytest.mark.parametrize("path", GUARDED)
def test_a_bad_token_is_told_so_and_no_more(client: TestClient, path: str) -> None:
    """RFC 9470 §9: plain invalid_token, without acr_values and scope."""
    response = client.get(f"/optional/{path}", headers=bearer(**GOOD, exp=-100))
    assert response.status_code == 401
    assert challenges(response) == [
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token expired."'
    ]


CASES: list[tuple[str, dict[str, Any], int, str | None]] = [
    ("any", {}, 200, None),
    ("read", {"scope": "write read"}, 200, None),
    ("read", {"scp": ["read"]}, 200, None),
    ("read", {}, 403, f'{LACKING}, scope="read"'),
    ("read", {"scope": "reader"}, 403, f'{LACKING}, scope="read"'),
    ("both", {"scope": "read"}, 403, f'{LACKING}, scope="read write"'),
    ("gold", {"scope": "pay", "acr": SILVER, "auth_time": NOW - 300}, 200, None),
    ("gold", {"acr": GOLD, "auth_time": NOW}, 403, f'{LACKING}, scope="pay"'),
    (
        *("gold", {"scope": "pay", "acr": GOLD, "auth_time": NOW - 301}, 401),
        f'{STEP_UP}, acr_values="{GOLD} {SILVER}", max_age="300"',
    ),
    (
        *("gold", {"scope": "pay", "acr": [GOLD], "auth_time": NOW}, 401),
        f'{STEP_UP}, acr_values="{GOLD} {SILVER}", max_age="300"',
    ),
    ("mfa", {"amr": ["pwd", "otp", "geo"]}, 200, None),
    ("mfa", {"amr": "pwd otp"}, 401, STEP_UP),
    ("mfa", {}, 401, STEP_UP),
    ("recent", {"auth_time": NOW + 60}, 200, None),
    ("recent", {"auth_time": NOW + 59}, 401, f'{STEP_UP}, max_age="0"'),
    ("recent", {"auth_time": True}, 401, f'{STEP_UP}, max_age="0"'),
]


@pytest.mark.parametrize(("path", "claims", "status", "challenge"), CASES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_asks_for_scopes_and_then_for_a_login(
    client: TestClient,
    kind: str,
    path: str,
    claims: dict[str, Any],
    status: int,
    challenge: str | None,
) -> None:
    for prefix in ("", "/optional"):
        response = client.get(f"{prefix}{kind}/{path}", headers=bearer(**claims))
        assert response.status_code == status
        if challenge is None:
            assert response.text == "alice"
            continue
        assert challenges(response) == [challenge]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-length"] == str(len(response.content))
        assert set(response.json()) == {"error", "error_description"}


def test_head_gets_the_headers_of_get_and_no_body(client: TestClient) -> None:
    """RFC 9110 §9.3.2."""
    for path in ("/optional/read", "/optional/sync/read"):
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (401, b"")
        assert head.headers.multi_items() == get.headers.multi_items()


def test_each_source_has_a_challenge_of_its_own_line() -> None:
    """RFC 9110 §11.6.1; a dict of headers would keep one of them."""
    sources = (BearerHeader(), BearerHeader("X-Token", scheme="Token"))
    app = app_of(*guarded_routes(), auth=auth_with(sources=sources))
    client = TestClient(app)
    response = client.get("/optional/any")
    assert challenges(response) == ['Bearer realm="api"', 'Token realm="api"']
    stepped = client.get("/mfa", headers={"X-Token": f"Token {mint_token()}"})
    assert challenges(stepped) == [STEP_UP, STEP_UP.replace("Bearer", "Token", 1)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_either_event_loop_will_do(backend: Any) -> None:
    client = TestClient(app_of(*guarded_routes()), backend=backend)
    for path in ("/optional/read", "/optional/sync/read"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(scope="read")).text == "alice"


# Refusals that an endpoint raises


def raising(error: AuthError) -> Starlette:
    """An app whose every way of running code of ours raises *error*."""

    async def view(request: Request) -> Response:
        raise error

    def sync(request: Request) -> Response:
        raise error

    class Page(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            raise error

        def post(self, request: Request) -> Response:
            raise error

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    auth = auth_with()
    routes = [
        Route("/async", view),
        Route("/sync", sync),
        Route("/class", Page),
        Mount("/mount", routes=[Route("/async", view)]),
        Mount("/router", Router([Route("/sync", sync)])),
        Mount("/plain", plain),
        Mount(
            "/app",
            Starlette(
                routes=[Route("/async", view), Route("/class", Page)],
                exception_handlers={AuthError: refusing(auth)},
            ),
        ),
    ]
    return app_of(*routes, auth=auth)


PLACES = (
    *("/async", "/sync", "/class", "/mount/async", "/router/sync"),
    *("/plain/", "/app/async", "/app/class"),
)


@pytest.mark.parametrize(
    ("path", "error"),
    [("/async", error) for error in REFUSALS]
    + [(path, error) for path in PLACES[1:] for error in SOME_REFUSALS],
    ids=lambda value: value if isinstance(value, str) else named(value),
)
def test_a_refusal_that_an_endpoint_raises_is_told_like_one_of_the_lock(
    path: str, error: AuthError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        response = TestClient(raising(error)).get(path, headers=bearer())
    assert response.status_code == error.status
    told = response.json()
    assert told.get("error") == error.error
    assert told["error_description"] == error.description
    assert response.headers["cache-control"] == "no-store"
    assert challenges(response)[0].startswith('Bearer realm="api"')
    is_later = isinstance(error, Unavailable)
    assert response.headers.get("retry-after") == ("2" if is_later else None)
    assert "leaked" not in f"{response.headers}{response.text}"
    assert f": {error.reason}: " in caplog.text
    assert "refused 'GET' '/" in caplog.text


def test_a_synchronous_method_of_a_class_refuses_too() -> None:
    app = raising(InvalidGrant("the message of the log"))
    response = TestClient(app).post("/class", headers=bearer())
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_debug_shows_a_client_no_more() -> None:
    app = raising(TokenRevoked("the message of the log"))
    app.debug = True
    response = TestClient(app).get("/async", headers=bearer())
    assert response.status_code == 401
    assert "the message" not in f"{response.headers}{response.text}"


def test_the_handler_alone_may_be_given_to_an_app() -> None:
    """`refusing`, where the lock is put in front by other means."""
    auth = auth_with()
    app = Starlette(
        routes=guarded_routes(),
        middleware=[Middleware(JWTMiddleware, auth=auth)],
        exception_handlers={AuthError: refusing(auth)},
    )
    client = TestClient(app)
    assert client.get("/optional/read").status_code == 401
    assert client.get("/optional/read", headers=bearer(scope="read")).text == "alice"


def test_other_errors_are_still_starlettes() -> None:
    async def broken(request: Request) -> Response:
        raise KeyError("missing")

    app = app_of(Route("/broken", broken), *guarded_routes())
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/broken", headers=bearer()).status_code == 500
    assert client.get("/nowhere", headers=bearer()).status_code == 404
    assert client.get("/nowhere").status_code == 401
    assert client.post("/read", headers=bearer()).status_code == 405


def test_middleware_that_is_added_afterwards_stands_outside() -> None:
    """CORS: a script of another origin may read why it was refused."""
    app = app_of(*guarded_routes())
    app.add_middleware(CORSMiddleware, allow_origins=["https://other.example"])
    headers = {"Origin": "https://other.example"}
    for path in ("/any", "/optional/any"):
        response = TestClient(app).get(path, headers=headers)
        assert response.status_code == 401
        allowed = response.headers["access-control-allow-origin"]
        assert allowed == "https://other.example"


# Ways past the guard


@pytest.mark.parametrize("headers", PLANTS, ids=str)
def test_no_header_plants_a_token(client: TestClient, headers: dict[str, str]) -> None:
    for prefix in ("/optional", "/public"):
        assert client.get(f"{prefix}/any", headers=headers).status_code == 401
        assert client.get(f"{prefix}/open", headers=headers).text == "nobody"


def planting(app: ASGIApp, value: object) -> ASGIApp:
    """A server that has something in the token's place."""

    async def planted(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, KEY: value}, receive, send)

    return planted


def test_what_a_server_has_in_its_place_is_overwritten() -> None:
    """Also a real token: nobody but the lock says who is asking."""
    token = auth_with().authenticate(mint_token(scope="read"))
    client = TestClient(planting(app_of(*guarded_routes()), token))
    for prefix in ("/optional", "/public"):
        for kind in KINDS:
            assert client.get(f"{prefix}{kind}/read").status_code == 401


@pytest.mark.parametrize("planted", ODD, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_token_is_taken_for_none(kind: str, planted: object) -> None:
    """Such as claims that another middleware verified, or did not."""
    app = Starlette(
        routes=guarded_routes(),
        exception_handlers={AuthError: refusing(auth_with())},
    )
    client = TestClient(planting(app, planted))
    for path in GUARDED:
        assert client.get(f"{kind}/{path}").status_code == 401


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_lock_a_guard_lets_nobody_in(kind: str, path: str) -> None:
    """Not even with a good token: nobody has verified it."""
    app = Starlette(
        routes=guarded_routes(),
        exception_handlers={AuthError: refusing(auth_with())},
    )
    client = TestClient(app)
    assert client.get("/open", headers=bearer(**GOOD)).text == "nobody"
    assert client.get(f"{kind}/{path}", headers=bearer(**GOOD)).status_code == 401
    bare = TestClient(Starlette(routes=guarded_routes()))
    with pytest.raises(NoCredentials):
        bare.get(f"{kind}/{path}", headers=bearer(**GOOD))


def test_of_two_locks_the_inner_one_says_who_is_asking() -> None:
    """Its public path has no token, though the outer lock let one in."""
    public = auth_with(rules=(Rule("/any", public=True),))
    inner = Starlette(
        routes=guarded_routes(), exception_handlers={AuthError: refusing(public)}
    )
    app = app_of(Mount("/inner", JWTMiddleware(inner, public)))
    client = TestClient(app)
    assert client.get("/inner/any").status_code == 401
    assert client.get("/inner/any", headers=bearer()).status_code == 401
    good = client.get("/inner/read", headers=bearer(scope="read"))
    assert (good.status_code, good.text) == (200, "alice")


def test_the_token_of_one_request_is_not_that_of_the_next(client: TestClient) -> None:
    for kind in KINDS:
        first = client.get(f"/optional{kind}/open", headers=bearer())
        assert first.text == "alice"
        assert client.get(f"/optional{kind}/open").text == "nobody"
        assert client.get(f"/public{kind}/open", headers=bearer()).text == "nobody"


def test_an_endpoint_is_called_only_after_its_guard_and_once() -> None:
    called: list[str] = []

    @requires("write")
    async def view(request: Request) -> Response:
        called.append(request.method)
        return PlainTextResponse(await request.body())

    app = app_of(Route("/optional/a", view, methods=["GET", "POST"]))
    client = TestClient(app)
    for method in ("GET", "HEAD", "POST"):
        assert client.request(method, "/optional/a").status_code == 401
        refused = client.request(method, "/optional/a", headers=bearer())
        assert refused.status_code == 403
    assert called == []
    good = client.post("/optional/a", content=b"b", headers=bearer(scope="write"))
    assert (good.text, called) == ("b", ["POST"])


def test_two_guards_ask_for_both() -> None:
    for inner in (endpoint, sync_endpoint):
        twice = requires("read")(requires("write")(inner))
        client = TestClient(app_of(Route("/two", twice)))
        for scope, status in (("read", 403), ("write", 403), ("read write", 200)):
            response = client.get("/two", headers=bearer(scope=scope))
            assert response.status_code == status


# What can be guarded


@pytest.mark.parametrize("view", [endpoint, sync_endpoint])
def test_an_endpoint_keeps_its_name(view: Callable[..., Any]) -> None:
    guarded = requires("read")(view)
    assert guarded.__name__ == view.__name__
    assert guarded.__wrapped__ is view  # type: ignore[attr-defined]
    assert Route("/", guarded).name == view.__name__


def test_a_synchronous_endpoint_is_still_run_in_a_thread() -> None:
    """Or it would stop the loop for everybody."""
    threads: dict[str, int] = {}

    @requires("read")
    def in_thread(request: Request) -> Response:
        threads["sync"] = threading.get_ident()
        return PlainTextResponse(subject())

    @requires("read")
    async def in_loop(request: Request) -> Response:
        threads["async"] = threading.get_ident()
        return PlainTextResponse(subject())

    app = app_of(Route("/sync", in_thread), Route("/async", in_loop))
    with TestClient(app) as client:
        for path in ("/sync", "/async"):
            assert client.get(path, headers=bearer(scope="read")).text == "alice"
    assert threads["sync"] != threads["async"]


def test_a_partial_is_guarded_outside_and_inside() -> None:
    """Starlette looks through it to find a function."""

    async def page(request: Request, name: str) -> Response:
        return PlainTextResponse(name)

    def sync_page(request: Request, name: str) -> Response:
        return PlainTextResponse(name)

    guard = requires("read")
    routes = [
        Route("/optional/1", guard(functools.partial(page, name="1"))),
        Route("/optional/2", guard(functools.partial(sync_page, name="2"))),
        Route("/optional/3", functools.partial(guard(page), name="3")),
        Route("/optional/4", functools.partial(guard(sync_page), name="4")),
    ]
    client = TestClient(app_of(*routes))
    for number in "1234":
        path = f"/optional/{number}"
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
        assert client.get(path, headers=bearer(scope="read")).text == number


def test_methods_of_a_class_are_guarded_one_by_one() -> None:
    class Orders(HTTPEndpoint):
        async def get(self, request: Request) -> Response:
            return PlainTextResponse(subject())

        @requires("write")
        async def post(self, request: Request) -> Response:
            return PlainTextResponse("posted")

        @requires("admin")
        def delete(self, request: Request) -> Response:
            return PlainTextResponse("deleted")

    client = TestClient(app_of(Route("/optional/orders", Orders)))
    assert client.get("/optional/orders").text == "nobody"
    for method, scope in (("POST", "write"), ("DELETE", "admin")):
        for headers, status in (
            ({}, 401),
            (bearer(scope="read"), 403),
            (bearer(scope=scope), 200),
        ):
            response = client.request(method, "/optional/orders", headers=headers)
            assert response.status_code == status


def test_a_method_of_an_object_is_guarded() -> None:
    class Site:
        @requires("read")
        async def page(self, request: Request) -> Response:
            return PlainTextResponse(type(self).__name__)

        @requires("read")
        def sync_page(self, request: Request) -> Response:
            return PlainTextResponse(type(self).__name__)

    site = Site()
    routes = [Route("/optional/a", site.page), Route("/optional/b", site.sync_page)]
    client = TestClient(app_of(*routes))
    for path in ("/optional/a", "/optional/b"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer(scope="read")).text == "Site"


def test_a_stream_is_guarded_before_its_first_line() -> None:
    started: list[str] = []

    async def lines() -> Any:
        started.append("lines")
        yield f"{subject()} "
        yield subject()

    @requires("read")
    async def stream(request: Request) -> Response:
        return StreamingResponse(lines())

    client = TestClient(app_of(Route("/optional/stream", stream)))
    assert client.get("/optional/stream").status_code == 401
    assert started == []
    good = client.get("/optional/stream", headers=bearer(scope="read"))
    assert good.text == "alice alice"


async def async_nothing() -> None:
    """Take no request."""


class Page(HTTPEndpoint):
    """A class that takes a request, as it were."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        super().__init__(request.scope, receive, send)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: requires(endpoint),  # type: ignore[arg-type]
        lambda: requires("read write"),
        lambda: requires(("read", "write")),  # type: ignore[arg-type]
        lambda: requires(acr=GOLD),
        lambda: requires(amr="otp"),
        lambda: requires(max_age=-1),
        lambda: requires(max_age="300"),  # type: ignore[arg-type]
        lambda: requires("read")(lambda: None),
        lambda: requires("read")(lambda connection: None),
        lambda: requires("read")(lambda *args, **kwargs: None),
        lambda: requires("read")(async_nothing),
        lambda: requires("read")(Page),
        lambda: requires()(HTTPEndpoint),
    ],
)
def test_a_guard_that_could_not_work_is_an_error_at_once(
    wrong: Callable[[], Any],
) -> None:
    """The first: ``@requires`` without parentheses.  A class is called with a scope,
    and a function without a request with nothing that tells whose call it is."""
    with pytest.raises(ValueError, match=r"scopes|acr|amr|max_age|requires\(\)"):
        wrong()


def test_what_is_guarded_takes_a_connection_of_either_kind() -> None:
    """What it is called with decides, not how the parameter is annotated."""

    @requires("read")
    def view(request: HTTPConnection) -> str:
        return str(request.scope["type"])

    token = auth_with().authenticate(mint_token(scope="read"))
    scope = {"type": "http", "headers": []}
    with pytest.raises(NoCredentials):
        view(HTTPConnection(scope))
    assert view(HTTPConnection({**scope, KEY: token})) == "http"


@pytest.mark.parametrize("view", [endpoint, sync_endpoint])
def test_an_endpoint_is_called_by_a_test_with_a_token_of_its_making(
    view: Callable[..., Any],
) -> None:
    token = auth_with().authenticate(mint_token(scope="read"))

    def call(guard: Callable[..., Any], **scope: Any) -> list[int]:
        request = Request({"type": "http", "headers": [], **scope})
        guarded, statuses = guard(view), []
        for args, kwargs in (((request,), {}), ((), {"request": request})):
            answer = guarded(*args, **kwargs)
            if asyncio.iscoroutine(answer):
                answer = asyncio.run(answer)
            statuses.append(answer.status_code)
        return statuses

    assert call(requires("read"), **{KEY: token}) == [200, 200]
    with pytest.raises(StepUpRequired):
        call(requires("read", max_age=5), **{KEY: token})
    with pytest.raises(NoCredentials):
        call(requires())
    with pytest.raises(NoCredentials):
        call(requires(), **{KEY: None})


def test_a_call_without_a_request_is_one_of_nobody() -> None:
    """Whatever the context of the thread says."""
    set_current_token(auth_with().authenticate(mint_token()))
    with pytest.raises(NoCredentials):
        requires()(sync_endpoint)()  # type: ignore[call-arg]
    with pytest.raises(NoCredentials):
        requires()(sync_endpoint)("a request")  # type: ignore[arg-type]


def test_the_wall_clock_is_the_default() -> None:
    """A login of 1970 is old by it."""
    client = TestClient(app_of(Route("/", requires(max_age=300)(endpoint))))
    response = client.get("/", headers=bearer(auth_time=300))
    assert challenges(response) == [f'{STEP_UP}, max_age="300"']


# Starlette's own


def test_starlettes_own_guard_and_user_still_work_beside_ours() -> None:
    """F-1: `request.user`, `request.auth.scopes`, and its `requires`."""

    @starlettes_requires("read")
    async def theirs(request: Request) -> Response:
        return PlainTextResponse(request.user.display_name)

    @requires("write")
    @starlettes_requires("read")
    async def both(request: Request) -> Response:
        return PlainTextResponse(" ".join(sorted(request.auth.scopes)))

    async def who(request: Request) -> Response:
        user = request.user
        return PlainTextResponse(f"{user.is_authenticated} {user.identity}")

    routes = [
        Route("/optional/theirs", theirs),
        Route("/optional/both", both),
        Route("/optional/who", who),
    ]
    client = TestClient(app_of(*routes))
    assert client.get("/optional/theirs").status_code == 403
    assert client.get("/optional/theirs", headers=bearer(scope="read")).text == "alice"
    for scope, status in (("write", 403), ("read", 403), ("read write", 200)):
        response = client.get("/optional/both", headers=bearer(scope=scope))
        assert response.status_code == status
    assert response.text == "authenticated read write"
    assert client.get("/optional/who").text == "False "
    assert client.get("/optional/who", headers=bearer()).text == "True alice"


def test_starlettes_guard_for_any_user_lets_a_good_token_in() -> None:
    """As with Starlette's own backends, `auth.scopes` contains "authenticated"."""

    @starlettes_requires("authenticated")
    async def anyone(request: Request) -> Response:
        return PlainTextResponse(request.user.display_name)

    client = TestClient(app_of(Route("/optional/anyone", anyone)))
    assert client.get("/optional/anyone").status_code == 403
    assert client.get("/optional/anyone", headers=bearer()).text == "alice"


def test_an_access_log_outside_sees_the_user() -> None:
    """Starlette's own middleware writes into the scope that it was given as well."""
    seen: list[tuple[str, bool]] = []

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        seen.append((scope["user"].display_name, scope["user"].is_authenticated))

    async def page(request: Request) -> Response:
        return PlainTextResponse("")

    app = app_of(Route("/optional/page", page))
    client = TestClient(logged)
    client.get("/optional/page", headers=bearer())
    client.get("/optional/page")
    assert seen == [("alice", True), ("", False)]


def test_the_token_is_the_cores() -> None:
    assert current_token is jwt_middleware.current_token


# WebSockets


def without_denial(app: ASGIApp) -> ASGIApp:
    """A server that cannot answer a handshake with a response."""

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        kept = {name: value for name, value in scope.items() if name != "extensions"}
        await app(kept, receive, send)

    return plain


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("prefix", ["", "/optional", "/public"])
def test_a_websocket_is_refused_before_it_is_accepted(
    client: TestClient, prefix: str, path: str
) -> None:
    headers = bearer(**GOOD) if prefix == "/public" else {}
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(f"{prefix}/ws/{path}", headers=headers),
    ):
        pass
    denial = refused.value
    assert denial.status_code == 401
    assert challenges(denial) == ['Bearer realm="api"']
    assert denial.headers["cache-control"] == "no-store"
    assert denial.json() == {"error_description": "An access token is required."}


@pytest.mark.parametrize(("path", "claims", "status", "challenge"), CASES, ids=str)
def test_a_websocket_is_asked_for_what_a_request_is(
    client: TestClient,
    path: str,
    claims: dict[str, Any],
    status: int,
    challenge: str | None,
) -> None:
    url, headers = f"/optional/ws/{path}", bearer(**claims)
    if challenge is None:
        with client.websocket_connect(url, headers=headers) as websocket:
            assert websocket.receive_text() == "alice"
        return
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(url, headers=headers),
    ):
        pass
    assert refused.value.status_code == status
    assert challenges(refused.value) == [challenge]


@pytest.mark.parametrize("path", GUARDED)
def test_a_server_that_cannot_answer_closes_it_before_it_is_accepted(path: str) -> None:
    client = TestClient(without_denial(app_of(*guarded_routes())))
    for prefix in ("", "/optional", "/public"):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect(f"{prefix}/ws/{path}"),
        ):
            pass
        assert refused.value.code == 1008
        assert not isinstance(refused.value, WebSocketDenialResponse)


@pytest.mark.parametrize("path", GUARDED)
def test_a_handshake_is_received_before_it_is_refused(path: str) -> None:
    """ASGI: an application waits for ``websocket.connect``; some servers insist."""
    client = TestClient(StrictASGI(without_denial(app_of(*guarded_routes()))))
    for prefix in ("", "/optional", "/public"):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect(f"{prefix}/ws/{path}"),
        ):
            pass
        assert refused.value.code == 1008


def websocket_app(error: AuthError) -> Starlette:
    """Raises *error* at different moments of a WebSocket."""

    async def before(websocket: WebSocket) -> None:
        raise error

    async def received(websocket: WebSocket) -> None:
        await websocket.receive()
        raise error

    async def after(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.receive_text()
        raise error

    async def closed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000)
        raise error

    class Guarded(WebSocketEndpoint):
        @requires("admin")
        async def on_connect(self, websocket: WebSocket) -> None:
            await websocket.accept()

    moments = (before, received, after, closed)
    routes = [WebSocketRoute(f"/{moment.__name__}", moment) for moment in moments]
    inner = Mount("/inner", routes=list(routes))
    return app_of(*routes, inner, WebSocketRoute("/class", Guarded))


@pytest.mark.parametrize("error", SOME_REFUSALS, ids=named)
@pytest.mark.parametrize("path", ["/before", "/received", "/inner/before"])
def test_a_refusal_before_it_is_accepted_is_a_response(
    path: str, error: AuthError
) -> None:
    app = websocket_app(error)
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        TestClient(app).websocket_connect(path, headers=bearer()),
    ):
        pass
    assert refused.value.status_code == error.status
    assert refused.value.json()["error_description"] == error.description
    assert "leaked" not in f"{refused.value.headers}{refused.value.text}"
    with (
        pytest.raises(WebSocketDisconnect) as closed,
        TestClient(without_denial(app)).websocket_connect(path, headers=bearer()),
    ):
        pass
    assert (closed.value.code, closed.value.reason) == (1008, "")


@pytest.mark.parametrize("path", ["/after", "/inner/after"])
@pytest.mark.parametrize("wrap", [lambda app: app, without_denial])
def test_a_refusal_after_it_was_accepted_closes_it(
    path: str,
    wrap: Callable[[ASGIApp], ASGIApp],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RFC 6455 §7.4.1: 1008, against our policy; and why is told to the log alone."""
    client = TestClient(wrap(websocket_app(TokenRevoked("the message"))))
    with (
        caplog.at_level(logging.INFO, "jwt_middleware"),
        client.websocket_connect(path, headers=bearer()) as websocket,
    ):
        assert websocket.receive_text() == "hello"
        websocket.send_text("go on")
        assert websocket.receive() == {
            "type": "websocket.close",
            "code": 1008,
            "reason": "",
        }
    assert ": revoked: the message" in caplog.text


def test_a_refusal_after_it_was_closed_says_nothing_more() -> None:
    client = TestClient(websocket_app(NoCredentials()))
    with client.websocket_connect("/closed", headers=bearer()) as websocket:
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
        assert closed.value.code == 4000


def test_a_class_of_a_websocket_is_guarded_where_it_connects() -> None:
    client = TestClient(websocket_app(NoCredentials()))
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/class", headers=bearer()),
    ):
        pass
    assert refused.value.status_code == 403
    with client.websocket_connect("/class", headers=bearer(scope="admin")):
        pass


# Sessions in cookies


def login_app(wall: Clock) -> Starlette:
    issuer, cookies, auth = login_site(wall)

    async def login(request: Request) -> Response:
        cookies.ensure_own_page(from_request(request))
        pair = await issuer.aissue(request.query_params["name"], scope=("read",))
        return set_cookies(PlainTextResponse("welcome"), cookies.write(pair))

    async def refresh(request: Request) -> Response:
        pair = await cookies.arefresh(from_request(request))
        return set_cookies(PlainTextResponse("again"), cookies.write(pair))

    def end(request: Request) -> Response:
        cookies.end(from_request(request))
        return set_cookies(PlainTextResponse("goodbye"), cookies.clear())

    guards = {
        "/me": requires("read"),
        "/pay": requires("read", max_age=900, now=wall),
    }
    return app_of(
        Route("/login", login, methods=["POST"]),
        Route("/session/refresh", refresh, methods=["POST"]),
        Route("/session/end", end, methods=["POST"]),
        *(
            Route(path, guard(endpoint), methods=["GET", "POST"])
            for path, guard in guards.items()
        ),
        auth=auth,
    )


def site(app: ASGIApp) -> TestClient:
    """A browser of sorts: it sends cookies that are Secure by https only."""
    return TestClient(app, base_url="https://testserver")


def test_a_session_from_login_to_end() -> None:
    wall = Clock(NOW)
    client = site(login_app(wall))
    follow_a_session(client, wall)


def follow_a_session(client: TestClient, wall: Clock) -> None:
    """Log in, refresh, step up, and end; each framework goes the same way."""
    assert client.get("/me").status_code == 401
    login = client.post("/login?name=alice")
    lines = login.headers.get_list("set-cookie")
    names = [line.partition("=")[0] for line in lines]
    assert names == ["__Host-access", "__Secure-refresh"]
    assert login.headers.get_list("cache-control") == ["no-store"]
    assert client.get("/me").text.strip('"') == "alice"
    first = client.cookies["__Secure-refresh"]
    wall.now += 700
    (expired,) = challenges(client.get("/me"))
    assert expired.endswith('error_description="The access token expired."')
    assert client.post("/session/refresh").status_code == 200
    assert client.cookies["__Secure-refresh"] != first
    assert client.get("/me").text.strip('"') == "alice"
    assert client.post("/pay").status_code == 200
    access = client.cookies["__Host-access"]
    wall.now += 300
    assert challenges(client.post("/pay")) == [f'{STEP_UP}, max_age="900"']
    ended = client.post("/session/end")
    assert ended.headers.get_list("set-cookie") == [
        "__Host-access=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict",
        "__Secure-refresh=; Path=/session; Max-Age=0; Secure; HttpOnly; "
        "SameSite=Strict",
    ]
    assert dict(client.cookies) == {}
    assert client.get("/me").status_code == 401
    copy = client.get("/me", headers={"Authorization": f"Bearer {access}"})
    assert challenges(copy)[0].endswith('"The access token was revoked."')
    again = client.post("/session/refresh")
    assert (again.status_code, challenges(again)) == (401, ['Bearer realm="api"'])
    for value in (first, "forged"):
        cookie = {"Cookie": f"__Secure-refresh={value}"}
        refused = client.post("/session/refresh", headers=cookie)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("path", ["/login?name=mallory", "/session/refresh", "/pay"])
def test_another_sites_page_logs_nobody_in_and_refreshes_nothing(path: str) -> None:
    """Login CSRF: the user would go on as somebody else."""
    client = site(login_app(Clock(NOW)))
    client.post("/login?name=alice")
    response = client.post(path, headers=EVIL)
    assert response.status_code == 403
    assert response.json()["error"] == "cross_origin"
    assert response.headers.get_list("set-cookie") == []
    assert client.get("/me").text == "alice"
    assert client.post("/session/refresh").status_code == 200


def test_cookies_are_added_to_those_that_are_there_and_no_cache_keeps_them() -> None:
    response = Response("ok", headers={"Cache-Control": "public, max-age=600"})
    response.set_cookie("theme", "dark", samesite=None)
    assert set_cookies(response, iter(("a=1", "b=2"))) is response
    lines = response.headers.getlist("set-cookie")
    assert lines == ["theme=dark; Path=/", "a=1", "b=2"]
    assert response.headers.getlist("cache-control") == ["no-store"]


def test_a_request_and_a_websocket_are_read_as_the_lock_reads_them() -> None:
    seen: list[Any] = []

    async def view(request: Request) -> Response:
        seen.append(from_request(request))
        return Response()

    async def socket(websocket: WebSocket) -> None:
        seen.append(from_request(websocket))
        await websocket.accept()

    app = app_of(Route("/optional/{a}", view, methods=["PUT"]))
    app.router.routes.append(WebSocketRoute("/optional/{a}", socket))
    client = site(app)
    client.put("/optional/m\u00fcnchen?a=b", headers={"X-A": "1"})
    with client.websocket_connect("wss://testserver/optional/ws"):
        pass
    read, opened = seen
    assert (read.method, read.scheme) == ("PUT", "https")
    assert read.path == "/optional/m\u00fcnchen"
    assert [list(read.header(name)) for name in ("x-a", "x-b")] == [["1"], []]
    assert (opened.method, opened.scheme, opened.is_websocket) == ("GET", "wss", True)


def test_a_page_that_wants_a_newer_login_is_told_so() -> None:
    """The login may know its user already, and send him back in a circle."""
    issuer, _, auth = login_site(clock, login_path="/login")
    guard = requires(max_age=5, now=clock)
    client = TestClient(app_of(Route("/pay", guard(endpoint)), auth=auth))
    old = issuer.issue("alice", auth_time=NOW - 6).access_token
    cookie = {"Cookie": f"__Host-access={old}"}
    navigating = {**cookie, "Sec-Fetch-Mode": "navigate"}
    page = client.get("/pay", headers=navigating, follow_redirects=False)
    assert (page.status_code, page.headers.get("location")) == (401, None)
    assert page.headers["cache-control"] == "no-store"
    assert "set-cookie" not in page.headers
    assert client.get("/pay", headers=cookie).status_code == 401


def test_a_session_goes_on_inside_a_request_that_a_guard_lets_in_only() -> None:
    """A refusal uses up no refresh token: the next request still has it."""
    wall = Clock(NOW)
    issuer, cookies, auth = login_site(wall, reuse_leeway=10, transparent=True)
    routes = [
        Route("/read", requires("read")(endpoint)),
        Route("/admin", requires("admin")(endpoint)),
    ]
    client = site(app_of(*routes, auth=auth))
    sent = as_cookies(cookies, issuer)
    wall.now += 700
    refused = client.get("/admin", headers={"Cookie": sent})
    assert refused.status_code == 403
    assert refused.headers.get_list("set-cookie") == []
    wall.now += 60
    passed = client.get("/read", headers={"Cookie": sent})
    assert (passed.status_code, passed.text) == (200, "alice")
    assert len(passed.headers.get_list("set-cookie")) == 2


def as_cookies(cookies: SessionCookies, issuer: TokenIssuer) -> str:
    lines = cookies.write(issuer.issue("alice", scope=("read",)))
    return "; ".join(line.partition(";")[0] for line in lines)


# A real server

SERVED_KEY = Key.generate("HS256", kid="served")
SERVED = TokenIssuer("https://issuer.example", audience="api", key=SERVED_KEY)
SERVER = ("uvicorn", "tests.served_frameworks:app", "--fd={fd}", "--http=h11")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    environment = {"SERVED_KEY": json.dumps(SERVED_KEY.to_jwk(private=True))}
    with serving(*SERVER, environment=environment) as opened:
        yield opened


def served_bearer(*scope: str, **claims: Any) -> dict[str, str]:
    token = SERVED.issue("alice", scope=scope, **claims).access_token
    return {"Authorization": f"Bearer {token}"}


both_frameworks = pytest.mark.parametrize("mount", ["", "/fastapi"])


@both_frameworks
def test_a_served_endpoint_is_guarded(port: int, mount: str) -> None:
    path = f"{mount}/optional/read"
    status, headers, body = fetch(port, path)
    lines = headers.get_all("WWW-Authenticate")
    assert (status, lines) == (401, ['Bearer realm="api"', 'Token realm="api"'])
    assert json.loads(body) == {"error_description": "An access token is required."}
    assert fetch(port, path, headers=served_bearer("write"))[0] == 403
    status, _, body = fetch(port, path, headers=served_bearer("read"))
    assert (status, body.strip('"')) == (200, "alice")


@both_frameworks
def test_a_served_websocket_is_answered_like_a_request(port: int, mount: str) -> None:
    url = f"ws://127.0.0.1:{port}{mount}/optional/echo"
    old = served_bearer("read", auth_time=1)
    for headers, status, challenge in (
        ({}, 401, 'Bearer realm="api"'),
        (served_bearer("write"), 403, f'{LACKING}, scope="read"'),
        (old, 401, f'{STEP_UP}, max_age="300"'),
    ):
        with pytest.raises(InvalidStatus) as refused:
            connect(url, additional_headers=headers)
        response = refused.value.response
        assert response.status_code == status
        assert response.headers.get_all("WWW-Authenticate")[0] == challenge
        assert response.headers["Cache-Control"] == "no-store"


@both_frameworks
def test_a_served_websocket_is_closed_by_a_refusal(port: int, mount: str) -> None:
    url = f"ws://127.0.0.1:{port}{mount}/optional/echo"
    with connect(url, additional_headers=served_bearer("read")) as websocket:
        websocket.send("hello")
        assert websocket.recv() == "alice: hello"
        websocket.send("refuse")
        with pytest.raises(ConnectionClosed):
            websocket.recv()
    assert (websocket.close_code, websocket.close_reason) == (1008, "")


class Late(WebSocketEndpoint):
    encoding = "text"

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        raise InvalidToken("late")


async def late(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()
    raise InvalidToken("late")


@pytest.mark.parametrize("path", ["/class", "/sub/function"])
def test_a_websocket_that_was_accepted_is_closed_whoever_handles_it(path: str) -> None:
    """Starlette gives the handler another object, which knows of no handshake."""
    sub = Starlette(routes=[WebSocketRoute("/function", late)])
    app = app_of(WebSocketRoute("/class", Late), Mount("/sub", sub))
    with TestClient(app).websocket_connect(path, headers=bearer()) as websocket:
        websocket.send_text("now")
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert closed.value.code == 1008


def test_a_refusal_inside_is_as_strict_as_one_of_the_lock() -> None:
    app = app_of(Route("/optional/a", requires()(endpoint)))

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await app(dict(scope), receive, send)  # Starlette writes into its scope

    assert TestClient(StrictASGI(copying)).get("/optional/a").status_code == 401


class Called:
    async def __call__(self, request: Any) -> Response:
        return PlainTextResponse("in")


def test_an_object_that_is_called_as_a_coroutine_is_awaited() -> None:
    app = app_of(Route("/a", requires()(Called())))
    assert TestClient(app).get("/a", headers=bearer()).text == "in"


def test_below_a_mount_a_login_does_not_send_to_itself() -> None:
    """The path is that which the lock sees."""

    @requires()
    async def login(request: Any) -> Response:
        raise NotImplementedError

    store = MemoryStore(lambda: float(NOW))
    issuer = TokenIssuer(
        "https://a.example", audience="a", key=Key.generate(), store=store
    )
    cookies = SessionCookies(issuer, login_path="/auth/login")
    auth = Authenticator(
        issuer.trusted(),
        sources=(cookies,),
        rules=(Rule("/auth/login", public=True),),
        store=store,
    )
    app = Starlette(routes=[Mount("/auth", routes=[Route("/login", login)])])
    init_app(app, auth)
    answer = TestClient(app).get(
        "/auth/login",
        headers={"Sec-Fetch-Mode": "navigate"},
        follow_redirects=False,
    )
    assert answer.status_code == 401


def test_a_handler_that_stands_alone_closes_what_it_does_not_know() -> None:
    """It cannot tell whether the handshake was taken, and does not wait for it."""
    auth = auth_with()
    app = Starlette(
        routes=[WebSocketRoute("/class", Late)],
        middleware=[Middleware(JWTMiddleware, auth=auth)],
        exception_handlers={AuthError: refusing(auth)},
    )
    with TestClient(app).websocket_connect("/class", headers=bearer()) as websocket:
        websocket.send_text("now")
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
    assert closed.value.code == 1008


def test_a_token_that_is_needed_is_a_token_or_a_refusal() -> None:
    """`require_token`, which has a type that ``request.user`` has not."""

    async def view(request: Request) -> Response:
        return PlainTextResponse(str(require_token(request).subject))

    client = TestClient(app_of(Route("/optional/x", view)))
    assert client.get("/optional/x", headers=bearer()).text == "alice"
    assert client.get("/optional/x").status_code == 401
