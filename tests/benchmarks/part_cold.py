"""A token that was never seen before, beside the signature check alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from joserfc import jwk
from joserfc import jwt as joserfc_jwt

from .peers import AuthlibValidator, pyjwt_decode
from .rounds import (
    OURS,
    RAW,
    Effort,
    Group,
    Section,
    calling,
    calling_with,
    take_turns,
)
from .tokens import AUDIENCE, ISSUER, Signer, raw_check, signer_of

ALGORITHMS = ("RS256", "ES256", "Ed25519", "ES384", "HS256")
TITLE = "Verifying a token that was never seen before"
NOTE = """\
`Authenticator.authenticate` and its like in other libraries, each with a prepared key,
checking `iss`, `aud` and `exp`. RS256 is with 2,048 bits."""

Verify = Callable[[str], object]


def joserfc_decode(signer: Signer) -> Verify:
    key, algorithms = jwk.import_key(dict(signer.jwk)), [signer.header_name]
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
    )

    def decode(token: str) -> object:
        decoded = joserfc_jwt.decode(token, key, algorithms)
        registry.validate(decoded.claims)
        return decoded.claims

    return decode


def authlib_decode(signer: Signer) -> Verify:
    validator = AuthlibValidator(signer)

    def decode(token: str) -> object:
        claims = validator.authenticate_token(token)
        validator.validate_token(claims, [], None)
        return claims

    return decode


PEERS: Mapping[str, Callable[[Signer], Verify]] = {
    "PyJWT": pyjwt_decode,
    "Authlib": authlib_decode,
    "joserfc": joserfc_decode,
}
AUTHLIB_ALGORITHMS = ("RS256", "ES256", "HS256")
"""Its validator cannot be told others."""


def batches(tokens: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(tokens), size):
        yield tokens[first : first + size]


def group(algorithm: str, effort: Effort) -> Group:
    signer = signer_of(algorithm)
    verifiers: dict[str, Verify] = {OURS: signer.authenticator().authenticate}
    if effort.has_peers:
        verifiers |= {name: build(signer) for name, build in PEERS.items()}
    tokens = signer.distinct((effort.rounds + 1) * effort.cold_calls)
    turns = {RAW: calling(raw_check(signer), effort.turn_s)}
    for name, verify in verifiers.items():
        if name == "Authlib" and algorithm not in AUTHLIB_ALGORITHMS:
            continue
        assert verify(tokens[0])
        assert_refused(verify, signer.forged())
        turns[name] = calling_with(verify, batches(tokens, effort.cold_calls))
        turns[name]()  # warm, with the batch that holds the token from above
    values = take_turns(turns, effort.rounds, effort.seed)
    in_us = {name: [1e6 * s for s in seconds] for name, seconds in values.items()}
    return Group(algorithm, "µs", in_us, [(n, RAW) for n in values if n != RAW])


def assert_refused(verify: Verify, token: str) -> None:
    try:
        verify(token)
    except Exception:  # each library has its own
        return
    raise AssertionError("a forged token was accepted")


def measure(effort: Effort) -> Iterator[Section]:
    chosen = [name for name in ALGORITHMS if name in (*effort.algorithms, "ES384")]
    absent = ["Authlib: its validator takes neither EdDSA nor ES384"]
    groups = [group(algorithm, effort) for algorithm in chosen]
    yield Section(TITLE, NOTE, groups, absent if effort.has_peers else ())
