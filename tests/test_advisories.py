"""What advisories taught other JWT libraries, tried on us; `LEFT_OUT` says what not.

A test bears the number of its advisory; where several teach one lesson, the others
stand in its docstring.
"""

from __future__ import annotations

import base64
import datetime
import hmac
import json
import logging
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from jwt_middleware import (
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    RemoteKeys,
    Rule,
    StaticKeys,
    TokenIssuer,
    TrustedIssuer,
)
from jwt_middleware.compact import base64url_decode, base64url_encode
from jwt_middleware.jose import verify_compact

from . import keyserver_answers as answers
from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    SIGNING_KEY,
    authenticator,
    clock,
    mint_token,
    sign,
    trusted,
)
from .doors import Door
from .faults import landed, lock, remote
from .keyserver import KeyServer
from .store_suite import Clock

HASHES = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DEEP = 2_000
"""Levels of JSON that fit into a token, and at which `json` gives up."""


def private_pem(material: Any) -> bytes:
    pem: bytes = material.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return pem


def certificate(material: Any) -> x509.Certificate:
    """A certificate that *material* signed for itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    is_edwards = isinstance(material, ed25519.Ed25519PrivateKey)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(material.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=3650))
        .sign(material, None if is_edwards else hashes.SHA256())
    )


MATERIAL: dict[str, Any] = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
KEYS = {
    name: Key.from_pem(private_pem(material), name, kid="k1")
    for name, material in MATERIAL.items()
}


def shapes(name: str) -> dict[str, bytes]:
    """The public key in every shape in which somebody might hold it."""
    public, issued = MATERIAL[name].public_key(), certificate(MATERIAL[name])
    pem: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jwk = json.dumps(KEYS[name].public.to_jwk()).encode()
    found = {
        "PEM": pem,
        "PEM after a BOM": b"\xef\xbb\xbf" + pem,
        "PEM after a line break": b"\n" + pem,
        "PEM after a space": b" " + pem,
        "PEM after a word": b"key: " + pem,
        "PEM without its last line break": pem.rstrip(),
        "PEM with CRLF": pem.replace(b"\n", b"\r\n"),
        "PEM with escaped line breaks": pem.replace(b"\n", b"\\n"),
        "PEM in base64": base64.b64encode(pem),
        "PEM without its armour": b"\n".join(pem.split(b"\n")[1:-2]),
        "DER": der,
        "DER before a line break": der + b"\n",
        "DER in base64": base64.b64encode(der),
        "DER in base64url": base64url_encode(der).encode(),
        "JWK": jwk,
        "JWK after a BOM": b"\xef\xbb\xbf" + jwk,
        "JWK between line breaks": b"\n" + jwk + b"\n",
        "JWK in an array": b"[" + jwk + b"]",
        "JWK Set": b'{"keys":[' + jwk + b"]}",
        "JWK in base64url": base64url_encode(jwk).encode(),
        "certificate": issued.public_bytes(Encoding.PEM),
        "certificate in DER": issued.public_bytes(Encoding.DER),
        "OpenSSH": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    }
    if name == "RS256":
        found["PKCS#1"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        found["PKCS#1 in DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return found


SHAPES = {name: shapes(name) for name in MATERIAL}


def mac(secret: bytes, *, alg: str = "HS256", **claims: Any) -> str:
    """A token of the tests' issuer that whoever knows *secret* can make."""
    unsigned, _, _ = mint_token(header={"alg": alg}, **claims).rpartition(".")
    digest = hmac.new(secret, unsigned.encode(), HASHES[alg]).digest()
    return f"{unsigned}.{base64url_encode(digest)}"


def ensure_refused(door: Door, *tokens: str) -> None:
    for token in tokens:
        answer = door.get(bearer=token)
        assert answer.status in (400, 401), answer
        assert not answer.entered


def with_keys(door: Door, *keys: Key, **options: Any) -> Door:
    return door.behind(authenticator(trusted(keys=keys, **options)))


# A public key is no secret.


@pytest.mark.parametrize("shape", SHAPES["RS256"])
def test_cve_2022_29217_a_public_key_is_no_hmac_secret(door: Door, shape: str) -> None:
    """Whoever knows the public key, in whatever shape, cannot sign with it.

    Also CVE-2024-33663 and CVE-2026-85394 (python-jose), CVE-2024-37568 and
    CVE-2026-114615 (Authlib), and of PyJWT 2.14.0 CVE-2026-102268 (GHSA-ffc3),
    CVE-2026-102271 (GHSA-p4g4), CVE-2026-102272, CVE-2026-102273 (GHSA-w2cx) and
    GHSA-r6x4.
    """
    secret = Key.generate("HS256", kid="k1")
    for name in MATERIAL:
        octets = SHAPES[name].get(shape)
        if octets is None:
            continue
        forged = [mac(octets, alg=alg) for alg in HASHES]
        ensure_refused(with_keys(door, KEYS[name]), *forged)
        ensure_refused(with_keys(door, KEYS[name].public), *forged)
        ensure_refused(with_keys(door, KEYS[name], secret), *forged)
        ensure_refused(with_keys(door, KEYS[name], algorithms=(name,)), *forged)
        assert (
            with_keys(door, KEYS[name]).get(bearer=mint_token(key=KEYS[name])).entered
        )


@pytest.mark.parametrize("shape", SHAPES["RS256"])
def test_cve_2026_102268_a_public_key_cannot_be_configured_as_a_secret(
    shape: str,
) -> None:
    """The other half: nobody gives it to us as a secret by mistake.

    Also GHSA-ffc3, CVE-2026-102271 (GHSA-p4g4), CVE-2026-102272, CVE-2026-102273
    (GHSA-w2cx), GHSA-r6x4, CVE-2026-85394 and CVE-2026-114615.
    """
    accepted = []
    for name in MATERIAL:
        octets = SHAPES[name].get(shape)
        if octets is None:
            continue
        jwk = {"kty": "oct", "k": base64url_encode(octets), "alg": "HS256"}
        if not is_refused(Key.from_secret, octets):
            accepted.append(f"{name} as text")
        if not is_refused(Key.from_jwk, jwk):
            accepted.append(f"{name} in a JWK")
    assert accepted == []


