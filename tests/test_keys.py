"""Keys that are known from the start: what a set may hold, and what it finds."""

from __future__ import annotations

from typing import Any

import pytest

from jwt_middleware import Key, StaticKeys
from jwt_middleware.bridge import run
from jwt_middleware.compact import base64url_encode
from jwt_middleware.jwk import PRIVATE_MEMBERS

A, B = (Key.generate("ES256", kid=kid) for kid in "AB")
EDWARDS = Key.generate("Ed25519", kid="E")
SECRET = Key.generate("HS256", kid="S")


def jwks(*members: object) -> dict[str, Any]:
    return {"keys": list(members)}


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def names_of(keys: StaticKeys) -> list[str]:
    return [key.kid for key in keys.keys]


# Keys one by one


def test_all_keys_are_offered_whatever_the_header_says() -> None:
    """`TrustedIssuer` chooses among them."""
    keys = StaticKeys(A, B, EDWARDS)
    for header in ({}, {"alg": "ES256", "kid": "B"}, {"alg": "none"}):
        assert [key.kid for key in run(keys.resolve(header))] == ["A", "B", "E"]


def test_only_the_public_halves_are_kept() -> None:
    """Whoever reads the memory of a verifier cannot sign."""
    assert not any(key.can_sign for key in StaticKeys(A, EDWARDS).keys)


def test_a_repr_names_algorithms_only() -> None:
    assert repr(StaticKeys(A, SECRET)) == "<StaticKeys ES256 HS256>"


def test_no_key_is_no_source() -> None:
    with pytest.raises(ValueError, match=r"no key .* give at least one"):
        StaticKeys()


@pytest.mark.parametrize("key", ["-----BEGIN PUBLIC KEY-----", b"x", {}, None, [A]])
def test_what_is_no_key_is_told_how_to_become_one(key: Any) -> None:
    told = f"{type(key).__name__} is no Key; write Key.from_pem, Key.from_jwk or Key"
    with pytest.raises(ValueError, match=told):
        StaticKeys(A, key)


def test_a_name_means_one_key_of_an_algorithm() -> None:
    with pytest.raises(ValueError, match="two keys are called 'A'; a kid names one"):
        StaticKeys(A, B, Key.generate("ES256", kid="A"))
    with pytest.raises(ValueError, match="two keys are called"):
        StaticKeys(A, A)


def test_the_same_key_twice_is_one_too_many_without_a_name_too() -> None:
    key = Key.generate("ES256")
    with pytest.raises(ValueError, match="two keys are called"):
        StaticKeys(key, key.public)


def test_two_algorithms_may_share_a_name() -> None:
    keys = StaticKeys(A, Key.generate("Ed25519", kid="A"))
    assert names_of(keys) == ["A", "A"]


def test_eddsa_and_ed25519_are_one_algorithm_here() -> None:
    legacy = Key.generate("EdDSA", kid="E")
    with pytest.raises(ValueError, match="two keys are called 'E'"):
        StaticKeys(EDWARDS, legacy)


# A JWK Set


def test_a_set_is_read() -> None:
    keys = StaticKeys.from_jwks(jwks(A.public.to_jwk(), EDWARDS.public.to_jwk()))
    assert names_of(keys) == ["A", "E"]
    assert keys.keys[0].verify(b"x", A.sign(b"x"))


