"""A token in a header: what is found, and what is refused before it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from jwt_middleware import AuthError, BearerHeader, Cookie, Token
from jwt_middleware.challenge import Reply
from jwt_middleware.compact import MAX_LENGTH
from jwt_middleware.credentials import Credentials
from jwt_middleware.errors import (
    CrossOrigin,
    InvalidRequest,
    InvalidToken,
    MalformedToken,
    MultipleCredentials,
    NoCredentials,
    TokenBound,
)
from jwt_middleware.request import Request

from .conftest import Mint, authenticator, mint_token
from .doors import Answer, Door

TOKEN = mint_token()


def is_refused_as(answer: Answer, error: type[AuthError]) -> bool:
    """Whether *answer* tells of *error*, and the app was not called."""
    told = answer.status, answer.json.get("error"), answer.json["error_description"]
    return not answer.entered and told == (
        error.status,
        error.error,
        error.description,
    )


@pytest.mark.parametrize(
    "value",
    [
        f"Bearer {TOKEN}",
        f"bearer {TOKEN}",
        f"BEARER {TOKEN}",
        f"Bearer    {TOKEN}",
        f"Bearer {TOKEN} \t ",
        f"\t Bearer {TOKEN}",
    ],
)
def test_the_scheme_has_no_case_and_spaces_do_not_count(door: Door, value: str) -> None:
    """RFC 9110 §11.1 and §5.5; some servers leave the white space to us."""
    answer = door.get(headers=[("Authorization", value)])
    assert answer.status == 200
    assert answer.token is not None
    assert answer.token["sub"] == "alice"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "Basic YWxpY2U6c2VjcmV0",
        f"Basic {TOKEN}",
        f"Bearer{TOKEN}",
        f"Bearer.{TOKEN}",
        f"DPoP {TOKEN}",
        "Digest username=bearer",
        f"Token {TOKEN}",
        TOKEN,
        '"Bearer" x',
        "=,Bearerx",
    ],
)
def test_another_scheme_is_no_token_of_ours(door: Door, value: str) -> None:
    """As if nothing had been sent: a challenge without an error; and what was sent."""
    answer = door.get(headers=[("Authorization", value)])
    assert answer.status == 401
    assert answer.json["error_description"].startswith("An access token is required")
    assert ("expected 'Authorization: Bearer <token>'" in str(answer.json)) == bool(
        value.strip()
    )
    assert "YWxp" not in str(answer.json)
    assert TOKEN not in str(answer.json)
    assert answer.challenge == 'Bearer realm="api"'


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Bearer ",
        f"Bearer\t{TOKEN}",
        f"Bearer\u00a0{TOKEN}",
        f'Bearer "{TOKEN}"',
        f"Bearer {TOKEN} x",
        f"Bearer {TOKEN[:20]} {TOKEN[20:]}",
        f"Bearer {TOKEN};",
        f"Bearer {TOKEN}\u00e9",
        f"Bearer {TOKEN}%00",
        f"Bearer Bearer {TOKEN}",
        "Bearer ====",
        f"Bearer {TOKEN}\x0b",
    ],
)
def test_a_value_against_the_grammar_is_a_bad_request(door: Door, value: str) -> None:
    """RFC 6750 §2.1: one token68 after the scheme, and nothing else."""
    answer = door.get(headers=[("Authorization", value)])
    assert is_refused_as(answer, InvalidRequest)


@pytest.mark.parametrize(
    "values",
    [
        (f"Bearer {TOKEN}", f"Bearer {TOKEN}"),
        (f"Bearer {TOKEN}", "Bearer another"),
        (f"Bearer {TOKEN}", "Basic YWxpY2U6c2VjcmV0"),
        ("Basic YWxpY2U6c2VjcmV0", f"Bearer {TOKEN}"),
        (f"Bearer {TOKEN}", ""),
        (f"Bearer {TOKEN},Bearer {TOKEN}",),
        (f"Bearer {TOKEN}, bearer {TOKEN}",),
        (f"Basic YWxpY2U6c2VjcmV0,\t BEARER\t{TOKEN}",),
        (f"Bearer {TOKEN},",),
    ],
)
def test_two_values_are_never_one_token(door: Door, values: tuple[str, ...]) -> None:
    """In two headers, or joined as WSGI servers do: nothing says which is meant."""
    answer = door.get(headers=[("Authorization", value) for value in values])
    assert is_refused_as(answer, MultipleCredentials)


def test_the_name_of_a_header_has_no_case(door: Door, mint: Mint) -> None:
    answer = door.get(headers=[("aUTHORIZATION", f"Bearer {mint()}")])
    assert answer.status == 200


def test_a_token_that_is_too_long_is_refused_by_its_length(door: Door) -> None:
    """Before anything looks at its characters, so a comma changes nothing."""
    longest = door.get(bearer="a" * MAX_LENGTH)
    assert is_refused_as(longest, MalformedToken)
    for text in ("a" * (MAX_LENGTH + 1), "," * (MAX_LENGTH + 1)):
        assert is_refused_as(door.get(bearer=text), MalformedToken)


def test_the_longest_token_is_accepted(door: Door, mint: Mint) -> None:
    """The bound itself is within."""
    payload = len(mint(pad=""))
    text = mint(pad="x" * ((MAX_LENGTH - payload) * 3 // 4))
    assert MAX_LENGTH - 4 < len(text) <= MAX_LENGTH
    assert door.get(bearer=text).status == 200


def test_a_bound_token_is_no_bearer_token(door: Door, mint: Mint) -> None:
    """RFC 9449 §7.2: whoever holds it has still to show the key."""
    for confirmation in ({"jkt": "x"}, {"x5t#S256": "x"}, {}, "anything"):
        answer = door.get(bearer=mint(cnf=confirmation))
        assert is_refused_as(answer, TokenBound)


def test_a_proxy_hands_over_the_bare_token(door: Door, mint: Mint) -> None:
    """With ``scheme=None`` the value is the token, and Authorization is not ours."""
    source = BearerHeader("Cf-Access-Jwt-Assertion", scheme=None)
    bare = door.behind(authenticator(sources=(source,)))
    header = "Cf-Access-Jwt-Assertion"
    assert bare.get(headers=[(header, f" {mint()}\t")]).status == 200
    refusals = {
        (): NoCredentials,
        ((header, ""),): NoCredentials,
        (("Authorization", f"Bearer {mint()}"),): NoCredentials,
        ((header, f"Bearer {mint()}"),): InvalidRequest,
        ((header, mint()), (header, mint())): MultipleCredentials,
    }
    for headers, error in refusals.items():
        answer = bare.get(headers=headers)
        assert is_refused_as(answer, error)
        assert (answer.challenge or "").startswith('Bearer realm="api"')


def test_a_scheme_of_ones_own_is_asked_for_by_its_name(door: Door, mint: Mint) -> None:
    named = door.behind(authenticator(sources=(BearerHeader(scheme="JWT"),)))
    assert named.get(headers=[("Authorization", f"jwt {mint()}")]).status == 200
    answer = named.get(bearer=mint())
    assert "expected 'Authorization: JWT <token>'" in answer.json["error_description"]
    assert answer.challenge == 'JWT realm="api"'


def test_each_scheme_is_asked_for_once_in_a_line_of_its_own(door: Door) -> None:
    """Many clients take a joined line for one challenge."""
    sources = (BearerHeader(), BearerHeader("X-Token", scheme="JWT"), Cookie())
    answer = door.behind(authenticator(sources=sources)).get()
    challenges = [v for name, v in answer.headers if name == "www-authenticate"]
    assert challenges == ['Bearer realm="api"', 'JWT realm="api"']


def test_one_token_in_two_places_is_refused(door: Door, mint: Mint) -> None:
    """RFC 6750 §2: also the same token, and also where one of them is no token."""
    both = door.behind(authenticator(sources=(BearerHeader(), Cookie())))
    for other in (mint(), mint(sub="mallory"), "x"):
        answer = both.get(bearer=mint(), cookies=[("__Host-access", other)])
        assert is_refused_as(answer, MultipleCredentials)
    assert both.get(bearer=mint()).status == 200
    assert both.get(cookies=[("__Host-access", mint())]).status == 200


def test_a_bad_value_in_one_place_is_not_made_good_by_another(
    door: Door, mint: Mint
) -> None:
    both = door.behind(authenticator(sources=(Cookie(), BearerHeader())))
    headers = [("Authorization", "Bearer not a token")]
    answer = both.get(headers=headers, cookies=[("__Host-access", mint())])
    assert is_refused_as(answer, MultipleCredentials)


@dataclass(frozen=True)
class Signed:
    """A source of somebody else's: a header that only one user may send."""

    sender: str
    challenge: str = "Signed"

    def find(self, request: Request) -> Credentials | None:
        values = request.header("x-signed")
        return Credentials(values[0], self) if values else None

    async def confirm(
        self, credentials: Credentials, token: Token, request: Request
    ) -> None:
        if token.subject != self.sender:
            raise CrossOrigin("sent by somebody else")


