"""The examples, on the servers that people run them on."""

from __future__ import annotations

import http.cookies
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from .servers import fetch, serving

COMMANDS = {
    "flask": ("gunicorn", "examples.flask_app:app", "--bind=fd://{fd}"),
    "starlette": ("uvicorn", "examples.starlette_app:app", "--fd={fd}"),
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module", params=list(COMMANDS.values()), ids=list(COMMANDS))
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with serving(*request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def starlette_port() -> Iterator[int]:
    with serving(*COMMANDS["starlette"]) as opened:
        yield opened


PASSWORD = "wonderland"


def log_in(port: int, path: str, name: str, password: str = PASSWORD) -> Any:
    body = json.dumps({"name": name, "password": password})
    return fetch(port, path, method="POST", headers=JSON, body=body)


def bearer(port: int, name: str) -> dict[str, str]:
    status, headers, body = log_in(port, "/token", name)
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    answer = json.loads(body)
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 600)
    return {"Authorization": f"Bearer {answer['access_token']}"}


def cookie(port: int, name: str) -> dict[str, str]:
    status, headers, body = log_in(port, "/login", name)
    assert (status, body) == (204, "")
    morsel = http.cookies.SimpleCookie(headers["Set-Cookie"])["__Host-access"]
    assert (morsel["path"], morsel["samesite"].lower()) == ("/", "lax")
    assert morsel["secure"]
    assert morsel["httponly"]
    assert not morsel["domain"]
    return {"Cookie": f"__Host-access={morsel.value}"}


def test_the_front_page_says_what_to_try(port: int) -> None:
    status, _, body = fetch(port, "/")
    assert status == 200
    assert "curl" in body


@pytest.mark.parametrize("way", [bearer, cookie])
def test_a_user_logs_in_and_is_known(port: int, way: Any) -> None:
    status, _, body = fetch(port, "/me", headers=way(port, "bob"))
    assert (status, json.loads(body)) == (200, {"user": "bob", "scopes": ["read"]})


@pytest.mark.parametrize("way", [bearer, cookie])
def test_logging_out_revokes(port: int, way: Any) -> None:
    credentials = way(port, "alice")
    assert fetch(port, "/logout", method="POST", headers=credentials)[0] == 204
    status, headers, _ = fetch(port, "/me", headers=credentials)
    assert status == 401
    assert "was revoked" in headers["WWW-Authenticate"]


def test_the_admin_route_needs_a_scope(port: int) -> None:
    assert fetch(port, "/admin/users", headers=bearer(port, "alice"))[0] == 200
    status, headers, _ = fetch(port, "/admin/users", headers=bearer(port, "bob"))
    assert status == 403
    assert 'scope="admin"' in headers["WWW-Authenticate"]


def test_nobody_passes_without_a_token_or_with_a_forged_one(port: int) -> None:
    forged = {"Authorization": bearer(port, "alice")["Authorization"] + "A"}
    assert fetch(port, "/me")[0] == 401
    assert fetch(port, "/me", headers=forged)[0] == 401


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("eve", "wonderland"), ("", "")]
)
def test_a_wrong_name_or_password_is_told_alike(
    port: int, name: str, password: str
) -> None:
    assert log_in(port, "/token", name, password)[0] == 403


@pytest.mark.parametrize("body", ["", "[]", "{}", "nonsense", '{"name": "alice"}'])
def test_a_login_without_name_and_password_is_refused(port: int, body: str) -> None:
    assert fetch(port, "/token", method="POST", headers=JSON, body=body)[0] == 400


def test_another_sites_form_cannot_log_anybody_in(port: int) -> None:
    """A page may post text/plain anywhere, unasked; so only JSON is taken."""
    body = json.dumps({"name": "alice", "password": "wonderland"})
    headers = {"Content-Type": "text/plain"}
    answer = fetch(port, "/login", method="POST", headers=headers, body=body)
    assert answer[0] == 415
    assert "Set-Cookie" not in answer[1]


def test_another_sites_page_cannot_log_a_user_out(port: int) -> None:
    credentials = cookie(port, "alice")
    foreign = {**credentials, "Origin": "https://evil.example"}
    assert fetch(port, "/logout", method="POST", headers=foreign)[0] == 403
    assert fetch(port, "/me", headers=credentials)[0] == 200


def test_the_websocket_greets_who_has_a_token(starlette_port: int) -> None:
    url = f"ws://127.0.0.1:{starlette_port}/ws"
    with connect(url, additional_headers=bearer(starlette_port, "bob")) as websocket:
        assert websocket.recv() == "hello, bob"
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401
