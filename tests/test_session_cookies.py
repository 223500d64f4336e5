"""The tokens of a session in cookies: written, read, refreshed, ended, and whose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    SessionCookies,
    TokenIssuer,
    TokenPair,
    asgi,
    wsgi,
)
from jwt_middleware.challenge import encoded
from jwt_middleware.errors import (
    AuthError,
    CrossOrigin,
    InvalidGrant,
    InvalidToken,
    MultipleCredentials,
    NoCredentials,
    StepUpRequired,
)
from jwt_middleware.jose import sign_compact
from jwt_middleware.request import Request
from jwt_middleware.session_checks import MOST_ENDED

from .asgi_checker import StrictASGI
from .conftest import NOW
from .doors import KEY as TOKEN
from .doors import Answer, ASGIDoor, Door, Headers, WSGIDoor
from .store_suite import Clock, WaitingStore
from .test_set_cookie import attributes_of

URL = "https://api.example"
KEY = Key.generate("ES256")
ACCESS, REFRESH = "__Host-access", "__Secure-refresh"
EXPIRED_S = 600 + 30 + 1
"""Until an access token is refused, with the leeway of clocks."""

Handler = Callable[[Request], tuple[int, Headers]]
Jar = Sequence[tuple[str, str]]


class Site:
    """An application with sessions in cookies behind a door, on a clock of its own."""

    def __init__(
        self,
        door: Door,
        store: Any = None,
        *,
        wall: Clock | None = None,
        rules: Sequence[Rule] = (),
        issuer: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.wall = wall or Clock(NOW)
        self.store = MemoryStore(self.wall) if store is None else store
        self.issuer = TokenIssuer(
            URL,
            audience="app",
            **{"key": KEY, "store": self.store, "now": self.wall, **(issuer or {})},
        )
        self.cookies = SessionCookies(self.issuer, **options)
        self.auth = Authenticator(
            self.issuer.trusted(),
            sources=(BearerHeader(), self.cookies),
            rules=rules,
            store=self.store,
            now=self.wall,
        )
        self.door = door.behind(self.auth)

    def log_in(self, subject: str = "alice", **claims: Any) -> tuple[TokenPair, Jar]:
        """What a login gives, and what a browser makes of its cookies."""
        pair = self.issuer.issue(subject, **claims)
        return pair, jar_of(self.cookies.write(pair))

    def accepts(self, pair: TokenPair) -> bool:
        try:
            self.auth.authenticate(pair.access_token)
        except AuthError:
            return False
        return True

    def still_refreshes(self, pair: TokenPair) -> bool:
        """Whether a refresh token was not used: beyond every leeway for races."""
        self.wall.now += 11
        try:
            self.issuer.refresh(pair.refresh_token or "")
        except InvalidGrant:
            return False
        return True


def jar_of(lines: Iterable[str]) -> Jar:
    """The cookies that a browser keeps of lines of ``Set-Cookie``."""
    pairs = [line.partition(";")[0].partition("=") for line in lines]
    return [(name, value) for name, _, value in pairs if value]


def set_by(answer: Answer) -> list[str]:
    """The lines of ``Set-Cookie``."""
    return [value for name, value in answer.headers if name == "set-cookie"]


def request_of(
    door: Door,
    method: str = "POST",
    path: str = "/session",
    *,
    cookies: Jar = (),
    headers: Headers = (),
) -> Request:
    """A request as *door* reads it."""
    listed = [("Host", "api.example"), *headers]
    if cookies:
        listed.append(("Cookie", "; ".join(f"{n}={v}" for n, v in cookies)))
    if isinstance(door, WSGIDoor):
        return wsgi.EnvironRequest(environ_of(method, path, listed))
    scope = ASGIDoor.scope("http", path, path, listed, "https", "", "")
    return asgi.ScopeRequest(scope | {"method": method}, scope["headers"])


def environ_of(method: str, path: str, headers: Headers) -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    environ |= {"wsgi.url_scheme": "https", "QUERY_STRING": "", "SCRIPT_NAME": ""}
    for name, value in headers:
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    setup_testing_defaults(environ)
    return environ


def visit(
    door: Door,
    handler: Handler,
    method: str = "GET",
    path: str = "/",
    *,
    cookies: Jar = (),
    headers: Headers = (),
) -> Answer:
    """Have *handler* answer a request behind *door*, each under a strict checker.

    `Door` has an application that always says the same.
    """
    listed = [("Host", "api.example"), *headers]
    if cookies:
        listed.append(("Cookie", "; ".join(f"{n}={v}" for n, v in cookies)))
    if isinstance(door, WSGIDoor):
        return _visit_wsgi(door.auth, handler, environ_of(method, path, listed))
    scope = ASGIDoor.scope("http", path, path, listed, "https", "", "")
    return asyncio.run(visit_asgi(door.auth, handler, scope | {"method": method}))


def _visit_wsgi(
    auth: Authenticator, handler: Handler, environ: dict[str, Any]
) -> Answer:
    seen: dict[str, Any] = {"entered": False}
    started: list[tuple[str, Headers]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.update(entered=True, token=environ[TOKEN])
        status, headers = handler(wsgi.EnvironRequest(environ))
        start_response(f"{status} Said", [("Content-Type", "text/plain"), *headers])
        return [b"ok"]

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
        started.append((status, headers))
        return lambda octets: None

    result = validator(wsgi.JWTMiddleware(validator(app), auth))(
        environ, start_response
    )
    try:
        content = b"".join(result)
    finally:
        result.close()  # type: ignore[attr-defined]
    ((status, headers),) = started
    named = tuple((name.lower(), value) for name, value in headers)
    return Answer(int(status[:3]), named, content, **seen)


async def visit_asgi(
    auth: Authenticator, handler: Handler, scope: dict[str, Any]
) -> Answer:
    seen: dict[str, Any] = {"entered": False}
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(entered=True, token=scope[TOKEN])
        request = asgi.ScopeRequest(scope, scope["headers"])
        # In a thread, so that it may wait, and visit in turn.
        status, headers = await asyncio.to_thread(handler, request)
        octets = [(b"content-type", b"text/plain"), *encoded(headers)]
        start = {"type": "http.response.start", "status": status, "headers": octets}
        await send(start)
        await send({"type": "http.response.body", "body": b"ok"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    await StrictASGI(asgi.JWTMiddleware(StrictASGI(app), auth))(scope, receive, send)
    start, body = sent
    named = tuple((n.decode(), v.decode("latin-1")) for n, v in start["headers"])
    return Answer(start["status"], named, body["body"], **seen)


@pytest.fixture
def site(door: Door) -> Site:
    """Each way in, to an application with sessions in cookies."""
    return Site(door)


# Written


def test_a_login_is_two_cookies(site: Site) -> None:
    """CK-1, CK-2, CK-15: the refresh cookie goes where it is needed alone, so it is
    ``__Secure-``, and what is sent with every request cannot refresh."""
    pair, _ = site.log_in()
    access, refresh = site.cookies.write(pair)
    assert access == (
        f"{ACCESS}={pair.access_token}; Path=/; Max-Age=600; "
        "Secure; HttpOnly; SameSite=Strict"
    )
    assert refresh == (
        f"{REFRESH}={pair.refresh_token}; Path=/session; Max-Age=28800; "
        "Secure; HttpOnly; SameSite=Strict"
    )


def test_a_login_is_taken_back_by_the_same_attributes(site: Site) -> None:
    """CK-12: and by nothing more, so it may be sent to anybody."""
    pair, _ = site.log_in()
    for written, cleared in zip(
        site.cookies.write(pair), site.cookies.clear(), strict=True
    ):
        assert cleared.partition("=")[0] == written.partition("=")[0]
        assert attributes_of(cleared) == {**attributes_of(written), "max-age": "0"}
    assert jar_of(site.cookies.clear()) == []


def test_a_session_that_may_lie_idle_for_less_has_a_cookie_for_less(
    door: Door,
) -> None:
    site = Site(door, issuer={"idle_lifetime": 1000})
    pair, _ = site.log_in()
    ages = [attributes_of(line)["max-age"] for line in site.cookies.write(pair)]
    assert ages == ["600", "1000"]


def test_both_cookies_of_what_is_renewed_inside_requests_last_as_long(
    door: Door,
) -> None:
    """CK-15: the access cookie has to come when its token has expired; the refresh
    cookie comes with every request, so it is of the host alone."""
    site = Site(door, transparent=True, issuer={"reuse_leeway": 10})
    pair, _ = site.log_in()
    lines = site.cookies.write(pair)
    assert [line.partition("=")[0] for line in lines] == [ACCESS, "__Host-refresh"]
    for line in lines:
        assert attributes_of(line)["max-age"] == "28800"
        assert attributes_of(line)["path"] == "/"


def test_a_cookie_follows_its_session_to_the_end(site: Site) -> None:
    """No cookie outlives what it holds, however often it is refreshed."""
    pair, _ = site.log_in()
    for _ in range(3):
        site.wall.now += 9000
        pair = site.issuer.refresh(pair.refresh_token or "")
    left = NOW + 28800 - site.wall.now
    ages = [attributes_of(line)["max-age"] for line in site.cookies.write(pair)]
    assert ages == ["600", str(int(left))]
    site.wall.now += left - 100
    pair = site.issuer.refresh(pair.refresh_token or "")
    ages = [attributes_of(line)["max-age"] for line in site.cookies.write(pair)]
    assert ages == ["100", "100"]


def test_without_a_refresh_token_there_is_one_cookie(door: Door) -> None:
    """An issuer without a store gives none; also where renewal was asked for."""
    storeless = TokenIssuer(URL, audience="app", key=KEY).issue("alice")
    renewing = Site(door, transparent=True, issuer={"reuse_leeway": 10})
    for cookies in (Site(door).cookies, renewing.cookies):
        (line,) = cookies.write(storeless)
        assert line.startswith(f"{ACCESS}={storeless.access_token};")
        assert attributes_of(line)["max-age"] == "600"


def test_a_token_that_a_browser_would_drop_is_refused_aloud(site: Site) -> None:
    """CK-6: and not a word of it is shown."""
    pair = site.issuer.issue("alice", note="secret" * 700)
    with pytest.raises(ValueError, match="browsers drop what has more") as refusal:
        site.cookies.write(pair)
    assert ACCESS in str(refusal.value)
    for length in range(0, len(pair.access_token) - 16, 16):
        assert pair.access_token[length : length + 16] not in str(refusal.value)


@pytest.mark.parametrize("broken", ["access_token", "refresh_token"])
@pytest.mark.parametrize("text", ["x; Domain=evil", "x\r\nSet-Cookie: y=z", "é", "x y"])
def test_what_is_no_token_is_refused_unseen(site: Site, broken: str, text: str) -> None:
    tokens = {"access_token": "a.b.c", "refresh_token": "d.e.f", broken: text}
    pair = TokenPair(expires_in=1, session_id="s", refresh_expires_in=1, **tokens)
    with pytest.raises(ValueError, match="is no token") as refusal:
        site.cookies.write(pair)
    assert text not in str(refusal.value)


def test_nothing_shows_a_secret(site: Site) -> None:
    pair, jar = site.log_in()
    request = request_of(site.door, cookies=jar)
    held = (site.cookies, site.cookies.find(request), site.auth, pair, request)
    for thing in held:
        for _, value in jar:
            assert value not in repr(thing)
    assert repr(site.cookies) == f"<SessionCookies '{ACCESS}', '{REFRESH}'>"


def test_no_refusal_shows_a_token_to_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither to the client: whatever it is refused for."""
    caplog.set_level(logging.DEBUG)
    pair, jar = site.log_in()
    _, other = site.log_in("bob")
    evil = [("Origin", "https://evil.example")]
    answers = [
        site.door.post(cookies=jar, headers=evil),
        site.door.get(cookies=[*jar, *other]),
        site.door.get(cookies=jar, bearer=pair.access_token),
        site.door.get(cookies=[(ACCESS, pair.refresh_token or "")]),
        site.door.get(cookies=[(ACCESS, f"{pair.access_token}x")]),
    ]
    for cookies, headers in ((jar, evil), ([*jar, *other], ()), ([jar[0]], ())):
        request = request_of(site.door, cookies=cookies, headers=headers)
        with pytest.raises(AuthError) as refusal:
            site.cookies.refresh(request)
        site.auth.refuse(refusal.value, request)
    site.issuer.refresh(pair.refresh_token or "")
    with pytest.raises(InvalidGrant) as reuse:
        site.cookies.refresh(request_of(site.door, cookies=jar))
    site.auth.refuse(reuse.value, request_of(site.door, cookies=jar))
    assert len(caplog.records) >= 9
    said = caplog.text + repr([(a.headers, a.body) for a in answers])
    for _, value in [*jar, *other]:
        for part in value.split("."):
            assert part[-40:] not in said


