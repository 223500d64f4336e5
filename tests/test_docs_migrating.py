"""The page on migrating shows real names, and what it says of other packages is so."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, make_response

import jwt_middleware
from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    SessionCookies,
    Token,
    TokenIssuer,
    TrustedIssuer,
    errors,
)
from jwt_middleware import fastapi as jwt_fastapi
from jwt_middleware import flask as jwt_flask
from jwt_middleware.wsgi import JWTMiddleware

HERE = Path(__file__).resolve()
ROOT = next(up for up in HERE.parents if (up / "pyproject.toml").exists())
TEXT = (ROOT / "docs" / "migrating.md").read_text()
CALLABLE: dict[str, Any] = {
    **{name: getattr(jwt_middleware, name) for name in jwt_middleware.__all__},
    "JWTMiddleware": JWTMiddleware,
    "init_app": jwt_flask.init_app,
    "require_token": jwt_flask.require_token,
    "requires": jwt_flask.requires,
    "set_cookies": jwt_flask.set_cookies,
}
FOREIGN = {"Depends", "Security", "get_wsgi_application"}
"""Names of frameworks."""
HELD: dict[str, type] = {
    "auth": Authenticator,
    "cookies": SessionCookies,
    "issuer": TokenIssuer,
    "token": Token,
}
"""What the names of variables on the page hold."""
OPTIONS = {
    option
    for made in (Authenticator, TokenIssuer, TrustedIssuer, Key.from_secret)
    for option in inspect.signature(made).parameters
}
SECRET = "0123456789abcdef0123456789abcdef"


def written() -> Iterator[str]:
    """Each piece of code in the column "write"."""
    tables = re.findall(r"^\| you wrote \| write \|\n\|.*\n((?:\|.*\n)+)", TEXT, re.M)
    assert len(tables) == 6
    for row in "".join(tables).splitlines():
        yield from re.findall(r"`([^`]+)`", row.split(" | ", 1)[1])


def parsed(code: str) -> ast.AST:
    """*code* as Python; a decorator, an option or a clause is completed."""
    if code.startswith("@"):
        code += "\ndef view(): ..."
    elif code.startswith("except"):
        code = f"try: ...\n{code}: ..."
    elif re.match(r"\w+=", code):
        code = f"dict({code})"
    return ast.parse("async def f():\n" + textwrap.indent(code, " "))


def check_call(call: ast.Call) -> None:
    """Raise AssertionError if a name or an option of *call* does not exist."""
    given = {keyword.arg for keyword in call.keywords}
    if isinstance(call.func, ast.Attribute):
        assert isinstance(call.func.value, ast.Name)
        holder = {**CALLABLE, **HELD}[call.func.value.id]
        made = getattr(holder, call.func.attr)
    else:
        assert isinstance(call.func, ast.Name)
        if call.func.id == "dict":
            assert given <= OPTIONS
        if call.func.id in FOREIGN | {"dict"}:
            return
        made = CALLABLE.get(call.func.id) or getattr(errors, call.func.id)
    parameters = inspect.signature(made).parameters.values()
    if all(parameter.kind.name != "VAR_KEYWORD" for parameter in parameters):
        assert given <= {parameter.name for parameter in parameters}


@pytest.mark.parametrize("code", sorted(set(written())))
def test_what_is_to_be_written_exists(code: str) -> None:
    if code == "jwt_middleware" or code.startswith("jwt_middleware."):
        return
    for node in ast.walk(parsed(code)):
        if isinstance(node, ast.Call):
            chained = node.func
            if isinstance(chained, ast.Attribute) and isinstance(
                chained.value, ast.Call
            ):
                continue  # the attribute of what a call returns
            check_call(node)
        if isinstance(node, ast.ExceptHandler):
            assert isinstance(node.type, ast.Name)
            kind = getattr(errors, node.type.id)
            assert issubclass(kind, AuthError)


def test_the_dependencies_of_fastapi_exist() -> None:
    assert jwt_fastapi.current_token is not None
    assert jwt_fastapi.optional_token is not None


@pytest.fixture
def both() -> Authenticator:
    """As the page says for the time in which the old package still signs."""
    return Authenticator(
        TrustedIssuer(
            "https://app.example.com", audience="app", keys=[Key.from_secret(SECRET)]
        ),
        sources=(BearerHeader(), Cookie("access_token_cookie")),
    )


@pytest.fixture
def old() -> Flask:
    """An application with flask-jwt-extended, which names issuer and audience."""
    extended = pytest.importorskip("flask_jwt_extended")
    app = Flask("old")
    app.config.update(
        JWT_SECRET_KEY=SECRET,
        JWT_ENCODE_ISSUER="https://app.example.com",
        JWT_ENCODE_AUDIENCE="app",
    )
    extended.JWTManager(app)
    return app


def test_access_tokens_of_flask_jwt_extended_are_accepted(
    both: Authenticator, old: Flask
) -> None:
    extended = pytest.importorskip("flask_jwt_extended")
    with old.test_request_context():
        text = extended.create_access_token("alice")
        refresh = extended.create_refresh_token("alice")
    assert both.authenticate(text).subject == "alice"
    with pytest.raises(errors.WrongType):
        both.authenticate(refresh)


def test_its_cookie_is_read(both: Authenticator, old: Flask) -> None:
    extended = pytest.importorskip("flask_jwt_extended")
    with old.test_request_context():
        response = make_response("")
        extended.set_access_cookies(response, extended.create_access_token("alice"))
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    app = Flask("new")
    jwt_flask.init_app(app, both)
    app.add_url_rule("/", view_func=lambda: jwt_flask.require_token().subject or "")
    answer = app.test_client(use_cookies=False).get("/", headers={"Cookie": cookie})
    assert answer.text == "alice"


def test_without_issuer_and_audience_they_are_refused(both: Authenticator) -> None:
    extended = pytest.importorskip("flask_jwt_extended")
    app = Flask("older")
    app.config["JWT_SECRET_KEY"] = SECRET
    extended.JWTManager(app)
    with app.test_request_context(), pytest.raises(errors.UnknownIssuer):
        both.authenticate(extended.create_access_token("alice"))