def is_refused(make: Callable[[Any], object], given: object) -> bool:
    try:
        make(given)
    except ValueError:
        return True
    return False


def test_cve_2026_48526_a_jwk_as_text_is_no_secret(door: Door) -> None:
    """GHSA-xgmm: also where it is the JWK of a secret, and its text not the secret."""
    key = Key.generate("HS256", kid="k1")
    text = json.dumps(key.to_jwk(private=True))
    opened = with_keys(door, key)

    for given in (text, text.encode(), f" {text}\n", f"[{text}]"):
        with pytest.raises(ValueError, match="not a sound key"):
            Key.from_secret(given)
    ensure_refused(opened, mac(text.encode()), mac(f"[{text}]".encode()))
    assert opened.get(bearer=mint_token(key=key)).entered


@pytest.mark.parametrize("algorithm", HASHES)
def test_cve_2025_45768_a_weak_key_is_refused(algorithm: str) -> None:
    """PyJWT warns at most; RFC 7518 §3.2 and §3.3 say how long a key must be."""
    least = int(algorithm[2:]) // 8
    for length in (1, 8, least - 1):
        octets = bytes(range(length))
        jwk = {"kty": "oct", "k": base64url_encode(octets), "alg": algorithm}
        with pytest.raises(ValueError, match="octets or more"):
            Key.from_secret(octets, algorithm)
        with pytest.raises(ValueError, match="octets or more"):
            Key.from_jwk(jwk)
        with pytest.raises(ValueError, match="octets or more"):
            trusted(keys={"keys": [jwk]})
    assert Key.from_secret(bytes(range(least)), algorithm).algorithm == algorithm


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "PS512"])
def test_cve_2025_45768_a_short_rsa_key_is_refused(algorithm: str) -> None:
    """The same for RSA, below 2048 bits."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  (it is the subject)
    numbers = short.public_key().public_numbers()
    n = base64url_encode(numbers.n.to_bytes(128, "big"))
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": algorithm}

    with pytest.raises(ValueError, match="1024 bits"):
        Key.from_pem(private_pem(short), algorithm)
    with pytest.raises(ValueError, match="1024 bits"):
        trusted(keys={"keys": [jwk]})


def test_cve_2026_102266_an_empty_secret_is_no_key(door: Door) -> None:
    """GHSA-9j54 and GHSA-pxh4, also CVE-2026-114616: not as text, not as a JWK."""
    for empty in ("", b""):
        with pytest.raises(ValueError, match="not a sound key"):
            Key.from_secret(empty)
    jwks: list[dict[str, Any]] = [
        {"kty": "oct", "k": ""},
        {"kty": "oct"},
        {"kty": "oct", "k": None},
        {"kty": "oct", "k": "="},
    ]
    for jwk in jwks:
        with pytest.raises(ValueError, match=r"k is missing|not a sound key"):
            Key.from_jwk(jwk)
        with pytest.raises(ValueError, match=r"k is missing|not a sound key"):
            trusted(keys={"keys": [jwk]})
    secret = with_keys(door, Key.generate("HS256", kid="k1"))
    forged = [mac(octets) for octets in (b"", b"\0", b"\0" * 32, b"None", b"k1")]
    ensure_refused(door, *forged)
    ensure_refused(secret, *forged)


# A token does not choose how it is verified.


def test_cve_2026_48523_a_key_has_one_algorithm_and_the_issuer_a_list(
    door: Door,
) -> None:
    """GHSA-jq35: neither the key's algorithm nor the header's goes past the list."""
    both = (KEYS["RS256"], Key.from_pem(private_pem(MATERIAL["ES256"]), "ES256"))
    listed = with_keys(door, *both, algorithms=("RS256",))
    es256 = mint_token(key=both[1])

    assert with_keys(door, *both).get(bearer=es256).entered
    assert listed.get(bearer=mint_token(key=both[0])).entered
    ensure_refused(listed, es256)
    with pytest.raises(ValueError, match="no key is for any of RS256"):
        trusted(keys=[both[1]], algorithms=("RS256",))
    for other in ("RS384", "RS512", "PS256", "ES256", "HS256", "rs256", "RS256 "):
        ensure_refused(listed, mint_token(key=both[0], header={"alg": other}))


def test_cve_2026_48523_a_jwk_without_alg_takes_one_of_the_list(door: Door) -> None:
    """Its type can do six algorithms, of which it does the one that is accepted."""
    members = {
        name: value
        for name, value in KEYS["RS256"].public.to_jwk().items()
        if name != "alg"
    }
    jwks = {"keys": [members]}
    listed = door.behind(authenticator(trusted(keys=jwks, algorithms=("PS256",))))
    pss = Key.from_pem(private_pem(MATERIAL["RS256"]), "PS256", kid="k1")

    assert listed.get(bearer=mint_token(key=pss)).entered
    ensure_refused(listed, mint_token(key=KEYS["RS256"]))


class Answering:
    """A key source of somebody else, which always has the same answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        answer: Sequence[Key] = self.answer
        return answer


def test_cve_2026_48523_whatever_a_key_source_says_the_algorithm_must_match(
    door: Door,
) -> None:
    """A source that does not look at the header: RFC 7515 §5.2 step 8 still holds."""
    door = door.behind(authenticator(trusted(keys=Answering((SIGNING_KEY,)))))

    assert door.get(bearer=mint_token()).entered
    for alg in ("none", "HS256", "RS256", "ES384", "es256", ""):
        ensure_refused(door, mint_token(header={"alg": alg}))


