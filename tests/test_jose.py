"""Keys, and the signatures that they make and verify."""

from __future__ import annotations

import json
import re
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import joserfc.jwk
import joserfc.jws
import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from jwt_middleware import Key, StaticKeys, TokenIssuer, TrustedIssuer
from jwt_middleware.algorithms import algorithm_named
from jwt_middleware.compact import base64url_decode, base64url_encode
from jwt_middleware.errors import BadSignature, MalformedToken, UnknownKey
from jwt_middleware.jose import (
    MOST_CANDIDATES,
    fitting,
    read_jws,
    sign_compact,
    verify_compact,
)
from jwt_middleware.jwk import NAMES, PRIVATE_MEMBERS, thumbprint

from .conftest import sign
from .test_jwk import RFC7638_RSA, RFC8037_OKP, RFC9449_EC

ALL = sorted(NAMES)
HMAC = ("HS256", "HS384", "HS512")
NOT_HMAC = [name for name in ALL if name not in HMAC]
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
PKCS8 = serialization.PrivateFormat.PKCS8
OPEN = serialization.NoEncryption()


@cache
def key(name: str) -> Key:
    """The private key of the algorithm called *name*; RSA's is made once for all."""
    if name.startswith(("RS", "PS")) and name != "RS256":
        jwk = key("RS256").to_jwk(private=True)
        return Key.from_jwk({n: jwk[n] for n in jwk if n not in ("alg", "kid")}, name)
    return Key.generate(name)


@cache
def material(name: str) -> Any:
    """The same key as cryptography has it."""
    return algorithm_named(name).load_jwk(key(name).to_jwk(private=True))


def public_pem(name: str) -> bytes:
    pem: bytes = material(name).public_key().public_bytes(PEM, SPKI)
    return pem


# A key has one algorithm, a name, and a half that may be shown


@pytest.mark.parametrize("name", ALL)
def test_a_key_made_here_signs_and_verifies(name: str) -> None:
    mine = key(name)
    assert mine.algorithm == name
    assert mine.can_sign
    assert mine.is_symmetric == (name in HMAC)
    signature = mine.sign(b"signed")
    assert mine.verify(b"signed", signature)
    assert mine.public.verify(b"signed", signature)
    assert not mine.public.verify(b"other", signature)


@pytest.mark.parametrize("name", ALL)
def test_two_keys_are_never_the_same(name: str) -> None:
    other = Key.from_jwk(another(name), name)
    assert other.kid != key(name).kid
    assert not other.verify(b"x", key(name).sign(b"x"))


@cache
def another(name: str) -> dict[str, Any]:
    if name.startswith(("RS", "PS")):
        return RFC7638_RSA
    return Key.generate(name).to_jwk(private=True)


@pytest.mark.parametrize("name", NOT_HMAC)
def test_the_public_half_cannot_sign(name: str) -> None:
    public = key(name).public
    assert not public.can_sign
    assert not PRIVATE_MEMBERS & public.to_jwk().keys()
    with pytest.raises(ValueError, match="does not exist"):
        public.to_jwk(private=True)
    with pytest.raises(ValueError, match="verifies only; the private one signs"):
        public.sign(b"x")
    assert public.public.to_jwk() == public.to_jwk()


@pytest.mark.parametrize("name", HMAC)
def test_a_secret_is_shown_only_to_who_asks_for_it(name: str) -> None:
    for half in (key(name), key(name).public):
        assert half.can_sign  # who can verify can sign
        with pytest.raises(ValueError, match="or is a secret"):
            half.to_jwk()
        assert "k" in half.to_jwk(private=True)


