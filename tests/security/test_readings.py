"""A rule holds however a server or a router reads the path.

`tests/security/test_routers.py` asks real routers; here each way to read a path is
named, and every combination of them is generated.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.middleware.gzip import GZipMiddleware
from starlette.testclient import TestClient

from jwt_middleware import Rule
from jwt_middleware.asgi import JWTMiddleware, ScopeRequest
from jwt_middleware.bridge import run
from jwt_middleware.challenge import Reply
from jwt_middleware.request import Strips
from jwt_middleware.roots import AppRoot
from tests.conftest import authenticator, mint_token
from tests.doors import ASGIDoor, Door, WSGIDoor

RULES = (
    Rule("/admin/*", scopes=("admin",)),
    Rule("/static/*", public=True),
    Rule("/*", optional=True),
)
READER = mint_token(scope="read")
ADMIN = mint_token(scope="admin")

SPELLINGS = {
    "doubled slash": "//admin/purge",
    "doubled slash inside": "/admin//purge",
    "dot segments in front": "/static/../admin/purge",
    "a dot segment": "/./admin/purge",
    "dot segments above the root": "/../../admin/purge",
    "dot segments behind, for a catch-all route": "//admin/purge/../..",
    "parameters": "/admin;x=1/purge",
    "parameters of nothing": "/;x/admin/purge",
    "backslash": "\\admin\\purge",
    "another letter case": "/Admin/purge",
    "full-width letters": "/\uff41dmin/purge",
    "full-width letters in capitals": "/\uff21dmin/purge",
    "full-width slash": "/static/..\uff0fadmin/purge",
    "an ignorable character": "/ad\u00admin/purge",
    "an invalid octet that is dropped": "/adm\udcffin/purge",
    "a control character that is dropped": "/adm\x00in/purge",
    "a line break at the end": "/admin/purge\n",
    "absolute form": "http://h/admin/x",
    "authority form": "//h/admin/x",
    "no first slash": "admin/purge",
    "encoded once more": "/%61dmin/purge",
    "encoded three times": "/%25252561dmin/purge",
    "encoded slash": "/static%2F..%2Fadmin/purge",
    "encoded dots": "/static/%2e%2e/admin/purge",
    "no last slash": "/admin",
    "a dot that Windows drops": "/admin./purge",
    "dots and blanks that Windows drops": "/admin. ./purge",
    "a no-break blank that is folded and dropped": "/admin\u00a0/purge",
    "two at once": "/%41dmin;x//purge",
}


@pytest.fixture
def guarded(door: Door) -> Door:
    return door.behind(authenticator(rules=RULES))


@pytest.mark.parametrize("path", SPELLINGS.values(), ids=SPELLINGS)
def test_every_reading_is_held_to_its_rule(guarded: Door, path: str) -> None:
    """Anonymous requests and tokens without the scope stay outside."""
    if not path.startswith("/") and guarded.name == "wsgi":
        path = f"/{path.rpartition('//h/')[2]}"  # PEP 3333 knows no other path
    assert guarded.get(path).status in (400, 401)
    assert guarded.get(path, bearer=READER).status in (400, 403)
    assert guarded.get(path, bearer=ADMIN).entered


@pytest.mark.parametrize(
    "path",
    [
        "/static/../inner/x",
        "/static/../../inner/x",
        "/static/%2e%2e/inner/x",
        "/static/a/../../inner/x",
        "/static/..;/inner/x",
        "/static//../inner/x",
    ],
)
def test_dots_need_not_lead_out_of_what_is_mounted(door: Door, path: str) -> None:
    """A folder of files, or an application inside another, stops them at its root."""
    rules = (Rule("/static/inner/*", scopes=("admin",)), Rule("/*", optional=True))
    guarded = door.behind(authenticator(rules=rules))
    assert guarded.get(path).status in (400, 401)
    assert guarded.get(path, bearer=READER).status in (400, 403)
    assert guarded.get(path, bearer=ADMIN).entered


@pytest.mark.parametrize("path", [" /admin/x", "\t /admin/x", " http://h/admin/x"])
def test_blanks_in_front_are_dropped_as_by_a_parser_of_urls(
    asgi_door: ASGIDoor, path: str
) -> None:
    """As Quart does; WSGI knows no path without a slash in front."""
    guarded = asgi_door.behind(authenticator(rules=RULES))
    extra = {"path": path}
    assert guarded.get(extra=extra).status in (400, 401)
    assert guarded.get(bearer=READER, extra=extra).status in (400, 403)


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/api", "/apiadmin/x"),
        ("/api", "/x/api/admin/x"),
        ("/api", "/API/admin/x"),
        ("/api/", "/api/admin/x"),
        ("api", "/apiadmin/x"),
        ("/api", "/api/admin/x"),
    ],
)
def test_a_root_is_stripped_at_any_boundary(
    asgi_door: ASGIDoor, root: str, path: str
) -> None:
    """Some routers strip a root without looking for a slash after it."""
    guarded = asgi_door.behind(authenticator(rules=RULES))
    extra = {"path": path, "root_path": root}
    assert guarded.get(extra=extra).status in (400, 401)
    assert guarded.get(bearer=READER, extra=extra).status in (400, 403)


@pytest.mark.parametrize(
    "path",
    [
        *("/static/Logo.PNG", "/static/caf\u00e9.css", "/static/\u65e5\u672c.html"),
        *("/static/\uff21.png", "/static/a.b-c_d~e/f.min.js", "/static/a b"),
        *("/static/v1./a", "/static/the end.", "/static/... "),
    ],
)
def test_an_ordinary_path_stays_public(guarded: Door, path: str) -> None:
    answer = guarded.get(path, raw_path=quote(path))
    assert answer.status == 200


@pytest.mark.parametrize("rule", ["/Admin/*", "/ADMIN/*", "/\uff41dmin/*"])
@pytest.mark.parametrize("path", ["/admin/purge", "/Admin/purge", "/aDmIn"])
def test_the_letter_case_of_a_rule_does_not_matter_either(
    door: Door, rule: str, path: str
) -> None:
    """A router that ignores case serves a route in capitals for a lower-case path."""
    rules = (Rule(rule, scopes=("admin",)), Rule("/*", optional=True))
    guarded = door.behind(authenticator(rules=rules))
    assert guarded.get(path).status == 401
    assert guarded.get(path, bearer=READER).status == 403
    assert guarded.get(path, bearer=ADMIN).entered


def test_a_public_rule_stays_one_for_its_own_letter_case(door: Door) -> None:
    rules = (Rule("/Docs/*", public=True), Rule("/*", scopes=("read",)))
    guarded = door.behind(authenticator(rules=rules))
    assert guarded.get("/Docs/Index.html").entered
    assert guarded.get("/docs/Index.html").status == 401


def test_a_path_with_its_root_is_held_to_the_rule_of_both(door: Door) -> None:
    """Some applications ignore the root, and their routes begin with it."""
    rules = (
        Rule("/api/admin/*", scopes=("admin",)),
        Rule("/health", public=True),
        Rule("/*", scopes=("read",)),
    )
    guarded = door.behind(authenticator(rules=rules))
    assert guarded.get("/admin/x", root="/api", bearer=READER).status == 403
    assert guarded.get("/x", root="/api", bearer=READER).entered
    assert guarded.get("/health", root="/api").entered


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("path", ["/apple-touch-icon.png", "/static/app.js", "/app/x"])
def test_a_path_that_only_resembles_the_root_stays_public(path: str) -> None:
    """FastAPI strips a root before a slash alone: the proxy has stripped it here."""
    inner = FastAPI(root_path="/app")
    for route in ("/apple-touch-icon.png", "/static/app.js", "/x"):
        inner.add_api_route(route, lambda: "in")
    rules = (Rule("/*", public=True),)
    app = JWTMiddleware(inner, authenticator(rules=rules))
    assert TestClient(app).get(path).text == '"in"'


def test_a_path_that_can_be_read_in_too_many_ways_is_refused(guarded: Door) -> None:
    answer = guarded.get("/a/;/%2e\\..//" * 9, bearer=ADMIN)
    assert (answer.status, answer.entered) == (400, False)
    assert answer.json["error"] == "invalid_request"


@pytest.mark.parametrize("character", ["a", "\ufdfa", "\u0390", "%25"])
def test_a_long_path_is_refused_before_it_is_folded(
    guarded: Door, character: str
) -> None:
    answer = guarded.get("/" + character * 65_536, bearer=ADMIN)
    assert (answer.status, answer.entered) == (400, False)


def test_a_long_path_of_an_application_is_read(guarded: Door) -> None:
    assert guarded.get("/static/" + "a" * 5000).entered


def test_many_different_characters_are_read(guarded: Door) -> None:
    """What is remembered of characters is bounded."""
    for start in range(0x4E00, 0x4E00 + 12_000, 1000):
        path = "/static/" + "".join(map(chr, range(start, start + 1000)))
        assert guarded.get(path, raw_path=quote(path)).entered
    assert guarded.get("/adm\u0130n/purge").entered is False


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"])
def test_a_public_rule_admits_only_reading_unless_it_names_the_method(
    door: Door, method: str
) -> None:
    """A method override may turn a POST into anything."""
    login = Rule("/login", methods=(method,), public=True)
    named = door.behind(authenticator(rules=(login,)))
    unnamed = door.behind(authenticator(rules=(Rule("/login", public=True),)))
    assert named.request(method, "/login").entered
    assert unnamed.request(method, "/login").status == 401
    assert unnamed.get("/login").entered
    assert unnamed.request("HEAD", "/login").entered


def test_the_log_says_which_method_the_rule_has_to_name(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jwt_middleware")
    door.behind(authenticator(rules=(Rule("/login", public=True),))).post("/login")
    assert "write methods=('POST',)" in caplog.text


@pytest.mark.parametrize(
    "path", ["/users/{id}", "/users/<id>", "/users/<int:id>/x", "/:id"]
)
def test_a_rule_has_no_parameters(path: str) -> None:
    with pytest.raises(ValueError, match=r"write '(/users)?/\*'"):
        Rule(path)


def test_a_method_is_written_in_capitals() -> None:
    with pytest.raises(ValueError, match="write 'GET'"):
        Rule("/", methods=("get",))


STEPS: dict[str, Callable[[str], str]] = {
    "encoded": lambda s: "".join(
        "".join(f"%{octet:02x}" for octet in c.encode()) if c.isalpha() else c
        for c in s
    ),
    "capitals": str.upper,
    "full width": lambda s: "".join(
        chr(ord(c) + 0xFEE0) if c.isalpha() and c.isascii() else c for c in s
    ),
    "parameters": lambda s: "/" + s[1:].replace("/", ";a/"),
    "doubled": lambda s: s.replace("/", "//"),
    "dots": lambda s: f"/x/..{s}",
    "nothing": lambda s: s,
}


@pytest.mark.parametrize(
    "steps",
    [*itertools.product(STEPS, repeat=2)],
    ids=lambda steps: " then ".join(steps),
)
def test_readings_combine(guarded: Door, steps: tuple[str, str]) -> None:
    path = "/admin/purge"
    for step in steps:
        path = STEPS[step](path)
    assert guarded.get(path, bearer=READER).status in (400, 403)
    assert not guarded.get(path).entered


PARTS = st.sampled_from(
    [
        *(
            "/",
            "//",
            "\\",
            "%2f",
            "%252f",
            "\uff0f",
            ".",
            "..",
            "%2e",
            "\uff0e",
            ";",
            ";a=b",
        ),
        *(
            "admin",
            "ADMIN",
            "\uff41dmin",
            "%61dmin",
            "static",
            "x",
            "\udcff",
            "\x01",
            "?",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=9).map("".join))
def test_both_protocols_read_alike(path: str) -> None:
    """And whatever the path, the answer is a refusal or the application's."""
    answers = []
    for opened in (WSGIDoor, ASGIDoor):
        guarded = opened(authenticator(rules=RULES))
        for token in (None, READER, ADMIN):
            answer = guarded.get("/" + path, bearer=token)
            answers.append((answer.status, answer.entered))
    assert answers[:3] == answers[3:]
    assert {status for status, _ in answers} <= {200, 400, 401, 403}


