"""What a JSON Web Key says of itself, before any cryptography looks at it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jwt_middleware.jwk import (
    ALGORITHMS,
    NAMES,
    PRIVATE_MEMBERS,
    NotForSignatures,
    algorithm_of,
    ensure_complete,
    ensure_for_signatures,
    thumbprint,
)

RFC7638_RSA = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuh"
    "DR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h"
    "4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOp"
    "bISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur"
    "-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
}
RFC9449_EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
    "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
}
RFC8037_OKP = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
OCT = {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko"}
AKP = {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}


# Which algorithm: one, and never the token's choice


@pytest.mark.parametrize(
    ("kty", "crv", "name"),
    [
        ("oct", None, "HS256"),
        ("RSA", None, "RS256"),
        ("EC", "P-256", "ES256"),
        ("EC", "P-384", "ES384"),
        ("EC", "P-521", "ES512"),
        ("OKP", "Ed25519", "Ed25519"),
        ("OKP", "Ed448", "Ed448"),
    ],
)
def test_a_key_without_alg_takes_the_first_of_its_kind(
    kty: str, crv: str | None, name: str
) -> None:
    assert algorithm_of({"kty": kty, "crv": crv}) == name


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ALGORITHMS for name in ALGORITHMS[kind]]
)
def test_its_own_alg_decides(kind: tuple[str, str | None], name: str) -> None:
    """Whatever we would prefer."""
    kty, crv = kind
    assert algorithm_of({"kty": kty, "crv": crv, "alg": name}) == name
    assert algorithm_of({"kty": kty, "crv": crv, "alg": name}, ["RS512"]) == name


def test_no_kind_of_key_shares_an_algorithm_with_another_but_eddsa() -> None:
    shared = [
        name
        for name in NAMES
        if len([kind for kind in ALGORITHMS if name in ALGORITHMS[kind]]) > 1
    ]
    assert shared == ["EdDSA"]
    assert "none" not in NAMES


def test_without_alg_the_first_that_we_prefer_and_it_can_do_is_taken() -> None:
    preferred = iter(("ES256", "PS512", "RS256"))
    assert algorithm_of({"kty": "RSA"}, preferred) == "PS512"


@pytest.mark.parametrize("alg", ["EdDSA", "Ed448"])
def test_ed448_is_meant_by_its_name_and_by_the_legacy_one(alg: str) -> None:
    assert algorithm_of({"kty": "OKP", "crv": "Ed448"}, [alg]) == alg


@pytest.mark.parametrize(
    ("jwk", "preferred"),
    [
        ({}, ()),
        ({"kty": "XYZ"}, ()),
        ({"kty": ["RSA"]}, ()),
        ({"kty": {}}, ()),
        ({"kty": "rsa"}, ()),
        ({"kty": "EC"}, ()),
        ({"kty": "EC", "crv": "secp256k1"}, ()),
        ({"kty": "EC", "crv": ["P-256"]}, ()),
        ({"kty": "EC", "crv": "Ed25519"}, ()),
        ({"kty": "OKP", "crv": "X25519"}, ()),
        ({"kty": "OKP", "crv": "P-256"}, ()),
        ({"kty": "RSA", "alg": "none"}, ()),
        ({"kty": "RSA", "alg": "RSA-OAEP"}, ()),
        ({"kty": "RSA", "alg": "HS256"}, ()),
        ({"kty": "RSA", "alg": ["RS256"]}, ()),
        ({"kty": "RSA", "alg": ""}, ()),
        ({"kty": "oct", "alg": "RS256"}, ()),
        ({"kty": "EC", "crv": "P-256", "alg": "ES384"}, ()),
        ({"kty": "EC", "crv": "P-256", "alg": "ES256K"}, ()),
        ({"kty": "OKP", "crv": "Ed25519", "alg": "Ed448"}, ()),
        ({"kty": "OKP", "crv": "Ed448", "alg": "Ed25519"}, ()),
        ({"kty": "OKP", "crv": "Ed448"}, ("Ed25519",)),
        ({"kty": "AKP", "alg": "ML-DSA-99"}, ()),
        ({"kty": "RSA"}, ("HS256", "ES256")),
        ({"kty": "oct"}, ("RS256",)),
    ],
    ids=str,
)
def test_a_key_that_fits_no_algorithm_is_not_for_us(
    jwk: dict[str, Any], preferred: tuple[str, ...]
) -> None:
    with pytest.raises(NotForSignatures, match="of a kind that no signature here uses"):
        algorithm_of(jwk, preferred)


@pytest.mark.parametrize("preferred", [(), ("ML-DSA-44",), ("ML-DSA-87",)])
def test_an_akp_key_has_to_name_its_algorithm(preferred: tuple[str, ...]) -> None:
    """RFC 9964 §3: ``alg`` is required, since the octets do not say."""
    with pytest.raises(NotForSignatures, match="of a kind that no signature here uses"):
        algorithm_of({"kty": "AKP", "pub": "AAAA"}, preferred)


# What for


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"use": "sig"},
        {"use": None, "key_ops": None},  # written by who does not leave out
        {"key_ops": ["verify"]},
        {"key_ops": ["sign"]},
        {"key_ops": ["encrypt", "verify", 7]},
        {"use": "sig", "key_ops": ["sign", "verify"]},
    ],
    ids=str,
)
def test_a_key_for_signatures_may_say_so(jwk: dict[str, Any]) -> None:
    ensure_for_signatures(jwk)


@pytest.mark.parametrize(
    ("jwk", "message"),
    [
        ({"use": "enc"}, 'its use is not "sig"'),
        ({"use": "SIG"}, 'its use is not "sig"'),
        ({"use": ["sig"]}, 'its use is not "sig"'),
        ({"use": "enc", "key_ops": ["verify"]}, 'its use is not "sig"'),
        ({"key_ops": "verify"}, 'its use is not "sig"'),
        ({"key_ops": {"verify": True}}, 'its use is not "sig"'),
        ({"key_ops": []}, "neither sign nor verify"),
        ({"key_ops": ["encrypt", "wrapKey"]}, "neither sign nor verify"),
        ({"key_ops": [["verify"]]}, "neither sign nor verify"),
        ({"use": "sig", "key_ops": ["deriveKey"]}, "neither sign nor verify"),
    ],
    ids=str,
)
def test_a_key_for_something_else_is_not_for_us(
    jwk: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotForSignatures, match=re.escape(message)):
        ensure_for_signatures(jwk)


# Complete, and strictly written


@pytest.mark.parametrize("jwk", [RFC7638_RSA, RFC9449_EC, RFC8037_OKP, OCT, AKP])
def test_a_whole_key_is_complete(jwk: dict[str, Any]) -> None:
    ensure_complete(jwk)


@pytest.mark.parametrize("value", [None, 7, [], "A", "AB", "a b", "é", "AA==", "+/+/"])
@pytest.mark.parametrize(
    ("jwk", "name"),
    [
        (RFC7638_RSA, "n"),
        (RFC7638_RSA, "e"),
        (RFC9449_EC, "x"),
        (RFC9449_EC, "y"),
        (RFC8037_OKP, "x"),
        (OCT, "k"),
        (AKP, "pub"),
    ],
)
def test_each_member_is_there_and_strict_base64url(
    jwk: dict[str, Any], name: str, value: object
) -> None:
    left_out = {n: v for n, v in jwk.items() if n != name}
    for damaged in (left_out, {**jwk, name: value}):
        with pytest.raises(ValueError, match=f"JWK's {name} is missing or not base64"):
            ensure_complete(damaged)


@pytest.mark.parametrize("name", sorted(PRIVATE_MEMBERS - {"oth"}))
def test_a_private_member_is_strict_too_and_is_not_quoted(name: str) -> None:
    with pytest.raises(ValueError, match=f"JWK's {name} is") as refusal:
        ensure_complete({**RFC7638_RSA, name: "hunter2=="})
    assert "hunter2" not in f"{refusal.value!r}"


# Thumbprints


@pytest.mark.parametrize(
    ("jwk", "expected"),
    [
        (RFC7638_RSA, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (RFC9449_EC, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        (RFC8037_OKP, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ],
    ids=["RFC 7638 §3.1", "RFC 9449", "RFC 8037 A.3"],
)
def test_thumbprints_are_those_of_the_standards(
    jwk: dict[str, str], expected: str
) -> None:
    assert thumbprint(jwk) == expected


@pytest.mark.parametrize("jwk", [RFC7638_RSA, RFC9449_EC, RFC8037_OKP, OCT])
def test_only_the_required_members_count_in_any_order(jwk: dict[str, str]) -> None:
    dressed = {"use": "sig", "kid": "k", "alg": "X", "d": "AAAA", **jwk}
    backwards = dict(reversed(dressed.items()))
    assert thumbprint(dressed) == thumbprint(backwards) == thumbprint(jwk)


def test_the_thumbprint_of_an_akp_key_includes_its_algorithm() -> None:
    """RFC 9964 §6."""
    assert thumbprint(AKP) != thumbprint({**AKP, "alg": "ML-DSA-65"})
    assert thumbprint({**AKP, "priv": "AAAA", "kid": "k"}) == thumbprint(AKP)