# Read


def test_a_cookie_opens_the_door(site: Site) -> None:
    _, jar = site.log_in()
    answer = site.door.get(cookies=jar)
    assert answer.status == 200
    assert answer.token is not None
    assert answer.token["sub"] == "alice"
    assert set_by(answer) == []


@pytest.mark.parametrize("name", ["__Host-Http-access", "access"])
def test_a_cookie_may_have_another_name(door: Door, name: str) -> None:
    """CK-3."""
    site = Site(door, access=name, refresh="__Host-Http-refresh", path="/")
    _, jar = site.log_in()
    assert [cookie[0] for cookie in jar] == [name, "__Host-Http-refresh"]
    assert site.door.get(cookies=jar).status == 200
    assert site.door.get(cookies=[(ACCESS, jar[0][1])]).status == 401
    newer = site.cookies.refresh(request_of(site.door, cookies=jar))
    assert newer.session_id


@pytest.mark.parametrize("turned", [False, True])
def test_a_cookie_with_two_values_is_refused(site: Site, turned: bool) -> None:
    """CK-8: a sibling domain can add one, and no order says whose is whose."""
    (_, jar), (_, other) = site.log_in(), site.log_in("mallory")
    both = [*other, *jar] if turned else [*jar, *other]
    answer = site.door.get(cookies=both)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert site.door.get(cookies=[*jar, *jar]).status == 200


