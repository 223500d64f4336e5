"""Verified tokens that are kept: a hit is no other than a fresh verification.

What others got wrong: an expired token that passed from the cache, claims of which a
handler changed those of the next request, two tokens under one key (CVE-2026-35039 of
fast-jwt), and strangers who drive out what is good.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    RemoteKeys,
    Rule,
    StaticKeys,
    Token,
    TrustedIssuer,
)
from jwt_middleware.bridge import run
from jwt_middleware.cache import LONGEST
from jwt_middleware.challenge import Reply
from jwt_middleware.errors import (
    AmbiguousPath,
    BadSignature,
    KeysUnavailable,
    LifetimeExceeded,
    UnknownKey,
)
from jwt_middleware.fetch import Fetcher, FetchFailed
from jwt_middleware.matching import LONGEST_REMEMBERED, REMEMBERED, Rules, match
from jwt_middleware.testing import Clock

from .children import THREADS, at_once
from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    SIGNING_KEY,
    Mint,
    SentRequest,
    authenticator,
    mint_token,
    trusted,
)
from .doors import DOORS, Answer, Door
from .interpreters import printed
from .keyserver import KeyServer
from .keyserver_exchange import page
from .test_advisories import other_s, respelled
from .test_remote import Issuer, settled

NEW = Key.generate("ES256", kid="k2")
SAME_NAME = Key.generate("ES256", kid="k1")
SECRET = Key.generate("HS256", kid="s1")
STRANGER = Key.generate("HS256", kid="s1")
OTHER = "https://other.example"
OTHER_KEY = Key.generate("ES256", kid="k1")
COOKIE = "__Host-access"
APP = "https://app.example"


class Checks:
    """Counts how often a key of *issuer* is asked for a signature."""

    def __init__(self, issuer: TrustedIssuer) -> None:
        self.count = 0
        for key in issuer.held() or ():
            key.verify = self._counted(key.verify)

    def _counted(
        self, verify: Callable[[bytes, bytes], bool]
    ) -> Callable[[bytes, bytes], bool]:
        def check(octets: bytes, signature: bytes) -> bool:
            self.count += 1
            return verify(octets, signature)

        return check


class Kept:
    """An authenticator that keeps tokens, behind a door, on a clock that turns."""

    def __init__(self, door: Door, *others: TrustedIssuer, **options: Any) -> None:
        self.clock = Clock(NOW)
        self.store = BreakableStore(self.clock)
        self.issuer = trusted(**options.pop("issuer", {}))
        self.checks = Checks(self.issuer)
        self.auth = authenticator(
            self.issuer,
            *others,
            **{"store": self.store, "now": self.clock, **options},
        )
        self.door = door.behind(self.auth)

    def at(self, seconds: float) -> None:
        """Let it be so many seconds from the tests' now."""
        self.clock.now = NOW + seconds

    def status(self, token: str, **options: Any) -> int:
        return self.door.get(bearer=token, **options).status

    def ensure_kept(self, token: str) -> None:
        """Fail where *token* is not accepted, or verified anew the second time."""
        assert self.status(token) == 200
        before = self.checks.count
        assert self.status(token) == 200
        assert self.checks.count == before, "it was verified anew"

    def why(self, token: str) -> str:
        return why(self.auth, token)


class BreakableStore(MemoryStore):
    """Marks that cannot be read while it is down."""

    down = False

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        if self.down:
            raise OSError
        return super().look(names)


def why(auth: Authenticator, token: str) -> str:
    """The reason of the refusal; empty where the token is accepted."""
    try:
        auth.authenticate(token)
    except AuthError as error:
        return error.reason
    return ""


def count(auth: Authenticator) -> int:
    """Tokens that are kept."""
    return len(auth._verifier._verified._entries)


def entries(auth: Authenticator) -> list[tuple[bytes, bytes]]:
    generations = auth._verifier._verified._entries
    return [*generations._young.items(), *generations._old.items()]


@pytest.fixture
def kept(door: Door) -> Kept:
    return Kept(door)


# A hit


def test_a_token_is_verified_once(kept: Kept, mint: Mint) -> None:
    """Two that say the same are two: ES256 signs otherwise each time."""
    for _ in range(10):
        kept.ensure_kept(mint())
    assert (kept.checks.count, count(kept.auth)) == (10, 10)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100])
def test_a_hit_gives_the_token_that_was_verified(door: Door, size: int) -> None:
    """Values, their types and their order, as from a fresh verification."""
    claims: dict[str, Any] = {
        "text": "m\u00fcnchen \U0001f600 \x00 \u2028",
        "empty": "",
        "numbers": [0, -1, 2**31, 2**63, 2**64, -(2**200), 1.5, -0.0, 5e-324, 1e308],
        "others": [True, False, None, {}, [], [[]], {"": {"": ""}}],
        "\u00e9": {"z": 1, "a": 2, "m": [{"deep": [{"er": [1]}]}]},
        "scope": "read write",
    }
    kept = Kept(door, cache_size=size)
    token = mint_token(header={"x": {"y": [1.0, None]}}, **claims)
    seen = [kept.door.get(bearer=token).token for _ in range(4)]
    assert None not in seen
    first, *rest = [token for token in seen if token is not None]
    for again in rest:
        assert repr(dict(again)) == repr(dict(first))
        assert repr(again.header) == repr(first.header)
        assert again.scopes == first.scopes == {"read", "write"}
        assert again.identifier == first.identifier
        assert (again.subject, again.issuer) == ("alice", ISSUER)
        assert (again.expires_at, again.issued_at) == (NOW + 600, NOW - 10)


def test_a_hit_without_jti_has_the_same_identifier(kept: Kept, mint: Mint) -> None:
    for jti in (None, ""):
        token = mint(jti=jti)
        identifiers = {kept.auth.authenticate(token).identifier for _ in range(3)}
        assert len(identifiers) == 1
        assert len(identifiers.pop()) == 64


def test_each_token_has_its_own_claims(kept: Kept, mint: Mint) -> None:
    """CVE-2026-35039: two tokens under one key, and one user is the other."""
    tokens = {f"user {n}": mint(sub=f"user {n}", jti=f"j{n}") for n in range(50)}
    for _ in range(3):
        for subject, token in tokens.items():
            answer = kept.door.get(bearer=token)
            assert answer.token is not None
            assert answer.token.subject == subject
            assert answer.current is answer.token


# What is asked again on every hit: the dates


@pytest.mark.parametrize("others", [{}, {"iat": None}, {"jti": None}, {"iat": None,
    "jti": None, "sub": None}], ids=str)  # fmt: skip
def test_a_kept_token_expires_to_the_second(
    kept: Kept, mint: Mint, others: dict[str, Any]
) -> None:
    """fast-jwt accepted a token without iat from its cache after its end."""
    token = mint(exp=600, **others)
    kept.ensure_kept(token)
    for seconds, status in ((629.999, 200), (630, 401), (631, 401), (10**6, 401)):
        kept.at(seconds)
        answer = kept.door.get(bearer=token)
        assert answer.status == status
        if status == 401:
            assert 'error_description="The access token expired."' in str(
                answer.challenge
            )
            assert not answer.entered


