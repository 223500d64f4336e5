"""What a browser does by itself, row by row, and what the lock answers.

Measured with Chromium 156: which headers each kind of request has, and the cookies of
which ``SameSite`` come along.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, SessionCookies, TokenIssuer
from jwt_middleware.errors import CrossOrigin
from jwt_middleware.request import Request
from jwt_middleware.set_cookie import SetCookie

from .conftest import SentRequest, clock
from .doors import Answer, ASGIDoor, Door
from .test_set_cookie import attributes_of

KEY = Key.generate("ES256")

OWN = "http://localhost:8000"
OWN_TLS = "https://localhost:8443"
OTHER_PORT = "http://localhost:8001"
SUBDOMAIN = "http://app.localhost:8000"
ATTACKER = "http://127.0.0.1:8000"
PLAIN = "http://example.test:8000"
"""Neither TLS nor this machine: a browser trusts it with no secret."""

ORIGINS = {
    "-": None,
    "null": "null",
    "own": OWN,
    "port": OTHER_PORT,
    "sub": SUBDOMAIN,
    "attacker": ATTACKER,
    "plain": PLAIN,
}
SENT = {
    "all": {"Strict", "Lax", "None", "unset"},
    "lax": {"Lax", "None", "unset"},
    "post": {"None", "unset"},  # unset: for the first two minutes of the cookie
    "None": {"None"},
    "-": set[str](),
}
"""The cookies that come along, by their ``SameSite``."""
TO = {"from http to https": OWN_TLS, "plain-http host": PLAIN}
"""All others are sent to `OWN`."""
TABLE = """
typed URL               GET   -         none         navigate  all   200 200 200  yes
form                    POST  own       same-origin  navigate  all   200 200 200  yes
form, no-referrer       POST  null      same-origin  navigate  all   200 200 200  yes
fetch                   POST  own       same-origin  cors      all   200 200 200  yes
WebSocket               WS    own       -            -         all   200 200 200  yes
cross-site link         GET   -         cross-site   navigate  lax   401 200 200  no
cross-site form GET     GET   -         cross-site   navigate  lax   401 200 200  no
cross-site window.open  GET   -         cross-site   navigate  lax   401 200 200  no
cross-site form POST    POST  attacker  cross-site   navigate  post  401 401 403  no
cross-site fetch POST   POST  attacker  cross-site   no-cors   -     401 401 403  no
cross-site fetch GET    GET   -         cross-site   no-cors   -     401 401 200  no
cross-site beacon       POST  attacker  cross-site   no-cors   -     401 401 403  no
cross-site img          GET   -         cross-site   no-cors   -     401 401 200  no
cross-site iframe       GET   -         cross-site   navigate  -     401 401 200  no
cross-site WebSocket    WS    attacker  -            -         -     401 401 403  no
other port, form        POST  port      same-site    navigate  all   403 403 403  no
other port, fetch       POST  port      same-site    cors      all   403 403 403  no
from https to http      POST  null      cross-site   navigate  post  401 401 403  no
from http to https      POST  own       cross-site   navigate  post  401 401 403  no
from app.localhost      POST  sub       cross-site   navigate  post  401 401 403  no
sandboxed iframe        POST  null      cross-site   navigate  None  401 401 403  no
plain-http host         POST  plain     -            -         all   401 401 200  yes
redirect and back       GET   -         cross-site   navigate  all   200 200 200  no
"""
"""The request, its Origin, Sec-Fetch-Site and Sec-Fetch-Mode, and the cookies that come
along; then what we answer: to a session in our default cookies, in Lax ones, and where
the cookie comes along whatever it says, as by an older browser; and whether such a
request may also refresh or end a session, be it a GET.

