"""A JWK Set of somebody else: what is usable is used, and the rest costs nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jwt_middleware import Key
from jwt_middleware.compact import base64url_encode
from jwt_middleware.jwk import PRIVATE_MEMBERS
from jwt_middleware.jwks import MOST_KEYS, read_jwks

GOOD, OTHER = (Key.generate("ES256", kid=kid) for kid in ("good", "other"))
RSA = {"kty": "RSA", "n": base64url_encode(b"\xff" * 256), "e": "AQAB", "kid": "rsa"}
PUBLIC = OTHER.public.to_jwk()


def without(jwk: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name not in names}


def read(*members: object, algorithms: tuple[str, ...] = ()) -> list[str]:
    """What is left of a set, by name and algorithm."""
    keys = read_jwks({"keys": list(members)}, algorithms)
    return [f"{key.kid} {key.algorithm}" for key in keys]


def test_public_keys_are_read() -> None:
    assert read(GOOD.public.to_jwk(), PUBLIC) == ["good ES256", "other ES256"]
    (key,) = read_jwks({"keys": [PUBLIC]}, ())
    assert key.verify(b"x", OTHER.sign(b"x"))
    assert not key.can_sign


FAULTY: dict[str, object] = {
    "no object": "a string",
    "null": None,
    "a list": [],
    "incomplete": without(PUBLIC, "x"),
    "padded": {**PUBLIC, "y": "AA=="},
    "off the curve": {**PUBLIC, "y": base64url_encode(bytes(32))},
    "a kid that is no string": {**PUBLIC, "kid": 7},
    "a kid with a line break": {**PUBLIC, "kid": "a\nERROR forged line"},
    "a secret": {"kty": "oct", "k": base64url_encode(b"k" * 32), "kid": "other"},
    "a secret for HS256": {
        "kty": "oct",
        "k": base64url_encode(b"k" * 32),
        "kid": "other",
        "alg": "HS256",
    },
    "small order": {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64url_encode(bytes(32)),
        "kid": "other",
    },
    "1024 bits": {**RSA, "n": base64url_encode(b"\xff" * 128)},
    "65536 bits": {**RSA, "n": base64url_encode(b"\xff" * 8192)},
    "an even exponent": {**RSA, "e": "AQAA"},
    "an exponent of 3": {**RSA, "e": "Aw"},
    **{
        f"private: {name}": {**PUBLIC, name: base64url_encode(b"hunter2" * 4)}
        for name in sorted(PRIVATE_MEMBERS)
    },
}


@pytest.mark.parametrize("member", FAULTY.values(), ids=FAULTY)
def test_a_faulty_member_is_left_out_and_told_of(
    member: object, caplog: pytest.LogCaptureFixture
) -> None:
    """And what it holds is not, since some of it may be secret."""
    with caplog.at_level(logging.DEBUG, "jwt_middleware"):
        assert read(member, GOOD.public.to_jwk(), member) == ["good ES256"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "is left out: " in caplog.text
    assert len(caplog.text.splitlines()) == 2
    for secret in (b"k" * 32, b"hunter2" * 4):
        assert base64url_encode(secret)[:20] not in caplog.text


FOREIGN = {
    "an unknown type": {"kty": "XYZ"},
    "no type": {},
    "a curve of others": {"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"},
    "for agreement": {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
    "for encryption": {**PUBLIC, "use": "enc"},
    "alg of encryption": {**RSA, "alg": "RSA-OAEP"},
    "alg of another type": {**PUBLIC, "alg": "RS256"},
    "alg none": {**PUBLIC, "alg": "none"},
    "alg a list": {**PUBLIC, "alg": ["ES256"]},
    "key_ops of encryption": {**PUBLIC, "key_ops": ["deriveKey"]},
    "key_ops no list": {**PUBLIC, "key_ops": "verify"},
    "HMAC of an EC key": {**PUBLIC, "alg": "HS256"},
}


@pytest.mark.parametrize("member", FOREIGN.values(), ids=FOREIGN)
def test_what_is_not_for_us_is_passed_over_quietly(
    member: object, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 7517 §5: a set may hold what we do not know."""
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        assert read(member, GOOD.public.to_jwk()) == ["good ES256"]
    assert caplog.records == []


@pytest.mark.parametrize("members", [[], [PUBLIC | {"use": "enc"}], ["x", None]])
def test_a_set_without_a_usable_key_is_none(members: list[object]) -> None:
    with pytest.raises(ValueError, match="no key that verifies signatures"):
        read(*members)


@pytest.mark.parametrize("jwks", [{}, {"keys": None}, {"keys": {}}, {"keys": "x"}])
def test_a_set_has_a_list(jwks: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match='no list "keys"'):
        read_jwks(jwks, ())


def test_two_keys_of_one_name_are_both_kept() -> None:
    """Which one signed is not said, so both are tried."""
    twin = Key.generate("ES256", kid="good").public.to_jwk()
    assert read(GOOD.public.to_jwk(), twin) == ["good ES256"] * 2


def test_a_key_that_stands_twice_counts_once() -> None:
    """Else a careless set would be one of too many candidates."""
    assert read(*[GOOD.public.to_jwk()] * 6, PUBLIC) == ["good ES256", "other ES256"]


def test_a_key_without_alg_takes_the_first_that_is_preferred_and_it_can_do() -> None:
    bare = without(PUBLIC, "alg")
    assert read(RSA, bare) == ["rsa RS256", "other ES256"]
    preferred = ("PS256", "RS256", "ES256")
    assert read(RSA, bare, algorithms=preferred) == ["rsa PS256", "other ES256"]
    assert read(RSA, bare, algorithms=("PS256",)) == ["rsa PS256"]


def test_a_key_with_alg_keeps_it() -> None:
    named = {**RSA, "alg": "RS512"}
    assert read(named, algorithms=("PS256",)) == ["rsa RS512"]


def test_a_set_is_read_to_a_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Reading a key costs time, and a hostile set may have thousands."""
    crowd = [{**PUBLIC, "kid": str(index)} for index in range(MOST_KEYS + 1)]
    assert len(read(*crowd)) == MOST_KEYS
    assert f"a JWK Set has {MOST_KEYS + 1} keys; {MOST_KEYS} are read" in caplog.text
