"""Remote keys by the clock: when the issuer is asked, and who waits for it.

The answers are canned here, so that every moment can be chosen; `test_faults` has
real servers.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from jwt_middleware import Key, RemoteKeys, TrustedIssuer
from jwt_middleware.bridge import run
from jwt_middleware.errors import KeysUnavailable, UnknownKey
from jwt_middleware.fetch import Document, Fetcher, FetchFailed
from jwt_middleware.looks import (
    LOOK_S,
    MOST_NAMES,
    MOST_TASKS,
    MOST_THREADS,
    QUICK_LOOK_S,
)

from .conftest import AUDIENCE, ISSUER
from .faults import timed

OLD, NEW, LATER = (Key.generate("ES256", kid=kid) for kid in ("old", "new", "later"))
RSA = Key.generate("RS256", kid="rsa")
URL = "https://login.example/jwks"
SOON_S = 30
"""Nobody waits as long: it is for a test that fails."""


@dataclass(frozen=True)
class Issuer(Fetcher):
    """An issuer on a clock of its own, whose answers are at hand."""

    published: list[Key] = field(default_factory=lambda: [OLD])
    asked: list[str] = field(default_factory=list)
    clock: list[float] = field(default_factory=lambda: [1000.0])
    down: list[Exception] = field(default_factory=list)
    max_age: list[float] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.let_go.set()

    def fetch(self, url: str, until: float) -> Document:
        self.asked.append(url)
        assert self.let_go.wait(SOON_S)
        if self.down:
            raise self.down[0]
        keys = [key.public.to_jwk() for key in self.published]
        return Document({"keys": keys}, *self.max_age)

    def now(self) -> float:
        return self.clock[0]

    def pass_(self, seconds: float) -> None:
        self.clock[0] += seconds

    def publish(self, *keys: Key) -> None:
        self.published[:] = keys

    def keys(self, **options: Any) -> RemoteKeys:
        return RemoteKeys(URL, fetcher=self, now=self.now, **options)


class Bare(Issuer):
    """An issuer that publishes one JWK as it is."""

    def __init__(self, jwk: dict[str, Any]) -> None:
        super().__init__()
        object.__setattr__(self, "jwk", jwk)

    def fetch(self, url: str, until: float) -> Document:
        self.asked.append(url)
        jwk: dict[str, Any] = getattr(self, "jwk")  # noqa: B009
        return Document({"keys": [jwk]})


def found(keys: RemoteKeys, key: Key) -> Sequence[str]:
    header = {"alg": key.algorithm, "kid": key.kid}
    return [found.kid for found in run(keys.resolve(header))]


def settled(keys: RemoteKeys) -> None:
    """Wait until nothing is under way."""
    latch = keys._upkeep._flights.join(lambda: False)
    assert latch is None or run(latch.wait(SOON_S))


# What cannot be meant


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"jwks_url": "http://login.example/jwks"}, "is not https"),
        ({"jwks_url": "login.example"}, "is no address"),
        ({"jwks_url": None}, "is no address"),
        ({"algorithms": ("HS256",)}, "HS256 needs a secret, and remote keys are"),
        ({"algorithms": ("ES256", "HS512")}, "HS512 needs a secret"),
        ({"algorithms": ("none",)}, "'none' is none of the algorithms"),
        ({"algorithms": ()}, "algorithms is empty"),
        ({"lifetime": 0}, "lifetime must be a number of seconds from 1 to 86400"),
        ({"lifetime": float("inf")}, "lifetime must be"),
        ({"cooldown": 0}, "cooldown must be a number of seconds from 1 to 3600"),
        ({"max_staleness": -1}, "max_staleness must be"),
        ({"max_staleness": float("nan")}, "max_staleness must be"),
        ({"timeout": 0}, "timeout must be a number of seconds from 0.1 to 60"),
        ({"fetcher": Fetcher}, "fetcher is no Fetcher; write fetcher=Fetcher"),
        ({"fetcher": print}, "fetcher is no Fetcher"),
        ({"now": 5}, "now must be a function"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_told(options: dict[str, Any], told: str) -> None:
    url = options.pop("jwks_url", URL)
    for make in (RemoteKeys, RemoteKeys.from_issuer):
        with pytest.raises(ValueError, match=told):
            make(url, **options)


def test_hmac_beside_remote_keys_is_refused() -> None:
    """Whoever can fetch the keys could sign."""
    for keys in (None, RemoteKeys(URL), RemoteKeys.from_issuer(ISSUER)):
        with pytest.raises(ValueError, match="HS256 needs a secret"):
            TrustedIssuer(
                ISSUER, audience=AUDIENCE, keys=keys, algorithms=("ES256", "HS256")
            )


def test_an_issuer_without_keys_has_those_that_its_metadata_lead_to() -> None:
    issuer = TrustedIssuer(ISSUER, audience=AUDIENCE)
    assert repr(issuer.keys) == f"<RemoteKeys '{ISSUER}'>"


def test_nothing_is_fetched_before_it_is_needed() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    assert keys.state().status == "none"
    assert repr(keys) == f"<RemoteKeys '{URL}'>"
    assert issuer.asked == []


# Algorithms


def test_the_algorithms_of_the_issuer_are_those_of_its_keys() -> None:
    """A key without ``alg`` is for the first that the issuer's tokens may have."""
    keys = RemoteKeys(URL)
    TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys, algorithms=("PS256",))
    TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys)
    keys.prefer(("PS256",))
    with pytest.raises(ValueError, match="two issuers prefer different algorithms"):
        keys.prefer(("RS256",))