@pytest.mark.parametrize("name", ALL)
def test_a_jwk_gives_back_the_same_key(name: str) -> None:
    whole = key(name).to_jwk(private=True)
    assert whole["alg"] == name
    assert whole["use"] == "sig"
    assert whole["kid"] == key(name).kid
    again = Key.from_jwk(json.loads(json.dumps(whole)))
    assert again.to_jwk(private=True) == whole
    assert again.algorithm == name
    assert key(name).public.verify(b"x", again.sign(b"x"))
    if name in NOT_HMAC:
        shown = Key.from_jwk(key(name).to_jwk())
        assert shown.to_jwk() == key(name).to_jwk()
        assert shown.verify(b"x", key(name).sign(b"x"))


@pytest.mark.parametrize("name", NOT_HMAC)
def test_pem_gives_back_the_same_key(name: str) -> None:
    private = Key.from_pem(material(name).private_bytes(PEM, PKCS8, OPEN), name)
    public = Key.from_pem(public_pem(name).decode(), name)
    assert private.to_jwk(private=True) == key(name).to_jwk(private=True)
    assert public.to_jwk() == key(name).to_jwk()
    assert private.can_sign
    assert not public.can_sign


@pytest.mark.parametrize("name", HMAC)
def test_a_secret_may_be_text_or_octets(name: str) -> None:
    secret = "0123456789abcdef" * (int(name[2:]) // 128)
    text, octets = Key.from_secret(secret, name), Key.from_secret(secret.encode(), name)
    assert octets.verify(b"x", text.sign(b"x"))
    assert text.to_jwk(private=True)["k"] == base64url_encode(secret.encode())


def test_what_is_not_said_is_es256_or_hs256() -> None:
    assert Key.generate().algorithm == "ES256"
    assert Key.from_secret(b"\x8f" * 32).algorithm == "HS256"


@pytest.mark.parametrize("name", ALL)
def test_a_key_has_a_name_that_its_halves_share(name: str) -> None:
    """RFC 7638 §3.2.1, and §3.2: nothing but the key itself counts."""
    mine = key(name)
    assert mine.kid == mine.public.kid == thumbprint(mine.to_jwk(private=True))
    assert re.fullmatch(r"[\w-]{43}", mine.kid)
    assert not mine.is_named
    assert not mine.public.is_named


@pytest.mark.parametrize(
    ("jwk", "kid"),
    [
        (RFC7638_RSA, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (RFC9449_EC, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"),
        (RFC8037_OKP, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ],
    ids=["RSA", "EC", "OKP"],
)
def test_a_key_without_a_name_is_called_by_its_thumbprint(
    jwk: dict[str, str], kid: str
) -> None:
    assert Key.from_jwk(jwk).kid == kid
    assert Key.from_jwk({**jwk, "use": "sig", "ext": True}).kid == kid


def test_the_thumbprint_of_an_ml_dsa_key_includes_its_algorithm() -> None:
    """RFC 9964 §6; the octets alone do not make the key what it is."""
    jwk = key("ML-DSA-44").to_jwk()
    assert key("ML-DSA-44").kid == thumbprint(jwk) != thumbprint({**jwk, "alg": "X"})


def test_a_name_that_was_given_stays() -> None:
    named = Key.generate(kid="k1")
    assert named.is_named
    assert named.public.is_named
    assert named.kid == named.public.kid == named.to_jwk()["kid"] == "k1"
    assert Key.from_jwk({**RFC9449_EC, "kid": "k2"}).kid == "k2"
    assert Key.from_secret(b"\x8f" * 32, kid="k3").kid == "k3"
    assert Key.from_pem(public_pem("ES256"), "ES256", "k4").kid == "k4"


@pytest.mark.parametrize("kid", ["", 7, b"k", ["k"], False, "\ud800"])
def test_a_name_is_a_string_with_something_in_it(kid: Any) -> None:
    makers: list[Callable[[], Key]] = [
        lambda: Key.generate(kid=kid),
        lambda: Key.from_jwk({**RFC9449_EC, "kid": kid}),
        lambda: Key.from_secret(b"\x8f" * 32, kid=kid),
        lambda: Key.from_pem(public_pem("ES256"), "ES256", kid),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="kid must be a string"):
            make()


# EdDSA, the legacy name of two algorithms (RFC 9864 §2.2)


@pytest.mark.parametrize(("name", "crv"), [("Ed25519", "Ed25519"), ("Ed448", "Ed448")])
def test_each_edwards_key_answers_to_its_name_and_to_eddsa(name: str, crv: str) -> None:
    jwk = {**key(name).to_jwk(private=True), "alg": "EdDSA"}
    legacy = Key.from_jwk(jwk)
    assert legacy.algorithm == "EdDSA"
    assert legacy.names == key(name).names == {crv, "EdDSA"}
    for alg in (name, "EdDSA"):
        for signer in (legacy, key(name)):
            text = sign_compact({"alg": alg}, b"{}", signer)
            assert verify_compact(text, [legacy.public])[0]["alg"] == alg
            assert verify_compact(text, [key(name).public])[0]["alg"] == alg


def test_a_new_eddsa_key_is_an_ed25519_key() -> None:
    assert Key.generate("EdDSA").names == {"EdDSA", "Ed25519"}


@pytest.mark.parametrize(
    ("name", "other"), [("Ed25519", "Ed448"), ("Ed448", "Ed25519")]
)
def test_one_curve_is_not_the_other(name: str, other: str) -> None:
    jwk = key(name).to_jwk()
    with pytest.raises(ValueError, match="no signature here uses"):
        Key.from_jwk({n: jwk[n] for n in ("kty", "crv", "x")}, other)
    with pytest.raises(ValueError, match=f"a key of {name}, and {other} takes"):
        Key.from_pem(public_pem(name), other)
    text = sign_compact({"alg": other}, b"{}", key(name))
    with pytest.raises(UnknownKey):
        verify_compact(text, [key(name)])


@pytest.mark.parametrize(
    "name", [n for n in ALL if n not in ("Ed25519", "Ed448", "EdDSA")]
)
def test_every_other_key_answers_to_one_name(name: str) -> None:
    assert key(name).names == {name}


# Keys that are refused


def test_the_alg_of_a_jwk_is_not_overruled() -> None:
    jwk = key("RS256").to_jwk()
    assert Key.from_jwk(jwk, "RS256").algorithm == "RS256"
    for name in ("PS256", "RS512", "HS256", "none"):
        with pytest.raises(ValueError, match=f"the JWK is for RS256, not for {name}"):
            Key.from_jwk(jwk, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kty": "XYZ"}, "of a kind that no signature here uses"),
        ({"alg": "ES384"}, "of a kind that no signature here uses"),
        ({"alg": "none"}, "of a kind that no signature here uses"),
        ({"use": "enc"}, "its use is not"),
        ({"key_ops": ["encrypt"]}, "neither sign nor verify"),
        ({"x": None}, "the JWK's x is missing"),
        ({"d": 5}, "the JWK's d is missing"),
        ({"y": base64url_encode(bytes(32))}, "not a sound key"),
    ],
    ids=str,
)
def test_a_jwk_that_is_not_for_this_is_refused(
    change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Key.from_jwk({**RFC9449_EC, **change})


@pytest.mark.parametrize("name", HMAC)
def test_pem_is_never_a_secret(name: str) -> None:
    with pytest.raises(ValueError, match="PEM is no HMAC secret; name its algorithm"):
        Key.from_pem(public_pem("RS256"), name)


@pytest.mark.parametrize("name", NOT_HMAC)
def test_what_is_not_hmac_has_no_secret(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no secret; use Key.from_pem"):
        Key.from_secret(b"\x8f" * 64, name)


@pytest.mark.parametrize("name", ["none", "ES256K", "HS255"])
def test_no_way_of_making_a_key_knows_another_algorithm(name: str) -> None:
    makers: list[Callable[[], Key]] = [
        lambda: Key.generate(name),
        lambda: Key.from_pem(public_pem("ES256"), name),
        lambda: Key.from_secret(b"\x8f" * 64, name),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="expected the name of one; write "):
            make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Key.from_jwk(json.dumps(RFC9449_EC)),  # type: ignore[arg-type]
        lambda: Key.from_jwk(None),  # type: ignore[arg-type]
        lambda: Key.from_pem(None, "ES256"),  # type: ignore[arg-type]
        lambda: Key.from_pem(public_pem("ES256"), None),  # type: ignore[arg-type]
        lambda: Key.from_secret(None),  # type: ignore[arg-type]
        lambda: Key.from_secret(b"\x8f" * 64, None),  # type: ignore[arg-type]
        lambda: Key.generate(None),  # type: ignore[arg-type]
        lambda: Key.generate(["ES256"]),  # type: ignore[arg-type]
    ],
    ids=[
        "JWK as text",
        "no JWK",
        "no PEM",
        "PEM for nothing",
        "no secret",
        "secret for nothing",
        "nothing",
        "several algorithms",
    ],
)
def test_arguments_of_another_type_are_wrong_configuration(
    make: Callable[[], Key],
) -> None:
    """ValueError, as all wrong configuration: one `except` catches it."""
    with pytest.raises(ValueError, match=r"."):
        make()


def jwks_text(**options: Any) -> str:
    return json.dumps({"keys": [key("RS256").to_jwk()]}, **options)


@pytest.mark.parametrize(
    "secret",
    [
        public_pem("RS256"),
        public_pem("ES256"),
        public_pem("Ed25519"),
        b" \n" + public_pem("RS256"),
        public_pem("RS256").replace(b"\n", b"\r\n"),
        public_pem("RS256").replace(b"\n", b"\\n"),  # as in an environment variable
        material("ES256").public_key().public_bytes(DER, SPKI),
        material("RS256").public_key().public_bytes(DER, SPKI),
        material("RS256")
        .public_key()
        .public_bytes(DER, serialization.PublicFormat.PKCS1),
        material("RS256")
        .public_key()
        .public_bytes(PEM, serialization.PublicFormat.PKCS1),
        material("ES256")
        .public_key()
        .public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        ),
        material("RS256").private_bytes(PEM, PKCS8, OPEN),
        json.dumps(RFC9449_EC),
        json.dumps(RFC7638_RSA, indent=2),
        json.dumps(key("ML-DSA-44").to_jwk()),
        jwks_text(),
        f"\n{jwks_text(indent=2)}\n",
        b64encode(material("ES256").public_key().public_bytes(DER, SPKI)),
        b64encode(material("RS256").public_key().public_bytes(DER, SPKI)).decode(),
    ],
    ids=[
        "RSA PEM",
        "EC PEM",
        "Ed25519 PEM",
        "indented PEM",
        "PEM with CR LF",
        "PEM with escaped line breaks",
        "EC DER",
        "RSA DER",
        "RSA DER, PKCS 1",
        "RSA PEM, PKCS 1",
        "OpenSSH",
        "private PEM",
        "EC JWK",
        "RSA JWK",
        "AKP JWK",
        "JWK Set",
        "indented JWK Set",
        "EC DER in base64",  # PEM without its lines, as some consoles show it
        "RSA DER in base64",
    ],
)
def test_what_the_world_knows_is_no_secret(secret: str | bytes) -> None:
    """Else whoever has the public key signs with it (RFC 8725 §2.1)."""
    with pytest.raises(ValueError, match="not a sound key for this algorithm"):
        Key.from_secret(secret)


@pytest.mark.parametrize(
    "secret",
    [b64encode(b"\x8f" * 32), "0123456789abcdef" * 2, "=" * 32, "é" * 16, b"\0" * 32],
)
def test_what_only_looks_like_base64_is_a_secret(secret: str | bytes) -> None:
    """It is taken as it is, and never decoded."""
    octets = secret.encode() if isinstance(secret, str) else secret
    jwk = Key.from_secret(secret).to_jwk(private=True)
    assert base64url_decode(jwk["k"].encode()) == octets


# No key shows what it is made of


def secrets_of(name: str) -> list[str]:
    jwk = key(name).to_jwk(private=True)
    return [jwk[member] for member in jwk if member in {*PRIVATE_MEMBERS, "k"}]


@pytest.mark.parametrize("name", ALL)
def test_no_repr_shows_key_material(name: str) -> None:
    mine = key(name)
    assert repr(mine) == str(mine) == f"<Key {name} {mine.kid!r}>"
    trusted = TrustedIssuer("i", audience="a", keys=[mine])
    holders: list[object] = [
        mine.public,
        [mine],
        StaticKeys(mine),
        trusted,
        TokenIssuer("i", audience="a", key=mine),
        trusted.policy,
    ]
    text = "".join(repr(holder) for holder in holders)
    assert secrets_of(name)
    for secret in secrets_of(name):
        assert secret not in text
        assert repr(base64url_decode(secret.encode())) not in text


def test_a_repr_shows_a_name_escaped_and_cut() -> None:
    assert repr(Key.generate(kid="a'\u202e\x9b")) == ('<Key ES256 "a\'\\u202e\\x9b">')
    assert len(repr(Key.generate(kid="k" * 10_000))) < 120


ONE_OF_EACH_KIND = ["HS256", "RS256", "ES256", "Ed25519", "Ed448", "ML-DSA-44"]


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_no_refusal_shows_key_material(name: str) -> None:
    """Each member of a private key is damaged in turn."""
    jwk = key(name).to_jwk(private=True)
    for member in set(jwk) - {"kty", "alg", "crv", "kid", "use"}:
        for value in (None, "=", "A", f"{jwk[member]}="):
            with pytest.raises(ValueError, match=f"the JWK's {member} is") as refusal:
                Key.from_jwk({**jwk, member: value})
            ensure_silent(refusal.value, secrets_of(name))


@pytest.mark.parametrize("name", ["RS256", "ES256", "Ed25519", "Ed448", "ML-DSA-44"])
def test_no_refusal_of_a_library_shows_key_material(name: str) -> None:
    """PyJWT's texts quote the whole JWK."""
    jwk = key(name).to_jwk(private=True)
    member = "priv" if "priv" in jwk else "d"
    with pytest.raises(ValueError, match="not a sound key") as refusal:
        Key.from_jwk({**jwk, member: "AQEBAQEBAQ"})
    ensure_silent(refusal.value, [*secrets_of(name), "AQEBAQEBAQ"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Key.from_secret("hunter2"),
        lambda: Key.from_secret(b"hunter2"),
        lambda: Key.from_secret("HS256", "hunter2" * 9),  # the wrong way round
        lambda: Key.from_pem("ES256", "-----BEGIN PRIVATE KEY-----\nhunter2"),
        lambda: Key.from_jwk("ES256", {"d": "hunter2"}),  # type: ignore[arg-type]
        lambda: Key.from_secret("hunter2" * 9 + "\udc80"),  # os.environ makes such
        lambda: Key.from_pem("-----BEGIN PRIVATE KEY-----\nhunter2", "ES256"),
        lambda: Key.from_pem("-----BEGIN PRIVATE KEY-----\nhunter2\udc80", "ES256"),
        lambda: Key.from_pem("hunter2", "HS256"),
        lambda: StaticKeys("hunter2"),  # type: ignore[arg-type]
        lambda: TrustedIssuer("i", audience="a", keys="hunter2"),  # type: ignore[arg-type]
        lambda: TrustedIssuer("i", audience="a", keys=["hunter2"]),  # type: ignore[list-item]
        lambda: TrustedIssuer(
            "i", audience="a", keys={"keys": [{"kty": "oct", "k": "hunter2="}]}
        ),
    ],
    ids=[
        "short text",
        "short octets",
        "secret for algorithm",
        "PEM for algorithm",
        "JWK for algorithm",
        "text that is not UTF-8",
        "broken PEM",
        "broken PEM that is not UTF-8",
        "PEM for HMAC",
        "text for StaticKeys",
        "text for keys",
        "text among keys",
        "broken member",
    ],
)
def test_no_refusal_shows_a_secret(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        make()
    ensure_silent(refusal.value, ["hunter2"])


def ensure_silent(error: BaseException, secrets: list[str]) -> None:
    """Neither the text of *error* nor what a log shows of it has one of *secrets*."""
    chain = "".join(traceback.format_exception_only(error))
    if error.__context__ is not None and not error.__suppress_context__:
        chain += repr(error.__context__)
    for secret in secrets:
        assert secret not in f"{error} {error!r} {chain}"


# Which keys a header may mean


A, B = (Key.generate("ES256", kid=kid) for kid in "AB")
NAMELESS = Key.generate("ES256")


def chosen(keys: list[Key], **header: Any) -> list[Key]:
    return list(fitting(keys, {"alg": "ES256", **header}))


def test_a_kid_means_the_key_of_that_name() -> None:
    assert chosen([A, B, NAMELESS], kid="B") == [B]


def test_a_kid_that_nobody_has_may_mean_a_key_without_a_name() -> None:
    """As one from PEM; never one that is called otherwise."""
    assert chosen([A, NAMELESS, B], kid="C") == [NAMELESS]
    with pytest.raises(UnknownKey, match="0 keys fit alg 'ES256', kid 'C'"):
        chosen([A, B], kid="C")


def test_the_thumbprint_of_a_key_without_a_name_is_its_name_too() -> None:
    other = Key.generate("ES256")
    assert chosen([other, NAMELESS], kid=NAMELESS.kid) == [NAMELESS]


def test_a_kid_is_compared_to_the_letter() -> None:
    for kid in ("a", "A ", "", "\u0410"):
        with pytest.raises(UnknownKey):
            chosen([A, B], kid=kid)


def test_without_a_kid_every_key_of_the_algorithm_may_be_meant() -> None:
    keys = [A, key("RS256"), B, NAMELESS]
    assert chosen(keys) == [A, B, NAMELESS]


def test_the_algorithm_decides_before_the_kid() -> None:
    """One name for two algorithms is one name for two keys."""
    twin = Key.generate("Ed25519", kid="A")
    assert chosen([A, twin], kid="A") == [A]
    assert chosen([A, twin], alg="EdDSA", kid="A") == [twin]
    with pytest.raises(UnknownKey, match="0 keys fit alg 'RS256', kid 'A'"):
        chosen([A, twin], alg="RS256", kid="A")


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "es256", "", "ES256 "])
def test_an_alg_that_no_key_has_means_none(alg: str) -> None:
    with pytest.raises(UnknownKey, match="0 keys fit"):
        chosen([A, NAMELESS], alg=alg)


def test_a_token_costs_few_verifications() -> None:
    keys = [Key.generate("ES256") for _ in range(MOST_CANDIDATES + 1)]
    assert chosen(keys[:MOST_CANDIDATES]) == keys[:MOST_CANDIDATES]
    for header in ({}, {"kid": "C"}):
        with pytest.raises(UnknownKey, match="5 keys fit"):
            chosen(keys, **header)
    assert chosen(keys, kid=keys[4].kid) == [keys[4]]


def test_of_keys_of_one_name_each_may_be_meant() -> None:
    """`StaticKeys` takes no such two; another source may."""
    twin = Key.generate("ES256", kid="A")
    assert chosen([A, twin, B], kid="A") == [A, twin]


def test_what_a_stranger_wrote_is_logged_escaped_and_cut() -> None:
    with pytest.raises(UnknownKey) as refusal:
        chosen([A], kid="\n" * 500)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 160


# What a header may ask for


def headed(header: Mapping[str, Any]) -> str:
    return sign({"alg": "ES256", **header}, b"{}", A)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"kid": "A"},
        {"typ": 5},  # a claim of another kind: for the policy to refuse
        {"cty": "json"},
        {"cty": 5},
        {"jwk": RFC9449_EC},
        {"jku": "https://evil.example/jwks", "x5u": "https://evil.example/"},
        {"x5c": ["AAAA"], "x5t": "AAAA", "x5t#S256": "AAAA"},
        {"unheard-of": [1]},
    ],
    ids=str,
)
def test_what_does_not_change_the_signature_is_not_looked_at(
    header: dict[str, Any],
) -> None:
    text = headed(header)
    assert read_jws(text).header == {"alg": "ES256", **header}
    assert verify_compact(text, [A.public])[1] == b"{}"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"alg": None}, "alg or kid is not a string"),
        ({"alg": ["ES256"]}, "alg or kid is not a string"),
        ({"alg": 7}, "alg or kid is not a string"),
        ({"kid": 7}, "alg or kid is not a string"),
        ({"kid": None}, "alg or kid is not a string"),
        ({"kid": {}}, "alg or kid is not a string"),
        ({"crit": []}, "the header has crit"),
        ({"crit": ["exp"], "exp": 1}, "the header has crit"),
        ({"crit": None}, "the header has crit"),
        ({"b64": False, "crit": ["b64"]}, "the header has crit and b64"),
        ({"b64": True}, "the header has b64"),
        ({"zip": "DEF"}, "the header has zip"),
        ({"enc": "A256GCM"}, "the header has enc"),
        ({"cty": "JWT"}, "a nested token"),
        ({"cty": "jwt"}, "a nested token"),
        ({"cty": "application/jwt"}, "a nested token"),
        ({"cty": "application/at+JWT"}, "a nested token"),
    ],
    ids=str,
)
def test_what_would_change_what_is_signed_is_refused(
    header: dict[str, Any], message: str
) -> None:
    """Though the signature is good."""
    with pytest.raises(MalformedToken, match=message):
        verify_compact(headed(header), [A.public])


