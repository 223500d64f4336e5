"""What a client sends to a token endpoint: what is read of it, and what is refused."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jwt_middleware import (
    Authenticator,
    AuthError,
    Key,
    MemoryStore,
    TokenIssuer,
    TokenPair,
)
from jwt_middleware.errors import (
    InvalidGrant,
    InvalidScope,
    InvalidTokenRequest,
    RefreshReused,
    UnsupportedGrantType,
)
from jwt_middleware.grants import (
    FORM,
    MOST_FIELDS,
    MOST_OCTETS,
    RefreshRequest,
    read_refresh_request,
)

from .conftest import NOW
from .store_suite import Clock

GRANT = b"grant_type=refresh_token"
GOOD = b"grant_type=refresh_token&refresh_token=a.b.c"
READ = RefreshRequest("a.b.c", None)
KEY = Key.generate("ES256")


def read(body: bytes) -> RefreshRequest:
    return read_refresh_request(FORM, body)


def refusal_of(body: bytes, content_type: str = FORM) -> AuthError:
    """The error that tells of a body, and shows nothing of a token that is in it."""
    with pytest.raises(AuthError) as refusal:
        read_refresh_request(content_type, body)
    error = refusal.value
    assert error.status == 400
    assert "a.b.c" not in str(error)
    assert set(error.told()) == {"error", "error_description"}
    return error


# A form


def test_a_refresh_token_is_read() -> None:
    """RFC 6749 §6."""
    assert read(GOOD) == READ
    assert read(b"refresh_token=a.b.c&grant_type=refresh_token") == READ


@pytest.mark.parametrize(
    ("written", "scope"),
    [
        ("read", "read"),
        ("read+write", "read write"),
        ("read%20write", "read write"),
        ("read%2Bwrite", "read+write"),
        ("api%3A%2F%2Fx%2Fread", "api://x/read"),
        ("+read++write+", " read  write "),
        ("a=b", "a=b"),
    ],
)
def test_a_scope_is_decoded_once(written: str, scope: str) -> None:
    """A plus is a space, and one that is meant is ``%2B``."""
    assert read(GOOD + f"&scope={written}".encode()).scope == scope


@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        f"{FORM};charset=UTF-8",
        f"{FORM} ; charset=utf-8",
        f"{FORM};",
        f" {FORM} ",
        "Application/X-WWW-Form-Urlencoded",
        f"{FORM}; charset=ISO-8859-1",
    ],
)
def test_a_form_is_known_by_its_media_type(content_type: str) -> None:
    """I-3: in any case and with any parameter (RFC 9110 §8.3.1)."""
    assert read_refresh_request(content_type, GOOD) == READ


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        ";",
        "*/*",
        "application/*",
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "multipart/form-data; boundary=x",
        f"x{FORM}",
        f"{FORM}x",
        f"{FORM}+json",
        f"{FORM}\0",
        f'"{FORM}"',
        f"{FORM}, application/json",
        f"{FORM},{FORM}",
        f"text/plain; {FORM}",
        f";{FORM}",
        "application/x-www-form_urlencoded",
        "application / x-www-form-urlencoded",
        "application/form-urlencoded",
        f"\u0430{FORM[1:]}",  # Cyrillic
        f"{FORM}\r\nX: y",
    ],
)
def test_any_other_media_type_is_refused(content_type: str) -> None:
    """I-3: though the body may look like a form."""
    error = refusal_of(GOOD, content_type)
    assert type(error) is InvalidTokenRequest


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"grant_type": "refresh_token"}'),
        (FORM, b'{"grant_type":"refresh_token","refresh_token":"a.b.c"}'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="refresh_token"\r\n\r\n'
            b"a.b.c\r\n--x--\r\n",
        ),
        (FORM, b""),
    ],
)
def test_what_is_no_form_is_refused(content_type: str, body: bytes) -> None:
    assert refusal_of(body, content_type).error == "invalid_request"


# Fields


@pytest.mark.parametrize(
    "again",
    [
        "refresh_token=a.b.c",
        "refresh_token=other",
        "grant_type=refresh_token",
        "grant_type=password",
        "scope=read&scope=read",
        "scope=read&scope=write",
        "unknown=1&unknown=1",
        "unknown=1&unknown=2",
        "refresh%5Ftoken=other",
        "%72efresh_token=other",
    ],
)
def test_a_field_stands_once(again: str) -> None:
    """I-3: also where both say the same, and however its name is written."""
    assert type(refusal_of(GOOD + b"&" + again.encode())) is InvalidTokenRequest


@pytest.mark.parametrize(
    "empty",
    ["scope=", "scope", "refresh_token=", "refresh_token", "grant_type=", "x=", "&"],
)
def test_an_empty_field_counts_as_left_out(empty: str) -> None:
    """I-3: RFC 6749 §3.2; so it is not the second of its name either."""
    assert read(GOOD + b"&" + empty.encode()) == READ
    assert read(empty.encode() + b"&" + GOOD) == READ


@pytest.mark.parametrize(
    "body",
    [
        b"refresh_token=a.b.c",
        b"refresh_token=a.b.c&grant_type=",
        b"refresh_token=a.b.c&grant_type",
        b"refresh_token=a.b.c&Grant_Type=refresh_token",
        b"refresh_token=a.b.c;grant_type=refresh_token",
        GRANT,
        GRANT + b"&refresh_token=",
        GRANT + b"&refresh_token",
        GRANT + b"&Refresh_Token=a.b.c",
        GRANT + b"&token=a.b.c",
        GRANT + b"&refresh_token[]=a.b.c",
        GRANT + b"&scope=read",
    ],
)
def test_what_is_missing_is_told(body: bytes) -> None:
    """I-4: RFC 6749 §5.2, as the client's mistake and not as a bad token."""
    error = refusal_of(body)
    assert type(error) is InvalidTokenRequest
    assert error.told() == {
        "error": "invalid_request",
        "error_description": "The token request is malformed.",
    }