def test_an_issuer_without_algorithms_prefers_the_usual_ones() -> None:
    """Another would take them away behind its back."""
    keys = RemoteKeys(URL)
    TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys)
    with pytest.raises(ValueError, match="two issuers prefer different algorithms"):
        TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys, algorithms=("PS256",))


def test_a_key_without_alg_takes_a_preferred_algorithm() -> None:
    jwk = {n: v for n, v in RSA.public.to_jwk().items() if n != "alg"}
    for algorithm in ("RS256", "PS512"):
        early = Bare(jwk).keys(algorithms=(algorithm,))
        late = Bare(jwk).keys()
        late.load()
        late.prefer((algorithm,))
        for keys in (early, late):
            (key,) = run(keys.resolve({"alg": algorithm, "kid": "rsa"}))
            assert key.algorithm == algorithm


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512", "none", "RS1", ""])
def test_a_secret_is_not_even_looked_for(alg: str) -> None:
    issuer = Issuer()
    with pytest.raises(UnknownKey, match="is of no published key"):
        run(issuer.keys().resolve({"alg": alg, "kid": "old"}))
    assert issuer.asked == []


def test_a_token_of_an_algorithm_that_is_not_accepted_does_not_spend_the_look() -> None:
    """Its ``kid`` is made up, and the look stays for a token that may be good."""
    issuer = Issuer()
    trusted = TrustedIssuer(
        ISSUER, audience=AUDIENCE, keys=issuer.keys(), algorithms=("ES256", "EdDSA")
    )
    keys = trusted.keys
    assert isinstance(keys, RemoteKeys)
    keys.load()
    issuer.pass_(1)
    issuer.publish(NEW)
    for alg in ("RS256", "PS512", "ES384", "HS256", "none"):
        with pytest.raises(UnknownKey, match="not among the issuer's algorithms"):
            run(trusted.resolve({"alg": alg, "kid": "made up"}))
    assert len(issuer.asked) == 1
    assert [key.kid for key in run(trusted.resolve({"alg": "ES256", "kid": "new"}))]
    for alg in ("Ed25519", "Ed448", "EdDSA"):  # all of them are accepted
        issuer.pass_(30)
        with pytest.raises(UnknownKey, match="0 keys fit"):
            run(trusted.resolve({"alg": alg, "kid": "made up"}))
    assert len(issuer.asked) == 5


