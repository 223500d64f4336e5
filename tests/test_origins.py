"""What many tokens have in common: remembered once it was verified, and not before."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, StaticKeys, TrustedIssuer
from jwt_middleware.compact import base64url_encode
from jwt_middleware.origins import MOST, Origin, Origins

from .children import THREADS, at_once, in_child
from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    SIGNING_KEY,
    Mint,
    authenticator,
    sign,
    trusted,
)
from .doors import Door

OTHER = "https://other.example"
SECRET = Key.generate("HS256", kid="s1")
STRANGER = Key.generate("HS256", kid="s1")


def origins_of(auth: Authenticator) -> Origins:
    return auth._verifier._origins


def ensure_bounded(origins: Origins) -> None:
    """Nothing in it may grow for ever."""
    sizes = [len(origins.headers), len(origins._numbers), len(origins._origins)]
    assert max(sizes) <= MOST
    assert sizes[1] == sizes[2]


def numbered_token(number: int, key: Key = SECRET, **claims: Any) -> str:
    """A token whose header is like no other."""
    header = {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid, "x": number}
    payload = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": f"user {number}",
        "jti": f"j{number}",
        "iat": NOW - 10,
        "exp": NOW + 600,
        **claims,
    }
    return sign(header, json.dumps(payload).encode(), key)


# The room itself


def origin_of(issuer: TrustedIssuer, **header: Any) -> Origin:
    held = issuer.held()
    assert held is not None
    return Origin(issuer, header, held, held)


def test_an_origin_is_found_by_its_number_and_by_its_name() -> None:
    origins, origin = Origins(), origin_of(trusted(), alg="ES256")
    assert origins.numbered(1) is None
    assert origins.found(ISSUER, b"header") is None
    number = origins.learn(origin, b"header")
    assert origins.numbered(number) is origin
    assert origins.found(ISSUER, b"header") is origin
    assert origins.learn(origin, b"header") == number
    assert origins.headers == {b"header": {"alg": "ES256"}}
    for issuer, header in ((OTHER, b"header"), (ISSUER, b"Header"), (ISSUER, b"")):
        assert origins.found(issuer, header) is None


def test_a_number_is_never_given_twice() -> None:
    """It stands in entries that outlive the origin."""
    origins = Origins()
    numbers = [
        origins.learn(origin_of(trusted()), f"{at % 70}".encode()) for at in range(500)
    ]
    assert len(set(numbers)) == 500
    ensure_bounded(origins)


def test_origins_of_the_same_keys_are_one() -> None:
    """Each of many that came at once has found out for itself whose it is."""
    origins, issuer = Origins(), trusted()
    first, second = origin_of(issuer), origin_of(issuer)
    number = origins.learn(first, b"header")
    assert origins.learn(second, b"header") == number
    assert origins.numbered(number) is first
    ensure_bounded(origins)


def test_an_origin_falls_with_its_keys() -> None:
    """And does not rise again with other keys that are alike."""
    origins, issuer = Origins(), trusted()
    first = origins.learn(origin_of(issuer), b"header")
    issuer.keys = StaticKeys(SIGNING_KEY)
    assert origins.numbered(first) is None
    assert origins.found(ISSUER, b"header") is None
    second = origins.learn(origin_of(issuer), b"header")
    assert second != first
    assert origins.numbered(first) is None
    assert origins.numbered(second) is not None
    ensure_bounded(origins)


def test_where_nobody_can_tell_whether_keys_have_changed_nothing_holds() -> None:
    issuer = trusted()
    origins, held = Origins(), issuer.held()
    assert held is not None
    untold = Origin(issuer, {}, held, None)
    number = origins.learn(untold, b"header")
    assert origins.numbered(number) is None
    assert origins.found(ISSUER, b"header") is None


def test_two_issuers_may_have_headers_that_are_alike() -> None:
    origins = Origins()
    other = TrustedIssuer(OTHER, audience=AUDIENCE, keys=[SECRET])
    both = [origin_of(issuer) for issuer in (trusted(), other)]
    numbers = [origins.learn(origin, b"header") for origin in both]
    assert [origins.numbered(number) for number in numbers] == both
    assert [origins.found(name, b"header") for name in (ISSUER, OTHER)] == both


def test_threads_learn_and_ask_at_once() -> None:
    origins, issuer = Origins(), trusted()
    made = {f"{n}".encode(): origin_of(issuer, n=n) for n in range(2 * MOST)}

    def work() -> bool:
        for header, origin in made.items():
            number = origins.learn(origin, header)
            assert origins.numbered(number) in (origin, None)
            assert origins.found(ISSUER, header) in (origin, None)
            assert origins.headers.get(header) in (origin.header, None)
        return True

    assert at_once(work) == [True] * THREADS
    ensure_bounded(origins)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_was_forked_while_something_was_learned_can_learn() -> None:
    origins, issuer = Origins(), trusted()
    before = origins.learn(origin_of(issuer), b"before")

    def learn() -> bool:
        number = origins.learn(origin_of(issuer), b"after")
        return number != before and None not in map(origins.numbered, (before, number))

    with origins._lock:
        assert in_child(learn) is True


# Behind the doors


def test_of_an_issuer_with_many_headers_all_tokens_are_good(door: Door) -> None:
    """The headers that were forgotten are read again, and drive out others."""
    guarded = door.behind(authenticator(trusted(keys=[SECRET])))
    tokens = [numbered_token(n) for n in range(2 * MOST + 10)]
    for _ in range(2):
        for number, token in enumerate(tokens):
            answer = guarded.get(bearer=token)
            assert answer.token is not None
            assert answer.token.subject == f"user {number}"
            assert answer.token.header["x"] == number
            ensure_bounded(origins_of(guarded.auth))


def test_what_a_stranger_sends_is_never_remembered(door: Door) -> None:
    """A header is an unproved word until its signature is verified."""
    guarded = door.behind(authenticator(trusted(keys=[SECRET])))
    good = numbered_token(0)
    assert guarded.get(bearer=good).status == 200
    origins = origins_of(guarded.auth)
    kept = (dict(origins.headers), dict(origins._numbers))
    elsewhere = numbered_token(1, iss="https://nobody.example")
    cut = numbered_token(2).rpartition(".")[0] + "."
    forged = [numbered_token(n, STRANGER) for n in range(100)]
    for token in (elsewhere, cut, *forged):
        assert guarded.get(bearer=token).status == 401
        assert (origins.headers, origins._numbers) == kept
    assert guarded.get(bearer=good).status == 200


@pytest.mark.parametrize(
    "parameters",
    [
        {"crit": ["exp"], "exp": 1},
        {"b64": False},
        {"zip": "DEF"},
        {"enc": "A128GCM"},
        {"cty": "JWT"},
        {"kid": 1},
        {"alg": "none"},
        {"alg": ["HS256"]},
    ],
    ids=str,
)
def test_a_header_that_must_not_be_is_refused_every_time(
    door: Door, parameters: dict[str, Any]
) -> None:
    """Though the issuer itself signs it: the second time must not pass by memory."""
    guarded = door.behind(authenticator(trusted(keys=[SECRET])))
    assert guarded.get(bearer=numbered_token(0)).status == 200
    named = {"typ": "at+jwt", "alg": "HS256", "kid": "s1", **parameters}
    payload = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600}
    token = sign(named, json.dumps(payload).encode(), SECRET)
    answers = [guarded.get(bearer=token) for _ in range(3)]
    assert [answer.status for answer in answers] == [401] * 3
    assert len(origins_of(guarded.auth).headers) == 1


def test_a_wrong_type_is_refused_though_its_header_is_remembered(
    door: Door, mint: Mint
) -> None:
    guarded = door.behind(authenticator())
    logout = mint(header={"typ": "logout+jwt"})
    good = mint()
    for _ in range(3):
        assert guarded.get(bearer=logout).status == 401
        assert guarded.get(bearer=good).status == 200


def test_a_header_that_is_remembered_vouches_for_no_other_issuer(door: Door) -> None:
    """Two issuers call their keys alike: each verifies with its own."""
    theirs = Key.generate("HS256", kid="s1")
    guarded = door.behind(
        authenticator(
            trusted(keys=[SECRET]),
            TrustedIssuer(OTHER, audience=AUDIENCE, keys=[theirs]),
        )
    )
    for _ in range(3):
        assert guarded.get(bearer=numbered_token(0)).status == 200
        assert guarded.get(bearer=numbered_token(0, theirs)).status == 401
        assert guarded.get(bearer=numbered_token(0, theirs, iss=OTHER)).status == 200
        assert guarded.get(bearer=numbered_token(0, iss=OTHER)).status == 401


def test_a_remembered_header_brings_its_algorithm_alone(door: Door) -> None:
    """The header of one key under the signature of another."""
    guarded = door.behind(authenticator(trusted(keys=[SECRET, SIGNING_KEY])))
    payload = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600}).encode()
    headers = [
        {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid}
        for key in (SECRET, SIGNING_KEY)
    ]
    for _ in range(2):
        for header, key, status in (
            (headers[0], SECRET, 200),
            (headers[1], SIGNING_KEY, 200),
            (headers[0], SIGNING_KEY, 401),
            (headers[1], SECRET, 401),
        ):
            assert guarded.get(bearer=sign(header, payload, key)).status == status


def test_two_spellings_of_a_header_are_two_headers(door: Door) -> None:
    guarded = door.behind(authenticator(trusted(keys=[SECRET])))
    payload = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 600}).encode()
    spaced = b'{"alg": "HS256", "kid": "s1"}'
    tight = b'{"kid":"s1","alg":"HS256"}'
    for header in (spaced, tight, spaced, tight):
        token = sign(header, payload, SECRET)
        assert token.startswith(base64url_encode(header))
        assert guarded.get(bearer=token).status == 200
    assert len(origins_of(guarded.auth).headers) == 2


class Untold:
    """A key source of one's own, that cannot tell whether it has changed."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self.asked = 0

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        self.asked += 1
        return self.keys


def test_a_source_that_cannot_tell_is_asked_each_time(door: Door, mint: Mint) -> None:
    source = Untold(SIGNING_KEY.public)
    guarded = door.behind(authenticator(trusted(keys=source)))
    token = mint()
    for number in range(1, 4):
        assert guarded.get(bearer=token).status == 200
        assert source.asked == number
    source.keys = (Key.generate("ES256", kid="k1").public,)
    assert guarded.get(bearer=token).status == 401
    ensure_bounded(origins_of(guarded.auth))