def app_with_root(root: str) -> Any:
    """A FastAPI that sets its own root, wrapped by other middleware."""
    inner = FastAPI(root_path=root)

    @inner.get("/admin/purge")
    def purge() -> str:
        return "purged"

    return GZipMiddleware(inner)


@pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")
@pytest.mark.parametrize("root", ["/api", "/api/", "api"])
@pytest.mark.parametrize("reported", ["", "/api", "/other"])
def test_a_root_that_the_application_sets_itself_is_known(
    root: str, reported: str
) -> None:
    """FastAPI strips its own ``root_path``, whatever the server reports."""
    app = JWTMiddleware(app_with_root(root), authenticator(rules=RULES))
    client = TestClient(app, root_path=reported, raise_server_exceptions=False)
    for path in ("/api/admin/purge", "/admin/purge", "/apiadmin/purge"):
        assert client.get(path).text != '"purged"'


def test_djangos_root_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """``FORCE_SCRIPT_NAME`` takes the place of the root that the server reports."""
    settings = SimpleNamespace(FORCE_SCRIPT_NAME="/api")
    monkeypatch.setitem(
        sys.modules,
        "django.conf",
        SimpleNamespace(settings=settings),
    )
    handler = type("ASGIHandler", (), {"__module__": "django.core.handlers.asgi"})
    known = AppRoot.of(handler())
    assert (known.name, known.strips) == ("/api", Strips.AT_START)
    settings.FORCE_SCRIPT_NAME = None
    assert AppRoot.of(handler()).name == ""


