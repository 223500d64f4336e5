"""Making tokens: what they say, what they never say, and who believes them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import jwt
import pytest

from jwt_middleware import Authenticator, Key, StaticKeys, TokenIssuer, TokenPair
from jwt_middleware.claims import OWN_CLAIMS, SECRET_NAMES
from jwt_middleware.compact import MAX_LENGTH, base64url_decode
from jwt_middleware.errors import BadSignature, InvalidToken, UnknownKey, WrongType
from jwt_middleware.jose import read_jws, sign_compact, verify_compact
from jwt_middleware.jwk import PRIVATE_MEMBERS
from jwt_middleware.policy import RFC9068_CLAIMS

from .conftest import AUDIENCE, ISSUER, NOW, authenticator, clock, trusted

KEY = Key.generate("ES256", kid="current")
OLD = Key.generate("Ed25519", kid="old")
SECRET = Key.generate("HS256", kid="shared")


def issuer(**options: Any) -> TokenIssuer:
    defaults: dict[str, Any] = {"audience": AUDIENCE, "key": KEY, "now": clock}
    return TokenIssuer(ISSUER, **{**defaults, **options})


def claims_of(pair: TokenPair, *keys: Key) -> dict[str, Any]:
    _, payload = verify_compact(pair.access_token, keys or (KEY.public,))
    claims: dict[str, Any] = json.loads(payload)
    return claims


# What a token says


def test_a_token_has_every_claim_of_rfc_9068() -> None:
    pair = issuer().issue("alice", scope=("read", "write"), name="Alicé")
    claims = claims_of(pair)
    assert read_jws(pair.access_token).header == {
        "typ": "at+jwt",
        "alg": "ES256",
        "kid": "current",
    }
    assert claims.keys() >= set(RFC9068_CLAIMS)
    assert claims["iss"] == claims["client_id"] == ISSUER
    assert claims["aud"] == AUDIENCE
    assert claims["sub"] == "alice"
    assert claims["iat"] == NOW
    assert claims["exp"] == NOW + 600
    assert claims["scope"] == "read write"
    assert claims["name"] == "Alicé"
    assert claims["sid"] == pair.session_id


def test_the_profile_of_rfc_9068_accepts_it() -> None:
    strict = trusted(keys=[KEY], profile="rfc9068", leeway=0)
    assert authenticator(strict).authenticate(issuer().issue("a").access_token)["jti"]


def test_dates_are_whole_seconds() -> None:
    claims = claims_of(issuer(now=lambda: NOW + 0.9, access_lifetime=1.9).issue("a"))
    assert (claims["iat"], claims["exp"]) == (NOW, NOW + 1)
    assert isinstance(claims["iat"], int)


def test_every_token_and_every_session_has_a_name_of_its_own() -> None:
    made = [claims_of(issuer().issue("alice")) for _ in range(50)]
    names = {claims[name] for claims in made for name in ("jti", "sid")}
    assert len(names) == 100
    assert all(len(name) >= 22 for name in names)  # 128 bits


def test_several_audiences_are_a_list() -> None:
    assert claims_of(issuer(audience=["a", "b"]).issue("x"))["aud"] == ["a", "b"]
    assert claims_of(issuer(audience=["a"]).issue("x"))["aud"] == "a"


@pytest.mark.parametrize(
    ("scope", "written"),
    [
        ("read", "read"),
        ("read write", "read write"),
        (" read  write ", "read write"),
        (["read", "write"], "read write"),
        pytest.param(iter(["read"]), "read", id="an iterator"),
        ("", None),
        ((), None),
    ],
    ids=repr,
)
def test_scopes_are_one_string(scope: Any, written: str | None) -> None:
    assert claims_of(issuer().issue("x", scope=scope)).get("scope") == written


@pytest.mark.parametrize("scope", [["read write"], ['"'], ["é"], [None], 7, b"read"])
def test_a_scope_is_one_word_of_rfc_6749(scope: Any) -> None:
    with pytest.raises(ValueError, match="scope"):
        issuer().issue("x", scope=scope)


def test_the_client_may_be_another() -> None:
    assert claims_of(issuer().issue("x", client_id="app"))["client_id"] == "app"


@pytest.mark.parametrize("subject", ["", None, 7, b"alice", ["alice"]])
def test_a_subject_is_a_string_with_something_in_it(subject: Any) -> None:
    with pytest.raises(ValueError, match="subject must be a string that is not empty"):
        issuer().issue(subject)


# What an answer says


def test_a_pair_is_the_answer_of_a_token_endpoint() -> None:
    """RFC 6749 §5.1."""
    pair = issuer(access_lifetime=300).issue("alice")
    assert pair.as_dict() == {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": 300,
    }
    assert pair.refresh_token is None
    json.dumps(pair.as_dict())


def test_a_refresh_token_stands_there_too() -> None:
    answer = TokenPair("a", 300, "s", refresh_token="r").as_dict()
    assert answer["refresh_token"] == "r"
    assert "session_id" not in answer


def test_no_repr_shows_a_token_or_a_session() -> None:
    pair = TokenPair("hunter2", 300, "hunter2", refresh_token="hunter2")
    assert repr(pair) == "TokenPair(expires_in=300, refresh_expires_in=None)"
    assert "hunter2" not in repr(issuer(key=Key.from_secret("hunter2" * 9)))


# What a token never says


@pytest.mark.parametrize("name", sorted(OWN_CLAIMS - {"scope"}))
def test_claims_of_the_issuer_are_not_given(name: str) -> None:
    """Nor those that would make an ID token or an event of it."""
    with pytest.raises(ValueError, match=f"the claim '{name}' is set by the issuer"):
        issuer().issue("alice", **{name: "x"})


def test_the_scope_is_an_argument() -> None:
    assert "scope" in OWN_CLAIMS
    nested = issuer().issue("alice", act={"sub": "bob", "scope": "x"})
    assert claims_of(nested)["act"] == {"sub": "bob", "scope": "x"}


@pytest.mark.parametrize("name", sorted(SECRET_NAMES))
def test_a_name_that_carries_a_secret_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the claim '{name}' looks like a secret"):
        issuer().issue("alice", **{name: "hunter2"})


@pytest.mark.parametrize(
    "name",
    [
        "Password",
        "PASSWORD",
        "pass_word",
        "client-secret",
        "clientSecret",
        "API-Key",
        "apiKey",
        "api_key_",
        "refreshToken",
        "Credit-Card",
        "social_security_number",
        "socialSecurityNumber",
    ],
)
def test_no_spelling_of_it_passes(name: str) -> None:
    with pytest.raises(ValueError, match=f"the claim '{name}' looks like a secret"):
        issuer().issue("alice", **{name: "hunter2"})


@pytest.mark.parametrize(
    "value",
    [
        {"password": "hunter2"},
        {"a": {"b": {"password": "hunter2"}}},
        [{"password": "hunter2"}],
        ({"password": "hunter2"},),
        {"a": [[({"b": 1}, {"password": "hunter2"})]]},
    ],
    ids=repr,
)
def test_no_depth_hides_it(value: Any) -> None:
    with pytest.raises(ValueError, match="keep it in your database") as refusal:
        issuer().issue("alice", profile=value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "claims",
    [
        {"password_changed_at": 1},
        {"secretary": "bob"},
        {"has_pin": True},
        {"company": "x"},
        {"amr": ["pwd", "otp"]},  # RFC 8176: how the user logged in
        {"note": "password"},
    ],
    ids=str,
)
def test_a_name_that_only_looks_like_it_is_kept(claims: dict[str, Any]) -> None:
    assert claims_of(issuer().issue("alice", **claims)).items() >= claims.items()


# What cannot be written


LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP
DEEP: list[Any] = []
for _ in range(5_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"octets",
        {1, 2},
        1j,
        math.nan,
        math.inf,
        [-math.inf],
        "\ud800",
        {"\udfff": 1},
        {1: "a", "1": "b"},  # two members of one name
        {(1, 2): 3},
        10**5000,
        MappingProxyType({"password": "hunter2"}),
        json.loads("[" * 40 + "]" * 40),
        DEEP,
        LOOP,
    ],
    ids=[
        "object",
        "octets",
        "set",
        "complex",
        "NaN",
        "infinity",
        "nested infinity",
        "high surrogate",
        "low surrogate as name",
        "a name twice",
        "tuple as name",
        "huge number",
        "mapping of another type",
        "40 levels",
        "5000 levels",
        "loop",
    ],
)
def test_claims_are_plain_json(value: Any) -> None:
    with pytest.raises(ValueError, match="not plain JSON"):
        issuer().issue("alice", claim=value)


@pytest.mark.parametrize("client_id", [7, None, ["app"]])
def test_no_token_is_made_that_its_own_verifier_would_refuse(client_id: Any) -> None:
    with pytest.raises(ValueError, match="client_id"):
        issuer().issue("alice", client_id=client_id)


def test_no_token_is_too_long_to_be_accepted() -> None:
    bare = len(issuer().issue("alice", claim="").access_token)
    fitting = (MAX_LENGTH - bare) * 3 // 4 - 2
    pair = issuer().issue("alice", claim="x" * fitting)
    assert MAX_LENGTH - 8 < len(pair.access_token) <= MAX_LENGTH
    authenticator(issuer().trusted()).authenticate(pair.access_token)
    told = rf"a token of \d+ characters; at most {MAX_LENGTH} are accepted"
    with pytest.raises(ValueError, match=told):
        issuer().issue("alice", claim="x" * (fitting + 8))


# Configuration


@pytest.mark.parametrize("lifetime", [1, 600, 86400])
def test_a_token_lives_for_a_day_at_most(lifetime: float) -> None:
    pair = issuer(access_lifetime=lifetime).issue("alice")
    assert pair.expires_in == lifetime
    assert claims_of(pair)["exp"] == NOW + lifetime
    authenticator(issuer().trusted()).authenticate(pair.access_token)


@pytest.mark.parametrize(
    "lifetime", [0, 0.9, -1, 86400.5, 86401, math.nan, math.inf, True, "600", None]
)
def test_another_lifetime_is_refused(lifetime: Any) -> None:
    with pytest.raises(ValueError, match=r"access_lifetime must be .* from 1 to 86400"):
        issuer(access_lifetime=lifetime)


@pytest.mark.parametrize("key", [(), [], KEY.public, [KEY.public], [OLD.public, KEY]])
def test_the_first_key_signs(key: Any) -> None:
    with pytest.raises(ValueError, match="key must be a private Key, or several"):
        issuer(key=key)


@pytest.mark.parametrize(
    "key",
    [None, 7, "-----BEGIN PRIVATE KEY-----", b"x", ["x"], KEY.to_jwk(), [KEY, "x"]],
)
def test_a_key_is_a_key(key: Any) -> None:
    with pytest.raises(ValueError, match=r"key is a \w+, expected a Key; write key="):
        issuer(key=key)


def test_the_rest_is_read_as_the_verifier_reads_it() -> None:
    with pytest.raises(ValueError, match="issuer must be a string without spaces"):
        TokenIssuer("https://a b", audience="a", key=KEY)
    with pytest.raises(ValueError, match="audience is empty"):
        issuer(audience=())
    with pytest.raises(ValueError, match="two keys are called 'current'"):
        issuer(key=[KEY, KEY])
    with pytest.raises(ValueError, match="now must be a function"):
        issuer(now=NOW)


# The keys that are published


def test_the_public_keys_are_published() -> None:
    jwks = issuer(key=[KEY, OLD]).jwks()
    assert [jwk["kid"] for jwk in jwks["keys"]] == ["current", "old"]
    assert StaticKeys.from_jwks(json.loads(json.dumps(jwks))).keys
    found = jwt.PyJWKSet.from_dict(issuer().jwks())
    token = issuer().issue("alice", exp_hint=1).access_token
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        token, found["current"], ["ES256"], options, audience=AUDIENCE, issuer=ISSUER
    )
    assert claims["sub"] == "alice"


@pytest.mark.parametrize(
    "algorithm", ["RS256", "ES256", "Ed25519", "Ed448", "ML-DSA-44"]
)
def test_no_private_member_is_published(algorithm: str) -> None:
    key = Key.generate(algorithm)
    (jwk,) = issuer(key=[key]).jwks()["keys"]
    assert not PRIVATE_MEMBERS & jwk.keys()
    private = key.to_jwk(private=True)
    for member in PRIVATE_MEMBERS & private.keys():
        assert private[member] not in json.dumps(jwk)


def test_a_secret_is_never_published() -> None:
    assert issuer(key=SECRET).jwks() == {"keys": []}
    both = issuer(key=[SECRET, KEY]).jwks()
    assert [jwk["kid"] for jwk in both["keys"]] == ["current"]
    assert SECRET.to_jwk(private=True)["k"] not in json.dumps(both)


def test_an_old_key_may_be_published_without_its_private_half() -> None:
    jwks = issuer(key=[KEY, OLD.public]).jwks()
    assert [jwk["kid"] for jwk in jwks["keys"]] == ["current", "old"]


# Who believes them


def own(keys: Key | Sequence[Key] = KEY) -> tuple[TokenIssuer, Authenticator]:
    made = issuer(key=keys)
    return made, authenticator(made.trusted())


@pytest.mark.parametrize(
    "algorithm", ["HS256", "RS256", "PS256", "ES256", "ES512", "Ed25519", "ML-DSA-87"]
)
def test_its_own_authenticator_believes_its_tokens(algorithm: str) -> None:
    made, auth = own(Key.generate(algorithm))
    token = auth.authenticate(made.issue("alice", scope="read", name="A").access_token)
    assert token.subject == "alice"
    assert token.scopes == {"read"}
    assert token["name"] == "A"


def test_keys_are_rotated_by_putting_a_new_one_first() -> None:
    """The first signs; what the others signed verifies as long as they are listed."""
    before, _ = own(OLD)
    after, auth = own([KEY, OLD.public])
    old, new = before.issue("alice").access_token, after.issue("alice").access_token
    assert read_jws(old).header["kid"] == "old"
    assert read_jws(new).header["kid"] == "current"
    assert auth.authenticate(old)["sid"] != auth.authenticate(new)["sid"]
    _, later = own(KEY)
    with pytest.raises(UnknownKey):
        later.authenticate(old)


def test_another_key_of_the_same_name_is_not_believed() -> None:
    forger = issuer(key=Key.generate("ES256", kid="current"))
    with pytest.raises(BadSignature):
        own()[1].authenticate(forger.issue("alice").access_token)


@pytest.mark.parametrize("typ", ["JWT", "id_token", "refresh+jwt", None])
def test_only_access_tokens_are_believed(typ: str | None) -> None:
    """Whatever else the same key signs (RFC 8725 §3.11)."""
    made, auth = own()
    payload = read_jws(made.issue("alice").access_token).payload
    header = {} if typ is None else {"typ": typ}
    with pytest.raises(WrongType):
        auth.authenticate(sign_compact(header, payload, KEY))


def test_trusted_is_the_same_object_each_time() -> None:
    made = issuer()
    assert made.trusted() is made.trusted()
    assert made.trusted().issuer == ISSUER


# What the standards ask of an issuer


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "Ed25519"])
def test_header_and_claims_are_those_of_rfc_9068(algorithm: str) -> None:
    """I-23: §2; nothing else is in the header, and ``jti`` is 128 bits at random."""
    key = Key.generate(algorithm, kid="of rfc 9068")
    made = [issuer(key=key).issue("alice").access_token for _ in range(20)]
    names = set()
    for text in made:
        header, claims = (
            json.loads(base64url_decode(part.encode())) for part in text.split(".")[:2]
        )
        assert header == {"typ": "at+jwt", "alg": algorithm, "kid": "of rfc 9068"}
        assert claims["iat"] == NOW
        assert claims.get("nbf", NOW) <= NOW
        assert len(base64url_decode(claims["jti"].encode())) >= 16
        names.add(claims["jti"])
    assert len(names) == 20


@pytest.mark.parametrize("lifetime", [1, 300, 86400])
@pytest.mark.parametrize("part_of_a_second", [0, 0.001, 0.999])
def test_expires_in_is_what_the_token_says(
    lifetime: int, part_of_a_second: float
) -> None:
    """I-2: RFC 6749 §5.1, a number of seconds."""
    made = issuer(access_lifetime=lifetime, now=lambda: NOW + part_of_a_second)
    pair = made.issue("alice", scope="read")
    claims = claims_of(pair)
    answer = json.loads(json.dumps(pair.as_dict()))
    assert answer["expires_in"] == claims["exp"] - claims["iat"] == lifetime
    assert type(answer["expires_in"]) is int
    assert answer["token_type"] == "Bearer"
    assert answer["access_token"] == pair.access_token


@pytest.mark.parametrize("algorithm", ["HS256", "ES256", "Ed25519"])
def test_nothing_in_a_token_can_be_changed(algorithm: str) -> None:
    """I-18: not one octet, nor its spelling."""
    made, auth = own(Key.generate(algorithm))
    text = made.issue("alice").access_token
    for at, octet in enumerate(text):
        for other in "A", "B", "-", "":
            if other != octet:
                with pytest.raises(InvalidToken):
                    auth.authenticate(f"{text[:at]}{other}{text[at + 1 :]}")
    assert auth.authenticate(text)


def test_who_holds_the_public_keys_can_make_no_token() -> None:
    """I-18: what is published verifies, and signs nothing."""
    made, auth = own()
    payload = read_jws(made.issue("alice").access_token).payload
    (jwk,) = made.jwks()["keys"]
    public = Key.from_jwk(jwk)
    with pytest.raises(ValueError, match="verifies only"):
        sign_compact({"typ": "at+jwt"}, payload, public)
    as_secret = Key.from_secret(json.dumps(jwk, sort_keys=True) * 2, kid=KEY.kid)
    with pytest.raises(InvalidToken):
        auth.authenticate(sign_compact({"typ": "at+jwt"}, payload, as_secret))


# The login


def test_the_moment_of_the_login_is_now() -> None:
    """RFC 9068 §2.2.1, in whole seconds."""
    assert claims_of(issuer(now=lambda: NOW + 0.9).issue("alice"))["auth_time"] == NOW


def test_a_login_of_before_may_be_told_with_how_it_was_done() -> None:
    """For step-up (RFC 9470), as where another application has logged the user in."""
    told: dict[str, Any] = {
        "auth_time": NOW - 60,
        "acr": "urn:x:2",
        "amr": ["pwd", "otp"],
    }
    made, auth = own()
    token = auth.authenticate(made.issue("alice", **told).access_token)
    assert {name: claims_of(made.issue("a", **told))[name] for name in told} == told
    assert token["auth_time"] == NOW - 60
    assert token["iat"] == NOW


# Without a store


def test_without_a_store_nothing_is_told_of_refresh_tokens() -> None:
    made = issuer(reuse_leeway=10)
    pair = made.issue("alice")
    assert pair.refresh_token is None
    assert pair.refresh_expires_in is None
    assert made.reuse_leeway == 0
