"""Which keys are too weak to be believed; by their numbers, without a library."""

from __future__ import annotations

from typing import Any

RSA_BITS = range(2048, 8192 + 1)
LEAST_EXPONENT = 65537
"""What FIPS 186-5 asks for; below, a lenient padding check is a forgery."""
MOST_EXPONENT_BITS = 33
"""As BoringSSL has it; Windows takes 32 bits, Go 31, and real keys have 65537.

Checking a signature takes time by the exponent's bits: with as many as the modulus has,
7 ms for every token that names the key.
"""

# y coordinates of the points whose order divides the cofactor.  Under such a public
# key anyone can sign anything: R = A, S = 0 verifies.
ED25519_PRIME, ED448_PRIME = 2**255 - 19, 2**448 - 2**224 - 1
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER = frozenset(
    {0, 1, ED25519_PRIME - 1, ED448_PRIME - 1, ORDER_8, ED25519_PRIME - ORDER_8}
)


def ensure_strong(name: str, material: Any) -> None:
    """Raise ValueError for a key that can be guessed or computed."""
    if name.startswith("HS"):
        least = int(name[2:]) // 8
        if len(material) < least:  # RFC 7518 §3.2
            raise ValueError(
                f"{name} needs a secret of {least} octets or more, not "
                f"{len(material)}; Key.generate({name!r}) makes one"
            )
    elif name.startswith(("RS", "PS")):
        _ensure_strong_rsa(material.public_numbers())
    elif name in ("Ed25519", "Ed448", "EdDSA"):
        _ensure_strong_edwards(material.public_bytes_raw())


def _ensure_strong_rsa(numbers: Any) -> None:
    bits, exponent = numbers.n.bit_length(), numbers.e
    if bits not in RSA_BITS:  # below: too weak; above: a verification takes too long
        raise ValueError(f"an RSA key of {bits} bits; write one of 2048 to 8192")
    if exponent < LEAST_EXPONENT or exponent % 2 == 0 or numbers.n % 2 == 0:
        raise ValueError("an RSA key with an even modulus, or an even or tiny exponent")
    if exponent.bit_length() > MOST_EXPONENT_BITS:
        raise ValueError(
            f"an RSA key with an exponent of {exponent.bit_length()} bits; write one "
            "with 65537"
        )


def _ensure_strong_edwards(octets: bytes) -> None:
    prime = ED25519_PRIME if len(octets) == 32 else ED448_PRIME
    y = int.from_bytes(octets, "little") & ((1 << prime.bit_length()) - 1)
    if y % prime in SMALL_ORDER:
        raise ValueError("a public key of small order, under which anyone can sign")
