"""An AuthError in a resource of flask-restx is answered, in production as in debug."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import Forbidden, HTTPException

from jwt_middleware import AuthError
from jwt_middleware.errors import InsufficientScope, KeysUnavailable, TokenRevoked
from jwt_middleware.flask import init_app, require_token, requires

from .conftest import Mint, authenticator

flask_restx: Any = pytest.importorskip("flask_restx")

SCOPE = (
    'Bearer realm="api", error="insufficient_scope", error_description="The access '
    'token lacks a scope that is required.", scope="pay"'
)


def made(
    raises: Callable[[], object], *, debug: bool = False, is_first: bool = True
) -> tuple[Flask, Any]:
    """An application and its Api, which is made before or after init_app."""
    app = Flask("restx")
    app.debug = debug
    if not is_first:
        init_app(app, authenticator())
    api = flask_restx.Api(app)

    @api.route("/page")
    class Page(flask_restx.Resource):  # type: ignore[misc]
        def get(self) -> Any:
            raises()
            return {"hello": require_token().subject}

    if is_first:
        init_app(app, authenticator())
    return app, api


def lack() -> str:
    raise InsufficientScope("lacks pay", scopes=("pay",))


@requires("pay")
def guarded() -> None:
    pass


def get(app: Flask, mint: Mint) -> Any:
    return app.test_client().get("/page", headers={"Authorization": f"Bearer {mint()}"})


@pytest.mark.parametrize("is_first", [True, False], ids=["api first", "api last"])
@pytest.mark.parametrize("debug", [True, False], ids=["debug", "production"])
@pytest.mark.parametrize("raises", [lack, guarded])
def test_a_refusal_in_a_resource_keeps_its_status_and_its_challenge(
    raises: Callable[[], object], debug: bool, is_first: bool, mint: Mint
) -> None:
    answer = get(made(raises, debug=debug, is_first=is_first)[0], mint)
    assert answer.status_code == 403
    assert answer.headers.getlist("WWW-Authenticate") == [SCOPE]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json == InsufficientScope("", scopes=()).told()


@pytest.mark.parametrize(
    "error", [TokenRevoked("secret"), KeysUnavailable("secret")], ids=["401", "503"]
)
def test_other_refusals_in_a_resource_keep_theirs(error: AuthError, mint: Mint) -> None:
    def fail() -> None:
        raise error

    app, _ = made(fail)
    for _ in range(2):  # the same object, raised again
        answer = get(app, mint)
        assert answer.status_code == error.status
        assert answer.json == error.told()
        assert "secret" not in answer.text
        assert ("Retry-After" in answer.headers) is (error.retry_after is not None)
    assert not isinstance(error, HTTPException)


def test_a_resource_that_refuses_nothing_answers(mint: Mint) -> None:
    assert get(made(lambda: None)[0], mint).json == {"hello": "alice"}


def test_a_handler_of_the_api_still_handles_refusals(mint: Mint) -> None:
    app, api = made(lack)

    @api.errorhandler(InsufficientScope)  # type: ignore[untyped-decorator]
    def handle(error: InsufficientScope) -> Any:
        return {"lacks": list(error.scopes), "log": str(error)}, 418

    answer = get(app, mint)
    assert (answer.status_code, answer.json["lacks"]) == (418, ["pay"])
    assert answer.json["log"] == "lacks pay"


def test_a_refusal_is_asked_twice_and_logged_once(
    mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("plain")
    init_app(app, authenticator())
    app.get("/page")(lack)

    def handle(error: HTTPException) -> Any:
        assert not hasattr(error, "data")
        assert error.get_response() is error.get_response()
        return error.get_response()

    app.register_error_handler(InsufficientScope, handle)
    with caplog.at_level("INFO", "jwt_middleware"):
        assert get(app, mint).status_code == 403
    assert caplog.messages == ["refused 'GET' '/page': insufficient_scope: lacks pay"]


def test_a_handler_of_a_status_does_not_take_a_refusal(mint: Mint) -> None:
    """Of Flask itself; a handler of the refusal's class does."""
    app = Flask("plain")
    init_app(app, authenticator())
    app.get("/page")(lack)
    app.register_error_handler(403, lambda error: ("mine", 200))
    app.register_error_handler(HTTPException, lambda error: ("mine", 200))
    assert get(app, mint).status_code == 403
    app.config["TRAP_HTTP_EXCEPTIONS"] = True
    assert get(app, mint).status_code == 403
    app = Flask("plain")
    init_app(app, authenticator())
    app.get("/page")(lack)
    app.register_error_handler(InsufficientScope, lambda error: (str(error), 200))
    assert get(app, mint).text == "lacks pay"


def test_an_error_that_is_an_http_exception_already_is_left_alone(mint: Mint) -> None:
    class Banned(AuthError, Forbidden):  # type: ignore[misc]
        code = 403

    app = Flask("banned")
    init_app(app, authenticator())
    banned = Banned()

    @app.get("/page")
    def page() -> str:
        raise banned

    app.register_error_handler(Banned, lambda error: str(error is banned))
    assert get(app, mint).text == "True"