@pytest.mark.parametrize("leeway", [0, 1, 30, 300, 0.5])
@pytest.mark.parametrize("exp", [600, 600.25])
def test_a_kept_token_has_the_leeway_that_was_given(
    door: Door, mint: Mint, leeway: float, exp: float
) -> None:
    kept = Kept(door, issuer={"leeway": leeway})
    token = mint(exp=exp, nbf=-5, iat=-5)
    kept.ensure_kept(token)
    for seconds, status in (
        (exp + leeway, 401),
        (exp + leeway - 0.01, 200),
        (-5 - leeway, 200),
        (-5 - leeway - 0.01, 401),
    ):
        kept.at(seconds)
        assert kept.status(token) == status, seconds


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_kept_token_is_not_valid_before_its_time(
    kept: Kept, mint: Mint, name: str
) -> None:
    """Where the clock was put back."""
    token = mint(**{"iat": None, name: 100})
    kept.at(100)
    kept.ensure_kept(token)
    for seconds, reason in ((70, ""), (69.9, "not_yet_valid"), (-1000, "not_yet_valid"),
                            (70, ""), (500, "")):  # fmt: skip
        kept.at(seconds)
        assert kept.why(token) == reason
        assert kept.status(token) == (401 if reason else 200)


def test_a_kept_token_is_not_beyond_its_lifetime(door: Door, mint: Mint) -> None:
    """Where the clock was put back, it ends too far ahead."""
    kept = Kept(door, issuer={"max_lifetime": 3600, "leeway": 10})
    token = mint(exp=3600, iat=None)
    kept.ensure_kept(token)
    for seconds, reason in ((-10, ""), (-10.1, "lifetime_exceeded"), (-10, "")):
        kept.at(seconds)
        assert kept.why(token) == reason
        assert kept.status(token) == (401 if reason else 200)


def test_a_clock_that_goes_to_and_fro_is_followed(kept: Kept, mint: Mint) -> None:
    token = mint(exp=600, nbf=0)
    kept.ensure_kept(token)
    for _ in range(3):
        for seconds, status in ((700, 401), (300, 200), (-50, 401), (0, 200)):
            kept.at(seconds)
            assert kept.status(token) == status
    assert kept.checks.count > 1
    kept.ensure_kept(token)


def test_a_token_older_than_any_mark_is_refused_from_the_cache_too(
    door: Door, mint: Mint
) -> None:
    """Marks of then are not kept, so nobody can say whether it was revoked."""
    kept = Kept(door, issuer={"max_lifetime": 3600, "leeway": 10})
    token = mint(iat=-3000, exp=3600)
    kept.ensure_kept(token)
    kept.at(610)
    assert kept.status(token) == 200
    kept.at(611)
    assert kept.status(token) == 401
    with pytest.raises(LifetimeExceeded, match="marks of then are not kept"):
        kept.auth.authenticate(token)
    assert Kept(door, issuer={"max_lifetime": None}).why(token) == ""


# Revocation


@pytest.mark.parametrize("others", [{}, {"iat": None}, {"jti": None}], ids=str)
def test_a_kept_token_is_refused_from_the_moment_that_it_is_revoked(
    door: Door, mint: Mint, others: dict[str, Any]
) -> None:
    claims = {"sid": "s1", **others}
    revoke: dict[str, Callable[[Kept, str], None]] = {
        "text": lambda kept, token: kept.auth.revoke(token),
        "token": lambda kept, token: kept.auth.revoke(kept.auth.authenticate(token)),
        "sid": lambda kept, token: kept.auth.revoke_session("s1"),
        "sub": lambda kept, token: kept.auth.revoke_subject("alice"),
    }
    if "jti" not in others:
        revoke["jti"] = lambda kept, token: kept.auth.revoke_jti("j1")
    for take_back in revoke.values():
        kept = Kept(door)
        token, other = mint(**claims), mint(sub="bob", sid="s2", jti="j2")
        kept.ensure_kept(token)
        kept.ensure_kept(other)
        take_back(kept, token)
        for _ in range(2):
            answer = kept.door.get(bearer=token)
            assert (answer.status, answer.entered) == (401, False)
            assert 'description="The access token was revoked."' in str(
                answer.challenge
            )
        kept.ensure_kept(other)


def test_a_revocation_that_ends_lets_a_kept_token_in_again(
    kept: Kept, mint: Mint
) -> None:
    """As it would a fresh one: nothing of a refusal is kept."""
    token = mint(iat=0)
    kept.ensure_kept(token)
    kept.store.put(f"sub {ISSUER} alice", NOW, NOW + 100)
    assert kept.status(token) == 401
    kept.at(100)
    kept.ensure_kept(token)


@pytest.mark.parametrize("jti", ["j1", None])
def test_a_kept_token_is_revoked_by_its_other_spelling(
    kept: Kept, mint: Mint, jti: str | None
) -> None:
    """*s* and *n* - *s*: two valid signatures, two entries, one token."""
    token = mint(jti=jti)
    twin = other_s(token)
    for text in (token, twin):
        kept.ensure_kept(text)
    assert count(kept.auth) == 2
    kept.auth.revoke(twin)
    assert [kept.status(text) for text in (token, twin)] == [401, 401]


def test_where_the_store_fails_a_hit_is_no_answer(kept: Kept, mint: Mint) -> None:
    token = mint()
    kept.ensure_kept(token)
    kept.store.down = True
    answer = kept.door.get(bearer=token)
    assert (answer.status, answer.entered) == (503, False)
    assert answer.header("retry-after") is not None
    kept.store.down = False
    kept.ensure_kept(token)


# The sender, the rules, the transport


def with_cookie(door: Door, **options: Any) -> Kept:
    sources = (BearerHeader(), Cookie(trusted_origins=(APP,)))
    return Kept(door, sources=sources, **options)


def test_the_origin_of_a_request_with_a_kept_cookie_is_asked_each_time(
    door: Door, mint: Mint
) -> None:
    kept = with_cookie(door)
    token = mint()
    kept.ensure_kept(token)
    before = kept.checks.count
    for _ in range(2):
        for method, headers, status in (
            ("GET", [("Sec-Fetch-Site", "cross-site")], 200),
            ("POST", [("Sec-Fetch-Site", "cross-site")], 403),
            ("POST", [("Origin", "https://evil.example")], 403),
            ("POST", [("Origin", "null")], 403),
            ("POST", [("Origin", APP)], 200),
            ("POST", [("Sec-Fetch-Site", "same-origin")], 200),
            ("DELETE", [("Sec-Fetch-Site", "same-site")], 403),
        ):
            answer = kept.door.request(
                method, headers=headers, cookies=[(COOKIE, token)]
            )
            assert answer.status == status
            assert answer.entered is (status == 200)
            bearer = kept.door.request(method, headers=headers, bearer=token)
            assert bearer.status == 200
    assert kept.checks.count == before


def test_a_kept_token_in_two_places_is_refused(door: Door, mint: Mint) -> None:
    kept = with_cookie(door)
    token = mint()
    kept.ensure_kept(token)
    assert kept.door.get(bearer=token, cookies=[(COOKIE, token)]).status == 400
    assert kept.door.get(cookies=[(COOKIE, token), (COOKIE, mint())]).status == 400
    kept.ensure_kept(token)


def test_a_bound_token_never_passes_without_its_proof(door: Door, mint: Mint) -> None:
    """It verifies, so it may be kept; that it is bound is seen each time."""
    kept = with_cookie(door)
    token = mint(cnf={"jkt": "x"})
    for _ in range(3):
        assert kept.status(token) == 401
        assert kept.door.get(cookies=[(COOKIE, token)]).status == 401
        assert kept.why(token) == "sender_constrained"


def test_the_scopes_of_each_rule_are_asked_for_on_a_hit(door: Door, mint: Mint) -> None:
    """CVE-2021-32701 of Oathkeeper: what was kept passed for any scope."""
    rules = (
        Rule("/read/*", scopes=("read",)),
        Rule("/write/*", scopes=("read", "write")),
        Rule("/maybe", optional=True),
        Rule("/open", public=True),
    )
    kept = Kept(door, rules=rules)
    token = mint(scope="read")
    for _ in range(3):
        for path, status in (("/read/1", 200), ("/write/1", 403), ("/", 200)):
            answer = kept.door.get(path, bearer=token)
            assert (answer.status, answer.entered) == (status, status == 200)
        assert kept.door.get("/maybe", bearer=token).token is not None
        assert kept.door.get("/maybe").token is None
        assert kept.door.get("/open", bearer=token).token is None
    assert kept.checks.count == 1


