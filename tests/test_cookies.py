"""A token in a cookie: which one it is, and whose page sent it."""

from __future__ import annotations

import pytest

from jwt_middleware import Cookie
from jwt_middleware.cookies import read_cookie

from .conftest import Mint, authenticator
from .doors import ASGIDoor, Door

NAME = "__Host-access"
OTHER_APP = "https://app.example"


@pytest.fixture
def jar(door: Door) -> Door:
    """Each way in, for a token in a cookie; one other origin is trusted."""
    return door.behind(authenticator(sources=(Cookie(trusted_origins=(OTHER_APP,)),)))


@pytest.fixture
def socket_door(asgi_door: ASGIDoor) -> ASGIDoor:
    """The way in for WebSockets, for a token in a cookie."""
    return ASGIDoor(authenticator(sources=(Cookie(trusted_origins=(OTHER_APP,)),)))


def test_a_cookie_is_as_good_as_a_header(jar: Door, mint: Mint) -> None:
    answer = jar.get(cookies=[(NAME, mint())])
    assert answer.status == 200
    assert answer.token is not None
    assert answer.token["sub"] == "alice"


@pytest.mark.parametrize(
    "cookies",
    [
        (),
        ((NAME, ""),),
        (("access", "x"),),
        (("__host-access", "x"),),
        (("x", f"{NAME}=y"),),
        (("", NAME),),
    ],
)
def test_no_cookie_and_an_empty_one_are_nothing(
    jar: Door, cookies: tuple[tuple[str, str], ...]
) -> None:
    """A browser keeps an emptied cookie; the challenge then names no error."""
    answer = jar.get(cookies=cookies)
    assert answer.status == 401
    assert answer.challenge == 'Bearer realm="api"'


def test_a_cookie_without_a_sign_is_not_ours(jar: Door) -> None:
    assert jar.get(headers=[("Cookie", NAME)]).json.get("error") is None


@pytest.mark.parametrize(
    "others",
    [
        "bad[]=1",
        '{"j":1}',
        "a=\u00e9",
        "path=/",
        '"',
        "=",
        "; ;",
        "expires=Wed, 09 Jun 2021 10:18:14 GMT",
        "a=b=c",
        f"x{NAME}=evil",
        f'a="; {NAME}x=1"',
    ],
)
def test_an_odd_cookie_hides_nothing(jar: Door, mint: Mint, others: str) -> None:
    """`http.cookies` would drop what follows some of these."""
    for value in (f"{others}; {NAME}={mint()}", f"{NAME}={mint()};{others}"):
        assert jar.get(headers=[("Cookie", value)]).status == 200


def test_white_space_around_a_cookie_does_not_count(jar: Door, mint: Mint) -> None:
    value = f"a=1;\t{NAME}={mint()} \t; b=2"
    assert jar.get(headers=[("Cookie", value)]).status == 200


def test_a_quoted_value_is_no_second_spelling(jar: Door, mint: Mint) -> None:
    answer = jar.get(cookies=[(NAME, f'"{mint()}"')])
    assert (answer.status, answer.json["error"]) == (400, "invalid_request")


def test_the_same_cookie_twice_is_one_and_two_are_refused(
    jar: Door, mint: Mint
) -> None:
    """A sibling domain can add one of the same name; which is the owner's?"""
    same = jar.get(cookies=[(NAME, mint()), (NAME, mint(sub="bob"))])
    assert same.json["error_description"] == "More than one access token was sent."
    text = mint()
    assert jar.get(cookies=[(NAME, text), (NAME, text)]).status == 200
    beside_empty = jar.get(cookies=[(NAME, text), (NAME, "")])
    assert beside_empty.status == 400


def test_a_comma_is_part_of_a_value(jar: Door, mint: Mint) -> None:
    """Whoever can set some cookie must not be able to set this one."""
    hidden = jar.get(headers=[("Cookie", f"theme=x,{NAME}={mint()}")])
    assert (hidden.status, hidden.json.get("error")) == (401, None)
    appended = jar.get(headers=[("Cookie", f"{NAME}={mint()},a=b")])
    assert appended.status == 400


def test_every_cookie_header_is_read() -> None:
    """RFC 9113 §8.2.3: HTTP/2 clients send one for each cookie."""
    assert list(read_cookie(("a=1; t=x", "t=y", "b=2"), "t")) == ["x", "y"]


