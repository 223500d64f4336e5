"""The courtesy to Flask: `requires`, refusals of views, and cookies of a session."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    g,
    has_request_context,
    request,
    stream_with_context,
)
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient
from flask.views import MethodView
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import TestResponse

import jwt_middleware
from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    MemoryStore,
    Rule,
)
from jwt_middleware.current import set_current_token
from jwt_middleware.errors import (
    CrossOrigin,
    InvalidGrant,
    NoCredentials,
    StepUpRequired,
    TokenRevoked,
    Unavailable,
)
from jwt_middleware.fastapi import init_app as init_fastapi
from jwt_middleware.flask import (
    current_token,
    from_request,
    init_app,
    require_token,
    requires,
    set_cookies,
)
from jwt_middleware.testing import Clock
from jwt_middleware.token import KEY
from jwt_middleware.wsgi import JWTMiddleware

from .conftest import NOW, authenticator, clock, mint_token
from .servers import TIMEOUT_S
from .test_challenge import REFUSALS, named
from .test_requirement import GOLD, SILVER, SOME_REFUSALS, STEP_UP, login_site

RULES = (Rule("/optional/*", optional=True), Rule("/public/*", public=True))
LACKING = (
    'Bearer realm="api", error="insufficient_scope", '
    'error_description="The access token lacks a scope that is required."'
)


def auth_with(**options: Any) -> Authenticator:
    return authenticator(**{"store": MemoryStore(clock), "rules": RULES, **options})


def subject() -> str:
    token = current_token()
    return "nobody" if token is None else str(token.subject)


def guarded_app(auth: Authenticator | None = None) -> Flask:
    """Each guard on a path where a token is asked for, may be there, or is not read."""
    app = Flask(__name__)
    if auth is not None:
        init_app(app, auth)
    guards = {
        "open": lambda view: view,
        "any": requires(),
        "read": requires("read"),
        "both": requires("read", "write"),
        "gold": requires("pay", acr=(GOLD, SILVER), max_age=300, now=clock),
        "mfa": requires(amr=("otp", "pwd"), now=clock),
        "recent": requires(max_age=0, now=lambda: NOW + 60),
    }
    for name, guard in guards.items():
        for prefix in ("", "/optional", "/public"):
            app.add_url_rule(f"{prefix}/{name}", f"{prefix}{name}", guard(subject))
    return app


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {mint_token(**claims)}"}


def challenges(response: TestResponse) -> list[str]:
    return response.headers.getlist("WWW-Authenticate")


@pytest.fixture
def client() -> FlaskClient:
    return guarded_app(auth_with()).test_client()


GUARDED = ("any", "read", "both", "gold", "mfa", "recent")


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize("prefix", ["", "/optional", "/public"])
def test_a_guard_lets_nobody_in_without_a_token(
    client: FlaskClient, prefix: str, path: str
) -> None:
    """Also where the lock does not ask for one; and says nothing of what is asked."""
    response = client.get(f"{prefix}/{path}")
    assert response.status_code == 401
    assert challenges(response) == ['Bearer realm="api"']
    assert response.json == {"error_description": "An access token is required."}


@pytest.mark.parametrize("path", GUARDED)
def test_a_token_that_the_lock_did_not_read_opens_no_guard(
    client: FlaskClient, path: str
) -> None:
    """A public path reads no token, so it attaches none."""
    good = bearer(scope="read write pay", acr=GOLD, amr=["otp", "pwd"], auth_time=NOW)
    response = client.get(f"/public/{path}", headers=good)
    assert (response.status_code, challenges(response)) == (401, ['Bearer realm="api"'])


@pytest.mark.parametrize("path", GUARDED)
def test_a_bad_token_is_told_so_and_no_more(client: FlaskClient, path: str) -> None:
    """RFC 9470 §9: plain invalid_token, without acr_values and scope."""
    response = client.get(f"/optional/{path}", headers=bearer(exp=-100))
    assert response.status_code == 401
    assert challenges(response) == [
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token expired."'
    ]


@pytest.mark.parametrize(
    ("path", "claims", "status", "challenge"),
    [
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
    ],
    ids=str,
)
def test_a_guard_asks_for_scopes_and_then_for_a_login(
    client: FlaskClient,
    path: str,
    claims: dict[str, Any],
    status: int,
    challenge: str | None,
) -> None:
    for prefix in ("", "/optional"):
        response = client.get(f"{prefix}/{path}", headers=bearer(**claims))
        assert response.status_code == status
        if challenge is None:
            assert response.text == "alice"
            continue
        assert challenges(response) == [challenge]
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Content-Length"] == str(len(response.data))
        assert response.json is not None
        assert set(response.json) == {"error", "error_description"}


def test_head_is_refused_without_a_body(client: FlaskClient) -> None:
    response = client.head("/optional/read")
    assert (response.status_code, response.data) == (401, b"")
    assert challenges(response) == ['Bearer realm="api"']


def test_each_source_has_a_challenge_of_its_own_line() -> None:
    """RFC 9110 §11.6.1; a dict of headers would keep one of them."""
    sources = (BearerHeader(), BearerHeader("X-Token", scheme="Token"))
    client = guarded_app(auth_with(sources=sources)).test_client()
    response = client.get("/optional/any")
    assert challenges(response) == ['Bearer realm="api"', 'Token realm="api"']
    stepped = client.get("/mfa", headers={"X-Token": f"Token {mint_token()}"})
    assert challenges(stepped) == [STEP_UP, STEP_UP.replace("Bearer", "Token", 1)]


# Refusals that a view raises


def raising(error: AuthError) -> Flask:
    """An app whose every way of running code of ours raises *error*."""
    app = Flask(__name__)
    init_app(app, auth_with())

    def view(**_: Any) -> str:
        raise error

    def never(**_: Any) -> str:
        raise AssertionError("the view was called")

    class Page(MethodView):
        get = staticmethod(view)

    outer, inner, before = (Blueprint(n, __name__) for n in ("o", "i", "b"))
    inner.add_url_rule("/view", view_func=view)
    outer.register_blueprint(inner, url_prefix="/inner")
    before.before_request(view)
    before.add_url_rule("/view", view_func=never)
    app.register_blueprint(outer, url_prefix="/outer")
    app.register_blueprint(before, url_prefix="/before")
    app.add_url_rule("/view", view_func=view)
    app.add_url_rule("/class", view_func=Page.as_view("page"))
    return app


PLACES = ("/view", "/class", "/outer/inner/view", "/before/view")


@pytest.mark.parametrize(
    ("path", "error"),
    [("/view", error) for error in REFUSALS]
    + [(path, error) for path in PLACES[1:] for error in SOME_REFUSALS],
    ids=lambda value: value if isinstance(value, str) else named(value),
)
def test_a_refusal_that_a_view_raises_is_told_like_one_of_the_lock(
    path: str, error: AuthError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        response = raising(error).test_client().get(path, headers=bearer())
    assert response.status_code == error.status
    assert response.json is not None
    assert response.json.get("error") == error.error
    assert response.json["error_description"] == error.description
    assert response.headers["Cache-Control"] == "no-store"
    assert challenges(response)[0].startswith('Bearer realm="api"')
    is_later = isinstance(error, Unavailable)
    assert response.headers.get("Retry-After") == ("2" if is_later else None)
    assert "leaked" not in f"{response.headers}{response.text}"
    assert f"refused 'GET' '{path}': {error.reason}: " in caplog.text


def test_debug_shows_a_client_no_more() -> None:
    app = raising(TokenRevoked("the message of the log"))
    app.config.update(DEBUG=True, TESTING=True, PROPAGATE_EXCEPTIONS=True)
    response = app.test_client().get("/view", headers=bearer())
    assert response.status_code == 401
    assert "the message" not in f"{response.headers}{response.text}"


def test_a_refusal_of_an_applications_own_is_told_too() -> None:
    class Banned(AuthError):
        error = "banned"
        description = "This account was closed."
        reason = "banned"
        in_challenge = False

    response = raising(Banned("mallory")).test_client().get("/view", headers=bearer())
    assert response.json == {
        "error": "banned",
        "error_description": "This account was closed.",
    }
    assert challenges(response) == ['Bearer realm="api"']


def test_other_errors_are_still_flasks() -> None:
    app = guarded_app(auth_with())
    app.add_url_rule("/broken", view_func=lambda: {"a": "b"}["missing"])
    client = app.test_client()
    assert client.get("/broken", headers=bearer()).status_code == 500
    assert client.get("/nowhere", headers=bearer()).status_code == 404
    assert client.get("/nowhere").status_code == 401
    assert client.post("/read", headers=bearer()).status_code == 405


def test_an_applications_handler_of_all_exceptions_does_not_take_ours() -> None:
    app = guarded_app(auth_with())
    app.register_error_handler(Exception, lambda error: (str(error), 200))
    assert app.test_client().get("/optional/read").status_code == 401


# Ways past the guard


PLANTS = [
    {"jwt_middleware.token": "alice"},
    {"Jwt-Middleware.Token": "alice"},
    {"Jwt_Middleware.Token": "alice"},
    {"Remote-User": "alice"},
    {"X-Forwarded-User": "alice"},
]


@pytest.mark.parametrize("headers", PLANTS, ids=str)
def test_no_header_plants_a_token(client: FlaskClient, headers: dict[str, str]) -> None:
    for prefix in ("/optional", "/public"):
        assert client.get(f"{prefix}/any", headers=headers).status_code == 401
        assert client.get(f"{prefix}/open", headers=headers).text == "nobody"


def test_what_a_server_finds_in_its_place_is_overwritten(client: FlaskClient) -> None:
    """Also a real token: nobody but the lock says who is asking."""
    token = auth_with().authenticate(mint_token(scope="read"))
    for path in ("/optional", "/public"):
        planted = {KEY: token}
        response = client.get(f"{path}/read", environ_overrides=planted)
        assert response.status_code == 401


ODD: list[Any] = [{"sub": "alice"}, {"acr": GOLD}, "alice", True, object, (), 0]
"""What may stand in a token's place, and is none."""


