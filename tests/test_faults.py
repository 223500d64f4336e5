"""What requests are told while the issuer's key server answers wrongly, or not at all.

Over real sockets, by both doors.  Who has to wait, and for what: `test_fault_timing`.
"""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from jwt_middleware import Key, RemoteKeys
from jwt_middleware.errors import KeysUnavailable
from jwt_middleware.fetch import Fetcher

from . import keyserver_answers as answers
from .certificates import Certificate
from .conftest import SIGNING_KEY, mint_token
from .doors import Door
from .faults import (
    COOLDOWN_S,
    LIFETIME_S,
    LOOPBACK,
    PATIENT_S,
    SLACK_S,
    STALENESS_S,
    discovered,
    ensure_unavailable,
    landed,
    lock,
    made_up,
    remote,
    signed_by,
    timed,
)
from .keyserver import KeyServer
from .keyserver_answers import (
    ANSWERS,
    ENCRYPTION,
    ENDLESS,
    METADATA,
    PRIVATE,
    RIVAL,
    SECRET,
    SETS,
    SLOW,
    SOUND,
)
from .store_suite import Clock

LEAVING = Key.generate("ES256", kid="leaving")
USABLE = [*SOUND, *(name for name in SETS if "crowd" not in name)]
UNUSABLE = [name for name in ANSWERS if name not in (*USABLE, "small_crowd")]
SLOWLY = {*SLOW, "endless_continue", "endless_trailers"}
"""What takes as long as we let it."""
IN_USE = [
    name for name in UNUSABLE if name not in SLOWLY or name in ("hang", "drip_body")
]
MOST_SENT = 6 * 1024 * 1024
"""Octets that a server gets rid of at once, though hardly any are read: 4 MiB wait in
the kernel to be sent."""
MOST_MEMORY = 2 * 1024 * 1024


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer([SIGNING_KEY]) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


def timeout_for(name: str) -> float:
    """Short where it will be waited for."""
    if name not in SLOWLY:
        return 5.0
    return 0.3 if name in SLOW else 1.0  # enough for a flood to be one


# Without any keys yet


@pytest.mark.parametrize("name", USABLE)
def test_a_usable_answer_lets_its_tokens_in(
    door: Door, server: KeyServer, clock: Clock, name: str
) -> None:
    server.answer = ANSWERS[name]
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 200
    assert server.paths == ["/jwks"]


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_answer_is_not_the_clients_fault(
    door: Door, server: KeyServer, clock: Clock, caplog: Any, name: str
) -> None:
    """One request, no redirect followed, an end by the deadline, and no more read
    than a key set has."""
    server.answer = ANSWERS[name]
    timeout = timeout_for(name)
    keys = remote(server, clock, timeout=timeout)
    guarded = door.behind(lock(keys))
    answer, seconds = timed(lambda: guarded.get(bearer=mint_token()))
    ensure_unavailable(answer)
    assert seconds < timeout + SLACK_S
    assert "keys_unavailable" in caplog.text
    landed(keys)
    server.wait_until_left()
    assert server.sent < MOST_SENT
    assert server.paths == ["/jwks"]
    assert keys.state().status == "none"
    assert keys.state().failures == 1


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_not_held_in_memory(
    server: KeyServer, clock: Clock, name: str
) -> None:
    """Nor is it kept."""
    server.answer = ANSWERS[name]
    keys = remote(server, clock, timeout=timeout_for(name))
    tracemalloc.start()
    try:
        with pytest.raises(KeysUnavailable):
            keys.load()
        landed(keys)
        server.wait_until_left()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


@pytest.mark.parametrize("key", [PRIVATE, SECRET, ENCRYPTION], ids=lambda key: key.kid)
def test_a_key_that_should_not_be_in_the_set_lets_nobody_in(
    door: Door, server: KeyServer, clock: Clock, key: Key
) -> None:
    """Everyone can read the first two, and so could sign."""
    server.answer = ANSWERS[f"{key.kid}_member"]
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 200
    assert guarded.get(bearer=signed_by(key)).status == 401