def test_a_header_without_alg_is_refused() -> None:
    with pytest.raises(MalformedToken, match="alg or kid is not a string"):
        read_jws(sign({}, b"{}", A))


# The signature layer alone


@pytest.mark.parametrize("name", ALL)
def test_a_signed_text_verifies_with_its_key_alone(name: str) -> None:
    text = sign_compact({"typ": "x"}, b"\0\xff", key(name))
    header, payload = verify_compact(text, [key(name).public])
    assert header == {"alg": name, "kid": key(name).kid, "typ": "x"}
    assert payload == b"\0\xff"
    stranger = Key.from_jwk({**another(name), "kid": key(name).kid}, name)
    with pytest.raises(BadSignature):
        verify_compact(text, [stranger])


@pytest.mark.parametrize("name", ALL)
def test_each_segment_is_covered(name: str) -> None:
    header, payload, signature = sign_compact({}, b"{}", key(name)).split(".")
    forged = base64url_encode(json.dumps({"alg": name, "kid": key(name).kid}).encode())
    unsigned = base64url_encode(bytes(len(base64url_decode(signature.encode()))))
    for text in (
        f"{forged}.{payload}.{signature}",
        f"{header}.e30K.{signature}",
        f"{header}..{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{unsigned}",
        f"{header}.{payload}.{signature}AAAA",
    ):
        with pytest.raises(BadSignature, match="not of the keys that fit"):
            verify_compact(text, [key(name).public])


