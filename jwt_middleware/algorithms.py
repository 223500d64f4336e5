"""The signature algorithms (RFC 7518, 8037, 9864, 9964), and their sound keys.

With `signatures` the one room that imports cryptography, and alone PyJWT: when the
first key is made, not before.  What they raise ends here, and so does what they say,
since it may quote a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, Protocol

from .compact import base64url_decode, base64url_encode
from .jwk import NAMES, NotForSignatures
from .key_material import ensure_no_key_material
from .pem import ensure_kind, read_pem
from .strength import ensure_strong

NEW_RSA_BITS = 3072


class Signer(Protocol):
    """What we ask of a library: the shape of PyJWT's algorithm objects."""

    def prepare_key(self, key: Any) -> Any: ...
    def from_jwk(self, jwk: Any) -> Any: ...
    @property
    def to_jwk(self) -> Callable[..., Any]: ...
    def sign(self, msg: bytes, key: Any) -> bytes: ...


class Algorithm(NamedTuple):
    """One algorithm: how its keys are read, made and used."""

    name: str
    signer: Signer
    create: Callable[[], Any]

    def load_jwk(self, jwk: Mapping[str, Any]) -> Any:
        """Read a key from a JWK whose members are complete.  Raise ValueError."""
        return self.accept(_quietly(self.signer.from_jwk, dict(jwk)))

    def load_pem(self, data: bytes) -> Any:
        """Read a key from PEM, of a certificate its public one.  Raise ValueError."""
        return self.accept(read_pem(data))

    def accept(self, material: Any) -> Any:
        """Return *material* where it is a sound key of this algorithm.

        Raise ValueError where it is of another kind, weak, or a public key given
        as an HMAC secret.
        """
        if isinstance(material, bytes):
            ensure_no_key_material(material)
        else:
            ensure_kind(self.name, material)
        material = _quietly(self.signer.prepare_key, material)
        ensure_strong(self.name, public_half(material))
        return material

    def dump_jwk(self, material: Any) -> dict[str, Any]:
        """Write the key as a JWK, its private members included."""
        jwk: dict[str, Any] = self.signer.to_jwk(material, as_dict=True)
        return {name: jwk[name] for name in jwk if name != "key_ops"}

    def names(self, public: Any) -> frozenset[str]:
        """Return the values of ``alg`` that mean this algorithm with the key *public*.

        ``EdDSA`` is the legacy name of two of them (RFC 9864 §2.2).
        """
        if self.name in ("Ed25519", "Ed448"):
            return frozenset({self.name, "EdDSA"})
        if self.name == "EdDSA":
            return frozenset({self.name, self.dump_jwk(public)["crv"]})
        return frozenset({self.name})

    def sign(self, octets: bytes, material: Any) -> bytes:
        return self.signer.sign(octets, material)


def algorithm_named(name: str) -> Algorithm:
    """Return the algorithm called *name*.

    Raise ValueError where there is none; NotForSignatures, which is one, where only
    the library that is installed lacks it.
    """
    if isinstance(name, str) and name in NAMES:
        return _made(name)
    found = f"a {type(name).__name__}" if name is not None else "None"
    for known in sorted(NAMES):
        if isinstance(name, str) and name.lower() == known.lower():
            found = f"{known} in another letter case"
    # Not shown: arguments in the wrong order would put a secret here.
    raise ValueError(
        f"the algorithm is {found}, expected the name of one; write algorithm='ES256', "
        f"or another of {', '.join(sorted(NAMES))}"
    )


@cache
def usable_names() -> frozenset[str]:
    """The algorithms that the installed libraries can do."""
    return frozenset(_common()) | frozenset(_lattice())


@cache
def _made(name: str) -> Algorithm:
    found = {**_common(), **_lattice()}.get(name)
    if found is None:
        raise NotForSignatures(f"{name} needs cryptography 48 or later")
    return Algorithm(name, *found)


def public_half(material: Any) -> Any:
    """What verifies: the public key, or the secret itself."""
    return material.public_key() if hasattr(material, "public_key") else material


def _quietly(call: Callable[[Any], Any], argument: Any) -> Any:
    """Make a call whose every exception means that the key is not good."""
    try:
        return call(argument)
    except Exception as error:
        # Only the kind of error: PyJWT's texts quote the whole JWK.
        raise ValueError(
            f"not a sound key for this algorithm ({type(error).__name__})"
        ) from None


