"""Refuse an asymmetric key, a certificate or a JWK that is given as a secret.

If the secret is a public key, in any encoding, anyone who has the public key can sign
(RFC 8725 §2.1).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from os import PathLike
from typing import Any

from .compact import TO_STANDARD

MOST_LAYERS = 4
"""Encodings inside each other, such as DER in base64 in JSON in UTF-16."""
ARMOR = re.compile(
    rb"-----BEGIN |---- BEGIN SSH2|<RSAKeyValue>|"
    rb"(?:^|[\s,])(?:ssh-(?:rsa|dss|ed25519|ed448)|ecdsa-sha2-nistp\d+|sk-[\w.@-]+)"
    rb" AAAA"
)
"""Matches PEM, PGP, RFC 4716, XML signatures, and a line of OpenSSH."""
SSH_BLOB = re.compile(rb"\0\0\0.(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|openssh-)", re.S)
HEX = re.compile(
    rb"(?:0[xX]|\\x)?[0-9A-Fa-f]{2}(?:(?:[:\-\s,]|0[xX]|\\x)*[0-9A-Fa-f]{2})*"
)
NOT_HEX = re.compile(rb"0[xX](?=[0-9A-Fa-f]{2})|\\x|[:\-\s,]")
UNICODE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
POINTS = {65: "SECP256R1", 97: "SECP384R1", 133: "SECP521R1"}
"""The curve of an uncompressed point, by the number of its octets."""


def read_octets(value: object) -> bytes:
    """Return the octets of a string or bytes.  Raise ValueError for anything else."""
    if not isinstance(value, (str, bytes, bytearray)):
        instead = "; write path.read_bytes()" if isinstance(value, PathLike) else ""
        raise ValueError(
            f"the key is a {type(value).__name__}, expected a string or bytes{instead}"
        )
    try:
        return value.encode() if isinstance(value, str) else bytes(value)
    except UnicodeEncodeError:  # the text of this error holds all of *value*
        raise ValueError(
            "the key has lone surrogates, expected text or bytes; write it as bytes"
        ) from None


def ensure_no_key_material(secret: bytes) -> None:
    """Raise ValueError if *secret* is an asymmetric key, a certificate or a JWK.

    Text is decoded up to `MOST_LAYERS` times: UTF-16 and UTF-32, white space, hex,
    base64, and JSON strings and arrays of octets.
    """
    layer, seen = {secret}, {secret}
    for _ in range(MOST_LAYERS):
        for octets in layer:
            if _is_key(octets):
                raise ValueError(
                    "not a sound key for this algorithm: the secret is an asymmetric "
                    "key or a JWK, expected random octets that nobody else knows; "
                    "write Key.from_pem, Key.from_jwk, or Key.generate('HS256')"
                )
        layer = {inner for octets in layer for inner in _decoded(octets)} - seen
        seen |= layer


def _is_key(octets: bytes) -> bool:
    return (
        ARMOR.search(octets) is not None
        or SSH_BLOB.match(octets) is not None
        or _is_der(octets)
        or _is_point(octets)
        or _is_jwk(_parsed(octets))
    )


def _is_jwk(value: Any) -> bool:
    """Return whether parsed JSON has a JWK, at any depth."""
    found = [value]
    for one in found:  # the loop appends to it; json.loads has bounded the depth
        if isinstance(one, dict):
            if "kty" in one:
                return True
            found += one.values()
        elif isinstance(one, list):
            found += one
    return False


def _is_der(octets: bytes) -> bool:
    """Return whether *octets* begin with a key or a certificate in DER."""
    end = _end_of_sequence(octets)
    if not end:
        return False
    from cryptography.hazmat.primitives import serialization
    from cryptography.x509 import load_der_x509_certificate

    loaders: tuple[Callable[[bytes], object], ...] = (
        serialization.load_der_public_key,
        lambda data: serialization.load_der_private_key(data, password=None),
        load_der_x509_certificate,
    )
    for load in loaders:
        try:
            load(octets[:end])
        except TypeError:  # a private key that is encrypted
            return True
        except Exception:  # noqa: S112  (not a key, as it should be for a secret)
            continue
        return True
    return False


def _end_of_sequence(octets: bytes) -> int:
    """Return the end of the SEQUENCE at the beginning of *octets*; 0 without one."""
    if len(octets) < 8 or octets[0] != 0x30:
        return 0
    length, start = octets[1], 2
    if length >= 0x80:
        start += length - 0x80
        length = int.from_bytes(octets[2:start], "big")
    return start + length if start + length <= len(octets) else 0


def _is_point(octets: bytes) -> bool:
    """Return whether *octets* are a point of a curve, and so a public key."""
    name = POINTS.get(len(octets))
    if name is None or octets[0] != 4:
        return False
    from cryptography.hazmat.primitives.asymmetric import ec

    with suppress(ValueError):
        ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, name)(), octets)
        return True
    return False


def _decoded(octets: bytes) -> Iterator[bytes]:
    """Yield what *octets* may be an encoding of, if they are text."""
    yield octets.strip()
    yield octets.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in octets:
        for encoding in UNICODE:
            with suppress(UnicodeError):
                yield octets.decode(encoding).lstrip("\ufeff").encode()
        return
    if not octets.isascii():
        return
    if HEX.fullmatch(octets.strip()):
        with suppress(ValueError):
            yield bytes.fromhex(NOT_HEX.sub(b"", octets).decode())
    bare = b"".join(octets.split()).rstrip(b"=").translate(TO_STANDARD)
    with suppress(binascii.Error, ValueError):
        yield base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    yield from _in_json(_parsed(octets))


def _in_json(value: Any) -> Iterator[bytes]:
    """Yield the text of a JSON string, or the octets of an array of numbers."""
    if isinstance(value, dict):  # such as a Buffer of Node.js
        value = value.get("data")
    if isinstance(value, str):
        with suppress(UnicodeEncodeError):
            yield value.encode()
    elif isinstance(value, list):
        with suppress(ValueError, TypeError):
            yield bytes(value)


def _parsed(octets: bytes) -> Any:
    try:
        return json.loads(octets)
    except (ValueError, RecursionError):  # RecursionError: PyJWT looks at such as well
        return None
