"""What holds for every request, every token and every path, not for examples only."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import joserfc.jwk
import joserfc.jwt
import jwt
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from jwt_middleware import (
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TrustedIssuer,
)
from jwt_middleware.compact import (
    ALPHABET,
    base64url_decode,
    base64url_encode,
    read_json_object,
    write_json,
)
from jwt_middleware.errors import MalformedToken

from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    SIGNING_KEY,
    authenticator,
    clock,
    mint_token,
    sign,
)
from .doors import DOORS, Answer, Door, Headers

many = settings(deadline=None, max_examples=300)  # a shared machine has no deadlines
Claims = dict[str, Any]

LEEWAY = 30
"""Seconds; the default of `TrustedIssuer`."""
GOOD = mint_token()
OTHER = mint_token(key=Key.generate("HS256", kid="k1"), sub="mallory")

LOCKED = authenticator(sources=(BearerHeader(), Cookie()), store=MemoryStore(clock))
LOCKED_DOORS = [door(LOCKED) for door in DOORS]
PUBLIC_RULES = (
    Rule("/public/admin/*", scopes=("admin",)),
    Rule("/public/*", public=True),
)
PUBLIC_DOORS = [door(authenticator(rules=PUBLIC_RULES)) for door in DOORS]


class CleanLog(logging.Handler):
    """Fails for a line that could forge another, or that shows a whole token."""

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        assert line.isascii()
        assert line.isprintable()
        assert GOOD not in line


@pytest.fixture(autouse=True, scope="module")
def _clean_log() -> Iterator[None]:
    """Every refusal is logged, by way of `CleanLog`."""
    logger, handler = logging.getLogger("jwt_middleware"), CleanLog()
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


# Whatever is sent, one of a few fixed answers comes back, by both doors the same.


def kinds(kind: type[AuthError] = AuthError) -> Iterator[type[AuthError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from kinds(narrower)


TOLD = {(int(kind.status), kind.error, kind.description) for kind in kinds()}
TOLD |= {
    (
        401,
        None,
        f"An access token is required: {found} scheme was sent, "
        "expected 'Authorization: Bearer <token>'.",
    )
    for found in ("no", "another")
}
"""All that a refusal may say: fixed texts, so that nothing is reflected."""


def ensure_well_formed(answer: Answer) -> None:
    assert answer.entered == (answer.status == 200)
    if answer.entered:
        assert answer.body == b"ok"
        assert answer.token is answer.current is not None
        return
    assert answer.status in (400, 401, 403)
    error, description = answer.json.get("error"), answer.json["error_description"]
    assert answer.json.keys() <= {"error", "error_description"}
    assert (answer.status, error, description) in TOLD
    challenge = 'Bearer realm="api"'
    if error is not None and answer.status != 403:
        challenge += f', error="{error}", error_description="{description}"'
    assert answer.headers == (
        ("content-type", "application/json"),
        ("content-length", str(len(answer.body))),
        ("cache-control", "no-store"),
        ("www-authenticate", challenge),
    )


def answer_of_both(method: str, headers: Headers) -> Answer:
    """The answer that each door gives; they have to agree."""
    first, second = (door.request(method, headers=headers) for door in LOCKED_DOORS)
    for answer in (first, second):
        ensure_well_formed(answer)
    assert (first.status, first.challenge) == (second.status, second.challenge)
    assert (first.body, first.entered) == (second.body, second.entered)
    assert first.token == second.token
    event(f"status {first.status}")
    return first


def bearer(token: str) -> Headers:
    return [("Authorization", f"Bearer {token}")]


OCTETS = st.text(st.characters(max_codepoint=0xFF), max_size=60)
"""Text of which each character is one octet of a header."""
ODD = st.sampled_from([*'.=,;" +/~\t\0\r\n\x7f\x85\xa0\xff', GOOD])
PIECES = st.one_of(st.sampled_from(ALPHABET.decode()), ODD)


@st.composite
def mutations(draw: st.DrawFn, text: str = GOOD) -> str:
    """*text* with a few characters changed, inserted, deleted or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        piece = draw(PIECES)
        edits = [piece, piece + text[at : at + 1], "", text[at : at + 1] * 2]
        text = text[:at] + draw(st.sampled_from(edits)) + text[at + 1 :]
    return text


