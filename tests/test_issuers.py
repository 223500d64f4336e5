"""The issuers that others wrote do what `tests.issuers.running` says of them.

No key source of ours is asked here: whatever fails behind one is not the issuer's
fault as long as this passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from jwt_middleware import Key, StaticKeys
from jwt_middleware.errors import UnknownKey
from jwt_middleware.jose import verify_compact

from .issuers.running import Hits, Issuer, audience, authlib_issuer, oidc_provider
from .servers import fetch

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


@pytest.fixture(scope="module")
def provider() -> Iterator[Issuer]:
    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def authlib() -> Iterator[Issuer]:
    with authlib_issuer() as running:
        yield running


@pytest.fixture(params=["provider", "authlib"])
def issuer(request: pytest.FixtureRequest) -> Issuer:
    """Each issuer in turn; what a test before did to its keys does not matter."""
    running: Issuer = request.getfixturevalue(request.param)
    return running


def published(issuer: Issuer) -> tuple[Key, ...]:
    return tuple(StaticKeys.from_jwks(issuer.ask("/jwks")).keys)


def verified(token: str, keys: tuple[Key, ...]) -> tuple[Any, Any]:
    """Header and claims of *token*, which one of *keys* signed."""
    header, payload = verify_compact(token, keys)
    return header, json.loads(payload)


def test_tokens_verify_with_the_published_keys(issuer: Issuer) -> None:
    keys = published(issuer)
    for algorithm in issuer.algorithms:
        header, _ = verified(issuer.token(algorithm), keys)
        assert header["alg"] == algorithm


def test_tokens_have_what_rfc_9068_asks_for(issuer: Issuer) -> None:
    header, claims = verified(issuer.token(scope="read"), published(issuer))
    assert header["typ"] == "at+jwt"
    assert claims["iss"] == issuer.url
    assert claims["scope"] == "read"
    assert claims["sub"] == claims["client_id"] == "service"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["jti"]


def test_one_writes_the_audience_as_a_string_and_one_as_a_list(
    provider: Issuer, authlib: Issuer
) -> None:
    for issuer, expected in (
        (provider, audience("ES256")),
        (authlib, [audience("ES256")]),
    ):
        assert verified(issuer.token(), published(issuer))[1]["aud"] == expected


def test_a_rotation_publishes_new_keys_that_sign_beside_the_old(
    issuer: Issuer,
) -> None:
    before, old_token = published(issuer), issuer.token()
    issuer.rotate()
    after, new_token = published(issuer), issuer.token()
    assert {key.kid for key in before} < {key.kid for key in after}
    header, _ = verified(new_token, after)
    assert header["kid"] not in {key.kid for key in before}
    assert verified(old_token, after)


def test_a_drop_takes_the_old_keys_away(issuer: Issuer) -> None:
    old_token = issuer.token()
    issuer.rotate()
    issuer.drop()
    keys = published(issuer)
    assert len(keys) == len(issuer.algorithms)
    assert verified(issuer.token(), keys)
    with pytest.raises(UnknownKey):
        verify_compact(old_token, keys)


def test_oidc_provider_is_discovered_both_ways(provider: Issuer) -> None:
    for path in (OPENID, OAUTH):
        metadata = provider.ask(path)
        assert metadata["issuer"] == provider.url
        assert metadata["jwks_uri"] == f"{provider.url}/jwks"


def test_authlib_is_discovered_by_rfc_8414_alone(authlib: Issuer) -> None:
    metadata = authlib.ask(OAUTH)
    assert metadata["issuer"] == authlib.url
    assert metadata["jwks_uri"] == f"{authlib.url}/jwks"
    assert fetch(authlib.port, OPENID)[0] == 404


def test_what_is_asked_for_is_counted(issuer: Issuer) -> None:
    before = issuer.hits()
    issuer.ask(OAUTH)
    issuer.ask("/jwks")
    issuer.ask("/jwks")
    issuer.token()
    assert issuer.hits() == Hits(before.metadata + 1, before.jwks + 2)


def test_an_issuer_that_is_down_answers_503_and_comes_back(issuer: Issuer) -> None:
    before = issuer.hits()
    issuer.down()
    try:
        for path in (OAUTH, "/jwks", "/token"):
            assert fetch(issuer.port, path)[0] == 503
    finally:
        issuer.up()
    assert issuer.hits() == Hits(before.metadata + 1, before.jwks + 1)
    assert verified(issuer.token(), published(issuer))
