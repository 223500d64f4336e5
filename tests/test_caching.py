"""Personal answers stay out of shared caches, through both doors."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jwt_middleware import BearerHeader, Cookie, Rule
from jwt_middleware.caching import PersonalAnswer

from .conftest import Mint, authenticator
from .doors import ASGIDoor, Door

RULES = (Rule("/public", public=True), Rule("/optional", optional=True))
NAME = "__Host-access"


def caching_of(answer: Any) -> tuple[str | None, str | None]:
    return answer.header("vary"), answer.header("cache-control")


def opened(door: Door, *sources: Any) -> Door:
    auth = authenticator(rules=RULES, sources=sources or (BearerHeader(), Cookie()))
    return door.behind(auth)


def test_an_answer_to_a_cookie_is_private_and_varies(door: Door, mint: Mint) -> None:
    answer = opened(door).get(cookies=[(NAME, mint())])
    assert answer.status == 200
    assert caching_of(answer) == ("Authorization, Cookie", "private")
    only = opened(door, Cookie()).get(cookies=[(NAME, mint())])
    assert caching_of(only) == ("Cookie", "private")


@pytest.mark.parametrize("sent", ["nothing", "bearer", "cookie"])
def test_an_answer_under_an_optional_rule_varies(
    door: Door, mint: Mint, sent: str
) -> None:
    """Whoever asks: an answer to nobody must not be served to somebody."""
    options: dict[str, Any] = {}
    if sent == "bearer":
        options["bearer"] = mint()
    if sent == "cookie":
        options["cookies"] = [(NAME, mint())]
    answer = opened(door).get("/optional", **options)
    assert caching_of(answer) == ("Authorization, Cookie", "private")
    plain = opened(door, BearerHeader()).get("/optional")
    assert caching_of(plain) == ("Authorization", "private")


def test_a_public_answer_and_one_to_a_bearer_are_left_alone(
    door: Door, mint: Mint
) -> None:
    """RFC 9111 section 3.5: shared caches know what Authorization means."""
    assert caching_of(opened(door).get("/public")) == (None, None)
    assert caching_of(opened(door).get(bearer=mint())) == (None, None)


def test_a_token_in_another_header_is_personal(door: Door, mint: Mint) -> None:
    source = BearerHeader("Cf-Access-Jwt-Assertion", scheme=None)
    answer = opened(door, source).get(headers=[("Cf-Access-Jwt-Assertion", mint())])
    assert caching_of(answer) == ("Cf-Access-Jwt-Assertion", "private")


@pytest.mark.parametrize(
    ("headers", "added"),
    [
        ([], [("Vary", "Authorization, Cookie"), ("Cache-Control", "private")]),
        ([("cache-control", "public")], [("Vary", "Authorization, Cookie")]),
        (
            [("vary", "Accept, cookie"), ("Cache-Control", "no-store")],
            [("Vary", "Authorization")],
        ),
        ([("Vary", "*")], [("Cache-Control", "private")]),
    ],
)
def test_what_the_application_says_stays(headers: Any, added: Any) -> None:
    answer = PersonalAnswer(("Authorization", "Cookie"))
    assert asyncio.run(answer.complete(200, headers)) == [*headers, *added]


def test_a_websocket_is_kept_by_no_cache(mint: Mint) -> None:
    door = opened(ASGIDoor(authenticator()))
    assert isinstance(door, ASGIDoor)
    headers = [("Origin", "https://api.example")]
    answer, _ = door.websocket(cookies=[(NAME, mint())], headers=headers)
    assert (answer.status, answer.headers) == (101, ())
