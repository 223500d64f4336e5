"""What a token must say: each rule, to the half second and to the letter."""

from __future__ import annotations

import math
from typing import Any

import pytest

from jwt_middleware.errors import (
    ClaimInvalid,
    ClaimMissing,
    InvalidToken,
    LifetimeExceeded,
    TokenExpired,
    TokenNotYetValid,
    UnknownIssuer,
    WrongAudience,
    WrongType,
)
from jwt_middleware.policy import RFC9068_CLAIMS, STRINGS, Policy, media_type

from .conftest import AUDIENCE, ISSUER, NOW, trusted

LEEWAY, LIFETIME = 30, 86400
POLICY: dict[str, Any] = {
    "issuer": ISSUER,
    "audiences": frozenset({AUDIENCE}),
    "types": frozenset({"at+jwt", "jwt"}),
    "leeway": LEEWAY,
    "max_lifetime": LIFETIME,
}
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600}
ABSENT = object()


def check(
    policy: Any = None, header: Any = None, now: Any = NOW, **claims: Any
) -> None:
    """Check a good token with other *claims*; `ABSENT` leaves one out."""
    said = {n: v for n, v in {**CLAIMS, **claims}.items() if v is not ABSENT}
    Policy(**{**POLICY, **(policy or {})}).check(header or {}, said, now)


def test_a_plain_token_is_good() -> None:
    check()
    check(sub="alice", jti="1", sid="2", client_id="c", nbf=NOW, iat=NOW, scope=[])


# exp


@pytest.mark.parametrize("exp", [NOW - 29, NOW - 29.5, NOW, NOW + 0.5, NOW + 1])
def test_a_token_lasts_to_its_end_and_the_leeway(exp: float) -> None:
    check(exp=exp)


@pytest.mark.parametrize("exp", [NOW - 30, NOW - 30.5, NOW - 31, 0, -1, -0.0, 0.5])
def test_a_token_has_ended_at_its_end_and_the_leeway(exp: float) -> None:
    """RFC 7519 §4.1.4: on or after."""
    with pytest.raises(TokenExpired):
        check(exp=exp)


def test_without_leeway_the_end_is_the_end() -> None:
    strict = {"leeway": 0}
    check(strict, exp=NOW + 0.5)
    with pytest.raises(TokenExpired):
        check(strict, exp=NOW)
    check(strict, exp=NOW + 1, now=NOW + 0.5)
    with pytest.raises(TokenExpired):
        check(strict, exp=NOW, now=NOW + 0.5)


def test_the_clock_has_parts_of_a_second_too() -> None:
    check(exp=NOW, now=NOW + 29.5)
    with pytest.raises(TokenExpired):
        check(exp=NOW, now=NOW + 30.0)


def test_every_token_ends() -> None:
    with pytest.raises(ClaimMissing, match="no exp"):
        check(exp=ABSENT)
    with pytest.raises(ClaimMissing, match="no exp"):
        check({"max_lifetime": math.inf}, exp=ABSENT)


# max_lifetime


@pytest.mark.parametrize("exp", [NOW + LIFETIME, NOW + LIFETIME + LEEWAY])
def test_a_token_may_last_for_max_lifetime_and_the_leeway(exp: float) -> None:
    check(exp=exp)


@pytest.mark.parametrize("more", [0.5, 1, 10**9])
def test_a_token_that_lasts_longer_is_refused(more: float) -> None:
    with pytest.raises(LifetimeExceeded):
        check(exp=NOW + LIFETIME + LEEWAY + more)


def test_the_bound_is_counted_from_now_and_not_from_iat() -> None:
    """It is the time for which a mark has to be kept."""
    check(iat=NOW - 10 * LIFETIME, exp=NOW + 60)
    with pytest.raises(LifetimeExceeded):
        check(iat=NOW, exp=NOW + LIFETIME + LEEWAY + 1)