@pytest.mark.parametrize("turned", [False, True])
def test_a_refresh_cookie_with_two_values_is_refused(site: Site, turned: bool) -> None:
    """CK-8: and neither is used up.  A logout ends both: one of them is ours."""
    (pair, jar), (theirs, other) = site.log_in(), site.log_in("mallory")
    both = [other[1], jar[1]] if turned else [jar[1], other[1]]
    request = request_of(site.door, cookies=both)
    with pytest.raises(MultipleCredentials):
        site.cookies.refresh(request)
    site.issuer.refresh(theirs.refresh_token or "")
    site.cookies.end(request)
    assert not site.accepts(pair)
    assert not site.accepts(theirs)


@pytest.mark.parametrize("name", ["__host-access", "__HOST-ACCESS", "__Host-Access"])
def test_the_name_of_a_cookie_has_a_case(site: Site, name: str) -> None:
    """CK-9: a browser keeps such a one beside ours; it is nobody's."""
    _, jar = site.log_in()
    answer = site.door.get(cookies=[(name, jar[0][1])])
    assert (answer.status, answer.json.get("error")) == (401, None)
    assert site.door.get(cookies=[(name, "planted"), *jar]).status == 200


@pytest.mark.parametrize("name", ["__secure-refresh", "__SECURE-refresh", "refresh"])
def test_the_name_of_a_refresh_cookie_has_a_case_as_well(site: Site, name: str) -> None:
    """CK-9."""
    pair, jar = site.log_in()
    with pytest.raises(NoCredentials):
        site.cookies.refresh(request_of(site.door, cookies=[(name, jar[1][1])]))
    assert site.still_refreshes(pair)


@pytest.mark.parametrize(
    "others", ["a=1; bad[=x", '{"x":1}', "=", ";;", 'q="a', "é=ü", "x"]
)
def test_a_neighbour_hides_no_cookie(site: Site, others: str) -> None:
    """CK-10."""
    pair, jar = site.log_in()
    text = "; ".join(f"{name}={value}" for name, value in jar)
    for line in (f"{others}; {text}", f"{text}; {others}"):
        assert site.door.get(headers=[("Cookie", line)]).status == 200
    headers = [("Cookie", f"{others}; {text}; {others}")]
    newer = site.cookies.refresh(request_of(site.door, headers=headers))
    assert newer.session_id == pair.session_id


def test_cookies_may_come_in_several_lines(asgi_door: ASGIDoor) -> None:
    """CK-11: RFC 9113 §8.2.3; a WSGI server has to join them by "; " itself."""
    site = Site(asgi_door)
    pair, jar = site.log_in()
    lines = [("Cookie", f"{name}={value}") for name, value in [("a", "b"), *jar]]
    assert site.door.get(headers=lines).status == 200
    newer = site.cookies.refresh(request_of(site.door, headers=lines))
    assert newer.session_id == pair.session_id
    twice = [*lines, ("Cookie", f"{REFRESH}=x.y.z")]
    with pytest.raises(MultipleCredentials):
        site.cookies.refresh(request_of(site.door, headers=twice))


@pytest.mark.parametrize("bearer", ["bad", "a.b.c", "expired", "good"])
def test_a_good_cookie_makes_up_for_no_header(site: Site, bearer: str) -> None:
    """CK-13: there is no falling back.  The row has the header win; we say that two
    are too many, whatever each of them is worth."""
    old, _ = site.log_in()
    site.wall.now += EXPIRED_S
    pair, jar = site.log_in()
    texts = {"expired": old.access_token, "good": pair.access_token}
    answer = site.door.get(bearer=texts.get(bearer, bearer), cookies=jar)
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")
    assert not answer.entered


def test_a_bad_header_beside_a_refresh_cookie_is_what_it_is(site: Site) -> None:
    """CK-13."""
    _, jar = site.log_in()
    answer = site.door.get(bearer="a.b.c", cookies=[jar[1]])
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


def test_each_cookie_is_good_for_one_thing(site: Site) -> None:
    """A refresh token opens no door, and an access token refreshes nothing."""
    pair, _ = site.log_in()
    swapped = [(ACCESS, pair.refresh_token or ""), (REFRESH, pair.access_token)]
    answer = site.door.get(cookies=swapped)
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")
    with pytest.raises(InvalidGrant):
        site.cookies.refresh(request_of(site.door, cookies=swapped))
    assert site.accepts(pair)


# Whose page


