"""How a cookie is written: what a browser keeps, and shows to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from jwt_middleware.set_cookie import LONGEST_AGE, MOST_OCTETS, SetCookie

COOKIES = [
    SetCookie("__Host-access"),
    SetCookie("__Host-Http-access"),
    SetCookie("__Host-access", same_site="Lax"),
    SetCookie("__Secure-refresh", path="/session"),
    SetCookie("__Http-refresh", path="/a/b"),
    SetCookie("plain"),
]
TOKEN68 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="


def attributes_of(line: str) -> dict[str, str | None]:
    """The attributes of ``Set-Cookie``, as RFC 6265 §5.2 reads them."""
    found: dict[str, str | None] = {}
    for part in line.split(";")[1:]:
        name, equals, value = part.strip().partition("=")
        assert name.lower() not in found, f"{name} stands twice"
        found[name.lower()] = value if equals else None
    return found


# Attributes


def test_a_cookie_is_for_this_host_over_https_and_for_no_script() -> None:
    """CK-1, CK-2: RFC 10017 §6.1.3.2."""
    line = SetCookie("__Host-access").write("a.b.c", 600)
    assert line == (
        "__Host-access=a.b.c; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Strict"
    )


def test_lax_is_written_where_it_was_asked_for() -> None:
    """CK-2: an explicit option; there is no way to None."""
    lax = SetCookie("__Host-access", same_site="Lax").write("a", 1)
    assert attributes_of(lax)["samesite"] == "Lax"


@pytest.mark.parametrize("cookie", COOKIES, ids=repr)
@pytest.mark.parametrize("age", [0, 1, 600])
def test_every_cookie_is_secure_and_hidden_from_scripts(
    cookie: SetCookie, age: int
) -> None:
    """CK-1, CK-4: there is none that a script has to read, so none that it can."""
    attributes = attributes_of(cookie.write("" if age == 0 else "a.b.c", age))
    assert attributes["secure"] is attributes["httponly"] is None
    assert attributes["path"] == cookie.path
    assert attributes["samesite"] == cookie.same_site
    assert attributes.keys() == {"path", "max-age", "secure", "httponly", "samesite"}


@pytest.mark.parametrize("name", ["__Host-Http-access", "__Http-access"])
def test_a_name_may_prove_that_no_script_set_it(name: str) -> None:
    """CK-3: a browser takes ``__Host-Http-`` with Secure, HttpOnly and Path=/, and
    without Domain.  The default is ``__Host-access``, which other parts rely on."""
    line = SetCookie(name).write("a.b.c", 600)
    assert line.startswith(f"{name}=a.b.c;")
    assert {"secure", "httponly"} < attributes_of(line).keys()
    assert attributes_of(line)["path"] == "/"
    assert "domain" not in attributes_of(line)


@pytest.mark.parametrize("cookie", COOKIES, ids=repr)
def test_it_is_cleared_by_the_attributes_that_it_was_set_with(
    cookie: SetCookie,
) -> None:
    """CK-12: a browser ignores a clearing that breaks the rule of the prefix, and
    one for another path clears nothing."""
    written, cleared = cookie.write("a.b.c", 600), cookie.clear()
    assert cleared.startswith(f"{cookie.name}=;")
    assert attributes_of(cleared) == {**attributes_of(written), "max-age": "0"}


# What a browser would drop


@pytest.mark.parametrize("path", ["/session", "/a/b", "//", "/x"])
@pytest.mark.parametrize(
    "name",
    [
        "__Host-access",
        "__host-access",
        "__HOST-access",
        "__Host-Http-access",
        "__hOST-hTTP-access",
        "__Host-",
    ],
)
def test_a_cookie_of_the_host_is_for_every_path(name: str, path: str) -> None:
    """CK-5: without case, as browsers compare the prefix (RFC 6265bis §5.4)."""
    with pytest.raises(ValueError, match=r"write '__Secure-\.\.\.'"):
        SetCookie(name, path=path)


@pytest.mark.parametrize("name", ["__Secure-refresh", "__Http-x", "host", "_Host-x"])
def test_any_other_may_be_for_one_path(name: str) -> None:
    """CK-5: these prefixes ask for Secure, and HttpOnly, which are always there."""
    assert attributes_of(SetCookie(name, path="/p").clear())["path"] == "/p"


@pytest.mark.parametrize("same_site", ["None", "none", "lax", "strict", "", None, True])
def test_a_cookie_that_every_site_may_send_cannot_be_meant(same_site: Any) -> None:
    with pytest.raises(ValueError, match="same_site is 'Strict' or 'Lax'"):
        SetCookie("a", same_site=same_site)


@pytest.mark.parametrize("name", ["__Host-access", "a", "__Host-Http-access"])
def test_name_and_value_have_4096_octets_at_most(name: str) -> None:
    """CK-6: RFC 6265bis §5.6; the attributes do not count, the name does."""
    cookie = SetCookie(name)
    assert MOST_OCTETS == 4096
    longest = "x" * (4096 - len(name))
    assert cookie.write(longest, 600).startswith(f"{name}={longest};")
    with pytest.raises(ValueError, match=f"{name} would have 4097 octets") as refusal:
        cookie.write(f"{longest}x", 600)
    assert "xxxx" not in str(refusal.value), "a token is a secret"
    assert "fewer claims" in str(refusal.value)


@pytest.mark.parametrize(
    ("age", "written"),
    [
        (0, 0),
        (1, 1),
        (400 * 86400 - 1, 400 * 86400 - 1),
        (400 * 86400, 400 * 86400),
        (400 * 86400 + 1, 400 * 86400),
        (10**30, 400 * 86400),
    ],
)
def test_no_cookie_lives_longer_than_400_days(age: int, written: int) -> None:
    """CK-7: RFC 6265bis §5.5."""
    assert LONGEST_AGE == 34_560_000
    line = SetCookie("a").write("x", age)
    assert attributes_of(line)["max-age"] == str(written)


@pytest.mark.parametrize("age", [-1, 1.5, True, "600", None, float("nan")])
def test_what_is_no_age_is_refused(age: Any) -> None:
    with pytest.raises(ValueError, match="max_age must be a whole number from 0"):
        SetCookie("a").write("x", age)


# Injection


def test_only_what_a_token_is_made_of_is_written() -> None:
    """Every octet: none ends the value, the line or the header."""
    cookie = SetCookie("a")
    for octet in map(chr, range(256)):
        value = f"A-secret-token{octet}of-somebody"
        if octet in TOKEN68:
            assert cookie.write(value, 1).startswith(f"a={value}; Path")
            continue
        with pytest.raises(ValueError, match="what a is to hold is no token") as told:
            cookie.write(value, 1)
        assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    "value",
    [
        "a; Domain=evil.example",
        "a\r\nSet-Cookie: b=c",
        "a\n",
        "\n",
        '"a"',
        "a b",
        "a,b",
        "a\\b",
        "ａ",  # full width
        "é" * 4096,
    ],
)
def test_nothing_is_written_into_the_header_beside_the_value(value: str) -> None:
    with pytest.raises(ValueError, match=r"is no token|octets") as told:
        SetCookie("name").write(value, 1)
    assert value not in str(told.value)


@pytest.mark.parametrize(
    "name", ["", "a b", "a=b", "a;b", "é", "a\r\nb", "a\n", '"a"', "a,b", None, 7, b"a"]
)
def test_what_can_name_no_cookie_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="the name of a cookie must be"):
        SetCookie(name)


@pytest.mark.parametrize(
    "path",
    ["", "session", "/a;b", "/a; Domain=x", "/a b", "/é", "/a\r\nb", "/\n", None, 7],
)
def test_what_can_be_no_path_is_refused(path: Any) -> None:
    """A browser takes one without a slash for that of the request: for another."""
    with pytest.raises(ValueError, match="the path of a cookie must be"):
        SetCookie("a", path=path)


def test_a_path_that_a_browser_would_ignore_is_refused() -> None:
    """CK-6: an attribute of more than 1024 octets (RFC 6265bis §5.6)."""
    SetCookie("__Secure-a", path="/" + "a" * 1023)
    with pytest.raises(ValueError, match="1024"):
        SetCookie("__Secure-a", path="/" + "a" * 1024)
