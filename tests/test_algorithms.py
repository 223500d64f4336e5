"""The algorithms: which keys are theirs, which are sound, and what they never do."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import asymmetric, hashes, serialization
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    rsa,
    x448,
    x25519,
)

from jwt_middleware import Key, StaticKeys
from jwt_middleware.algorithms import (
    NEW_RSA_BITS,
    Algorithm,
    _made,
    algorithm_named,
    public_half,
)
from jwt_middleware.compact import base64url_encode
from jwt_middleware.jwk import NAMES
from jwt_middleware.signatures import prepared
from jwt_middleware.strength import SMALL_ORDER

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
OPEN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"a password")

NOT_HMAC = sorted(name for name in NAMES if not name.startswith("HS"))
UNKNOWN = "the algorithm is .*expected the name of one; write algorithm='ES256'"
TELLING = {"ES256": 64, "ES384": 96, "ES512": 132, "Ed25519": 64, "Ed448": 114}
"""Octets of a signature, where the algorithm sets them."""


@cache
def material(name: str) -> Any:
    """A private key of the algorithm called *name*; one for all that share a type."""
    if name.startswith(("RS", "PS")) and name != "RS256":
        return material("RS256")
    return algorithm_named(name).create()


def public_pem(key: Any) -> bytes:
    pem: bytes = public_half(key).public_bytes(PEM, SPKI)
    return pem


def number(value: int) -> str:
    return base64url_encode(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def verifies(
    algorithm: Algorithm, octets: bytes, public: Any, signature: bytes
) -> bool:
    return prepared(algorithm.name, public)(octets, signature)


# Every algorithm


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_is_signed_verifies_and_nothing_else_does(name: str) -> None:
    algorithm, key = algorithm_named(name), material(name)
    signature = algorithm.sign(b"signed", key)
    public = public_half(key)
    assert verifies(algorithm, b"signed", public, signature)
    assert not verifies(algorithm, b"signer", public, signature)
    assert not verifies(algorithm, b"signed", public, signature[:-1])
    assert not verifies(algorithm, b"signed", public, signature + b"\0")
    assert not verifies(
        algorithm, b"signed", public, bytes([signature[0] ^ 1]) + signature[1:]
    )
    assert len(signature) == TELLING.get(name, len(signature))


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 100_000])
@pytest.mark.parametrize("name", sorted(NAMES))
def test_octets_of_any_length_are_no_signature(name: str, length: int) -> None:
    algorithm, public = algorithm_named(name), public_half(material(name))
    for octet in (b"\0", b"\xff"):
        assert verifies(algorithm, b"signed", public, octet * length) is False


@pytest.mark.parametrize("name", ["ES256", "ES384", "ES512"])
def test_a_signature_of_zeros_is_none(name: str) -> None:
    """r = s = 0 once verified under any key (CVE-2022-21449)."""
    algorithm, public = algorithm_named(name), public_half(material(name))
    assert not verifies(algorithm, b"signed", public, bytes(TELLING[name]))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_jwk_gives_back_the_same_key(name: str) -> None:
    algorithm, key = algorithm_named(name), material(name)
    for half in (key, public_half(key)):
        jwk = algorithm.dump_jwk(half)
        read = algorithm.load_jwk(jwk)
        assert algorithm.dump_jwk(read) == jwk
        assert "key_ops" not in jwk
    again = algorithm.load_jwk(algorithm.dump_jwk(key))
    assert verifies(algorithm, b"x", public_half(key), algorithm.sign(b"x", again))


@pytest.mark.parametrize("name", NOT_HMAC)
def test_pem_gives_back_the_same_key(name: str) -> None:
    algorithm, key = algorithm_named(name), material(name)
    private = algorithm.load_pem(key.private_bytes(PEM, PKCS8, OPEN))
    public = algorithm.load_pem(public_pem(key))
    assert algorithm.dump_jwk(private) == algorithm.dump_jwk(key)
    assert algorithm.dump_jwk(public) == algorithm.dump_jwk(public_half(key))
    assert verifies(algorithm, b"x", public, algorithm.sign(b"x", private))


def test_a_new_key_is_strong_and_new() -> None:
    assert material("RS256").key_size == NEW_RSA_BITS == 3072
    assert material("RS256").public_key().public_numbers().e == 65537
    for bits in (256, 384, 512):
        create = algorithm_named(f"HS{bits}").create
        assert len(create()) == bits // 8
        assert create() != create()


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "hs256", "ES256K", "ES521", ""]
)
def test_nothing_else_is_an_algorithm(name: str) -> None:
    with pytest.raises(ValueError, match=UNKNOWN) as refusal:
        algorithm_named(name)
    assert name == "" or f"'{name}'" not in str(refusal.value)


# A library that lacks something, or that raises


@pytest.fixture
def _without_lattice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cryptography before 48."""
    module = "cryptography.hazmat.primitives.asymmetric.mldsa"
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delattr(asymmetric, "mldsa")
    _made.cache_clear()
    yield
    _made.cache_clear()