def test_keys_that_were_loaded_before_they_are_given_to_an_issuer_are_used() -> None:
    """The algorithms that it accepts are read from what was fetched."""
    jwk = {n: v for n, v in RSA.public.to_jwk().items() if n != "alg"}
    for algorithms in (None, ("PS256",), ("RS256",)):
        issuer = Bare(jwk)
        keys = issuer.keys()
        keys.load()
        trusted = TrustedIssuer(
            ISSUER, audience=AUDIENCE, keys=keys, algorithms=algorithms
        )
        alg = algorithms[0] if algorithms else "RS256"
        (key,) = run(trusted.resolve({"alg": alg, "kid": "rsa"}))
        assert key.algorithm == alg
        assert len(issuer.asked) == 1


def test_a_set_without_a_key_for_what_is_preferred_is_fetched_again() -> None:
    bare = {n: v for n, v in OLD.public.to_jwk().items() if n != "alg"}
    other = Bare(bare)
    loaded = other.keys()
    loaded.load()
    loaded.prefer(("RS256",))
    assert loaded.state().status == "none"


# A life


def test_a_set_is_fetched_once_and_used_while_it_is_fresh() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    for _ in range(3):
        assert found(keys, OLD) == ["old"]
        issuer.pass_(200)
    assert issuer.asked == [URL]


def test_keys_can_be_had_before_the_first_request() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    keys.load()
    assert keys.state().kids == ("old",)
    assert issuer.asked == [URL]


def test_a_set_that_is_due_is_fetched_behind_the_requests() -> None:
    """They are answered at once by what is held, however slow the issuer is."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.publish(NEW)
    issuer.pass_(500)
    issuer.let_go.clear()
    for _ in range(5):
        assert found(keys, OLD) == ["old"]
    issuer.let_go.set()
    settled(keys)
    assert issuer.asked == [URL] * 2
    assert keys.state().kids == ("new",)


def test_a_set_beyond_its_life_is_not_used_before_another_was_tried() -> None:
    """A worker that was idle would else believe a key that left long ago."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.publish(NEW)
    issuer.pass_(601)
    assert keys.state().status == "stale"
    with pytest.raises(UnknownKey):
        found(keys, OLD)
    assert issuer.asked == [URL] * 2


def test_what_the_issuer_says_of_its_cache_counts() -> None:
    issuer = Issuer(max_age=[3600])
    keys = issuer.keys()
    keys.load()
    issuer.pass_(2000)
    assert found(keys, OLD) == ["old"]
    assert issuer.asked == [URL]
    assert 3600 * 0.72 - 2000 <= keys.state().next_fetch <= 3600 * 0.8 - 2000


def test_a_key_that_left_the_set_stops_verifying_with_the_next_fetch() -> None:
    issuer = Issuer(published=[OLD, NEW])
    keys = issuer.keys()
    assert found(keys, OLD) == ["old"]
    issuer.publish(NEW)
    issuer.pass_(500)
    found(keys, NEW)
    settled(keys)
    with pytest.raises(UnknownKey):
        found(keys, OLD)


# An outage


def test_stale_keys_serve_on_for_a_bounded_time() -> None:
    issuer = Issuer()
    keys = issuer.keys(max_staleness=1000)
    keys.load()
    issuer.down.append(FetchFailed("down"))
    issuer.pass_(1599)
    assert found(keys, OLD) == ["old"]
    assert keys.state().status == "stale"
    issuer.pass_(1)
    with pytest.raises(KeysUnavailable, match="down"):
        found(keys, OLD)
    assert keys.state().status == "expired"


def test_nobody_waits_for_an_issuer_that_is_known_to_be_down() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.down.append(FetchFailed("down"))
    issuer.pass_(700)
    assert found(keys, OLD) == ["old"]
    issuer.pass_(60)
    issuer.let_go.clear()
    assert found(keys, OLD) == ["old"]
    issuer.let_go.set()
    settled(keys)
    assert len(issuer.asked) == 3