@pytest.mark.parametrize("path", ["/apiadmin/x", "/APIadmin/x"])
def test_a_known_router_strips_a_root_at_the_start_alone(
    path: str,
) -> None:
    """BlackSheep looks for no slash after the root, and not further inside the path."""
    app = type("Application", (), {"__module__": "blacksheep.server.application"})()
    auth = authenticator(rules=RULES)
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "/api"}
    request = ScopeRequest(scope, [], AppRoot.of(app))
    decision = run(auth.decide(request))
    assert isinstance(decision, Reply)
    inside = ScopeRequest({**scope, "path": "/x/api/y"}, [], AppRoot.of(app))
    assert not isinstance(run(auth.decide(inside)), Reply)


@pytest.mark.parametrize("scopes", [(), ("admin",)])
def test_quart_reads_a_path_without_its_root_as_no_path(scopes: tuple[str]) -> None:
    """A catch-all route then answers for every path."""
    rules = (Rule("/posts/*", optional=True), Rule("/*", scopes=scopes))
    auth = authenticator(rules=rules)
    app = type("Quart", (), {"__module__": "quart.app"})()
    scope = {"type": "http", "method": "GET", "path": "/posts/x", "root_path": "/api"}

    def decide(path: str, token: str) -> object:
        headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
        request = ScopeRequest({**scope, "path": path}, headers, AppRoot.of(app))
        return run(auth.decide(request))

    assert isinstance(decide("/posts/x", ""), Reply)
    assert isinstance(decide("/posts/x", READER), Reply) == bool(scopes)
    assert not isinstance(decide("/posts/x", ADMIN), Reply)
    assert not isinstance(decide("/api/posts/x", ""), Reply)


def test_wrappers_that_make_up_their_attributes_have_an_end() -> None:
    class Endless:
        def __getattr__(self, name: str) -> Endless:
            return self

    assert AppRoot.of(Endless()).name == ""