PAGES: list[tuple[Headers, bool]] = [
    ([("Sec-Fetch-Site", "same-origin")], True),
    ([("Sec-Fetch-Site", "none")], True),
    ([("Sec-Fetch-Site", "same-site")], False),
    ([("Sec-Fetch-Site", "cross-site")], False),
    ([("Sec-Fetch-Site", "cross-site"), ("Origin", URL)], False),
    ([("Sec-Fetch-Site", "same-origin"), ("Origin", "null")], True),
    ([("Sec-Fetch-Site", "a-word-of-tomorrow")], False),
    ([("Sec-Fetch-Site", "a-word-of-tomorrow"), ("Origin", URL)], False),
    ([("Origin", URL)], True),
    ([("Origin", "https://evil.example")], False),
    ([("Origin", "https://sibling.api.example")], False),
    ([("Origin", "https://api.example:8443")], False),
    ([("Origin", "null")], False),
    ([("Sec-Fetch-Site", "cross-site"), ("Origin", "https://app.example")], True),
    ([("Origin", "https://app.example")], True),
    ([], True),
    ([("Referer", "https://evil.example/")], True),
]
"""Of the trusted origin https://app.example, and of others."""
OTHER_PAGES = [headers for headers, is_own in PAGES if not is_own]


@pytest.fixture
def trusting(door: Door) -> Site:
    return Site(door, trusted_origins=("https://app.example",))


@pytest.mark.parametrize(("headers", "passes"), PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PURGE"])
def test_a_change_comes_from_the_owners_page(
    trusting: Site, method: str, headers: Headers, passes: bool
) -> None:
    """CS-1, CS-2, CS-3, CS-4.

    Where we differ from the rows on purpose: a value of ``Sec-Fetch-Site`` that we do
    not know is refused and not ignored (CS-3); ``Referer`` is not asked; and a
    request with neither ``Sec-Fetch-Site`` nor ``Origin`` comes from no browser, so
    nobody can have made one send it (CS-4).
    """
    _, jar = trusting.log_in()
    answer = trusting.door.request(method, cookies=jar, headers=headers)
    assert answer.entered == passes
    assert answer.status == (200 if passes else 403)


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://lan.example", True),
        *(
            [
                (evil, False)
                for evil in ("http://evil.example", "null", "http://lan.example:1")
            ]
        ),
    ],
)
def test_over_plain_http_the_origin_decides(
    site: Site, origin: str, passes: bool
) -> None:
    """CS-5: a browser says ``Sec-Fetch-Site`` of trustworthy URLs only."""
    _, jar = site.log_in()
    answer = site.door.post(
        scheme="http", host="lan.example", cookies=jar, headers=[("Origin", origin)]
    )
    assert answer.entered == passes


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"])
@pytest.mark.parametrize("headers", OTHER_PAGES)
def test_what_changes_nothing_may_come_from_anywhere(
    site: Site, method: str, headers: Headers
) -> None:
    """CS-6: RFC 9110 §9.2.1, and QUERY, which is preflighted (RFC 10008)."""
    _, jar = site.log_in()
    assert site.door.request(method, cookies=jar, headers=headers).status == 200


PLANTED: list[tuple[Jar, Headers]] = [
    ([("__Host-csrf", "x")], [("X-CSRF-Token", "x")]),
    ([("csrf_access_token", "x")], [("X-CSRF-TOKEN", "x")]),
    ([("XSRF-TOKEN", "x")], [("X-XSRF-TOKEN", "x")]),
    ([("csrftoken", "x")], [("X-CSRFToken", "x")]),
    ([("__Host-csrf", "x")], []),
    ([], [("X-Requested-With", "XMLHttpRequest")]),
    ([], [("X-Csrf-Token", "1"), ("X-Auth", "yes")]),
]


@pytest.mark.parametrize(("cookies", "sent"), PLANTED)
@pytest.mark.parametrize("headers", OTHER_PAGES)
def test_no_pair_that_was_planted_and_no_header_buys_anything(
    site: Site, cookies: Jar, sent: Headers, headers: Headers
) -> None:
    """CS-7, CS-8, CS-9: what a browser says of the page is all that counts.

    There is no double submit to be planted, and no custom header that a CORS
    mistake would let through.
    """
    pair, jar = site.log_in()
    answer = site.door.post(cookies=[*jar, *cookies], headers=[*sent, *headers])
    assert (answer.status, answer.json["error"]) == (403, "cross_origin")
    request = request_of(site.door, cookies=[*jar, *cookies], headers=[*sent, *headers])
    with pytest.raises(CrossOrigin):
        site.cookies.refresh(request)
    assert site.still_refreshes(pair)


@pytest.mark.parametrize(("cookies", "sent"), PLANTED)
def test_the_owners_page_needs_no_header_of_that_kind(
    site: Site, cookies: Jar, sent: Headers
) -> None:
    """CS-9: with or without it."""
    _, jar = site.log_in()
    own = ("Sec-Fetch-Site", "same-origin")
    answer = site.door.post(cookies=[*jar, *cookies], headers=[*sent, own])
    assert answer.status == 200


def test_cross_origin_is_403_and_asks_for_no_other_token(site: Site) -> None:
    """CS-11: the token was good; the cookies stay as they are."""
    _, jar = site.log_in()
    answer = site.door.post(cookies=jar, headers=[("Sec-Fetch-Site", "cross-site")])
    assert answer.status == 403
    assert answer.json["error"] == "cross_origin"
    assert answer.challenge == 'Bearer realm="api"'
    assert answer.header("cache-control") == "no-store"
    assert set_by(answer) == []


@pytest.mark.parametrize("headers", OTHER_PAGES)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_no_other_site_refreshes_or_ends_a_session(
    site: Site, method: str, headers: Headers
) -> None:
    """CS-12: whatever the method; nothing is used up and nothing is ended by it."""
    pair, jar = site.log_in()
    request = request_of(site.door, method, cookies=jar, headers=headers)
    for call in (site.cookies.refresh, site.cookies.end, site.cookies.ensure_own_page):
        with pytest.raises(CrossOrigin):
            call(request)
    assert site.accepts(pair)
    assert site.still_refreshes(pair)


def test_no_other_site_ends_a_session_by_a_token_that_was_used(site: Site) -> None:
    """CS-12: else a page could log its visitors out, by the theft that it plays."""
    pair, jar = site.log_in()
    newer = site.issuer.refresh(pair.refresh_token or "")
    headers = [("Sec-Fetch-Site", "cross-site")]
    with pytest.raises(CrossOrigin):
        site.cookies.refresh(request_of(site.door, cookies=jar, headers=headers))
    assert site.accepts(newer)
    assert site.still_refreshes(newer)


