"""The courtesy to FastAPI: dependencies, their scopes, WebSockets, documentation."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    Request,
    Response,
    Security,
    WebSocket,
)
from fastapi.requests import HTTPConnection
from fastapi.security import OAuth2AuthorizationCodeBearer, SecurityScopes
from fastapi.testclient import TestClient
from flask import Flask
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.endpoints import HTTPEndpoint
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

import jwt_middleware
from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    MemoryStore,
    Rule,
    Token,
    starlette,
)
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.current import set_current_token
from jwt_middleware.errors import NoCredentials, TokenRevoked, Unavailable
from jwt_middleware.fastapi import (
    _check,
    current_token,
    from_request,
    init_app,
    optional_token,
    refusing,
    requires,
    set_cookies,
)
from jwt_middleware.testing import Clock
from jwt_middleware.token import KEY

from .conftest import NOW, authenticator, clock, mint_token
from .test_challenge import REFUSALS, named
from .test_flask import EVIL, LACKING, ODD, PLANTS
from .test_requirement import GOLD, SILVER, SOME_REFUSALS, STEP_UP, login_site
from .test_starlette import (
    CASES,
    GOOD,
    bearer,
    challenges,
    follow_a_session,
    planting,
    site,
    without_denial,
)

RULES = (Rule("/optional/*", optional=True), Rule("/public/*", public=True))
DOCUMENTATION = (Rule("/docs", public=True), Rule("/openapi.json", public=True))
GUARDS: dict[str, Any] = {
    "any": Depends(requires()),
    "read": Depends(requires("read")),
    "both": Depends(requires("read", "write")),
    "gold": Depends(requires("pay", acr=(GOLD, SILVER), max_age=300, now=clock)),
    "mfa": Depends(requires(amr=("otp", "pwd"), now=clock)),
    "recent": Depends(requires(max_age=0, now=lambda: NOW + 60)),
    "current": Depends(current_token),
    "security": Security(current_token, scopes=["read"]),
}
GUARDED = [*GUARDS]


def auth_with(**options: Any) -> Authenticator:
    return authenticator(**{"store": MemoryStore(clock), "rules": RULES, **options})


def sync_endpoint(request: Request) -> str:
    token = request.scope.get(KEY)
    return "nobody" if token is None else str(token.subject)


async def endpoint(request: Request) -> str:
    return sync_endpoint(request)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(websocket.user.display_name)
    await websocket.close()


def guard_all(app: FastAPI) -> FastAPI:
    """Each guard on a path where a token is asked for, may be there, or is not read."""
    for name, guard in {"open": None, **GUARDS}.items():
        needed = [] if guard is None else [guard]
        for prefix in ("", "/optional", "/public"):
            for kind, view in (("", endpoint), ("/sync", sync_endpoint)):
                app.add_api_route(
                    f"{prefix}{kind}/{name}",
                    view,
                    methods=["GET", "HEAD"],
                    dependencies=needed,
                    include_in_schema=False,
                )
            app.add_api_websocket_route(
                f"{prefix}/ws/{name}", echo, dependencies=needed
            )
    return app


def locked(app: FastAPI, auth: Authenticator | None = None) -> FastAPI:
    init_app(app, auth or auth_with())
    return app


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(locked(guard_all(FastAPI()))) as opened:
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
def test_a_token_that_the_lock_did_not_read_opens_no_guard(
    client: TestClient, path: str
) -> None:
    """A public path reads no token, so it attaches none."""
    response = client.get(f"/public/{path}", headers=bearer(**GOOD))
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


@pytest.mark.parametrize(
    ("path", "claims", "status", "challenge"),
    [
        *CASES,
        ("current", {}, 200, None),
        ("security", {"scope": "read"}, 200, None),
        ("security", {"scope": "reader"}, 403, f'{LACKING}, scope="read"'),
    ],
    ids=str,
)
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
            assert response.json() == "alice"
            continue
        assert challenges(response) == [challenge]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-type"] == "application/json"
        assert response.headers["content-length"] == str(len(response.content))
        assert set(response.json()) == {"error", "error_description"}


def test_head_gets_the_headers_of_get_and_no_body(client: TestClient) -> None:
    """RFC 9110 §9.3.2."""
    get, head = (client.request(m, "/optional/read") for m in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (401, b"")
    assert head.headers.multi_items() == get.headers.multi_items()


def test_each_source_has_a_challenge_of_its_own_line() -> None:
    """RFC 9110 §11.6.1; a dict of headers would keep one of them."""
    sources = (BearerHeader(), BearerHeader("X-Token", scheme="Token"))
    client = TestClient(locked(guard_all(FastAPI()), auth_with(sources=sources)))
    response = client.get("/optional/any")
    assert challenges(response) == ['Bearer realm="api"', 'Token realm="api"']


# What a dependency gives


Current = Annotated[Token, Depends(current_token)]
Reader = Annotated[Token, Security(current_token, scopes=["read"])]
Payer = Annotated[Token, Depends(requires("pay", max_age=300, now=clock))]


def test_an_endpoint_gets_the_token_that_was_verified() -> None:
    seen: list[Token] = []
    app = locked(FastAPI())

    @app.get("/current")
    def current(token: Current) -> None:
        seen.append(token)

    @app.get("/reader")
    async def reader(token: Reader) -> None:
        seen.append(token)

    @app.get("/payer")
    async def payer(token: Payer) -> None:
        seen.append(token)

    client = TestClient(app)
    headers = bearer(scope="read pay", auth_time=NOW)
    for path in ("/current", "/reader", "/payer"):
        assert client.get(path, headers=headers).status_code == 200
    assert [type(token) for token in seen] == [Token, Token, Token]
    assert [token.subject for token in seen] == ["alice"] * 3


def user(token: Reader) -> str:
    return str(token.subject)


def editor(name: Annotated[str, Security(user, scopes=["edit"])]) -> str:
    return name


def test_the_scopes_of_nested_dependencies_add_up() -> None:
    app = locked(FastAPI())

    @app.get("/optional/edit")
    def edit(name: Annotated[str, Security(editor, scopes=["admin"])]) -> str:
        return name

    client = TestClient(app)
    assert client.get("/optional/edit").status_code == 401
    for scope in ("", "read", "edit admin", "read edit", "read admin"):
        response = client.get("/optional/edit", headers=bearer(scope=scope))
        assert response.status_code == 403
        (challenge,) = challenges(response)
        told = challenge.rpartition('scope="')[2].rstrip('"').split(" ")
        assert sorted(told) == ["admin", "edit", "read"]
    response = client.get("/optional/edit", headers=bearer(scope="admin read edit"))
    assert response.json() == "alice"


def test_a_guard_takes_the_scopes_around_it_too() -> None:
    app = locked(FastAPI())

    @app.get("/x", dependencies=[Security(requires("read"), scopes=["admin"])])
    def view() -> str:
        return "in"

    client = TestClient(app)
    for scope, status in (("read", 403), ("admin", 403), ("admin read", 200)):
        assert client.get("/x", headers=bearer(scope=scope)).status_code == status


@pytest.mark.parametrize(
    "needed",
    [
        [Depends(requires("read")), Depends(requires("admin"))],
        [Depends(requires("admin")), Depends(requires("read"))],
        [Depends(current_token), Security(current_token, scopes=["admin"])],
        [Security(current_token, scopes=["admin"]), Depends(current_token)],
        [Security(user), Security(user, scopes=["admin"])],
        [Security(user, scopes=["admin"]), Depends(user)],
        [Depends(requires()), Depends(requires("admin")), Depends(requires())],
    ],
)
def test_one_guard_that_was_passed_does_not_stand_for_another(
    needed: list[Any],
) -> None:
    """FastAPI keeps what a dependency returned for the rest of the request."""
    app = locked(FastAPI())
    app.add_api_route("/x", endpoint, dependencies=needed)
    client = TestClient(app)
    assert client.get("/x", headers=bearer(scope="read")).status_code == 403
    assert client.get("/x", headers=bearer(scope="read admin")).status_code == 200


def test_a_router_is_guarded_with_all_that_is_in_it() -> None:
    """Also its WebSockets, and the routers that are put into it."""
    inner, router = APIRouter(), APIRouter(dependencies=[Depends(requires("read"))])
    inner.add_api_route("/view", endpoint)
    router.add_api_route("/view", sync_endpoint, methods=["GET", "POST"])
    router.add_api_websocket_route("/ws", echo)
    router.include_router(inner, prefix="/inner")
    app = locked(FastAPI())
    app.include_router(router, prefix="/optional")
    app.add_api_route("/optional/beside", endpoint)
    client = TestClient(app)
    for path in ("/optional/view", "/optional/inner/view"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
        assert client.get(path, headers=bearer(scope="read")).json() == "alice"
    assert client.post("/optional/view").status_code == 401
    assert client.get("/optional/beside").json() == "nobody"
    assert denial(client, "/optional/ws").status_code == 401
    with client.websocket_connect("/optional/ws", headers=bearer(scope="read")) as ws:
        assert ws.receive_text() == "alice"


def test_a_whole_app_is_guarded() -> None:
    app = guard_all(FastAPI(dependencies=[Depends(requires("admin"))]))
    client = TestClient(locked(app))
    assert client.get("/optional/open").status_code == 401
    assert client.get("/optional/open", headers=bearer()).status_code == 403
    good = bearer(scope="admin")
    assert client.get("/optional/open", headers=good).json() == "alice"
    assert client.get("/optional/read", headers=good).status_code == 403


def test_a_request_is_refused_before_it_is_told_what_it_lacks() -> None:
    """Which parameters there are is for those who may call."""
    app = locked(FastAPI())

    @app.post("/optional/x/{number}", dependencies=[Depends(requires("read"))])
    def view(number: int, name: str, body: dict[str, int]) -> str:
        raise AssertionError("the endpoint was called")

    client = TestClient(app)
    for headers, status in ({}, 401), (bearer(), 403), (bearer(scope="read"), 422):
        response = client.post("/optional/x/y", json={}, headers=headers)
        assert response.status_code == status


def test_what_was_refused_has_no_background_task() -> None:
    done: list[str] = []
    app = locked(FastAPI())

    def later(tasks: BackgroundTasks) -> None:
        tasks.add_task(done.append, "task")

    app.add_api_route(
        "/optional/x",
        endpoint,
        dependencies=[Depends(later), Depends(requires("read"))],
    )
    client = TestClient(app)
    assert client.get("/optional/x").status_code == 401
    assert done == []
    assert client.get("/optional/x", headers=bearer(scope="read")).status_code == 200
    assert done == ["task"]


def test_a_stream_is_guarded_before_its_first_line() -> None:
    started: list[str] = []
    app = locked(FastAPI())

    @app.get("/optional/lines", dependencies=[Depends(requires("read"))])
    async def lines() -> Any:
        started.append("lines")
        yield {"line": 1}

    @app.get("/optional/decorated")
    @starlette.requires("read")
    def decorated(request: Request) -> Any:
        started.append("decorated")
        yield {"line": 1}

    client = TestClient(app)
    for path in ("/optional/lines", "/optional/decorated"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
    assert started == []
    good = client.get("/optional/lines", headers=bearer(scope="read"))
    assert (good.status_code, started) == (200, ["lines"])


def test_the_decorator_of_starlette_works_here_too() -> None:
    app = locked(FastAPI())

    @app.get("/optional/a")
    @starlette.requires("read")
    async def a(request: Request, q: str = "") -> str:
        return q

    @app.get("/optional/b")
    @starlette.requires("read")
    def b(request: Request, q: str = "") -> str:
        return q

    client = TestClient(app)
    for path in ("/optional/a", "/optional/b"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
        response = client.get(f"{path}?q=1", headers=bearer(scope="read"))
        assert response.json() == "1"


# Ways past the guard


@pytest.mark.parametrize("headers", PLANTS, ids=str)
def test_no_header_plants_a_token(client: TestClient, headers: dict[str, str]) -> None:
    for prefix in ("/optional", "/public"):
        assert client.get(f"{prefix}/any", headers=headers).status_code == 401
        assert client.get(f"{prefix}/open", headers=headers).json() == "nobody"


@pytest.mark.parametrize(
    "query",
    ["token=alice", "connection=x", "security_scopes=x", "scopes=&token=", "now=0"],
)
def test_no_parameter_stands_for_the_token(client: TestClient, query: str) -> None:
    """FastAPI fills the parameters of a dependency from the request."""
    for path in GUARDED:
        for method in ("GET", "HEAD"):
            response = client.request(method, f"/optional/{path}?{query}", json={})
            assert response.status_code == 401


def test_what_a_server_has_in_its_place_is_overwritten() -> None:
    """Also a real token: nobody but the lock says who is asking."""
    token = auth_with().authenticate(mint_token(scope="read"))
    client = TestClient(planting(locked(guard_all(FastAPI())), token))
    for prefix in ("/optional", "/public"):
        for path in ("read", "current", "security"):
            assert client.get(f"{prefix}/{path}").status_code == 401


@pytest.mark.parametrize("planted", ODD, ids=str)
def test_what_is_no_token_is_taken_for_none(planted: object) -> None:
    """Such as claims that another middleware verified, or did not."""
    app = guard_all(FastAPI())
    app.add_exception_handler(AuthError, refusing(auth_with()))
    client = TestClient(planting(app, planted))
    for path in GUARDED:
        assert client.get(f"/{path}").status_code == 401


@pytest.mark.parametrize("path", GUARDED)
def test_without_the_lock_a_guard_lets_nobody_in(path: str) -> None:
    """Not even with a good token: nobody has verified it."""
    app = guard_all(FastAPI())
    bare = TestClient(app)
    with pytest.raises(NoCredentials):
        bare.get(f"/{path}", headers=bearer(**GOOD))
    app = guard_all(FastAPI())
    app.add_exception_handler(AuthError, refusing(auth_with()))
    client = TestClient(app)
    assert client.get(f"/{path}", headers=bearer(**GOOD)).status_code == 401
    assert client.get("/open", headers=bearer(**GOOD)).json() == "nobody"


def test_the_token_of_one_request_is_not_that_of_the_next(client: TestClient) -> None:
    for kind in KINDS:
        first = client.get(f"/optional{kind}/current", headers=bearer())
        assert first.json() == "alice"
        assert client.get(f"/optional{kind}/current").status_code == 401


def test_the_token_is_that_of_the_connection_and_not_of_the_context() -> None:
    """Servers begin a request inside the context of the one before."""
    token = auth_with().authenticate(mint_token(scope="read"))
    asked = SecurityScopes(scopes=["read"])
    set_current_token(token)
    for scope in ({}, {KEY: None}):
        with pytest.raises(NoCredentials):
            asyncio.run(current_token(HTTPConnection({"type": "http", **scope}), asked))
    set_current_token(None)
    connection = HTTPConnection({"type": "http", KEY: token})
    assert asyncio.run(current_token(connection, asked)) is token


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
    ],
)
def test_a_guard_that_could_not_work_is_an_error_at_once(
    wrong: Callable[[], Any],
) -> None:
    """The first: ``@requires`` without parentheses."""
    with pytest.raises(ValueError, match=r"scopes|acr|amr|max_age"):
        wrong()


@pytest.mark.parametrize(
    "guard",
    [requires(), requires("read"), requires(acr=(GOLD,)), requires(max_age=5)],
)
@pytest.mark.parametrize("view", [endpoint, sync_endpoint, HTTPEndpoint])
def test_a_guard_is_no_decorator_and_says_so_at_once(guard: Any, view: Any) -> None:
    """Unlike those of Flask and Starlette.  Above a route it would guard nothing."""
    with pytest.raises(TypeError, match=r"^Depends\(requires.* is not a decorator"):
        guard(view)


@pytest.mark.parametrize("query", ["", "?scopes=read", "?scopes=read&args=&kwargs="])
def test_a_dependency_that_is_not_called_lets_nobody_in(query: str) -> None:
    """``Depends(requires)``, without parentheses."""
    app = locked(FastAPI())
    app.add_api_route("/x", endpoint, dependencies=[Depends(requires)])
    client = TestClient(app, raise_server_exceptions=False)
    for body in ({}, {"acr": ["a"], "amr": [], "max_age": 5}):
        response = client.request("GET", f"/x{query}", json=body, headers=bearer())
        assert response.status_code in (422, 500)


# Refusals that code of an application raises


def refusing_with(error: AuthError) -> FastAPI:
    """An app whose every way of running code of ours raises *error*."""

    async def view() -> None:
        raise error

    def sync_view() -> None:
        raise error

    def yielding() -> Iterator[None]:
        raise error
        yield

    async def never() -> None:
        raise AssertionError("the endpoint was called")

    auth = auth_with()
    app, inner = FastAPI(), FastAPI()
    app.add_api_route("/async", view)
    app.add_api_route("/sync", sync_view)
    app.add_api_route("/dependency", never, dependencies=[Depends(view)])
    app.add_api_route("/sync-dependency", never, dependencies=[Depends(sync_view)])
    app.add_api_route("/yielding", never, dependencies=[Depends(yielding)])
    router = APIRouter(dependencies=[Depends(sync_view)])
    router.add_api_route("/never", never)
    app.include_router(router, prefix="/router")
    inner.add_api_route("/async", view)
    inner.add_exception_handler(AuthError, refusing(auth))
    app.mount("/app", inner)
    return locked(app, auth)


PLACES = (
    *("/async", "/sync", "/dependency", "/sync-dependency", "/yielding"),
    *("/router/never", "/app/async"),
)


@pytest.mark.parametrize(
    ("path", "error"),
    [("/async", error) for error in REFUSALS]
    + [(path, error) for path in PLACES[1:] for error in SOME_REFUSALS],
    ids=lambda value: value if isinstance(value, str) else named(value),
)
def test_a_refusal_of_an_endpoint_is_told_like_one_of_the_lock(
    path: str, error: AuthError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        response = TestClient(refusing_with(error)).get(path, headers=bearer())
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


# WebSockets


def denial(
    client: TestClient, path: str, headers: dict[str, str] | None = None
) -> httpx2.Response:
    """How the handshake is refused."""
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(path, headers=headers or {}),
    ):
        pass
    return refused.value


@pytest.mark.parametrize("path", GUARDED)
def test_a_websocket_is_refused_before_it_is_accepted(
    client: TestClient, path: str
) -> None:
    for prefix, headers in (("", {}), ("/optional", {}), ("/public", bearer(**GOOD))):
        refused = denial(client, f"{prefix}/ws/{path}", headers)
        assert refused.status_code == 401
        assert challenges(refused) == ['Bearer realm="api"']
        assert refused.headers["cache-control"] == "no-store"


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
    refused = denial(client, url, headers)
    assert (refused.status_code, challenges(refused)) == (status, [challenge])


@pytest.mark.parametrize("path", GUARDED)
def test_a_server_that_cannot_answer_closes_it_before_it_is_accepted(path: str) -> None:
    client = TestClient(without_denial(locked(guard_all(FastAPI()))))
    for prefix in ("", "/optional", "/public"):
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect(f"{prefix}/ws/{path}"),
        ):
            pass
        assert (refused.value.code, refused.value.reason) == (1008, "")


def test_a_refusal_after_a_websocket_was_accepted_closes_it() -> None:
    app = locked(FastAPI())

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, token: Current) -> None:
        await websocket.accept()
        await websocket.send_text(str(token.subject))
        await websocket.receive_text()
        raise TokenRevoked("the message of the log")

    for wrapped in (app, without_denial(app)):
        client = TestClient(wrapped)
        with client.websocket_connect("/ws", headers=bearer()) as websocket:
            assert websocket.receive_text() == "alice"
            websocket.send_text("go on")
            with pytest.raises(WebSocketDisconnect) as closed:
                websocket.receive_text()
        assert (closed.value.code, closed.value.reason) == (1008, "")


# Documentation


def test_the_documentation_shows_a_padlock_and_its_scopes() -> None:
    app = FastAPI()

    @app.get("/current")
    def current(token: Current) -> None: ...

    @app.get("/reader")
    def reader(token: Reader) -> None: ...

    @app.get("/payer")
    def payer(token: Payer) -> None: ...

    @app.get("/editor", dependencies=[Security(editor, scopes=["admin"])])
    def edit() -> None: ...

    @app.get("/open")
    def opened() -> None: ...

    described = app.openapi()
    assert described["components"]["securitySchemes"] == {
        "JWT": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    needed = {p: item["get"].get("security") for p, item in described["paths"].items()}
    scopes = needed.pop("/editor")[0]["JWT"]
    assert sorted(scopes) == ["admin", "edit", "read"]
    assert needed == {
        "/current": [{"JWT": []}],
        "/reader": [{"JWT": ["read"]}],
        "/payer": [{"JWT": ["pay"]}],
        "/open": None,
    }


def test_a_guard_adds_no_parameter_to_the_documentation() -> None:
    app = FastAPI()
    app.add_api_route("/x", endpoint, dependencies=[*GUARDS.values()])
    operation = app.openapi()["paths"]["/x"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


def test_the_documentation_is_behind_the_lock_like_the_rest() -> None:
    client = TestClient(locked(FastAPI()))
    for path in ("/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 200


def test_rules_make_the_documentation_public() -> None:
    client = TestClient(locked(FastAPI(), auth_with(rules=DOCUMENTATION)))
    for path in ("/docs", "/openapi.json"):
        assert client.get(path).status_code == 200
    assert client.get("/redoc").status_code == 401


# For those who test


def test_a_token_of_a_tests_making_stands_for_one_that_was_sent() -> None:
    """By `dependency_overrides`, and without the lock; scopes are asked of it still."""
    token = auth_with().authenticate(mint_token(sub="bob", scope="read"))
    app = FastAPI()
    app.add_exception_handler(AuthError, refusing(auth_with()))

    @app.get("/current")
    def current(token: Current) -> str:
        return str(token.subject)

    @app.get("/read")
    def read(token: Annotated[Token, Depends(requires("read"))]) -> str:
        return str(token.subject)

    app.add_api_route("/admin", endpoint, dependencies=[Depends(requires("admin"))])
    app.add_api_route("/pay", endpoint, dependencies=[Depends(requires(max_age=5))])
    client = TestClient(app)
    app.dependency_overrides[current_token] = lambda: token
    assert client.get("/current").json() == "bob"
    assert client.get("/read").json() == "bob"
    assert client.get("/admin").status_code == 403
    assert challenges(client.get("/pay")) == [f'{STEP_UP}, max_age="5"']
    app.dependency_overrides.clear()
    for path in ("/current", "/read", "/admin", "/pay"):
        assert client.get(path).status_code == 401


# Sessions in cookies


def login_app(wall: Clock) -> FastAPI:
    issuer, cookies, auth = login_site(wall)
    app = locked(FastAPI(), auth)

    @app.post("/login")
    async def login(request: Request, name: str) -> Response:
        cookies.ensure_own_page(from_request(request))
        pair = await issuer.aissue(name, scope=("read",))
        return set_cookies(Response("welcome"), cookies.write(pair))

    @app.post("/session/refresh")
    async def refresh(request: Request, response: Response) -> str:
        pair = await cookies.arefresh(from_request(request))
        set_cookies(response, cookies.write(pair))
        return "again"

    @app.post("/session/end")
    def end(request: Request, response: Response) -> str:
        cookies.end(from_request(request))
        set_cookies(response, cookies.clear())
        return "goodbye"

    app.add_api_route("/me", endpoint, dependencies=[Depends(requires("read"))])
    guard = Depends(requires("read", max_age=900, now=wall))
    app.add_api_route("/pay", endpoint, methods=["POST"], dependencies=[guard])
    return app


def test_a_session_from_login_to_end() -> None:
    """Cookies that are set on a response of one's own, and on FastAPI's."""
    wall = Clock(NOW)
    follow_a_session(site(login_app(wall)), wall)


def test_a_refresh_is_kept_by_no_cache() -> None:
    client = site(login_app(Clock(NOW)))
    client.post("/login?name=alice")
    response = client.post("/session/refresh")
    assert len(response.headers.get_list("set-cookie")) == 2
    assert response.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.parametrize("path", ["/login?name=mallory", "/session/refresh", "/pay"])
def test_another_sites_page_logs_nobody_in_and_refreshes_nothing(path: str) -> None:
    """Login CSRF: the user would go on as somebody else."""
    client = site(login_app(Clock(NOW)))
    client.post("/login?name=alice")
    response = client.post(path, headers=EVIL)
    assert (response.status_code, response.json()["error"]) == (403, "cross_origin")
    assert response.headers.get_list("set-cookie") == []
    assert client.get("/me").json() == "alice"
    assert client.post("/session/refresh").status_code == 200


# What would guard nothing


def scoped_parameter(app: FastAPI) -> None:
    @app.get("/optional/x")
    def view(
        token: Annotated[
            Token | None, Security(jwt_middleware.current_token, scopes=["admin"])
        ],
    ) -> None: ...


def scoped_default(app: FastAPI) -> None:
    @app.get("/optional/x")
    def view(
        token: Any = Security(  # noqa: B008
            jwt_middleware.current_token, scopes=["admin"]
        ),
    ) -> None: ...


def of_context(token: Annotated[Any, Depends(jwt_middleware.current_token)]) -> str:
    return str(token)


def scoped_around(app: FastAPI) -> None:
    @app.get("/optional/x")
    def view(name: Annotated[str, Security(of_context, scopes=["admin"])]) -> None: ...


def scoped_route(app: FastAPI) -> None:
    needed = [Security(jwt_middleware.current_token, scopes=["admin"])]
    app.add_api_route("/optional/x", endpoint, dependencies=needed)


def scoped_websocket(app: FastAPI) -> None:
    needed = [Security(jwt_middleware.current_token, scopes=["admin"])]
    app.add_api_websocket_route("/optional/x", echo, dependencies=needed)


def scoped_router(app: FastAPI) -> None:
    needed = [Security(jwt_middleware.current_token, scopes=["admin"])]
    inner, router = APIRouter(dependencies=needed), APIRouter()
    inner.add_api_route("/x", endpoint)
    router.include_router(inner)
    app.include_router(router, prefix="/optional")


def scoped_inclusion(app: FastAPI) -> None:
    router = APIRouter()
    router.add_api_route("/x", endpoint)
    needed = [Security(jwt_middleware.current_token, scopes=["admin"])]
    app.include_router(router, prefix="/optional", dependencies=needed)


def scoped_application(app: FastAPI) -> None:
    needed = Security(jwt_middleware.current_token, scopes=["admin"])
    app.router.dependencies.append(needed)
    app.add_api_route("/optional/x", endpoint)


def scoped_mount(app: FastAPI) -> None:
    inner = FastAPI()
    scoped_route(inner)
    app.mount("/m", inner)


def lettered_scopes(app: FastAPI) -> None:
    needed = [Security(current_token, scopes="admin")]
    app.add_api_route("/optional/x", endpoint, dependencies=needed)


def misplaced_guard(app: FastAPI) -> None:
    @starlette.requires("read")
    @app.get("/optional/x")
    def view(request: Request) -> None: ...


def misplaced_guard_of_a_router(app: FastAPI) -> None:
    router = APIRouter()

    @starlette.requires("read")
    @router.get("/optional/x")
    async def view(request: Request) -> None: ...

    app.include_router(router)


def misplaced_guard_of_a_websocket(app: FastAPI) -> None:
    @starlette.requires("read")
    @app.websocket("/optional/x")
    async def view(websocket: WebSocket) -> None: ...


def scoped_beside_a_name_of_types(app: FastAPI) -> None:
    """FastAPI reads each annotation by itself."""

    def view(token: Any, name: Any = None) -> None: ...

    view.__annotations__ = {
        "token": "Annotated[Any, Security(jwt_middleware.current_token, scopes='ab')]",
        "name": "Unknown",
        "return": "Unknown",
    }
    app.add_api_route("/optional/x", view, response_model=None)


def unreadable_dependency(app: FastAPI) -> None:
    def view(token: Any = None) -> None: ...

    view.__annotations__["token"] = "Annotated[Unknown, Depends(current_token)]"
    app.add_api_route("/optional/x", view)


IGNORED = r"write jwt_middleware\.fastapi\.current_token"
GUARDS_NOTHING = [
    (scoped_parameter, IGNORED),
    (scoped_default, IGNORED),
    (scoped_around, IGNORED),
    (scoped_route, IGNORED),
    (scoped_websocket, IGNORED),
    (scoped_router, IGNORED),
    (scoped_inclusion, IGNORED),
    (scoped_application, IGNORED),
    (scoped_mount, IGNORED),
    (scoped_beside_a_name_of_types, r"write scopes=\['ab'\]"),
    (unreadable_dependency, "define its names in the module"),
    (lettered_scopes, r"write scopes=\['admin'\]"),
    (misplaced_guard, r"write @requires\(\.\.\.\) below the route"),
    (misplaced_guard_of_a_router, r"write @requires\(\.\.\.\) below the route"),
    (misplaced_guard_of_a_websocket, r"write @requires\(\.\.\.\) below the route"),
]


@pytest.mark.parametrize(("put_wrongly", "message"), GUARDS_NOTHING)
@pytest.mark.parametrize("is_first", [True, False], ids=["init first", "init last"])
def test_what_would_guard_nothing_stops_the_server_as_it_starts(
    put_wrongly: Callable[[FastAPI], None], message: str, is_first: bool
) -> None:
    app = FastAPI()
    if is_first:
        locked(app)
    put_wrongly(app)
    if not is_first:
        locked(app)
    with pytest.raises(RuntimeError, match=message), TestClient(app):
        pass


@pytest.mark.parametrize(("put_wrongly", "message"), GUARDS_NOTHING)
def test_what_would_guard_nothing_serves_no_request(
    put_wrongly: Callable[[FastAPI], None], message: str
) -> None:
    """Where no server says that it starts; also if it is added later."""
    app = locked(FastAPI())
    client = TestClient(app)
    assert client.get("/optional/x").status_code == 404
    put_wrongly(app)
    for path in ("/optional/x", "/optional/other"):
        if put_wrongly is not scoped_application or path == "/optional/x":
            with pytest.raises(RuntimeError, match=message):
                client.get(path)


@pytest.mark.parametrize("is_inside", [True, False])
def test_scopes_that_nothing_reads_are_an_error_without_init_app(
    is_inside: bool,
) -> None:
    """Also where they are asked for around a dependency."""
    app = FastAPI()
    for path, dependency in (
        ("/direct", Security(jwt_middleware.current_token, scopes=["admin"])),
        ("/around", Security(of_context, scopes=["admin"])),
        ("/without", Depends(jwt_middleware.current_token)),
    ):
        app.add_api_route(path, current_subject, dependencies=[dependency])
    served: Any = app
    if is_inside:
        app.add_middleware(JWTMiddleware, auth=auth_with())
    else:
        served = JWTMiddleware(app, auth_with())
    client = TestClient(served)
    for path in ("/direct", "/around"):
        with pytest.raises(RuntimeError, match=IGNORED):
            client.get(path, headers=bearer(scope="admin"))
    assert client.get("/without", headers=bearer()).json() == "alice"
    assert str(inspect.signature(jwt_middleware.current_token)) == (
        "() -> 'Token | None'"
    )


def current_subject() -> str | None:
    token = jwt_middleware.current_token()
    return None if token is None else token.subject


def test_an_annotation_that_cannot_be_read_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be a name for a dependency, which FastAPI does not see."""
    app = locked(FastAPI())

    def view(name: Any = None) -> str:
        return "all"

    view.__annotations__["name"] = "Reader_"
    app.add_api_route("/optional/x", view)
    with TestClient(app) as client:
        assert client.get("/optional/x").status_code == 200
    assert "does not see what is asked for by name: Reader_" in caplog.text
    assert "define its names in the module" in caplog.text