def test_two_keys_of_one_name_both_count(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """The issuer named both; which one signed shows."""
    server.answer = ANSWERS["kid_twice"]
    guarded = door.behind(lock(remote(server, clock)))
    rival = mint_token(key=RIVAL, header={"kid": SIGNING_KEY.kid})
    assert guarded.get(bearer=rival).status == 200
    assert guarded.get(bearer=mint_token()).status == 200


def test_keys_beyond_the_hundredth_are_not_read_and_the_log_says_so(
    door: Door, server: KeyServer, clock: Clock, caplog: Any
) -> None:
    server.answer = ANSWERS["small_crowd"]
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 401
    first = mint_token(key=RIVAL, header={"kid": "crowd-0"})
    assert guarded.get(bearer=first).status == 200
    assert "300 keys; 100 are read" in caplog.text


# With keys that were good


@pytest.mark.parametrize("name", IN_USE)
def test_an_outage_goes_unnoticed_until_the_keys_are_too_old(
    door: Door, server: KeyServer, clock: Clock, caplog: Any, name: str
) -> None:
    """Who has a known key passes; of an unknown one nobody can say; then nobody can
    say anything; then all is well again, and a key that was dropped is dropped."""
    caplog.set_level("INFO")
    server.keys.append(LEAVING)
    timeout = timeout_for(name)
    keys = remote(server, clock, timeout=timeout)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200

    server.answer = ANSWERS[name]
    clock.now += LIFETIME_S + 1
    answer, seconds = timed(lambda: guarded.get(bearer=signed_by(LEAVING)))
    assert answer.status == 200
    assert seconds < timeout + SLACK_S
    landed(keys)
    assert keys.state().status == "stale"
    assert guarded.get(bearer=mint_token()).status == 200
    ensure_unavailable(guarded.get(bearer=made_up()))
    assert server.paths == ["/jwks"] * 2

    clock.now += STALENESS_S
    answer, seconds = timed(lambda: guarded.get(bearer=mint_token()))
    ensure_unavailable(answer)
    assert seconds < timeout + SLACK_S
    landed(keys)
    assert keys.state().status == "expired"
    assert levels(caplog, "no newer keys of") == [logging.WARNING]
    assert levels(caplog, "no keys of") == [logging.ERROR]

    server.answer, server.keys = answers.ok, [SIGNING_KEY]
    clock.now += COOLDOWN_S
    assert guarded.get(bearer=mint_token()).status == 200
    assert guarded.get(bearer=signed_by(LEAVING)).status == 401
    assert keys.state().status == "fresh"
    assert levels(caplog, "answers again") == [logging.INFO]
    assert server.paths == ["/jwks"] * 4


@pytest.mark.parametrize("name", ["status_503", "close", "no_keys", "hang"])
def test_a_look_up_that_fails_says_nothing_of_the_keys_at_hand(
    door: Door, server: KeyServer, clock: Clock, name: str
) -> None:
    """An unknown key gets 503 while the issuer fails, and 401 when it can be asked."""
    keys = remote(server, clock, timeout=0.4 if name == "hang" else 5)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200
    server.answer = ANSWERS[name]
    clock.now += 1
    unknown = made_up()
    ensure_unavailable(guarded.get(bearer=unknown))
    landed(keys)
    ensure_unavailable(guarded.get(bearer=unknown))
    assert guarded.get(bearer=mint_token()).status == 200
    assert keys.state().status == "fresh"
    assert len(server.hits) == 2
    server.answer = answers.ok
    clock.now += COOLDOWN_S
    assert guarded.get(bearer=unknown).status == 401
    assert len(server.hits) == 3


def test_a_set_of_others_keys_is_a_set(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """What the issuer says counts at once, also where it takes every key back."""
    guarded = door.behind(lock(remote(server, clock)))
    assert guarded.get(bearer=mint_token()).status == 200
    server.keys = [LEAVING]
    clock.now += LIFETIME_S + 1
    assert guarded.get(bearer=mint_token()).status == 401
    assert guarded.get(bearer=signed_by(LEAVING)).status == 200


# Down, and up again


def test_a_server_that_is_down_at_the_start_is_asked_again_when_it_is_time(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """The client was told when to come again, and is let in then."""
    guarded = door.behind(lock(remote(server, clock)))
    server.stop()
    answer = guarded.get(bearer=mint_token())
    ensure_unavailable(answer)
    server.start()
    ensure_unavailable(guarded.get(bearer=mint_token()))
    assert server.paths == []
    clock.now += int(answer.header("retry-after") or 0)
    assert guarded.get(bearer=mint_token()).status == 200
    assert server.paths == ["/jwks"]


def test_a_server_that_goes_down_and_comes_back_is_not_missed(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    assert guarded.get(bearer=mint_token()).status == 200
    server.stop()
    clock.now += LIFETIME_S + 1
    assert guarded.get(bearer=mint_token()).status == 200
    assert keys.state().failures == 1
    server.start()
    clock.now += 1
    assert guarded.get(bearer=mint_token()).status == 200
    landed(keys)
    assert (keys.state().status, keys.state().failures) == ("fresh", 0)
    assert len(server.hits) == 2


def test_a_server_that_fails_is_asked_more_and_more_rarely(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """After 1, 2, 4, 8, 16 seconds, and then once in a cooldown."""
    server.answer = ANSWERS["status_503"]
    guarded = door.behind(lock(remote(server, clock)))
    for _ in range(150):
        ensure_unavailable(guarded.get(bearer=mint_token()))
        clock.now += 1
    assert 8 <= len(server.hits) <= 11  # 31 s, then 27 to 30 s each; all round up
    server.answer = answers.ok
    clock.now += COOLDOWN_S
    assert guarded.get(bearer=mint_token()).status == 200


# Metadata


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_are_wrong_lead_to_no_keys(
    door: Door, server: KeyServer, clock: Clock, name: str
) -> None:
    server.metadata = METADATA[name]
    guarded = door.behind(lock(discovered(server, clock), server.url))
    ensure_unavailable(guarded.get(bearer=mint_token(iss=server.url)))
    assert server.paths == [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("status_404", "status_500_with_keys", "html", "array", "deep", "gzipped"),
        *("big", "endless_header", "hang", "drip_headers", "reset", "no_http"),
        *("elsewhere", "to_a_file", "names_twice"),
    ],
)
def test_metadata_that_cannot_be_had_lead_to_no_keys(
    door: Door, server: KeyServer, clock: Clock, name: str
) -> None:
    """One deadline for all that a fetch takes."""
    server.metadata = ANSWERS[name]
    timeout = timeout_for(name)
    keys = discovered(server, clock, timeout=timeout)
    guarded = door.behind(lock(keys, server.url))
    answer, seconds = timed(lambda: guarded.get(bearer=mint_token(iss=server.url)))
    ensure_unavailable(answer)
    assert seconds < timeout + SLACK_S
    landed(keys)
    server.wait_until_left()
    assert all(path.startswith("/.well-known/") for path in server.paths)


@pytest.mark.parametrize("name", ["status_500", "hang_in_body", "no_keys", "elsewhere"])
def test_keys_that_metadata_lead_to_may_fail_too(
    door: Door, server: KeyServer, clock: Clock, name: str
) -> None:
    server.answer = ANSWERS[name]
    timeout = timeout_for(name)
    keys = discovered(server, clock, timeout=timeout)
    guarded = door.behind(lock(keys, server.url))
    token = mint_token(iss=server.url)
    answer, seconds = timed(lambda: guarded.get(bearer=token))
    ensure_unavailable(answer)
    assert seconds < timeout + SLACK_S
    landed(keys)
    server.answer = answers.ok
    clock.now += COOLDOWN_S
    assert guarded.get(bearer=token).status == 200
    assert set(server.paths) == {"/.well-known/openid-configuration", "/jwks"}


def test_metadata_that_turn_wrong_change_no_keys(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """Whoever took the metadata over would choose the keys."""
    guarded = door.behind(lock(discovered(server, clock), server.url))
    known, rival = (mint_token(key=k, iss=server.url) for k in (SIGNING_KEY, RIVAL))
    assert guarded.get(bearer=known).status == 200
    server.metadata, server.keys = METADATA["wrong_issuer"], [RIVAL]
    clock.now += LIFETIME_S + 1
    assert guarded.get(bearer=known).status == 200
    ensure_unavailable(guarded.get(bearer=rival))
    assert server.paths.count("/jwks") == 1


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("", "oidc"),
        ("", "oauth"),
        ("/tenant/one", "oidc"),
        ("/tenant/one", "oidc_inserted"),
        ("/tenant/one", "oauth"),
    ],
)
def test_metadata_are_found_in_every_form(
    door: Door, server: KeyServer, clock: Clock, path: str, form: str
) -> None:
    server.forms = {form}
    issuer = server.url + path
    guarded = door.behind(lock(discovered(server, clock, path), issuer))
    assert guarded.get(bearer=mint_token(iss=issuer)).status == 200
    assert guarded.get(bearer=mint_token(iss=server.url + "/other")).status == 401
    assert server.paths[-1] == "/jwks"
    assert len(server.paths) <= 5


# TLS


def test_a_sound_certificate_of_an_authority_that_we_trust_is_taken(
    door: Door, clock: Clock
) -> None:
    with KeyServer([SIGNING_KEY], tls=True) as server:
        keys = remote(server, clock, fetcher=Fetcher(cafile=server.cafile))
        assert door.behind(lock(keys)).get(bearer=mint_token()).status == 200


@pytest.mark.parametrize("certificate", ["of_another_ca", "expired", "of_another_host"])
def test_a_certificate_that_is_wrong_is_not_taken(
    door: Door, clock: Clock, caplog: Any, certificate: Certificate
) -> None:
    with KeyServer([SIGNING_KEY], tls=True, certificate=certificate) as server:
        keys = remote(server, clock, fetcher=Fetcher(cafile=server.cafile))
        ensure_unavailable(door.behind(lock(keys)).get(bearer=mint_token()))
        assert server.hits == []
    assert "certificate" in caplog.text


def test_an_authority_that_the_system_does_not_know_is_not_trusted(
    door: Door, clock: Clock, caplog: Any
) -> None:
    with KeyServer([SIGNING_KEY], tls=True) as server:
        keys = remote(server, clock, fetcher=Fetcher())
        ensure_unavailable(door.behind(lock(keys)).get(bearer=mint_token()))
        assert server.hits == []
    assert "certificate" in caplog.text


def test_a_handshake_that_hangs_is_given_up(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    """The server waits for a request, and has no idea of TLS."""
    url = f"https://127.0.0.1:{server.port}/jwks"
    keys = RemoteKeys(url, fetcher=LOOPBACK, timeout=0.4, now=clock)
    guarded = door.behind(lock(keys))
    answer, seconds = timed(lambda: guarded.get(bearer=mint_token()))
    ensure_unavailable(answer)
    assert seconds < 0.4 + SLACK_S
    landed(keys)
    server.wait_until_left()


def test_plain_http_where_tls_is_spoken_is_no_answer(door: Door, clock: Clock) -> None:
    with KeyServer([SIGNING_KEY], tls=True) as server:
        url = server.jwks_url.replace("https", "http")
        keys = RemoteKeys(url, fetcher=LOOPBACK, timeout=PATIENT_S, now=clock)
        ensure_unavailable(door.behind(lock(keys)).get(bearer=mint_token()))
        assert server.hits == []


def levels(caplog: Any, text: str) -> list[int]:
    """Of the records that have *text*, in order."""
    return [r.levelno for r in caplog.records if text in r.getMessage()]
