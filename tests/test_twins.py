"""The doors are twins: each request goes in by both and comes out the same.

One row says what is sent and what comes back, so the table is also the shortest
answer to the question what this middleware does.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TrustedIssuer,
)
from jwt_middleware.compact import MAX_LENGTH
from jwt_middleware.store import Store

from .conftest import AUDIENCE, ISSUER, authenticator, clock, mint_token, trusted
from .doors import Answer, ASGIDoor, Door, WSGIDoor

OTHER = "https://other.example"
OTHER_KEY = Key.generate("ES256", kid="k2")
STRANGER = Key.generate("ES256", kid="k1")
COOKIE = "__Host-access"
APP = "https://app.example"
RULES = (
    Rule("/health", public=True),
    Rule("/m\u00fcnchen", public=True),
    Rule("/static/*", public=True),
    Rule("/admin/*", scopes=("admin",)),
    Rule("/articles/*", methods=("GET",), optional=True),
    Rule("/articles/*", scopes=("write",)),
)


class BrokenStore(MemoryStore):
    """A store whose server is gone."""

    def look(self, names: Any) -> Any:
        raise OSError


def auth_with(store: Store | None = None, **options: Any) -> Authenticator:
    other = TrustedIssuer(OTHER, audience="other-api", keys=[OTHER_KEY])
    sources = (BearerHeader(), Cookie(trusted_origins=(APP,)))
    auth = authenticator(
        trusted(),
        other,
        sources=sources,
        rules=RULES,
        store=MemoryStore(clock) if store is None else store,
        **options,
    )
    if store is None:
        auth.revoke_jti("taken back", ISSUER)
        auth.revoke_session("ended", ISSUER)
        auth.revoke_subject("mallory", ISSUER)
    return auth


AUTHS = {
    "": auth_with(),
    "https": auth_with(require_https=True),
    "broken": auth_with(BrokenStore(clock)),
}


@dataclass(frozen=True)
class Row:
    """One request, and what has to come of it."""

    what: str
    status: int
    reason: str = ""
    """Of the refusal; empty where the request is let in."""
    subject: str | None = None
    """Of the token that the app sees; None for nobody."""
    method: str = "GET"
    path: str = "/"
    auth: str = ""
    options: dict[str, Any] = field(default_factory=dict, repr=False)


def row(what: str, status: int, outcome: str | None = None, **options: Any) -> Row:
    """*outcome* is the subject of a request that is let in, or why it is not."""
    named = {n: options.pop(n) for n in ("method", "path", "auth") if n in options}
    told = {"subject" if status == 200 else "reason": outcome} if outcome else {}
    return Row(what, status, **told, **named, options=options)


def bad(what: str, reason: str, token: str, **options: Any) -> Row:
    """A token that is refused with 401."""
    return row(what, 401, reason, bearer=token, **options)


def by_cookie(
    what: str, status: int, outcome: str, *headers: Any, **options: Any
) -> Row:
    """A cookie that is good, with other *headers*."""
    cookies = [(COOKIE, mint_token())]
    return row(what, status, outcome, cookies=cookies, headers=headers, **options)


GOOD = mint_token()
READER = mint_token(scope="read")
AUTHORIZATION, ORIGIN, SITE = "Authorization", "Origin", "Sec-Fetch-Site"
UNSIGNED = mint_token(header={"alg": "none"}).rpartition(".")[0] + "."

HEADERS = [
    row("a valid header", 200, "alice", bearer=GOOD),
    row("a valid cookie", 200, "alice", cookies=[(COOKIE, GOOD)]),
    row(
        "scheme in lower case",
        200,
        "alice",
        headers=[(AUTHORIZATION, f"bearer {GOOD}")],
    ),
    row("nothing", 401, "no_credentials"),
    row("an empty header", 401, "no_credentials", headers=[(AUTHORIZATION, "")]),
    row(
        "another scheme", 401, "no_credentials", headers=[(AUTHORIZATION, "Basic eA==")]
    ),
    row(
        "a scheme alone",
        400,
        "malformed_credentials",
        headers=[(AUTHORIZATION, "Bearer")],
    ),
    row("two words", 400, "malformed_credentials", bearer="a b"),
    row("octets that are no ASCII", 400, "malformed_credentials", bearer="\xe9\xff"),
    row(
        "two headers",
        400,
        "multiple_credentials",
        headers=[(AUTHORIZATION, f"Bearer {GOOD}")] * 2,
    ),
    row("two joined", 400, "multiple_credentials", bearer=f"{GOOD},Bearer {GOOD}"),
    row(
        "two joined with a space", 400, "multiple_credentials", bearer=f"{GOOD}, {GOOD}"
    ),
    row(
        "Basic and Bearer",
        400,
        "multiple_credentials",
        headers=[(AUTHORIZATION, "Basic eA=="), (AUTHORIZATION, f"Bearer {GOOD}")],
    ),
    row(
        "header and cookie",
        400,
        "multiple_credentials",
        bearer=GOOD,
        cookies=[(COOKIE, GOOD)],
    ),
]
COOKIES = [
    row("an empty cookie", 401, "no_credentials", cookies=[(COOKIE, "")]),
    row("another cookie", 401, "no_credentials", cookies=[("access", GOOD)]),
    row(
        "among odd ones",
        200,
        "alice",
        cookies=[("a[]", '"'), (COOKIE, GOOD), ("=", "")],
    ),
    row("twice the same", 200, "alice", cookies=[(COOKIE, GOOD)] * 2),
    row(
        "two of one name",
        400,
        "multiple_credentials",
        cookies=[(COOKIE, GOOD), (COOKIE, READER)],
    ),
    row("quoted", 400, "malformed_credentials", cookies=[(COOKIE, f'"{GOOD}"')]),
    row(
        "two tokens in two headers",
        400,
        "multiple_credentials",
        headers=[("Cookie", f"{COOKIE}={GOOD}"), ("Cookie", f"{COOKIE}={READER}")],
    ),
    row(
        "several headers without one",
        401,
        "no_credentials",
        headers=[("Cookie", "a=1"), ("Cookie", "b=2")],
    ),
    row("expired", 401, "expired", cookies=[(COOKIE, mint_token(exp=-100))]),
]
TOKENS = [
    row(
        "a second issuer",
        200,
        "alice",
        bearer=mint_token(key=OTHER_KEY, iss=OTHER, aud="other-api"),
    ),
    bad("overlong", "malformed", "a" * (MAX_LENGTH + 1)),
    bad("no three parts", "malformed", "a.b"),
    bad("no base64url", "malformed", "a.b.c"),
    bad("unsigned", "unknown_key", UNSIGNED),
    bad("a critical extension", "malformed", mint_token(header={"crit": ["exp"]})),
    bad("unknown issuer", "unknown_issuer", mint_token(iss="https://evil.example")),
    bad("issuer is a list", "unknown_issuer", mint_token(iss=[ISSUER])),
    bad("unknown key", "unknown_key", mint_token(header={"kid": "k9"})),
    bad("another algorithm", "unknown_key", mint_token(header={"alg": "HS256"})),
    bad("a key of another issuer", "unknown_key", mint_token(key=OTHER_KEY)),
    bad("forged", "bad_signature", mint_token(key=STRANGER)),
    bad("forged and expired", "bad_signature", mint_token(key=STRANGER, exp=-100)),
    bad("an ID token", "wrong_type", mint_token(header={"typ": "JWT"}, nonce="n")),
    bad("another typ", "wrong_type", mint_token(header={"typ": "logout+jwt"})),
    bad("another audience", "wrong_audience", mint_token(aud="https://else.example")),
    bad("the audience of the other", "wrong_audience", mint_token(aud="other-api")),
    bad("no exp", "claim_missing", mint_token(exp=None)),
    bad("exp is text", "claim_invalid", mint_token(exp="soon")),
    bad("jti is a number", "claim_invalid", mint_token(jti=7)),
    bad("expired", "expired", mint_token(exp=-31)),
    row("just not expired", 200, "alice", bearer=mint_token(exp=-29)),
    bad("not yet", "not_yet_valid", mint_token(nbf=31)),
    bad("lives too long", "lifetime_exceeded", mint_token(exp=86400 + 31)),
    bad("older than all marks", "lifetime_exceeded", mint_token(iat=-90_000)),
    bad("token revoked", "revoked", mint_token(jti="taken back")),
    bad("session ended", "revoked", mint_token(sid="ended")),
    bad("subject logged out", "revoked", mint_token(sub="mallory")),
    row("logged in again", 200, "mallory", bearer=mint_token(sub="mallory", iat=1)),
    bad("bound to a key", "sender_constrained", mint_token(cnf={"jkt": "x"})),
    row("store is down", 503, "revocations_unavailable", bearer=GOOD, auth="broken"),
    row(
        "store is down, forged",
        401,
        "bad_signature",
        auth="broken",
        bearer=mint_token(key=STRANGER),
    ),
]
PATHS = [
    row("public", 200, path="/health"),
    row("public with a token", 200, path="/health", bearer=GOOD),
    row("public with a bad one", 200, path="/health", bearer="no token"),
    row("public and a slash", 401, "no_credentials", path="/health/"),
    row("public below a mount", 200, path="/health", root="/api"),
    row("a mount called like it", 401, "no_credentials", path="/x", root="/health"),
    row("public, not ASCII", 200, path="/m\u00fcnchen"),
    row("not ASCII", 401, "no_credentials", path="/k\u00f6ln"),
    row("no UTF-8", 401, "no_credentials", path="/static/\udcff"),
    row("dots", 401, "no_credentials", path="/static/../x"),
    row("dots without end", 400, "ambiguous_path", path="/a/;/%2e\\..//" * 9),
    row(
        "dots into a scope",
        403,
        "insufficient_scope",
        path="/static/../admin/x",
        bearer=GOOD,
    ),
    row("two slashes", 401, "no_credentials", path="/static//x"),
    row("a parameter", 401, "no_credentials", path="/static/x;y"),
    row("a backslash", 401, "no_credentials", path="/static/\\x"),
    row("full-width dots", 401, "no_credentials", path="/static/\uff0e\uff0e/x"),
    row(
        "an encoded slash",
        401,
        "no_credentials",
        path="/static/a/b",
        raw_path="/static/a%2Fb",
    ),
    row("two readings, with a token", 200, "alice", path="/static//x", bearer=GOOD),
    row("without the scope", 403, "insufficient_scope", path="/admin/x", bearer=READER),
    row(
        "with the scope",
        200,
        "alice",
        path="/admin/x",
        bearer=mint_token(scope="read admin"),
    ),
    row("the scope, no token", 401, "no_credentials", path="/admin/x"),
    row(
        "the scope by scp",
        200,
        "alice",
        path="/admin/x",
        bearer=mint_token(scp=["admin"]),
    ),
    row("the prefix itself", 403, "insufficient_scope", path="/admin", bearer=READER),
    row("optional, nobody", 200, path="/articles/1"),
    row("optional, somebody", 200, "alice", path="/articles/1", bearer=GOOD),
    row(
        "optional, expired",
        401,
        "expired",
        path="/articles/1",
        bearer=mint_token(exp=-100),
    ),
    row(
        "optional, another method",
        403,
        "insufficient_scope",
        method="POST",
        path="/articles/1",
        bearer=GOOD,
    ),
    row(
        "forwarded path", 401, "no_credentials", headers=[("X-Original-URL", "/health")]
    ),
]
METHODS = [
    row("HEAD", 200, "alice", method="HEAD", bearer=GOOD),
    row("HEAD refused", 401, "no_credentials", method="HEAD"),
    row("HEAD is GET", 200, method="HEAD", path="/articles/1"),
    row(
        "a preflight",
        401,
        "no_credentials",
        method="OPTIONS",
        headers=[(ORIGIN, APP), ("Access-Control-Request-Method", "POST")],
    ),
    row("an odd method", 401, "no_credentials", method="BREW"),
    row("an odd method with a token", 200, "alice", method="BREW", bearer=GOOD),
    # An application may take it for another method than GET (RFC 9110 §9.1).
    row(
        "method in lower case", 401, "no_credentials", method="get", path="/articles/1"
    ),
    row(
        "plain http",
        400,
        "insecure_transport",
        auth="https",
        scheme="http",
        bearer=GOOD,
    ),
    row(
        "plain http, forwarded",
        400,
        "insecure_transport",
        auth="https",
        scheme="http",
        bearer=GOOD,
        headers=[("X-Forwarded-Proto", "https")],
    ),
    row("plain http, public", 200, auth="https", scheme="http", path="/health"),
    row("https", 200, "alice", auth="https", bearer=GOOD),
]
ORIGINS = [
    by_cookie("own page", 200, "alice", (SITE, "same-origin"), method="POST"),
    by_cookie("another site", 403, "cross_origin", (SITE, "cross-site"), method="POST"),
    by_cookie("a sibling", 403, "cross_origin", (SITE, "same-site"), method="DELETE"),
    by_cookie(
        "a WebSocket as a GET",
        403,
        "cross_origin",
        ("Upgrade", "websocket"),
        (ORIGIN, "https://evil.example"),
    ),
    by_cookie(
        "a WebSocket of the own page",
        200,
        "alice",
        ("Upgrade", "websocket"),
        (ORIGIN, "https://api.example"),
    ),
    by_cookie("another site reads", 200, "alice", (SITE, "cross-site")),
    by_cookie(
        "own origin", 200, "alice", (ORIGIN, "https://api.example"), method="POST"
    ),
    by_cookie("trusted origin", 200, "alice", (ORIGIN, APP), method="POST"),
    by_cookie(
        "another origin",
        403,
        "cross_origin",
        (ORIGIN, "https://evil.example"),
        method="POST",
    ),
    by_cookie("null", 403, "cross_origin", (ORIGIN, "null"), method="POST"),
    by_cookie(
        "two origins", 403, "cross_origin", (ORIGIN, APP), (ORIGIN, APP), method="POST"
    ),
    by_cookie("no browser", 200, "alice", method="POST"),
    by_cookie(
        "an odd method", 403, "cross_origin", (SITE, "cross-site"), method="BREW"
    ),
    row(
        "another site, by header",
        200,
        "alice",
        method="POST",
        bearer=GOOD,
        headers=[(SITE, "cross-site")],
    ),
]
TABLE = HEADERS + COOKIES + TOKENS + PATHS + METHODS + ORIGINS


def knock(door: Door, row: Row) -> Answer:
    return door.request(row.method, row.path, **row.options)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_row(row: Row, caplog: pytest.LogCaptureFixture) -> None:
    """As the table says, and the same by both doors: to the client and to the app."""
    caplog.set_level(logging.INFO, "jwt_middleware")
    auth = AUTHS[row.auth]
    by_wsgi, by_asgi = knock(WSGIDoor(auth), row), knock(ASGIDoor(auth), row)
    expected = (row.status, row.reason, row.subject)
    told = reasons(caplog)
    for answer, reason in zip((by_wsgi, by_asgi), told or ["", ""], strict=True):
        subject = None if answer.token is None else answer.token["sub"]
        assert (answer.status, reason, subject) == expected
        assert answer.entered == (row.status == 200)
        assert answer.current == answer.token
    assert [by_wsgi.headers, by_wsgi.body] == [by_asgi.headers, by_asgi.body]
    assert by_wsgi.token == by_asgi.token


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The reason in each line of the log; a request writes one line at most."""
    lines = [record.getMessage() for record in caplog.records]
    found = [re.search(r"""['".]: ([a-z_0-9]+): """, line) for line in lines]
    return [match[1] for match in found if match is not None]