Made = tuple[Signer, Callable[[], Any]]


def _common() -> dict[str, Made]:
    """HMAC, RSA, ECDSA and EdDSA, by PyJWT."""
    from secrets import token_bytes

    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from jwt.algorithms import (
        ECAlgorithm,
        HMACAlgorithm,
        OKPAlgorithm,
        RSAAlgorithm,
        RSAPSSAlgorithm,
    )

    def new_rsa() -> Any:
        return rsa.generate_private_key(65537, NEW_RSA_BITS)

    def new_ec(curve: type[ec.EllipticCurve]) -> Callable[[], Any]:
        return lambda: ec.generate_private_key(curve())

    def new_edwards() -> Any:
        return ed25519.Ed25519PrivateKey.generate()

    p256, p384, p521 = ec.SECP256R1, ec.SECP384R1, ec.SECP521R1
    return {
        "HS256": (HMACAlgorithm(HMACAlgorithm.SHA256), lambda: token_bytes(32)),
        "HS384": (HMACAlgorithm(HMACAlgorithm.SHA384), lambda: token_bytes(48)),
        "HS512": (HMACAlgorithm(HMACAlgorithm.SHA512), lambda: token_bytes(64)),
        "RS256": (RSAAlgorithm(RSAAlgorithm.SHA256), new_rsa),
        "RS384": (RSAAlgorithm(RSAAlgorithm.SHA384), new_rsa),
        "RS512": (RSAAlgorithm(RSAAlgorithm.SHA512), new_rsa),
        "PS256": (RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256), new_rsa),
        "PS384": (RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384), new_rsa),
        "PS512": (RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512), new_rsa),
        "ES256": (ECAlgorithm(ECAlgorithm.SHA256, p256), new_ec(p256)),
        "ES384": (ECAlgorithm(ECAlgorithm.SHA384, p384), new_ec(p384)),
        "ES512": (ECAlgorithm(ECAlgorithm.SHA512, p521), new_ec(p521)),
        "Ed25519": (OKPAlgorithm(), new_edwards),
        "Ed448": (OKPAlgorithm(), ed448.Ed448PrivateKey.generate),
        "EdDSA": (OKPAlgorithm(), new_edwards),
    }


def _lattice() -> dict[str, Made]:
    """ML-DSA, which cryptography has since 48 and PyJWT has not."""
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa as lib
    except ImportError:
        return {}
    pairs: dict[str, tuple[Any, Any]] = {
        "ML-DSA-44": (lib.MLDSA44PublicKey, lib.MLDSA44PrivateKey),
        "ML-DSA-65": (lib.MLDSA65PublicKey, lib.MLDSA65PrivateKey),
        "ML-DSA-87": (lib.MLDSA87PublicKey, lib.MLDSA87PrivateKey),
    }
    return {
        name: (_Lattice(name, public, private), private.generate)
        for name, (public, private) in pairs.items()
    }


class _Lattice(NamedTuple):
    """ML-DSA by cryptography, in the shape of PyJWT's algorithm objects (RFC 9964)."""

    name: str
    public: Any
    private: Any

    def prepare_key(self, key: Any) -> Any:
        if not isinstance(key, (self.public, self.private)):
            raise TypeError(f"not a key for {self.name}")
        return key

    def from_jwk(self, jwk: Mapping[str, Any]) -> Any:
        public = self.public.from_public_bytes(_octets(jwk, "pub"))
        if "priv" not in jwk:
            return public
        private = self.private.from_seed_bytes(_octets(jwk, "priv"))
        if private.public_key() != public:
            raise ValueError("pub does not belong to priv")
        return private

    def to_jwk(self, key: Any, as_dict: Any = True) -> dict[str, Any]:
        octets = public_half(key).public_bytes_raw()
        jwk = {"kty": "AKP", "alg": self.name, "pub": base64url_encode(octets)}
        if isinstance(key, self.private):
            jwk["priv"] = base64url_encode(key.private_bytes_raw())
        return jwk

    def sign(self, msg: bytes, key: Any) -> bytes:
        signature: bytes = key.sign(msg)
        return signature


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    return base64url_decode(jwk[name].encode())
