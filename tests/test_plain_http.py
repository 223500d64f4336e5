"""Cookies of sessions over plain http, and routes of sessions that nobody can open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Key,
    MemoryStore,
    Rule,
    SessionCookies,
    TokenIssuer,
    asgi,
    plain_http,
    wsgi,
)

from .conftest import clock
from .test_inner_errors import WSGIServer, environ_of

LAN = "192.168.1.5:8000"
Login = Callable[..., None]


@pytest.fixture(autouse=True)
def _nobody_was_warned() -> Iterator[None]:
    plain_http._warned.clear()
    yield
    plain_http._warned.clear()


def issuer(**options: Any) -> TokenIssuer:
    named = "https://app.example"
    return TokenIssuer(named, audience="a", key=KEY, now=clock, **options)


def site(cookies: SessionCookies, made_by: TokenIssuer, *rules: Rule) -> Authenticator:
    sources = (BearerHeader(), cookies)
    return Authenticator(made_by.trusted(), sources=sources, rules=rules, now=clock)


KEY = Key.generate()
ISSUER = issuer()
COOKIES = SessionCookies(ISSUER)
PAIR = ISSUER.issue("alice")
SITE = site(COOKIES, ISSUER, Rule("/login", methods=("GET", "POST"), public=True))


def wsgi_login(scheme: str, host: str, headers: dict[str, str]) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        cookies = [("Set-Cookie", value) for value in COOKIES.write(PAIR)]
        start_response("200 OK", cookies)
        return [b"ok"]

    sent = {f"HTTP_{n.upper().replace('-', '_')}": v for n, v in headers.items()}
    environ = environ_of(None, PATH_INFO="/login", REQUEST_METHOD="POST", **sent)
    environ |= {"wsgi.url_scheme": scheme, "HTTP_HOST": host}
    assert [*wsgi.JWTMiddleware(app, SITE)(environ, WSGIServer().start)] == [b"ok"]


def asgi_login(scheme: str, host: str, headers: dict[str, str]) -> None:
    written: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        written.append(await asyncio.to_thread(COOKIES.write, PAIR))  # as frameworks do

    async def never(*_: Any) -> Any: ...

    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/login", "scheme": scheme}
    scope["headers"] = [(b"host", host.encode()), *sent]  # type: ignore[assignment]
    asyncio.run(asgi.JWTMiddleware(app, SITE)(scope, never, never))
    assert written


@pytest.fixture(params=[wsgi_login, asgi_login], ids=["wsgi", "asgi"])
def login(request: pytest.FixtureRequest) -> Login:
    found: Login = request.param
    return found


@pytest.mark.parametrize(
    "host", [LAN, "app.example", "testserver", "localhost.example"]
)
def test_cookies_that_a_browser_drops_are_warned_of_once(
    login: Login, host: str, caplog: Any
) -> None:
    for _ in range(3):
        login("http", host, {"origin": f"http://{host}"})
    login("http", "other.example", {})
    told = [record for record in caplog.records if "plain http" in record.getMessage()]
    assert len(told) == 1
    assert told[0].levelname == "WARNING"
    assert f"plain http to '{host}': they are Secure" in caplog.text
    assert "Serve https" in caplog.text
    assert PAIR.access_token not in caplog.text


@pytest.mark.parametrize(
    ("scheme", "host", "headers"),
    [
        ("https", LAN, {}),
        ("http", "localhost", {}),
        ("http", "localhost:8000", {}),
        ("http", "app.localhost:8000", {}),
        ("http", "127.0.0.1:8000", {}),
        ("http", "[::1]:8000", {}),
        ("http", "app.example", {"sec-fetch-site": "same-origin"}),
        ("http", "app.example", {"origin": "https://app.example"}),
        ("http", "app.example", {"x-forwarded-proto": "https"}),
        ("http", "app.example", {"forwarded": "for=10.0.0.1;proto=https"}),
        ("http", "app.example", {"x-forwarded-ssl": "on"}),
    ],
)
def test_what_may_be_https_for_the_browser_is_not_warned_of(
    login: Login, scheme: str, host: str, headers: dict[str, str], caplog: Any
) -> None:
    login(scheme, host, headers)
    assert "plain http" not in caplog.text


def test_the_request_before_is_forgotten(login: Login, caplog: Any) -> None:
    plain_http.note_scheme(_Plain())
    login("https", LAN, {})
    assert "plain http" not in caplog.text


class _Plain(wsgi.EnvironRequest):
    def __init__(self) -> None:
        super().__init__({"wsgi.url_scheme": "http", "HTTP_HOST": LAN})


# Routes that need no token

KEPT: Any = {"store": MemoryStore(clock)}
POST, LOGIN = ("POST",), ("GET", "POST")
OPEN: dict[str, tuple[dict[str, Any], tuple[Rule, ...]]] = {
    "by their names": (
        {"login_path": "/login"},
        (
            Rule("/login", methods=LOGIN, public=True),
            Rule("/session/refresh", methods=POST, public=True),
        ),
    ),
    "by a prefix": (
        {"login_path": "/in/login"},
        (
            Rule("/in/*", methods=LOGIN, public=True),
            Rule("/session/*", methods=POST, public=True),
        ),
    ),
    "an optional rule": ({"login_path": "/"}, (Rule("/*", optional=True),)),
    "below a root": (
        {"login_path": "/app/login", "path": "/app/session"},
        (
            Rule("/login", public=True),
            Rule("/session/*", methods=POST, public=True),
        ),
    ),
    "another path": (
        {"path": "/s"},
        (Rule("/s/end"), Rule("/s/*", methods=POST, public=True)),
    ),
    "no login": ({"transparent": True}, ()),
}


@pytest.mark.parametrize("name", OPEN)
def test_routes_that_a_rule_opens_are_not_warned_of(name: str, caplog: Any) -> None:
    options, rules = OPEN[name]
    made_by = issuer(**KEPT, reuse_leeway=10)
    Authenticator(
        made_by.trusted(),
        sources=(BearerHeader(), SessionCookies(made_by, **options)),
        rules=rules,
        **KEPT,
    )
    assert caplog.text == ""


CLOSED: dict[str, tuple[dict[str, Any], tuple[Rule, ...], str]] = {
    "login": (
        {"login_path": "/login"},
        (Rule("/session/*", methods=POST, public=True), Rule("/login", methods=POST)),
        "no rule makes GET /login public: .*; write Rule('/login', methods=('GE",
    ),
    "a rule before": (
        {"login_path": "/login", "transparent": True},
        (Rule("/login"), Rule("/*", public=True)),
        "no rule makes GET /login public",
    ),
    "refresh": (
        {},
        (Rule("/session/*", public=True),),  # which is for GET and HEAD
        "no rule makes POST /session/* public: .*; write Rule('/session/*', meth",
    ),
    "refresh elsewhere": (
        {"path": "/"} | {"refresh": "__Host-refresh"},
        (Rule("/session/*"),),
        "no rule makes POST /* public",
    ),
}


@pytest.mark.parametrize("name", CLOSED)
def test_routes_that_no_rule_opens_are_warned_of(name: str, caplog: Any) -> None:
    options, rules, told = CLOSED[name]
    made_by = issuer(**KEPT, reuse_leeway=10)
    cookies = SessionCookies(made_by, **options)
    Authenticator(made_by.trusted(), sources=(cookies,), rules=rules, **KEPT)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for part in told.split(".*"):
        assert part in record.getMessage()


def test_without_refresh_tokens_no_route_is_needed(caplog: Any) -> None:
    site(COOKIES, ISSUER)
    assert caplog.text == ""