@pytest.mark.parametrize("answer", [(), [], "", b"", None, ("",), (b"",)], ids=repr)
def test_cve_2026_44351_a_key_source_without_an_answer_lets_nobody_in(
    door: Door, answer: object
) -> None:
    """An empty key, or none, is an error and never a pass; nor does it break out."""
    tokens = [mint_token(), mac(b""), mac(b"None"), mint_token(header={"alg": "none"})]
    for algorithms in (None, ("ES256",)):
        issuer = trusted(keys=Answering(answer), algorithms=algorithms)
        opened = door.behind(authenticator(issuer))
        for token in tokens:
            refusal = opened.get(bearer=token)
            assert refusal.status in (401, 503)
            assert not refusal.entered


def test_ghsa_6g6m_no_list_of_algorithms_does_not_mean_any(door: Door) -> None:
    """express-jwt let the token choose; without a list we do what the keys say."""
    assert trusted().algorithms == ()
    assert door.get(bearer=mint_token()).entered
    for alg in (None, "ES384", "ES512", "RS256", "PS256", "HS256", "EdDSA", "none"):
        ensure_refused(door, mint_token(header={"alg": alg}))
    listed: list[Any] = [(), [], "", ("",), ("none",), ("ES256", "none"), (None,)]
    for algorithms in listed:
        with pytest.raises(ValueError, match="algorithm"):
            trusted(algorithms=algorithms)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "none ", "", "null"])
