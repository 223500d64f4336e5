"""Tokens of another kind, signed with the right key for the right audience."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token

from jwt_middleware import Authenticator, Key, TrustedIssuer
from jwt_middleware.errors import WrongType
from jwt_middleware.kinds import FOREIGN_KINDS, KIND_CLAIMS, OTHER_MARKS
from tests.conftest import Mint, authenticator, mint_token
from tests.doors import Door

LIBRARIES: dict[str, dict[str, Any]] = {
    "flask-jwt-extended": {"type": "refresh", "fresh": False, "csrf": "x"},
    "djangorestframework-simplejwt": {"token_type": "refresh", "user_id": "7"},
    "Guardian": {"typ": "refresh"},
    "Keycloak": {"typ": "Refresh", "nonce": "n"},
    "Keycloak, offline": {"typ": "Offline"},
    "Keycloak, ID": {"typ": "ID"},
    "Keycloak, login cookie": {"typ": "Serialized-ID"},
    "Casdoor": {"tokenType": "refresh-token"},
    "Amazon Cognito": {"token_use": "id"},
    "FusionAuth": {"tty": "id"},
    "OpenIddict": {"oi_tkn_typ": "authorization_code"},
    "PocketBase": {"type": "passwordReset"},
    "AshAuthentication": {"purpose": "remember_me"},
    "Descope": {"drn": "DSR"},
    "FastAPI tutorials": {"scope": "refresh_token"},
}
"""What each puts into a token that is not an access token."""

ACCESS: tuple[dict[str, Any], ...] = (
    {"type": "access", "fresh": True},
    {"token_type": "access"},
    {"token_type": "sliding"},
    {"token_type": "Bearer"},
    {"typ": "Bearer", "nonce": "n"},
    {"typ": "DPoP"},
    {"typ": "access"},
    {"tokenType": "access-token", "nonce": "n", "type": "normal-user"},
    {"token_use": "access"},
    {"tty": "at"},
    {"oi_tkn_typ": "access_token"},
    {"purpose": "user"},
    {"drn": "DS"},
    {"type": "user", "use": "sig", "purpose": "treatment"},
    {"type": 7, "token_type": None, "typ": ["ID"], "use": {"refresh": True}},
    {"scope": "refresh_token offline_access api", "type": "tenantApiToken"},
    {"scope": "access_token"},
    {"type": "identity", "token_type": "refreshable", "purpose": ""},
)
"""What access tokens have, and what has nothing to do with kinds of token."""


def spellings(word: str) -> Iterator[str]:
    """A kind as one issuer or another writes it."""
    for name in (word, f"{word}_token", f"{word}-token", f"{word}Token"):
        yield from (name, name.upper(), name.capitalize(), name.replace("_", " "))


ROWS = [
    *((claim, kind) for claim in KIND_CLAIMS for kind in FOREIGN_KINDS),
    *OTHER_MARKS,
]


@pytest.mark.parametrize(("claim", "kind"), ROWS, ids=map("-".join, ROWS))
def test_what_says_that_it_is_not_an_access_token_is_refused(
    door: Door, mint: Mint, claim: str, kind: str
) -> None:
    for value in spellings(kind):
        answer = door.get(bearer=mint(**{claim: value}))
        assert (answer.status, answer.entered) == (401, False), value


@pytest.mark.parametrize("claims", LIBRARIES.values(), ids=list(LIBRARIES))
def test_tokens_of_another_kind_that_libraries_make_are_refused(
    door: Door, mint: Mint, claims: dict[str, Any]
) -> None:
    for typ in ("JWT", "at+jwt", None):
        answer = door.get(bearer=mint(header={"typ": typ}, **claims))
        assert (answer.status, answer.entered) == (401, False)
    with pytest.raises(WrongType, match="not an access token: it has"):
        authenticator().authenticate(mint(**claims))


@pytest.mark.parametrize("claims", ACCESS, ids=str)
def test_access_tokens_of_any_spelling_pass(
    door: Door, mint: Mint, claims: dict[str, Any]
) -> None:
    assert door.get(bearer=mint(**claims)).entered


def test_the_log_says_what_the_token_says_of_itself() -> None:
    with pytest.raises(WrongType, match="it has token_type 'refresh'"):
        authenticator().authenticate(mint_token(token_type="refresh"))


def test_tokens_that_flask_jwt_extended_makes(door: Door) -> None:
    """The library itself, with the same key, issuer and audience."""
    secret, name = "a secret of thirty-two octets ..", "https://flask.example"
    app = Flask("issuer")
    app.config.update(
        JWT_SECRET_KEY=secret,
        JWT_ENCODE_ISSUER=name,
        JWT_ENCODE_AUDIENCE="api",
        JWT_REFRESH_TOKEN_EXPIRES=timedelta(hours=1),
    )
    JWTManager(app)
    issuer = TrustedIssuer(name, audience="api", keys=[Key.from_secret(secret)])
    door = door.behind(Authenticator(issuer))
    with app.app_context():
        access, refresh = create_access_token("alice"), create_refresh_token("alice")
    assert door.get(bearer=access).entered
    assert door.get(bearer=refresh).status == 401