def test_a_bound_token_is_refused_in_a_cookie_too(jar: Door, mint: Mint) -> None:
    answer = jar.get(cookies=[(NAME, mint(cnf={"jkt": "x"}))])
    assert (answer.status, answer.json["error"]) == (401, "invalid_token")


SITES = [
    ([("Sec-Fetch-Site", "same-origin")], True),
    ([("Sec-Fetch-Site", "none")], True),
    ([("Sec-Fetch-Site", "same-site")], False),
    ([("Sec-Fetch-Site", "cross-site")], False),
    ([("Sec-Fetch-Site", "Same-Origin")], False),
    ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin")], False),
    # Where there is Sec-Fetch-Site, it alone counts; but for a trusted origin.
    ([("Sec-Fetch-Site", "same-origin"), ("Origin", "https://x.example")], True),
    ([("Sec-Fetch-Site", "cross-site"), ("Origin", "https://api.example")], False),
    ([("Sec-Fetch-Site", "cross-site"), ("Origin", OTHER_APP)], True),
    ([("Sec-Fetch-Site", "same-site"), ("Origin", OTHER_APP)], True),
]
ORIGINS = [
    ([], True),
    ([("Origin", "")], True),
    ([("Origin", OTHER_APP)], True),
    ([("Origin", "https://api.example")], True),
    ([("Origin", "HTTPS://API.example")], True),
    ([("Origin", "https://api.example:443")], True),
    ([("Origin", "https://api.example:8443")], False),
    ([("Origin", "https://api.example:80")], False),
    ([("Origin", "http://api.example")], False),
    ([("Origin", "https://evil.example")], False),
    ([("Origin", "https://api.example.evil.example")], False),
    ([("Origin", "https://evil.example/https://api.example")], False),
    ([("Origin", "https://api.example@evil.example")], False),
    ([("Origin", "https://api.example/")], False),
    ([("Origin", "https://APP.example")], False),
    ([("Origin", f"{OTHER_APP}.evil.example")], False),
    ([("Origin", f"{OTHER_APP}:443")], False),
    ([("Origin", "null")], False),
    ([("Origin", "file://")], False),
    ([("Origin", "//api.example")], False),
    ([("Origin", "ftp://api.example")], False),
    ([("Origin", "https://api.example"), ("Origin", "https://api.example")], False),
    ([("Origin", "https://evil.example"), ("Origin", OTHER_APP)], False),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "post", "PURGE"])
@pytest.mark.parametrize(("headers", "passes"), SITES)
def test_a_change_has_to_come_from_the_owners_page(
    jar: Door, mint: Mint, method: str, headers: list[tuple[str, str]], passes: bool
) -> None:
    """By ``Sec-Fetch-Site``, which no page can set."""
    answer = jar.request(method, headers=headers, cookies=[(NAME, mint())])
    assert answer.entered == passes
    assert answer.status == (200 if passes else 403)


@pytest.mark.parametrize(("headers", "passes"), ORIGINS)
def test_an_older_browser_is_judged_by_its_origin(
    jar: Door, mint: Mint, headers: list[tuple[str, str]], passes: bool
) -> None:
    answer = jar.post(headers=headers, cookies=[(NAME, mint())])
    assert answer.entered == passes
    assert answer.status == (200 if passes else 403)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "QUERY"])
def test_a_safe_method_may_come_from_anywhere(
    jar: Door, mint: Mint, method: str
) -> None:
    """RFC 9110 §9.2.1: it changes nothing; a link has to work."""
    headers = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]
    answer = jar.request(method, headers=headers, cookies=[(NAME, mint())])
    assert answer.status == 200


def test_cross_origin_is_told_in_the_body_and_not_in_the_challenge(
    jar: Door, mint: Mint
) -> None:
    """Other credentials would not help, so nobody is sent to fetch some."""
    headers = [("Origin", "https://evil.example")]
    answer = jar.post(headers=headers, cookies=[(NAME, mint())])
    assert answer.json == {
        "error": "cross_origin",
        "error_description": "The request came from another origin.",
    }
    assert answer.challenge == 'Bearer realm="api"'


def test_a_header_is_sent_by_no_browser_unasked(door: Door, mint: Mint) -> None:
    """So a bearer token may come from any page."""
    headers = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]
    assert door.post(bearer=mint(), headers=headers).status == 200


