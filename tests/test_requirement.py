"""What an endpoint asks beside a good token: scopes, and how its user logged in."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Key,
    MemoryStore,
    SessionCookies,
    Token,
    TokenIssuer,
)
from jwt_middleware.challenge import Reply
from jwt_middleware.errors import (
    InsufficientScope,
    InvalidToken,
    NoCredentials,
    StepUpRequired,
    Unavailable,
)
from jwt_middleware.request import Request
from jwt_middleware.requirement import Requirement
from jwt_middleware.rules import Rule
from jwt_middleware.testing import Clock

from .conftest import NOW, SentRequest, authenticator, clock, mint_token
from .test_challenge import REFUSALS, named

GOLD, SILVER = "urn:example:gold", "urn:example:silver"
AUTH = authenticator(store=MemoryStore(clock))
STEP_UP = (
    'Bearer realm="api", error="insufficient_user_authentication", '
    'error_description="A more recent or a stronger authentication is required."'
)


SOME_REFUSALS = [
    error
    for error in REFUSALS
    if error.reason
    in {
        *("no_credentials", "invalid_grant", "insufficient_scope", "cross_origin"),
        *("step_up_required", "revoked", "unavailable"),
    }
]
"""One for each way of telling of it, where places are many."""


def token_of(**claims: Any) -> Token:
    """A token of the tests' issuer that was verified."""
    return AUTH.authenticate(mint_token(**claims))


def request(method: str = "GET", path: str = "/") -> Request:
    return SentRequest(method, "https", path, lambda name: ())


def challenge_of(reply: Reply) -> str:
    (challenge,) = [v for name, v in reply.headers if name == "WWW-Authenticate"]
    return challenge


def login_site(
    now: Callable[[], float], *, reuse_leeway: float = 0, **options: Any
) -> tuple[TokenIssuer, SessionCookies, Authenticator]:
    """An application that logs its own users in, and keeps them in cookies."""
    store = MemoryStore(now)
    issuer = TokenIssuer(
        "https://app.example",
        audience="app",
        key=Key.generate(),
        store=store,
        reuse_leeway=reuse_leeway,
        now=now,
    )
    cookies = SessionCookies(issuer, **options)
    auth = Authenticator(
        issuer.trusted(),
        sources=(BearerHeader(), cookies),
        rules=(
            Rule("/login", methods=("POST",), public=True),
            Rule("/session/*", methods=("POST",), public=True),
        ),
        store=store,
        now=now,
    )
    return issuer, cookies, auth


# Who is asked for what


@pytest.mark.parametrize(
    "requirement",
    [
        Requirement(),
        Requirement(("read",)),
        Requirement(acr=(GOLD,)),
        Requirement(amr=("otp",)),
        Requirement(max_age=0),
        Requirement(("read",), (GOLD,), ("otp",), 300),
    ],
)
def test_without_a_token_nobody_passes_and_nothing_is_revealed(
    requirement: Requirement,
) -> None:
    """RFC 9470 §9: who shows no token is not told what would be asked."""
    with pytest.raises(NoCredentials) as refused:
        requirement.permit(None, NOW)
    reply = AUTH.refuse(refused.value, request())
    assert challenge_of(reply) == 'Bearer realm="api"'
    assert json.loads(reply.body) == {
        "error_description": "An access token is required."
    }


def test_a_token_that_is_enough_is_returned() -> None:
    token = token_of(scope="read write", acr=GOLD, amr=["pwd", "otp"], auth_time=NOW)
    for requirement in (
        Requirement(),
        Requirement(("write", "read")),
        Requirement(("read",), (SILVER, GOLD), ("otp", "pwd"), 0),
    ):
        assert requirement.permit(token, NOW) is token


def test_every_scope_is_needed_and_the_challenge_names_all() -> None:
    """RFC 6750 §3.1: the scope necessary, not the difference."""
    requirement = Requirement(("read", "write", "admin"))
    with pytest.raises(InsufficientScope) as refused:
        requirement.permit(token_of(scope="read"), NOW)
    assert str(refused.value) == "lacks write admin"
    reply = AUTH.refuse(refused.value, request())
    assert reply.status == 403
    assert challenge_of(reply) == (
        'Bearer realm="api", error="insufficient_scope", '
        'error_description="The access token lacks a scope that is required.", '
        'scope="read write admin"'
    )


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"scope": ""},
        {"scope": "reader rea READ read:all"},
        {"scope": "read\twrite"},
        {"scope": "read,write"},
        {"scope": {"read": True}},
        {"scope": [["read"]]},
        {"scope": True},
        {"scopes": "read"},
    ],
    ids=str,
)
def test_what_only_looks_like_the_scope_is_none(claims: dict[str, Any]) -> None:
    with pytest.raises(InsufficientScope):
        Requirement(("read",)).permit(token_of(**claims), NOW)