def test_any_of_the_keys_that_fit_may_have_signed() -> None:
    text = sign({"alg": "ES256"}, b"{}", B)
    assert verify_compact(text, [A.public, B.public])[1] == b"{}"
    with pytest.raises(BadSignature):
        verify_compact(text, [A.public])
    with pytest.raises(UnknownKey):
        verify_compact(text, [])


def test_keys_may_be_an_iterator() -> None:
    text = sign_compact({}, b"{}", A)
    assert verify_compact(text, iter([B, A]))[1] == b"{}"


def test_a_public_key_never_verifies_as_a_secret() -> None:
    """HS256 over the PEM, the DER and the JWK of our own RSA key."""
    public = key("RS256").public
    hmac = algorithm_named("HS256")
    signing_input = (
        f"{base64url_encode(json.dumps({'alg': 'HS256', 'kid': public.kid}).encode())}."
        f"{base64url_encode(b'{}')}"
    )
    for secret in (
        public_pem("RS256"),
        material("RS256").public_key().public_bytes(DER, SPKI),
        json.dumps(public.to_jwk()).encode(),
    ):
        signature = base64url_encode(hmac.sign(signing_input.encode(), secret))
        with pytest.raises(UnknownKey, match="0 keys fit alg 'HS256'"):
            verify_compact(f"{signing_input}.{signature}", [public])