SHUFFLED = st.lists(
    st.sampled_from([*GOOD.split("."), *OTHER.split("."), ""]), min_size=1, max_size=5
).map(".".join)
FRAMED = st.builds("{}{}{}".format, ODD, st.just(GOOD), ODD)
TOKENS = st.one_of(
    st.sampled_from([GOOD, OTHER]), mutations(), SHUFFLED, FRAMED, OCTETS
)
SCHEMES = st.sampled_from(
    ["Bearer ", "bearer ", "BEARER  ", "Bearer", "Bearer\t", "Basic ", "DPoP ", ""]
)
AUTHORIZATIONS = st.one_of(
    OCTETS,
    st.builds("{}{}".format, SCHEMES, TOKENS),
    st.lists(st.builds("{}{}".format, SCHEMES, TOKENS), max_size=3).map(",".join),
)
COOKIES = st.one_of(
    OCTETS,
    st.lists(
        st.one_of(
            TOKENS,
            st.sampled_from(
                ["__Host-access", "__host-access", "__Host-access=", "__Secure-a=1"]
            ),
            st.sampled_from(["; ", ";", "=", ",", " ", "\t", '"', "$Path=/", "\\073"]),
            st.sampled_from(
                [
                    f"__Host-access={GOOD}",
                    f'__Host-access="{GOOD}"',
                    f"__host-access={GOOD}",
                ]
            ),
        ),
        max_size=6,
    ).map("".join),
)
ORIGINS = st.one_of(
    OCTETS, st.sampled_from(["https://api.example", "https://evil.example", "null"])
)
SITES = st.one_of(OCTETS, st.sampled_from(["same-origin", "none", "cross-site"]))


@st.composite
def header_lists(draw: st.DrawFn) -> Headers:
    """Up to two Authorization headers, a cookie, and what tells of its page."""
    listed = [("Authorization", v) for v in draw(st.lists(AUTHORIZATIONS, max_size=2))]
    for name, values in (
        ("Cookie", COOKIES),
        ("Origin", ORIGINS),
        ("Sec-Fetch-Site", SITES),
    ):
        listed += [(name, value) for value in draw(st.lists(values, max_size=1))]
    return listed


@many
@given(st.sampled_from(["GET", "POST", "DELETE"]), header_lists())
@example("GET", bearer(GOOD))
@example("POST", [("Cookie", f"__Host-access={GOOD}")])
@example("POST", [("Cookie", f"__Host-access={GOOD}"), ("Origin", "null")])
@example("GET", [("Cookie", f"__host-access={GOOD}")])
@example("GET", [("Cookie", f'__Host-access="{GOOD}"')])
def test_any_headers_get_an_answer(method: str, headers: Headers) -> None:
    """And whoever is let in has sent the one good token, letter by letter."""
    if answer_of_both(method, headers).entered:
        place = {"Authorization": f" {GOOD}", "Cookie": f"__Host-access={GOOD}"}
        assert any(place.get(name, "\n") in value for name, value in headers)


@many
@given(TOKENS)
@example("")
def test_any_token_gets_an_answer(token: str) -> None:
    """Only the token that was signed is let in, under one spelling."""
    answer = answer_of_both("GET", bearer(token))
    assert answer.entered == (token.lstrip(" ").rstrip(" \t") == GOOD)
    header = f"__Host-access={token}"
    cookie = answer_of_both("GET", [("Cookie", header)])
    pairs = {pair.strip(" \t") for pair in header.split(";")}
    named = {pair for pair in pairs if pair.startswith("__Host-access=")}
    assert cookie.entered == (named == {f"__Host-access={GOOD}"})


@many
@given(st.one_of(st.text(), TOKENS))
def test_any_text_verifies_or_is_refused(text: str) -> None:
    """Text that came by another way may have any character."""
    try:
        token = LOCKED.authenticate(text)
    except AuthError:
        assert text != GOOD
    else:
        assert text == GOOD
        assert token["sub"] == "alice"


# Validly signed tokens that say anything.