ODD: list[Any] = [True, False, 1, 0, 1.5, None, {}, [], [[]], "", " ", 10**30]
"""What a claim may be that is read as something else."""


@pytest.mark.parametrize(
    "acr",
    [
        *ODD,
        [GOLD],
        {GOLD: True},
        f"{GOLD} {SILVER}",
        f" {GOLD}",
        GOLD.upper(),
        GOLD[:-1],
    ],
    ids=str,
)
def test_acr_is_one_of_the_strings_to_the_letter(acr: Any) -> None:
    """S9470-3.  A list is no string, though it holds the right one."""
    with pytest.raises(StepUpRequired, match=r"^acr is "):
        Requirement(acr=(GOLD, SILVER)).permit(token_of(acr=acr), NOW)
    assert Requirement(acr=(GOLD, SILVER)).permit(token_of(acr=SILVER), NOW)


@pytest.mark.parametrize(
    "amr",
    [
        *ODD,
        "otp",
        "otp pwd",
        {"otp": 1, "pwd": 1},
        ["otp"],
        [["otp", "pwd"]],
        ["otp pwd"],
        ["otp", "PWD"],
        ["otp", None],
        ["otp", True],
    ],
    ids=str,
)
def test_amr_is_a_list_that_has_them_all(amr: Any) -> None:
    """RFC 8176 §1: an array of strings; in a string, letters would be looked for."""
    with pytest.raises(StepUpRequired, match=r"^amr is "):
        Requirement(amr=("otp", "pwd")).permit(token_of(amr=amr), NOW)


def test_amr_may_have_more_and_in_any_order() -> None:
    token = token_of(amr=["geo", 1, None, "pwd", "otp"])
    assert Requirement(amr=("otp", "pwd")).permit(token, NOW) is token


@pytest.mark.parametrize(
    "auth_time",
    [
        *(True, False, None, {}, [], [NOW], "", str(NOW), "now", "Infinity"),
        *(0, -1, -(10**30), -1.5e300, NOW - 301, NOW - 300.5),
    ],
    ids=str,
)
def test_an_auth_time_that_is_old_or_no_number_is_not_recent(auth_time: Any) -> None:
    """S9470-3: one that is missing is none."""
    with pytest.raises(StepUpRequired, match=r"^auth_time is "):
        Requirement(max_age=300).permit(token_of(auth_time=auth_time), NOW)


@pytest.mark.parametrize("auth_time", [NOW - 300, NOW - 299.5, NOW, NOW + 1])
def test_an_auth_time_within_max_age_is_recent(auth_time: float) -> None:
    """The clock of who logged the user in may be a second ahead."""
    token = token_of(auth_time=auth_time)
    assert Requirement(max_age=300).permit(token, NOW) is token


def test_true_is_no_second_of_1970() -> None:
    """In Python it is 1, which a clock that was not set takes for recent."""
    token = Token({}, {"iss": "i", "exp": 9, "auth_time": True})
    with pytest.raises(StepUpRequired):
        Requirement(max_age=300).permit(token, 1.0)


def test_a_max_age_of_nothing_asks_for_a_login_of_this_second() -> None:
    token = token_of(auth_time=NOW)
    assert Requirement(max_age=0).permit(token, NOW) is token
    with pytest.raises(StepUpRequired):
        Requirement(max_age=0).permit(token, NOW + 1)


@given(
    claims=st.fixed_dictionaries(
        dict.fromkeys(
            ("acr", "amr", "auth_time"),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers(-(2**63), NOW - 1)
                | st.floats(max_value=NOW - 1, allow_nan=False, allow_infinity=False)
                | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=5,
            ),
        )
    )
)
def test_no_claim_of_another_shape_passes_or_is_an_error_of_ours(
    claims: dict[str, Any],
) -> None:
    token = Token({}, {"iss": "i", "exp": NOW, **claims})
    for requirement in (
        Requirement(acr=("\N{DIGIT ONE}" * 20,)),
        Requirement(amr=("\N{DIGIT ONE}" * 20,)),
        Requirement(max_age=0),
    ):
        with pytest.raises(StepUpRequired):
            requirement.permit(token, NOW)