@pytest.mark.parametrize(("headers", "passes"), PAGES)
def test_a_page_is_judged_before_there_is_a_session(
    trusting: Site, headers: Headers, passes: bool
) -> None:
    """CS-12: by a login, which another site would make for somebody else.

    What is no browser's has neither header, and passes.
    """
    request = request_of(trusting.door, headers=headers)
    if passes:
        trusting.cookies.ensure_own_page(request)
        with pytest.raises(NoCredentials):
            trusting.cookies.refresh(request)
        return
    with pytest.raises(CrossOrigin):
        trusting.cookies.ensure_own_page(request)


def application(site: Site) -> Handler:
    """What stands in the README: a login, a refresh and a logout."""

    def handle(request: Request) -> tuple[int, Headers]:
        try:
            if request.path == "/session/login":
                site.cookies.ensure_own_page(request)
                lines = site.cookies.write(site.issuer.issue("alice"))
            elif request.path == "/session/refresh":
                lines = site.cookies.write(site.cookies.refresh(request))
            else:
                site.cookies.end(request)
                lines = site.cookies.clear()
        except AuthError as error:
            reply = site.auth.refuse(error, request)
            kept = [h for h in reply.headers if not h[0].startswith("Content-")]
            return int(reply.status), kept
        return 200, [("Cache-Control", "no-store"), *(("Set-Cookie", v) for v in lines)]

    return handle


@pytest.fixture
def open_site(door: Door) -> Site:
    return Site(door, rules=(Rule("/session/*", methods=("POST",), public=True),))


def test_a_session_from_its_beginning_to_its_end(open_site: Site) -> None:
    site, app = open_site, application(open_site)
    own = [("Sec-Fetch-Site", "same-origin"), ("Origin", URL)]
    jar = jar_of(set_by(visit(site.door, app, "POST", "/session/login", headers=own)))
    assert site.door.get(cookies=jar).status == 200
    site.wall.now += EXPIRED_S
    late = site.door.get(cookies=jar)
    assert (late.status, late.json["error"]) == (401, "invalid_token")
    assert set_by(late) == [], "renewal has to be asked for"
    answer = visit(site.door, app, "POST", "/session/refresh", cookies=jar, headers=own)
    newer = jar_of(set_by(answer))
    assert answer.status == 200
    assert site.door.get(cookies=newer).status == 200
    answer = visit(site.door, app, "POST", "/session/end", cookies=newer, headers=own)
    assert set_by(answer) == list(site.cookies.clear())
    assert site.door.get(cookies=newer).status == 401
    again = visit(
        site.door, app, "POST", "/session/refresh", cookies=newer, headers=own
    )
    assert (again.status, set_by(again)) == (400, [])


@pytest.mark.parametrize("path", ["login", "refresh", "end"])
@pytest.mark.parametrize("headers", OTHER_PAGES)
def test_another_site_is_told_403_and_sets_no_cookie(
    open_site: Site, path: str, headers: Headers
) -> None:
    """CS-11, CS-12."""
    pair, jar = open_site.log_in()
    answer = visit(
        open_site.door,
        application(open_site),
        "POST",
        f"/session/{path}",
        cookies=jar,
        headers=headers,
    )
    assert (answer.status, set_by(answer)) == (403, [])
    assert open_site.accepts(pair)
    assert open_site.still_refreshes(pair)


# Refreshed


def test_the_cookie_refreshes_its_session_once(site: Site) -> None:
    pair, jar = site.log_in()
    site.wall.now += 1
    request = request_of(site.door, cookies=jar)
    newer = site.cookies.refresh(request)
    assert newer.session_id == pair.session_id
    assert newer.refresh_token != pair.refresh_token
    site.wall.now += 1
    assert site.accepts(newer)
    with pytest.raises(InvalidGrant) as refusal:
        site.cookies.refresh(request)
    assert refusal.value.reason == "refresh_reused"
    assert not site.accepts(newer), "used twice: the session is ended"


@pytest.mark.parametrize(
    ("cookies", "kind"),
    [
        ((), NoCredentials),
        (((REFRESH, ""),), NoCredentials),
        (((ACCESS, "a.b.c"),), NoCredentials),
        ((("x", f"{REFRESH}=a.b.c"),), NoCredentials),
        (((REFRESH, "a.b.c"),), InvalidGrant),
        (((REFRESH, "x"),), InvalidGrant),
        (((REFRESH, '"a.b.c"'),), InvalidGrant),
        (((REFRESH, "é"),), InvalidGrant),
        (((REFRESH, "x" * 100_000),), InvalidGrant),
        (((REFRESH, "a.b.c"), (REFRESH, "d.e.f")), MultipleCredentials),
        (((REFRESH, "a.b.c"), (REFRESH, "")), MultipleCredentials),
    ],
)
def test_what_is_no_refresh_cookie_is_told(
    site: Site, cookies: Jar, kind: type[AuthError]
) -> None:
    request = request_of(site.door, cookies=cookies)
    with pytest.raises(kind):
        site.cookies.refresh(request)
    before = site.store.size
    site.cookies.end(request)  # there is no session, so that none is left
    assert site.store.size == before


def test_a_refresh_token_of_another_issuer_is_nothing(site: Site, door: Door) -> None:
    other = Site(door, issuer={"key": Key.generate()})
    _, jar = other.log_in()
    with pytest.raises(InvalidGrant):
        site.cookies.refresh(request_of(site.door, cookies=jar))
    site.cookies.end(request_of(site.door, cookies=jar))
    assert site.store.size == 0


@pytest.mark.parametrize("state", ["fresh", "used", "expired", "at its end"])
def test_a_session_is_ended_by_its_cookie(door: Door, state: str) -> None:
    """By one that was used, or has expired, as well: a logout always logs out."""
    site = Site(door, issuer={"idle_lifetime": 1000})
    pair, jar = site.log_in()
    newer = pair
    if state == "used":
        newer = site.issuer.refresh(pair.refresh_token or "")
    site.wall.now += {"expired": 1500, "at its end": 30_000}.get(state, 1)
    site.cookies.end(request_of(site.door, cookies=jar))
    site.cookies.end(request_of(site.door, cookies=jar))
    assert not site.accepts(newer)
    assert site.door.get(cookies=jar).status == 401
    with pytest.raises(InvalidGrant):
        site.issuer.refresh(newer.refresh_token or "")