def test_plain_http_is_refused_on_a_hit(door: Door, mint: Mint) -> None:
    kept = Kept(door, require_https=True)
    token = mint()
    kept.ensure_kept(token)
    for scheme, status in (("http", 400), ("https", 200), ("http", 400)):
        assert kept.status(token, scheme=scheme) == status


# Never shared


def test_two_apps_of_one_process_share_nothing(door: Door, mint: Mint) -> None:
    """Each has its own audience, policy, keys and store."""
    token = mint(scope="read", iat=-100)
    first = Kept(door)
    first.ensure_kept(token)
    others = {
        "wrong_audience": Kept(door, issuer={"audience": "https://other-api.example"}),
        "wrong_type": Kept(door, issuer={"types": ("JWT",)}),
        "claim_missing": Kept(door, issuer={"require": ("email",)}),
        "lifetime_exceeded": Kept(door, issuer={"max_lifetime": 60}),
        "bad_signature": Kept(door, issuer={"keys": [SAME_NAME]}),
        "unknown_key": Kept(door, issuer={"keys": [NEW]}),
    }
    for reason, other in others.items():
        assert other.why(token) == reason
        assert other.status(token) == 401
        assert count(other.auth) == 0
    elsewhere = door.behind(
        authenticator(TrustedIssuer(OTHER, audience=AUDIENCE, keys=[SIGNING_KEY]))
    )
    assert elsewhere.get(bearer=token).status == 401
    first.ensure_kept(token)


def test_another_authenticator_of_the_same_issuer_verifies_anew(
    kept: Kept, mint: Mint
) -> None:
    token = mint()
    kept.ensure_kept(token)
    before = kept.checks.count
    second = kept.door.behind(authenticator(kept.issuer))
    assert second.get(bearer=token).status == 200
    assert kept.checks.count == before + 1


def test_two_issuers_of_one_app_share_no_token(door: Door, mint: Mint) -> None:
    """Their keys are called alike; ``iss`` says whose token it is."""
    other = TrustedIssuer(OTHER, audience=AUDIENCE, keys=[OTHER_KEY])
    kept = Kept(door, other)
    tokens = {
        200: [mint(), mint(key=OTHER_KEY, iss=OTHER)],
        401: [mint(iss=OTHER), mint(key=OTHER_KEY)],
    }
    for _ in range(3):
        for status, texts in tokens.items():
            for text in texts:
                assert kept.status(text) == status
    other.keys = StaticKeys(NEW)
    assert [kept.status(text) for text in tokens[200]] == [200, 401]


# Keys


def test_a_key_that_leaves_takes_its_tokens_with_it(door: Door, mint: Mint) -> None:
    kept = Kept(door, issuer={"keys": [SIGNING_KEY, NEW]})
    tokens = [mint(), mint(key=NEW)]
    for token in tokens:
        kept.ensure_kept(token)
    kept.issuer.keys = StaticKeys(NEW)
    assert [kept.status(token) for token in tokens] == [401, 200]
    with pytest.raises(UnknownKey):
        kept.auth.authenticate(tokens[0])
    kept.issuer.keys = StaticKeys(SIGNING_KEY)
    assert [kept.status(token) for token in tokens] == [200, 401]


def test_a_key_that_is_replaced_under_its_name_takes_its_tokens_with_it(
    kept: Kept, mint: Mint
) -> None:
    token, forged = mint(), mint(key=SAME_NAME)
    kept.ensure_kept(token)
    assert kept.status(forged) == 401
    kept.issuer.keys = StaticKeys(SAME_NAME)
    with pytest.raises(BadSignature):
        kept.auth.authenticate(token)
    assert kept.status(token) == 401
    assert kept.status(forged) == 200


def test_a_key_that_appears_under_the_name_takes_over(door: Door, mint: Mint) -> None:
    """A key without a name may be meant by any ``kid``, but for one that is there."""
    nameless = Key.generate("ES256")
    kept = Kept(door, issuer={"keys": [nameless]})
    token = mint(key=nameless, header={"kid": "k1"})
    kept.ensure_kept(token)
    kept.issuer.keys = StaticKeys(nameless, SIGNING_KEY)
    assert kept.why(token) == "bad_signature"
    assert kept.status(token) == 401


def test_keys_that_come_back_are_asked_anew(kept: Kept, mint: Mint) -> None:
    token, held = mint(), kept.issuer.keys
    kept.ensure_kept(token)
    kept.issuer.keys = StaticKeys(NEW)
    assert kept.status(token) == 401
    kept.issuer.keys = held
    kept.ensure_kept(token)


class Told:
    """A key source of one's own; `held` is called if it is there."""

    def __init__(self, *keys: Key) -> None:
        self.keys: Sequence[Key] = keys
        self.down = False

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        if self.down:
            raise OSError
        return self.keys


class Telling(Told):
    """One that tells which keys it has."""

    def held(self) -> Sequence[Key] | None:
        return None if self.down else self.keys


class Wavering(Told):
    """One that has other objects each time."""

    def held(self) -> Sequence[Key]:
        return list(self.keys)


@pytest.mark.parametrize("source", [Told, Telling, Wavering])
def test_a_key_source_of_ones_own_works(
    door: Door, mint: Mint, source: type[Told]
) -> None:
    """Tokens are kept only where it can tell that its keys are the same."""
    keys = source(SIGNING_KEY.public)
    kept = Kept(door, issuer={"keys": keys})
    token = mint()
    assert [kept.status(token) for _ in range(3)] == [200] * 3
    assert count(kept.auth) == (1 if source is Telling else 0)
    keys.keys = (NEW.public,)
    assert kept.status(token) == 401
    keys.keys = (SIGNING_KEY.public,)
    assert kept.status(token) == 200
    keys.down = True
    assert kept.status(token) == 503
    keys.down = False
    assert kept.status(token) == 200


class Handing(Told):
    """One that hands on what another one says, which may be replaced."""

    def __getattr__(self, name: str) -> Any:
        return getattr(StaticKeys(*self.keys), name)


