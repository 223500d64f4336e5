"""What a JSON Web Key says of itself (RFC 7517); no cryptography."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .compact import base64url_decode, base64url_encode
from .errors import MalformedToken
from .options import read_one_or_several
from .quoting import shown

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "priv"})
REQUIRED_MEMBERS = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
    "AKP": ("alg", "kty", "pub"),
    "oct": ("k", "kty"),
}
"""By ``kty``, in order; a thumbprint is made of them (RFC 7638 §3.2, RFC 9964 §6)."""
NOT_OCTETS = frozenset({"alg", "crv", "kty"})

ALGORITHMS = {
    ("oct", None): ("HS256", "HS384", "HS512"),
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("Ed25519", "EdDSA"),
    ("OKP", "Ed448"): ("Ed448", "EdDSA"),
    ("AKP", None): ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"),
}
"""By ``kty`` and ``crv``; the first is taken where neither the key nor we name one."""
TENANT = "{tenantid}"
"""Stands in Microsoft Entra ID's common key sets for the tenant of the token."""
TENANT_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]*")
NAMES = frozenset(name for names in ALGORITHMS.values() for name in names)


def read_algorithms(algorithms: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names.  Raise ValueError where one is of no algorithm."""
    if algorithms is None:
        return ()
    names = read_one_or_several("algorithms", algorithms)
    for name in names:
        if name not in NAMES:
            meant = [known for known in NAMES if known.lower() == name.lower()]
            write = f"; write {meant[0]!r}" if meant else ""
            raise ValueError(
                f"{name!r} is none of the algorithms: {', '.join(sorted(NAMES))}{write}"
            )
    return names


class NotForSignatures(ValueError):
    """A sound key, but not one that verifies signatures of a kind that we know."""


def algorithm_of(jwk: Mapping[str, Any], preferred: Iterable[str] = ()) -> str:
    """Choose the one algorithm that the key is used with.

    Its ``alg``, else the first of *preferred* that its type can do, else the
    first in `ALGORITHMS`.
    """
    kty, named, preferred = jwk.get("kty"), jwk.get("alg"), tuple(preferred)
    kind = (kty, jwk.get("crv") if kty in ("EC", "OKP") else None)
    able = next((names for known, names in ALGORITHMS.items() if known == kind), ())
    if named is not None or kty == "AKP":  # RFC 9964 §3: there alg is not optional
        able = tuple(name for name in able if name == named)
    elif preferred:
        able = tuple(name for name in preferred if name in able)
    if not able:
        if "keys" in jwk:
            raise NotForSignatures(
                "it is a JWK Set, expected one JWK; write StaticKeys.from_jwks(...)"
            )
        # Only text: what is nested deeply has no repr, and a set may be anybody's.
        found = [
            f"{name} {shown(value) if isinstance(value, str) else type(value).__name__}"
            for name, value in (("kty", kty), ("crv", jwk.get("crv")), ("alg", named))
            if value is not None
        ]
        raise NotForSignatures(
            "the JWK is of a kind that no signature here uses: "
            f"{', '.join(found) or 'it has no kty'}"
        )
    return able[0]


def ensure_for_signatures(jwk: Mapping[str, Any]) -> None:
    """Raise NotForSignatures where ``use`` or ``key_ops`` is for something else."""
    use, operations = jwk.get("use"), jwk.get("key_ops")
    operations = ["verify"] if operations is None else operations
    if use not in (None, "sig") or not isinstance(operations, list):
        raise NotForSignatures('the JWK says that its use is not "sig"')
    if not {"verify", "sign"} & {name for name in operations if isinstance(name, str)}:
        raise NotForSignatures("the JWK's key_ops has neither sign nor verify")


def ensure_complete(jwk: Mapping[str, Any]) -> None:
    """Raise ValueError where a member is missing or not strict base64url."""
    required = REQUIRED_MEMBERS[jwk["kty"]]
    private = PRIVATE_MEMBERS & jwk.keys() - {"oth"}
    for name in sorted({*required, *private} - NOT_OCTETS):
        try:
            base64url_decode(jwk[name].encode("ascii"))
        except (KeyError, AttributeError, UnicodeEncodeError, MalformedToken):
            # No value is shown: it may be a private member.
            raise ValueError(f"the JWK's {name} is missing or not base64url") from None


def read_issuer(jwk: Mapping[str, Any]) -> str | None:
    """Return the ``issuer`` that the key is for; None if it names none.

    A key set may be shared by many issuers, as Microsoft Entra ID's is.  Raise
    ValueError if the member is not a string.
    """
    issuer = jwk.get("issuer")
    if issuer is not None and not isinstance(issuer, str):
        raise ValueError("the JWK's issuer is not a string")
    return issuer


def is_issuer(named: str | None, issuer: str) -> bool:
    """Whether a key whose JWK has *named* as ``issuer`` may sign for *issuer*."""
    if named is None or named == issuer:
        return True
    head, template, tail = named.partition(TENANT)
    if not (template and issuer.startswith(head) and issuer.endswith(tail)):
        return False
    tenant = issuer[len(head) : len(issuer) - len(tail)]
    return TENANT_NAME.fullmatch(tenant) is not None


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Hash the members that make the key what it is (RFC 7638)."""
    members = {name: jwk[name] for name in REQUIRED_MEMBERS[jwk["kty"]]}
    text = json.dumps(members, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(text.encode()).digest())