DATES = ("exp", "nbf", "iat")
CHECKED = ("iss", "aud", *DATES)
CLAIMS = (
    *(*CHECKED, "sub", "jti", "sid", "client_id", "scope", "scp", "cnf"),
    *("events", "nonce", "at_hash", "c_hash", "typ", "token_use", "act", "", "\ud800"),
)
PARAMETERS = (
    *("alg", "kid", "typ", "cty", "crit", "b64", "zip", "enc", "jwk", "jku", "x5c"),
    *("x5u", "x5t", "iss", "exp", "p2c", "epk", ""),
)
WORDS = st.sampled_from(
    [
        *(ISSUER, f"{ISSUER}/", ISSUER.upper(), AUDIENCE, f"{AUDIENCE}\0", "alice", ""),
        *("JWT", "at+jwt", "application/at+jwt", "AT+JWT", "dpop+jwt", "at+JwT\n"),
        *("Bearer", "ID", "Logout", "access", "id"),
        *("none", "HS256", "ES256", "ES384", "EdDSA", "k1", "k2", "exp", "b64"),
        *(str(NOW + 600), "\ud800", "\u212a", "a b", "read  write"),
    ]
)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=8),
    WORDS,
)
VALUES = st.one_of(
    PLAIN,
    WORDS,
    st.lists(WORDS | st.just(AUDIENCE) | PLAIN | st.just([]), max_size=3),
    st.recursive(
        PLAIN,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
OFFSETS = st.builds(
    # Two seconds and more from any bound, which the clock passes as we look.
    lambda whole, part: whole + part,
    st.sampled_from([-90_000, -600, -40, -20, -5, 5, 20, 40, 600, 80_000, 90_000]),
    st.sampled_from([0, 0, 0.5]),
)
"""Seconds from now, on either side of the leeway and of the longest lifetime."""
NEAR_DATES = st.one_of(OFFSETS, st.booleans(), st.just("17"), st.just(17.5))
ALMOST_AUDIENCES: Sequence[object] = (AUDIENCE, f"{AUDIENCE}/", "", 1, None, [], {})
NEAR_LISTS = st.lists(st.sampled_from(ALMOST_AUDIENCES), max_size=3)
NEAR = {
    **dict.fromkeys(DATES, NEAR_DATES),
    **dict.fromkeys(("aud", "scope", "scp"), NEAR_LISTS),
}
"""By claim, what is almost right."""
ABSENT = object()
HEADER: Claims = {"alg": "ES256", "kid": "k1", "typ": "at+jwt"}
GOOD_CLAIMS: Claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "jti": "j1"}
GOOD_CLAIMS |= {"iat": -10, "exp": 600}


@st.composite
def claim_sets(draw: st.DrawFn) -> Claims:
    """Good claims, of which a few are other than they should be; dates from now."""
    claims = {**GOOD_CLAIMS, draw(st.sampled_from(DATES)): draw(OFFSETS)}
    names = st.sampled_from(CHECKED) | st.sampled_from(CLAIMS)
    for name in draw(st.lists(names, max_size=2)):
        near = NEAR.get(name, WORDS)
        claims[name] = draw(st.one_of(near, near, VALUES, st.just(ABSENT)))
    return {name: value for name, value in claims.items() if value is not ABSENT}


@st.composite
def headers_of(draw: st.DrawFn, key: Key = SIGNING_KEY) -> Claims:
    header = {**HEADER, "alg": key.algorithm, "kid": key.kid}
    for name in draw(st.lists(st.sampled_from(PARAMETERS), max_size=2)):
        header[name] = draw(st.one_of(WORDS, VALUES, st.just(ABSENT)))
    return {name: value for name, value in header.items() if value is not ABSENT}


def dated(claims: Claims, now: float) -> Claims:
    """*claims* with their dates counted from *now*, where they are numbers."""
    return {
        name: now + value
        if name in DATES and type(value) in (int, float) and abs(value) < 1e300
        else value
        for name, value in claims.items()
    }


def octets_of(value: object) -> bytes:
    """JSON with all that Python's adds to it: NaN, infinities, lone surrogates."""
    return json.dumps(value).encode()


def ensure_sound(claims: Mapping[str, Any], now: float) -> None:
    """What must be so of each token that is let in, said once more and plainly."""
    assert claims["iss"] == ISSUER
    assert claims["aud"] == AUDIENCE or AUDIENCE in claims["aud"]
    assert type(claims["exp"]) in (int, float)
    assert now - LEEWAY < claims["exp"] <= now + LEEWAY + 86_400
    for name in {"nbf", "iat"} & claims.keys():
        assert type(claims[name]) in (int, float)
        assert claims[name] <= now + LEEWAY
    for name in {"sub", "jti", "sid", "client_id"} & claims.keys():
        assert type(claims[name]) is str
    assert not {"cnf", "events"} & claims.keys()
    if claims.get("typ") != "Bearer":  # Keycloak's access tokens have a nonce, too
        assert not {"nonce", "at_hash", "c_hash"} & claims.keys()
        assert claims.get("typ") not in ("ID", "Logout")
        assert claims.get("token_use", "access") == "access"
    json.dumps(dict(claims), allow_nan=False, ensure_ascii=False).encode()


@many
@given(headers_of(), claim_sets())
@example(HEADER, GOOD_CLAIMS)
@example(HEADER, {**GOOD_CLAIMS, "nbf": True})
@example(HEADER, {**GOOD_CLAIMS, "scope": [["a"], {}, None, "read"]})
@example(HEADER, {**GOOD_CLAIMS, "token_use": "id"})
def test_any_signed_claims_get_an_answer(header: Claims, claims: Claims) -> None:
    token = sign(header, octets_of(dated(claims, NOW)))
    answer = answer_of_both("GET", bearer(token))
    if answer.token is not None:
        assert header["alg"] == "ES256"
        assert not {"crit", "b64", "zip", "enc"} & header.keys()
        ensure_sound(answer.token, NOW)


@st.composite
def damaged_json(draw: st.DrawFn, value: Claims) -> bytes:
    """JSON of *value*, in which a few pieces are put, doubled or taken away."""
    text = json.dumps(value)
    pieces = ["", '"', ",", "{", "}", "[", "]", ":", "\\", "\\ud800", "NaN", "1e999"]
    pieces += ["-0", "\0", " ", "\ufeff", "\xe9", '"exp":1,', '"alg":"none",', "/**/"]
    for _ in range(draw(st.integers(0, 3))):
        at, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        middle = draw(st.sampled_from(["", text[at:end], text[at:end] * 2]))
        text = text[:at] + middle + draw(st.sampled_from(pieces)) + text[end:]
    return text.encode(
        draw(st.sampled_from(["utf-8", "utf-8", "latin-1", "utf-16"])), "ignore"
    )


PAYLOAD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 600}