class Setting(Told):
    """One that is told anew what it holds."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "keys":
            super().__setattr__("held", lambda: value)


@pytest.mark.parametrize("source", [Handing, Setting])
def test_a_source_that_hands_on_what_it_is_asked_may_change_its_mind(
    door: Door, mint: Mint, source: type[Told]
) -> None:
    keys = source(SIGNING_KEY.public)
    kept = Kept(door, issuer={"keys": keys})
    token = mint()
    assert [kept.status(token) for _ in range(2)] == [200, 200]
    keys.keys = (NEW.public,)
    assert kept.status(token) == 401


class Turning(Told):
    """One whose keys are replaced while they are looked up."""

    def held(self) -> Sequence[Key]:
        return self.keys

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        found, self.keys = self.keys, (NEW.public,)
        return found


def test_keys_that_change_while_a_token_is_verified_keep_it_once_only(
    door: Door, mint: Mint
) -> None:
    """It was good when it came, and is not kept as if the new keys had made it."""
    kept = Kept(door, issuer={"keys": Turning(SIGNING_KEY.public)})
    token = mint()
    assert kept.status(token) == 200
    assert count(kept.auth) == 0
    assert kept.status(token) == 401


# Keys that are fetched


def remote(door: Door, issuer: Issuer, **options: Any) -> tuple[Kept, RemoteKeys]:
    keys = issuer.keys(**options)
    return Kept(door, issuer={"keys": keys}), keys


def test_a_fetched_key_that_leaves_takes_its_tokens_with_it(
    door: Door, mint: Mint
) -> None:
    """Once the set is fetched anew, and not a request later."""
    issuer = Issuer(published=[SIGNING_KEY, NEW])
    kept, keys = remote(door, issuer)
    tokens = [mint(), mint(key=NEW)]
    keys.load()
    kept.checks = Checks(kept.issuer)
    for token in tokens:
        kept.ensure_kept(token)
    issuer.publish(NEW)
    issuer.pass_(500)
    kept.status(tokens[1])
    settled(keys)
    assert [kept.status(token) for token in tokens] == [401, 200]


def test_a_refresh_that_is_due_begins_though_every_request_is_a_hit(
    door: Door, mint: Mint
) -> None:
    """So that a busy server, too, has new keys in time."""
    issuer = Issuer(published=[SIGNING_KEY])
    kept, keys = remote(door, issuer)
    token = mint()
    keys.load()
    kept.checks = Checks(kept.issuer)
    kept.ensure_kept(token)
    for fetches in range(2, 5):
        issuer.pass_(400)
        kept.ensure_kept(token)
        assert len(issuer.asked) == fetches - 1
        issuer.pass_(100)
        assert kept.status(token) == 200
        settled(keys)
        assert len(issuer.asked) == fetches
        kept.ensure_kept(token)


def test_of_keys_that_are_too_old_no_hit_is_given(door: Door, mint: Mint) -> None:
    """503 as for a fresh token; stale keys serve, since nobody can say better."""
    issuer = Issuer(published=[SIGNING_KEY])
    kept, keys = remote(door, issuer, max_staleness=1000)
    token = mint()
    keys.load()
    kept.checks = Checks(kept.issuer)
    kept.ensure_kept(token)
    issuer.down.append(FetchFailed("down"))
    issuer.pass_(700)
    assert kept.status(token) == 200
    settled(keys)
    kept.ensure_kept(token)
    assert keys.state().status == "stale"
    issuer.pass_(900)
    answer = kept.door.get(bearer=token)
    settled(keys)
    assert (answer.status, answer.entered) == (503, False)
    with pytest.raises(KeysUnavailable):
        kept.auth.authenticate(token)
    settled(keys)
    issuer.down.clear()
    issuer.pass_(100)
    assert kept.status(token) == 200
    kept.ensure_kept(token)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer([SIGNING_KEY, NEW]) as running:
        yield running


def test_the_keys_of_a_real_server_are_followed(
    door: Door, mint: Mint, server: KeyServer
) -> None:
    turned = Clock(1000.0)
    keys = RemoteKeys(
        server.jwks_url, fetcher=Fetcher(loopback_http=True), now=turned, lifetime=600
    )
    kept = Kept(door, issuer={"keys": keys})
    keys.load()
    token, other = mint(), mint(key=NEW)
    assert [kept.status(text) for text in (token, other)] == [200, 200]
    checks = Checks(kept.issuer)
    assert [kept.status(text) for text in (token, other)] == [200, 200]
    assert (checks.count, len(server.hits)) == (0, 1)
    server.keys = [SAME_NAME, NEW]
    turned.now += 3600  # beyond any lifetime, so the request waits
    assert [kept.status(text) for text in (token, other)] == [401, 200]
    assert len(server.hits) == 2
    server.answer = page("500 Internal Server Error")
    turned.now += 86400 * 8
    assert [kept.status(text) for text in (token, other)] == [503, 503]


# What is not kept


def test_refusals_are_not_kept(kept: Kept, mint: Mint) -> None:
    good = mint()
    kept.ensure_kept(good)
    header, payload, signature = good.split(".")
    refused = [
        mint(exp=-100),
        mint(nbf=100),
        mint(exp=10**6),
        mint(aud="https://other-api.example"),
        mint(iss="https://nobody.example"),
        mint(key=SAME_NAME),
        mint(key=NEW),
        mint(header={"typ": "id+jwt"}),
        mint(jti=1),
        f"{header}.{payload}.",
        f"{header}.{payload}.{'A' * len(signature)}",
        f"{header}.{payload}.{mint(jti='j2').rpartition('.')[2]}",
    ]
    before = entries(kept.auth)
    for token in refused:
        assert [kept.status(token) for _ in range(2)] == [401, 401]
    assert entries(kept.auth) == before
    kept.ensure_kept(good)


def test_a_revoked_token_drives_out_nothing(kept: Kept, mint: Mint) -> None:
    good, taken = mint(), mint(jti="taken")
    kept.ensure_kept(good)
    kept.auth.revoke_jti("taken")
    for _ in range(3):
        assert kept.status(taken) == 401
    kept.ensure_kept(good)


def test_no_other_spelling_of_a_kept_token_passes(kept: Kept, mint: Mint) -> None:
    token = mint()
    kept.ensure_kept(token)
    variants = [
        *respelled(token),
        token + ".",
        token + "A",
        token + "=",
        token[:-1],
        token.upper(),
        token.lower(),
        token.swapcase(),
        "." + token,
        token + "\n",
        " " + token,
        token + " ",
        token + "\x00",
        token.replace(".", ".."),
        token.replace("e", "\uff45", 1),
        token + "\ud800",
        token.encode().decode("utf-16-le", "replace"),
        "",
        "..",
    ]
    for text in variants:
        assert text != token
        assert kept.why(text) == "malformed" or kept.why(text) == "bad_signature", text
    assert count(kept.auth) == 1
    for text in ("=" + token, token + "=", token + "A", token.upper(), token + ".x"):
        assert kept.status(text) in (400, 401)
    kept.ensure_kept(token)


def test_strangers_drive_out_nothing(asgi_door: Door) -> None:
    """A hundred thousand forgeries, and what is good is where it was."""
    kept = Kept(asgi_door, issuer={"keys": [SECRET]}, cache_size=100)
    good = [mint_token(key=SECRET, jti=f"j{n}") for n in range(50)]
    for token in good:
        kept.ensure_kept(token)
    signing_input = mint_token(key=SECRET, jti="j0").rpartition(".")[0]
    before, checks = entries(kept.auth), kept.checks.count

    def forge(begin: int, end: int) -> None:
        for number in range(begin, end):
            with pytest.raises(BadSignature):
                run(kept.auth._verifier.verify(f"{signing_input}.{number:0>42}A"))

    forge(0, 1_000)
    tracemalloc.start()
    try:
        forge(1_000, 3_000)
        left_behind, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    forge(3_000, 100_000)
    assert left_behind < 100_000
    assert entries(kept.auth) == before
    assert kept.checks.count == checks + 100_000
    for token in good:
        kept.ensure_kept(token)


def test_a_long_token_is_accepted_and_not_kept(door: Door) -> None:
    kept = Kept(door)
    bare = len(mint_token(pad=""))
    fill = (LONGEST - bare) * 3 // 4
    longest = shorter = ""
    for extra in range(-3, 8):
        text = mint_token(pad="x" * (fill + extra))
        if len(text) <= LONGEST:
            longest = text
        elif not shorter:
            shorter = text
    assert LONGEST - 2 <= len(longest) <= LONGEST < len(shorter)
    kept.ensure_kept(longest)
    assert count(kept.auth) == 1
    before = kept.checks.count
    assert [kept.status(shorter) for _ in range(3)] == [200] * 3
    assert kept.checks.count == before + 3
    assert count(kept.auth) == 1


def test_a_cache_of_no_size_keeps_nothing(door: Door, mint: Mint) -> None:
    kept = Kept(door, cache_size=0)
    token = mint()
    for number in range(1, 4):
        assert kept.status(token) == 200
        assert (kept.checks.count, count(kept.auth)) == (number, 0)
    kept.auth.revoke(token)
    assert kept.status(token) == 401


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_a_small_cache_forgets_and_is_right(door: Door, mint: Mint, size: int) -> None:
    kept = Kept(door, cache_size=size)
    tokens = [mint(sub=f"user {n}", jti=f"j{n}") for n in range(2 * size + 2)]
    chosen = random.Random(size)  # noqa: S311
    for _ in range(12 * size):
        number = chosen.randrange(len(tokens))
        answer = kept.door.get(bearer=tokens[number])
        assert answer.token is not None
        assert answer.token.subject == f"user {number}"
        assert count(kept.auth) <= size + size % 2
        kept.ensure_kept(tokens[number])


# What is kept


def test_no_text_of_a_token_and_no_secret_is_kept(door: Door, mint: Mint) -> None:
    kept = Kept(door, issuer={"keys": [SECRET]})
    token = mint(key=SECRET, email="alice@example.org")
    kept.ensure_kept(token)
    ((name, entry),) = entries(kept.auth)
    assert len(name) == 32
    for part in (*token.split("."), token):
        assert part.encode() not in name + entry
    secret = SECRET.to_jwk(private=True)["k"]
    verifier = kept.auth._verifier
    shown = "".join(
        map(
            repr,
            (
                kept.auth,
                verifier,
                verifier._verified,
                verifier._origins,
                verifier._verified._entries,
                verifier._origins.numbered(1),
            ),
        )
    )
    for part in (*token.split("."), "alice", secret, entry.hex()):
        assert part not in shown


def test_the_garbage_collector_does_not_follow_what_is_kept(
    kept: Kept, mint: Mint
) -> None:
    for number in range(20):
        kept.status(mint(jti=f"j{number}", roles=["a", {"b": []}]))
    found = entries(kept.auth)
    assert len(found) == 20
    for name, entry in found:
        assert {type(name), type(entry)} == {bytes}
        assert not gc.is_tracked(name)
        assert not gc.is_tracked(entry)


def test_an_entry_takes_little_more_than_its_claims(door: Door) -> None:
    """Also of claims that are small in JSON and large in memory."""
    kept = Kept(door)
    token = mint_token(a=[[]] * 300, b=[1] * 400, c=[{}] * 100)
    assert len(token) < LONGEST
    kept.ensure_kept(token)
    ((_, entry),) = entries(kept.auth)
    assert sys.getsizeof(entry) < 3 * len(token)


# Handlers


def spoil(token: Token) -> None:
    """What a careless or an evil handler does to nested values."""
    claims: Any = dict(token)
    claims["roles"].append("admin")
    claims["realm_access"]["roles"].clear()
    claims["realm_access"]["more"] = 1
    claims["scope"].append("admin")
    claims["aud"].append("x")
    claims["deep"][0]["er"][0]["est"] = "mallory"
    claims["sub"] = "mallory"
    header: Any = token.header
    header["x"]["y"].append("evil")


def test_what_a_handler_does_reaches_no_other_request(door: Door, mint: Mint) -> None:
    """fast-jwt hands the same object to each."""
    kept = with_cookie(door, rules=(Rule("/admin/*", scopes=("admin",)),))
    token = mint(
        header={"x": {"y": []}},
        aud=[AUDIENCE],
        roles=["user"],
        scope=["read"],
        realm_access={"roles": ["user"]},
        deep=[{"er": [{"est": "alice"}]}],
    )
    for number in range(4):
        by: dict[str, Any] = {"bearer": token} if number % 2 else {
            "cookies": [(COOKIE, token)]
        }  # fmt: skip
        seen = kept.door.get(**by).token
        assert seen is not None
        assert dict(seen) == {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": "alice",
            "jti": "j1",
            "exp": NOW + 600,
            "iat": NOW - 10,
            "roles": ["user"],
            "scope": ["read"],
            "realm_access": {"roles": ["user"]},
            "deep": [{"er": [{"est": "alice"}]}],
        }
        assert seen.header["x"] == {"y": []}
        assert seen.scopes == {"read"}
        spoil(seen)
        assert kept.door.get("/admin/x", **by).status == 403
    assert kept.checks.count == 1


def test_two_requests_at_a_time_have_a_token_each(kept: Kept, mint: Mint) -> None:
    token = mint(roles=["user"])
    kept.ensure_kept(token)
    seen = at_once(lambda: kept.auth.authenticate(token))
    assert len({id(one["roles"]) for one in seen}) == THREADS
    seen[0]["roles"].append("admin")
    assert all(one["roles"] == ["user"] for one in seen[1:])
    assert kept.auth.authenticate(token)["roles"] == ["user"]


# Threads and forks


def test_threads_get_right_answers_while_everything_changes(door: Door) -> None:
    """Keys change, entries are forgotten, tokens are revoked: no answer is wrong.

    What is always good passes always, what is never good passes never, and what was
    revoked or has lost its key passes no request that begins afterwards.
    """
    other = TrustedIssuer(OTHER, audience=AUDIENCE, keys=[SECRET])
    kept = Kept(door, other, issuer={"keys": [SECRET, SIGNING_KEY]}, cache_size=6)
    auth = kept.auth
    always = [mint_token(key=SECRET, sub=f"a{n}", jti=f"a{n}") for n in range(6)]
    never = [mint_token(key=STRANGER, jti=f"n{n}") for n in range(3)]
    leaving = [mint_token(key=SECRET, iss=OTHER, jti=f"l{n}") for n in range(3)]
    taken = [mint_token(key=SECRET, sub=f"t{n}", jti=f"t{n}") for n in range(8)]
    sets = [StaticKeys(SECRET), StaticKeys(STRANGER)]
    end = threading.Event()
    gone = threading.Event()
    revoked = 0

    def ask(seed: int) -> None:
        chosen = random.Random(seed)  # noqa: S311
        for _ in range(250):
            number = chosen.randrange(len(always))
            assert auth.authenticate(always[number]).subject == f"a{number}"
            assert why(auth, never[number % 3]) == "bad_signature"
            known = revoked
            number = chosen.randrange(len(taken))
            reason = why(auth, taken[number])
            assert reason in ("", "revoked")
            assert reason == "revoked" or number >= known
            was_gone = gone.is_set()
            reason = why(auth, leaving[number % 3])
            assert reason in ("", "bad_signature")
            assert reason == "bad_signature" or not was_gone

    def change() -> None:
        nonlocal revoked
        rounds = 0
        while not end.is_set() or not gone.is_set():
            rounds += 1
            kept.issuer.keys = StaticKeys(SECRET, SIGNING_KEY)
            if not gone.is_set():
                other.keys = sets[rounds % 2]
            if rounds % 20 == 0 and revoked < len(taken):
                auth.revoke_subject(f"t{revoked}", ISSUER)
                revoked += 1
            if rounds == 60:
                other.keys = sets[1]
                gone.set()
            end.wait(0.001)

    failures: list[BaseException] = []

    def guarded(work: Callable[..., None], *args: int) -> None:
        try:
            work(*args)
        except BaseException as error:
            failures.append(error)

    askers = [
        threading.Thread(target=guarded, args=(ask, seed)) for seed in range(THREADS)
    ]
    changer = threading.Thread(target=guarded, args=(change,))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for thread in (changer, *askers):
            thread.start()
        for thread in askers:
            thread.join()
    finally:
        end.set()
        changer.join()
        sys.setswitchinterval(before)
    assert failures == []
    assert count(auth) <= 6 + THREADS
    assert [why(auth, token) for token in leaving] == ["bad_signature"] * 3
    assert [why(auth, token) for token in always] == [""] * 6


FORKED = """
import os, signal, sys, threading
from tests.conftest import authenticator, mint_token

