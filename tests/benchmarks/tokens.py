"""Keys, good tokens and bad ones, the same for every contender."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from jwt_middleware import Authenticator, Key, StaticKeys, TrustedIssuer

ISSUER, AUDIENCE = "https://issuer.example", "https://api.example"
LIFETIME_S = 36_000
RSA_BITS = 2048
DIGESTS = {"ES256": hashes.SHA256(), "ES384": hashes.SHA384()}


class Signer:
    """Who signs with one algorithm, and what is known of its key.

    Ed25519 is named "EdDSA" in the tokens, since not all contenders know its newer
    name (RFC 9864).
    """

    def __init__(self, key: Key) -> None:
        self.name, self.key = key.algorithm, key
        self.header_name = "EdDSA" if self.name == "Ed25519" else self.name
        self._now = int(time.time())
        self._distinct: list[str] = []

    @cached_property
    def jwk(self) -> Mapping[str, Any]:
        """What verifies, without "alg", "use" and "key_ops"."""
        is_secret = self.name.startswith("HS")
        jwk = (self.key if is_secret else self.key.public).to_jwk(private=is_secret)
        return {n: v for n, v in jwk.items() if n not in ("alg", "use", "key_ops")}

    @cached_property
    def prepared(self) -> Any:
        """What verifies, as an object of cryptography, or the octets of a secret."""
        return jwt.PyJWK(dict(self.jwk), algorithm=self.header_name).key

    @property
    def verifying_key(self) -> Key:
        return self.key if self.name.startswith("HS") else self.key.public

    def authenticator(self, **options: Any) -> Authenticator:
        """Ours, as by default; with an empty cache."""
        keys = StaticKeys(self.verifying_key)
        return Authenticator(
            TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys), **options
        )

    def mint(self, number: int, *, expires_in: int = LIFETIME_S) -> str:
        """Always the same for a number, unless its signatures are made by chance."""
        now = self._now
        claims = {
            "iss": ISSUER,
            "sub": f"user-{number}",
            "aud": AUDIENCE,
            "exp": now + expires_in,
            "iat": now - 60,
            "nbf": now - 60,
            "jti": f"{number:032x}",
            "sid": f"{number:016x}",
            "client_id": "web-client",
            "scope": "items:read items:write profile",
            "email": f"user-{number}@mail.example",
            "roles": ["editor", "reviewer"],
        }
        return self._signed(claims, self.key.sign)

    def distinct(self, count: int) -> Sequence[str]:
        """So many tokens; they are made once."""
        known = len(self._distinct)
        self._distinct += [self.mint(number) for number in range(known, count)]
        return self._distinct[:count]

    def expired(self) -> str:
        return self.mint(0, expires_in=-600)

    def forged(self) -> str:
        """A good token, with the signature of another."""
        good, other = self.distinct(2)
        return f"{good.rpartition('.')[0]}.{other.rpartition('.')[2]}"

    def garbage(self, length: int) -> str:
        """So many characters in the shape of a token, whose signature is made up."""
        size = len(self.key.sign(b""))

        def made_up(signing_input: bytes) -> bytes:
            return hashlib.shake_256(signing_input).digest(size)

        claims = {"iss": ISSUER, "aud": AUDIENCE, "pad": ""}
        missing = length - len(self._signed(claims, made_up))
        return self._signed({**claims, "pad": "x" * (3 * missing // 4)}, made_up)

    def _signed(self, claims: object, sign: Callable[[bytes], bytes]) -> str:
        header = {"alg": self.header_name, "kid": self.key.kid, "typ": "at+jwt"}
        parts = (json.dumps(part).encode() for part in (header, claims))
        signing_input = b".".join(encoded(part) for part in parts)
        return b".".join((signing_input, encoded(sign(signing_input)))).decode()


@cache
def signer_of(algorithm: str) -> Signer:
    """One for all parts, so that its tokens are made once."""
    return Signer(_rsa_key() if algorithm == "RS256" else Key.generate(algorithm))


def raw_check(signer: Signer) -> Callable[[], object]:
    """The signature check alone: all else is prepared."""
    signing_input, _, segment = signer.distinct(1)[0].encode().rpartition(b".")
    signature, key = base64.urlsafe_b64decode(segment + b"=="), signer.prepared
    if signer.name == "HS256":
        return lambda: hmac.compare_digest(
            hmac.digest(key, signing_input, "sha256"), signature
        )
    if signer.name == "RS256":
        pad, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda: key.verify(signature, signing_input, pad, digest)
    if signer.name == "Ed25519":
        return lambda: key.verify(signature, signing_input)
    half, method = len(signature) // 2, ec.ECDSA(DIGESTS[signer.name])
    numbers = (signature[:half], signature[half:])
    der = utils.encode_dss_signature(*(int.from_bytes(n, "big") for n in numbers))
    return lambda: key.verify(der, signing_input, method)


def encoded(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def _rsa_key() -> Key:
    """Of the size that most issuers have; `Key.generate` makes a longer one."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Key.from_pem(pem, "RS256")