class Text:
    """A dependency whose annotations are texts."""

    def __init__(self, name: str = "x") -> None: ...

    def __call__(self, token: Annotated[Any, Depends(current_token)]) -> str:
        return str(token.subject)


def test_annotations_of_classes_and_objects_are_read() -> None:
    app = locked(FastAPI())
    needed = [Depends(Text), Depends(Text())]
    app.add_api_route("/x", current_subject, dependencies=needed)
    with TestClient(app) as client:
        assert client.get("/x", headers=bearer()).json() == "alice"


def test_a_token_as_a_field_is_told_with_what_to_write() -> None:
    """It is filled from no request."""
    app = FastAPI()
    with pytest.raises(
        TypeError, match=r"Annotated\[Token, Depends\(current_token\)\]"
    ):

        @app.post("/parameter")
        def parameter(token: Token) -> None: ...

    with pytest.raises(
        TypeError, match=r"as a return annotation write dict\[str, Any\]"
    ):

        @app.get("/returned")
        def returned() -> Token:
            raise NotImplementedError

    class Context(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        token: Token

    token = auth_with().authenticate(mint_token())
    assert Context(token=token).token is token
    with pytest.raises(ValidationError):
        Context.model_validate({"token": {"sub": "mallory"}})


def test_a_server_is_told_why_it_cannot_start() -> None:
    app = FastAPI()
    scoped_route(locked(app))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        asyncio.run(app({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "jwt_middleware.fastapi.current_token" in sent[0]["message"]


def test_what_guards_well_is_not_taken_for_a_mistake() -> None:
    """Also dependencies whose signature cannot be read."""
    app = locked(guard_all(FastAPI(dependencies=[Depends(current_token)])))

    def unreadable(name: Unknown = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    @app.get("/x", dependencies=[Depends(jwt_middleware.current_token)])
    def view(
        reader: Reader,
        token: Annotated[Token | None, Depends(jwt_middleware.current_token)],
        name: Annotated[str, Security(editor, scopes=["admin"])],
    ) -> None: ...

    app.add_api_route("/y", endpoint, dependencies=[Depends(Called())])
    with TestClient(app) as client:
        assert client.get("/y", headers=bearer()).json() == "alice"
    _check(Depends(unreadable), is_scoped=False)
    _check(Depends(dict), is_scoped=False)


class Called:
    def __call__(self, request: Request) -> str:
        return "called"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: requires(endpoint), r"write @requires\(\) or"),  # type: ignore[arg-type]
        (lambda: requires(["read"]), r"write requires\('read', 'write'\)"),  # type: ignore[arg-type]
        (lambda: init_app(Flask("x"), auth_with()), "jwt_middleware.flask.init_app"),  # type: ignore[arg-type]
        (lambda: init_app(FastAPI(), object()), r"write .*Authenticator\("),  # type: ignore[arg-type]
    ],
)
def test_a_common_mistake_is_told_with_what_to_write(
    wrong: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


# A token that may be there


def test_an_optional_token_is_a_token_or_none() -> None:
    app = locked(FastAPI())

    @app.get("/optional/x")
    async def view(token: Annotated[Token | None, Depends(optional_token)]) -> str:
        return "nobody" if token is None else str(token.subject)

    app.add_api_route("/public/x", view)
    app.add_api_route("/x", view)
    client = TestClient(app)
    for path, anonymous, known in (
        ("/optional/x", "nobody", "alice"),
        ("/public/x", "nobody", "nobody"),
    ):
        assert client.get(path).json() == anonymous
        assert client.get(path, headers=bearer()).json() == known
    assert client.get("/x").status_code == 401
    assert client.get("/optional/x", headers=bearer(exp=-100)).status_code == 401


def test_an_optional_token_with_scopes_is_needed() -> None:
    app = locked(FastAPI())
    needed = [Security(optional_token, scopes=["read"])]
    app.add_api_route("/optional/x", endpoint, dependencies=needed)
    client = TestClient(app)
    assert client.get("/optional/x").status_code == 401
    assert client.get("/optional/x", headers=bearer()).status_code == 403
    assert client.get("/optional/x", headers=bearer(scope="read")).status_code == 200


@pytest.mark.parametrize("needed", [current_token, optional_token])
def test_a_dependency_without_init_app_says_what_to_write(needed: Any) -> None:
    app = FastAPI()
    app.add_api_route("/x", endpoint, dependencies=[Depends(needed)])
    with pytest.raises(NoCredentials, match=r"write jwt_middleware\.fastapi\.init_app"):
        TestClient(app).get("/x", headers=bearer())


@pytest.mark.parametrize("planted", ODD, ids=str)
def test_an_optional_token_is_nothing_else(planted: object) -> None:
    app = FastAPI()
    app.add_exception_handler(AuthError, refusing(auth_with()))
    app.add_api_route("/x", endpoint, dependencies=[Depends(optional_token)])
    assert TestClient(planting(app, planted)).get("/x").status_code == 401


# The login of the documentation


def test_swagger_can_log_in_by_a_flow_of_oauth() -> None:
    """The flow is shown beside the padlock; the middleware is what refuses."""
    flow = OAuth2AuthorizationCodeBearer(
        authorizationUrl="https://login.example.com/authorize",
        tokenUrl="https://login.example.com/token",
        scopes={"read": "Read items."},
        auto_error=False,
    )
    rules = (*DOCUMENTATION, Rule("/docs/oauth2-redirect", public=True))
    app = locked(FastAPI(dependencies=[Depends(flow)]), auth_with(rules=rules))

    @app.get("/items")
    def items(token: Reader) -> str:
        return str(token.subject)

    client = TestClient(app)
    for path in ("/docs", "/openapi.json", "/docs/oauth2-redirect"):
        assert client.get(path).status_code == 200
    described = client.get("/openapi.json").json()
    shown = described["components"]["securitySchemes"]["OAuth2AuthorizationCodeBearer"]
    assert shown["flows"]["authorizationCode"]["tokenUrl"].endswith("/token")
    assert client.get("/items").status_code == 401
    assert client.get("/items", headers=bearer(scope="read")).json() == "alice"