@pytest.mark.parametrize("planted", ODD, ids=str)
def test_what_is_no_token_is_taken_for_none(planted: Any) -> None:
    app = guarded_app()
    with app.test_request_context(environ_overrides={KEY: planted}):
        assert current_token() is None
        for guard in (requires(), requires("read"), requires(acr=(GOLD,))):
            with pytest.raises(NoCredentials):
                guard(subject)()


@pytest.mark.parametrize("path", GUARDED)
def test_without_the_lock_a_guard_lets_nobody_in(path: str) -> None:
    """Not even with a good token: nobody has verified it."""
    good = bearer(scope="read write pay", acr=GOLD, amr=["otp", "pwd"], auth_time=NOW)
    app = guarded_app()
    client = app.test_client()
    assert client.get("/open", headers=good).text == "nobody"
    assert client.get(f"/{path}", headers=good).status_code == 500
    app.config["TESTING"] = True
    with pytest.raises(NoCredentials, match=r"write jwt_middleware\.flask\.init_app"):
        client.get(f"/{path}", headers=good)


def test_a_guard_without_init_app_says_what_to_write() -> None:
    """The middleware alone: the guard refuses, and Flask knows no answer to it."""
    app = guarded_app()
    app.wsgi_app = JWTMiddleware(app.wsgi_app, auth_with())  # type: ignore[method-assign]
    app.config["TESTING"] = True
    with pytest.raises(NoCredentials) as refused:
        app.test_client().get("/optional/read")
    assert (
        "write jwt_middleware.flask.init_app(app, auth)" in refused.value.__notes__[0]
    )