@pytest.mark.parametrize(
    "unknown",
    [
        "client_id=app",
        "resource=x&audience=y",
        "a[]=1&a[b]=2",
        "=1",
        "%00=%FF",
        "__x=1",
    ],
)
def test_an_unknown_field_is_ignored(unknown: str) -> None:
    """I-3: RFC 6749 §3.2."""
    assert read(GOOD + b"&" + unknown.encode()) == READ


# Other grants


@pytest.mark.parametrize(
    "grant_type",
    [
        "password",
        "authorization_code",
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
        "Refresh_Token",
        "REFRESH_TOKEN",
        "refresh_token ",
        " refresh_token",
        "refresh_token\0",
        "refresh_token password",
        "refresh-token",
        "\u0280efresh_token",
    ],
)
@pytest.mark.parametrize("rest", [b"", b"&refresh_token=a.b.c"])
def test_there_is_no_other_grant(grant_type: str, rest: bytes) -> None:
    """I-4, I-17: names are compared to the letter."""
    error = refusal_of(f"grant_type={quote(grant_type)}".encode() + rest)
    assert type(error) is UnsupportedGrantType
    assert error.told() == {
        "error": "unsupported_grant_type",
        "error_description": "The grant type is not supported.",
    }
    assert not error.challenged(), "another token would not help"


def test_a_name_and_a_password_log_nobody_in() -> None:
    """I-17: RFC 9700 §2.4; and they are not in the log."""
    error = refusal_of(b"grant_type=password&username=alice&password=hunter2")
    assert error.error == "unsupported_grant_type"
    assert "hunter2" not in str(error)
    assert "alice" not in str(error)


def test_a_long_grant_type_is_cut_for_the_log_and_forges_no_line_in_it() -> None:
    message = str(refusal_of(b"grant_type=%0Aforged%1B[2J" + b"x" * 5000))
    assert len(message) < 150
    assert message.isprintable()


# Bounds


def test_a_body_has_64_kib_at_most() -> None:
    assert MOST_OCTETS == 65_536
    start = GRANT + b"&refresh_token="
    longest = b"x" * (MOST_OCTETS - len(start))
    assert read(start + longest).refresh_token == longest.decode()
    assert type(refusal_of(start + longest + b"x")) is InvalidTokenRequest


def test_a_form_has_50_fields_at_most() -> None:
    """However many there are is not to cost anything; also where all are empty."""
    assert MOST_FIELDS == 50
    others = [f"x{number}=1" for number in range(48)]
    assert read(b"&".join([GOOD, *(other.encode() for other in others)])) == READ
    for more in ("y=1", "y", ""):
        fields = [*others, more]
        body = b"&".join([GOOD, *(field.encode() for field in fields)])
        assert type(refusal_of(body)) is InvalidTokenRequest
    assert type(refusal_of(b"&" * MOST_OCTETS)) is InvalidTokenRequest


