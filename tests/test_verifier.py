"""From text to a token that we believe: every step, in the one right order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jwt_middleware import Key, MemoryStore, StaticKeys, Token, TrustedIssuer
from jwt_middleware.bridge import run
from jwt_middleware.compact import base64url_decode, base64url_encode
from jwt_middleware.errors import (
    AuthError,
    BadSignature,
    InvalidToken,
    KeysUnavailable,
    MalformedToken,
    RevocationsUnavailable,
    TokenExpired,
    TokenRevoked,
    UnknownIssuer,
    UnknownKey,
    WrongAudience,
)
from jwt_middleware.revocation import Revocations
from jwt_middleware.verifier import Verifier

from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    SIGNING_KEY,
    clock,
    mint_token,
    sign,
    trusted,
)

OTHER_ISSUER = "https://other.example"
OTHER_KEY = Key.generate("ES256", kid="k1")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Watched:
    """The tests' key, a store, and the order in which they are asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._keys = StaticKeys(SIGNING_KEY)
        self._store = MemoryStore(clock)

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        self.asked.append("keys")
        return await self._keys.resolve(header)

    def add(self, name: str, at: float, until: float) -> bool:
        raise NotImplementedError

    def put(self, name: str, at: float, until: float) -> None:
        self._store.put(name, at, until)

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        self.asked.append("marks")
        return self._store.look(names)


class Broken(Watched):
    """Neither keys nor marks can be had."""

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        raise KeysUnavailable("no answer")

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        raise ConnectionError("no answer")


def verifier(
    *issuers: TrustedIssuer, store: Any = None, now: float = NOW
) -> tuple[Verifier, Revocations]:
    named = {issuer.issuer: issuer for issuer in issuers or (trusted(),)}
    revocations = Revocations(store, named, lambda: now)
    return Verifier(named, revocations, lambda: now), revocations


def verified(text: str, *issuers: TrustedIssuer, **options: Any) -> Token:
    return run(verifier(*issuers, **options)[0].verify(text))


# A good token


def test_a_good_token_is_believed() -> None:
    token = verified(mint_token(email="alice@example"))
    assert token["email"] == "alice@example"
    assert token.subject == "alice"
    assert token.issuer == ISSUER
    assert token.header == {"typ": "at+jwt", "alg": "ES256", "kid": "k1"}


def test_every_time_it_is_made_anew() -> None:
    """Nothing that one request does to a nested value reaches another."""
    text, (mine, _) = mint_token(groups=["users"]), verifier()
    run(mine.verify(text))["groups"].append("admins")
    assert run(mine.verify(text))["groups"] == ["users"]


def test_the_clock_decides() -> None:
    text = mint_token(exp=600)
    assert verified(text, now=NOW + 629.5)
    with pytest.raises(TokenExpired):
        verified(text, now=NOW + 630)


# The order


def bad_signature(text: str) -> str:
    return f"{text.rpartition('.')[0]}.{base64url_encode(bytes(64))}"


STEPS: list[tuple[str, str, type[AuthError], list[str]]] = [
    ("not a token", "a.b", MalformedToken, []),
    ("a header that asks", mint_token(header={"crit": ["x"]}), MalformedToken, []),
    ("claims twice", sign({"alg": "ES256"}, b'{"a":1,"a":1}'), MalformedToken, []),
    ("no object", sign({"alg": "ES256"}, b"[]"), MalformedToken, []),
    ("another issuer", mint_token(iss="https://evil"), UnknownIssuer, []),
    ("another key", mint_token(header={"kid": "k2"}), UnknownKey, ["keys"]),
    ("no algorithm", mint_token(header={"alg": "none"}), UnknownKey, ["keys"]),
    ("forged", bad_signature(mint_token(aud="x")), BadSignature, ["keys"]),
    ("forged and old", bad_signature(mint_token(exp=-99)), BadSignature, ["keys"]),
    ("expired", mint_token(exp=-99), TokenExpired, ["keys"]),
    ("for others", mint_token(aud="x"), WrongAudience, ["keys"]),
    ("revoked", mint_token(jti="gone"), TokenRevoked, ["keys", "marks"]),
]


@pytest.mark.parametrize(
    ("text", "refusal", "asked"),
    [step[1:] for step in STEPS],
    ids=[s[0] for s in STEPS],
)
def test_each_step_spares_the_later_ones(
    text: str, refusal: type[AuthError], asked: list[str]
) -> None:
    """No key is looked for, no mark read, for what fails before."""
    watched = Watched()
    mine, revocations = verifier(trusted(keys=watched), store=watched)
    run(revocations.revoke_jti("gone", None))
    with pytest.raises(refusal):
        run(mine.verify(text))
    assert watched.asked == asked


def test_a_revoked_token_that_expired_is_expired() -> None:
    watched = Watched()
    mine, revocations = verifier(store=watched)
    run(revocations.revoke_jti("gone", None))
    with pytest.raises(TokenExpired):
        run(mine.verify(mint_token(jti="gone", exp=-99)))


