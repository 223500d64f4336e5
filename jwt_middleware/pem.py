"""Read keys in PEM (RFC 7468), and say what any other text is.

No message shows a part of the text: the text may be a secret or a private key.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .jwk import ALGORITHMS

BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
PARAMETERS = frozenset({b"EC PARAMETERS", b"DSA PARAMETERS", b"DH PARAMETERS"})
"""Blocks that tools write before a key.  The key has all that they say."""
BODY = re.compile(rb"M[A-Za-z0-9+/=_\s-]{40,}")
"""DER in base64, which begins with a SEQUENCE."""
SSH = (b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
ENCRYPTED = (
    "the private key is encrypted, expected one that is not; "
    "write: openssl pkey -in FILE -out NEW_FILE"
)
INSTEAD = {
    "ENCRYPTED PRIVATE KEY": ENCRYPTED,
    "OPENSSH PRIVATE KEY": "the private key is in the format of OpenSSH, expected "
    "PKCS #8; write: ssh-keygen -p -m PKCS8 -f FILE",
    "CERTIFICATE REQUEST": "it is a request for a certificate, expected a key or a "
    "certificate; write the public key of the request",
}
"""Messages for blocks that hold no key, or a key that is not read here."""
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
CLASS = re.compile(r"_?(\w+?)(?:Public|Private)Key")


def read_pem(data: bytes) -> Any:
    """Return the one key in *data*, or the public key of the first certificate.

    Raise ValueError, which says what was found, what was expected and what to write.
    """
    labels = [
        found.decode() for found in BEGIN.findall(data) if found not in PARAMETERS
    ]
    if not labels:
        raise ValueError(f"not a sound key: {_without_pem(data)}")
    if rb"\n" in data:
        raise ValueError(
            "not a sound key: its line breaks are written as a backslash and an n, "
            r"expected line breaks; write data.replace('\\n', '\n')"
        )
    if len(labels) > 1 and {*labels} != {"CERTIFICATE"}:
        raise ValueError(
            f"not a sound key: the text has {' and '.join(labels)}, expected one key, "
            "or only certificates; write the one block of the key that you want to use"
        )
    try:
        return _load(labels[0], data)
    except Exception as error:
        # Only the class of the error: the message of a library may quote the key.
        found = _fault_of(labels[0], data, type(error).__name__)
        raise ValueError(f"not a sound key: {found}") from None


def _load(label: str, data: bytes) -> Any:
    from cryptography.hazmat.primitives import serialization

    if label == "CERTIFICATE":
        from cryptography.x509 import load_pem_x509_certificate

        return load_pem_x509_certificate(data).public_key()
    if label.endswith("PRIVATE KEY"):
        return serialization.load_pem_private_key(data, password=None)
    return serialization.load_pem_public_key(data)


def _fault_of(label: str, data: bytes, error: str) -> str:
    """Return a message about a block that a library could not read."""
    if label in INSTEAD:
        return INSTEAD[label]
    if b"Proc-Type: 4,ENCRYPTED" in data:
        return ENCRYPTED
    end = f"-----END {label}-----"
    if end.encode() not in data:
        return f"the line {end!r} is missing; write the text up to it"
    return f"its {label} is damaged or of an unknown kind ({error}); write another"


def _without_pem(data: bytes) -> str:
    """Return a message about *data*, which has no PEM block."""
    text = data.strip()
    if text.startswith(BYTE_ORDER_MARKS) or b"\0B\0E\0G\0I\0N" in text:
        return "the text is not UTF-8, expected PEM; write it as UTF-8"
    if _is_json(text):
        return "it is JSON, expected PEM; write Key.from_jwk(json.loads(data))"
    if text.startswith(SSH):
        return (
            "it is a public key of OpenSSH, expected PEM; "
            "write: ssh-keygen -e -m PKCS8 -f FILE"
        )
    if text.startswith(b"\x30") and not text.isascii():
        return "it is DER, expected PEM; write: openssl pkey -inform DER -in FILE"
    if BODY.fullmatch(text):
        return (
            "the lines '-----BEGIN ...-----' and '-----END ...-----' are missing; "
            "write them before and after the text"
        )
    if text and len(text) < 4096 and b"\n" not in text:
        return (
            "it is one line without '-----BEGIN', such as the path of a file, expected "
            "the content of the file; write Path(path).read_bytes()"
        )
    return (
        "the text has no '-----BEGIN ... KEY-----', expected PEM; write the whole "
        "content of the file"
    )


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), (dict, list))
    except (ValueError, RecursionError):
        return False


def ensure_kind(name: str, material: Any) -> None:
    """Raise ValueError if the algorithm *name* takes another kind of key.

    If *material* is not an asymmetric key of cryptography, return; the library of the
    algorithm checks it later.
    """
    found, able = _kind_of(material), _able()
    if not found or name in able.get(found, ()):
        return
    wanted = " or ".join(kind for kind, names in able.items() if name in names)
    write = f"algorithm={able[found][0]!r}" if found in able else "another key"
    raise ValueError(
        f"not a sound key for this algorithm: it is a key of {found}, and {name} takes "
        f"one of {wanted}; write {write}"
    )


def _able() -> dict[str, tuple[str, ...]]:
    """Return the algorithms of each kind of key."""
    able: dict[str, tuple[str, ...]] = {}
    for (kty, curve), names in ALGORITHMS.items():
        able |= {name: (name,) for name in names} if kty == "AKP" else {}
        able |= {curve or kty: names} if kty != "AKP" else {}
    return able


def _kind_of(material: Any) -> str:
    """Return the kind of an asymmetric key: ``RSA``, or the curve.

    Return an empty string for anything else.
    """
    found = CLASS.fullmatch(type(material).__name__)
    if found is None:
        return ""
    if found[1] == "EC":
        return CURVES.get(material.curve.name, str(material.curve.name))
    return re.sub(r"MLDSA(\d+)", r"ML-DSA-\1", found[1])
