"""What a refusal looks like on the wire."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from jwt_middleware import AuthError, challenge, errors
from jwt_middleware.challenge import REMEMBERED, Challenge, reply_to
from jwt_middleware.errors import (
    InsufficientScope,
    InvalidTokenRequest,
    NoCredentials,
    StepUpRequired,
    Unavailable,
)

from .conftest import Mint, authenticator
from .doors import Door


def kinds(root: type[AuthError] = AuthError) -> Iterator[type[AuthError]]:
    """Every class of refusal; not those that `flask_errors` makes of them."""
    yield root
    for kind in root.__subclasses__():
        if vars(errors).get(kind.__name__) is kind:
            yield from kinds(kind)


def an(kind: type[AuthError]) -> AuthError:
    """One of *kind*, with a message that must not get out."""
    if issubclass(kind, InsufficientScope):
        return kind('leaked\r\n"', scopes=("read", "write"))
    if issubclass(kind, StepUpRequired):
        return kind('leaked\r\n"', demanded={"acr_values": "gold", "max_age": "60"})
    return kind('leaked\r\n"')


REFUSALS = [an(kind) for kind in kinds()]


def named(error: AuthError) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_refusal_is_json_that_nobody_keeps(error: AuthError) -> None:
    reply = reply_to(error, ("Bearer",), "api")
    headers = dict(reply.headers)
    assert len(headers) == len(reply.headers)
    assert reply.status is error.status
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(reply.body))
    assert headers["Cache-Control"] == "no-store"
    expected = {"error": error.error, "error_description": error.description}
    if error.error is None:
        del expected["error"]
    assert json.loads(reply.body) == expected


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_the_message_for_the_log_stays_inside(error: AuthError) -> None:
    reply = reply_to(error, ("Bearer", "DPoP"), "api")
    assert "leaked" not in f"{reply.headers}{reply.body!r}"
    assert not any(set("\r\n\\") & set(value) for _, value in reply.headers)


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_there_is_always_a_challenge_with_the_realm(error: AuthError) -> None:
    """RFC 9110 §15.5.2 needs one with a 401, and allows it with the rest (§11.6.1)."""
    challenge = dict(reply_to(error, ("Bearer",), "api").headers)["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="api"')
    of_grants = ("invalid_grant", "invalid_scope", "unsupported_grant_type")
    is_of_grants = error.error in of_grants or isinstance(error, InvalidTokenRequest)
    tells = (
        error.error is not None
        and not is_of_grants
        and error.status
        not in (
            HTTPStatus.SERVICE_UNAVAILABLE,
            *([] if isinstance(error, InsufficientScope) else [HTTPStatus.FORBIDDEN]),
        )
    )
    assert (f'error="{error.error}"' in challenge) == tells
    assert (f'error_description="{error.description}"' in challenge) == tells


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_only_what_will_pass_is_to_be_tried_again(error: AuthError) -> None:
    headers = dict(reply_to(error, ("Bearer",), "api").headers)
    assert ("Retry-After" in headers) == (error.status == 503)
    if isinstance(error, Unavailable):
        assert headers["Retry-After"] == str(error.retry_after) == "2"


@pytest.fixture
def named_kind() -> Iterator[list[type[AuthError]]]:
    """A class of somebody's own, which is gone when the test is."""

    class Named(AuthError):
        error = "named"

        def told(self) -> dict[str, str]:
            return {**super().told(), "name": str(self)}

    kinds: list[type[AuthError]] = [Named]
    del Named
    yield kinds
    kinds.clear()
    gc.collect()


def test_one_that_tells_each_client_something_else_tells_no_other(
    named_kind: list[type[AuthError]],
) -> None:
    for name in ("alice", "bob", "alice"):
        reply = reply_to(named_kind[0](name), ("Bearer",), "api")
        assert json.loads(reply.body)["name"] == name
        assert f'name="{name}"' in dict(reply.headers)["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("error", "other"), ("description", "Other."), ("retry_after", 9)],
)
def test_one_that_is_told_in_other_words_leaves_the_rest_alone(
    attribute: str, value: object
) -> None:
    """A reply is made once of its kind; the words of one error make another kind."""
    usual = reply_to(NoCredentials("x"), ("Bearer",), "api")
    special = NoCredentials("x")
    setattr(special, attribute, value)
    changed = reply_to(special, ("Bearer",), "api")
    assert (changed.headers, changed.body) != (usual.headers, usual.body)
    assert reply_to(NoCredentials("y"), ("Bearer",), "api") is usual


def test_replies_that_are_kept_are_bounded() -> None:
    for seconds in range(2 * REMEMBERED):
        reply = reply_to(Unavailable("x", retry_after=seconds), ("Bearer",), "api")
        assert dict(reply.headers)["Retry-After"] == str(seconds)
    assert len(challenge._replies) <= REMEMBERED


def test_each_scheme_has_a_line_of_its_own() -> None:
    reply = reply_to(NoCredentials(), ("Bearer", "DPoP"), "the api")
    lines = [value for name, value in reply.headers if name == "WWW-Authenticate"]
    assert lines == ['Bearer realm="the api"', 'DPoP realm="the api"']


def test_parameters_stand_in_quotes_in_their_order() -> None:
    challenge = Challenge("Bearer", {"realm": "a, b", "scope": "x:y z/!"})
    assert challenge.to_header() == 'Bearer realm="a, b", scope="x:y z/!"'


@pytest.mark.parametrize(
    "value",
    ['"', "\\", "\r\nX-Injected: 1", "\n", "\t", "\x7f", "\x00", "\u00e9", "\u2028"],
)
def test_a_parameter_cannot_break_out_of_its_quotes(value: str) -> None:
    """RFC 6750 §3; and not even the last character of a line may be one."""
    for text in (value, f"a{value}", f"a{value}b"):
        with pytest.raises(ValueError, match="realm cannot stand in a header"):
            Challenge("Bearer", {"realm": text})
        with pytest.raises(ValueError, match="realm must be a string"):
            authenticator(realm=text)


def test_the_realm_is_the_one_that_was_named(door: Door, mint: Mint) -> None:
    named = door.behind(authenticator(realm="Members only"))
    assert named.get().challenge == 'Bearer realm="Members only"'
    challenge = named.get(bearer=mint(exp=-100)).challenge or ""
    assert challenge.startswith('Bearer realm="Members only", error="invalid_token"')


def test_head_gets_the_headers_of_get_and_no_body(door: Door, mint: Mint) -> None:
    """RFC 9110 §9.3.2; the length is that of the body that GET would have."""
    get, head = (door.request(m, bearer=mint(exp=-100)) for m in ("GET", "HEAD"))
    assert head.headers == get.headers
    assert head.header("content-length") == str(len(get.body))
    assert (head.status, head.body) == (401, b"")