def test_whoever_does_not_answer_is_named() -> None:
    """503, never a guess and never 401."""
    with pytest.raises(KeysUnavailable):
        verified(mint_token(), trusted(keys=Broken()))
    with pytest.raises(RevocationsUnavailable):
        verified(mint_token(), store=Broken())


# The issuer


@pytest.mark.parametrize(
    "iss", [None, "", 7, True, ["https://issuer.example"], {"a": 1}, f"{ISSUER}/"]
)
def test_an_issuer_that_is_nobody_is_refused(iss: Any) -> None:
    with pytest.raises(UnknownIssuer, match="iss is "):
        verified(mint_token(iss=iss))


def test_what_it_calls_itself_is_logged_escaped_and_cut() -> None:
    with pytest.raises(UnknownIssuer) as refusal:
        verified(mint_token(iss="\n" * 999))
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 160


def test_each_issuer_has_its_own_keys_and_rules() -> None:
    """One cannot sign for the other, though its key has the same name."""
    both = (
        trusted(),
        TrustedIssuer(OTHER_ISSUER, audience="other", keys=[OTHER_KEY]),
    )
    assert verified(mint_token(), *both).issuer == ISSUER
    theirs = mint_token(key=OTHER_KEY, iss=OTHER_ISSUER, aud="other")
    assert verified(theirs, *both).issuer == OTHER_ISSUER
    for forged in (
        mint_token(key=OTHER_KEY),
        mint_token(iss=OTHER_ISSUER, aud="other"),
    ):
        with pytest.raises(BadSignature):
            verified(forged, *both)
    with pytest.raises(WrongAudience):
        verified(mint_token(key=OTHER_KEY, iss=OTHER_ISSUER, aud=AUDIENCE), *both)


# Revocation


def to_revoke(text: str) -> Token | None:
    return run(verifier()[0].verify_to_revoke(text))


def test_a_revoked_token_can_still_be_read_by_who_revokes() -> None:
    mine, revocations = verifier(store=MemoryStore(clock))
    text = mint_token()
    run(revocations.revoke_token(run(mine.verify(text))))
    with pytest.raises(TokenRevoked):
        run(mine.verify(text))
    again = run(mine.verify_to_revoke(text))
    assert again is not None
    assert again["jti"] == "j1"


@pytest.mark.parametrize(
    "claims", [{"nbf": 3600, "exp": 7200}, {"iat": 3600, "exp": 7200}, {"exp": 10**7}]
)
def test_a_token_that_may_become_valid_can_be_taken_back(claims: Any) -> None:
    text = mint_token(**claims)
    with pytest.raises(InvalidToken):
        verified(text)
    token = to_revoke(text)
    assert token is not None
    assert token.identifier == "j1"


def test_of_a_token_that_expired_nothing_is_left_to_take_back() -> None:
    assert to_revoke(mint_token(exp=-30)) is None


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("a.b", MalformedToken),
        (mint_token(key=OTHER_KEY), BadSignature),
        (mint_token(key=OTHER_KEY, exp=-99), BadSignature),
        (mint_token(iss="https://evil"), UnknownIssuer),
        (mint_token(header={"kid": "k2"}), UnknownKey),
        (mint_token(aud="x"), WrongAudience),
    ],
)
def test_only_a_token_of_ours_can_be_taken_back(
    text: str, refusal: type[AuthError]
) -> None:
    with pytest.raises(refusal):
        to_revoke(text)


def other_spelling(text: str) -> str:
    """The same ES256 token with n - s for s, which verifies as well."""
    signing_input, _, signature = text.rpartition(".")
    octets = base64url_decode(signature.encode())
    s = P256_ORDER - int.from_bytes(octets[32:])
    return f"{signing_input}.{base64url_encode(octets[:32] + s.to_bytes(32))}"


def test_a_token_without_jti_is_the_same_in_both_spellings() -> None:
    text = mint_token(jti=None)
    twin = other_spelling(text)
    assert twin != text
    assert verified(twin).identifier == verified(text).identifier
    assert verified(mint_token(jti=None, n=1)).identifier != verified(text).identifier


def test_revoking_one_spelling_revokes_the_other() -> None:
    mine, revocations = verifier(store=MemoryStore(clock))
    text = mint_token(jti=None)
    run(revocations.revoke_token(run(mine.verify(text))))
    for spelling in (text, other_spelling(text)):
        with pytest.raises(TokenRevoked):
            run(mine.verify(spelling))
    assert run(mine.verify(mint_token(jti=None, n=1)))


def test_no_refusal_quotes_the_token() -> None:
    for _, text, refusal, _ in STEPS[:-1]:
        with pytest.raises(refusal) as told:
            verified(text)
        for segment in text.split("."):
            assert len(segment) < 9 or segment not in f"{told.value} {told.value!r}"


def test_claims_may_say_anything_else() -> None:
    payload = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 9, "a": {"b": [None, 1.5]}}
    text = sign({"alg": "ES256"}, json.dumps(payload).encode())
    assert dict(verified(text)) == payload