def test_without_a_bound_a_date_is_still_a_date() -> None:
    endless = {"max_lifetime": math.inf}
    check(endless, exp=2**53 - 1)
    for exp in (2**53, 1e308, 10**400, math.inf, math.nan):
        with pytest.raises(ClaimInvalid, match="exp is out of range"):
            check(endless, exp=exp)


# nbf and iat


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("start", [0, -1, -0.0, NOW, NOW + 29.5, NOW + LEEWAY])
def test_a_token_has_begun_within_the_leeway(name: str, start: float) -> None:
    check(**{name: start})


@pytest.mark.parametrize("name", ["nbf", "iat"])
@pytest.mark.parametrize("start", [NOW + 30.5, NOW + 31, NOW + 10**9])
def test_a_token_of_the_future_is_refused(name: str, start: float) -> None:
    with pytest.raises(TokenNotYetValid, match=f"{name} is"):
        check(**{name: start})


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_without_leeway_a_token_begins_now(name: str) -> None:
    check({"leeway": 0}, **{name: NOW})
    check({"leeway": 0}, now=NOW + 0.5, **{name: NOW + 0.5})
    with pytest.raises(TokenNotYetValid):
        check({"leeway": 0}, **{name: NOW + 0.5})


def test_an_end_before_the_beginning_is_no_matter_of_ours() -> None:
    """What counts is now; the issuer's arithmetic is its own."""
    check(iat=NOW + 20, exp=NOW + 10)


# Dates are numbers


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [True, False, None, "", str(NOW), f"{NOW}.5", [NOW], {"a": NOW}, b"1", 1j],
    ids=repr,
)
def test_nothing_but_a_number_is_a_date(name: str, value: object) -> None:
    """Also where it would be on our side: ``True`` is 1, and lies in the past."""
    with pytest.raises(ClaimInvalid, match=f"{name} is "):
        check(**{name: value})


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        10**400,
        -(10**400),
        1e308,
        -1e308,
        math.inf,
        -math.inf,
        math.nan,
    ],
)
def test_a_date_is_exact_and_within_reason(name: str, value: float) -> None:
    with pytest.raises(ClaimInvalid, match=f"{name} is out of range"):
        check(**{name: value})


# iss


@pytest.mark.parametrize(
    "iss", [ABSENT, "", f"{ISSUER}/", ISSUER.upper(), f" {ISSUER}", "https://issuer"]
)
def test_an_issuer_is_named_to_the_letter(iss: object) -> None:
    with pytest.raises(UnknownIssuer):
        check(iss=iss)


# aud


@pytest.mark.parametrize(
    "aud", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE], [AUDIENCE, AUDIENCE]]
)
def test_a_token_for_us_may_be_for_others_too(aud: object) -> None:
    check(aud=aud)


@pytest.mark.parametrize(
    "aud",
    [
        pytest.param(ABSENT, id="absent"),
        None,
        "",
        [],
        "other",
        ["other"],
        f"{AUDIENCE}/",
        f"{AUDIENCE} other",
        AUDIENCE[:-1],
        AUDIENCE.upper(),
        "*",
        7,
        True,
        {AUDIENCE: 1},
        [[AUDIENCE]],
        [AUDIENCE, 7],
        [AUDIENCE, None],
        [AUDIENCE, {}],
        (AUDIENCE,),
    ],
    ids=repr,
)
def test_a_token_for_others_is_refused(aud: object) -> None:
    """So is one whose list has something else than strings (RFC 7519 §4.1.3)."""
    with pytest.raises(WrongAudience):
        check(aud=aud)


def test_we_may_have_several_names() -> None:
    ours = {"audiences": frozenset({"one", "two"})}
    check(ours, aud="one")
    check(ours, aud=["three", "two"])
    with pytest.raises(WrongAudience):
        check(ours, aud=AUDIENCE)