def test_the_token_of_one_request_is_not_that_of_the_next(client: FlaskClient) -> None:
    """They are served by one thread."""
    assert client.get("/optional/open", headers=bearer()).text == "alice"
    assert client.get("/optional/open").text == "nobody"
    assert client.get("/public/open", headers=bearer()).text == "nobody"
    assert client.get("/optional/any").status_code == 401


def test_the_token_is_that_of_the_request_and_not_of_the_thread() -> None:
    """Of two contexts that are open in one thread, each has its own."""
    auth = auth_with()
    app = guarded_app(auth)
    alice, bob = (auth.authenticate(mint_token(sub=sub)) for sub in ("alice", "bob"))
    with app.test_request_context(environ_overrides={KEY: alice}):
        with app.test_request_context(environ_overrides={KEY: bob}):
            assert current_token() is bob
        assert current_token() is alice
        assert jwt_middleware.current_token() is None


def misplace_on_a_view(app: Flask) -> None:
    @requires("read")
    @app.get("/optional/wrong")
    def wrong() -> str:
        raise AssertionError("the view was called")


def misplace_on_a_blueprint(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)

    @requires("read")
    @blueprint.get("/optional/wrong")
    def wrong() -> str:
        raise AssertionError("the view was called")

    app.register_blueprint(blueprint)


