"""The refusals: what each says, to whom."""

from __future__ import annotations

import re
from http import HTTPStatus

import pytest

from jwt_middleware import AuthError, errors
from jwt_middleware.errors import InsufficientScope, StepUpRequired, Unavailable
from jwt_middleware.quoting import shown

from .test_challenge import REFUSALS, kinds, named


def test_the_tree_is_as_the_module_draws_it() -> None:
    """Names and nesting; where a line gives a status, that too."""
    drawn = [
        (line.index(name[0]) // 4, name[0], re.search(r" (\d{3})\b", line))
        for line in (errors.__doc__ or "").splitlines()
        if (name := re.findall(r"\b[A-Z]\w+\b", line)) and line.count(name[0]) == 1
        if name[0] in vars(errors)
    ]
    assert [(depth, name) for depth, name, _ in drawn] == [
        (kind.__mro__.index(AuthError), kind.__name__) for kind in kinds()
    ]
    for _, name, status in drawn:
        if status is not None:
            assert getattr(errors, name).status == int(status[1])


def test_a_reason_is_one_word_and_of_one_class() -> None:
    reasons = [error.reason for error in REFUSALS]
    assert len(set(reasons)) == len(reasons)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", reason) for reason in reasons)


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_every_class_says_what_it_needs(error: AuthError) -> None:
    assert isinstance(error.status, HTTPStatus)
    assert error.status in (400, 401, 403, 503)
    assert re.fullmatch(r"[A-Z][\x20-\x7E]*\.", error.description)
    assert not set('"\\') & set(error.description)
    assert error.error is None or re.fullmatch(r"[a-z_]+", error.error)
    assert type(error).__doc__


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_the_message_is_for_the_log_alone(error: AuthError) -> None:
    """Neither what is told nor the challenge repeats it."""
    assert "leaked" in str(error)
    assert "leaked" not in f"{error.told()}{error.challenged()}"


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_challenge_tells_no_more_than_the_body_but_scopes(error: AuthError) -> None:
    extra = error.challenged().items() - error.told().items()
    expected: set[tuple[str, str]] = set()
    if isinstance(error, InsufficientScope):
        expected = {("scope", "read write")}
    if isinstance(error, StepUpRequired):  # RFC 9470 §3
        expected = {("acr_values", "gold"), ("max_age", "60")}
    assert extra == expected


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_codes_are_those_of_rfc_6750_where_it_has_one(error: AuthError) -> None:
    codes: dict[HTTPStatus, set[str | None]] = {
        HTTPStatus.BAD_REQUEST: {
            "invalid_request",
            "invalid_grant",  # and what follows: RFC 6749 §5.2
            "invalid_scope",
            "unsupported_grant_type",
        },
        HTTPStatus.UNAUTHORIZED: {
            None,
            "invalid_token",
            "insufficient_user_authentication",  # RFC 9470 §3
        },
        HTTPStatus.FORBIDDEN: {"insufficient_scope", "cross_origin"},
        HTTPStatus.SERVICE_UNAVAILABLE: {"temporarily_unavailable"},
    }
    assert error.error in codes[error.status]


def test_an_outage_is_no_fault_of_the_token() -> None:
    """No client is to throw its token away because a store was down."""
    for error in REFUSALS:
        if isinstance(error, Unavailable):
            assert error.challenged() == {}
            assert (error.retry_after or 0) > 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "'plain'"),
        (None, "None"),
        (17, "17"),
        ("a\r\nb", r"'a\r\nb'"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("\u2028\u202e", r"'\u2028\u202e'"),
        ("\udcff", r"'\udcff'"),
        ("m\u00fc", r"'m\xfc'"),
        (["a\n"], r"['a\n']"),
        ("x" * 78, f"'{'x' * 78}'"),
        ("x" * 79, f"'{'x' * 79}..."),
        ("x" * 5000, f"'{'x' * 79}..."),
    ],
)
def test_what_a_log_shows_is_escaped_and_cut(value: object, text: str) -> None:
    """No line break, control or look-alike gets into it."""
    assert shown(value) == text