def test_scopes_come_first_then_acr_then_amr_then_the_time() -> None:
    """Who lacks the scope would log in again in vain (and is told of no more)."""
    requirement = Requirement(("pay",), (GOLD,), ("otp",), 300)
    claims: dict[str, Any] = {}
    for part, message in (
        ({"scope": "pay"}, "lacks pay"),
        ({"acr": GOLD}, "acr is None"),
        ({"amr": ["otp"]}, "amr is None"),
        ({"auth_time": NOW}, "auth_time is None"),
    ):
        with pytest.raises(AuthError) as refused:
            requirement.permit(token_of(**claims), NOW)
        assert str(refused.value) == message
        claims |= part
    assert requirement.permit(token_of(**claims), NOW)
    with pytest.raises(InsufficientScope) as first:
        requirement.permit(token_of(), NOW)
    assert "acr_values" not in challenge_of(AUTH.refuse(first.value, request()))


# How it is told


@pytest.mark.parametrize(
    ("requirement", "parameters"),
    [
        (Requirement(acr=(GOLD, SILVER)), f', acr_values="{GOLD} {SILVER}"'),
        (Requirement(acr=(SILVER, GOLD)), f', acr_values="{SILVER} {GOLD}"'),
        (Requirement(max_age=300), ', max_age="300"'),
        (Requirement(max_age=0), ', max_age="0"'),
        (Requirement(acr=(GOLD,), max_age=5), f', acr_values="{GOLD}", max_age="5"'),
        (Requirement(amr=("otp",)), ""),
        (Requirement(amr=("otp",), max_age=5), ', max_age="5"'),
    ],
    ids=str,
)
def test_a_challenge_says_what_to_log_in_for(
    requirement: Requirement, parameters: str
) -> None:
    """RFC 9470 §3, a 401: acr_values in order of preference, max_age in seconds."""
    with pytest.raises(StepUpRequired) as refused:
        requirement.permit(token_of(), NOW)
    reply = AUTH.refuse(refused.value, request())
    assert reply.status == 401
    assert challenge_of(reply) == STEP_UP + parameters
    assert json.loads(reply.body) == {
        "error": "insufficient_user_authentication",
        "error_description": "A more recent or a stronger authentication is required.",
    }


def test_all_that_is_asked_is_told_whatever_was_missed() -> None:
    """Or a client would log its user in twice: for the one, then for the other."""
    requirement = Requirement(acr=(GOLD,), max_age=300)
    for claims in ({"acr": GOLD}, {"auth_time": NOW}):
        with pytest.raises(StepUpRequired) as refused:
            requirement.permit(token_of(**claims), NOW)
        assert refused.value.demanded == {"acr_values": GOLD, "max_age": "300"}