def misplace_on_a_decorated_view(app: Flask) -> None:
    def logged(view: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(view)(lambda: view())

    @logged
    @requires("read")
    @logged
    @app.get("/optional/wrong")
    @logged
    def wrong() -> str:
        raise AssertionError("the view was called")


def misplace_on_a_hook(app: Flask) -> None:
    blueprint = Blueprint("b", __name__)

    @requires("read")
    @blueprint.before_request
    def wrong() -> None:
        raise AssertionError("the hook was called")

    blueprint.get("/optional/wrong")(subject)
    app.register_blueprint(blueprint)


def misplace_on_a_class(app: Flask) -> None:
    class Page(MethodView):
        def get(self) -> str:
            raise AssertionError("the view was called")

    view = Page.as_view("page")
    app.add_url_rule("/optional/wrong", view_func=view)
    requires("read")(view)


@pytest.mark.parametrize(
    "misplace",
    [
        misplace_on_a_view,
        misplace_on_a_blueprint,
        misplace_on_a_decorated_view,
        misplace_on_a_hook,
        misplace_on_a_class,
    ],
)
@pytest.mark.parametrize("is_first", [True, False], ids=["init first", "init last"])
def test_a_guard_above_its_route_is_an_error_of_every_request(
    misplace: Callable[[Flask], None], is_first: bool
) -> None:
    """The route has registered the function before the guard stood above it."""
    app = Flask(__name__)
    if is_first:
        init_app(app, auth_with())
    misplace(app)
    if not is_first:
        init_app(app, auth_with())
    for path in ("/optional/wrong", "/optional/other", "/optional/wrong"):
        with pytest.raises(RuntimeError, match=r"write @requires\(\.\.\.\) below"):
            app.test_client().get(path)


def test_a_misplaced_guard_that_is_added_after_the_first_request_is_found() -> None:
    app = Flask(__name__)
    init_app(app, auth_with())
    assert app.test_client().get("/x").status_code == 401
    misplace_on_a_view(app)
    with pytest.raises(RuntimeError, match="below"):
        app.test_client().get("/optional/wrong")


def test_a_view_may_be_registered_with_and_without_a_guard() -> None:
    """Also in two applications, and where other decorators stand around it."""
    app, other = Flask(__name__), Flask("other")

    def view() -> str:
        return "in"

    for each in (app, other):
        init_app(each, auth_with())
    guard = requires("read")
    app.add_url_rule("/optional/open", view_func=view)
    outer = functools.wraps(view)(functools.partial(guard(view)))
    app.add_url_rule("/optional/guarded", "guarded", outer)
    other.add_url_rule("/optional/open", view_func=subject)
    guard(subject)
    assert app.test_client().get("/optional/open").text == "in"
    assert app.test_client().get("/optional/guarded").status_code == 401
    assert other.test_client().get("/optional/open").text == "nobody"


def test_two_guards_ask_for_both() -> None:
    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/two", view_func=requires("read")(requires("write")(subject)))
    client = app.test_client()
    for scope, status in (("read", 403), ("write", 403), ("read write", 200)):
        assert client.get("/two", headers=bearer(scope=scope)).status_code == status


def test_a_view_is_called_only_after_its_guard_and_once() -> None:
    called: list[str] = []
    app = Flask(__name__)
    init_app(app, auth_with())

    @app.route("/optional/<name>", methods=["GET", "POST"])
    @requires("write")
    def view(name: str) -> str:
        called.append(name)
        return name

    client = app.test_client()
    for method in ("GET", "HEAD", "POST"):
        assert client.open("/optional/a", method=method).status_code == 401
        response = client.open("/optional/b", method=method, headers=bearer())
        assert response.status_code == 403
    assert called == []
    assert client.post("/optional/c", headers=bearer(scope="write")).text == "c"
    assert called == ["c"]


def test_automatic_options_does_not_run_the_view_and_still_needs_the_lock(
    client: FlaskClient,
) -> None:
    assert client.options("/read").status_code == 401
    assert client.options("/optional/read").data == b""


# What can be guarded


def test_a_view_keeps_its_name_and_its_docstring() -> None:
    """Or two guarded views would be one endpoint of Flask."""

    def view(name: str) -> str:
        """Tell of it."""
        return name

    kept = requires("read")(view)
    assert (kept.__name__, kept.__doc__) == ("view", "Tell of it.")
    assert kept.__wrapped__ is view  # type: ignore[attr-defined]
    app = Flask(__name__)
    app.get("/a")(requires("read")(subject))
    app.get("/b")(kept)
    assert {"subject", "view"} <= set(app.view_functions)


def test_a_streaming_view_is_guarded_before_its_first_line() -> None:
    started: list[str] = []
    app = Flask(__name__)
    init_app(app, auth_with())

    @app.get("/optional/stream")
    @requires("read")
    def stream() -> Iterator[str]:
        started.append("stream")
        yield "first "
        yield "second"

    @app.get("/optional/context")
    @requires("read")
    def context() -> Response:
        def lines() -> Iterator[str]:
            yield f"{subject()} "
            yield subject()

        return Response(stream_with_context(lines()))

    client = app.test_client()
    for path in ("/optional/stream", "/optional/context"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer()).status_code == 403
    assert started == []
    good = bearer(scope="read")
    assert client.get("/optional/stream", headers=good).text == "first second"
    assert client.get("/optional/context", headers=good).text == "alice alice"


class LoopFlask(Flask):
    """Runs asynchronous views, which Flask leaves to asgiref."""

    def async_to_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(func(*args, **kwargs))


def test_an_asynchronous_view_is_run_as_its_app_runs_them() -> None:
    app = LoopFlask(__name__)
    init_app(app, auth_with())

    @app.get("/optional/async")
    @requires("read")
    async def view() -> str:
        await asyncio.sleep(0)
        return subject()

    @app.get("/optional/refuses")
    async def refuses() -> str:
        await asyncio.sleep(0)
        raise CrossOrigin("the message of the log")

    client = app.test_client()
    assert client.get("/optional/async").status_code == 401
    assert client.get("/optional/async", headers=bearer()).status_code == 403
    good = client.get("/optional/async", headers=bearer(scope="read"))
    assert (good.status_code, good.text) == (200, "alice")
    refused = client.get("/optional/refuses")
    assert refused.status_code == 403
    assert refused.json == {
        "error": "cross_origin",
        "error_description": "The request came from another origin.",
    }


def test_a_view_of_a_class_is_guarded_by_method_or_as_a_whole() -> None:
    class Orders(MethodView):
        def get(self) -> str:
            return subject()

        @requires("write")
        def post(self) -> str:
            return "posted"

    class Admin(MethodView):
        decorators = [requires("admin")]  # noqa: RUF012

        def get(self) -> str:
            return "admin"

    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/optional/orders", view_func=Orders.as_view("orders"))
    app.add_url_rule("/optional/admin", view_func=Admin.as_view("admin"))
    client = app.test_client()
    assert client.get("/optional/orders").text == "nobody"
    assert client.post("/optional/orders").status_code == 401
    assert client.post("/optional/orders", headers=bearer()).status_code == 403
    assert client.post("/optional/orders", headers=bearer(scope="write")).text
    assert client.get("/optional/admin").status_code == 401
    assert client.get("/optional/admin", headers=bearer(scope="admin")).text == "admin"


def test_a_class_under_a_guard_is_never_entered() -> None:
    """Write ``decorators``; a class that stands below `requires` serves nothing."""

    class Page(MethodView):
        def get(self) -> str:
            return "in"

    app = Flask(__name__)
    init_app(app, auth_with())
    try:
        app.add_url_rule("/optional/page", view_func=requires("read")(Page))  # type: ignore[arg-type]
    except (AttributeError, ValueError):
        return
    assert app.test_client().get("/optional/page").status_code == 401
    response = app.test_client().get("/optional/page", headers=bearer(scope="read"))
    assert response.status_code == 500


def test_a_whole_blueprint_is_guarded_before_each_request() -> None:
    blueprint = Blueprint("admin", __name__)

    @blueprint.before_request
    @requires("admin")
    def guard() -> None:
        g.passed = True

    blueprint.add_url_rule("/", view_func=lambda: f"{g.passed}")
    app = Flask(__name__)
    init_app(app, auth_with())
    app.register_blueprint(blueprint, url_prefix="/optional/admin")
    client = app.test_client()
    assert client.get("/optional/admin/").status_code == 401
    assert client.get("/optional/admin/", headers=bearer()).status_code == 403
    assert client.get("/optional/admin/", headers=bearer(scope="admin")).text == "True"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: requires(subject),  # type: ignore[arg-type]
        lambda: requires("read write"),
        lambda: requires(("read", "write")),  # type: ignore[arg-type]
        lambda: requires(acr=GOLD),
        lambda: requires(amr="otp"),
        lambda: requires(max_age=-1),
        lambda: requires(max_age="300"),  # type: ignore[arg-type]
        lambda: requires("\u00fcber"),
    ],
)
def test_a_guard_that_could_not_work_is_an_error_at_once(
    wrong: Callable[[], Any],
) -> None:
    with pytest.raises(ValueError, match=r"scopes|acr|amr|max_age"):
        wrong()