known, new = mint_token(), mint_token(sub="bob", header={"x": 1})
auth = authenticator(cache_size=2)
assert auth.authenticate(known).subject == "alice"
verifier = auth._verifier
held, go_on = threading.Event(), threading.Event()

def hold():
    with verifier._verified._entries._lock, verifier._origins._lock:
        held.set()
        go_on.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)
    for token in (known, new, known, new + "="):
        try:
            print(auth.authenticate(token).subject)
        except Exception as error:
            print(type(error).__name__)
    sys.stdout.flush()
    os._exit(0)
status = os.waitpid(child, 0)[1]
go_on.set()
thread.join()
assert auth.authenticate(new).subject == "bob"
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_was_forked_while_a_token_was_kept_can_keep_tokens() -> None:
    """The thread that held the lock stays behind, and never lets it go."""
    told = printed("-W", "ignore", "-c", FORKED)
    assert told.split() == ["alice", "bob", "alice", "MalformedToken"]


# The twin: with a cache and without, the answers are the same


def _tokens() -> dict[str, str]:
    """Good ones, bad ones, and those that are good at some time, or by some keys."""
    nested: dict[str, Any] = {"roles": ["user", {"a": [1, 2.5, None]}]}
    made: dict[str, str] = {
        "good": mint_token(sid="s1", scope="read", **nested),
        "bob": mint_token(sub="bob", jti="j2", sid="s2"),
        "no iat": mint_token(iat=None, jti="j3", **nested),
        "no jti": mint_token(jti=None, sid="s1"),
        "no sub": mint_token(sub=None, jti=None, iat=None),
        "short": mint_token(exp=60, jti="j4"),
        "expired": mint_token(exp=-40),
        "later": mint_token(nbf=90, jti="j5"),
        "issued later": mint_token(iat=60, jti="j6", sid="s1"),
        "long life": mint_token(exp=3700, jti="j7"),
        "old": mint_token(iat=-3600, exp=300, jti="j8"),
        "fractions": mint_token(exp=60.5, nbf=0.25, iat=0.25, jti="j9"),
        "scopes": mint_token(scope=["read", "write"], jti="j10"),
        "bound": mint_token(cnf={"jkt": "x"}, jti="j11"),
        "new key": mint_token(key=NEW, jti="j12", sub="bob"),
        "same name": mint_token(key=SAME_NAME, jti="j13"),
        "no name": mint_token(header={"kid": None}, jti="j14"),
        "odd name": mint_token(key=NEW, header={"kid": "k9"}, jti="j15"),
        "other issuer": mint_token(key=OTHER_KEY, iss=OTHER),
        "mixed up": mint_token(iss=OTHER),
        "other audience": mint_token(aud="https://other-api.example"),
        "several audiences": mint_token(aud=["x", AUDIENCE], jti="j16"),
        "other type": mint_token(header={"typ": "logout+jwt"}),
        "odd claim": mint_token(jti=7),
        "too long": mint_token(pad="x" * LONGEST, jti="j17"),
    }
    made["other s"] = other_s(made["good"])
    made["no jti, other s"] = other_s(made["no jti"])
    made["padded"] = made["good"] + "="
    made["cut"] = made["good"][:-2]
    made["other signature"] = made["good"].rpartition(".")[0] + "." + (
        made["bob"].rpartition(".")[2]
    )  # fmt: skip
    return made


