"""Scripts of another origin, by the recipes of the README.

A browser asks first (a preflight: OPTIONS, without credentials), and lets the script
read an answer, also a refusal, only if its headers name the origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from flask import Flask, request
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import jwt_middleware.fastapi
import jwt_middleware.flask
import jwt_middleware.starlette
from jwt_middleware import Authenticator, Rule

from .conftest import authenticator, mint_token
from .servers import fetch, serving

ORIGIN = "https://page.example"
PREFLIGHT = Rule("/*", methods=("OPTIONS",), public=True)
OPTIONS: dict[str, Any] = {
    "allow_origins": [ORIGIN],
    "allow_headers": ["Authorization"],
}
ASKING = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization",
}
GOOD = {"Authorization": f"Bearer {mint_token()}", "Origin": ORIGIN}

Ask = Callable[[str, dict[str, str]], tuple[int, dict[str, str], str]]
"""Sends a request for /x: status, headers, body."""


def flask_app(auth: Authenticator, *, is_cors_first: bool) -> Flask:
    flask_cors = pytest.importorskip("flask_cors")
    app = Flask(__name__)
    steps = [lambda: flask_cors.CORS(app, origins=[ORIGIN])]
    steps.append(lambda: jwt_middleware.flask.init_app(app, auth))
    for step in steps if is_cors_first else reversed(steps):
        step()

    @app.route("/x", methods=["GET", "DELETE"])
    def view() -> str:
        return request.method

    return app


def asking_flask(app: Flask) -> Ask:
    def ask(method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        answer = app.test_client().open("/x", method=method, headers=headers)
        return answer.status_code, dict(answer.headers), answer.text

    return ask


def asking_asgi(app: Any) -> Ask:
    def ask(method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
        answer = TestClient(app).request(method, "/x", headers=headers)
        titled = {name.title(): value for name, value in answer.headers.items()}
        return answer.status_code, titled, answer.text

    return ask


async def endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.method)


def starlette_app() -> Starlette:
    app = Starlette(routes=[Route("/x", endpoint, methods=["GET", "DELETE"])])
    jwt_middleware.starlette.init_app(app, authenticator())
    app.add_middleware(CORSMiddleware, allow_methods=["DELETE"], **OPTIONS)
    return app


def fastapi_app() -> FastAPI:
    app = FastAPI()
    jwt_middleware.fastapi.init_app(app, authenticator())
    app.add_middleware(CORSMiddleware, allow_methods=["DELETE"], **OPTIONS)
    app.add_api_route("/x", endpoint, methods=["GET", "DELETE"])
    return app


APPS: dict[str, Callable[[], Ask]] = {
    "flask, CORS first": lambda: asking_flask(
        flask_app(authenticator(rules=(PREFLIGHT,)), is_cors_first=True)
    ),
    "flask, CORS last": lambda: asking_flask(
        flask_app(authenticator(rules=(PREFLIGHT,)), is_cors_first=False)
    ),
    "starlette": lambda: asking_asgi(starlette_app()),
    "fastapi": lambda: asking_asgi(fastapi_app()),
}


@pytest.fixture(params=list(APPS))
def ask(request: pytest.FixtureRequest) -> Ask:
    return APPS[request.param]()


def ensure_may_send(status: int, headers: dict[str, str]) -> None:
    """Fetch §4.8: an ok status, the origin, and the header that is not simple."""
    assert 200 <= status < 300
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Headers"].lower() in (
        "authorization",
        "*",
    ) or (
        "authorization" in headers["Access-Control-Allow-Headers"].lower().split(", ")
    )
    assert "DELETE" in headers["Access-Control-Allow-Methods"]


def test_a_script_of_an_allowed_origin_may_ask_and_read(ask: Ask) -> None:
    """The preflight passes without a token, and a refusal is not a network error."""
    status, headers, _ = ask("OPTIONS", ASKING)
    ensure_may_send(status, headers)
    for sent, expected in (({"Origin": ORIGIN}, 401), (GOOD, 200)):
        for method in ("GET", "DELETE"):
            status, headers, body = ask(method, sent)
            assert status == expected
            assert headers["Access-Control-Allow-Origin"] == ORIGIN
            assert (body == method) is (expected == 200)
    assert headers.get("Www-Authenticate") is None


def test_a_preflight_is_answered_without_running_a_handler(ask: Ask) -> None:
    """A rule for OPTIONS lets no other method through."""
    assert ask("OPTIONS", ASKING)[2] in ("", "OK")
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert ask("OPTIONS", {**ASKING, name: "DELETE"})[2] in ("", "OK")
        assert ask("GET", {"Origin": ORIGIN, name: "OPTIONS"})[0] == 401


def test_a_script_of_another_origin_reads_nothing(ask: Ask) -> None:
    evil = "https://evil.example"
    for sent in ({"Origin": evil}, {**GOOD, "Origin": evil}):
        headers = ask("GET", sent)[1]
        assert headers.get("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("is_cors_first", [True, False])
def test_without_the_recipe_a_preflight_is_refused(is_cors_first: bool) -> None:
    """OPTIONS is exempted by no default; the refusal tells why all the same."""
    app = flask_app(authenticator(), is_cors_first=is_cors_first)
    status, headers, _ = asking_flask(app)("OPTIONS", ASKING)
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)


@pytest.fixture(
    scope="module",
    params=[
        ("gunicorn", "tests.served_cors:wsgi_app", "--bind=fd://{fd}"),
        ("uvicorn", "tests.served_cors:asgi_app", "--fd={fd}"),
    ],
    ids=lambda command: command[0],
)
def django(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    pytest.importorskip("corsheaders")
    with serving(*request.param) as port:
        yield request.param[0], port


def test_django_answers_a_preflight_without_a_token(django: tuple[str, int]) -> None:
    """By django-cors-headers inside, or by a middleware outside."""
    server, port = django
    status, headers, body = fetch(port, "/x", method="OPTIONS", headers=ASKING)
    assert (status, body in ("", "OK")) == (200, True)
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    status, headers, _ = fetch(port, "/x", headers={"Origin": ORIGIN})
    # Inside, as with gunicorn here, django-cors-headers does not see the refusal.
    is_outside = server == "uvicorn"
    expected = ORIGIN if is_outside else None
    assert (status, headers["Access-Control-Allow-Origin"]) == (401, expected)