def test_a_view_is_called_by_a_test_with_a_token_of_its_making() -> None:
    auth = auth_with()
    token = auth.authenticate(mint_token(scope="read"))
    app = guarded_app(auth)
    with app.test_request_context(environ_overrides={KEY: token}):
        assert current_token() is token
        assert requires("read")(subject)() == "alice"
        with pytest.raises(StepUpRequired):
            requires("read", max_age=5)(subject)()
    with app.test_request_context():
        assert current_token() is None
        with pytest.raises(NoCredentials):
            requires()(subject)()
    assert not has_request_context()


def test_the_wall_clock_is_the_default() -> None:
    """A login of 1970 is old by it."""
    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/", view_func=requires(max_age=300)(subject))
    response = app.test_client().get("/", headers=bearer(auth_time=300))
    assert challenges(response) == [f'{STEP_UP}, max_age="300"']


# Sessions in cookies


def login_app(wall: Clock) -> Flask:
    issuer, cookies, auth = login_site(wall)
    app = Flask(__name__)
    init_app(app, auth)

    @app.post("/login")
    def login() -> Response:
        cookies.ensure_own_page(from_request(request))
        pair = issuer.issue(request.args["name"], scope=("read",))
        return set_cookies(Response("welcome"), cookies.write(pair))

    @app.post("/session/refresh")
    def refresh() -> Response:
        pair = cookies.refresh(from_request(request))
        return set_cookies(Response("again"), cookies.write(pair))

    @app.post("/session/end")
    def end() -> Response:
        cookies.end(from_request(request))
        return set_cookies(Response("goodbye"), cookies.clear())

    @app.get("/me")
    @requires("read")
    def me() -> str:
        return subject()

    @app.post("/pay")
    @requires("read", max_age=900, now=wall)
    def pay() -> str:
        return "paid"

    app.config["PREFERRED_URL_SCHEME"] = "https"
    return app


def test_a_session_from_login_to_end() -> None:
    wall = Clock(NOW)
    app = login_app(wall)
    client = app.test_client()
    assert client.get("/me").status_code == 401
    login = client.post("/login?name=alice")
    lines = login.headers.getlist("Set-Cookie")
    assert [line.partition("=")[0] for line in lines] == [
        "__Host-access",
        "__Secure-refresh",
    ]
    assert login.headers.getlist("Cache-Control") == ["no-store"]
    assert client.get("/me").text == "alice"
    wall.now += 700
    expired = client.get("/me")
    assert challenges(expired)[0].endswith(
        'error_description="The access token expired."'
    )
    first = client.get_cookie("__Secure-refresh", path="/session")
    assert client.post("/session/refresh").status_code == 200
    assert client.get("/me").text == "alice"
    assert client.post("/pay").text == "paid"
    wall.now += 300
    assert challenges(client.post("/pay")) == [f'{STEP_UP}, max_age="900"']
    ended = client.post("/session/end")
    assert ended.headers.getlist("Set-Cookie") == [
        "__Host-access=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict",
        "__Secure-refresh=; Path=/session; Max-Age=0; Secure; HttpOnly; "
        "SameSite=Strict",
    ]
    assert client.get("/me").status_code == 401
    again = client.post("/session/refresh")
    assert (again.status_code, challenges(again)) == (401, ['Bearer realm="api"'])
    assert first is not None
    for path, cookie in (
        ("/session/refresh", f"__Secure-refresh={first.value}"),
        ("/session/refresh", "__Secure-refresh=forged"),
    ):
        plain = app.test_client(use_cookies=False)
        refused = plain.post(path, headers={"Cookie": cookie})
        assert refused.status_code == 400
        assert refused.json == {
            "error": InvalidGrant.error,
            "error_description": "The refresh token is not valid.",
        }


def test_the_end_of_a_session_is_that_of_its_access_token() -> None:
    """A copy of the cookie that somebody kept is of no use."""
    app = login_app(Clock(NOW))
    client = app.test_client()
    client.post("/login?name=alice")
    kept = client.get_cookie("__Host-access")
    assert kept is not None
    copy = {"Authorization": f"Bearer {kept.value}"}
    other = app.test_client(use_cookies=False)
    assert other.get("/me", headers=copy).text == "alice"
    client.post("/session/end")
    assert challenges(other.get("/me", headers=copy)) == [
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token was revoked."'
    ]