@pytest.mark.parametrize(
    "octets", ["é".encode(), "é".encode("latin-1"), b"\xff", b"\xef\xbb\xbf", b"\x80"]
)
def test_a_form_is_ascii(octets: bytes) -> None:
    """Whatever its charset says: all else is to be percent-encoded."""
    for body in (GOOD + b"&x=" + octets, octets + GOOD, GOOD + octets):
        assert type(refusal_of(body)) is InvalidTokenRequest


@pytest.mark.parametrize(
    ("written", "token"),
    [
        ("a%2Eb%2Ec", "a.b.c"),
        ("%", "%"),
        ("a%2", "a%2"),
        ("a%zz", "a%zz"),
        ("%u0061", "%u0061"),
        ("%2561", "%61"),
        ("%C3%A9", "é"),
        ("%C3%28", "\ufffd("),
        ("%FF%FE", "\ufffd\ufffd"),
        ("%00", "\0"),
        ("a%26scope%3Dadmin", "a&scope=admin"),
    ],
)
def test_a_broken_escape_makes_a_bad_token_and_no_failure(
    written: str, token: str
) -> None:
    request = read(f"grant_type=refresh_token&refresh_token={written}".encode())
    assert request == RefreshRequest(token, None)
    with pytest.raises(InvalidGrant) as refusal:
        Endpoint().issuer.refresh(request.refresh_token)
    assert refusal.value.error == "invalid_grant"


# Whatever comes


many = settings(deadline=None, max_examples=300)
NAMES = st.sampled_from(["grant_type", "refresh_token", "scope", "client_id", "", "%"])
VALUES = st.one_of(
    st.sampled_from(["refresh_token", "password", "a.b.c", "", "%", "+", "=", ";"]),
    st.text(max_size=8),
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
FORMS = st.builds(lambda pairs: "&".join(map("=".join, pairs)).encode(), PAIRS)
TYPES = st.one_of(st.just(FORM), st.text(max_size=40))


@given(TYPES, st.one_of(st.binary(max_size=80), FORMS))
@example(FORM, b"%" * 70_000)
@example(FORM, b"&" * 70_000)
@example(FORM, b"grant_type=" + b"\xed\xa0\x80")
@example("\ud800", GOOD)
@many
def test_whatever_comes_is_read_or_refused(content_type: str, body: bytes) -> None:
    """No other exception, which would be a 500; and the refusal can be told."""
    try:
        request = read_refresh_request(content_type, body)
    except AuthError as refused:
        error = refused
    else:
        assert request.refresh_token
        assert request.scope != ""
        return
    assert error.status == 400
    assert error.error in ("invalid_request", "unsupported_grant_type")
    assert str(error).isprintable()


@given(
    st.dictionaries(
        st.sampled_from(["refresh_token", "scope", "client_id", "x"]),
        st.text(st.characters(codec="utf-8"), max_size=20),
    )
)
@many
def test_what_a_client_writes_is_what_is_read(fields: dict[str, str]) -> None:
    body = body_of(**fields)
    if not fields.get("refresh_token"):
        assert type(refusal_of(body)) is InvalidTokenRequest
        return
    assert read(body) == (fields["refresh_token"], fields.get("scope") or None)


# To the issuer


class Endpoint:
    """A token endpoint, in the two lines that it takes."""

    def __init__(self) -> None:
        wall = Clock(NOW)
        store = MemoryStore(wall)
        self.issuer = TokenIssuer(
            "https://app.example", audience="app", key=KEY, store=store, now=wall
        )
        self.auth = Authenticator(self.issuer.trusted(), store=store, now=wall)

    def log_in(self, scope: str = "") -> str:
        return self.issuer.issue("alice", scope=scope).refresh_token or ""

    def post(self, body: bytes) -> TokenPair:
        text, scope = read(body)
        return self.issuer.refresh(text, scope=scope)

    def scopes(self, pair: TokenPair) -> frozenset[str]:
        return self.auth.authenticate(pair.access_token).scopes


def body_of(**fields: str) -> bytes:
    return urlencode({"grant_type": "refresh_token", **fields}).encode()


def test_a_refresh_token_makes_the_round_trip() -> None:
    endpoint = Endpoint()
    first = endpoint.log_in("read write")
    pair = endpoint.post(body_of(refresh_token=first))
    assert endpoint.scopes(pair) == {"read", "write"}
    with pytest.raises(RefreshReused) as refusal:
        endpoint.post(body_of(refresh_token=first))
    assert (refusal.value.status, refusal.value.error) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("read", {"read"}),
        ("write read", {"read", "write"}),
        ("  write ", {"write"}),
        ("", {"read", "write"}),
    ],
)
def test_less_scope_is_given_and_the_refresh_token_keeps_its_own(
    asked: str, given: set[str]
) -> None:
    """I-13: an empty one is left out, so it asks for all (RFC 6749 §6)."""
    endpoint = Endpoint()
    text = endpoint.log_in("read write")
    less = endpoint.post(body_of(refresh_token=text, scope=asked))
    assert endpoint.scopes(less) == given
    assert less.refresh_token is not None
    again = endpoint.post(body_of(refresh_token=less.refresh_token))
    assert endpoint.scopes(again) == {"read", "write"}