The form, fetch and WebSocket are those of our own page.  The other port and the last
row send all cookies, Strict too.  The plain-http host is given none that is Secure.
"""


class Row(NamedTuple):
    """A request that a browser sends, and our answers."""

    request: str
    method: str
    """``WS`` for a WebSocket handshake."""
    origin: str | None
    site: str | None
    mode: str | None
    sent: set[str]
    strict: int
    lax: int
    brought: int
    from_own_page: bool

    @property
    def to(self) -> str:
        return TO.get(self.request, OWN)

    @property
    def is_socket(self) -> bool:
        return self.method == "WS"

    def __str__(self) -> str:
        return self.request


def read_row(line: str) -> Row:
    request, method, origin, site, mode, sent, answers, own = re.split("  +", line)
    strict, lax, brought = map(int, answers.split())
    return Row(
        request,
        method,
        ORIGINS[origin],
        None if site == "-" else site,
        None if mode == "-" else mode,
        SENT[sent],
        strict,
        lax,
        brought,
        own == "yes",
    )


ROWS = [read_row(line) for line in TABLE.strip().splitlines()]
SameSite = Literal["Strict", "Lax"]

TRUSTED = {
    "http://localhost:8000": True,
    "http://127.0.0.1:8000": True,
    "http://app.localhost:8000": True,
    "https://localhost:8443": True,
    "http://example.test:8000": False,
}
"""By origin, whether a cookie that is Secure is kept."""


def is_kept(line: str, origin: str) -> bool:
    """Whether the browser takes a ``Set-Cookie`` from *origin*."""
    name, _, value = line.partition(";")[0].partition("=")
    attributes = attributes_of(line)
    is_secure, is_hidden = "secure" in attributes, "httponly" in attributes
    is_of_host = attributes.get("path") == "/" and "domain" not in attributes
    prefix = name.lower()
    rules = [
        is_secure or not prefix.startswith(("__secure-", "__host-", "__http-")),
        is_of_host or not prefix.startswith("__host-"),
        is_hidden or not prefix.startswith(("__http-", "__host-http-")),
        is_secure or (attributes.get("samesite") or "").lower() != "none",
        len(name) + len(value) <= 4096,
        TRUSTED[origin] or not is_secure,
    ]
    return all(rules)


class Site:
    """An application with sessions in cookies behind a door, and a browser's request.

    By WSGI, a handshake comes as the GET that it is.
    """

    def __init__(self, door: Door, same_site: SameSite = "Strict") -> None:
        store = MemoryStore(clock)
        self.issuer = TokenIssuer(OWN, audience="app", key=KEY, store=store, now=clock)
        self.cookies = SessionCookies(self.issuer, same_site=same_site)
        auth = Authenticator(
            self.issuer.trusted(), sources=(self.cookies,), store=store, now=clock
        )
        self.door = door.behind(auth)
        self.line, self.refresh_line = self.cookies.write(self.issuer.issue("alice"))

    def comes_along(self, row: Row) -> bool:
        """Whether the browser sends the access cookie: by what we wrote into it."""
        same_site = attributes_of(self.line).get("samesite") or "unset"
        return is_kept(self.line, row.to) and same_site in row.sent

    def ask(self, row: Row, *, brings_cookie: bool) -> Answer:
        """Send the request of *row*; an accepted WebSocket counts as 200."""
        scheme, _, host = row.to.partition("://")
        name, _, value = self.line.partition(";")[0].partition("=")
        options: dict[str, Any] = {
            "headers": headers_of(row),
            "cookies": [(name, value)] if brings_cookie else [],
            "host": host,
            "scheme": scheme,
        }
        if row.method == "POST":
            return self.door.post(**options)
        if row.method == "GET":
            return self.door.get(**options)
        if isinstance(self.door, ASGIDoor):
            options["scheme"] = scheme.replace("http", "ws")
            return self.door.websocket(**options)[0]
        options["headers"] += [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        return self.door.get(**options)


def headers_of(row: Row) -> list[tuple[str, str]]:
    sent = (
        ("Origin", row.origin),
        ("Sec-Fetch-Site", row.site),
        ("Sec-Fetch-Mode", row.mode),
    )
    return [(name, value) for name, value in sent if value is not None]


def request_of(row: Row) -> Request:
    scheme, _, host = row.to.partition("://")
    headers = {name.lower(): (value,) for name, value in headers_of(row)}
    headers["host"] = (host,)
    return SentRequest(
        method="GET" if row.is_socket else row.method,
        scheme=scheme,
        path="/session/refresh",
        find=lambda name: headers.get(name, ()),
        is_handshake=row.is_socket,
    )


def ensure_answered(answer: Answer, status: int, row: Row) -> None:
    """By *status*; and only a good one lets anybody in."""
    accepted = 101 if row.is_socket and status == 200 else status
    assert answer.status in (status, accepted)
    assert answer.entered == (status == 200)
    if status == 200:
        assert answer.token is not None
        assert answer.token["sub"] == "alice"
    else:
        error = {401: None, 403: "cross_origin"}[status]
        assert answer.json.get("error") == error


# The rows


@pytest.mark.parametrize("same_site", ["Strict", "Lax"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_request_of_a_browser_has_its_answer(
    door: Door, row: Row, same_site: SameSite
) -> None:
    """W-2, CS-2 to CS-5: without the cookie nobody; with it, the owner's pages."""
    site = Site(door, same_site)
    answer = site.ask(row, brings_cookie=site.comes_along(row))
    ensure_answered(answer, row.strict if same_site == "Strict" else row.lax, row)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_headers_alone_would_do(door: Door, row: Row) -> None:
    """CS-3, CS-4: what may change something is refused by them as well."""
    ensure_answered(Site(door).ask(row, brings_cookie=True), row.brought, row)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_no_other_page_begins_refreshes_or_ends_a_session(
    asgi_door: ASGIDoor, row: Row
) -> None:
    """CS-12: there also a GET counts, as of a link to a logout."""
    cookies, request = Site(asgi_door).cookies, request_of(row)
    if row.from_own_page:
        cookies.ensure_own_page(request)
        return
    for act in (cookies.ensure_own_page, cookies.refresh, cookies.end):
        with pytest.raises(CrossOrigin):
            act(request)


