"""The JOSE vectors of Project Wycheproof, read where they lie.

They are not part of this repository.  ``WYCHEPROOF_DIR`` names their directory;
else they are looked for in ``../shared/vectors/wycheproof``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import AuthError, Key, StaticKeys
from jwt_middleware.jose import verify_compact

from .conftest import SIGNING_KEY, authenticator, trusted
from .doors import Door

ROOT = Path(__file__).parent.parent
BESIDE = ROOT.parent / "shared" / "vectors" / "wycheproof"
DIRECTORY = Path(os.environ.get("WYCHEPROOF_DIR") or BESIDE)
if not DIRECTORY.is_dir():
    pytest.skip(
        f"no Wycheproof vectors in {DIRECTORY}; name their directory in WYCHEPROOF_DIR",
        allow_module_level=True,
    )

FILES = {
    # in ids: the file
    "signature": "json_web_signature_test.json",
    "crypto": "json_web_crypto_test.json",
    "key": "json_web_key_test.json",
    "encryption": "json_web_encryption_test.json",
}

ERRORS = {
    # id: what is wrong with the vector
    "signature-346": "the token says PS384, the key is for PS256: not valid",
    "signature-350": "the token says PS384, the key is for PS256: not valid",
    "signature-367": "the same text as 357, which is valid",
    "signature-370": "the same text as 357, which is valid",
    "signature-372": "there is a '?' in the header, and base64url has none: not valid",
    "signature-373": "there is a '?' in the payload, and base64url has none: not valid",
}
ROCA = "a sound signature; whether a flawed chip (ROCA) made the key is not looked at"
MIXED = "a configured set may have secrets and public keys: each has one algorithm"
DECISIONS = {
    # id: why we answer otherwise, though the vector is no error
    "crypto-46": ROCA,
    "key-7": ROCA,
    "crypto-47": MIXED,
    "key-1": MIXED,
}
DEVIATIONS = ERRORS | DECISIONS

MISSPELT = {"ES521": "ES512"}
"""By the ``alg`` of two vectors' keys, what is meant."""


@dataclass(frozen=True)
class Vector:
    """A token, and the keys that it is presented to."""

    id: str
    text: str
    jwks: Sequence[Mapping[str, Any]]
    is_valid: bool
    is_encrypted: bool

    def __str__(self) -> str:
        return self.id


def read_vectors(name: str) -> Iterator[Vector]:
    for group in json.loads((DIRECTORY / FILES[name]).read_text())["testGroups"]:
        jwk = group.get("public") or group["private"]
        for test in group["tests"]:
            shown = test["jwe"] if "jwe" in test else test["jws"]
            yield Vector(
                f"{name}-{test['tcId']}",
                shown if isinstance(shown, str) else json.dumps(shown),
                jwk.get("keys", [jwk]) if isinstance(jwk, dict) else jwk,
                is_valid=test["result"] == "valid",
                is_encrypted="jwe" in test,
            )


VECTORS = [vector for name in FILES for vector in read_vectors(name)]
SIGNED = [vector for vector in VECTORS if not vector.is_encrypted]
ENCRYPTED = [vector for vector in VECTORS if vector.is_encrypted]
REFUSED = [
    vector
    for vector in VECTORS
    if vector.is_encrypted or not vector.is_valid or vector.id in DEVIATIONS
]


@pytest.mark.parametrize("vector", SIGNED, ids=str)
def test_a_signature_verifies_where_the_vector_says_so(vector: Vector) -> None:
    """An invalid one is refused with its key, or by it; deviations have a reason."""
    is_good = vector.is_valid
    if vector.id in DEVIATIONS:
        assert is_verified(vector) != is_good, "it is as the vector says after all"
    else:
        assert is_verified(vector) == is_good


@pytest.mark.parametrize("vector", ENCRYPTED, ids=str)
def test_an_encrypted_token_is_refused_with_its_key(vector: Vector) -> None:
    """The key is none for signatures, and with any key a JWE is no JWS."""
    with pytest.raises(ValueError, match="no signature here uses"):
        read_keys(vector.jwks)
    with pytest.raises(AuthError):
        verify_compact(vector.text, relabelled(vector.jwks))


@pytest.mark.parametrize("vector", REFUSED, ids=str)
def test_the_middleware_refuses(vector: Vector, door: Door) -> None:
    """Also what has a good signature: its payload is no set of claims."""
    closed = door.behind(authenticator(trusted(keys=keys_to_be_tried(vector))))
    answer = closed.get(headers=[("Authorization", f"Bearer {vector.text}")])
    assert not answer.entered
    assert answer.status in (400, 401)
    assert answer.challenge is not None
    assert answer.challenge.startswith('Bearer realm="api"')


def test_two_keys_of_one_name_are_refused() -> None:
    """In key-4, whose second secret also has stray bits: here they are mended."""
    (vector,) = (vector for vector in SIGNED if vector.id == "key-4")
    first, second = vector.jwks
    mended = {**second, "k": f"{second['k'][:-1]}c"}
    assert read_keys([first])
    assert read_keys([mended])
    with pytest.raises(ValueError, match="two keys are called 'kid-aes-sign'"):
        read_keys([first, mended])


def test_every_vector_of_every_file_is_run() -> None:
    for name, file in FILES.items():
        told = json.loads((DIRECTORY / file).read_text())["numberOfTests"]
        assert sum(v.id.startswith(f"{name}-") for v in VECTORS) == told > 0
    assert DEVIATIONS.keys() <= {vector.id for vector in SIGNED}


def is_verified(vector: Vector) -> bool:
    try:
        verify_compact(vector.text, read_keys(vector.jwks))
    except (ValueError, AuthError):  # of the keys, of the token
        return False
    return True


def read_keys(jwks: Sequence[Mapping[str, Any]]) -> Sequence[Key]:
    """The verifying halves.  Raise ValueError for a set that is refused."""
    return StaticKeys(*(Key.from_jwk(with_known_alg(jwk)) for jwk in jwks)).keys


def with_known_alg(jwk: Mapping[str, Any]) -> Mapping[str, Any]:
    alg = jwk.get("alg")
    return {**jwk, "alg": MISSPELT[alg]} if alg in MISSPELT else jwk


def relabelled(jwks: Sequence[Mapping[str, Any]]) -> Sequence[Key]:
    """Keys for encryption passed off as keys for signatures, where they are sound."""
    unlabelled = [
        {name: jwk[name] for name in jwk if name not in ("alg", "use", "key_ops")}
        for jwk in jwks
    ]
    try:
        return read_keys(unlabelled)
    except ValueError:  # too short for a signature
        return (SIGNING_KEY.public,)


def keys_to_be_tried(vector: Vector) -> Sequence[Key]:
    try:
        return read_keys(vector.jwks)
    except ValueError:  # refused already
        return relabelled(vector.jwks)