@pytest.mark.parametrize("granted", ["read write", ""])
@pytest.mark.parametrize("asked", ["admin", "read admin", "READ", "read,write", "rea"])
def test_more_scope_is_refused_and_uses_nothing_up(granted: str, asked: str) -> None:
    """I-13: a scope is compared to the letter."""
    endpoint = Endpoint()
    text = endpoint.log_in(granted)
    with pytest.raises(InvalidScope) as refusal:
        endpoint.post(body_of(refresh_token=text, scope=asked))
    assert refusal.value.status == 400
    assert refusal.value.told() == {
        "error": "invalid_scope",
        "error_description": "The requested scope exceeds the scope granted.",
    }
    assert asked not in str(refusal.value)
    pair = endpoint.post(body_of(refresh_token=text))
    assert endpoint.scopes(pair) == set(granted.split())


def test_another_grant_uses_nothing_up() -> None:
    """I-17: also where it shows a good refresh token."""
    endpoint = Endpoint()
    text = endpoint.log_in()
    with pytest.raises(UnsupportedGrantType):
        endpoint.post(
            urlencode({"grant_type": "password", "refresh_token": text}).encode()
        )
    assert endpoint.post(body_of(refresh_token=text)).refresh_token != text


@pytest.mark.parametrize("scope", ['"', "é", "a\\b", "a\tb", "\0", "a\nb", "\ufffd"])
def test_a_scope_that_is_none_is_told_as_such(scope: str) -> None:
    """RFC 6749 §5.2: invalid, unknown or malformed; and nothing is used up."""
    issuer = TokenIssuer(
        "https://a.example", audience="app", key=Key.generate(), store=MemoryStore()
    )
    text = issuer.issue("alice", scope="read").refresh_token
    with pytest.raises(InvalidScope):
        issuer.refresh(text or "", scope=scope)
    assert issuer.refresh(text or "").refresh_token


def test_a_scope_that_repeats_itself_is_one() -> None:
    """It would else make a token that is too long, after the old one was used."""
    store = MemoryStore()
    issuer = TokenIssuer(
        "https://a.example", audience="app", key=Key.generate(), store=store
    )
    text = issuer.issue("alice", scope="read").refresh_token
    body = f"grant_type=refresh_token&refresh_token={text}&scope=".encode()
    pair = issuer.refresh(*read_refresh_request(FORM, body + b"read+" * 8000)[:1])
    again = read_refresh_request(FORM, body + b"read+" * 8000)
    assert again.scope is not None
    less = issuer.refresh(pair.refresh_token or "", scope=again.scope)
    auth = Authenticator(issuer.trusted(), store=store)
    token = auth.authenticate(less.access_token)
    assert token["scope"] == "read"


def test_no_repr_shows_a_refresh_token() -> None:
    read = read_refresh_request(FORM, b"grant_type=refresh_token&refresh_token=a.b.c")
    assert repr(read) == "<RefreshRequest>"


def test_a_refresh_token_gives_nothing_for_another_audience() -> None:
    """I-13; also where issuer, key and store are the same."""
    store, key = MemoryStore(), Key.generate()
    app, admin = (
        TokenIssuer("https://a.example", audience=name, key=key, store=store)
        for name in ("app", "admin")
    )
    text = app.issue("bob").refresh_token or ""
    for use in (admin.refresh, admin.end_session):
        with pytest.raises(InvalidGrant):
            use(text)
    assert app.refresh(text).refresh_token


@pytest.mark.parametrize("moment", ["x", None, True, -1, 2**60])
def test_a_login_was_at_a_moment(moment: object) -> None:
    issuer = TokenIssuer("https://a.example", audience="app", key=Key.generate())
    with pytest.raises(ValueError, match="auth_time"):
        issuer.issue("alice", auth_time=moment)