def test_a_source_confirms_whose_token_it_was(door: Door, mint: Mint) -> None:
    """Any object of the shape will do; `confirm` has the last word."""
    signed = door.behind(authenticator(sources=(Signed("alice"),)))
    assert signed.get(headers=[("X-Signed", mint())]).status == 200
    answer = signed.get(headers=[("X-Signed", mint(sub="bob"))])
    assert is_refused_as(answer, CrossOrigin)
    assert answer.challenge == 'Signed realm="api"'
    broken = signed.get(headers=[("X-Signed", "no token, not even nearly")])
    assert is_refused_as(broken, MultipleCredentials)
    nearly = signed.get(headers=[("X-Signed", "no.token.either")])
    assert is_refused_as(nearly, InvalidToken)


@dataclass(frozen=True)
class Diverting(BearerHeader):
    """A source that answers by itself, with a list of headers."""

    def divert(self, error: AuthError, request: Request, reply: Reply) -> Reply:
        headers: Any = [("X-Path", request.path), *reply.headers]
        return replace(reply, headers=headers)


def test_a_reply_of_a_sources_own_is_of_its_own_request(door: Door) -> None:
    """Also where it is no tuple, and so could not be looked up."""
    guarded = door.behind(authenticator(sources=(Diverting(),)))
    for path in ("/a", "/b", "/a"):
        answer = guarded.get(path)
        assert answer.status == 401
        assert dict(answer.headers)["x-path"] == path


class AfterAll(Signed):
    """A source whose `confirm` is a plain method."""

    def confirm(  # type: ignore[override]
        self, credentials: Credentials, token: Token, request: Request
    ) -> None:
        if token.subject != self.sender:
            raise CrossOrigin("sent by somebody else")


def test_a_source_may_confirm_without_waiting(door: Door, mint: Mint) -> None:
    signed = door.behind(authenticator(sources=(AfterAll("alice"),)))
    statuses = [
        signed.get(headers=[("X-Signed", mint(sub=sub))]).status
        for sub in ("alice", "bob", "alice", "bob")
    ]
    assert statuses == [200, 403, 200, 403]


def test_no_repr_shows_the_token() -> None:
    credentials = Credentials(TOKEN, BearerHeader())
    assert TOKEN not in repr(credentials)
    assert "BearerHeader" in repr(credentials)


@pytest.mark.parametrize("name", ["", "two words", "X-Token:", "X\r\nY", "é", 'a"b'])
def test_what_can_name_no_header_or_scheme_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name must be a string"):
        BearerHeader(name)
    with pytest.raises(ValueError, match="scheme must be a string"):
        BearerHeader(scheme=name)
