"""What people give as a key, and what they are told; what is never a secret."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization import PrivateFormat as Private
from cryptography.hazmat.primitives.serialization import PublicFormat as Public
from hypothesis import assume, given
from hypothesis import strategies as st

from jwt_middleware import Key

from .certificates import Authority

OPEN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"password")
PKCS8, TRADITIONAL = Private.PKCS8, Private.TraditionalOpenSSL
P256 = ec.generate_private_key(ec.SECP256R1())
P384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()


def public(key: Any, encoding: Encoding = Encoding.PEM) -> bytes:
    octets: bytes = key.public_key().public_bytes(encoding, Public.SubjectPublicKeyInfo)
    return octets


def private(
    key: Any,
    encoding: Encoding = Encoding.PEM,
    form: Private = PKCS8,
    locked: Any = OPEN,
) -> bytes:
    octets: bytes = key.private_bytes(encoding, form, locked)
    return octets


def certificate(days: int = 1, encoding: Encoding = Encoding.PEM) -> bytes:
    made = Authority().certify(P256.public_key(), (), days)
    return made.public_bytes(encoding)


PEM = public(P256)
WORDS: dict[str, tuple[Any, Any, str]] = {
    "a path": ("/etc/keys/public.pem", "ES256", r"the path of a file.*read_bytes\(\)"),
    "a Path": (Path("/etc/key.pem"), "ES256", r"PosixPath.*write path\.read_bytes\(\)"),
    "nothing": ("", "ES256", "the text has no '-----BEGIN .* KEY-----'"),
    "None": (None, "ES256", "a NoneType, expected a string or bytes"),
    "escaped line breaks": (
        PEM.replace(b"\n", b"\\n"),
        "ES256",
        r"a backslash and an n.*write data\.replace",
    ),
    "a cut text": (PEM[:90], "ES256", "'-----END PUBLIC KEY-----' is missing"),
    "a damaged body": (PEM.replace(b"MF", b"AA"), "ES256", "PUBLIC KEY is damaged"),
    "a body alone": (b"".join(PEM.split(b"\n")[1:-2]), "ES256", "lines .* are missing"),
    "DER": (public(P256, Encoding.DER), "ES256", "it is DER.*openssl pkey -inform DER"),
    "UTF-16": (PEM.decode().encode("utf-16"), "ES256", "not UTF-8.*write it as UTF-8"),
    "UTF-16 without a mark": (PEM.decode().encode("utf-16-be"), "ES256", "not UTF-8"),
    "a JWK": (
        json.dumps(Key.generate().public.to_jwk()),
        "ES256",
        r"write Key\.from_jwk\(json\.loads\(data\)\)",
    ),
    "deep JSON": ("[" * 100_000, "ES256", "not a sound key: "),
    "a line of OpenSSH": (
        P256.public_key().public_bytes(Encoding.OpenSSH, Public.OpenSSH),
        "ES256",
        "public key of OpenSSH.*ssh-keygen -e -m PKCS8",
    ),
    "a key of OpenSSH": (
        private(P256, form=Private.OpenSSH),
        "ES256",
        "format of OpenSSH.*ssh-keygen -p -m PKCS8",
    ),
    "an encrypted key": (
        private(P256, locked=LOCKED),
        "ES256",
        "is encrypted, expected one that is not; write: openssl pkey",
    ),
    "an encrypted key of old": (
        private(P256, form=TRADITIONAL, locked=LOCKED),
        "ES256",
        "is encrypted",
    ),
    "a request": (
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----",
        "ES256",
        "a request for a certificate",
    ),
    "a key and a certificate": (
        private(P256) + certificate(),
        "ES256",
        "the text has PRIVATE KEY and CERTIFICATE, expected one key",
    ),
    "a key and an expired certificate": (
        PEM + certificate(-1),
        "ES256",
        "PUBLIC KEY and CERTIFICATE, expected one key, .*write the one block of",
    ),
    "two keys": (PEM + PEM, "ES256", "PUBLIC KEY and PUBLIC KEY, expected one key"),
    "an RSA key for ES256": (
        public(RSA),
        "ES256",
        "a key of RSA, and ES256 takes one of P-256; write algorithm='RS256'",
    ),
    "a P-384 key for ES256": (public(P384), "ES256", "P-384.*write algorithm='ES384'"),
    "an EC key for RS256": (private(P256), "RS256", "P-256.*write algorithm='ES256'"),
    "an Ed25519 key for ES256": (
        public(ED25519),
        "ES256",
        "of Ed25519.*write algorithm='Ed25519'",
    ),
    "an ES256 key for EdDSA": (PEM, "EdDSA", "one of Ed25519 or Ed448"),
    "secp256k1": (
        public(ec.generate_private_key(ec.SECP256K1())),
        "ES256",
        "a key of secp256k1.*write another key",
    ),
    "X25519": (public(x25519.X25519PrivateKey.generate()), "EdDSA", "a key of X25519"),
    "DSA": (public(dsa.generate_private_key(2048)), "RS256", "a key of DSA"),
    "no algorithm": (PEM, None, "the algorithm is None, .*write algorithm='ES256'"),
    "small letters": (PEM, "es256", "ES256 in another letter case"),
    "a misspelt algorithm": (PEM, "ES255", "is a str, expected the name of one"),
    "several algorithms": (PEM, ["ES256"], "is a list, expected the name of one"),
    "HMAC": (PEM, "HS256", "PEM is no HMAC secret.*such as ES256, or write Key.from_"),
}


@pytest.mark.parametrize("name", WORDS)
def test_from_pem_says_what_it_was_given(name: str) -> None:
    data, algorithm, told = WORDS[name]
    with pytest.raises(ValueError, match=told) as refusal:
        Key.from_pem(data, algorithm)
    text = str(refusal.value)
    octets = data.encode() if isinstance(data, str) else data
    for line in octets.split(b"\n") if isinstance(octets, bytes) else ():
        assert line.startswith(b"-----") or not line or line not in text.encode()


@pytest.mark.parametrize("days", [1, -1])
def test_a_chain_of_certificates_gives_the_key_of_the_first(days: int) -> None:
    """Its end is not checked: who pins a key decides how long."""
    chain = certificate(days) + certificate()
    found = Key.from_pem(chain, "ES256").to_jwk()["x"]
    assert found == Key.from_pem(PEM, "ES256").to_jwk()["x"]


def test_the_parameters_that_openssl_writes_before_a_key_are_no_key() -> None:
    parameters = (
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----"
    )
    text = parameters + b"\n" + private(P256, form=TRADITIONAL)
    assert Key.from_pem(text, "ES256").can_sign
    assert Key.from_pem(bytearray(PEM), "ES256").algorithm == "ES256"  # type: ignore[arg-type]


# What is never a secret

PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBA\n-----END"
MATERIAL: dict[str, bytes] = {
    "EC PEM": PEM,
    "RSA PEM": public(RSA),
    "RSA PEM, PKCS 1": RSA.public_key().public_bytes(Encoding.PEM, Public.PKCS1),
    "private PEM": private(P256),
    "certificate": certificate(),
    "EC DER": public(P256, Encoding.DER),
    "Ed25519 DER": public(ED25519, Encoding.DER),
    "RSA DER": public(RSA, Encoding.DER),
    "RSA DER, PKCS 1": RSA.public_key().public_bytes(Encoding.DER, Public.PKCS1),
    "private DER": private(P256, Encoding.DER),
    "encrypted DER": private(P256, Encoding.DER, locked=LOCKED),
    "certificate DER": certificate(encoding=Encoding.DER),
    "EC point": P256.public_key().public_bytes(Encoding.X962, Public.UncompressedPoint),
    "SSH line": ED25519.public_key().public_bytes(Encoding.OpenSSH, Public.OpenSSH),
    "SSH ECDSA": P256.public_key().public_bytes(Encoding.OpenSSH, Public.OpenSSH),
    "SSH blob": base64.b64decode(
        RSA.public_key().public_bytes(Encoding.OpenSSH, Public.OpenSSH).split()[1]
    ),
    "OpenSSH private": private(ED25519, form=Private.OpenSSH),
    "PGP": PGP.encode(),
    "JWK": json.dumps(Key.generate().public.to_jwk()).encode(),
    "JWK Set": json.dumps({"keys": [Key.generate().public.to_jwk()]}).encode(),
}


def text_of(octets: bytes) -> str:
    return octets.decode("latin-1")


Encode = Callable[[bytes], bytes]
AS_TEXT: dict[str, Encode] = {
    "UTF-16": lambda o: text_of(o).encode("utf-16"),
    "UTF-16 LE": lambda o: text_of(o).encode("utf-16-le"),
    "UTF-16 BE": lambda o: text_of(o).encode("utf-16-be"),
    "UTF-32": lambda o: text_of(o).encode("utf-32"),
    "UTF-32 BE": lambda o: text_of(o).encode("utf-32-be"),
    "UTF-8 with a mark": lambda o: b"\xef\xbb\xbf" + o,
    "white space": lambda o: b"\r\n\t " + o + b" \n\n",
    "a JSON string": lambda o: json.dumps(text_of(o)).encode(),
}
ENCODINGS: dict[str, Encode] = {
    "as it is": lambda o: o,
    "hex": lambda o: o.hex().encode(),
    "HEX": lambda o: o.hex().upper().encode(),
    "hex with colons": lambda o: o.hex(":").encode(),
    "hex with blanks": lambda o: o.hex(" ").encode(),
    "hex with 0x": lambda o: b"0x" + o.hex().encode(),
    "hex of C": lambda o: ", ".join(f"0x{octet:02x}" for octet in o).encode(),
    "hex of Python": lambda o: "".join(f"\\x{octet:02x}" for octet in o).encode(),
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "base64url": lambda o: base64.urlsafe_b64encode(o).rstrip(b"="),
    "a JSON array": lambda o: json.dumps(list(o)).encode(),
    "a Buffer": lambda o: json.dumps({"type": "Buffer", "data": [*o]}).encode(),
}


def encodings(octets: bytes) -> Iterator[tuple[str, bytes]]:
    """*octets* in every encoding, and those that are text in every encoding of text."""
    for name, encode in ENCODINGS.items():
        encoded = encode(octets)
        yield name, encoded
        if encoded.isascii():
            for other, again in AS_TEXT.items():
                yield f"{name}, {other}", again(encoded)


def told_of(secret: str | bytes) -> str:
    """What is said of *secret*; empty if it is taken."""
    try:
        Key.from_secret(secret)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", MATERIAL)
def test_a_key_in_any_encoding_is_no_secret(name: str) -> None:
    for encoding, secret in encodings(MATERIAL[name]):
        told = told_of(secret)
        assert "expected random octets" in told, encoding


def test_encodings_inside_each_other_are_seen_through() -> None:
    for outer, inner in product(ENCODINGS, repeat=2):
        secret = ENCODINGS[outer](ENCODINGS[inner](public(P256, Encoding.DER)))
        with pytest.raises(ValueError, match="expected random octets"):
            Key.from_secret(secret)


@given(st.binary(min_size=32, max_size=140), st.sampled_from([*ENCODINGS]))
def test_random_octets_in_any_encoding_are_a_secret(octets: bytes, name: str) -> None:
    assume(b"BEGIN" not in octets)  # the constants of hypothesis
    assert Key.from_secret(ENCODINGS[name](octets)).can_sign


@given(st.text(min_size=32, max_size=80))
def test_any_text_of_some_length_is_a_secret(text: str) -> None:
    assume("BEGIN" not in text and "kty" not in text)
    assert told_of(text) in (
        "",
        "the key has lone surrogates, expected text or bytes; write it as bytes",
    )


@given(st.binary(min_size=30, max_size=126))
def test_a_secret_may_look_like_the_beginning_of_der(octets: bytes) -> None:
    assume(b"BEGIN" not in octets)
    assert Key.from_secret(bytes([0x30, len(octets)]) + octets).can_sign


def test_secrets_as_people_make_them() -> None:
    for secret in (
        str(uuid.uuid4()),
        "correct horse battery staple, and so on",
        "https://user:password@host.example/path?a=b&c=d",
        '{"secret": "0123456789abcdef0123456789abcdef"}',
        '["' + "x" * 40 + '", 300]',
        "\x04" + "x" * 64,
        "0" + "é" * 40,
    ):
        assert Key.from_secret(secret).can_sign