def test_all_of_it_can_be_awaited(door: Door) -> None:
    """With a store that needs a loop, and with one that does not."""
    for store in (WaitingStore(), MemoryStore(Clock(NOW))):
        issuer = TokenIssuer(URL, audience="app", key=KEY, store=store, now=Clock(NOW))
        cookies = SessionCookies(issuer)

        async def story(
            issuer: TokenIssuer = issuer, cookies: SessionCookies = cookies
        ) -> None:
            jar = jar_of(cookies.write(await issuer.aissue("alice")))
            evil = [("Sec-Fetch-Site", "cross-site")]
            for call in (cookies.arefresh, cookies.aend):
                with pytest.raises(CrossOrigin):
                    await call(request_of(door, cookies=jar, headers=evil))
            await cookies.aend(request_of(door))
            refresh = cookies.arefresh
            with pytest.raises(NoCredentials):
                await refresh(request_of(door))
            with pytest.raises(MultipleCredentials):
                await refresh(request_of(door, cookies=[*jar, (REFRESH, "x")]))
            with pytest.raises(InvalidGrant):
                await refresh(request_of(door, cookies=[(REFRESH, "a.b.c")]))
            newer = await cookies.arefresh(request_of(door, cookies=jar))
            jar = jar_of(cookies.write(newer))
            await cookies.aend(request_of(door, cookies=jar))
            with pytest.raises(InvalidGrant):
                await cookies.arefresh(request_of(door, cookies=jar))

        asyncio.run(story())


def test_without_a_store_there_is_nothing_to_refresh(door: Door) -> None:
    cookies = SessionCookies(TokenIssuer(URL, audience="app", key=KEY))
    with pytest.raises(ValueError, match="without a store"):
        cookies.refresh(request_of(door, cookies=[(REFRESH, "a.b.c")]))


# A browser that opens a page


NAVIGATIONS: list[Headers] = [
    [("Sec-Fetch-Mode", "navigate")],
    [("Sec-Fetch-Mode", "navigate"), ("Accept", "*/*")],
    [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "cross-site")],
    [("Accept", "text/html")],
    [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
]
NO_NAVIGATIONS: list[Headers] = [
    [],
    [("Accept", "*/*")],
    [("Accept", "application/json")],
    [("Accept", "application/json, text/html")],
    [("Sec-Fetch-Mode", "cors"), ("Accept", "text/html")],
    [("Sec-Fetch-Mode", "no-cors"), ("Accept", "text/html")],
    [("Sec-Fetch-Mode", "same-origin")],
    [("Sec-Fetch-Mode", "websocket")],
    [("Sec-Fetch-Mode", "Navigate")],
]


@pytest.fixture
def sending(door: Door) -> Site:
    """A site that sends browsers to its login, which everybody may see."""
    rules = (Rule("/login", optional=True), Rule("/admin", scopes=("admin",)))
    return Site(door, login_path="/login", rules=rules)


@pytest.mark.parametrize("headers", NAVIGATIONS)
def test_who_opens_a_page_without_a_session_is_sent_to_the_login(
    sending: Site, headers: Headers
) -> None:
    """303: whatever it was, the login is a GET.  No cache may keep it."""
    answer = sending.door.get("/page", headers=headers)
    assert (answer.status, answer.entered) == (303, False)
    assert answer.header("location") == "/login"
    assert answer.header("cache-control") == "no-store"
    assert (answer.body, answer.header("content-length")) == (b"", "0")
    assert set_by(answer) == [], "there was no bad one"


@pytest.mark.parametrize("bad", ["expired", "forged", "revoked", "nonsense"])
@pytest.mark.parametrize("path", ["/page", "/login"])
def test_a_bad_cookie_is_cleared_on_the_way(sending: Site, bad: str, path: str) -> None:
    """Else the login itself would refuse it, for ever.  The refresh cookie stays."""
    pair, jar = sending.log_in()
    if bad == "expired":
        sending.wall.now += EXPIRED_S
    elif bad == "forged":
        jar = [(ACCESS, pair.access_token[:-8] + "AAAAAAAA"), *jar[1:]]
    elif bad == "revoked":
        sending.auth.revoke(pair.access_token)
    else:
        jar = [(ACCESS, "nonsense"), *jar[1:]]
    answer = sending.door.get(path, cookies=jar, headers=NAVIGATIONS[0])
    assert (answer.status, answer.header("location")) == (303, "/login")
    assert set_by(answer) == [sending.cookies.clear()[0]]
    after = sending.door.get("/login", cookies=jar[1:], headers=NAVIGATIONS[0])
    assert (after.status, after.token) == (200, None)
    assert sending.still_refreshes(pair)


@pytest.mark.parametrize("headers", NO_NAVIGATIONS)
def test_what_opens_no_page_is_told_the_error(sending: Site, headers: Headers) -> None:
    for method, bad in (("GET", ""), ("GET", "x"), ("POST", ""), ("POST", "x")):
        answer = sending.door.request(
            method, "/page", cookies=[(ACCESS, bad)], headers=headers
        )
        assert answer.status == 401
        assert answer.challenge is not None
        assert answer.header("location") is None
        assert set_by(answer) == []


@pytest.mark.parametrize("headers", NAVIGATIONS)
def test_who_sends_a_form_without_a_session_is_sent_to_the_login(
    sending: Site, headers: Headers
) -> None:
    """303: by a GET, so that the form is not sent to the login."""
    answer = sending.door.post("/page", headers=headers, body=b"a=b")
    assert (answer.status, answer.header("location")) == (303, "/login")
    assert (answer.entered, set_by(answer)) == (False, [])


@pytest.mark.parametrize(
    "method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY"]
)
@pytest.mark.parametrize("headers", NAVIGATIONS)
def test_what_neither_a_link_nor_a_form_sends_is_told_the_error(
    sending: Site, method: str, headers: Headers
) -> None:
    answer = sending.door.request(method, "/page", headers=headers)
    assert (answer.status, answer.header("location")) == (401, None)


def test_other_refusals_are_told(sending: Site) -> None:
    """To log in again would not help."""
    _, jar = sending.log_in()
    page = NAVIGATIONS[0]
    lacking = sending.door.get("/admin", cookies=jar, headers=page)
    assert (lacking.status, lacking.header("location")) == (403, None)
    assert set_by(lacking) == []


