"""The examples, on the servers that people run them on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from jwt_middleware import StaticKeys
from jwt_middleware.jose import verify_compact

from .servers import fetch, serving

COMMANDS = {
    "flask": ("gunicorn", "examples.flask_app:app", "--threads=4", "--bind=fd://{fd}"),
    "starlette": ("uvicorn", "examples.starlette_app:app", "--fd={fd}"),
}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PASSWORD = "wonderland"
PATIENCE_S = 20


@pytest.fixture(scope="module", params=list(COMMANDS), ids=list(COMMANDS))
def example(request: pytest.FixtureRequest) -> Iterator[Example]:
    with serving(*COMMANDS[request.param]) as port:
        yield Example(request.param, port)


@pytest.fixture(scope="module")
def website() -> Iterator[Example]:
    """The Flask example, whose tokens live for a second."""
    with serving(*COMMANDS["flask"], environment={"ACCESS_LIFETIME": "1"}) as port:
        yield Example("flask", port)


@pytest.fixture(scope="module")
def page() -> Iterator[Example]:
    with serving(*COMMANDS["starlette"]) as port:
        yield Example("starlette", port)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookies(self) -> dict[str, list[str]]:
        """What is set: the value and the attributes of each cookie."""
        lines = [line.split("; ") for line in self.headers.get_all("Set-Cookie", [])]
        return {
            pair.partition("=")[0]: [pair.partition("=")[2], *attributes]
            for pair, *attributes in lines
        }


@dataclass(frozen=True)
class Example:
    name: str
    port: int

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return Answer(*fetch(self.port, path, headers=headers))

    def post(
        self, path: str, headers: Mapping[str, str] | None = None, body: str = ""
    ) -> Answer:
        return Answer(
            *fetch(self.port, path, method="POST", headers=headers, body=body)
        )

    def tokens(self, name: str, password: str = PASSWORD) -> Answer:
        body = json.dumps({"name": name, "password": password})
        return self.post("/token", JSON, body)

    def log_in(
        self,
        name: str,
        password: str = PASSWORD,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As a browser does: by a form, or by a script."""
        fields = {"name": name, "password": password}
        if self.name == "flask":
            return self.post("/login", {**FORM, **(headers or {})}, urlencode(fields))
        return self.post("/login", {**JSON, **(headers or {})}, json.dumps(fields))

    def refresh(self, fields: Mapping[str, str] | str) -> Answer:
        body = fields if isinstance(fields, str) else urlencode(fields)
        return self.post("/token/refresh", FORM, body)


def bearer(example: Example, name: str) -> dict[str, str]:
    answer = example.tokens(name)
    assert answer.status == 200
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def cookie(example: Example, name: str) -> dict[str, str]:
    answer = example.log_in(name)
    assert answer.status in (200, 303)
    return jar(answer)


def jar(answer: Answer) -> dict[str, str]:
    pairs = [f"{name}={value}" for name, (value, *_) in answer.cookies.items()]
    return {"Cookie": "; ".join(pairs)}


def grant(refresh_token: str, **more: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **more}


WAYS = pytest.mark.parametrize("way", [bearer, cookie])


def test_the_front_page_is_a_page(example: Example) -> None:
    answer = example.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert example.get("/page/style.css").status == 200


def test_the_keys_are_published_and_may_be_kept(example: Example) -> None:
    answer = example.get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=600"
    keys = StaticKeys.from_jwks(answer.json).keys
    token = example.tokens("bob").json["access_token"]
    assert json.loads(verify_compact(token, keys)[1])["sub"] == "bob"
    assert "d" not in answer.json["keys"][0]


@WAYS
def test_a_user_logs_in_and_is_known(example: Example, way: Any) -> None:
    answer = example.get("/me", way(example, "bob"))
    assert answer.status == 200
    assert answer.json | {"expires_in": 0} == {
        "user": "bob",
        "scopes": ["read"],
        "expires_in": 0,
    }


@WAYS
def test_logging_out_revokes(example: Example, way: Any) -> None:
    credentials = way(example, "alice")
    answer = example.post("/logout", credentials)
    assert answer.status in (204, 303)
    assert [attributes[0] for attributes in answer.cookies.values()] == ["", ""]
    answer = example.get("/me", credentials)
    assert answer.status == 401
    assert "was revoked" in answer.headers["WWW-Authenticate"]