def test_a_refresh_token_that_comes_twice_ends_the_session_and_its_cookies() -> None:
    wall = Clock(NOW)
    app = login_app(wall)
    client = app.test_client()
    client.post("/login?name=alice")
    stolen = client.get_cookie("__Secure-refresh", path="/session")
    assert stolen is not None
    assert client.post("/session/refresh").status_code == 200
    thief = app.test_client()
    thief.set_cookie("__Secure-refresh", stolen.value, path="/session", secure=True)
    assert thief.post("/session/refresh").status_code == 400
    assert client.post("/session/refresh").status_code == 400


EVIL = {"Origin": "https://evil.example"}


@pytest.mark.parametrize("path", ["/login?name=mallory", "/session/refresh", "/pay"])
def test_another_sites_page_logs_nobody_in_and_refreshes_nothing(path: str) -> None:
    """Login CSRF: the user would go on as somebody else."""
    wall = Clock(NOW)
    app = login_app(wall)
    client = app.test_client()
    client.post("/login?name=alice")
    response = client.post(path, headers=EVIL)
    assert response.status_code == 403
    assert response.json is not None
    assert response.json["error"] == "cross_origin"
    assert response.headers.getlist("Set-Cookie") == []
    assert client.get("/me").text == "alice"
    assert client.post("/session/refresh").status_code == 200


def test_cookies_are_added_to_those_that_are_there_and_no_cache_keeps_them() -> None:
    response = Response("ok", headers={"Cache-Control": "public, max-age=600"})
    response.set_cookie("theme", "dark")
    assert set_cookies(response, iter(("a=1", "b=2"))) is response
    lines = response.headers.getlist("Set-Cookie")
    assert lines == ["theme=dark; Path=/", "a=1", "b=2"]
    assert response.headers.getlist("Cache-Control") == ["no-store"]


def test_a_request_is_read_as_the_lock_reads_it() -> None:
    app = Flask(__name__)
    with app.test_request_context(
        "/m\u00fcnchen?a=b",
        base_url="https://app.example/mounted",
        method="PUT",
        headers={"X-A": "1"},
    ):
        read = from_request(request)
    assert (read.method, read.scheme, read.path) == ("PUT", "https", "/m\u00fcnchen")
    assert read.header("x-a") == ("1",)
    assert read.header("host") == ("app.example",)
    assert read.header("x-b") == ()


def test_a_page_that_wants_a_newer_login_is_told_so() -> None:
    """The login may know its user already, and send him back in a circle."""
    issuer, _, auth = login_site(clock, login_path="/login")
    app = Flask(__name__)
    init_app(app, auth)
    app.add_url_rule("/pay", view_func=requires(max_age=5, now=clock)(subject))
    old = issuer.issue("alice", auth_time=NOW - 6).access_token
    cookie = {"Cookie": f"__Host-access={old}"}
    client = app.test_client(use_cookies=False)
    page = client.get("/pay", headers={**cookie, "Sec-Fetch-Mode": "navigate"})
    assert (page.status_code, page.headers.get("Location")) == (401, None)
    assert page.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in page.headers
    assert client.get("/pay", headers=cookie).status_code == 401


def test_a_session_goes_on_inside_a_request_that_a_guard_lets_in_only() -> None:
    """A refusal uses up no refresh token: the next request still has it."""
    wall = Clock(NOW)
    issuer, cookies, auth = login_site(wall, reuse_leeway=10, transparent=True)
    app = Flask(__name__)
    init_app(app, auth)
    app.add_url_rule("/read", view_func=requires("read")(subject))
    app.add_url_rule("/admin", "admin", requires("admin")(subject))
    client = app.test_client(use_cookies=False)
    pair = issuer.issue("alice", scope=("read",))
    sent = "; ".join(line.partition(";")[0] for line in cookies.write(pair))
    wall.now += 700
    refused = client.get("/admin", headers={"Cookie": sent})
    assert (refused.status_code, refused.headers.getlist("Set-Cookie")) == (403, [])
    wall.now += 60
    passed = client.get("/read", headers={"Cookie": sent})
    assert (passed.status_code, passed.text) == (200, "alice")
    assert len(passed.headers.getlist("Set-Cookie")) == 2


def test_head_is_told_the_length_that_get_would_have() -> None:
    """RFC 9110 §8.6; werkzeug counts the octets that it is given."""
    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/optional/a", view_func=requires()(lambda: "x"))
    client = app.test_client()
    lengths = [
        client.open("/optional/a", method=method).headers["Content-Length"]
        for method in ("HEAD", "GET")
    ]
    assert lengths[0] == lengths[1] != "0"


