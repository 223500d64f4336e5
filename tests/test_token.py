"""A token that we believe: a mapping that nobody changes, and what it shows."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi.encoders import jsonable_encoder
from flask import Flask, jsonify
from starlette.authentication import has_required_scope
from starlette.requests import Request

from jwt_middleware import Token, current_token
from jwt_middleware.current import set_current_token
from jwt_middleware.token import (
    ANONYMOUS,
    StarletteAuth,
    read_scopes,
)

CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example",
    "sub": "alice",
    "exp": 1_800_000_600,
    "iat": 1_800_000_000,
    "jti": "j1",
    "scope": "read write",
    "email": "alice@example",
}
HEADER = {"alg": "ES256", "kid": "k1"}


def token(**claims: Any) -> Token:
    said = {**CLAIMS, **claims}
    return Token(
        HEADER, {n: v for n, v in said.items() if v is not None}, digest="digest"
    )


# A mapping of its claims


def test_a_token_reads_as_its_claims() -> None:
    mine = token()
    assert isinstance(mine, Mapping)
    assert mine["sub"] == "alice"
    assert mine.get("email") == "alice@example"
    assert mine.get("phone") is None
    assert "email" in mine
    assert "phone" not in mine
    assert dict(mine) == CLAIMS == mine
    assert len(mine) == len(CLAIMS)
    assert list(mine) == list(CLAIMS)
    with pytest.raises(KeyError):
        mine["phone"]


def test_a_token_cannot_be_written_to() -> None:
    mine: Any = token()
    with pytest.raises(TypeError):
        mine["sub"] = "mallory"
    with pytest.raises(TypeError):
        del mine["sub"]
    with pytest.raises(TypeError):
        mine.header["alg"] = "none"
    with pytest.raises(AttributeError):
        mine.subject = "mallory"
    with pytest.raises(AttributeError):
        mine.is_admin = True
    for name in ("update", "pop", "setdefault", "clear"):
        assert not hasattr(mine, name)
    assert dict(mine) == CLAIMS


def test_what_it_was_made_of_may_change_and_it_does_not() -> None:
    claims, header = dict(CLAIMS), dict(HEADER)
    mine = Token(header, claims)
    claims["sub"], header["alg"] = "mallory", "none"
    assert mine["sub"] == "alice"
    assert mine.header == HEADER
    dict(mine)["sub"] = "mallory"
    assert mine["sub"] == "alice"


def test_no_text_of_it_shows_a_claim() -> None:
    mine = token()
    assert repr(mine) == str(mine) == f"{mine}" == "<Token of 7 claims>"
    assert repr([mine, {"token": mine}]).count("<Token of 7 claims>") == 2


# What handlers ask for


def test_the_claims_that_everyone_needs_have_names() -> None:
    mine = token()
    assert mine.issuer == "https://issuer.example"
    assert mine.subject == "alice"
    assert mine.expires_at == 1_800_000_600
    assert mine.issued_at == 1_800_000_000
    assert mine.header == HEADER


def test_subject_and_issued_at_may_be_absent() -> None:
    assert token(sub=None).subject is None
    assert token(iat=None).issued_at is None
    assert token(sub=None).identity == token(sub=None).display_name == ""


def test_a_token_is_known_by_its_jti_or_else_by_its_digest() -> None:
    assert token().identifier == "j1"
    assert token(jti=None).identifier == "digest"
    assert token(jti="").identifier == "digest"


# Scopes


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": ""}, set()),
        ({"scope": "read"}, {"read"}),
        ({"scope": "read write"}, {"read", "write"}),
        ({"scope": " read  write "}, {"read", "write"}),
        ({"scope": "read\twrite\nadmin"}, {"read\twrite\nadmin"}),  # RFC 6749 §3.3
        ({"scope": "read,admin"}, {"read,admin"}),
        ({"scope": "read\xa0admin"}, {"read\xa0admin"}),
        ({"scope": ["read", "write"]}, {"read", "write"}),
        ({"scope": ["read write"]}, {"read write"}),  # one scope, which no rule names
        ({"scope": ["read", 7, None, "", ["admin"], {"admin": 1}]}, {"read"}),
        ({"scp": "read write"}, {"read", "write"}),
        ({"scp": ["read", "write"]}, {"read", "write"}),
        ({"scope": "read", "scp": "admin"}, {"read"}),
        ({"scope": "", "scp": "read"}, {"read"}),
        ({"scope": None, "scp": ["read"]}, {"read"}),
        ({"scope": 7}, set()),
        ({"scope": True}, set()),
        ({"scope": {"admin": True}}, set()),
        ({"scopes": "admin", "permissions": ["admin"], "roles": ["admin"]}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_scopes_are_those_of_scope_or_else_of_scp(
    claims: dict[str, Any], scopes: set[str]
) -> None:
    assert read_scopes(claims) == scopes
    assert Token({}, claims).scopes == scopes
    assert isinstance(Token({}, claims).scopes, frozenset)


# In Starlette's shapes


def request_of(user: object) -> Request:
    return Request({"type": "http", "user": user, "auth": user})


def test_starlette_takes_a_token_for_user_and_auth() -> None:
    request = request_of(token())
    assert request.user.is_authenticated
    assert request.user.display_name == request.user.identity == "alice"
    assert has_required_scope(request, ["read", "write"])
    assert not has_required_scope(request, ["read", "admin"])


def test_starlette_takes_nobody_for_an_anonymous_user() -> None:
    request = request_of(ANONYMOUS)
    assert not request.user.is_authenticated
    assert request.user.display_name == request.user.identity == ""
    assert has_required_scope(request, [])
    assert not has_required_scope(request, ["read"])


def test_nobody_cannot_become_somebody() -> None:
    """The one object serves every request."""
    nobody: Any = ANONYMOUS
    with pytest.raises(AttributeError):
        nobody.is_authenticated = True
    with pytest.raises(AttributeError):
        nobody.scopes = frozenset({"admin"})


# The current token


def test_the_current_token_is_none_until_it_is_set() -> None:
    assert current_token() is None
    mine = token()
    set_current_token(mine)
    assert current_token() is mine
    set_current_token(None)
    assert current_token() is None


def test_another_thread_has_a_current_token_of_its_own() -> None:
    set_current_token(token())
    seen: list[Token | None] = []
    thread = threading.Thread(target=lambda: seen.append(current_token()))
    thread.start()
    thread.join()
    assert seen == [None]


# What people try


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("sub", 'token.subject or token["sub"]'),
        ("iss", 'token.issuer or token["iss"]'),
        ("exp", 'token.expires_at or token["exp"]'),
        ("iat", 'token.issued_at or token["iat"]'),
        ("scope", 'token.scopes or token["scope"]'),
        ("email", 'token["email"]'),
        ("preferred_username", 'token["preferred_username"]'),
    ],
)
def test_a_claim_that_is_asked_for_as_an_attribute(name: str, instead: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(token(), name)
    assert str(caught.value) == f"a Token has no attribute {name!r}; write {instead}"
    assert not hasattr(token(), name)
    assert not hasattr(token(), "__html__")


def test_a_copy_of_a_token_is_a_token_of_its_own() -> None:
    mine = token(roles=["reader"])
    for other in (copy.copy(mine), copy.deepcopy(mine)):
        assert isinstance(other, Token)
        assert other == mine
        assert other.header == mine.header
        assert other.identifier == mine.identifier
    copy.deepcopy(mine)["roles"].append("admin")
    assert mine["roles"] == ["reader"]
    assert copy.deepcopy(StarletteAuth(mine)) == mine


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_token_is_not_pickled(protocol: int) -> None:
    """Nobody has verified what is unpickled."""
    for value in (token(), StarletteAuth(token())):
        with pytest.raises(TypeError, match=r"pickle|slots"):
            pickle.dumps(value, protocol)
    with pytest.raises(TypeError, match=r"write dict\(token\)"):
        pickle.dumps(token(), protocol)


def test_the_claims_of_a_token_are_written_as_json() -> None:
    """By ``dict(token)``; FastAPI's encoder does that itself."""
    assert json.loads(json.dumps(dict(token()))) == CLAIMS
    assert jsonable_encoder(token()) == CLAIMS
    assert jsonable_encoder({"user": token()}) == {"user": CLAIMS}
    app = Flask("token")
    with app.app_context():
        assert app.json.loads(jsonify(dict(token())).get_data()) == CLAIMS