def test_tries_are_ever_further_apart() -> None:
    """A second, two, four, up to the cooldown: an issuer that is ill is let alone."""
    issuer = Issuer(down=[FetchFailed("down")])
    keys = issuer.keys(cooldown=30)
    for _ in range(120):
        with pytest.raises(KeysUnavailable):
            found(keys, OLD)
        issuer.pass_(1)
    assert 7 <= len(issuer.asked) <= 9
    assert keys.state().failures == len(issuer.asked)


def test_without_any_keys_the_client_is_told_when_to_come_back() -> None:
    issuer = Issuer(down=[FetchFailed("down")])
    keys = issuer.keys()
    waits = []
    for _ in range(7):
        with pytest.raises(KeysUnavailable) as refusal:
            found(keys, OLD)
        waits.append(refusal.value.retry_after or 0)
        issuer.pass_(30)
    assert waits[:4] == [1, 2, 4, 8]
    assert all(27 <= wait <= 30 for wait in waits[5:])


def test_an_issuer_that_is_back_is_noticed() -> None:
    issuer = Issuer(down=[FetchFailed("down")])
    keys = issuer.keys()
    with pytest.raises(KeysUnavailable):
        found(keys, OLD)
    issuer.down.clear()
    issuer.pass_(1)
    assert found(keys, OLD) == ["old"]
    assert (keys.state().failures, keys.state().error) == (0, None)


def test_a_wait_has_an_end() -> None:
    issuer = Issuer()
    keys = issuer.keys(timeout=0.1)
    issuer.let_go.clear()
    with pytest.raises(KeysUnavailable, match="no answer yet"):
        found(keys, OLD)
    issuer.let_go.set()
    settled(keys)
    assert found(keys, OLD) == ["old"]