# Strings


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("value", [7, 0, None, True, ["a"], {"a": 1}], ids=repr)
def test_names_are_strings(name: str, value: object) -> None:
    """A list or a number would slip by a list of what was revoked, or crash it."""
    with pytest.raises(ClaimInvalid, match=f"{name} is "):
        check(**{name: value})


# typ


@pytest.mark.parametrize(
    "typ",
    [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
        "JWT",
        "jwt",
        "application/jwt",
    ],
)
def test_types_are_compared_as_media_types(typ: str) -> None:
    """RFC 7515 §4.1.9, RFC 8725 §3.11."""
    check(header={"typ": typ})


def test_a_token_without_typ_is_a_jwt() -> None:
    check({"types": frozenset({"jwt"})})
    with pytest.raises(WrongType):
        check({"types": frozenset({"at+jwt"})})


@pytest.mark.parametrize(
    "typ",
    [
        "",
        "id_token",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "refresh+jwt",
        "at+jwt ",
        " at+jwt",
        "at+jwt;charset=utf-8",
        "at jwt",
        "text/at+jwt",
        "application/application/at+jwt",
        "x/application/at+jwt",
        "application/",
        "at+\u212bwt",
        "at+\uff4awt",
        "\u212at+jwt",
        None,
        7,
        True,
        ["at+jwt"],
        {"at+jwt": 1},
    ],
    ids=repr,
)
def test_another_type_is_refused(typ: object) -> None:
    with pytest.raises(WrongType, match="typ is "):
        check(header={"typ": typ})


def test_a_letter_that_becomes_ascii_in_lower_case_is_none() -> None:
    """The Kelvin sign is ``k`` in lower case, and no letter of a media type."""
    with pytest.raises(WrongType):
        check({"types": frozenset({"kb+jwt"})}, header={"typ": "\u212ab+jwt"})


@pytest.mark.parametrize(
    ("typ", "short"),
    [
        ("JWT", "jwt"),
        ("at+jwt", "at+jwt"),
        ("application/AT+jwt", "at+jwt"),
        ("application/example;part=1/2", "application/example;part=1/2"),
        ("text/plain", "text/plain"),
    ],
)
def test_application_is_left_out_where_no_other_slash_stands(
    typ: str, short: str
) -> None:
    assert media_type(typ) == short


# Tokens of other kinds


@pytest.mark.parametrize("typ", [ABSENT, "JWT", "at+jwt", "application/at+jwt"])
@pytest.mark.parametrize("value", ["x", None, {}, False])
@pytest.mark.parametrize("claim", ["events", "nonce", "at_hash", "c_hash"])
def test_a_claim_of_another_kind_of_token_betrays_it(
    claim: str, value: object, typ: object
) -> None:
    """An ID token, a logout token: whatever its ``typ`` says, and whatever it holds."""
    header = {} if typ is ABSENT else {"typ": typ}
    with pytest.raises(WrongType, match=f"not an access token: it has {claim}"):
        check(header=header, **{claim: value})


def test_all_that_betrays_it_is_logged() -> None:
    with pytest.raises(WrongType, match="it has nonce and c_hash"):
        check(nonce="n", c_hash="c")


def test_a_type_that_was_asked_for_may_have_them() -> None:
    events = {"types": frozenset({"secevent+jwt", "at+jwt"})}
    check(events, header={"typ": "secevent+jwt"}, events={})
    with pytest.raises(WrongType):
        check(events, header={"typ": "at+jwt"}, events={})


@pytest.mark.parametrize(
    "kind", ["ID", "Refresh", "Offline", "Logout", "id", "REFRESH"]
)
def test_keycloak_says_in_a_claim_what_a_token_is(kind: str) -> None:
    """All of them have ``typ: JWT`` in the header."""
    with pytest.raises(WrongType, match="it has typ"):
        check(typ=kind)
    with pytest.raises(WrongType, match="it has nonce and typ"):
        check(typ=kind, nonce="n")