def test_every_class_of_refusal_has_a_row() -> None:
    """But those that only stand for others, and what no source here can raise."""
    from .test_challenge import REFUSALS

    shown = {row.reason for row in TABLE if row.reason}
    parents = {base for error in REFUSALS for base in type(error).__mro__[1:]}
    leaves = {error.reason for error in REFUSALS if type(error) not in parents}
    assert shown - leaves == {"malformed_credentials"}
    assert leaves - shown == {
        "keys_unavailable",
        "step_up_required",  # of an endpoint
        "malformed_token_request",  # and of a token endpoint
        "unsupported_grant_type",
        "invalid_scope",
        "refresh_reused",
    }


def test_the_table_has_no_row_twice() -> None:
    rows = [dataclasses.astuple(row)[1:] for row in TABLE]
    assert all(row not in rows[:index] for index, row in enumerate(rows))


@pytest.mark.parametrize(
    ("headers", "by_wsgi"),
    [
        ((f"{COOKIE}={GOOD}", "a=1"), (400, False)),
        (("a=1", f"{COOKIE}={GOOD}"), (401, False)),
        ((f"{COOKIE}={GOOD}", f"{COOKIE}={GOOD}"), (400, False)),
    ],
)
def test_only_cookies_in_several_headers_come_out_differently(
    headers: tuple[str, ...], by_wsgi: tuple[int, bool]
) -> None:
    """RFC 9113 §8.2.3: crumbs are for the server to join, by semicolons.

    Where it left that to us, ASGI shows them one by one, and they are read.  A WSGI
    server that joined them by commas made one cookie of two: nobody passes by it,
    since a comma may stand in a value that anybody sets.
    """
    crumbs = [("Cookie", value) for value in headers]
    answer = WSGIDoor(AUTHS[""]).get(headers=crumbs)
    assert (answer.status, answer.entered) == by_wsgi
    assert ASGIDoor(AUTHS[""]).get(headers=crumbs).status == 200
    joined = [("Cookie", "; ".join(headers))]
    assert WSGIDoor(AUTHS[""]).get(headers=joined).status == 200


def test_what_is_expected_holds_for_the_audience_of_the_tests() -> None:
    """What most rows rest on: the token is good but for what the row says."""
    assert AUTHS[""].authenticate(GOOD)["aud"] == AUDIENCE