@pytest.mark.parametrize("error", [FetchFailed("x"), OSError("x"), KeyError("x\ny")])
def test_whatever_a_fetcher_raises_is_an_outage(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    issuer = Issuer(down=[error])
    keys = issuer.keys()
    with pytest.raises(KeysUnavailable):
        found(keys, OLD)
    issuer.down.clear()
    issuer.pass_(1)
    assert found(keys, OLD) == ["old"]
    assert len(caplog.text.splitlines()) == 1


def test_a_set_without_a_usable_key_is_an_outage() -> None:
    """What it replaced verifies on; an empty set would shut everybody out."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.publish()
    issuer.pass_(500)
    found(keys, OLD)
    settled(keys)
    assert found(keys, OLD) == ["old"]
    assert keys.state().error == "ValueError: 'no key that verifies signatures'"


# A key that is not in the set


def test_a_new_key_is_fetched_when_the_first_token_has_it() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.pass_(1)
    issuer.publish(OLD, NEW)
    assert found(keys, NEW) == ["new"]
    assert found(keys, OLD) == ["old"]
    assert issuer.asked == [URL] * 2


def asked_for(keys: RemoteKeys, kid: str) -> str:
    """How a token with a key that is not in the set is refused."""
    try:
        run(keys.resolve({"alg": "ES256", "kid": kid}))
    except UnknownKey:
        return "unknown"
    except KeysUnavailable as refusal:
        return f"may be new; again in {refusal.retry_after}"
    return "found"


def test_a_key_that_does_not_exist_is_looked_for_once_in_a_cooldown() -> None:
    """It is said not to exist when the issuer was asked, and never before."""
    issuer = Issuer()
    keys = issuer.keys(cooldown=30)
    keys.load()
    for second in range(1, 91):
        issuer.pass_(1)
        expected = f"may be new; again in {30 - (second - 1) % 30}"
        answer = asked_for(keys, f"made up {second}")
        assert answer == ("unknown" if second % 30 == 1 else expected)
    assert len(issuer.asked) == 1 + 3


def test_a_key_that_was_withdrawn_is_unknown_to_all_after_one_look() -> None:
    """Clients with its tokens must get new ones, and 503 would keep them waiting."""
    issuer = Issuer(published=[OLD, NEW])
    keys = issuer.keys(cooldown=30)
    keys.load()
    issuer.publish(NEW)
    issuer.pass_(1)
    assert asked_for(keys, "made up") == "unknown"  # which fetches the set without it
    issuer.pass_(1)
    assert asked_for(keys, "old") == "may be new; again in 29"
    issuer.pass_(29)
    for second in range(60):
        assert asked_for(keys, "old") == "unknown"
        assert asked_for(keys, f"made up {second}") != "found"
        issuer.pass_(1)
    assert len(issuer.asked) == 4


def test_on_a_cold_start_strangers_cost_one_request() -> None:
    issuer = Issuer()
    keys = issuer.keys(cooldown=30)
    for second in range(30):
        answer = asked_for(keys, f"made up {second}")
        assert answer == "unknown" if second == 0 else answer.startswith("may be new")
        issuer.pass_(0.9)
    assert issuer.asked == [URL]


def test_a_new_key_amid_a_flood_is_answered_with_503_until_the_cooldown_ends() -> None:
    """Never with 401: the client keeps its good token, and knows when to come back."""
    issuer = Issuer()
    keys = issuer.keys(cooldown=30)
    keys.load()
    issuer.pass_(1)
    assert asked_for(keys, "made up") == "unknown"
    issuer.publish(OLD, NEW)
    for second in range(1, 30):
        issuer.pass_(1)
        assert asked_for(keys, "new") == f"may be new; again in {30 - second}"
    issuer.pass_(1)
    assert asked_for(keys, "new") == "found"


def test_what_strangers_ask_for_is_remembered_within_bounds() -> None:
    issuer = Issuer()
    keys = issuer.keys(cooldown=30)
    keys.load()
    issuer.pass_(1)
    assert asked_for(keys, "made up") == "unknown"
    issuer.pass_(1)
    for number in range(MOST_NAMES - 1):
        assert asked_for(keys, f"made up {number}").startswith("may be new")
    assert asked_for(keys, "made up") == "unknown"
    assert asked_for(keys, "one too many").startswith("may be new")
    assert asked_for(keys, "made up").startswith("may be new")


def test_a_kid_that_is_there_for_another_algorithm_is_looked_for_too() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.pass_(1)
    renewed = Key.generate("Ed25519", kid="old")
    issuer.publish(renewed)
    assert found(keys, renewed) == ["old"]


def test_while_the_issuer_is_down_nobody_can_say() -> None:
    """It may be a new key: 503, so that the client keeps its good token."""
    issuer = Issuer()
    keys = issuer.keys(cooldown=30)
    keys.load()
    issuer.pass_(1)
    issuer.down.append(FetchFailed("down"))
    for expected in (30, 20):
        with pytest.raises(KeysUnavailable, match="down") as refusal:
            found(keys, NEW)
        assert refusal.value.retry_after == expected
        issuer.pass_(10)
    assert len(issuer.asked) == 2
    assert found(keys, OLD) == ["old"]
    issuer.down.clear()
    issuer.publish(NEW)
    issuer.pass_(10)
    assert found(keys, NEW) == ["new"]


def test_where_no_thread_can_be_had_nobody_can_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.pass_(1)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(KeysUnavailable, match="no thread can be had"):
            found(keys, NEW)
        assert found(keys, OLD) == ["old"]
    issuer.publish(NEW)
    issuer.pass_(30)
    assert found(keys, NEW) == ["new"]


def test_a_fetch_that_outlives_its_deadline_is_waited_for_no_more() -> None:
    """Looking up a name is what no deadline can end; stale keys serve meanwhile."""
    issuer = Issuer()
    keys = issuer.keys(timeout=0.1)
    keys.load()
    issuer.pass_(700)
    issuer.let_go.clear()
    began = time.monotonic()
    for _ in range(100):
        assert found(keys, OLD) == ["old"]
    assert time.monotonic() - began < 5
    issuer.let_go.set()
    settled(keys)


def test_a_fork_has_looks_of_its_own() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.pass_(1)
    with pytest.raises(UnknownKey):
        found(keys, NEW)
    issuer.publish(OLD, NEW)
    issuer.pass_(1)
    before = keys.state().next_fetch
    keys._upkeep.start_anew()
    assert keys.state().next_fetch != before
    assert found(keys, NEW) == ["new"]


def test_a_fork_before_the_first_fetch_has_nothing_to_own() -> None:
    issuer = Issuer()
    keys = issuer.keys()
    keys._upkeep.start_anew()
    assert found(keys, OLD) == ["old"]


def test_who_waits_for_a_new_key_waits_no_longer_than_others() -> None:
    issuer = Issuer()
    keys = issuer.keys(timeout=0.1)
    keys.load()
    issuer.pass_(1)
    issuer.let_go.clear()
    with pytest.raises(KeysUnavailable, match="no answer yet"):
        found(keys, NEW)
    assert found(keys, OLD) == ["old"]
    issuer.let_go.set()
    settled(keys)


def test_a_fetch_that_began_before_the_token_came_may_be_too_old() -> None:
    """Its answer may have left the issuer before the key was there."""
    issuer = Issuer()
    keys = issuer.keys()
    keys.load()
    issuer.pass_(500)
    issuer.let_go.clear()
    found(keys, OLD)
    issuer.pass_(1)
    answers: list[Sequence[str]] = []
    thread = threading.Thread(target=lambda: answers.append(found(keys, NEW)))
    thread.start()
    issuer.published.append(NEW)
    issuer.let_go.set()
    thread.join(SOON_S)
    assert answers == [["new"]]
    assert len(issuer.asked) in (2, 3)


def test_a_set_that_came_while_a_request_looked_is_not_missed() -> None:
    """It looked into the one before, and nothing is under way any more."""
    issuer = Issuer()
    keys = issuer.keys()
    before = run(keys._upkeep.current())
    issuer.pass_(1)
    issuer.publish(OLD, NEW)
    assert found(keys, NEW) == ["new"]
    newer = run(keys._upkeep.newer(before, issuer.now(), ("ES256", "new")))
    assert newer is not None
    assert [key.kid for key in newer.keys] == ["old", "new"]


def test_a_known_key_does_not_wait_for_a_fetch_that_hangs() -> None:
    """However long the timeout is: the set was fresh when the fetch began."""
    issuer = Issuer()
    keys = issuer.keys(lifetime=1, timeout=SOON_S)
    keys.load()
    issuer.let_go.clear()
    for _ in range(30):
        assert found(keys, OLD) == ["old"]
        assert keys.held() is not None or keys.state().next_fetch == 0
        issuer.pass_(0.1)
    assert keys.state().status == "stale"
    assert len(issuer.asked) == 2
    issuer.let_go.set()
    settled(keys)


def test_a_known_key_waits_if_the_set_ended_before_anybody_asked() -> None:
    """It may have been withdrawn since; and so for a set that must not be stale."""
    for late, options in ((1.1, {}), (0.9, {"max_staleness": 0})):
        issuer = Issuer()
        keys = issuer.keys(lifetime=1, timeout=0.1, **options)
        keys.load()
        issuer.let_go.clear()
        issuer.pass_(late)
        began = time.monotonic()
        if options:
            assert found(keys, OLD) == ["old"]
            issuer.pass_(0.2)
            with pytest.raises(KeysUnavailable):
                found(keys, OLD)
        else:
            assert found(keys, OLD) == ["old"]
        assert time.monotonic() - began >= 0.05
        issuer.let_go.set()
        settled(keys)


# Strangers, and an issuer that hangs


def test_few_threads_wait_for_a_key_that_may_be_made_up() -> None:
    """All of them for as long as a healthy issuer takes, and then one at a time."""
    issuer = Issuer()
    keys = issuer.keys(timeout=SOON_S)
    keys.load()
    issuer.pass_(1)
    issuer.let_go.clear()
    with ThreadPoolExecutor(8) as pool:
        begun = time.monotonic()
        asked = [pool.submit(asked_for, keys, f"made up {n}") for n in range(8)]
        done, patient = wait(asked, timeout=1)
        assert time.monotonic() - begun < 1.5
        assert len(patient) == MOST_THREADS
        assert {future.result() for future in done} == {"may be new; again in 30"}
        more, seconds = timed(lambda: asked_for(keys, "another"))
        assert more.startswith("may be new")
        assert seconds < 0.2
        issuer.let_go.set()
        assert [future.result() for future in patient] == ["unknown"]


def test_a_look_is_waited_for_from_its_beginning() -> None:
    """Strangers who come one after the other hold a single thread no longer."""
    issuer = Issuer()
    keys = issuer.keys(timeout=SOON_S)
    keys.load()
    issuer.pass_(1)
    issuer.let_go.clear()
    begun = time.monotonic()
    while time.monotonic() - begun < LOOK_S + 0.5:
        asked_for(keys, "made up")
    for number in range(20):
        refused, seconds = timed(partial(asked_for, keys, f"made up {number}"))
        assert refused.startswith("may be new")
        assert seconds < 0.2
    issuer.let_go.set()
    settled(keys)


def test_tasks_of_a_loop_may_wait_together() -> None:
    issuer = Issuer()
    keys = issuer.keys(timeout=SOON_S)
    keys.load()
    issuer.pass_(1)
    issuer.let_go.clear()

    async def scenario() -> list[int]:
        header = {"alg": "ES256", "kid": "new"}
        tasks = [asyncio.create_task(keys.resolve(header)) for _ in range(MOST_TASKS)]
        await asyncio.sleep(2 * QUICK_LOOK_S)
        assert not any(task.done() for task in tasks)
        with pytest.raises(KeysUnavailable):
            await keys.resolve({"alg": "ES256", "kid": "one too many"})
        issuer.publish(NEW)
        issuer.let_go.set()
        return [len(await task) for task in tasks]

    assert asyncio.run(scenario()) == [1] * MOST_TASKS


# What operators see


def test_a_state_tells_all_there_is_to_know() -> None:
    issuer = Issuer(published=[OLD, NEW])
    keys = issuer.keys()
    assert keys.state().age is None
    assert keys.state().next_fetch == 0
    keys.load()
    issuer.pass_(100)
    state = keys.state()
    assert (state.status, state.kids, state.age) == ("fresh", ("old", "new"), 100)
    assert 332 <= state.next_fetch <= 380
    issuer.pass_(400)
    assert keys.state().next_fetch == 0
    assert keys.state().is_usable
    issuer.down.append(FetchFailed("down"))
    found(keys, OLD)
    settled(keys)
    assert keys.state().error == "down"
    assert keys.state().failures == 1
    assert 0.9 <= keys.state().next_fetch <= 1


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return lines


def test_a_log_has_what_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "jwt_middleware")
    issuer = Issuer()
    keys = issuer.keys(max_staleness=600)
    keys.load()
    assert told(caplog) == [("INFO", f"keys of '{URL}': 'old'")]
    issuer.pass_(500)
    found(keys, OLD)
    settled(keys)
    assert told(caplog) == []
    issuer.down.append(FetchFailed("refused"))
    issuer.pass_(700)
    found(keys, OLD)
    settled(keys)
    assert told(caplog) == [
        ("WARNING", f"no newer keys of '{URL}': refused"),
    ]
    issuer.pass_(1000)
    with pytest.raises(KeysUnavailable):
        found(keys, OLD)
    settled(keys)
    assert told(caplog) == [("ERROR", f"no keys of '{URL}': refused")]
    issuer.down.clear()
    issuer.publish(NEW)
    issuer.pass_(30)
    assert found(keys, NEW) == ["new"]
    assert told(caplog) == [
        ("INFO", f"keys of '{URL}': 'new'"),
        ("INFO", f"'{URL}' answers again"),
    ]