def test_cve_2026_28802_none_is_no_algorithm(door: Door, alg: str) -> None:
    """In any spelling, with a signature, with another's, and without one."""
    signed = mint_token(header={"alg": alg})
    unsigned, _, _ = signed.rpartition(".")
    without_kid, _, _ = mint_token(header={"alg": alg, "kid": None}).rpartition(".")

    ensure_refused(door, signed, f"{unsigned}.", unsigned, f"{without_kid}.")
    ensure_refused(with_keys(door, *KEYS.values()), signed, f"{without_kid}.")
    for make in (
        lambda: Key.generate(alg),
        lambda: Key.from_secret(b"", alg),
        lambda: Key.from_jwk({"kty": "oct", "k": "", "alg": alg}),
        lambda: trusted(algorithms=(alg,)),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            make()


@pytest.mark.parametrize(
    "critical",
    [["exp"], ["b64"], ["x"], [], "exp", None, {}, 0, [1], [None], ["alg", "x"]],
    ids=repr,
)
def test_cve_2026_32597_a_critical_extension_is_refused(
    door: Door, critical: object
) -> None:
    """Also CVE-2025-59420 (Authlib): we know none, so ``crit`` names what we do not."""
    header = {"alg": "ES256", "kid": "k1", "crit": critical, "x": 1, "exp": NOW}
    _, payload, _ = mint_token().split(".")

    ensure_refused(door, sign(header, base64url_decode(payload.encode())))


@pytest.mark.parametrize("crit", [{"crit": ["b64"]}, {}])
def test_cve_2026_48525_an_unencoded_payload_is_refused_before_it_costs(
    door: Door, crit: dict[str, Any]
) -> None:
    """GHSA-w7vc, also CVE-2026-48990 (joserfc): ``b64`` false goes round no limit."""
    token = mint_token(header={"b64": False, **crit})
    header, payload, signature = token.split(".")
    plain = base64url_decode(payload.encode()).decode()
    began = time.perf_counter()

    ensure_refused(door, token, mint_token(header={"b64": True}))
    ensure_refused(door, f"{header}..{signature}", f"{header}.{plain}.{signature}")
    ensure_refused(door, f"{header}.{'x' * 5_000_000}.{signature}")
    ensure_refused(door, f"{header}.{'$' * 5_000_000}.{signature}")
    assert time.perf_counter() - began < 2  # a bound on work, no measurement


@pytest.mark.parametrize("segment", range(3))
def test_cve_2025_61920_a_huge_segment_costs_nothing(door: Door, segment: int) -> None:
    """The whole is measured before a part of it is read; no signature is tried."""
    parts = mint_token().split(".")
    parts[segment] = "A" * 8_000_000
    token = ".".join(parts)
    cookies = door.behind(authenticator(sources=(Cookie(),)))
    began = time.perf_counter()

    ensure_refused(door, token)
    assert cookies.get(cookies=[("__Host-access", token)]).status == 401
    with pytest.raises(AuthError, match=f"{len(token)} characters"):
        door.auth.authenticate(token)
    assert time.perf_counter() - began < 2  # a bound on work, no measurement


def test_cve_2024_33664_an_encrypted_token_is_never_inflated(door: Door) -> None:
    """python-jose inflated a JWE without a bound; we read none, and inflate nothing."""
    header = base64url_encode(b'{"alg":"dir","enc":"A128GCM","zip":"DEF"}')

    ensure_refused(door, f"{header}..AAAAAAAAAAAAAAAA.{'A' * 4000}.AAAAAAAAAAAAAAAA")
    ensure_refused(door, f"{header}.{'A' * 4000}.AAAA")
    for header_of in ({"zip": "DEF"}, {"enc": "A128GCM"}, {"cty": "JWT"}):
        ensure_refused(door, mint_token(header=header_of))


@pytest.mark.parametrize("alg", MATERIAL)
def test_cve_2026_27962_a_key_in_the_header_is_not_looked_at(
    door: Door, alg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor fetched: a forger brings his key along, by value or by address."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a request made us open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    forger = Key.generate(alg)
    chain = [base64.b64encode(certificate(MATERIAL[alg]).public_bytes(Encoding.DER))]
    brought: list[dict[str, Any]] = [
        {"jwk": forger.public.to_jwk()},
        {"jku": "https://evil.example/jwks.json"},
        {"jku": "http://127.0.0.1:1/jwks.json"},
        {"jku": "file:///dev/stdin"},
        {"x5u": "https://evil.example/chain.pem"},
        {"x5c": [link.decode() for link in chain]},
    ]
    trusting = with_keys(door, KEYS[alg])
    for header in brought:
        for kid in ("k1", forger.kid, None):
            ensure_refused(
                trusting, mint_token(key=forger, header={**header, "kid": kid})
            )
        assert trusting.get(bearer=mint_token(key=KEYS[alg], header=header)).entered


# A claim is compared as a whole, and turns no check off.


@pytest.mark.parametrize(
    "iss",
    [
        "",
        "h",
        "https://",
        "issuer",
        "issuer.example",
        ISSUER[:-1],
        ISSUER + "/",
        ISSUER + " ",
        " " + ISSUER,
        ISSUER.upper(),
        ISSUER + "," + ISSUER,
        ISSUER + "\0",
        [ISSUER],
        [ISSUER, "https://evil.example"],
        {ISSUER: 1},
        True,
        None,
    ],
    ids=repr,
)
def test_cve_2024_53861_a_part_of_the_issuer_is_not_the_issuer(
    door: Door, iss: object
) -> None:
    """PyJWT asked whether one text is in the other."""
    second = TrustedIssuer(f"{ISSUER}/b", audience=AUDIENCE, keys=[KEYS["RS256"]])
    two = door.behind(authenticator(trusted(), second))

    ensure_refused(door, mint_token(iss=iss))
    ensure_refused(two, mint_token(iss=iss))
    assert two.get(bearer=mint_token()).entered


@pytest.mark.parametrize(
    "aud", ["", "a", "api", AUDIENCE[:-1], AUDIENCE + "/", [AUDIENCE[:3]], [], {}, None]
)
def test_cve_2025_69196_a_token_for_others_is_refused(door: Door, aud: object) -> None:
    """FastMCP let by what was made for another resource."""
    _, payload, _ = mint_token().split(".")
    claims = json.loads(base64url_decode(payload.encode()))
    header = {"alg": "ES256", "kid": "k1"}

    ensure_refused(door, sign(header, json.dumps({**claims, "aud": aud}).encode()))
    ensure_refused(door, mint_token(aud=None))
    assert door.get(bearer=mint_token(aud=["https://other.example", AUDIENCE])).entered


# Of the four of Authlib 1.9.0, which number is which lesson is our reading.


@pytest.mark.parametrize(
    "audience", [None, "", (), [], [""], ("",), ["api", ""], {}, [None], 7, b"api"]
)
def test_cve_2026_114618_an_audience_is_mandatory(audience: Any) -> None:
    """Also CVE-2025-69196: no audience, or an empty one, would mean any."""
    with pytest.raises(ValueError, match="audience"):
        trusted(audience=audience)
    with pytest.raises(ValueError, match="audience"):
        TokenIssuer(ISSUER, audience=audience, key=SIGNING_KEY)
    with pytest.raises(TypeError, match="audience"):
        TrustedIssuer(ISSUER, keys=[SIGNING_KEY])  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["nonce", "at_hash", "c_hash"])
def test_cve_2026_114617_a_claim_turns_no_check_off(door: Door, name: str) -> None:
    """A token that says which of its marks are to be looked at is asked in vain."""
    mark: dict[str, Any] = {name: "x"}
    switches: dict[str, Any] = {
        "nonce_supported": False,
        f"{name}_supported": False,
        "verify": False,
        "options": {"verify_exp": False, "verify_aud": False, "verify_iss": False},
    }

    ensure_refused(door, mint_token(**mark, **switches))
    ensure_refused(door, mint_token(exp=-600, **switches))
    ensure_refused(door, mint_token(aud="https://other.example", **switches))
    ensure_refused(door, mint_token(nbf=600, **switches))
    assert door.get(bearer=mint_token(**switches)).entered


@pytest.mark.parametrize("value", ["", "x", "LDktKdoQak3Pk0cnXxCltA", 0, [], {}, None])
@pytest.mark.parametrize("typ", ["JWT", "at+jwt", None])
def test_cve_2026_28498_a_hash_that_nobody_compares_does_not_pass(
    door: Door, value: object, typ: str | None
) -> None:
    """Authlib skipped ``at_hash`` where it could not check it; an ID token, whatever
    its hash, is no access token."""
    _, payload, _ = mint_token().split(".")
    claims = {**json.loads(base64url_decode(payload.encode())), "at_hash": value}
    header = {"alg": "ES256", "kid": "k1"} | ({} if typ is None else {"typ": typ})

    ensure_refused(door, sign(header, json.dumps(claims).encode()))


def test_ws_2026_0196_a_key_belongs_to_its_issuer(door: Door) -> None:
    """FastMCP 4.1.2: who signs for one issuer does not sign for the other, though
    both call their keys the same."""
    other = Key.generate("ES256", kid="k1")
    second = TrustedIssuer("https://b.example", audience=AUDIENCE, keys=[other])
    door = door.behind(authenticator(trusted(), second))

    assert door.get(bearer=mint_token()).entered
    assert door.get(bearer=mint_token(key=other, iss="https://b.example")).entered
    ensure_refused(door, mint_token(key=other))
    ensure_refused(door, mint_token(iss="https://b.example"))


# A token has one spelling, and what is revoked stays so.


def other_s(token: str) -> str:
    """The other valid signature of an ES256 token: *s* and *n* - *s*."""
    signing_input, _, signature = token.rpartition(".")
    octets = base64url_decode(signature.encode())
    s = P256_ORDER - int.from_bytes(octets[32:], "big")
    return f"{signing_input}.{base64url_encode(octets[:32] + s.to_bytes(32, 'big'))}"


def respelled(token: str) -> Iterator[str]:
    """*token* in spellings that lax decoders take for the same octets."""
    parts = token.split(".")
    for index, part in enumerate(parts):
        surplus = len(part) % 4
        last = part[-1]
        bits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        stray = {0: "", 2: 4, 3: 2}[surplus]
        spellings = [part + "=", part + "==", part + "%3D", part[:4] + " " + part[4:]]
        spellings += [part[:4] + "\n" + part[4:], part + "\0", "\t" + part, part + "."]
        spellings += [part.replace("-", "+").replace("_", "/") + "="]
        if stray:
            spellings.append(part[:-1] + bits[bits.index(last) + 1])
        for spelling in spellings:
            yield ".".join([*parts[:index], spelling, *parts[index + 1 :]])


@pytest.mark.parametrize("jti", ["j1", None])
def test_cve_2026_102269_no_other_spelling_of_a_revoked_token_passes(
    door: Door, jti: str | None
) -> None:
    """GHSA-hxm8: padding and stray bits are no token, and the other *s* is the same."""
    token = mint_token(jti=jti)
    twin = other_s(token)
    assert twin != token
    assert door.get(bearer=token).entered
    assert door.get(bearer=twin).entered
    for spelling in respelled(token):
        ensure_refused(door, spelling)

    door.auth.revoke(token)

    ensure_refused(door, token, twin, *respelled(token), *respelled(twin))
    assert door.get(bearer=mint_token(jti="j2")).entered


@pytest.mark.parametrize("jti", ["j1", None])
def test_cve_2026_102269_the_other_spelling_revokes_both(
    door: Door, jti: str | None
) -> None:
    """The same from the other side."""
    token = mint_token(jti=jti)

    door.auth.revoke(other_s(token))

    ensure_refused(door, token, other_s(token))


def test_cve_2022_39227_a_token_is_read_once_and_in_one_form(door: Door) -> None:
    """python-jwt verified one reading of a JSON and compact mixture, and used the
    other; we know the compact form alone."""
    header, payload, signature = mint_token().split(".")
    forged = base64url_encode(b'{"sub":"admin"}')
    flat = {"protected": header, "payload": payload, "signature": signature}
    general = {
        "payload": payload,
        "signatures": [{"protected": header, "signature": signature}],
    }
    mixed = f'{{"{header}.{forged}.":"","protected":"{header}",'
    mixed += f'"payload":"{payload}","signature":"{signature}"}}'

    ensure_refused(door, json.dumps(flat), json.dumps(general), mixed)
    ensure_refused(door, f"{header}.{forged}.{signature}")
    ensure_refused(door, f"{header}.{payload}.{signature}.{forged}.{signature}")


def test_cve_2024_22513_a_subject_can_be_shut_out_at_once(door: Door) -> None:
    """simplejwt let the tokens of a disabled user live on to their end."""
    ours, theirs = (
        trusted(),
        TrustedIssuer("https://b.example", audience=AUDIENCE, keys=[KEYS["RS256"]]),
    )
    door = door.behind(authenticator(ours, theirs, store=MemoryStore(clock)))
    stranger = mint_token(key=KEYS["RS256"], iss="https://b.example")
    tokens = [mint_token(jti=f"j{n}", iat=-n * 100) for n in range(3)]
    tokens.append(mint_token(jti=None, iat=None))
    for token in tokens:
        assert door.get(bearer=token).entered

    door.auth.revoke_subject("alice", ISSUER)

    ensure_refused(door, *tokens)
    assert door.get(bearer=mint_token(sub="bob")).entered
    assert door.get(bearer=stranger).entered
    assert door.get(bearer=mint_token(iat=1)).entered  # logged in again since


# What was made to break the parser is refused like anything else.


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return f'{{"x":{opening * levels}1{closing * levels}}}'.encode()


@pytest.mark.parametrize("levels", [33, 500, 1_000, DEEP])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"x":', "}")])
def test_cve_2026_102274_deep_json_is_refused_and_nothing_overflows(
    door: Door, levels: int, opening: str, closing: str
) -> None:
    """GHSA-8wjv and GHSA-w6j9: in the header and in the payload, signed or not."""
    if levels == DEEP and opening != "[":
        levels //= 2  # else the token would be too long to be read at all
    deep = nested(levels, opening, closing)
    header = {"alg": "ES256", "kid": "k1"}
    _, payload, signature = mint_token().split(".")
    claims = base64url_decode(payload.encode())

    ensure_refused(door, sign(header, claims[:-1] + b"," + deep[1:]))
    ensure_refused(door, sign(b'{"alg":"ES256","kid":"k1",' + deep[1:], claims))
    ensure_refused(door, f"{base64url_encode(deep)}.{payload}.{signature}")
    open_only = base64url_encode(b"[" * levels)
    ensure_refused(door, f"{open_only}.{payload}.{signature}")
    ensure_refused(door, f"{open_only}.{open_only}.{open_only}")


def test_cve_2026_102274_deep_json_cannot_be_issued_either() -> None:
    """What nobody would accept is a ValueError to the application, like any claim
    that is not plain JSON."""
    issuer = TokenIssuer(ISSUER, audience="app", key=SIGNING_KEY, now=clock)
    deep: list[Any] = []
    for _ in range(DEEP * 2):
        deep = [deep]
    endless: dict[str, Any] = {}
    endless["x"] = endless

    for value in (deep, endless, [[[endless]]]):
        with pytest.raises(ValueError, match="JSON"):
            issuer.issue("alice", extra=value)


def test_cve_2026_101918_a_member_that_we_do_not_know_spoils_no_key_set(
    door: Door,
) -> None:
    """One odd member made PyJWT drop the whole set."""
    deep: list[Any] = []
    for _ in range(DEEP * 2):
        deep = [deep]
    good = SIGNING_KEY.public.to_jwk()
    odd: list[dict[str, Any]] = [
        {"kty": "RSA", "n": "x", "e": "AQAB", "alg": "none"},
        {"kty": "future", "alg": "XYZ"},
        {"kty": "EC", "crv": "P-999", "x": "", "y": ""},
        {"kty": ["EC"], "crv": {"P": 256}},
        {"kty": "RSA", "alg": ["RS256"]},
        {"kty": "RSA", "alg": {"RS256": 1}},
        {"kty": deep},
        {**good, "kid": "e", "use": "enc"},
        {**good, "kid": "d", "key_ops": ["deriveKey"]},
        {},
    ]
    jwks = {"keys": [*odd, {**good, "x5c": deep}, *odd]}
    door = door.behind(authenticator(trusted(keys=jwks)))

    assert door.get(bearer=mint_token()).entered
    ensure_refused(door, mint_token(header={"kid": "e"}))


# Keys are what they say.


@pytest.mark.parametrize("algorithm", ["Ed25519", "Ed448", "ES256", "RS256"])
def test_cve_2026_102275_the_halves_of_a_key_belong_together(algorithm: str) -> None:
    """The public half of PyJWT's key came from the JWK, the private from elsewhere."""
    own, other = Key.generate(algorithm), Key.generate(algorithm)
    mixed = {**own.to_jwk(private=True), **other.public.to_jwk()}
    read = Key.from_jwk(own.to_jwk(private=True))

    with pytest.raises(ValueError, match="not a sound key"):
        Key.from_jwk(mixed)
    assert read.public.verify(b"octets", read.sign(b"octets"))
    assert read.public.to_jwk() == own.public.to_jwk()


@pytest.mark.parametrize("curve", ["SECP256K1", "SECP224R1", "BrainpoolP256R1"])
@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_cve_2026_26007_a_key_is_on_the_curve_of_its_algorithm(
    algorithm: str, curve: str
) -> None:
    """Three curves are known, of prime order; binary ones have no name here."""
    material = ec.generate_private_key(getattr(ec, curve)())
    point = {"x": "A" * 43, "y": "A" * 43}

    with pytest.raises(ValueError, match="not a sound key"):
        Key.from_pem(private_pem(material), algorithm)
    for name in ("secp256k1", "sect571r1", "B-571", "K-283", "P-224", "BP-256"):
        with pytest.raises(ValueError, match=r"\w"):
            Key.from_jwk({"kty": "EC", "crv": name, "alg": algorithm, **point})


def test_cve_2026_26007_a_point_beside_the_curve_is_no_key() -> None:
    """Neither zero nor one that misses it by a bit."""
    good = KEYS["ES256"].public.to_jwk()
    x = base64url_decode(good["x"].encode())
    beside = base64url_encode(bytes([x[0] ^ 1]) + x[1:])

    for point in ({"x": beside}, {"x": "A" * 43, "y": "A" * 43}, {"y": good["x"]}):
        with pytest.raises(ValueError, match="not a sound key"):
            Key.from_jwk({**good, **point})


# The path is the server's, and no header's.


@pytest.mark.parametrize(
    "host",
    [
        "api.example/health",
        "api.example/health?x=",
        "api.example/health#",
        "x@api.example/health/",
        "/health",
        "evil.example:80/health?",
        "evil.example\\health",
        "..",
        "",
        None,
    ],
)
@pytest.mark.parametrize("rule", ["/health", "/health/*"])
def test_cve_2026_48710_the_host_header_opens_no_path(
    door: Door, host: str | None, rule: str
) -> None:
    """Starlette built ``request.url`` of it; also CVE-2026-49468 (LiteLLM), whose
    lock looked there."""
    door = door.behind(authenticator(rules=(Rule(rule, public=True),)))
    inside = rule.replace("*", "x")

    assert door.get("/admin", host=host).status == 401
    assert door.get("/admin", host=host, query="/health").status == 401
    assert door.get("/admin", host=host, bearer=mint_token()).entered
    assert door.get(inside, host=host).entered


@pytest.mark.parametrize(
    "name",
    [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Path",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "X-Forwarded-Host",
        "X-Script-Name",
        "X-HTTP-Method-Override",
        "Forwarded",
        "Referer",
    ],
)
def test_cve_2026_49468_nor_does_any_other_header(door: Door, name: str) -> None:
    """Nor the method: what a client says of its request is not what it is."""
    rules = (
        Rule("/health", public=True),
        Rule("/*", methods=("OPTIONS",), public=True),
    )
    door = door.behind(authenticator(rules=rules))
    for value in ("/health", "https://api.example/health", "OPTIONS", "host=/health"):
        assert door.get("/admin", headers=[(name, value)]).status == 401
        assert door.get("/health", headers=[(name, "/admin")]).entered


# Nothing secret in what people read.


class Broken(MemoryStore):
    """A store that tells all it knows when it fails."""

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        raise ConnectionError(f"cannot look for {names}")


def unwelcome() -> Iterator[str]:
    """Tokens that are refused, each for another reason."""
    good = mint_token()
    header, payload, signature = good.split(".")
    yield mint_token(key=Key.generate("ES256", kid="k1"))
    yield mint_token(nbf=700)
    yield mint_token(iat=700)
    yield from (mint_token(exp=seconds) for seconds in (-600, 10**7, 10**400))
    yield mint_token(iss="https://evil.example")
    yield mint_token(aud="https://other.example")
    yield mint_token(sub=7)
    yield mint_token(cnf={"jkt": "x"})
    yield mint_token(nonce="n")
    headers: list[dict[str, Any]] = [
        {"kid": "k2"},
        {"kid": {}},
        {"alg": "RS256"},
        {"alg": ["x"]},
        {"typ": "dpop+jwt"},
        {"crit": ["x"]},
        {"cty": "JWT"},
    ]
    yield from (mint_token(header=parameters) for parameters in headers)
    yield sign(b"\xff" * 40, b"{}")
    yield sign({"alg": "ES256", "kid": "k1"}, b"\xff" * 40)
    yield sign({"alg": "ES256", "kid": "k1"}, b'{"a":1,"a":2}')
    yield sign({"alg": "ES256", "kid": "k1"}, nested(DEEP))
    yield f"{good}="
    yield f"{good}.{good}"
    yield f"{good},{good}"
    yield f"{good} {good}"
    yield f"{good}é"
    yield f"{header}.{payload}"
    yield f"{header}!.{payload}.{signature}"
    yield good * 100
    yield good[:-1]


UNWELCOME = list(unwelcome())


def chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def told_by(error: BaseException) -> str:
    """All that a log could show of *error*."""
    texts = [f"{link} {link!r} {link.args}" for link in chain(error)]
    return "\n".join([*texts, *traceback.format_exception(error)])


def ensure_unseen(token: str, text: str) -> None:
    for start in range(len(token) - 15):
        run = token[start : start + 16]
        assert len(set(run)) == 1 or run not in text, run


@pytest.mark.parametrize("token", UNWELCOME, ids=range(len(UNWELCOME)))
def test_cve_2025_65015_no_token_is_in_logs_or_exceptions(
    door: Door, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what is refused, no sixteen characters in a row are seen anywhere."""
    caplog.set_level(logging.DEBUG)
    cookies = door.behind(authenticator(sources=(Cookie(),)))
    bare = door.behind(authenticator(sources=(BearerHeader("X-Token", scheme=None),)))
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    answers = [
        door.get(bearer=token),
        door.get(headers=twice),
        cookies.get(cookies=[("__Host-access", token)]),
        bare.get(headers=[("X-Token", token)]),
    ]
    with pytest.raises(AuthError) as caught:
        door.auth.authenticate(token)
    with pytest.raises(AuthError) as verified:
        verify_compact(token, [KEYS["ES256"].public])

    assert not any(answer.entered for answer in answers)
    for answer in answers:
        ensure_unseen(token, f"{answer.headers} {answer.body!r}")
    assert len(caplog.records) >= len(answers)
    ensure_unseen(token, caplog.text)
    ensure_unseen(token, told_by(caught.value) + told_by(verified.value))


def test_cve_2025_65015_nor_is_a_good_one_that_does_not_pass(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """Revoked, short of a scope, from another origin, or with the store away."""
    caplog.set_level(logging.DEBUG)
    rules = (Rule("/admin", scopes=("admin",)),)
    store = MemoryStore(clock)
    scoped = door.behind(authenticator(rules=rules, store=store))
    cookies = door.behind(authenticator(sources=(Cookie(),)))
    away = door.behind(authenticator(store=Broken(clock)))
    token, revoked = mint_token(), mint_token(jti=None)
    scoped.auth.revoke(revoked)
    origin = [("Origin", "https://evil.example")]
    answers = [
        scoped.get("/admin", bearer=token),
        scoped.get(bearer=revoked),
        cookies.post(cookies=[("__Host-access", token)], headers=origin),
        away.get(bearer=token),
    ]
    with pytest.raises(AuthError) as caught:
        away.auth.authenticate(token)
    with pytest.raises(AuthError) as refused:
        scoped.auth.authenticate(revoked)
    passed = scoped.get(bearer=token)
    text = caplog.text + told_by(caught.value) + told_by(refused.value)

    assert [answer.status for answer in answers] == [403, 401, 403, 503]
    assert passed.entered
    assert caught.value.__cause__ is not None
    for answer in answers:
        text += f"{answer.headers} {answer.body!r}"
    text += f"{passed.token!r} {passed.token} {passed.current!r}"
    ensure_unseen(token, text)
    ensure_unseen(revoked, text)


def bad_jwks() -> Iterator[dict[str, Any]]:
    """Private JWKs, each damaged in another way."""
    for name in ("RS256", "ES256", "Ed25519", "HS256"):
        key = KEYS.get(name) or Key.generate(name)
        jwk = key.to_jwk(private=True)
        yield from ({**jwk, member: value} for member, value in DAMAGE.items())
        yield from (
            {n: v for n, v in jwk.items() if n != member}
            for member in jwk.keys() & {"kty", "crv", "x", "y", "n", "e", "p", "k"}
        )
        secrets = jwk.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}
        yield from ({**jwk, member: f"{jwk[member]}="} for member in secrets)
        yield from ({**jwk, member: f"{jwk[member]}AAAA"} for member in secrets - {"k"})


DAMAGE: dict[str, Any] = {
    "kty": "future",
    "alg": "none",
    "crv": "P-999",
    "kid": 7,
    "use": "enc",
    "key_ops": ["encrypt"],
}
SECRETS = {"d", "p", "q", "dp", "dq", "qi", "k"}


def ensure_no_secret(secrets: Sequence[str], error: BaseException) -> None:
    told = told_by(error)
    for secret in secrets:
        for start in range(len(secret) - 11):
            assert secret[start : start + 12] not in told


READERS: dict[str, Callable[[Mapping[str, Any]], object]] = {
    "a JWK": Key.from_jwk,
    "a JWK as text": lambda jwk: trusted(keys=json.dumps(jwk)),
    "a JWK for keys": lambda jwk: trusted(keys=jwk),
    "a list of JWKs": lambda jwk: trusted(keys=[jwk]),
    "a JWK Set": lambda jwk: trusted(keys={"keys": [jwk]}),
    "a JWK Set without a list": lambda jwk: trusted(keys={"keys": jwk}),
}


@pytest.mark.parametrize("name", READERS)
def test_cve_2025_65015_no_secret_is_in_what_a_bad_jwk_raises(name: str) -> None:
    """PyJWT writes the JWK into its exceptions, private members and all."""
    refused = 0
    for jwk in bad_jwks():
        secrets = [str(jwk[member]) for member in SECRETS & jwk.keys()]
        try:
            READERS[name](jwk)
        except ValueError as error:
            refused += 1
            ensure_no_secret(secrets, error)
    assert refused > 40


@pytest.mark.parametrize("name", MATERIAL)
def test_cve_2025_65015_nor_in_what_a_bad_pem_raises(name: str) -> None:
    """A private key that is cut off, or meant for another algorithm."""
    pem = private_pem(MATERIAL[name]).decode()
    others = {"RS256": "ES256", "ES256": "Ed25519", "Ed25519": "RS256"}
    secrets = [line for line in pem.split("\n")[1:-2] if line]
    for data, algorithm in (
        (pem, others[name]),
        (pem[:-40], name),
        (pem.replace("PRIVATE", "PUBLIC"), name),
        (pem, "HS256"),
        (pem, "none"),
    ):
        with pytest.raises(ValueError, match=r"\w") as caught:
            Key.from_pem(data, algorithm)
        ensure_no_secret(secrets, caught.value)


def test_cve_2025_65015_nor_where_the_arguments_change_places() -> None:
    """An easy slip, at a start whose log many people read."""
    secret = "Zm9yIHRlc3RzIGFsb25lLCBub3QgYSBzZWNyZXQgYXQgYWxs"
    pem = private_pem(MATERIAL["ES256"]).decode()
    body = pem.split("\n")[1:-2]

    with pytest.raises(ValueError, match=r"\w") as caught:
        Key.from_secret("HS256", secret)
    ensure_no_secret([secret], caught.value)
    with pytest.raises(ValueError, match=r"\w") as caught:
        Key.from_pem("ES256", pem)
    ensure_no_secret(body, caught.value)


def test_cve_2025_65015_a_key_shows_nothing_of_itself() -> None:
    """Nor do what holds it."""
    key = Key.generate("HS256", kid="k1")
    material = key.to_jwk(private=True)["k"]
    issuer = TokenIssuer(ISSUER, audience="app", key=key, now=clock)
    pair = issuer.issue("alice")
    shown = (
        f"{key} {key!r} {StaticKeys(key)!r} {issuer!r} {issuer.trusted()!r} {pair!r}"
    )

    assert material not in shown
    assert repr(base64url_decode(material.encode()))[2:-1] not in shown
    ensure_unseen(pair.access_token, shown)
    with pytest.raises(ValueError, match="secret"):
        key.to_jwk()


# Keys that are fetched


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://login.example/jwks",
        "data:application/json,{}",
        "http://login.example/jwks",
        "HTTP://login.example/jwks",
    ],
)
def test_cve_2026_48522_keys_are_fetched_by_https_alone(url: str) -> None:
    """GHSA-993g: PyJWT's client read ``file:``, ``ftp:`` and ``data:`` as well."""
    for make in (RemoteKeys, RemoteKeys.from_issuer):
        with pytest.raises(ValueError, match="https"):
            make(url)


def test_cve_2026_48524_a_fetch_that_fails_takes_no_keys_away(door: Door) -> None:
    """GHSA-fhv5: PyJWT's client forgot its keys, and asked again for each token."""
    seconds = Clock()
    with KeyServer([SIGNING_KEY]) as server:
        keys = remote(server, seconds)
        locked = door.behind(lock(keys))
        assert locked.get(bearer=mint_token()).status == 200
        server.answer = answers.STATUSES["status_500"]
        seconds.now += 700
        for _ in range(20):
            assert locked.get(bearer=mint_token()).status == 200
        landed(keys)
        assert len(server.hits) == 2


@pytest.mark.parametrize("name", answers.REDIRECTS)
def test_cve_2026_102267_no_redirect_is_followed(door: Door, name: str) -> None:
    """GHSA-9v7f: whoever can redirect the key server's client chooses the keys."""
    with KeyServer([SIGNING_KEY]) as server:
        server.answer = answers.REDIRECTS[name]
        locked = door.behind(lock(remote(server, Clock())))
        assert locked.get(bearer=mint_token()).status == 503
        assert server.paths == ["/jwks"]


def test_ghsa_2gx3_made_up_kids_do_not_flood_the_issuer(door: Door) -> None:
    """The cooldown is one for all, not one for each ``kid``.

    Within it nobody knows whether a key is new: 503, and the sender may try again.
    """
    seconds = Clock()
    with KeyServer([SIGNING_KEY]) as server:
        locked = door.behind(lock(remote(server, seconds)))
        assert locked.get(bearer=mint_token()).status == 200
        statuses = []
        for number in range(100):
            seconds.now += 0.01
            forged = mint_token(header={"kid": f"made up {number}"})
            statuses.append(locked.get(bearer=forged).status)
        assert statuses == [401] + [503] * 99
        assert len(server.hits) == 2


OAUTH_CLIENT = "the state of an OAuth login; we are no OAuth client"
UNKNOWN = "its details are not public, as far as we have seen"
LEFT_OUT = {
    # id: the reason why no test here is about it
    "CVE-2025-68158": OAUTH_CLIENT,
    "CVE-2026-41425": OAUTH_CLIENT,
    "CVE-2025-68481": OAUTH_CLIENT,
    "GHSA-5j53": OAUTH_CLIENT,
    "CVE-2025-14546": OAUTH_CLIENT,
    "CVE-2026-52869": "a session of a protocol above; ours end with the request",
    "GHSA-jpw9": "a session of a protocol above; ours end with the request",
    "CVE-2026-25479": "a list of allowed hosts, which we do not have",
    "PYSEC-2026-2603": "a list of allowed hosts, which we do not have",
    "CVE-2026-69247": "PKCS#7 decryption, which no JWT asks for",
    "CVE-2026-102265": UNKNOWN,
    "CVE-2026-102270": UNKNOWN,
    "CVE-2026-101917": UNKNOWN,
    "CVE-2026-103001": UNKNOWN,
}


def test_what_is_left_out_has_no_test_after_all() -> None:
    """Once there is one, its line in `LEFT_OUT` goes."""
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    told = [f"{test.__name__} {test.__doc__}".lower() for test in tests]
    for advisory in LEFT_OUT:
        name = re.escape(advisory.lower()).replace(r"\-", "[-_]")
        assert not [text for text in told if re.search(name, text)]