@pytest.mark.usefixtures("_without_lattice")
def test_without_a_library_for_it_ml_dsa_is_no_algorithm_and_the_rest_is() -> None:
    for name in ("ML-DSA-44", "ML-DSA-65", "ML-DSA-87"):
        with pytest.raises(ValueError, match="needs cryptography 48"):
            Key.generate(name)
    assert Key.generate("ES256").can_sign


LATTICE_JWK = Key.generate("ML-DSA-44").public.to_jwk()


@pytest.mark.usefixtures("_without_lattice")
def test_without_a_library_for_it_an_ml_dsa_key_does_not_spoil_a_set() -> None:
    """An issuer that adds one must not stop an older verifier (RFC 7517 §5)."""
    known = Key.generate("ES256").public.to_jwk()
    keys = StaticKeys.from_jwks({"keys": [LATTICE_JWK, known]})
    assert repr(keys) == "<StaticKeys ES256>"


@dataclass(frozen=True)
class Upset:
    """A library that fails at everything, with a text that quotes the key."""

    error: Exception

    def prepare_key(self, key: Any) -> Any:
        raise self.error

    def from_jwk(self, jwk: Any) -> Any:
        raise self.error

    @property
    def to_jwk(self) -> Callable[..., Any]:
        raise self.error

    def sign(self, msg: bytes, key: Any) -> bytes:
        raise self.error


@dataclass(frozen=True)
class UpsetKey:
    """A public key whose every check fails, and not because of the signature."""

    error: BaseException

    def verify(self, *args: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [ValueError("hunter2"), KeyError("hunter2"), MemoryError(), RuntimeError()]
)
def test_a_library_that_raises_has_not_verified_anything(error: Exception) -> None:
    """No octets that a stranger sends may make a 500 of it."""
    for name in ("Ed25519", "RS256", "PS256", "ES256", "ML-DSA-44"):
        assert prepared(name, UpsetKey(error))(b"signed", bytes(64)) is False


def test_what_a_library_says_of_a_key_is_not_repeated() -> None:
    algorithm = Algorithm("ES256", Upset(KeyError("hunter2")), dict)
    for load in (algorithm.accept, algorithm.load_jwk):
        with pytest.raises(
            ValueError, match=r"not a sound key .* \(KeyError\)"
        ) as told:
            load({})
        assert told.value.__suppress_context__
        assert "hunter2" not in f"{told.value} {told.value!r}"


