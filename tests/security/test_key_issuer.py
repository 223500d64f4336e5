"""A JWK that names its issuer verifies tokens of that issuer only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, RemoteKeys, StaticKeys, TrustedIssuer
from jwt_middleware.fetch import Document, Fetcher
from jwt_middleware.jwk import is_issuer
from tests.conftest import AUDIENCE, authenticator, mint_token
from tests.doors import Door

ENTRA = "https://login.microsoftonline.com/{tenantid}/v2.0"
TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
OURS, THEIRS = ENTRA.format(tenantid="ours"), ENTRA.format(tenantid=TENANT)
ANY, OWN = (Key.generate("ES256", kid=kid) for kid in ("any-tenant", "own"))


def named(key: Key, issuer: object) -> dict[str, Any]:
    return {**key.public.to_jwk(), "issuer": issuer}


SETS = {"keys": [named(ANY, ENTRA), named(OWN, THEIRS)]}
"""As Entra's common key set: one key for all tenants, one for personal accounts."""


@dataclass(frozen=True)
class Published(Fetcher):
    """An issuer whose key set is at hand."""

    content: dict[str, Any] = field(default_factory=lambda: SETS)
    asked: list[str] = field(default_factory=list)

    def fetch(self, url: str, until: float) -> Document:
        self.asked.append(url)
        return Document(self.content)


SOURCES: dict[str, Callable[[], Any]] = {
    "static": lambda: StaticKeys.from_jwks(SETS),
    "mapping": lambda: SETS,
    "remote": lambda: RemoteKeys("https://keys.example", fetcher=Published()),
    "keys": lambda: [Key.from_jwk(jwk) for jwk in SETS["keys"]],
}


@pytest.fixture(params=SOURCES.values(), ids=list(SOURCES))
def auth(request: pytest.FixtureRequest) -> Authenticator:
    return authenticator(
        *(
            TrustedIssuer(name, audience=AUDIENCE, keys=request.param())
            for name in (OURS, THEIRS)
        )
    )


@pytest.mark.parametrize(
    ("key", "issuer", "status"),
    [(ANY, OURS, 200), (ANY, THEIRS, 200), (OWN, THEIRS, 200), (OWN, OURS, 401)],
    ids=["any-ours", "any-theirs", "own-theirs", "own-ours"],
)
def test_a_key_that_names_its_issuer_verifies_no_token_of_another(
    door: Door, auth: Authenticator, key: Key, issuer: str, status: int
) -> None:
    for _ in range(2):
        answer = door.behind(auth).get(bearer=mint_token(key=key, iss=issuer))
        assert answer.status == status


def test_a_key_of_another_issuer_does_not_spend_the_look_for_new_keys() -> None:
    published = Published()
    keys = RemoteKeys("https://keys.example", fetcher=published)
    auth = authenticator(TrustedIssuer(OURS, audience=AUDIENCE, keys=keys))
    keys.load()
    for _ in range(3):
        with pytest.raises(Exception, match="0 keys fit"):
            auth.authenticate(mint_token(key=OWN, iss=OURS))
    assert len(published.asked) == 1


@pytest.mark.parametrize(
    ("template", "issuer", "expected"),
    [
        (None, OURS, True),
        (OURS, OURS, True),
        (OURS, OURS + "/", False),
        ("", OURS, False),
        (ENTRA, OURS, True),
        (ENTRA, "https://login.microsoftonline.com//v2.0", False),
        (ENTRA, "https://login.microsoftonline.com/v2.0", False),
        (ENTRA, "https://login.microsoftonline.com/a/b/v2.0", False),
        (ENTRA, "https://login.microsoftonline.com/a?b/v2.0", False),
        (ENTRA, "https://evil.example/ours/v2.0", False),
        (ENTRA, OURS + "/", False),
        (ENTRA, ENTRA, True),
        ("{tenantid}", "https://evil.example", False),
        ("https://{tenantId}/v2.0", "https://ours/v2.0", False),
        ("{tenantid}/{tenantid}", "a/b", False),
    ],
)
def test_the_tenant_is_one_segment_of_the_name(
    template: str | None, issuer: str, expected: bool
) -> None:
    assert is_issuer(template, issuer) is expected


def test_the_issuer_of_a_key_stays_with_it() -> None:
    key = Key.from_jwk({**OWN.to_jwk(private=True), "issuer": THEIRS})
    assert key.issuer == key.public.issuer == THEIRS
    assert key.public.to_jwk()["issuer"] == THEIRS
    assert "issuer" not in OWN.to_jwk()


def test_keys_of_another_issuer_are_refused_at_construction() -> None:
    with pytest.raises(ValueError, match="keys are of another issuer: their JWKs name"):
        TrustedIssuer(OURS, audience=AUDIENCE, keys={"keys": [named(OWN, THEIRS)]})


@pytest.mark.parametrize("issuer", [7, ["x"], {}, False])
def test_an_issuer_that_is_not_a_string_makes_no_key(issuer: object) -> None:
    with pytest.raises(ValueError, match="the JWK's issuer is not a string"):
        Key.from_jwk(named(OWN, issuer))