@WAYS
def test_logging_out_everywhere_ends_all_sessions_of_a_user_alone(
    example: Example, way: Any
) -> None:
    """And a login right after it works."""
    other = bearer(example, "alice")
    sessions = [way(example, "bob"), bearer(example, "bob"), cookie(example, "bob")]
    assert example.post("/logout/everywhere", sessions[0]).status in (204, 303)
    assert [example.get("/me", session).status for session in sessions] == [401] * 3
    assert example.get("/me", other).status == 200
    assert example.get("/me", way(example, "bob")).status == 200


def test_tokens_are_kept_by_no_cache_and_read_by_no_other_site(
    example: Example,
) -> None:
    """I-1 and I-20, in success and in error."""
    pair = example.tokens("bob")
    refreshed = example.refresh(grant(pair.json["refresh_token"]))
    reused = example.refresh(grant(pair.json["refresh_token"]) | {"scope": "admin"})
    assert [pair.status, refreshed.status, reused.status] == [200, 200, 400]
    for answer in (pair, refreshed, reused, example.log_in("bob")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert pair.json["token_type"] == "Bearer"
    assert pair.json["expires_in"] == 60


def test_a_refresh_token_is_used_once(example: Example) -> None:
    """Ten seconds excepted, for tabs that race: then it gives the same again."""
    first = example.tokens("bob").json["refresh_token"]
    second, again = (example.refresh(grant(first)).json for _ in range(2))
    assert second["refresh_token"] == again["refresh_token"] != first
    headers = {"Authorization": f"Bearer {second['access_token']}"}
    assert example.get("/me", headers).status == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("grant_type=refresh_token", "invalid_request"),
        (
            "grant_type=refresh_token&refresh_token=a&refresh_token=a",
            "invalid_request",
        ),
        ("grant_type=refresh_token&refresh_token=", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=a.b.c", "invalid_grant"),
        (
            "grant_type=password&username=bob&password=wonderland",
            "unsupported_grant_type",
        ),
    ],
)
def test_the_token_endpoint_answers_as_rfc_6749_says(
    example: Example, body: str, error: str
) -> None:
    """I-3, I-4, I-17."""
    answer = example.refresh(body)
    assert (answer.status, answer.json["error"]) == (400, error)
    assert example.get("/token/refresh").status == 401  # public for POST alone
    assert example.post("/token/refresh", JSON, "{}").json["error"] == "invalid_request"


def test_more_scope_than_was_granted_is_refused_and_less_is_given(
    example: Example,
) -> None:
    pair = example.tokens("alice").json
    assert (
        example.refresh(grant(pair["refresh_token"], scope="read root")).json["error"]
        == "invalid_scope"
    )
    less = example.refresh(grant(pair["refresh_token"], scope="read")).json
    headers = {"Authorization": f"Bearer {less['access_token']}"}
    assert example.get("/me", headers).json["scopes"] == ["read"]


def test_the_cookies_are_those_that_a_browser_keeps_to_itself(
    example: Example,
) -> None:
    cookies = example.log_in("bob").cookies
    names = {"flask": "__Host-refresh", "starlette": "__Secure-refresh"}
    assert list(cookies) == ["__Host-access", names[example.name]]
    for name, (_, *attributes) in cookies.items():
        path = "/session" if name == "__Secure-refresh" else "/"
        same_site = "Lax" if example.name == "flask" else "Strict"
        assert {"Secure", "HttpOnly", f"Path={path}"} <= set(attributes)
        assert f"SameSite={same_site}" in attributes
        assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_the_admin_route_needs_a_scope(example: Example) -> None:
    assert example.get("/admin/users", bearer(example, "alice")).status == 200
    answer = example.get("/admin/users", bearer(example, "bob"))
    assert answer.status == 403
    assert 'scope="admin"' in answer.headers["WWW-Authenticate"]


def test_who_has_just_logged_in_may_do_what_wants_that(example: Example) -> None:
    assert example.post("/password", bearer(example, "bob")).json == {"changed": False}


def test_nobody_passes_without_a_token_or_with_a_forged_one(example: Example) -> None:
    forged = {"Authorization": bearer(example, "alice")["Authorization"] + "A"}
    assert example.get("/me").status == 401
    assert example.get("/me", forged).status == 401
    refresh_token = example.tokens("alice").json["refresh_token"]
    headers = {"Authorization": f"Bearer {refresh_token}"}
    assert example.get("/me", headers).status == 401


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("eve", "wonderland"), ("", "")]
)
def test_a_wrong_name_or_password_is_told_alike(
    example: Example, name: str, password: str
) -> None:
    assert example.tokens(name, password).status == 403
    answer = example.log_in(name, password)
    assert answer.status == 403
    assert answer.cookies == {}