def test_a_cookie_that_is_malformed_leads_to_the_login_too(sending: Site) -> None:
    """It would else be there for ever."""
    _, jar = sending.log_in()
    for cookies in ([(ACCESS, "%7B")], [*jar, (ACCESS, "x")]):
        answer = sending.door.get(cookies=cookies, headers=NAVIGATIONS[0])
        assert (answer.status, answer.header("location")) == (303, "/login")
        assert set_by(answer) == [sending.cookies.clear()[0]]
        assert sending.door.get(cookies=cookies).status == 400


def test_what_a_view_says_of_another_token_leaves_the_cookie_alone(
    sending: Site,
) -> None:
    """A link to a page that reads a token of its own must log nobody out."""
    request = request_of(sending.door, "GET", "/x", headers=NAVIGATIONS[0])
    reply = sending.auth.refuse(InvalidToken("an invitation"), request)
    assert reply.status == 401
    assert "Set-Cookie" not in dict(reply.headers)


def test_of_a_cookie_that_a_sibling_may_have_set_there_is_no_circle(
    door: Door,
) -> None:
    """To clear it clears another one."""
    site = Site(
        door,
        access="session",
        login_path="/login",
        rules=(Rule("/login", optional=True),),
    )
    answer = site.door.get(
        "/login", cookies=[("session", "a.b.c")], headers=NAVIGATIONS[0]
    )
    assert (answer.status, answer.header("location")) == (401, None)
    assert set_by(answer) == [site.cookies.clear()[0]]


@pytest.mark.parametrize("gone", [ACCESS, REFRESH])
def test_either_cookie_ends_the_session(door: Door, gone: str) -> None:
    """Also beside one that a sibling domain has set."""
    site = Site(door)
    pair, jar = site.log_in()
    left = [cookie for cookie in jar if cookie[0] != gone]
    planted = [(REFRESH, "a.b.c"), (REFRESH, "x"), *left]
    site.cookies.end(request_of(site.door, cookies=planted))
    assert not site.accepts(pair)
    with pytest.raises(InvalidGrant):
        site.issuer.refresh(pair.refresh_token or "")


