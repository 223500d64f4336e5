"""The same small application on each framework, without any lock."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from .drive import App

BODY = "ok"
TYPE, LENGTH = ("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))
ASGI_HEADERS = [(n.lower().encode(), v.encode()) for n, v in (TYPE, LENGTH)]


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [TYPE, LENGTH])
    return [BODY.encode()]


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    start = {"type": "http.response.start", "status": 200, "headers": ASGI_HEADERS}
    await send(start)
    await send({"type": "http.response.body", "body": BODY.encode()})


def flask_view() -> str:
    return BODY


async def view() -> str:
    return BODY


async def starlette_view(request: Request) -> PlainTextResponse:
    return PlainTextResponse(BODY)


def flask_app() -> Flask:
    app = Flask("benchmark")
    app.add_url_rule("/", view_func=flask_view)
    return app


def starlette_app() -> Starlette:
    return Starlette(routes=[Route("/", starlette_view)])


def fastapi_app() -> FastAPI:
    app = FastAPI()
    app.add_api_route("/", view)
    return app


def litestar_app(**options: Any) -> App:
    litestar = import_module("litestar")
    handler = litestar.get("/")(view)
    app: App = litestar.Litestar([handler], logging_config=None, **options)
    return app
