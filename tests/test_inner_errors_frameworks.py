"""An AuthError in the handlers of real frameworks is answered, as README says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from jwt_middleware import Authenticator, AuthError, BearerHeader
from jwt_middleware.asgi import JWTMiddleware, ScopeRequest
from jwt_middleware.errors import InsufficientScope
from jwt_middleware.wsgi import EnvironRequest
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .conftest import Mint, authenticator
from .test_inner_errors import WSGIServer, environ_of

AUTH = authenticator()
WANTED = (
    'Bearer realm="api", error="insufficient_scope", error_description="The access '
    'token lacks a scope that is required.", scope="pay"'
)


def demand() -> None:
    raise InsufficientScope("lacks pay", scopes=("pay",))


def falcon_wsgi() -> Any:
    falcon = pytest.importorskip("falcon")

    class Page:
        def on_get(self, req: Any, resp: Any) -> None:
            demand()

    def let_through(req: Any, resp: Any, error: AuthError, params: Any) -> None:
        raise error

    app = falcon.App()
    app.add_route("/", Page())
    app.add_error_handler(AuthError, let_through)
    return app


def falcon_asgi() -> Any:
    falcon = pytest.importorskip("falcon.asgi")

    class Page:
        async def on_get(self, req: Any, resp: Any) -> None:
            demand()

    async def let_through(req: Any, resp: Any, error: AuthError, params: Any) -> None:
        raise error

    app = falcon.App()
    app.add_route("/", Page())
    app.add_error_handler(AuthError, let_through)
    return app


def litestar_asgi() -> Any:
    litestar = pytest.importorskip("litestar")

    @litestar.get("/", sync_to_thread=False)  # type: ignore[untyped-decorator]
    def page() -> None:
        demand()

    def let_through(request: Any, error: AuthError) -> Any:
        raise error

    return litestar.Litestar([page], exception_handlers={AuthError: let_through})


def bottle_wsgi() -> Any:
    bottle = pytest.importorskip("bottle")
    app = bottle.Bottle()
    app.config["catchall"] = False
    app.get("/")(demand)
    return app


def quart_asgi() -> Any:
    quart = pytest.importorskip("quart")
    app = quart.Quart("inner_errors")

    @app.get("/")  # type: ignore[untyped-decorator]
    async def page() -> None:
        demand()

    @app.errorhandler(AuthError)  # type: ignore[untyped-decorator]
    async def refuse(error: AuthError) -> Any:
        scope = quart.request.scope
        reply = AUTH.refuse(error, ScopeRequest(scope, scope["headers"]))
        return quart.Response(reply.body, int(reply.status), list(reply.headers))

    return app


def page(request: Any) -> None:
    demand()


class RefusingMiddleware:
    """One of Django's."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_exception(self, request: Any, error: Exception) -> Any:
        http = pytest.importorskip("django.http")
        if not isinstance(error, AuthError):
            return None
        is_asgi = hasattr(request, "scope")
        sent = (
            ScopeRequest(request.scope, request.scope["headers"])
            if is_asgi
            else EnvironRequest(request.environ)
        )
        reply = AUTH.refuse(error, sent)
        response = http.HttpResponse(reply.body, None, int(reply.status))
        for name, value in reply.headers:
            said = f"{response[name]}, " if name in response else ""
            response[name] = said + value
        return response