def test_behind_a_proxy_that_ends_tls_an_https_page_is_our_own(
    jar: Door, mint: Mint
) -> None:
    """The server reports http; the page's origin says https; the host agrees."""
    for origin in ("https://api.example", "http://api.example"):
        answer = jar.post(
            scheme="http", headers=[("Origin", origin)], cookies=[(NAME, mint())]
        )
        assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("api.example:8443", "https://api.example:8443", True),
        ("API.example:443", "https://api.example", True),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("[::80]", "https://[::80]", True),
        ("api.example", "https://api.example.", False),
        (None, "https://api.example", False),
        ("", "https://api.example", False),
    ],
)
def test_the_host_is_compared_with_its_port(
    jar: Door, mint: Mint, host: str | None, origin: str, passes: bool
) -> None:
    answer = jar.post(host=host, headers=[("Origin", origin)], cookies=[(NAME, mint())])
    assert answer.entered == passes


def test_two_hosts_are_no_host_of_ours(jar: Door, mint: Mint) -> None:
    headers = [("Host", "evil.example"), ("Origin", "https://evil.example")]
    assert jar.post(headers=headers, cookies=[(NAME, mint())]).status == 403


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        *ORIGINS,
        # Few browsers say it of a handshake; where there is an origin, that counts.
        (
            [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://evil.example")],
            False,
        ),
        ([("Sec-Fetch-Site", "cross-site"), ("Origin", "https://api.example")], True),
        ([("Sec-Fetch-Site", "cross-site")], False),
        ([("Sec-Fetch-Site", "same-origin")], True),
    ],
)
def test_a_websocket_is_judged_by_its_origin(
    socket_door: ASGIDoor, mint: Mint, headers: list[tuple[str, str]], passes: bool
) -> None:
    """Its method is GET, and still it opens a line into the owner's session."""
    answer, _ = socket_door.websocket(headers=headers, cookies=[(NAME, mint())])
    assert answer.status == (101 if passes else 403)


def test_origins_may_come_as_a_generator_and_are_kept(door: Door, mint: Mint) -> None:
    source = Cookie("t", trusted_origins=(f"https://{name}.example" for name in "ab"))
    jar = door.behind(authenticator(sources=(source,)))
    for name, status in (("a", 200), ("b", 200), ("c", 403), ("a", 200)):
        headers = [("Origin", f"https://{name}.example")]
        assert jar.post(headers=headers, cookies=[("t", mint())]).status == status


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "é", "a\r\nb", 'a"'])
def test_what_can_name_no_cookie_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name must be a string"):
        Cookie(name)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "app.example",
        "https://",
        "https://app.example/",
        "https://app.example/path",
        "https://App.example",
        "HTTPS://app.example",
        "https://*.example/x",
        "https://a.example,https://b.example",
        "https://user@app.example",
        "https://app.example ",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:",
        "://app.example",
        "file://",
    ],
)
def test_what_can_be_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(
        ValueError, match=r"is no origin|must be a string without spaces"
    ):
        Cookie(trusted_origins=(origin,))


def test_a_single_origin_is_not_taken_for_its_letters() -> None:
    with pytest.raises(ValueError, match=r"trusted_origins=\('https://app.example',\)"):
        Cookie(trusted_origins="https://app.example")


@pytest.mark.parametrize(
    "origin",
    ["capacitor://localhost", "https://app.example:8443", "http://[::1]:5173"],
)
def test_an_origin_may_be_of_an_apps_own_scheme_or_port(
    door: Door, mint: Mint, origin: str
) -> None:
    jar = door.behind(authenticator(sources=(Cookie(trusted_origins=(origin,)),)))
    for sent, passes in ((origin, True), (f"{origin}1", False)):
        answer = jar.post(headers=[("Origin", sent)], cookies=[(NAME, mint())])
        assert answer.entered == passes


@pytest.mark.parametrize("value", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_handshake_that_comes_as_a_get_is_judged_as_one(
    jar: Door, mint: Mint, value: str
) -> None:
    """WSGI servers hand it over so; its method is safe, and it is not."""
    upgrade = ("Upgrade", value)
    for origin, passes in (("https://evil.example", False), (OTHER_APP, True)):
        headers = [upgrade, ("Origin", origin), ("Sec-Fetch-Site", "same-origin")]
        answer = jar.get(headers=headers, cookies=[(NAME, mint())])
        assert answer.entered == passes
    assert jar.get(headers=[upgrade], cookies=[(NAME, mint())]).entered
    other = [("Upgrade", "h2c"), ("Origin", "https://evil.example")]
    assert jar.get(headers=other, cookies=[(NAME, mint())]).entered