def test_a_stranger_has_few_signatures_checked_by_one_logout(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Cookie header has room for hundreds of tokens."""
    site, checked = Site(door), list[str]()
    pair, jar = site.log_in()
    end = site.issuer.aend_session_by

    async def counting(text: str) -> None:
        checked.append(text)
        await end(text)

    monkeypatch.setattr(site.issuer, "aend_session_by", counting)
    planted = [(REFRESH, f"a.b.{number}") for number in range(MOST_ENDED - len(jar))]
    with pytest.raises(MultipleCredentials):
        site.cookies.end(request_of(door, cookies=[*planted, *jar, (ACCESS, "x")]))
    assert not checked
    site.cookies.end(request_of(door, cookies=[*planted, *jar]))
    assert len(checked) == MOST_ENDED
    assert not site.accepts(pair)


def test_what_can_be_ended_is_looked_up(door: Door) -> None:
    site = Site(door)
    sources: list[Any] = [(site.cookies,), (one for one in [site.cookies])]
    for some in sources:
        with pytest.raises(ValueError, match="store="):
            Authenticator(site.issuer.trusted(), sources=some)


def test_a_session_that_would_end_before_it_is_renewed_is_refused() -> None:
    issuer = TokenIssuer(
        URL, audience="app", key=KEY, store=MemoryStore(), idle_lifetime=630
    )
    with pytest.raises(ValueError, match="idle_lifetime"):
        SessionCookies(issuer)


def test_workers_whose_clocks_differ_log_out_all_the_same(door: Door) -> None:
    """By as much as the leeway of the issuer."""
    ahead, behind = Clock(NOW + 20), Clock(NOW)
    store = MemoryStore(behind)
    fast, slow = (Site(door, store, wall=wall) for wall in (ahead, behind))
    pair, _ = fast.log_in()
    assert slow.accepts(pair)
    newer = slow.issuer.refresh(pair.refresh_token or "")
    slow.cookies.end(request_of(slow.door, cookies=jar_of(slow.cookies.write(newer))))
    assert not fast.accepts(newer)


def test_an_outage_sends_nobody_to_the_login(door: Door) -> None:
    class Down(MemoryStore):
        def look(self, names: Any) -> Any:
            raise OSError

    site = Site(door, issuer={"store": None}, store=Down(), login_path="/login")
    _, jar = site.log_in()
    answer = site.door.get(cookies=jar, headers=NAVIGATIONS[0])
    assert (answer.status, answer.header("location")) == (503, None)
    assert set_by(answer) == []


def test_a_login_that_is_asked_for_again_keeps_the_session(sending: Site) -> None:
    """RFC 9470: the token is good; where to send its user is the application's."""
    request = request_of(sending.door, "GET", "/pay", headers=NAVIGATIONS[0])
    reply = sending.auth.refuse(StepUpRequired("too old", demanded={}), request)
    assert reply.status == 401
    assert "Set-Cookie" not in dict(reply.headers)


@pytest.mark.parametrize("headers", NAVIGATIONS)
def test_the_login_itself_is_no_loop(door: Door, headers: Headers) -> None:
    """Also where somebody forgot the rule that opens it."""
    site = Site(door, login_path="/login")
    answer = site.door.get("/login", headers=headers)
    assert (answer.status, answer.header("location")) == (401, None)
    bad = site.door.get("/login", cookies=[(ACCESS, "bad")], headers=headers)
    assert bad.status == 303
    assert set_by(bad) == [site.cookies.clear()[0]], "so the next one is without it"


@pytest.mark.parametrize("cookies", [(), ((ACCESS, "nonsense"),)])
def test_a_websocket_is_not_sent_away(asgi_door: ASGIDoor, cookies: Jar) -> None:
    site = Site(asgi_door, login_path="/login")
    assert isinstance(site.door, ASGIDoor)
    answer, _ = site.door.websocket(cookies=cookies, headers=NAVIGATIONS[0])
    assert answer.status == 401
    assert answer.header("location") is None


def test_a_handshake_that_comes_as_a_get_is_not_sent_away(sending: Site) -> None:
    """As WSGI servers hand it on."""
    headers = [("Upgrade", "websocket"), *NAVIGATIONS[0]]
    assert sending.door.get("/page", headers=headers).status == 401


def test_without_a_login_path_the_error_is_shown(site: Site) -> None:
    assert site.door.get(headers=NAVIGATIONS[0]).status == 401


def test_nothing_of_a_request_is_in_the_redirect(sending: Site) -> None:
    """No ``next=``: an open redirect, and a header to break out of."""
    for path in ("//evil.example", "/a\r\nX: y", "/login/../x", "/\\evil.example"):
        answer = sending.door.get(path, headers=NAVIGATIONS[0], query="next=//evil")
        assert answer.header("location") == "/login"
        assert not {name for name, _ in answer.headers} & {"x", "set-cookie"}


@pytest.mark.parametrize("path", ["/", "/login", "/a/b", "/login/", "/~a/b-c_d.html"])
def test_a_login_may_be_anywhere_on_our_host(door: Door, path: str) -> None:
    site = Site(door, login_path=path)
    answer = site.door.get("/page", headers=NAVIGATIONS[0])
    assert answer.header("location") == path


# What cannot be meant


@pytest.mark.parametrize(
    "path",
    [
        "",
        "login",
        "//evil",
        "///evil",
        "/a//b",
        "/\\evil",
        "\\\\evil",
        "https://evil",
        "https:/evil",
        "javascript:alert",
        "/login?next=/",
        "/login#x",
        "/login;x",
        "/a b",
        "/login\r\nX: y",
        "/login\n",
        "/é",
        "/%2Fevil",
        "/\t/evil",
        "/" + "a" * 1000 + "?",  # told at once, whatever its length
        True,
        7,
    ],
)
def test_the_login_is_a_plain_path_of_our_own(door: Door, path: Any) -> None:
    with pytest.raises(ValueError, match="login_path must be a string"):
        Site(door, login_path=path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"access": "__Secure-refresh"}, "give them two names"),
        ({"access": "a", "refresh": "a"}, "give them two names"),
        ({"access": "a b"}, "name must be a string"),
        ({"refresh": "a;b"}, "the name of a cookie must be"),
        ({"refresh": "__Host-refresh"}, r"write '__Secure-\.\.\.' for /session"),
        ({"refresh": "__Host-Http-x"}, r"write '__Secure-\.\.\.' for /session"),
        ({"path": "session"}, "the path of a cookie must be"),
        ({"path": "/a;b"}, "the path of a cookie must be"),
        ({"same_site": "None"}, "same_site is 'Strict' or 'Lax'"),
        ({"transparent": "yes"}, "transparent must be True or False"),
        ({"transparent": 1}, "transparent must be True or False"),
        ({"trusted_origins": "https://a.example"}, "trusted_origins takes several"),
        ({"trusted_origins": ("*",)}, "is no origin"),
        # A page loads its parts at once, and all show the same refresh token.
        ({"transparent": True}, r"TokenIssuer\(\.\.\., store=store, reuse_leeway=10\)"),
    ],
)
def test_what_cannot_be_meant_is_told(
    door: Door, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Site(door, **options)


@pytest.mark.parametrize(
    "issuer", [{"store": None}, {"store": None, "reuse_leeway": 9}]
)
def test_renewal_inside_requests_needs_a_store(
    door: Door, issuer: dict[str, Any]
) -> None:
    """What to write is in the message."""
    with pytest.raises(ValueError, match="store=store, reuse_leeway=10"):
        Site(door, transparent=True, issuer=issuer)


@pytest.mark.parametrize("issuer", [None, "https://app.example", TokenIssuer, object()])
def test_what_is_no_issuer_is_refused(issuer: Any) -> None:
    with pytest.raises(ValueError, match="expected a TokenIssuer"):
        SessionCookies(issuer)


def test_only_lax_lets_a_link_bring_the_session(door: Door) -> None:
    """CK-2: of the access cookie, and where it was asked for."""
    site = Site(door, same_site="Lax")
    pair, _ = site.log_in()
    for lines in (site.cookies.write(pair), site.cookies.clear()):
        assert [attributes_of(x)["samesite"] for x in lines] == ["Lax", "Strict"]


def test_it_stands_beside_no_other_reader_of_its_cookie(door: Door) -> None:
    """Two sources that find the same cookie are two tokens."""
    site = Site(door)
    _, jar = site.log_in()
    auth = Authenticator(
        site.issuer.trusted(),
        sources=(site.cookies, Cookie()),
        store=site.store,
        now=site.wall,
    )
    assert door.behind(auth).get(cookies=jar).status == 400


@pytest.mark.parametrize("text", ["x", "sid", "é", "x" * 100_000, "a.b", "a.b.c.d"])
def test_only_a_refresh_token_ends_a_session(door: Door, text: str) -> None:
    """A ``sid`` stands in every access token: it is a name, and no secret."""
    site = Site(door)
    pair, _ = site.log_in()
    value = pair.session_id if text == "sid" else text
    before = site.store.size
    site.cookies.end(request_of(site.door, cookies=[(REFRESH, value)]))
    assert site.accepts(pair)
    assert site.store.size == before, "nor does anybody fill the store"


def test_a_header_sends_nobody_to_the_login_in_a_circle(door: Door) -> None:
    """A proxy in front adds it to each request; no cookie is to blame."""
    site = Site(door, login_path="/login", rules=(Rule("/login", optional=True),))
    answer = site.door.get("/login", bearer="bad", headers=NAVIGATIONS[0])
    assert (answer.status, answer.header("location")) == (401, None)


def test_where_each_request_may_renew_no_path_is_left_to_choose() -> None:
    issuer = TokenIssuer(
        URL, audience="app", key=KEY, store=MemoryStore(), reuse_leeway=10
    )
    with pytest.raises(ValueError, match="has no path"):
        SessionCookies(issuer, transparent=True, path="/session")


def test_a_signed_token_of_no_session_ends_none(site: Site) -> None:
    """Of our own key as well: another kind, or of another issuer."""
    other = TokenIssuer("https://other.example", audience="app", key=KEY)
    texts = [
        other.issue("alice").access_token,
        sign_compact({"typ": "JWT"}, b'{"iss":"https://api.example"}', KEY),
        sign_compact({"typ": "JWT"}, b'{"iss":"https://api.example","sid":""}', KEY),
    ]
    for text in texts:
        site.cookies.end(request_of(site.door, cookies=[(REFRESH, text)]))
    assert site.store.size == 0