def test_a_header_that_was_given_stays() -> None:
    header, _ = verify_compact(
        sign_compact({"kid": "x", "typ": "y"}, b"", NAMELESS), [NAMELESS]
    )
    assert header == {"alg": "ES256", "kid": "x", "typ": "y"}


# Others understand us, and we them

CLAIMS = {"iss": "i", "aud": "a", "sub": "é", "exp": 4_000_000_000}
BY_PYJWT = [name for name in ALL if name in jwt.PyJWS().get_algorithms()]
BY_JOSERFC = [name for name in ALL if not name.startswith("ML-DSA")]


def jwk_to_verify(name: str) -> dict[str, Any]:
    return key(name).to_jwk(private=name in HMAC)


def test_most_algorithms_are_known_to_others() -> None:
    assert len(BY_PYJWT) == 13
    assert set(ALL) - set(BY_JOSERFC) == {"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}


@pytest.mark.parametrize("name", BY_PYJWT)
def test_pyjwt_verifies_what_we_sign(name: str) -> None:
    text = sign_compact({"typ": "at+jwt"}, json.dumps(CLAIMS).encode(), key(name))
    trusted = jwt.PyJWK(jwk_to_verify(name))
    assert jwt.decode(text, trusted, algorithms=[name], audience="a") == CLAIMS


@pytest.mark.parametrize("name", BY_PYJWT)
def test_we_verify_what_pyjwt_signs(name: str) -> None:
    signer = jwt.PyJWK(key(name).to_jwk(private=True))
    text = jwt.encode(CLAIMS, signer, algorithm=name, headers={"kid": key(name).kid})
    header, payload = verify_compact(text, [key(name).public])
    assert header["alg"] == name
    assert json.loads(payload) == CLAIMS


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("name", BY_JOSERFC)
def test_joserfc_verifies_what_we_sign(name: str) -> None:
    text = sign_compact({"typ": "at+jwt"}, json.dumps(CLAIMS).encode(), key(name))
    trusted = joserfc.jwk.import_key(jwk_to_verify(name))
    read = joserfc.jws.deserialize_compact(text, trusted, algorithms=[name])
    assert json.loads(read.payload) == CLAIMS
    assert trusted.thumbprint() == key(name).kid


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("name", BY_JOSERFC)
def test_we_verify_what_joserfc_signs(name: str) -> None:
    signer = joserfc.jwk.import_key(key(name).to_jwk(private=True))
    octets = json.dumps(CLAIMS).encode()
    text = joserfc.jws.serialize_compact(
        {"alg": name, "kid": key(name).kid}, octets, signer, algorithms=[name]
    )
    assert verify_compact(text, [key(name).public])[1] == octets


@pytest.mark.parametrize("crv", ["P-256", "P-384", "P-521", "Ed25519", "Ed448"])
def test_we_read_the_keys_that_joserfc_makes(crv: str) -> None:
    make: Any = joserfc.jwk.ECKey if crv.startswith("P") else joserfc.jwk.OKPKey
    theirs = make.generate_key(crv)
    ours = Key.from_jwk(theirs.as_dict(private=True))
    assert ours.can_sign
    assert ours.kid == theirs.thumbprint()
    assert Key.from_jwk(theirs.as_dict(private=False)).verify(b"x", ours.sign(b"x"))