@pytest.mark.parametrize(
    ("requirement", "claim"),
    [
        (Requirement(acr=(GOLD,)), "acr"),
        (Requirement(amr=(GOLD,)), "amr"),
        (Requirement(max_age=300), "auth_time"),
    ],
    ids=["acr", "amr", "auth_time"],
)
def test_what_a_claim_says_is_escaped_and_cut_in_the_log_and_told_to_nobody(
    requirement: Requirement, claim: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = "x\r\nrefused 'GET' '/forged'\u2028\x1b[2J" + "y" * 500
    with pytest.raises(StepUpRequired) as refused:
        requirement.permit(token_of(**{claim: hostile}), NOW)
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        reply = AUTH.refuse(refused.value, request(path="/pay"))
    (line,) = caplog.messages
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 200
    assert r"x\r\nrefused" in line
    assert line.startswith(f"refused 'GET' '/pay': step_up_required: {claim} is ")
    assert "forged" not in f"{reply.headers}{reply.body!r}"


# What could not work is refused at once


@pytest.mark.parametrize(
    "options",
    [
        {"scopes": "read"},
        {"scopes": ("read write",)},
        {"scopes": ("",)},
        {"scopes": ('a"b',)},
        {"scopes": ("a\\b",)},
        {"scopes": ("a\n",)},
        {"scopes": ("l\u00e4sen",)},
        {"scopes": (None,)},
        {"scopes": (("read",),)},
        pytest.param({"scopes": (lambda: None,)}, id="a function"),
        {"scopes": None},
        {"acr": GOLD},
        {"acr": b"gold"},
        {"acr": None},
        {"acr": ("a b",)},
        {"acr": ('a"',)},
        {"acr": (1,)},
        {"amr": "otp"},
        {"amr": ("",)},
        {"amr": 5},
        {"max_age": -1},
        {"max_age": True},
        {"max_age": 300.0},
        {"max_age": float("nan")},
        {"max_age": "300"},
    ],
    ids=str,
)
def test_what_could_not_stand_in_a_challenge_is_refused(
    options: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} "):
        Requirement(**options)


def test_a_requirement_is_read_once_and_does_not_change() -> None:
    """A generator is not used up by the first request, nor a list changed later."""
    listed = [GOLD]
    requirement = Requirement(
        (s for s in ("read",)),  # type: ignore[arg-type]
        listed,
        (m for m in ("otp",)),  # type: ignore[arg-type]
    )
    listed[:] = []
    for _ in range(2):
        with pytest.raises(InsufficientScope):
            requirement.permit(token_of(acr=GOLD, amr=["otp"]), NOW)
        with pytest.raises(StepUpRequired):
            requirement.permit(token_of(scope="read", amr=["otp"]), NOW)
        with pytest.raises(StepUpRequired):
            requirement.permit(token_of(scope="read", acr=GOLD), NOW)
    with pytest.raises(AttributeError):
        requirement.scopes = ()  # type: ignore[misc]


# The moment of a login


def test_the_time_of_a_login_stays_through_every_refresh() -> None:
    """RFC 9068 §2.2.1: a refresh is no login, so in time max_age asks for one."""
    wall = Clock(NOW)
    issuer, _, auth = login_site(wall)
    requirement = Requirement(max_age=900)
    pair = issuer.issue("alice")
    for _ in range(3):
        token = auth.authenticate(pair.access_token)
        assert token["auth_time"] == NOW
        assert requirement.permit(token, wall.now) is token
        wall.now += 450
        assert pair.refresh_token is not None
        pair = issuer.refresh(pair.refresh_token)
    token = auth.authenticate(pair.access_token)
    assert token["auth_time"] == NOW
    with pytest.raises(StepUpRequired, match=f"auth_time is {NOW}"):
        requirement.permit(token, wall.now)
    again = auth.authenticate(issuer.issue("alice").access_token)
    assert requirement.permit(again, wall.now) is again


def test_how_somebody_logged_in_stays_through_a_refresh_too() -> None:
    issuer, _, auth = login_site(clock)
    pair = issuer.issue("alice", acr=GOLD, amr=["pwd", "otp"], auth_time=NOW - 50)
    assert pair.refresh_token is not None
    renewed = issuer.refresh(pair.refresh_token).access_token
    token = auth.authenticate(renewed)
    assert Requirement(acr=(GOLD,), amr=("otp",), max_age=50).permit(token, NOW)
    with pytest.raises(StepUpRequired):
        Requirement(max_age=49).permit(token, NOW)


# The reply to an error that an application raised


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_refusal_of_an_application_is_told_and_logged_like_the_locks(
    error: AuthError, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        reply = AUTH.refuse(error, request("POST", "/a\nb"))
    (record,) = caplog.records
    assert record.getMessage().startswith(rf"refused 'POST' '/a\nb': {error.reason}: ")
    is_ours = isinstance(error, Unavailable)
    assert record.levelno == (logging.WARNING if is_ours else logging.INFO)
    assert reply.status == error.status
    assert "leaked" not in f"{reply.headers}{reply.body!r}"
    assert dict(reply.headers)["Cache-Control"] == "no-store"


def test_head_is_told_by_headers_alone() -> None:
    get, head = (AUTH.refuse(NoCredentials(), request(m)) for m in ("GET", "HEAD"))
    assert head.headers == get.headers
    assert (head.body, head.status) == (b"", 401)


def test_each_source_has_its_challenge_also_inside_an_application() -> None:
    sources = (BearerHeader(), BearerHeader("X-Token", scheme="Token"))
    error = StepUpRequired("", demanded={"max_age": "5"})
    reply = authenticator(sources=sources).refuse(error, request())
    lines = [value for name, value in reply.headers if name == "WWW-Authenticate"]
    expected = STEP_UP + ', max_age="5"'
    assert lines == [expected, expected.replace("Bearer", "Token", 1)]


@pytest.mark.parametrize("at", [10**400, -(10**400), 1.5e300, NOW * 1000, NOW + 86_400])
def test_a_login_that_lies_far_ahead_or_beyond_reckoning_is_none(at: float) -> None:
    """An issuer who tells milliseconds would else switch the check off."""
    with pytest.raises(StepUpRequired):
        Requirement(max_age=300).permit(token_of(auth_time=at), float(NOW))


@pytest.mark.parametrize("name", ["flask", "starlette", "fastapi"])
def test_a_clock_that_is_none_is_refused_at_once(name: str) -> None:
    module = importlib.import_module(f"jwt_middleware.{name}")
    with pytest.raises(ValueError, match="now"):
        module.requires(max_age=5, now=5.0)


def test_what_an_application_says_makes_no_second_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO", "jwt_middleware"):
        AUTH.refuse(InvalidToken("x\nINFO forged"), request())
    assert "x\\nINFO forged" in caplog.messages[0]
    assert "\n" not in caplog.messages[0]