def test_an_access_token_of_keycloak_may_have_a_nonce() -> None:
    check(typ="Bearer")
    check(typ="Bearer", nonce="n")
    with pytest.raises(WrongType, match="it has events"):
        check(typ="Bearer", nonce="n", events={})


@pytest.mark.parametrize("kind", ["bearer", "DPoP", "", "x", 7, None, ["ID"], {}])
def test_any_other_claim_of_that_name_excuses_nothing(kind: object) -> None:
    check(typ=kind)
    with pytest.raises(WrongType, match="it has nonce"):
        check(typ=kind, nonce="n")


@pytest.mark.parametrize("use", ["id", "refresh", "Access", "", None, 7, ["access"]])
def test_cognito_says_in_another_claim_what_a_token_is(use: object) -> None:
    check(token_use="access")
    with pytest.raises(WrongType, match="it has token_use"):
        check(token_use=use)


def test_cognito_names_the_app_client_where_others_name_the_audience() -> None:
    """Its access tokens have no ``aud``, and ``client_id`` must be one of ours."""
    check(aud=ABSENT, token_use="access", client_id=AUDIENCE)
    for wrong in (
        {"client_id": "another"},
        {"client_id": AUDIENCE, "token_use": ABSENT},
        {"client_id": AUDIENCE, "aud": "another"},
        {"client_id": AUDIENCE, "aud": None},
        {"client_id": AUDIENCE, "aud": []},
        {"client_id": ABSENT},
    ):
        with pytest.raises(WrongAudience):
            check(**{"aud": ABSENT, "token_use": "access", **wrong})


# What has to be there


@pytest.mark.parametrize("value", ["", 0, False, [], {}, "x"], ids=repr)
def test_a_required_claim_is_there_whatever_it_says(value: object) -> None:
    check({"require": ("tenant",)}, tenant=value)


@pytest.mark.parametrize("value", [ABSENT, None])
def test_a_required_claim_that_is_absent_or_null_is_missing(value: object) -> None:
    with pytest.raises(ClaimMissing, match="no tenant"):
        check({"require": ("tenant",)}, tenant=value)


def test_all_that_is_missing_is_logged() -> None:
    with pytest.raises(ClaimMissing, match="no sub and no tenant"):
        check({"require": ("sub", "iss", "tenant")})


# RFC 9068

WHOLE: dict[str, Any] = {
    **CLAIMS,
    "sub": "alice",
    "client_id": "c",
    "iat": NOW,
    "jti": "1",
}
RFC9068 = trusted(profile="rfc9068").policy


def test_a_token_of_rfc_9068_is_good() -> None:
    RFC9068.check({"typ": "at+jwt"}, WHOLE, NOW)
    RFC9068.check({"typ": "application/at+jwt"}, WHOLE, NOW)


@pytest.mark.parametrize("name", RFC9068_CLAIMS)
def test_rfc_9068_misses_each_claim(name: str) -> None:
    """§2.2; by the name of its own rule, where it has one."""
    lacking = {n: v for n, v in WHOLE.items() if n != name}
    reasons = {"iss": UnknownIssuer, "aud": WrongAudience}
    with pytest.raises(reasons.get(name, ClaimMissing)):
        RFC9068.check({"typ": "at+jwt"}, lacking, NOW)
    with pytest.raises(InvalidToken):
        RFC9068.check({"typ": "at+jwt"}, {**WHOLE, name: None}, NOW)


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": "application/jwt"}])
def test_rfc_9068_takes_no_other_type(header: dict[str, Any]) -> None:
    """§4."""
    with pytest.raises(WrongType):
        RFC9068.check(header, WHOLE, NOW)


# What is logged


def test_what_a_token_says_is_logged_escaped_and_cut() -> None:
    for claims in ({"aud": "\n" * 999}, {"iss": "\x1b[31m" * 99}, {"exp": "9" * 999}):
        with pytest.raises(InvalidToken) as refusal:
            check(**claims)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 160