def test_the_table_agrees_with_itself() -> None:
    """Whoever comes without the cookie is nobody; no other page gets beyond a GET."""
    assert len({row.request for row in ROWS}) == len(ROWS) == 23
    for row in ROWS:
        assert (row.strict == 401) == (not comes(row, "Strict"))
        assert (row.lax == 401) == (not comes(row, "Lax"))
        assert row.strict in (401, row.brought)
        assert row.lax in (401, row.brought)
        if not row.from_own_page:
            assert (row.brought == 200) == (row.method == "GET")


def comes(row: Row, same_site: SameSite) -> bool:
    return TRUSTED[row.to] and same_site in row.sent


# Handshakes


@pytest.mark.parametrize(
    ("origin", "site", "status"),
    [
        (None, None, 200),
        (None, "same-origin", 200),
        (None, "none", 200),
        (None, "same-site", 403),
        (None, "cross-site", 403),
        (None, "new-word", 403),
        (OWN, None, 200),
        (OWN, "same-origin", 200),
        (ATTACKER, "same-origin", 403),
        (ATTACKER, "none", 403),
        (ATTACKER, None, 403),
        (OTHER_PORT, None, 403),
        (SUBDOMAIN, None, 403),
        (OWN_TLS, None, 403),
        ("null", None, 403),
        ("null", "same-origin", 403),
    ],
)
def test_a_handshake_has_an_origin_or_is_no_browsers(
    door: Door, origin: str | None, site: str | None, status: int
) -> None:
    """W-2: the origin decides; without one, what is said of the site must not be bad.

    With neither, no browser sent it, and it may have any cookie all the same.
    """
    row = Row("", "WS", origin, site, None, SENT["all"], 0, 0, 0, False)
    ensure_answered(Site(door).ask(row, brings_cookie=True), status, row)