@pytest.mark.parametrize("body", ["", "[]", "{}", "nonsense", '{"name": "alice"}'])
def test_a_login_without_name_and_password_is_refused(
    example: Example, body: str
) -> None:
    assert example.post("/token", JSON, body).status == 400


def test_another_sites_form_cannot_log_anybody_in(example: Example) -> None:
    """CS-12: the user would else act as somebody else, and not notice."""
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = example.log_in("alice", headers=headers)
        assert (answer.status, answer.json["error"]) == (403, "cross_origin")
        assert answer.cookies == {}


def test_another_sites_page_cannot_log_a_user_out(example: Example) -> None:
    credentials = cookie(example, "alice")
    foreign = {**credentials, "Origin": "https://evil.example"}
    for path in ("/logout", "/logout/everywhere"):
        assert example.post(path, foreign).status == 403
    assert example.get("/me", credentials).status == 200


def test_a_plain_text_login_is_not_taken_for_json(page: Example) -> None:
    """A page may post text/plain anywhere, unasked."""
    body = json.dumps({"name": "alice", "password": "wonderland"})
    for path in ("/login", "/token"):
        answer = page.post(path, {"Content-Type": "text/plain"}, body)
        assert answer.status == 415
        assert answer.cookies == {}


def test_the_page_refreshes_its_session_and_ends_it(page: Example) -> None:
    cookies = cookie(page, "bob")
    for origin in ("https://evil.example", "null"):
        foreign = {**cookies, "Origin": origin}
        assert page.post("/session/refresh", foreign).status == 403  # CS-12
        assert page.post("/session/end", foreign).status == 403
    refreshed = page.post("/session/refresh", cookies)
    assert (refreshed.status, refreshed.json) == (200, {"expires_in": 60})
    assert jar(refreshed) != cookies
    ended = page.post("/session/end", jar(refreshed))
    assert ended.status == 204
    assert all("Max-Age=0" in attributes for attributes in ended.cookies.values())
    assert page.get("/me", jar(refreshed)).status == 401
    again = page.post("/session/refresh", jar(refreshed))
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert again.cookies == {}


def test_who_has_no_session_is_logged_out_all_the_same(page: Example) -> None:
    answer = page.post("/session/end")
    assert answer.status == 204
    assert len(answer.cookies) == 2
    assert page.post("/session/refresh").status == 401


def test_the_websocket_greets_who_has_a_token_and_falls_with_the_session(
    page: Example,
) -> None:
    url = f"ws://127.0.0.1:{page.port}/ws"
    credentials = bearer(page, "bob")
    with connect(url, additional_headers=credentials) as websocket:
        assert websocket.recv() == "hello, bob"
        websocket.send("still there?")
        assert websocket.recv() == "still there?"
        assert page.post("/logout", credentials).status == 204
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
    with pytest.raises(InvalidStatus) as refused:
        connect(url)
    assert refused.value.response.status_code == 401


def test_a_website_renews_a_session_inside_a_request(website: Example) -> None:
    """Nothing tells the user; the refresh token is used once all the same."""
    cookies = cookie(website, "bob")
    renewed = website.get("/account", cookies)
    waited_until = time.monotonic() + PATIENCE_S
    while not renewed.cookies and time.monotonic() < waited_until:
        time.sleep(0.1)  # for the wall clock of another process, to pass the expiry
        renewed = website.get("/account", cookies)
    assert renewed.status == 200
    assert "<h2>bob</h2>" in renewed.body
    assert renewed.headers["Cache-Control"] == "no-store"
    assert set(renewed.cookies) == {"__Host-access", "__Host-refresh"}
    assert website.get("/me", jar(renewed)).json["user"] == "bob"
    raced = website.get("/account", cookies)  # another part of the same page
    assert raced.cookies["__Host-refresh"] == renewed.cookies["__Host-refresh"]
    assert website.post("/logout", cookies | {"Sec-Fetch-Site": "same-origin"})
    assert website.get("/me", jar(renewed)).status == 401


def test_a_website_sends_who_is_not_known_to_its_login(website: Example) -> None:
    browser = {"Sec-Fetch-Mode": "navigate"}
    answer = website.get("/account", browser)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    forged = {**browser, "Cookie": "__Host-access=a.b.c"}
    for path in ("/account", "/"):
        answer = website.get(path, forged)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert answer.cookies["__Host-access"][0] == ""
    assert website.get("/", browser).status == 200
    known = {**browser, **cookie(website, "bob")}
    assert website.get("/", known).headers["Location"] == "/account"