TOKENS = _tokens()
RULES = (
    Rule("/open", public=True),
    Rule("/maybe", optional=True),
    Rule("/write/*", scopes=("write",)),
)
NAMELESS = Key.from_jwk(
    {n: v for n, v in NEW.public.to_jwk().items() if n != "kid"}, "ES256"
)


class Send(NamedTuple):
    """A request with the token that stands there in the hand of this run."""

    place: int
    method: str = "GET"
    path: str = "/"
    way: str = "bearer"
    site: str = "same-origin"
    scheme: str = "https"


class Turn(NamedTuple):
    """The clock goes on, or back."""

    seconds: float


class Revoke(NamedTuple):
    kind: str
    value: str


class Keys(NamedTuple):
    """The issuer has other keys from now on."""

    name: str


class Break(NamedTuple):
    """The store fails until something else happens."""


Step = Turn | Revoke | Keys | Break
SENDS = st.builds(
    Send,
    st.integers(0, 4),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["/", "/write/x", "/maybe", "/open"]),
    st.sampled_from(["bearer", "cookie", "both"]),
    st.sampled_from(["same-origin", "cross-site"]),
    st.sampled_from(["https", "http"]),
)
SETS = ("both", "first", "new", "same name", "nameless", "untold", "telling", "down")
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        Turn,
        st.sampled_from(
            [1, -1, 0.25, 29.75, 30, 60, -60, 90, -90, 300, -300, 600, -600, -3600]
        ),
    ),
    st.builds(Keys, st.sampled_from(SETS)),
    st.builds(Keys, st.sampled_from(("both", "nameless"))),
    st.builds(
        Revoke,
        st.sampled_from(["jti", "sid", "sub", "before", "text"]),
        st.sampled_from(["j1", "j3", "j12", "s1", "s2", "alice", "bob"]),
    ),
    st.builds(Break),
)
ROUNDS = st.lists(st.tuples(STEPS, SENDS), min_size=4, max_size=20)
"""Something changes, then every token is sent, and one in an odd way."""
GOOD = (
    "good",
    "bob",
    "no iat",
    "no jti",
    "no sub",
    "short",
    "later",
    "issued later",
    "long life",
    "old",
    "fractions",
    "scopes",
    "new key",
    "no name",
    "odd name",
    "other issuer",
    "other s",
    "no jti, other s",
)
"""At some moment, and by some keys."""
HANDS = st.tuples(
    *[st.sampled_from(GOOD) for _ in range(4)], st.sampled_from(sorted(TOKENS))
)


class Twins:
    """One that keeps tokens, and one that has never seen any; all else is the same."""

    def __init__(self, size: int, hand: Sequence[str]) -> None:
        self.clock = Clock(NOW)
        self.store = BreakableStore(self.clock)
        self.hand = [TOKENS[name] for name in hand]
        self.issuer = trusted(max_lifetime=3600)
        self.other = TrustedIssuer(OTHER, audience=AUDIENCE, keys=[OTHER_KEY])
        self.keeps = self.made(size)
        self.issuer.keys = keys_named("both")

    @property
    def fresh(self) -> Authenticator:
        """Another one each time: not even a header is remembered."""
        return self.made(0)

    def made(self, size: int) -> Authenticator:
        return authenticator(
            self.issuer,
            self.other,
            sources=(BearerHeader(), Cookie(trusted_origins=(APP,))),
            rules=RULES,
            store=self.store,
            now=self.clock,
            require_https=True,
            cache_size=size,
        )

    def take(self, step: Step) -> None:
        """Change what both see."""
        self.store.down = isinstance(step, Break)
        if isinstance(step, Turn):
            self.clock.now += step.seconds
        elif isinstance(step, Keys):
            self.issuer.keys = keys_named(step.name)
        elif isinstance(step, Revoke):
            self.revoke(step)

    def requests(self, odd: Send) -> Iterator[tuple[Send, str]]:
        """What is sent after a change."""
        for place, token in enumerate(self.hand):
            yield Send(place), token
        yield Send(0), self.hand[0]
        yield odd, self.hand[odd.place]

    def revoke(self, step: Revoke) -> None:
        auth, value = self.keeps, step.value
        try:
            if step.kind == "text":
                auth.revoke(self.hand[0])
            elif step.kind == "before":
                auth.revoke_subject(value, ISSUER, before=self.clock.now - 5)
            elif step.kind == "sub":
                auth.revoke_subject(value, ISSUER)
            elif step.kind == "sid":
                auth.revoke_session(value, ISSUER)
            else:
                auth.revoke_jti(value, ISSUER)
        except AuthError:
            pass  # neither has it revoked


