"""What a type checker is told: mypy and pyright read this, and it is true when run."""

from __future__ import annotations

from typing import Any, assert_type

import falcon
import falcon.asgi
import pytest
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from jwt_middleware import Token, asgi, current_token, flask, starlette, wsgi
from jwt_middleware.errors import NoCredentials

from .conftest import authenticator
from .test_inner_errors_frameworks import django_settings

AUTH = authenticator()


def test_applications_of_asgi_frameworks_are_accepted() -> None:
    from blacksheep import Application
    from django.core.handlers.asgi import (  # type: ignore[import-untyped]
        ASGIHandler,
    )

    asgi.JWTMiddleware(Starlette(), AUTH)
    asgi.JWTMiddleware(FastAPI(), AUTH)
    asgi.JWTMiddleware(Quart("types"), AUTH)
    asgi.JWTMiddleware(Litestar([]), AUTH)
    asgi.JWTMiddleware(falcon.asgi.App(), AUTH)
    asgi.JWTMiddleware(Application(), AUTH)
    asgi.JWTMiddleware(asgi.JWTMiddleware(FastAPI(), AUTH), AUTH)
    with django_settings():
        asgi.JWTMiddleware(ASGIHandler(), AUTH)
    Starlette(middleware=[Middleware(asgi.JWTMiddleware, auth=AUTH)])
    FastAPI().add_middleware(asgi.JWTMiddleware, auth=AUTH)


@pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")  # WebOb
def test_applications_of_wsgi_frameworks_are_accepted() -> None:
    from bottle import Bottle  # type: ignore[import-untyped]
    from django.core.handlers.wsgi import (  # type: ignore[import-untyped]
        WSGIHandler,
    )
    from pyramid.config import Configurator  # type: ignore[import-untyped]

    app = Flask("types")
    wsgi.JWTMiddleware(app, AUTH)
    wsgi.JWTMiddleware(app.wsgi_app, AUTH)
    wsgi.JWTMiddleware(falcon.App(), AUTH)
    wsgi.JWTMiddleware(Bottle(), AUTH)
    wsgi.JWTMiddleware(Configurator().make_wsgi_app(), AUTH)
    wsgi.JWTMiddleware(wsgi.JWTMiddleware(app, AUTH), AUTH)
    with django_settings():
        # Its type is inferred from code that may return a coroutine.
        wsgi.JWTMiddleware(WSGIHandler(), AUTH)  # pyright: ignore[reportArgumentType]


@flask.requires("read")
def view(name: str, *, size: int = 1) -> str:
    return name * size


@starlette.requires("read")
async def endpoint(request: Request) -> Response:
    return PlainTextResponse()


def seen_of_a_view() -> None:
    """Read by type checkers alone: a guard keeps the type of what it guards."""
    assert_type(view("x", size=2), str)
    view(1)  # type: ignore[arg-type]
    view("x", width=2)  # type: ignore[call-arg]


async def seen_of_an_endpoint(request: Request) -> None:
    assert_type(await endpoint(request), Response)
    await endpoint()  # type: ignore[call-arg]


def test_a_token_that_is_needed_is_a_token() -> None:
    request = Request({"type": "http", "jwt_middleware.token": None})
    with pytest.raises(NoCredentials):
        assert_type(starlette.require_token(request), Token)
    with Flask("types").test_request_context(), pytest.raises(NoCredentials):
        assert_type(flask.require_token(), Token)


def test_a_token_that_may_be_missing_may_be_none() -> None:
    found: Any = assert_type(current_token(), Token | None)
    assert found is None
    assert assert_type(starlette.current_token(), Token | None) is None
    with Flask("types").test_request_context():
        assert assert_type(flask.current_token(), Token | None) is None