@many
@given(
    st.one_of(damaged_json(HEADER), st.just(octets_of(HEADER))),
    st.one_of(damaged_json(PAYLOAD), st.just(octets_of(PAYLOAD)), st.binary()),
)
def test_any_signed_octets_get_an_answer(header: bytes, payload: bytes) -> None:
    """What is let in means the same to a lenient parser."""
    answer = answer_of_both("GET", bearer(sign(header, payload)))
    if answer.token is not None:
        ensure_sound(answer.token, NOW)
        assert dict(answer.token) == json.loads(payload)
        assert dict(answer.token.header) == json.loads(header)


# Nothing is let in here that both of two other libraries refuse.

DIFFERENTIAL_KEYS = {name: Key.generate(name, kid="k1") for name in ("HS256", "ES256")}
VERIFIERS = {
    name: authenticator(
        TrustedIssuer(ISSUER, audience=AUDIENCE, keys=[key]), now=time.time
    )
    for name, key in DIFFERENTIAL_KEYS.items()
}
JWKS = {
    name: key.to_jwk(private=key.is_symmetric)
    for name, key in DIFFERENTIAL_KEYS.items()
}
PYJWT_KEYS = {name: jwt.PyJWK.from_dict(jwk) for name, jwk in JWKS.items()}
JOSERFC_KEYS = {name: joserfc.jwk.import_key(jwk) for name, jwk in JWKS.items()}


def is_accepted(name: str, token: str) -> bool:
    try:
        VERIFIERS[name].authenticate(token)
    except AuthError:
        return False
    return True


def is_accepted_by_pyjwt(name: str, token: str) -> bool:
    try:
        jwt.decode(
            token,
            PYJWT_KEYS[name],
            algorithms=[name],
            audience=AUDIENCE,
            issuer=ISSUER,
            leeway=LEEWAY,
            options={"require": ["exp"]},
        )
    except Exception:  # theirs crash on some of these; that lets nobody in either
        return False
    return True


def is_accepted_by_joserfc(name: str, token: str) -> bool:
    registry = joserfc.jwt.JWTClaimsRegistry(
        leeway=LEEWAY,
        exp={"essential": True},
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
    )
    try:
        decoded = joserfc.jwt.decode(token, JOSERFC_KEYS[name], algorithms=[name])
        registry.validate(decoded.claims)
    except Exception:  # as above
        return False
    return True