def configure_django() -> None:
    django = pytest.importorskip("django")
    settings = pytest.importorskip("django.conf").settings
    if not settings.configured:
        settings.configure(SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"])
        django.setup()


def django_settings() -> Any:
    configure_django()
    urls = ModuleType("urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        pytest.importorskip("django.urls").path("", page)
    ]
    return pytest.importorskip("django.test").override_settings(
        ROOT_URLCONF=urls,
        MIDDLEWARE=[f"{__name__}.RefusingMiddleware"],
        LOGGING_CONFIG=None,
    )


def django_wsgi() -> Any:
    return pytest.importorskip("django.core.handlers.wsgi").WSGIHandler()


def django_asgi() -> Any:
    return pytest.importorskip("django.core.handlers.asgi").ASGIHandler()


def over_wsgi(app: Any, auth: Authenticator, text: str) -> tuple[int, str | None]:
    server = WSGIServer()
    environ = environ_of(text)
    parts: Any = WSGIMiddleware(app, auth)(environ, server.start)
    for part in parts:
        server.write(part)
    if hasattr(parts, "close"):
        parts.close()
    return int(server.status[:3]), joined(server.headers)


def over_asgi(app: Any, auth: Authenticator, text: str) -> tuple[int, str | None]:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"api.example"),
            (b"authorization", f"Bearer {text}".encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []

    async def serve() -> None:
        incoming: asyncio.Queue[Any] = asyncio.Queue()
        await incoming.put({"type": "http.request", "body": b"", "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        await JWTMiddleware(app, auth)(scope, incoming.get, send)

    asyncio.run(serve())
    headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    return sent[0]["status"], joined(headers)


def joined(headers: Iterable[tuple[str, str]]) -> str | None:
    """All challenges, as RFC 9110 §5.3 joins them."""
    found = [value for name, value in headers if name.lower() == "www-authenticate"]
    return ", ".join(found) or None


@pytest.mark.parametrize("make", [falcon_asgi, litestar_asgi, quart_asgi])
def test_an_error_in_a_handler_of_an_asgi_framework_is_answered(
    make: Callable[[], Any], mint: Mint
) -> None:
    assert over_asgi(make(), AUTH, mint()) == (403, WANTED)


@pytest.mark.parametrize("make", [falcon_wsgi, bottle_wsgi])
def test_an_error_in_a_handler_of_a_wsgi_framework_is_answered(
    make: Callable[[], Any], mint: Mint
) -> None:
    assert over_wsgi(make(), AUTH, mint()) == (403, WANTED)


def test_an_error_in_a_view_of_django_is_answered(mint: Mint) -> None:
    """Through both of its doors."""
    with django_settings():
        assert over_wsgi(django_wsgi(), AUTH, mint()) == (403, WANTED)
        assert over_asgi(django_asgi(), AUTH, mint()) == (403, WANTED)


def test_what_the_readme_shows_keeps_every_challenge(mint: Mint) -> None:
    """Of Quart, BlackSheep and Django; each source has one of its own."""
    quart = pytest.importorskip("quart")
    blacksheep = pytest.importorskip("blacksheep")
    routing = pytest.importorskip("blacksheep.server.routing")
    configure_django()
    http = pytest.importorskip("django.http")
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    blocks = re.findall(r"^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    (shown,) = [block for block in blocks if "@quart_app.errorhandler" in block]
    auth = authenticator(sources=(BearerHeader(), BearerHeader("X-Token", "Token")))
    app = quart.Quart("readme")
    app.get("/")(page_of_quart)
    other = blacksheep.Application(router=routing.Router())
    other.router.add_get("/", page_of_blacksheep)
    names: dict[str, Any] = {
        "blacksheep": blacksheep,
        "blacksheep_app": other,
        "quart_app": app,
        "request": quart.request,
        "Response": quart.Response,
        "AuthError": AuthError,
        "EnvironRequest": EnvironRequest,
        "auth": auth,
        "HttpResponse": http.HttpResponse,
    }
    exec(compile(shown, "README.md", "exec"), names)  # noqa: S102
    both = f"{WANTED}, {WANTED.replace('Bearer', 'Token', 1)}"
    assert over_asgi(app, auth, mint()) == (403, both)
    assert over_asgi(started(other), auth, mint()) == (403, both)
    middleware = names["RefusingMiddleware"](page)
    request = pytest.importorskip("django.test").RequestFactory().get("/")
    try:
        middleware(request)
    except AuthError as error:
        reply = middleware.process_exception(request, error)
    assert (reply.status_code, reply["WWW-Authenticate"]) == (403, both)
    assert middleware.process_exception(request, LookupError()) is None


def started(app: Any) -> Any:
    """*app* of BlackSheep, which has to be started in its loop."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app.start()
        await app(scope, receive, send)

    return call


def page_of_blacksheep() -> None:
    demand()


async def page_of_quart() -> None:
    demand()
