"""No application that is put together well is taken for one with a misplaced guard."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from flask import Blueprint, Flask
from flask.views import MethodView
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.testclient import TestClient

from jwt_middleware import fastapi, flask, starlette

from .conftest import Mint, authenticator


def plain(name: str = "") -> str:
    return "passed"


def logged(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def called(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return called


class Page(MethodView):
    @flask.requires("read")
    def get(self) -> str:
        return plain()


def inside(name: str = "") -> str:
    @flask.requires("read")
    def inner() -> str:
        return plain()

    return str(inner())


def put_in_flask(app: Flask) -> None:
    def local() -> str:
        return "passed"

    guard = flask.requires("read")
    decorated: Any = type("Decorated", (Page,), {"decorators": [guard]})
    views: list[Callable[..., Any]] = [
        *(guard(plain), logged(guard(plain)), guard(logged(plain))),
        *(functools.partial(guard(plain), "x"), guard(functools.partial(plain, "x"))),
        *(guard(guard(plain)), inside, Page.as_view("page")),
        *(guard(Page.as_view("whole")), decorated.as_view("decorated")),
        *(local, guard(local), plain),  # on purpose with and without
    ]
    blueprint = Blueprint("all", __name__)
    blueprint.before_request(guard(lambda: None))
    for number, view in enumerate(views):
        app.add_url_rule(f"/{number}", f"view{number}", view)
        blueprint.add_url_rule(f"/{number}", f"view{number}", view)
    app.register_blueprint(blueprint, url_prefix="/below")
    app.register_blueprint(blueprint, url_prefix="/again", name="again")


def test_no_good_application_of_flask_is_refused(mint: Mint) -> None:
    app = Flask("guards")
    put_in_flask(app)
    flask.init_app(app, authenticator())
    headers = {"Authorization": f"Bearer {mint(scope='read')}"}
    paths = [rule.rule for rule in app.url_map.iter_rules()]
    for path in paths:
        if "static" not in path:
            assert app.test_client().get(path, headers=headers).text == "passed", path


def answer(request: Request, name: str = "") -> Response:
    return PlainTextResponse("passed")


async def awaited(request: Request) -> Response:
    return PlainTextResponse("passed")


class Endpoint(HTTPEndpoint):
    @starlette.requires("read")
    async def get(self, request: Request) -> Response:
        return PlainTextResponse("passed")


class Held:
    @starlette.requires("read")
    async def page(self, request: Request) -> Response:
        return PlainTextResponse("passed")

    def bare(self, request: Request) -> Response:
        return PlainTextResponse("passed")


async def around(request: Request) -> Response:
    @starlette.requires("read")
    async def inner(request: Request) -> Response:
        return PlainTextResponse("passed")

    return await inner(request)


def endpoints() -> list[Any]:
    async def local(request: Request) -> Response:
        return PlainTextResponse("passed")

    guard = starlette.requires("read")
    return [
        *(guard(answer), guard(awaited), guard(functools.partial(answer, name="x"))),
        *(functools.partial(guard(answer), name="x"), guard(guard(awaited))),
        *(Endpoint, Held().page, guard(Held().bare), Held().bare, around),
        *(local, guard(local), answer, awaited),
    ]


@pytest.mark.parametrize("is_mounted", [False, True])
def test_no_good_application_of_starlette_is_refused(
    is_mounted: bool, mint: Mint
) -> None:
    routes: list[Any] = [Route(f"/{n}", e) for n, e in enumerate(endpoints())]
    paths = [route.path for route in routes]
    if is_mounted:
        routes, paths = [Mount("/m", Router(routes))], [f"/m{path}" for path in paths]
    app = Starlette(routes=routes)
    starlette.init_app(app, authenticator())
    headers = {"Authorization": f"Bearer {mint(scope='read')}"}
    with TestClient(app) as client:
        for path in paths:
            assert client.get(path, headers=headers).text == "passed", path


def test_no_good_application_of_fastapi_is_refused(mint: Mint) -> None:
    app, router = FastAPI(), APIRouter()
    guard = starlette.requires("read")
    views = [guard(awaited), guard(logged(answer)), logged(guard(answer)), awaited]
    for number, view in enumerate([*views, guard(Held().bare), around]):
        app.add_api_route(f"/{number}", view, response_model=None)
        router.add_api_route(f"/{number}", view, response_model=None)
    app.include_router(router, prefix="/below")
    fastapi.init_app(app, authenticator())
    headers = {"Authorization": f"Bearer {mint(scope='read')}"}
    with TestClient(app) as client:
        for number in range(len(views) + 2):
            for path in (f"/{number}", f"/below/{number}"):
                assert client.get(path, headers=headers).text == "passed", path