def keys_named(name: str) -> Any:
    sets: dict[str, Callable[[], Any]] = {
        "first": lambda: StaticKeys(SIGNING_KEY),
        "both": lambda: StaticKeys(SIGNING_KEY, NEW),
        "new": lambda: StaticKeys(NEW),
        "same name": lambda: StaticKeys(SAME_NAME),
        "nameless": lambda: StaticKeys(NAMELESS, SIGNING_KEY),
        "untold": lambda: Told(SIGNING_KEY.public),
        "telling": lambda: Telling(SIGNING_KEY.public, NEW.public),
        "down": Down,
    }
    return sets[name]()


class Down(Telling):
    """A source that has no answer."""

    def __init__(self) -> None:
        super().__init__()
        self.down = True


def told(token: Token | None) -> Any:
    """All that a handler can learn of a token."""
    if token is None:
        return None
    return (
        repr(dict(token)),
        repr(dict(token.header)),
        token.scopes,
        token.identifier,
        token.subject,
        token.expires_at,
        token.issued_at,
    )


def spoil_all(value: Any) -> None:
    """Change whatever can be changed in *value*."""
    if isinstance(value, Token):
        for claim in value.values():
            spoil_all(claim)
    elif isinstance(value, dict):
        value["spoilt"] = True
    elif isinstance(value, list):
        for member in value:
            spoil_all(member)
        value.append("spoilt")


def sent(step: Send, token: str) -> dict[str, Any]:
    """The options of a door for a request."""
    by: dict[str, Any] = {"scheme": step.scheme}
    by["headers"] = [("Sec-Fetch-Site", step.site)]
    if step.way in ("bearer", "both"):
        by["bearer"] = token
    if step.way in ("cookie", "both"):
        by["cookies"] = [(COOKIE, token)]
    return by


def decided(auth: Authenticator, step: Send, token: str) -> tuple[Any, Token | None]:
    """What the core decides, without a door; for many requests in little time."""
    headers: dict[str, tuple[str, ...]] = {"sec-fetch-site": (step.site,)}
    if step.way in ("bearer", "both"):
        headers["authorization"] = (f"Bearer {token}",)
    if step.way in ("cookie", "both"):
        headers["cookie"] = (f"{COOKIE}={token}",)
    request = SentRequest(
        step.method, step.scheme, step.path, lambda name: headers.get(name, ())
    )
    decision = run(auth.decide(request))
    if isinstance(decision, Reply):
        return decision, None
    return None, decision.token


many = settings(deadline=None, max_examples=120)
some = settings(deadline=None, max_examples=15)


@many
@given(st.sampled_from([1, 2, 3, 10]), HANDS, ROUNDS)
def test_with_a_cache_and_without_the_same_is_decided(
    size: int, hand: Sequence[str], rounds: list[tuple[Step, Send]]
) -> None:
    """Whatever comes: tokens, the clock, revocations, other keys, a broken store."""
    twins = Twins(size, hand)
    for step, odd in [(Turn(0), Send(0)), *rounds]:
        twins.take(step)
        for request, token in twins.requests(odd):
            reply, seen = decided(twins.keeps, request, token)
            fresh_reply, fresh = decided(twins.fresh, request, token)
            assert reply == fresh_reply
            assert told(seen) == told(fresh)
            spoil_all(seen)
            assert count(twins.keeps) <= size + 1
    for token in twins.hand:
        assert why(twins.keeps, token) == why(twins.fresh, token)


def same(answer: Answer) -> tuple[Any, ...]:
    return (
        answer.status,
        sorted(answer.headers),
        answer.body,
        answer.entered,
        told(answer.token),
        answer.current is answer.token,
    )


@pytest.mark.parametrize("way_in", DOORS, ids=lambda door: door.name)
def test_with_a_cache_and_without_the_same_is_answered(way_in: type[Door]) -> None:
    @some
    @given(st.sampled_from([2, 10]), HANDS, ROUNDS)
    def check(size: int, hand: Sequence[str], rounds: list[tuple[Step, Send]]) -> None:
        twins = Twins(size, hand)
        for step, odd in [(Turn(0), Send(0)), *rounds]:
            twins.take(step)
            for request, token in twins.requests(odd):
                by = sent(request, token)
                one, two = (
                    way_in(auth).request(request.method, request.path, **by)
                    for auth in (twins.keeps, twins.fresh)
                )
                assert same(one) == same(two)
                spoil_all(one.token)

    check()


MOMENTS = (-3700, -100, -31, 0, 29, 59, 91, 329, 330, 629, 630, 3600, 10**6)


@pytest.mark.parametrize("keys", SETS)
def test_a_token_that_was_kept_earlier_is_judged_as_a_new_one(keys: str) -> None:
    """Every token is first kept at a moment when it is good, then asked elsewhere."""
    twins = Twins(100, ["good"] * 5)
    for before, name in product((0, 45, 90, -40), ("nameless", "both")):
        twins.issuer.keys = keys_named(name)
        twins.clock.now = NOW + before
        for token in TOKENS.values():
            why(twins.keeps, token)
    assert count(twins.keeps) >= 15
    if keys != "both":  # which they are: so the entries hold, and the clock decides
        twins.issuer.keys = keys_named(keys)
    for moment in MOMENTS:
        twins.clock.now = NOW + moment
        for name, token in TOKENS.items():
            assert why(twins.keeps, token) == why(twins.fresh, token), (moment, name)


class Pass(NamedTuple):
    """By the monotonic clock: none is in the time in which a refresh may be due."""

    seconds: float


class Publish(NamedTuple):
    keys: tuple[Key, ...]


class Fail(NamedTuple):
    is_down: bool


REMOTE_STEPS = st.lists(
    st.one_of(
        st.builds(Pass, st.sampled_from([0, 250, 500, 700, 2_000, 100_000])),
        st.builds(
            Publish,
            st.sampled_from(
                [
                    (SIGNING_KEY,),
                    (SIGNING_KEY, NEW),
                    (NEW,),
                    (SAME_NAME,),
                    (NAMELESS,),
                    (NAMELESS, SIGNING_KEY),
                    (),
                ]
            ),
        ),
        st.builds(Fail, st.booleans()),
    ),
    min_size=5,
    max_size=25,
)
SIGNED = ("good", "bob", "new key", "same name", "odd name", "no name", "padded")


def published(keys: Sequence[Key]) -> list[dict[str, Any]]:
    """As an issuer writes them; a key that has no name is published without."""
    return [
        {n: v for n, v in key.public.to_jwk().items() if n != "kid" or key.is_named}
        for key in keys
    ]


class Publisher(Issuer):
    """An issuer that leaves out names that nobody gave."""

    def fetch(self, url: str, until: float) -> Any:
        document = super().fetch(url, until)
        return replace(document, content={"keys": published(self.published)})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(SIGNED), min_size=4, max_size=4), REMOTE_STEPS)
def test_with_fetched_keys_the_same_is_decided_and_asked(
    hand: list[str], steps: list[Any]
) -> None:
    """The issuer is asked as often, whether tokens are kept or not."""
    issuers = [Publisher(published=[SIGNING_KEY]) for _ in range(2)]
    sources = [issuer.keys(max_staleness=10_000) for issuer in issuers]
    keeps = authenticator(trusted(keys=sources[0]))

    def ask(name: str) -> list[tuple[str, int]]:
        outcome = []
        # The other has seen no token before.
        auths = (keeps, authenticator(trusted(keys=sources[1]), cache_size=0))
        for issuer, keys, auth in zip(issuers, sources, auths, strict=True):
            reason = why(auth, TOKENS[name])
            settled(keys)
            outcome.append((reason, len(issuer.asked)))
        return outcome

    for step in steps:
        for issuer in issuers:
            if isinstance(step, Pass):
                issuer.pass_(step.seconds)
            elif isinstance(step, Publish):
                issuer.publish(*step.keys)
            elif isinstance(step, Fail):
                issuer.down[:] = [FetchFailed("down")] if step.is_down else []
        # What a refresh behind a request brings may come in time for it, or not.
        first, fresh_first = ask("good")
        assert first[1] == fresh_first[1]
        for name in ("good", *hand, "good"):
            one, two = ask(name)
            assert one == two