def test_an_end_that_was_asked_for_is_no_bad_signature() -> None:
    """Ctrl-C in the midst of a verification ends the process, as it should."""

    check = prepared("RS256", UpsetKey(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        check(b"signed", b"signature")


# Keys that can be guessed


@pytest.mark.parametrize(
    ("name", "least"), [("HS256", 32), ("HS384", 48), ("HS512", 64)]
)
def test_a_secret_is_as_long_as_its_hash(name: str, least: int) -> None:
    """RFC 7518 §3.2."""
    accept = algorithm_named(name).accept
    assert accept(b"\x8f" * least) == b"\x8f" * least
    told = f"{name} needs a secret of {least} octets or more, not {least - 1}"
    with pytest.raises(ValueError, match=told) as refusal:
        accept(b"\x8f" * (least - 1))
    assert f"Key.generate('{name}') makes one" in str(refusal.value)
    with pytest.raises(ValueError, match="not a sound key"):
        accept(b"")


def test_no_secret_is_refused_whatever_the_library_says() -> None:
    class Lenient(Upset):
        def prepare_key(self, key: Any) -> Any:
            return key

    with pytest.raises(ValueError, match="needs a secret of 32 octets or more, not 0"):
        Algorithm("HS256", Lenient(ValueError()), dict).accept(b"")


@pytest.mark.parametrize("e", [65537, 2**32 + 1])
@pytest.mark.parametrize("bits", [2048, 2049, 8192])
def test_an_rsa_key_has_2048_to_8192_bits(bits: int, e: int) -> None:
    key = rsa.RSAPublicNumbers(e, 2 ** (bits - 1) + 1).public_key()
    for name in ("RS256", "PS512"):
        assert algorithm_named(name).load_pem(public_pem(key)) == key


@pytest.mark.parametrize("bits", [512, 1024, 2047, 8193, 16384])
def test_an_rsa_key_of_another_size_is_refused(bits: int) -> None:
    jwk = {"kty": "RSA", "n": number(2 ** (bits - 1) + 1), "e": "AQAB"}
    for name in ("RS256", "RS512", "PS256"):
        with pytest.raises(
            ValueError, match=rf"{bits} bits; write one of 2048 to 8192|not a"
        ):
            algorithm_named(name).load_jwk(jwk)


@pytest.mark.parametrize("e", [0, 1, 2, 3, 4, 17, 65535, 65536, 65538])
def test_an_rsa_exponent_is_odd_and_not_tiny(e: int) -> None:
    """With e = 1 the signature is the message: anyone can write it.  FIPS 186-5
    §A.1.1 begins at 65537."""
    jwk = {"kty": "RSA", "n": number(2**2047 + 1), "e": number(e)}
    with pytest.raises(ValueError, match=r"even or tiny exponent|not a sound key"):
        algorithm_named("RS256").load_jwk(jwk)


@pytest.mark.parametrize("bits", [34, 64, 256, 2047])
def test_an_rsa_exponent_is_not_huge(bits: int) -> None:
    """With as many bits as the modulus, each stranger's token would cost 7 ms."""
    jwk = {"kty": "RSA", "n": number(2**2047 + 1), "e": number(2 ** (bits - 1) + 1)}
    for name in ("RS256", "PS512"):
        with pytest.raises(ValueError, match=f"exponent of {bits} bits; write one wi"):
            algorithm_named(name).load_jwk(jwk)


def test_an_rsa_modulus_is_odd() -> None:
    """Half of it is 2, and the rest soon found."""
    jwk = {"kty": "RSA", "n": number(2**2047 + 2), "e": "AQAB"}
    with pytest.raises(ValueError, match="even modulus"):
        algorithm_named("RS256").load_jwk(jwk)


@dataclass(frozen=True)
class Edwards:
    """The curve a·x² + y² = 1 + d·x²·y² modulo p, for what follows from it."""

    name: str
    p: int
    a: int
    d: int
    order: int
    octets: int

    def point(self, y: int) -> tuple[int, int] | None:
        """The point at the height *y*, if there is one."""
        p = self.p
        square = (1 - y * y) * pow(self.a - self.d * y * y, -1, p) % p
        root = pow(square, (p + 3) // 8 if p % 8 == 5 else (p + 1) // 4, p)
        for x in (root, root * pow(2, (p - 1) // 4, p) % p):
            if x * x % p == square:
                return x, y
        return None

    def add(self, one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
        (x1, y1), (x2, y2), p = one, two, self.p
        t = self.d * x1 * x2 * y1 * y2
        x = (x1 * y2 + y1 * x2) * pow(1 + t, -1, p)
        y = (y1 * y2 - self.a * x1 * x2) * pow(1 - t, -1, p)
        return x % p, y % p

    def times(self, n: int, point: tuple[int, int]) -> tuple[int, int]:
        total = (0, 1)
        for bit in f"{n:b}":
            total = self.add(total, total)
            total = self.add(total, point) if bit == "1" else total
        return total

    def small_heights(self) -> set[int]:
        """y of every point of small order: the order of the group takes any to one."""
        points = [point for y in range(2, 12) if (point := self.point(y))]
        small = [self.times(self.order, point) for point in points]
        return {self.times(n, point)[1] for point in small for n in range(8)}

    def encodings(self) -> set[bytes]:
        """Every way to write such a point (RFC 8032 §5.1.2), sound or not."""
        heights = HEIGHTS[self.name]
        room = 1 << self.p.bit_length()
        written = [y + n * self.p for y in heights for n in (0, 1)]
        return {
            (y | sign << (8 * self.octets - 1)).to_bytes(self.octets, "little")
            for y in written
            for sign in (0, 1)
            if y < room
        }


P25519, P448 = 2**255 - 19, 2**448 - 2**224 - 1
CURVES = {
    "Ed25519": Edwards(
        "Ed25519",
        P25519,
        a=-1,
        d=-121665 * pow(121666, -1, P25519),
        order=2**252 + 27742317777372353535851937790883648493,
        octets=32,
    ),
    "Ed448": Edwards(
        "Ed448",
        P448,
        a=1,
        d=-39081,
        order=2**446
        - 13818066809895115352007386748515426880336692474882178609894547503885,
        octets=57,
    ),
}
HEIGHTS = {name: curve.small_heights() for name, curve in CURVES.items()}
SMALL = [
    pytest.param(name, octets, id=f"{name}-{octets.hex()}")
    for name, curve in CURVES.items()
    for octets in sorted(curve.encodings())
]


def test_the_points_of_small_order_follow_from_the_curves() -> None:
    """Our table has these heights and no other; 14 and 10 ways to write the points."""
    assert HEIGHTS["Ed25519"] | HEIGHTS["Ed448"] == SMALL_ORDER
    assert [len(CURVES[name].encodings()) for name in CURVES] == [14, 10]


@pytest.mark.parametrize(("name", "octets"), SMALL)
def test_a_public_key_of_small_order_is_refused(name: str, octets: bytes) -> None:
    """R = A, S = 0 verifies under it, for many messages or for all."""
    jwk = {"kty": "OKP", "crv": name, "x": base64url_encode(octets)}
    for alg in (name, "EdDSA"):
        with pytest.raises(
            ValueError, match="small order, under which anyone can sign"
        ):
            algorithm_named(alg).load_jwk(jwk)


@pytest.mark.parametrize("name", ["Ed25519", "Ed448"])
def test_a_public_key_of_small_order_is_refused_as_pem_too(name: str) -> None:
    kinds: dict[str, Any] = {
        "Ed25519": ed25519.Ed25519PublicKey,
        "Ed448": ed448.Ed448PublicKey,
    }
    identity = (1).to_bytes(CURVES[name].octets, "little")
    pem = public_pem(kinds[name].from_public_bytes(identity))
    with pytest.raises(ValueError, match="small order"):
        Key.from_pem(pem, name)


def test_octets_that_are_no_point_verify_nothing() -> None:
    """Neither library nor curve knows them; whatever comes of it, no signature does."""
    algorithm = algorithm_named("Ed25519")
    nowhere = next(y for y in range(2, 99) if CURVES["Ed25519"].point(y) is None)
    x = base64url_encode(nowhere.to_bytes(32, "little"))
    key = algorithm.load_jwk({"kty": "OKP", "crv": "Ed25519", "x": x})
    assert not verifies(algorithm, b"signed", key, bytes(64))


# Keys of another kind

P256 = ec.generate_private_key(ec.SECP256R1())
FOREIGN: dict[str, Any] = {
    "P-256": P256,
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "brainpool": ec.generate_private_key(ec.BrainpoolP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
    "Ed448": ed448.Ed448PrivateKey.generate(),
    "X25519": x25519.X25519PrivateKey.generate(),
    "X448": x448.X448PrivateKey.generate(),
    "ML-DSA-44": mldsa.MLDSA44PrivateKey.generate(),
    "ML-DSA-65": mldsa.MLDSA65PrivateKey.generate(),
    "RSA": rsa.generate_private_key(65537, 2048),
}
OWN = {
    "ES256": {"P-256"},
    "ES384": {"P-384"},
    "ES512": {"P-521"},
    "Ed25519": {"Ed25519"},
    "Ed448": {"Ed448"},
    "EdDSA": {"Ed25519", "Ed448"},
    "ML-DSA-44": {"ML-DSA-44"},
    "ML-DSA-65": {"ML-DSA-65"},
}


@pytest.mark.parametrize("name", NOT_HMAC)
def test_an_algorithm_takes_its_own_kind_and_curve_only(name: str) -> None:
    own = {"RSA"} if name.startswith(("RS", "PS")) else OWN.get(name, set())
    for kind, key in FOREIGN.items():
        private = key.private_bytes(PEM, PKCS8, OPEN)
        for pem in (private, public_pem(key)):
            if kind in own:
                algorithm_named(name).load_pem(pem)
                continue
            with pytest.raises(ValueError, match="not a sound key"):
                algorithm_named(name).load_pem(pem)


def test_a_jwk_of_another_curve_is_refused() -> None:
    """Though `jwt_middleware.jwk` has looked at ``crv`` before."""
    jwk = algorithm_named("Ed448").dump_jwk(material("Ed448"))
    with pytest.raises(ValueError, match="a key of Ed448, and Ed25519 takes one"):
        algorithm_named("Ed25519").load_jwk(jwk)


ARMOUR = P256.private_bytes(PEM, PKCS8, OPEN).splitlines()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        secrets.token_bytes(200),
        P256.private_bytes(PEM, PKCS8, LOCKED),
        P256.private_bytes(PEM, TRADITIONAL, LOCKED),
        P256.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, OPEN),
        P256.private_bytes(DER, PKCS8, OPEN),
        P256.public_key().public_bytes(DER, SPKI),
        b"\n".join(ARMOUR[:-1]),
        b"\n".join([ARMOUR[0], ARMOUR[-1]]),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b'{"kty":"EC"}',
    ],
    ids=[
        "nothing",
        "garbage",
        "noise",
        "encrypted",
        "encrypted the old way",
        "OpenSSH",
        "private DER",
        "public DER",
        "without an end",
        "without a body",
        "broken body",
        "certificate",
        "JWK",
    ],
)
def test_what_is_no_plain_pem_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\Anot a sound key: ") as refusal:
        algorithm_named("ES256").load_pem(data)
    quoted = str(refusal.value).encode()
    assert not any(line in quoted for line in data.split(b"\n")[1:-1] if line)


def certificate() -> bytes:
    """Of P256, by itself; it ended long ago."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    day = datetime(2001, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, P256.public_key(), 1, day, day)
    return builder.sign(P256, hashes.SHA256()).public_bytes(PEM)


def test_of_a_certificate_the_public_key_is_taken() -> None:
    assert algorithm_named("ES256").load_pem(certificate()) == P256.public_key()
    with pytest.raises(ValueError, match="not a sound key"):
        algorithm_named("ES384").load_pem(certificate())


def test_a_traditional_pem_is_plain_too() -> None:
    pem = P256.private_bytes(PEM, TRADITIONAL, OPEN)
    assert algorithm_named("ES256").load_pem(pem).public_key() == P256.public_key()


def test_what_no_library_has_read_is_no_key() -> None:
    for name in ("ES256", "Ed25519", "RS256", "ML-DSA-44"):
        with pytest.raises(ValueError, match="not a sound key"):
            algorithm_named(name).accept(object())


# JWKs that contradict themselves


@pytest.mark.parametrize("name", ["ES256", "ES512", "Ed25519", "Ed448", "ML-DSA-44"])
def test_a_private_half_belongs_to_its_public_half(name: str) -> None:
    """Else a signature could be made that gives the private half away."""
    algorithm = algorithm_named(name)
    jwk, other = (algorithm.dump_jwk(algorithm.create()) for _ in range(2))
    private = "priv" if "priv" in jwk else "d"
    with pytest.raises(ValueError, match="not a sound key"):
        algorithm.load_jwk({**jwk, private: other[private]})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ES256", {"y": base64url_encode(b"\1" * 32)}),  # not on the curve
        ("ES256", {"x": base64url_encode(b"\1" * 31)}),
        ("ES256", {"x": base64url_encode(b"\1" * 33)}),
        ("ES256", {"x": "", "y": ""}),
        ("ES256", {"x": base64url_encode(bytes(32)), "y": base64url_encode(bytes(32))}),
        ("Ed25519", {"x": base64url_encode(b"\7" * 31)}),
        ("Ed25519", {"x": base64url_encode(b"\7" * 33)}),
        ("Ed448", {"x": base64url_encode(b"\7" * 56)}),
        ("RS256", {"n": ""}),
        ("RS256", {"e": ""}),
        ("RS256", {"d": "AQAB"}),
        ("RS256", {"p": "AQAB"}),
        ("RS256", {"oth": [{}]}),
        ("ML-DSA-44", {"pub": base64url_encode(bytes(1311))}),
        ("ML-DSA-44", {"priv": base64url_encode(bytes(31))}),
        ("ML-DSA-44", {"priv": base64url_encode(bytes(33))}),
    ],
)
def test_damaged_members_are_refused(name: str, change: dict[str, Any]) -> None:
    algorithm = algorithm_named(name)
    with pytest.raises(ValueError, match=r"not a sound key|small order|an RSA key of"):
        algorithm.load_jwk({**algorithm.dump_jwk(material(name)), **change})


def test_an_ml_dsa_key_of_another_size_is_refused() -> None:
    for name, other in (("ML-DSA-44", "ML-DSA-65"), ("ML-DSA-87", "ML-DSA-44")):
        with pytest.raises(ValueError, match="not a sound key"):
            algorithm_named(name).load_jwk(
                algorithm_named(other).dump_jwk(material(other))
            )


def test_the_private_half_of_ml_dsa_is_its_seed() -> None:
    """RFC 9964 §3: 32 octets."""
    jwk = algorithm_named("ML-DSA-65").dump_jwk(material("ML-DSA-65"))
    assert sorted(jwk) == ["alg", "kty", "priv", "pub"]
    assert len(jwk["priv"]) == len(base64url_encode(bytes(32)))


@pytest.mark.parametrize("name", ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"])
def test_ml_dsa_is_that_of_the_library_without_context(name: str) -> None:
    key = material(name)
    assert verifies(algorithm_named(name), b"x", key.public_key(), key.sign(b"x"))
    in_context = key.sign(b"x", context=b"another protocol")
    assert not verifies(algorithm_named(name), b"x", key.public_key(), in_context)