@pytest.mark.parametrize(
    "passed_over",
    [
        {"kty": "XYZ"},
        {},
        {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
        {"kty": "RSA", "alg": "RSA-OAEP", "n": "AAAA", "e": "AQAB"},
        {"kty": "oct", "alg": "A256GCM", "k": "AAAA"},
        {"kty": "AKP", "alg": "SLH-DSA-SHA2-128s", "pub": "AAAA"},
        {"kty": "AKP", "pub": "AAAA"},  # RFC 9964 §3: without alg it is nothing
        *(
            pytest.param({**B.public.to_jwk(), **other}, id=str(other))
            for other in (
                {"use": "enc"},
                {"alg": "ECDH-ES"},
                {"key_ops": ["deriveKey"]},
                {"alg": ["ES256"]},
            )
        ),
    ],
    ids=str,
)
def test_keys_for_other_uses_and_of_other_kinds_are_passed_over(
    passed_over: dict[str, Any],
) -> None:
    """RFC 7517 §5: a set may hold what we do not know."""
    keys = StaticKeys.from_jwks(jwks(passed_over, A.public.to_jwk()))
    assert names_of(keys) == ["A"]
    with pytest.raises(ValueError, match="no key that verifies signatures"):
        StaticKeys.from_jwks(jwks(passed_over))


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (without(B.public.to_jwk(), "x"), "the JWK's x is missing"),
        ({**B.public.to_jwk(), "y": "AA=="}, "the JWK's y is missing or not base64url"),
        ({**B.public.to_jwk(), "y": "AAAA"}, "not a sound key"),
        ({**B.public.to_jwk(), "kid": 7}, "kid must be a string"),
        ({**EDWARDS.public.to_jwk(), "x": base64url_encode(bytes(32))}, "small order"),
        (
            {"kty": "RSA", "n": base64url_encode(b"\xff" * 128), "e": "AQAB"},
            "1024 bits",
        ),
        ({"kty": "oct", "k": base64url_encode(b"\x8f" * 31)}, "needs a secret of 32"),
        ({**B.public.to_jwk(), "kid": "A"}, "two keys are called 'A'"),
        ("a string", "a member of the JWK Set is no object"),
        (None, "a member of the JWK Set is no object"),
        ([], "a member of the JWK Set is no object"),
    ],
)
def test_a_damaged_or_weak_key_is_told_of(damaged: object, message: str) -> None:
    """What we were given by hand should be right; nothing is dropped in silence."""
    with pytest.raises(ValueError, match=message):
        StaticKeys.from_jwks(jwks(A.public.to_jwk(), damaged))


@pytest.mark.parametrize("member", sorted(PRIVATE_MEMBERS))
def test_a_set_holds_no_private_key(member: str) -> None:
    """Also where the key is passed over, and whatever stands there."""
    for jwk in (B.public.to_jwk(), {"kty": "XYZ"}):
        told = f"has the private member '{member}'; keep it where tokens are signed"
        with pytest.raises(ValueError, match=told) as refusal:
            StaticKeys.from_jwks(jwks(A.public.to_jwk(), {**jwk, member: "hunter2"}))
        assert "hunter2" not in f"{refusal.value!r}"


def test_a_set_may_hold_a_secret() -> None:
    """It is nothing to publish, but to verify with."""
    keys = StaticKeys.from_jwks(jwks(SECRET.to_jwk(private=True)))
    assert keys.keys[0].verify(b"x", SECRET.sign(b"x"))


@pytest.mark.parametrize(
    "value", [{}, {"keys": None}, {"keys": {}}, {"keys": "A"}, '{"keys":[]}', [], None]
)
def test_a_set_is_an_object_with_a_list(value: Any) -> None:
    with pytest.raises(ValueError, match='a JWK Set is an object with a list "keys"'):
        StaticKeys.from_jwks(value)
    with pytest.raises(ValueError, match='a JWK Set is an object with a list "keys"'):
        StaticKeys.from_jwks(A.public.to_jwk())  # a key, not a set


def test_an_empty_set_is_no_source() -> None:
    with pytest.raises(ValueError, match="give at least one"):
        StaticKeys.from_jwks(jwks())


def test_a_key_without_alg_takes_the_first_that_we_name_and_it_can_do() -> None:
    bare = without(EDWARDS.public.to_jwk(), "alg")
    rsa = {"kty": "RSA", "n": base64url_encode(b"\xff" * 256), "e": "AQAB"}
    keys = StaticKeys.from_jwks(jwks(bare, rsa), ["PS256", "EdDSA", "RS256"])
    assert [key.algorithm for key in keys.keys] == ["EdDSA", "PS256"]
    keys = StaticKeys.from_jwks(jwks(bare, rsa))
    assert [key.algorithm for key in keys.keys] == ["Ed25519", "RS256"]


def test_a_key_that_can_do_none_of_those_that_we_name_is_passed_over() -> None:
    bare = without(B.public.to_jwk(), "alg")
    keys = StaticKeys.from_jwks(jwks(bare, EDWARDS.public.to_jwk()), ["Ed25519"])
    assert names_of(keys) == ["E"]