# Rules that are remembered

PATHS = st.one_of(
    st.text(max_size=12).map("/".__add__),
    st.lists(
        st.sampled_from(
            ["/", "a", "b", "open", "write", "maybe", "..", ".", ";", "%2f", "\\", "*",
             "\uff0f", "\x00", "A", "\u00e9", "\udcff", "//", "x" * 150]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip
RULES_OF_ALL_KINDS = (
    Rule("/open", public=True),
    Rule("/a/*", methods=("GET",), public=True),
    Rule("/a/*", scopes=("a",)),
    Rule("/maybe/*", optional=True),
    Rule("/write/*", scopes=("read", "write")),
    Rule("/b", methods=("POST", "PUT")),
    Rule("/b/", public=True),
)


def rules_for(rules: Rules, method: str, path: str, raw: str) -> Any:
    return rules.found(SentRequest(method, "https", path, lambda name: (), raw))


SHARED = Rules(RULES_OF_ALL_KINDS)
"""Of all examples, so that what one has left is met by the next."""


@settings(deadline=None, max_examples=400)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "get", "DELETE", ""]),
    PATHS,
    st.one_of(st.just(""), PATHS),
)
def test_rules_that_are_remembered_are_those_that_would_be_found(
    method: str, path: str, raw: str
) -> None:
    try:
        fresh = rules_for(Rules(RULES_OF_ALL_KINDS), method, path, raw)
    except AmbiguousPath:
        with pytest.raises(AmbiguousPath):
            rules_for(SHARED, method, path, raw)
        return
    for _ in range(2):
        assert rules_for(SHARED, method, path, raw) == fresh
    assert fresh.are_public is all(rule.public for rule in fresh.rules)
    assert fresh.is_optional is any(rule.optional for rule in fresh.rules)
    if method.isupper():
        assert [*fresh.rules] == [*match(RULES_OF_ALL_KINDS, method, path, raw)]


def test_a_method_and_a_path_are_told_apart() -> None:
    """They are remembered side by side, not one after the other."""
    rules = Rules(RULES_OF_ALL_KINDS)
    asked = list(
        product(
            ("GET", "POST", "G", "", "GET/a"),
            ("/a/x", "ET/a/x", "/open", "T/open", ""),
            ("", "/a/x", "/a%2Fx"),
        )
    )
    for _ in range(2):
        for method, path, raw in asked:
            fresh = rules_for(Rules(RULES_OF_ALL_KINDS), method, path, raw)
            assert rules_for(rules, method, path, raw) == fresh


def test_no_more_rules_are_remembered_than_was_allowed() -> None:
    rules = Rules(RULES_OF_ALL_KINDS)
    for number in range(2 * REMEMBERED):
        found = rules_for(rules, "GET", f"/a/{number}", "")
        assert (list(found.rules), found.are_public) == ([RULES_OF_ALL_KINDS[1]], True)
    assert rules._remembered.cache_info().currsize == REMEMBERED
    assert rules_for(rules, "POST", "/a/1", "")[1] is False


@pytest.mark.parametrize("where", ["method", "path", "raw"])
def test_what_is_long_is_not_remembered(where: str) -> None:
    """A stranger may send long paths, and may fill no memory with them."""
    rules = Rules(RULES_OF_ALL_KINDS)
    for length in (1, LONGEST_REMEMBERED + 1, 8000):
        given_parts = {"method": "GET", "path": "/open", "raw": "/open"}
        given_parts[where] += "x" * length
        rules_for(rules, **given_parts)
        assert rules._remembered.cache_info().currsize == 1
    found = rules_for(rules, "GET", "/a/" + "x" * 1000, "")
    assert (list(found.rules), found.are_public) == ([RULES_OF_ALL_KINDS[1]], True)


def test_rules_that_are_remembered_lock_and_open_the_same_doors(
    door: Door, mint: Mint
) -> None:
    guarded = door.behind(authenticator(rules=RULES_OF_ALL_KINDS))
    for _ in range(3):
        for method, path, raw, status in (
            ("GET", "/open", None, 200),
            ("GET", "/open/", None, 401),
            ("GET", "/a/x", None, 200),
            ("POST", "/a/x", None, 401),
            ("GET", "/a/x", "/a%2Fx", 401),
            ("GET", "/a/../b", None, 401),
            ("GET", "/b/", None, 200),
        ):
            answer = guarded.request(method, path, raw_path=raw)
            assert (answer.status, answer.entered) == (status, status == 200), path


def test_two_apps_have_rules_of_their_own(door: Door) -> None:
    first = door.behind(authenticator(rules=(Rule("/x", public=True),)))
    second = door.behind(authenticator(rules=()))
    assert [first.get("/x").status, second.get("/x").status] == [200, 401]
    assert [first.get("/x").status, second.get("/x").status] == [200, 401]


@pytest.mark.parametrize("jump", [500, 700])
def test_a_refresh_that_brings_the_same_keys_keeps_what_is_known(jump: int) -> None:
    issuer = Issuer(published=[SIGNING_KEY])
    keys = issuer.keys()
    mine = trusted(keys=keys)
    keys.load()
    checks, auth = Checks(mine), authenticator(mine)
    tokens = [mint_token(jti=f"j{number}") for number in range(5)]
    for text in tokens * 2:
        auth.authenticate(text)
    assert checks.count == len(tokens)
    held = keys.held()
    issuer.pass_(jump)
    auth.authenticate(tokens[0])
    settled(keys)
    assert keys.held() is held
    before = checks.count
    for text in tokens:
        auth.authenticate(text)
    assert checks.count == before


class Raising(Told):
    def held(self) -> Any:
        raise OSError


class Attribute(Told):
    held = ()


class Asynchronous(Told):
    async def held(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [Raising, Attribute, Asynchronous])
def test_what_a_source_holds_in_its_own_way_is_not_asked(door: Door, kind: Any) -> None:
    """The name may have meant something else to its author."""
    guarded = door.behind(authenticator(trusted(keys=kind(SIGNING_KEY.public))))
    for _ in range(2):
        assert guarded.get(bearer=mint_token()).status == 200


def test_a_rule_of_ones_own_is_asked_each_time(door: Door) -> None:
    is_open = [True]

    class Flag(Rule):
        def covers(self, method: str, path: str) -> bool:
            return is_open[0] and super().covers(method, path)

    guarded = door.behind(authenticator(rules=(Flag("/beta/*", public=True),)))
    assert guarded.get("/beta/x").status == 200
    is_open[0] = False
    assert guarded.get("/beta/x").status == 401


def test_many_issuers_leave_each_other_room() -> None:
    key = Key.generate("HS256", kid="s")
    issuers = [
        TrustedIssuer(f"https://t{number}.example", audience=AUDIENCE, keys=[key])
        for number in range(100)
    ]
    auth = authenticator(*issuers)
    checks = [Checks(issuer) for issuer in issuers]
    tokens = [mint_token(key=key, iss=issuer.issuer) for issuer in issuers]
    for text in tokens * 3:
        auth.authenticate(text)
    assert sum(one.count for one in checks) == len(issuers)