@pytest.mark.parametrize("name", DIFFERENTIAL_KEYS)
@many
@given(st.data())
def test_nothing_is_accepted_that_two_others_refuse(
    name: str, data: st.DataObject
) -> None:
    """Neither PyJWT nor joserfc is as strict as we are; together they are no less."""
    key = DIFFERENTIAL_KEYS[name]
    header, claims = data.draw(headers_of(key)), data.draw(claim_sets())
    token = sign(header, octets_of(dated(claims, int(time.time()))), key)
    ours = is_accepted(name, token)
    event(f"accepted: {ours}")
    if ours:
        assert is_accepted_by_pyjwt(name, token) or is_accepted_by_joserfc(name, token)


@pytest.mark.parametrize("name", DIFFERENTIAL_KEYS)
def test_a_good_token_is_accepted_by_all_three(name: str) -> None:
    """Else the comparison above would compare nothing."""
    key = DIFFERENTIAL_KEYS[name]
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600}
    token = sign({"alg": name, "kid": "k1"}, octets_of(claims), key)
    assert is_accepted(name, token)
    assert is_accepted_by_pyjwt(name, token)
    assert is_accepted_by_joserfc(name, token)
    bad = sign({"alg": name, "kid": "k1"}, octets_of({**claims, "aud": "x"}), key)
    assert not is_accepted_by_pyjwt(name, bad)
    assert not is_accepted_by_joserfc(name, bad)


# One spelling of octets, one meaning of JSON.


def decoded_or_none(segment: bytes) -> bytes | None:
    try:
        return base64url_decode(segment)
    except MalformedToken:
        return None


@many
@given(st.binary(max_size=80))
def test_octets_have_one_spelling(octets: bytes) -> None:
    """Of all that a lenient decoder takes for them, only what is encoded here."""
    right = base64url_encode(octets).encode()
    assert base64.urlsafe_b64encode(octets).rstrip(b"=") == right
    standard = base64.b64encode(octets)
    spellings = {right, standard, standard.rstrip(b"=")}
    spellings |= {right + end for end in (b"=", b"==", b"A", b"AA", b"\n", b" ")}
    spellings |= {right[:-1] + bytes([last]) for last in ALPHABET}
    spellings |= {b" " + right, right[:1] + b"\r\n" + right[1:], b"=" + right}
    assert [s for s in spellings if decoded_or_none(s) == octets] == [right]


@many
@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)))
def test_what_decodes_encodes_to_itself(segment: bytes) -> None:
    octets = decoded_or_none(segment)
    assert octets is None or base64url_encode(octets).encode() == segment


@many
@given(st.lists(st.sampled_from(ALPHABET), max_size=12).map(bytes))
def test_what_has_its_alphabet_decodes_or_is_no_spelling(segment: bytes) -> None:
    octets = decoded_or_none(segment)
    if octets is None:
        lenient = base64.urlsafe_b64decode(segment + b"AAA"[: -len(segment) % 4])
        assert len(segment) % 4 == 1 or base64url_encode(lenient) != segment.decode()
    else:
        assert base64url_encode(octets).encode() == segment


def object_of(members: Sequence[tuple[str, str]]) -> bytes:
    return f"{{{','.join(f'{name}:{value}' for name, value in members)}}}".encode()


NAMES = st.sampled_from(['"a"', '"\\u0061"', '"b"', '"\u0430"', '""', "a", "1"])
LITERALS = st.sampled_from(
    [
        *(
            "1",
            "1.0",
            "-0",
            "1e5",
            "1e999",
            "-1e999",
            "01",
            "1.",
            "9" * 400,
            "9" * 5000,
        ),
        *("true", "null", "True", "NaN", "-Infinity", "[]", "[1,]", '{"a":1,"a":2}'),
        *('"\\ud83d\\ude00"', '"\\ud83d"', '"\\udE00 "', '"\\\\ud83d"', '"\n"', "'a'"),
        *("[" * 40 + "]" * 40, "[" * 9999, "/**/1", "\ufeff1", "\xa01"),
    ]
)
WRITTEN = st.lists(st.tuples(NAMES, LITERALS), max_size=4).map(object_of)
DAMAGED = st.dictionaries(st.text(), VALUES).flatmap(damaged_json)


def first_of_each(pairs: Sequence[tuple[str, object]]) -> Claims:
    return dict(reversed(pairs))


@many
@given(st.one_of(st.binary(), WRITTEN, DAMAGED))
def test_json_means_the_same_to_every_parser(octets: bytes) -> None:
    """Where it is accepted; else it is refused, in no other way."""
    try:
        value = read_json_object(octets)
    except MalformedToken:
        return
    assert repr(value) == repr(json.loads(octets))  # repr: 1, 1.0 and True differ
    assert value == json.loads(octets, object_pairs_hook=first_of_each)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