def test_a_class_is_guarded_by_its_decorators() -> None:
    with pytest.raises(ValueError, match="decorators"):
        requires("read")(MethodView)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: requires(subject), r"write @requires\(\) or @requires\('read'\)"),  # type: ignore[arg-type]
        (lambda: requires(["read"]), r"write requires\('read', 'write'\)"),  # type: ignore[arg-type]
        (lambda: init_app(FastAPI(), auth_with()), r"jwt_middleware\.starlette"),  # type: ignore[arg-type]
        (lambda: init_app(Flask("x").wsgi_app, auth_with()), "the Flask object"),  # type: ignore[arg-type]
        (lambda: init_app(Flask("x"), object()), r"write .*Authenticator\("),  # type: ignore[arg-type]
    ],
)
def test_a_common_mistake_is_told_with_what_to_write(
    wrong: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_a_token_that_is_needed_is_a_token_or_a_refusal() -> None:
    """`require_token`, for views whose path always has one."""
    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/optional/x", view_func=lambda: str(require_token().subject))
    client = app.test_client()
    assert client.get("/optional/x", headers=bearer()).text == "alice"
    assert client.get("/optional/x").status_code == 401


def test_a_callable_without_a_hash_is_guarded_too() -> None:
    class View:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> str:
            return "in"

    app = Flask(__name__)
    init_app(app, auth_with())
    app.add_url_rule("/optional/open", "open", View())
    guarded = functools.partial(requires("read")(View()))
    app.add_url_rule("/optional/guarded", "guarded", guarded)
    assert app.test_client().get("/optional/open").text == "in"
    assert app.test_client().get("/optional/guarded").status_code == 401


# Refusals pass through the hooks


Hook = Callable[[Response], Any]


def hooked_app(*hooks: Hook, called: list[str] | None = None) -> Flask:
    """An app with hooks, whose views and other hooks note that they were called."""
    app, noted = Flask(__name__), [] if called is None else called
    init_app(app, auth_with())
    app.before_request(lambda: noted.append("before"))

    @app.get("/x")
    def view() -> str:
        noted.append("view")
        return "in"

    for hook in reversed(hooks):  # the last one that was registered is called first
        app.after_request(hook)
    return app


def add_header(response: Response) -> Response:
    response.headers["X-Added"] = "yes"
    return response


def test_a_refusal_has_the_headers_that_hooks_add_and_calls_nothing_else() -> None:
    called: list[str] = []
    app = hooked_app(add_header, called=called)
    for method in ("GET", "POST", "HEAD", "OPTIONS", "PURGE"):
        response = app.test_client().open("/x", method=method)
        assert (response.status_code, response.headers["X-Added"]) == (401, "yes")
        assert challenges(response) == ['Bearer realm="api"']
        assert response.headers["Content-Length"] == "53"
        assert response.data in (b"", response.data[:53])
    assert app.test_client().get("/nowhere").headers["X-Added"] == "yes"
    assert called == []
    assert app.test_client().get("/x", headers=bearer()).headers["X-Added"] == "yes"
    assert called == ["before", "view"]


def replace_all(response: Response) -> Response:
    return Response("in", 200, {"X-Other": "1", "Content-Type": "text/html"})


def change_in_place(response: Response) -> Response:
    response.status_code = 200
    response.data = b"in"
    response.headers.clear()
    response.headers["X-Other"] = "1"
    return response


def let_a_server_send_it(response: Response) -> Response:
    for name in ("X-Accel-Redirect", "X-Sendfile", "Location", "X-Accel-Expires"):
        response.headers[name] = "/secret"
    response.headers["X-Other"] = "1"
    return response


def let_a_cache_keep_it(response: Response) -> Response:
    response.headers["Cache-Control"] = "public, max-age=600"
    response.headers["CDN-Cache-Control"] = "max-age=600"
    response.headers["Expires"] = "Thu, 01 Jan 2099 00:00:00 GMT"
    response.headers["Content-Encoding"] = "gzip"
    response.headers["X-Other"] = "1"
    return response


def give_another_challenge(response: Response) -> Response:
    response.headers["WWW-Authenticate"] = "Basic"
    response.headers["X-Other"] = "1"
    return response


def raise_on_a_missing_attribute(response: Response) -> Response:
    response.headers["X-Other"] = "1"
    raise AttributeError(f"{g.started}\nno line of its own")


def abort_with(response: Response) -> Response:
    response.headers["X-Other"] = "1"
    abort(Response("in", 200))


def forget_to_return(response: Response) -> None:
    response.headers["X-Other"] = "1"


@pytest.mark.parametrize(
    "hook",
    [
        replace_all,
        change_in_place,
        let_a_server_send_it,
        let_a_cache_keep_it,
        give_another_challenge,
        raise_on_a_missing_attribute,
        abort_with,
        forget_to_return,
    ],
)
@pytest.mark.parametrize("testing", [True, False])
def test_whatever_a_hook_does_a_refusal_stays_one(
    hook: Hook, testing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """And one hook does not keep the others from adding their headers."""
    plain = hooked_app().test_client().get("/x")
    app = hooked_app(add_header, hook, add_header)
    app.config["TESTING"] = testing
    response = app.test_client().get("/x")
    assert (response.status_code, response.data) == (401, plain.data)
    more = {"X-Added": "yes", "X-Other": "1"}
    assert dict(response.headers) == {**dict(plain.headers), **more}
    assert "\n" not in caplog.text.strip().replace("\nINFO", "").replace("\nWARN", "")


def test_a_request_context_that_cannot_be_opened_changes_no_refusal() -> None:
    """Such as one whose session is kept on a server that is down."""

    class Down(SecureCookieSessionInterface):
        def open_session(self, app: Flask, request: Any) -> Any:
            raise ConnectionError("no session")

    app = hooked_app(add_header)
    app.session_interface = Down()
    response = app.test_client().get("/x")
    assert (response.status_code, "X-Added" in response.headers) == (401, False)


def test_hooks_of_a_blueprint_see_its_refusals() -> None:
    blueprint = Blueprint("b", __name__)
    blueprint.after_request(add_header)
    blueprint.add_url_rule("/in", view_func=subject)
    app = Flask(__name__)
    init_app(app, auth_with())
    app.register_blueprint(blueprint, url_prefix="/b")
    client = app.test_client()
    assert client.get("/b/in").headers["X-Added"] == "yes"
    refused = client.get("/b/nowhere")
    assert (refused.status_code, "X-Added" in refused.headers) == (401, False)


def test_a_hook_finds_no_token_on_a_refused_request() -> None:
    found: list[object] = []

    def look(response: Response) -> Response:
        found.extend([current_token(), jwt_middleware.current_token()])
        return response

    token = auth_with().authenticate(mint_token())
    client = hooked_app(look).test_client()
    assert client.get("/x", environ_overrides={KEY: token}).status_code == 401
    assert found == [None, None]


def test_a_refused_request_never_reaches_what_is_mounted_beside() -> None:
    """What stood in front of Flask before `init_app` is behind the middleware."""
    app = Flask(__name__)
    app.after_request(add_header)

    def other(environ: Any, start_response: Any) -> Any:
        raise AssertionError("the application was called")

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/other": other})  # type: ignore[method-assign]
    init_app(app, auth_with())
    assert app.test_client().get("/other/x").status_code == 401


def test_what_a_hooks_response_has_to_close_is_closed() -> None:
    closed: list[str] = []

    def wrap(response: Response) -> Response:
        response.call_on_close(lambda: closed.append("closed"))
        return response

    app = hooked_app(wrap)
    app.teardown_request(lambda error: closed.append("torn down"))
    app.test_client().get("/x").close()
    assert sorted(closed) == ["closed", "torn down"]


# Mounted in an ASGI application


def mounted(auth: Authenticator, *, is_locked: bool = True) -> Any:
    """The guarded app below /flask of an ASGI application."""
    a2wsgi = pytest.importorskip("a2wsgi")
    outer = FastAPI()
    inner = guarded_app()
    inner.register_error_handler(AuthError, lambda error: ("refused", error.status))
    outer.mount("/flask", a2wsgi.WSGIMiddleware(inner, workers=1))
    if is_locked:
        init_fastapi(outer, auth)
    return outer


RULES_OF_MOUNTED = (
    Rule("/flask/optional/*", optional=True),
    Rule("/flask/public/*", public=True),
)


def test_a_mounted_flask_has_the_token_of_the_scope() -> None:
    """Its threads are used again, and a token does not stay in them."""
    auth = auth_with(rules=RULES_OF_MOUNTED)
    client = TestClient(mounted(auth))
    for _ in range(3):
        for sub in ("alice", "bob"):
            headers = bearer(sub=sub, scope="read")
            assert client.get("/flask/optional/open", headers=headers).text == sub
            assert client.get("/flask/read", headers=headers).text == sub
        assert client.get("/flask/optional/open").text == "nobody"
        assert client.get("/flask/optional/read").status_code == 401
        assert client.get("/flask/public/open", headers=bearer()).text == "nobody"
        assert client.get("/flask/open").status_code == 401
    assert client.get("/flask/read", headers=bearer()).status_code == 403


def test_requests_to_a_mounted_flask_that_overlap_keep_their_users() -> None:
    """Each in a thread of its own, behind one middleware."""
    a2wsgi = pytest.importorskip("a2wsgi")
    count, inner, outer = 8, Flask("inner"), FastAPI()
    all_here = threading.Barrier(count)

    @inner.get("/me")
    def me() -> str:
        before = [require_token().subject, named_by_context()]
        all_here.wait(TIMEOUT_S)
        return f"{before} {[require_token().subject, named_by_context()]}"

    outer.mount("/flask", a2wsgi.WSGIMiddleware(inner, workers=count))
    init_fastapi(outer, auth_with())

    async def ask(client: httpx2.AsyncClient, user: str) -> str:
        url, headers = "http://x/flask/me", bearer(sub=user)
        return (await client.get(url, headers=headers, timeout=TIMEOUT_S)).text

    async def ask_all() -> list[str]:
        transport = httpx2.ASGITransport(outer)
        async with httpx2.AsyncClient(transport=transport) as client:
            return await asyncio.gather(*(ask(client, user) for user in users))

    users = [f"user{number}" for number in range(count)]
    for _ in range(3):
        assert asyncio.run(ask_all()) == [
            f"{[user, user]} {[user, user]}" for user in users
        ]


def named_by_context() -> str | None:
    token = jwt_middleware.current_token()
    return None if token is None else token.subject


def test_a_mounted_flask_without_the_middleware_has_no_token() -> None:
    """Whatever the request before left in the thread or in the context."""
    client = TestClient(mounted(auth_with(), is_locked=False))
    set_current_token(auth_with().authenticate(mint_token()))
    assert client.get("/flask/open", headers=bearer()).text == "nobody"
    assert client.get("/flask/read", headers=bearer()).status_code == 401


def test_a_middleware_of_its_own_goes_before_that_of_the_scope() -> None:
    auth = auth_with(rules=RULES_OF_MOUNTED)
    token = auth.authenticate(mint_token(sub="bob"))
    app = guarded_app(auth_with())
    client = app.test_client()
    outside = {"asgi.scope": {KEY: token}}
    answer = client.get("/optional/open", environ_overrides=outside)
    assert answer.text == "nobody"
    with app.test_request_context(environ_overrides=outside):
        assert current_token() is token
    with app.test_request_context(environ_overrides={"asgi.scope": {KEY: "alice"}}):
        assert current_token() is None
    with app.test_request_context(environ_overrides={"asgi.scope": object()}):
        assert current_token() is None