def test_a_handshake_that_was_not_upgraded_is_judged_alike(
    asgi_door: ASGIDoor,
) -> None:
    """An ASGI server without WebSockets hands it over as a GET, too."""
    site = Site(asgi_door)
    name, _, value = site.line.partition(";")[0].partition("=")
    for origin, status in ((OWN, 200), (ATTACKER, 403)):
        answer = site.door.get(
            headers=[("Upgrade", "websocket"), ("Origin", origin)],
            cookies=[(name, value)],
            host="localhost:8000",
            scheme="http",
        )
        assert answer.status == status


# What is kept


REFUSED = [
    "__Host-x=1; Path=/",
    "__Host-x=1; Path=/x; Secure",
    "__Host-x=1; Secure",
    "__Host-x=1; Path=/; Domain=localhost; Secure",
    "__host-lower=1; Path=/",
    "__Secure-x=1",
    "__Http-x=1; Path=/; Secure",
    "__Host-Http-x=1; Path=/; Secure",
    "x=1; SameSite=None",
    f"x={'y' * 4098}",
]
KEPT = [
    "__Host-x=1; Path=/; Secure",
    "__Secure-x=1; Secure",
    "__Http-x=1; Path=/; Secure; HttpOnly",
    "__Host-Http-x=1; Path=/; Secure; HttpOnly",
    "x=1; SameSite=None; Secure",
    f"x={'y' * 4086}; Secure",
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"same_site": "Lax"},
    {"path": "/"},
    {"path": "/auth/token"},
    {"access": "__Host-Http-access", "refresh": "__Http-refresh"},
    {"access": "__Secure-access", "refresh": "refresh"},
    {"access": "__host-access", "refresh": "__SECURE-refresh"},
    {"transparent": True},
    {"transparent": True, "same_site": "Lax", "refresh": "__Host-Http-refresh"},
]


@pytest.mark.parametrize("origin", TRUSTED)
def test_the_rules_of_the_browser_are_those_that_were_measured(origin: str) -> None:
    """Over http on this machine as over https; elsewhere nothing that is Secure."""
    assert not any(is_kept(line, origin) for line in REFUSED)
    assert {is_kept(line, origin) for line in KEPT} == {TRUSTED[origin]}
    assert is_kept("x=1", origin)


@pytest.mark.parametrize("origin", TRUSTED)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_what_we_write_is_kept_wherever_a_secure_cookie_is(
    options: dict[str, Any], origin: str
) -> None:
    """CK-3, CK-12: also what clears it, for it is dropped by the same rules."""
    issuer = TokenIssuer(
        OWN, audience="app", key=KEY, store=MemoryStore(), reuse_leeway=10
    )
    cookies = SessionCookies(issuer, **options)
    for line in (*cookies.write(issuer.issue("alice")), *cookies.clear()):
        assert is_kept(line, origin) == TRUSTED[origin]
        assert attributes_of(line)["samesite"] in ("Strict", "Lax"), "never unset"
        assert attributes_of(line).get("path")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("__Host-x", {"path": "/x"}),
        ("__host-lower", {"path": "/x"}),
        ("__Host-Http-x", {"path": "/x"}),
        ("x", {"same_site": "None"}),
    ],
)
def test_what_a_browser_drops_in_silence_cannot_be_asked_for(
    name: str, options: dict[str, Any]
) -> None:
    """CK-5."""
    with pytest.raises(ValueError, match=r"write '__Secure-|same_site is"):
        SetCookie(name, **options)


def test_a_session_that_would_vanish_is_not_written(asgi_door: ASGIDoor) -> None:
    """CK-6: what is too long is dropped in silence; up to there, both are kept."""
    site = Site(asgi_door)
    longest = max(size for size in range(0, 4096, 16) if fits(site, size))
    assert 2000 < longest < 4000


def fits(site: Site, size: int) -> bool:
    """Whether a session with a claim of that *size* is written; then it is kept."""
    pair = site.issuer.issue("alice", fat="x" * size)
    try:
        lines = site.cookies.write(pair)
    except ValueError:
        return False
    assert all(is_kept(line, OWN) for line in lines)
    return True
