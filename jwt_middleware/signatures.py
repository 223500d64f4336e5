"""Checks of signatures, prepared once for each key (RFC 7518, RFC 8037).

PyJWT reads and writes keys for us, and signs.  To check, we ask cryptography itself:
what is made anew for each check there is made once here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Set
from typing import Any

Check = Callable[[bytes, bytes], bool]
"""Whether the second is a signature over the first."""

DEAR = frozenset({"ES384", "ES512", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"})
LONGEST_QUICK_RSA = 4096
"""Bits."""

CURVE_OCTETS = {"ES256": 32, "ES384": 48, "ES512": 66}
"""Of each of the two numbers of a signature (RFC 7518 §3.4)."""


def prepared(name: str, public: Any) -> Check:
    """The check of the algorithm *name* with a public key, or a secret."""
    if name.startswith("HS"):
        return _hmac(public, f"sha{name[2:]}")
    if name.startswith("RS"):
        return _quiet(public.verify, *_rsa(name[2:]))
    if name.startswith("PS"):
        return _quiet(public.verify, *_pss(name[2:]))
    if name in CURVE_OCTETS:
        return _quiet(_ecdsa(public, name))
    return _quiet(public.verify)


def is_dear(names: Set[str], public: Any) -> bool:
    """Whether a check takes longer than an event loop should stand still for.

    A tenth of a millisecond and more, several times what ES256 takes.  *names* are
    those of one algorithm.
    """
    is_long = getattr(public, "key_size", 0) > LONGEST_QUICK_RSA  # no curve's is
    return is_long or not names.isdisjoint(DEAR)


def _quiet(verify: Callable[..., None], *how: Any) -> Check:
    """A check that says no where *verify* raises, whatever that is."""

    def check(octets: bytes, signature: bytes) -> bool:
        try:
            verify(signature, octets, *how)
        except Exception:  # a client must not be able to cause a 500
            return False
        return True

    return check


def _hmac(secret: bytes, digest: str) -> Check:
    keyed = hmac.new(secret, digestmod=getattr(hashlib, digest))

    def check(octets: bytes, signature: bytes) -> bool:
        made = keyed.copy()  # which keeps the GIL, unlike hmac.digest
        made.update(octets)
        return hmac.compare_digest(made.digest(), signature)

    return check


def _hash(bits: str) -> Any:
    from cryptography.hazmat.primitives import hashes

    made: Any = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
    return made[bits]()


def _rsa(bits: str) -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.asymmetric import padding

    return padding.PKCS1v15(), _hash(bits)


def _pss(bits: str) -> tuple[Any, Any]:
    from cryptography.hazmat.primitives.asymmetric import padding

    digest = _hash(bits)
    # RFC 7518 §3.5: the salt is as long as the hash.
    return padding.PSS(padding.MGF1(digest), digest.digest_size), digest


def _ecdsa(public: Any, name: str) -> Callable[[bytes, bytes], None]:
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    bits = "512" if name == "ES512" else name[2:]
    verify, scheme, size = public.verify, ec.ECDSA(_hash(bits)), CURVE_OCTETS[name]
    number, encode = int.from_bytes, utils.encode_dss_signature

    def check(signature: bytes, octets: bytes) -> None:
        if len(signature) != 2 * size:
            raise ValueError("of another length")
        r, s = number(signature[:size], "big"), number(signature[size:], "big")
        verify(encode(r, s), octets, scheme)

    return check