STRICT_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=5,
)


@many
@given(st.dictionaries(st.text(), STRICT_VALUES, max_size=3))
def test_json_that_was_written_is_read(value: Claims) -> None:
    assert repr(read_json_object(write_json(value))) == repr(value)
    assert repr(read_json_object(octets_of(value))) == repr(value)


# A public rule lets nobody in anywhere else.


def readings_of(path: str) -> set[tuple[str, ...]]:
    """The segments that some router could make of *path*, each way of reading it."""
    readings = set()
    for folds, decodes, turns, cuts, merges in itertools.product(
        [False, True], repeat=5
    ):
        text = unicodedata.normalize("NFKC", path) if folds else path
        while decodes and unquote(text) != text:
            text = unquote(text)
        text = text.replace("\\", "/") if turns else text
        segments: list[str] = []
        for segment in text.removeprefix("/").split("/"):
            name = segment.partition(";")[0] if cuts else segment
            if name == "..":
                segments = segments[:-1]
            elif name != "." and (name or not merges):
                segments.append(name)
        if text.endswith("/") and merges:
            segments.append("")
        readings.add(tuple(segments))
    return readings


def is_below(segments: Sequence[str], *names: str) -> bool:
    return len(segments) > len(names) and tuple(segments[: len(names)]) == names


SEPARATORS = st.sampled_from(["/", "//", "/../", "..;/", "\\", "..\\", "%2F"])
NAMES_OF_SEGMENTS = st.sampled_from(["public", "admin", "secret", "a"])
ODDITIES = st.sampled_from(
    [
        *(
            "..",
            "../",
            "...",
            "/./",
            ";/",
            ";",
            ";x=1",
            "%2e",
            "%2E%2e",
            "%2f..",
            "%5C",
        ),
        *("%252e%252e", "%252F", "%3b", "%00", "%0a", "%c0%ae", "%FF", "%2", " ", "?"),
        *(
            "#",
            "*",
            "\uff0e\uff0e",
            "\uff0f",
            "\u2025",
            "\u2024",
            "\uff052e",
            "\xe9",
            "\u2215",
        ),
    ]
)
PATHS = st.builds(
    lambda start, fragments: start + "".join(fragments),
    st.sampled_from(["/public/", "/public/", "/public", "/", "//", "/public/admin/"]),
    st.lists(st.one_of(SEPARATORS, NAMES_OF_SEGMENTS, ODDITIES), max_size=6),
)


def is_let_in(raw: str, path: str) -> bool:
    """Whether a request without a token may pass; both doors have to agree."""
    first, second = (door.get(path, raw_path=raw) for door in PUBLIC_DOORS)
    assert (first.status, first.challenge) == (second.status, second.challenge)
    event(f"status {first.status}")
    return first.entered


@settings(many, max_examples=1000)
@given(PATHS, st.booleans())
@example("/public/../secret", False)
@example("/public/%2e%2e/secret", True)
@example("/public/..;/secret", False)
@example("/public/\u2025/secret", False)
@example("/public/page", False)
def test_a_public_rule_lets_nobody_in_elsewhere(raw: str, is_encoded: bool) -> None:
    """However a router behind the lock reads the path: it leads below /public.

    *raw* is the path that was sent, or the path that the server hands on.
    """
    path = unquote(raw, errors="surrogateescape") if is_encoded else raw
    if is_let_in(raw, path):
        assert all(is_below(segments, "public") for segments in readings_of(path))


@settings(many, max_examples=1000)
@given(PATHS)
@example("/public//admin/page")
@example("/public/admin\\page")
@example("/public/admin\uff0fpage")
def test_a_stricter_rule_before_it_is_not_walked_around(path: str) -> None:
    """No reading of a path that is let in leads below /public/admin."""
    if is_let_in(path, path):
        readings = readings_of(path)
        assert not any(is_below(segments, "public", "admin") for segments in readings)


@pytest.mark.parametrize("door", PUBLIC_DOORS, ids=lambda door: door.name)
def test_a_public_rule_lets_anybody_in_below_it(door: Door) -> None:
    """Else the property above would say nothing."""
    for path in ("/public/", "/public/page", "/public/a b/\xe9", "/public/.well-known"):
        assert door.get(path).entered
        assert all(is_below(segments, "public") for segments in readings_of(path))
    for path in ("/public", "/secret", "/public/../secret", "/public/admin/"):
        assert not door.get(path).entered
