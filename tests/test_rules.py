"""Which request needs what; and that no spelling of a path goes round it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jwt_middleware import Rule, Token
from jwt_middleware.errors import InsufficientScope, NoCredentials
from jwt_middleware.matching import TOKEN_NEEDED, match
from jwt_middleware.paths import is_ambiguous
from jwt_middleware.request import Request

from .conftest import Mint, SentRequest, authenticator
from .doors import ASGIDoor, Door

HEALTH = Rule("/health", public=True)
STATIC = Rule("/static/*", public=True)
ADMIN = Rule("/admin/*", scopes=("admin",))


def request_to(path: str, method: str = "GET", raw_path: str = "") -> Request:
    return SentRequest(method, "https", path, lambda name: (), raw_path)


def behind_rules(door: Door, *rules: Rule) -> Door:
    return door.behind(authenticator(rules=rules))


def test_an_exact_path_is_that_path_alone(door: Door) -> None:
    healthy = behind_rules(door, HEALTH)
    assert healthy.get("/health").status == 200
    for path in ("/", "/health/", "/health/x", "/healthy", "/Health", "/x/health", ""):
        assert healthy.get(path).status == 401, path


def test_a_prefix_is_of_whole_segments(door: Door) -> None:
    static = behind_rules(door, STATIC)
    for path in ("/static/", "/static/app.css", "/static/a/b", "/static/*"):
        assert static.get(path).status == 200, path
    for path in ("/static", "/statics", "/staticx/y", "/STATIC/x", "/x/static/y", "/"):
        assert static.get(path).status == 401, path


def test_the_whole_site_may_be_covered(door: Door) -> None:
    everything = behind_rules(door, Rule("/*", public=True))
    for path in ("/", "", "/a", "/a/b/"):
        assert everything.get(path).status == 200


def test_the_query_is_no_part_of_the_path(door: Door) -> None:
    healthy = behind_rules(door, HEALTH)
    assert healthy.get("/health", query="x=/../").status == 200
    assert healthy.get("/private", query="/health").status == 401


def test_a_public_path_reads_no_token(door: Door, mint: Mint) -> None:
    """So a bad one does no harm, and a good one gives no identity."""
    healthy = behind_rules(door, HEALTH)
    for token in (None, mint(), mint(exp=-100), "nonsense", "two tokens"):
        answer = healthy.get("/health", bearer=token)
        assert answer.status == 200
        assert answer.token is None
        assert answer.current is None


def test_an_optional_path_reads_a_token_and_refuses_a_bad_one(
    door: Door, mint: Mint
) -> None:
    articles = behind_rules(door, Rule("/articles/*", optional=True))
    nobody = articles.get("/articles/1")
    assert (nobody.status, nobody.token) == (200, None)
    somebody = articles.get("/articles/1", bearer=mint())
    assert somebody.token is not None
    assert somebody.token["sub"] == "alice"
    assert articles.get("/articles/1", bearer=mint(exp=-100)).status == 401
    assert articles.get("/articles/1", bearer="not a token").status == 400


def test_every_scope_of_a_rule_is_needed(door: Door, mint: Mint) -> None:
    """RFC 6750 §3.1: insufficient_scope, with the scopes that would do."""
    guarded = behind_rules(door, Rule("/x", scopes=("read", "write")))
    for scope in (None, "", "read", "write", "READ WRITE", "readwrite", "read,write"):
        answer = guarded.get("/x", bearer=mint(scope=scope))
        assert answer.status == 403
        assert answer.challenge == (
            'Bearer realm="api", error="insufficient_scope", '
            'error_description="The access token lacks a scope that is required.", '
            'scope="read write"'
        )
    for scopes in ("write read", "read write more", ["read", "write"]):
        assert guarded.get("/x", bearer=mint(scope=scopes)).status == 200
    assert guarded.get("/x").json.get("error") is None


def test_the_first_rule_that_covers_a_request_applies(door: Door, mint: Mint) -> None:
    ordered = behind_rules(door, Rule("/admin/health", public=True), ADMIN)
    assert ordered.get("/admin/health").status == 200
    assert ordered.get("/admin/users", bearer=mint()).status == 403
    turned = behind_rules(door, ADMIN, Rule("/admin/health", public=True))
    assert turned.get("/admin/health").status == 401


def test_where_no_rule_covers_a_request_a_token_is_needed(
    door: Door, mint: Mint
) -> None:
    ruled = behind_rules(door, HEALTH, ADMIN)
    assert ruled.get("/elsewhere").status == 401
    assert ruled.get("/elsewhere", bearer=mint()).status == 200


def test_a_rule_for_some_methods_leaves_the_others_locked(door: Door) -> None:
    """However they are written: some frameworks read "get" as GET, others do not."""
    read_only = behind_rules(door, Rule("/x", methods=("GET", "PURGE"), public=True))
    for method, status in {
        "GET": 200,
        "HEAD": 200,
        "PURGE": 200,
        "POST": 401,
        "OPTIONS": 401,
        "get": 401,
        "Head": 401,
        "post": 401,
    }.items():
        assert read_only.request(method, "/x").status == status, method


def test_head_is_get_but_get_is_not_head(door: Door) -> None:
    only_head = behind_rules(door, Rule("/x", methods=("HEAD",), public=True))
    assert only_head.request("HEAD", "/x").status == 200
    assert only_head.get("/x").status == 401


def test_a_scope_for_get_is_asked_of_head_and_of_a_websocket(
    asgi_door: ASGIDoor, mint: Mint
) -> None:
    rules = (Rule("/x", methods=("GET",), scopes=("read",)),)
    guarded = ASGIDoor(authenticator(rules=rules))
    assert guarded.request("HEAD", "/x", bearer=mint()).status == 403
    assert guarded.websocket("/x", bearer=mint())[0].status == 403
    assert guarded.websocket("/x", bearer=mint(scope="read"))[0].status == 101


AMBIGUOUS = [
    "//static/x",
    "/static//x",
    "/static/../admin/x",
    "/static/..",
    "/static/.",
    "/static/./x",
    "/static/x;y",
    "/static/..;/admin/x",
    "/static\\..\\admin",
    "/static/x\\",
    "/static/%2e%2e/admin/x",
    "/static/%2E",
    "/static/%00",
    "/static/x\x00",
    "/static/x\r\ny",
    "/static/\x7f",
    "/static/\uff0e\uff0e/admin/x",
    "/static/\u2025/admin/x",
    "/static/\uff0fx",
    "/static/\uff3cx",
    "/static/\uff1bx",
    "/static/\udcff",
    "http://evil.example/static/x",
    "static/x",
    "*",
]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_a_path_that_can_be_read_two_ways_is_never_public(path: str) -> None:
    assert is_ambiguous(path)
    for rule in (Rule("/*", public=True), Rule("/*", optional=True), STATIC):
        assert list(match((rule,), "GET", path)) == [TOKEN_NEEDED]


@pytest.mark.parametrize("path", [path for path in AMBIGUOUS if path[0] == "/"])
def test_no_door_lets_such_a_path_in_unasked(door: Door, mint: Mint, path: str) -> None:
    """It is no error either: who shows a token passes, and the app decides."""
    open_wide = behind_rules(door, Rule("/*", public=True))
    options: dict[str, Any] = {"raw_path": "/static/x"}
    assert open_wide.get(path, **options).status == 401
    answer = open_wide.get(path, bearer=mint(), **options)
    assert answer.status == 200
    assert answer.token is not None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/static/x",
        "/static/.well-known",
        "/static/a..b",
        "/static/...",
        "/static/..x",
        "/static/x.",
        "/static/100%",
        "/static/%zz",
        "/static/m\u00fcnchen",
        "/static/\u4eac\u90fd",
        "/static/a b",
        "/static/a,b=c&d",
        "/static/*",
    ],
)
def test_an_ordinary_path_has_one_reading(path: str) -> None:
    assert not is_ambiguous(path)
    assert not is_ambiguous(path, "/static/x%20%41?y=%2F".partition("?")[0])


@pytest.mark.parametrize(
    "raw_path",
    [
        "/static/a%2Fb",
        "/static/a%2fb",
        "/static/a%5Cb",
        "/static/a%5cb",
        "http://api.example/static/a/b",
    ],
)
def test_what_only_the_undecoded_path_shows_counts_too(
    door: Door, mint: Mint, raw_path: str
) -> None:
    """An encoded slash is one segment to one router and two to another."""
    static = behind_rules(door, STATIC)
    assert static.get("/static/a/b").status == 200
    assert static.get("/static/a/b", raw_path=raw_path).status == 401
    assert static.get("/static/a/b", raw_path=raw_path, bearer=mint()).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/static/../admin/users",
        "/static/%2e%2e/admin/users",
        "/static/..;x/admin/users",
        "//admin/users",
        "/./admin/users",
        "/admin;x=1/users",
        "/static\\..\\admin\\users",
        "/x/../admin/",
        "/static/../admin",
        "admin/users",
        "/static/\uff0e\uff0e/admin/users",
        "/static/\u2025/admin/users",
        "/admin\uff0fusers",
    ],
)
def test_such_a_path_is_held_to_the_rule_of_each_reading(path: str) -> None:
    """A token without the scope does not get in by another spelling."""
    rules = (STATIC, ADMIN, Rule("/*", optional=True))
    assert set(match(rules, "GET", path)) == {ADMIN}


def test_each_reading_keeps_its_rule(door: Door, mint: Mint) -> None:
    """The literal reading wants one scope and the resolved one another."""
    reports = Rule("/reports/*", scopes=("reports",))
    guarded = behind_rules(door, reports, ADMIN)
    path = "/reports/../admin/x"
    for scope, status in {
        "reports": 403,
        "admin": 403,
        "reports admin": 200,
    }.items():
        assert guarded.get(path, bearer=mint(scope=scope)).status == status


def test_a_slash_at_the_end_changes_no_rule(door: Door, mint: Mint) -> None:
    """Many routers add or drop it: what is locked stays so, and nothing opens."""
    guarded = behind_rules(
        door, ADMIN, Rule("/report", scopes=("report",)), HEALTH, STATIC
    )
    assert guarded.get("/admin", bearer=mint()).status == 403
    assert guarded.get("/report/", bearer=mint()).status == 403
    assert guarded.get("/report/", bearer=mint(scope="report")).status == 200
    assert guarded.get("/health/").status == 401
    assert guarded.get("/health/", bearer=mint()).status == 200
    assert guarded.get("/static").status == 401


def test_the_path_is_never_taken_from_a_header(door: Door) -> None:
    """A proxy's note of the original path is the client's to forge."""
    healthy = behind_rules(door, HEALTH)
    for name in ("X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix"):
        assert healthy.get("/private", headers=[(name, "/health")]).status == 401


def test_the_method_is_never_taken_from_a_header(door: Door) -> None:
    read_only = behind_rules(door, Rule("/x", methods=("GET",), public=True))
    headers = [("X-HTTP-Method-Override", "GET")]
    assert read_only.post("/x", headers=headers).status == 401


def test_a_mounted_app_is_ruled_below_its_mount(door: Door) -> None:
    """SCRIPT_NAME and root_path are no part of the path of a rule."""
    healthy = behind_rules(door, HEALTH)
    assert healthy.get("/health", root="/api").status == 200
    assert healthy.get("/private", root="/health").status == 401
    assert healthy.get("", root="/health").status == 401


def test_permit_says_what_is_missing() -> None:
    token = Token({}, {"scope": "read"})
    Rule("/x").permit(token)
    HEALTH.permit(None)
    Rule("/x", scopes=("read",)).permit(token)
    with pytest.raises(NoCredentials):
        Rule("/x").permit(None)
    with pytest.raises(InsufficientScope, match="lacks a b") as caught:
        Rule("/x", scopes=("a", "read", "b")).permit(token)
    assert caught.value.scopes == ("a", "read", "b")


def test_options_are_kept_as_they_were() -> None:
    """Also those of a generator; and later changes to a list change nothing."""
    scopes = ["read"]
    rule = Rule("/x", methods=(name for name in ("GET", "POST")), scopes=scopes)  # type: ignore[arg-type]
    scopes.append("write")
    assert rule.methods == ("GET", "POST")
    assert rule.scopes == ("read",)
    assert rule == Rule("/x", methods=("GET", "POST"), scopes=("read",))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "*",
        "/*/x",
        "/x*",
        "/**",
        "/x/*/*",
        "/a//b",
        "/a/../b",
        "/a/.",
        "/a;b",
        "/a\\b",
        "/a%20b",
        "/a\nb",
        "https://x.example/",
        "/\uff0e\uff0e/b",
        "/./*",
        "//*",
    ],
)
def test_a_path_that_could_never_match_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is not a path of a rule"):
        Rule(path)


@pytest.mark.parametrize("path", [None, 7, b"/x", ["/x"]])
def test_a_path_is_text(path: Any) -> None:
    with pytest.raises(ValueError, match="the path of a rule is a string"):
        Rule(path)


@pytest.mark.parametrize(
    "options",
    [
        {"public": "false"},
        {"public": 1},
        {"optional": None},
        {"public": True, "optional": True},
        {"public": True, "scopes": ("x",)},
        {"optional": True, "scopes": ("x",)},
        {"methods": "GET"},
        {"methods": ("get",)},
        {"methods": ("",)},
        {"methods": ("GET POST",)},
        {"methods": (b"GET",)},
        {"methods": 7},
        {"methods": None},
        {"scopes": "read"},
        {"scopes": b"read"},
        {"scopes": ("read write",)},
        {"scopes": ('a"b',)},
        {"scopes": ("a\\b",)},
        {"scopes": ("\u00e9",)},
        {"scopes": ("",)},
        {"scopes": (1,)},
    ],
)
def test_options_that_contradict_or_never_match_are_refused(
    options: dict[str, Any],
) -> None:
    with pytest.raises(
        ValueError, match=r"exclude each|string|takes several|True or|write 'GET'"
    ):
        Rule("/x", **options)


@pytest.mark.parametrize(
    ("earlier", "later", "shadows"),
    [
        (Rule("/x"), Rule("/x", public=True), True),
        (Rule("/*"), Rule("/x"), True),
        (Rule("/*"), Rule("/x/*"), True),
        (Rule("/x/*"), Rule("/x/y"), True),
        (Rule("/x/*"), Rule("/x/y/*"), True),
        (Rule("/x/*"), Rule("/x/*"), True),
        (Rule("/x/*"), Rule("/x"), False),
        (Rule("/x/*"), Rule("/xy"), False),
        (Rule("/x/y"), Rule("/x/*"), False),
        (Rule("/x"), Rule("/x/*"), False),
        (Rule("/x"), Rule("/y"), False),
        (Rule("/x"), Rule("/x", methods=("GET",)), True),
        (Rule("/x", methods=("GET",)), Rule("/x"), False),
        (Rule("/x", methods=("GET",)), Rule("/x", methods=("POST",)), False),
        (Rule("/x", methods=("GET", "POST")), Rule("/x", methods=("POST",)), True),
        (Rule("/x", methods=("GET",)), Rule("/x", methods=("GET", "PUT")), False),
    ],
)
def test_a_rule_that_never_applies_is_warned_of(
    earlier: Rule, later: Rule, shadows: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It may stand there by mistake, and be thought to lock something."""
    assert earlier.shadows(later) == shadows
    authenticator(rules=(Rule("/first"), earlier, later))
    assert caplog.messages == (
        [f"{later!r} never applies: it stands after {earlier!r}"] if shadows else []
    )


def test_a_path_with_a_slash_more_is_held_to_both_rules(door: Door, mint: Mint) -> None:
    """A wider rule that covers it does not take away what its twin needs."""
    everything = Rule("/*", optional=True)
    guarded = behind_rules(door, ADMIN, Rule("/report", scopes=("r",)), everything)
    for path, scope in (("/admin", "admin"), ("/report/", "r")):
        assert guarded.get(path).status == 401
        assert guarded.get(path, bearer=mint()).status == 403
        assert guarded.get(path, bearer=mint(scope=scope)).status == 200
    assert guarded.get("/elsewhere").status == 200
    named = behind_rules(door, Rule("/admin", public=True), ADMIN)
    assert named.get("/admin").status == 200
    assert named.get("/admin/").status == 401


def test_long_runs_of_combining_marks_cost_no_more_than_others() -> None:
    """Normalizing them as a whole takes quadratic time; the bound is a loose one."""
    path = "/x" + "\u0315\u0300" * 40_000
    began = time.perf_counter()
    assert not is_ambiguous(path)
    assert time.perf_counter() - began < 1
