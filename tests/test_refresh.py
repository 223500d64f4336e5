"""Refresh tokens: a session goes on without a new login, and never beyond its end."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, TokenIssuer, TokenPair
from jwt_middleware.compact import base64url_decode
from jwt_middleware.errors import (
    AuthError,
    InvalidGrant,
    RefreshReused,
    RevocationsUnavailable,
    TokenRevoked,
    WrongType,
)
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

from .children import at_once
from .conftest import NOW, sign
from .redis_server import RedisServer
from .servers import ROOT
from .store_suite import Clock, WaitingStore

URL = "https://app.example"
KEY, OTHER = Key.generate("ES256"), Key.generate("Ed25519")


class App:
    """An application with sessions, on a clock of its own."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.wall = Clock(NOW)
        self.store = MemoryStore(self.wall) if store is None else store
        defaults = {"key": KEY, "store": self.store, "now": self.wall}
        self.issuer = TokenIssuer(URL, audience="app", **{**defaults, **options})
        self.auth = Authenticator(
            self.issuer.trusted(), store=self.store, now=self.wall
        )

    def accepts(self, pair: TokenPair) -> bool:
        try:
            self.auth.authenticate(pair.access_token)
        except TokenRevoked:
            return False
        return True

    def refresh(self, pair: TokenPair, **options: Any) -> TokenPair:
        assert pair.refresh_token is not None
        return self.issuer.refresh(pair.refresh_token, **options)

    def refuses(self, pair: TokenPair) -> str:
        """Why a refresh token is refused."""
        with pytest.raises(InvalidGrant) as refusal:
            self.refresh(pair)
        return refusal.value.reason


def parts_of(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload, _ = text.split(".")
    return tuple(json.loads(base64url_decode(p.encode())) for p in (header, payload))


# A session


def test_a_session_goes_on() -> None:
    """I-8, I-13: new tokens of the same session, scope and claims."""
    app = App()
    pair = app.issuer.issue("alice", scope="read write", name="Alice")
    app.wall.now += 500
    newer = app.refresh(pair)
    assert newer.session_id == pair.session_id
    assert newer.refresh_token != pair.refresh_token
    token = app.auth.authenticate(newer.access_token)
    assert (token.subject, token["name"], token["sid"]) == (
        "alice",
        "Alice",
        pair.session_id,
    )
    assert token.scopes == {"read", "write"}
    assert newer.as_dict()["refresh_token"] == newer.refresh_token


def test_without_a_store_there_are_no_refresh_tokens() -> None:
    issuer = TokenIssuer(URL, audience="app", key=KEY)
    pair = issuer.issue("alice")
    assert pair.refresh_token is None
    assert "refresh_token" not in pair.as_dict()
    for call in (issuer.refresh, issuer.end_session):
        with pytest.raises(ValueError, match="without a store"):
            call("x")


def test_no_interface_takes_a_refresh_token() -> None:
    app = App()
    text = app.issuer.issue("alice").refresh_token
    assert text is not None
    header, claims = parts_of(text)
    assert header["typ"] == "refresh+jwt"
    assert claims["aud"] == URL
    for auth in (
        app.auth,
        Authenticator(TokenIssuer(URL, audience=URL, key=KEY).trusted(), now=app.wall),
    ):
        with pytest.raises(AuthError):
            auth.authenticate(text)


def test_an_access_token_refreshes_nothing() -> None:
    app = App()
    pair = app.issuer.issue("alice")
    with pytest.raises(InvalidGrant):
        app.issuer.refresh(pair.access_token)


def test_a_token_of_the_same_key_and_another_kind_refreshes_nothing() -> None:
    """The signing key itself makes no refresh token: a secret of its own does."""
    app = App()
    text = app.issuer.issue("alice").refresh_token
    assert text is not None
    header, claims = parts_of(text)
    forged = sign({**header, "alg": "ES256"}, json.dumps(claims).encode(), KEY)
    with pytest.raises(InvalidGrant):
        app.issuer.refresh(forged)


@pytest.mark.parametrize("text", ["", "a.b.c", "x", None, 7, b"a.b.c"])
def test_what_is_no_refresh_token_is_told_like_any_other(text: Any) -> None:
    with pytest.raises(InvalidGrant) as refusal:
        App().issuer.refresh(text)
    assert refusal.value.told() == {
        "error": "invalid_grant",
        "error_description": "The refresh token is not valid.",
    }


# Once


def test_a_second_use_ends_the_session() -> None:
    """I-9: with its access tokens, old and new."""
    app = App()
    pair = app.issuer.issue("alice")
    app.wall.now += 1
    newer = app.refresh(pair)
    other = app.issuer.issue("alice")
    assert app.accepts(newer)
    app.wall.now += 1
    assert app.refuses(pair) == "refresh_reused"
    assert not app.accepts(pair)
    assert not app.accepts(newer)
    assert app.refuses(newer) == "invalid_grant"
    assert app.accepts(other), "another session of the same user"


def test_tabs_that_race_are_given_the_same_successor() -> None:
    """With a leeway; and no longer than that."""
    app = App(reuse_leeway=10)
    pair = app.issuer.issue("alice")
    app.wall.now += 60
    first = app.refresh(pair)
    app.wall.now += 10
    again = app.refresh(pair)
    assert again.refresh_token == first.refresh_token
    assert app.accepts(first)
    assert app.accepts(again)
    app.wall.now += 1
    assert app.refuses(pair) == "refresh_reused"
    assert not app.accepts(again)


def test_who_refreshes_on_is_not_disturbed_by_a_tab_that_was_late() -> None:
    app = App(reuse_leeway=5)
    pair = app.issuer.issue("alice")
    second = app.refresh(pair)
    third = app.refresh(second)
    assert app.refresh(pair).refresh_token == second.refresh_token
    assert app.refresh(second).refresh_token == third.refresh_token
    app.wall.now += 1
    assert app.refresh(third).refresh_token not in (None, third.refresh_token)


# Ends


def test_a_session_never_outlives_its_first_end() -> None:
    """I-11, RFC 10017: however often it is refreshed."""
    app = App(session_lifetime=3600, access_lifetime=600)
    pair = app.issuer.issue("alice")
    ends = parts_of(pair.refresh_token or "")[1]["session_ends_at"]
    assert ends == NOW + 3600
    for _ in range(6):
        app.wall.now += 500
        pair = app.refresh(pair)
        assert parts_of(pair.refresh_token or "")[1]["session_ends_at"] == ends
    app.wall.now = ends - 10
    pair = app.refresh(pair)
    assert pair.expires_in == 10
    assert app.auth.authenticate(pair.access_token).expires_at == ends
    app.wall.now = ends
    assert app.refuses(pair) == "invalid_grant"


def test_a_session_that_lies_idle_ends() -> None:
    """I-12."""
    app = App(idle_lifetime=1000)
    pair = app.issuer.issue("alice")
    app.wall.now += 999
    pair = app.refresh(pair)
    app.wall.now += 1000
    assert app.refuses(pair) == "invalid_grant"


@pytest.mark.parametrize("by", ["refresh_token", "session_id", "auth"])
def test_a_session_is_ended(by: str) -> None:
    """I-14, I-16: by either of its names, and by the authenticator."""
    app = App()
    pair, other = app.issuer.issue("alice"), app.issuer.issue("alice")
    app.wall.now += 1
    newer = app.refresh(pair)
    if by == "auth":
        app.auth.revoke_session(pair.session_id)
    else:
        app.issuer.end_session(getattr(newer, by))
    assert not app.accepts(newer)
    assert app.refuses(newer) == "invalid_grant"
    assert app.accepts(other)


def test_a_refresh_token_that_was_used_or_has_ended_logs_out_all_the_same() -> None:
    app = App(idle_lifetime=100)
    pair = app.issuer.issue("alice")
    app.refresh(pair)
    app.wall.now += 200
    app.issuer.end_session(pair.refresh_token or "")
    assert not app.accepts(pair)


def test_a_mark_on_a_session_lasts_as_long_as_it_can_be_refreshed() -> None:
    app = App(session_lifetime=30 * 86400)
    pair = app.issuer.issue("alice")
    app.auth.revoke_session(pair.session_id)
    app.wall.now += 29 * 86400
    assert app.refuses(pair) == "invalid_grant"


def test_after_a_new_password_all_sessions_are_over_and_a_new_login_works() -> None:
    """I-15; also where all of it is in one second."""
    app = App()
    app.wall.now += 0.5
    pairs = [app.issuer.issue("alice") for _ in range(3)]
    app.auth.revoke_subject("alice")
    fresh = app.issuer.issue("alice")
    assert not any(app.accepts(pair) for pair in pairs)
    assert {app.refuses(pair) for pair in pairs} == {"invalid_grant"}
    assert app.accepts(fresh)
    assert app.accepts(app.refresh(fresh))


def test_in_one_second_all_sessions_may_end_again_and_again() -> None:
    """Each ends those that began before it, and none that begin later."""
    app = App()
    app.wall.now += 0.5
    for _ in range(20):
        pair = app.issuer.issue("alice")
        assert app.accepts(pair)
        app.auth.revoke_subject("alice")
        assert not app.accepts(pair)
        assert app.refuses(pair) == "invalid_grant"
    assert app.accepts(app.issuer.issue("alice"))


# Scope


def test_a_scope_may_only_shrink() -> None:
    """I-13: and for the access token alone."""
    app = App()
    pair = app.issuer.issue("alice", scope="read write")
    narrow = app.refresh(pair, scope="read")
    assert app.auth.authenticate(narrow.access_token).scopes == {"read"}
    again = app.refresh(narrow)
    assert app.auth.authenticate(again.access_token).scopes == {"read", "write"}
    with pytest.raises(InvalidGrant):
        app.refresh(again, scope="read admin")
    assert app.accepts(app.refresh(again)), "it was not used up by that"


# Keys


def test_sessions_live_through_a_rotation_of_keys() -> None:
    """The first signs, the others still verify; then the old one goes."""
    app = App()
    pair = app.issuer.issue("alice")
    turned = App(store=app.store, key=[OTHER, KEY])
    newer = turned.refresh(pair)
    assert turned.accepts(pair)
    assert turned.accepts(newer)
    gone = App(store=app.store, key=[OTHER])
    assert gone.accepts(gone.refresh(newer))
    with pytest.raises(InvalidGrant):
        gone.refresh(pair)


# Races


@pytest.fixture(params=["memory", "sqlite", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each store in turn, on the wall clock of the tests."""
    wall = Clock(NOW)
    if request.param == "memory":
        yield MemoryStore(wall)
    elif request.param == "sqlite":
        store = SQLiteStore(tmp_path / "marks.db", now=wall)
        yield store
        store.close()
    else:
        with RedisServer() as server:
            remote = RedisStore(server.url, now=wall)
            yield remote
            remote.close()


def outcome(call: Callable[[], TokenPair]) -> str | None:
    try:
        return call().refresh_token
    except RefreshReused:
        return None
    except InvalidGrant:
        return None


def test_of_many_uses_at_once_one_wins(shared: Any) -> None:
    """I-10: and then nobody, since it was used twice."""
    app = App(store=shared)
    pair = app.issuer.issue("alice")
    answers = at_once(lambda: outcome(lambda: app.refresh(pair)), 32)
    assert len([answer for answer in answers if answer]) == 1
    assert not app.accepts(pair)


def test_of_many_uses_at_once_all_are_given_the_same(shared: Any) -> None:
    app = App(store=shared, reuse_leeway=10)
    pair = app.issuer.issue("alice")
    answers = at_once(lambda: outcome(lambda: app.refresh(pair)), 32)
    assert len(set(answers)) == 1
    assert None not in answers
    assert app.accepts(pair)


RACER = """
import sys
from jwt_middleware import Key, TokenIssuer
from jwt_middleware.errors import InvalidGrant
from jwt_middleware.sqlite import SQLiteStore
import json, os
key = Key.from_jwk(json.loads(os.environ["KEY"]))
issuer = TokenIssuer("https://app.example", audience="app", key=key,
                     store=SQLiteStore(sys.argv[1]), reuse_leeway=float(sys.argv[2]))
print("ready", flush=True)
text = sys.stdin.readline().strip()
try:
    print(issuer.refresh(text).refresh_token)
except InvalidGrant as error:
    print(error.reason)
"""


@pytest.mark.parametrize("leeway", ["0", "10"])
def test_four_processes_race(tmp_path: Path, leeway: str) -> None:
    path = str(tmp_path / "marks.db")
    store = SQLiteStore(path)
    issuer = TokenIssuer(URL, audience="app", key=KEY, store=store)
    text = issuer.issue("alice").refresh_token
    store.close()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, path, leeway],
            cwd=ROOT,
            env={"KEY": json.dumps(KEY.to_jwk(private=True)), "PATH": ""},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(f"{text}\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=30)[0].strip() for racer in racers]
    won = {answer for answer in answers if answer.count(".") == 2}
    assert len(won) == 1
    if leeway == "10":
        assert set(answers) == won
    else:
        assert len([answer for answer in answers if answer in won]) == 1


# Stores


def test_a_store_that_fails_gives_nothing() -> None:
    class Down(MemoryStore):
        def add(self, name: str, at: float, until: float) -> bool:
            raise OSError

    app = App(store=Down(Clock(NOW)))
    pair = app.issuer.issue("alice")
    with pytest.raises(RevocationsUnavailable):
        app.refresh(pair)


def test_nothing_that_a_store_holds_can_be_used() -> None:
    """I-6: names of marks, and no token."""
    app = App()
    pair = app.issuer.issue("alice")
    app.refresh(pair)
    held = repr(app.store._marks)
    for text in (pair.refresh_token, pair.access_token):
        assert text is not None
        assert text not in held


def test_all_of_it_can_be_awaited() -> None:
    """With a store that needs a loop, and in a coroutine that must not wait."""
    app = App(store=WaitingStore())

    async def story() -> None:
        pair = await app.issuer.aissue("alice")
        newer = await app.issuer.arefresh(pair.refresh_token or "")
        await app.issuer.aend_session(newer.session_id)
        with pytest.raises(InvalidGrant):
            await app.issuer.arefresh(newer.refresh_token or "")

    asyncio.run(story())


# What cannot be meant


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"session_lifetime": 0}, "session_lifetime must be"),
        ({"session_lifetime": 31 * 86400}, "session_lifetime must be"),
        ({"session_lifetime": 500}, "access_lifetime is longer than session_lifetime"),
        ({"idle_lifetime": 0}, "idle_lifetime must be"),
        ({"idle_lifetime": 28801}, "idle_lifetime must be"),
        ({"reuse_leeway": 11}, "reuse_leeway must be .* from 0 to 10"),
        ({"reuse_leeway": -1}, "reuse_leeway must be"),
    ],
)
def test_what_cannot_be_meant_is_told(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        App(**options)


def test_a_wrong_type_is_told_to_the_log_alone() -> None:
    app = App()
    with pytest.raises(InvalidGrant) as refusal:
        app.issuer.refresh(app.issuer.issue("alice").access_token)
    assert not isinstance(refusal.value, WrongType)
    assert refusal.value.status == 400


def test_a_session_that_ends_while_it_is_refreshed_gives_nothing() -> None:
    wall = Clock(NOW)

    class Slow(MemoryStore):
        def add(self, name: str, at: float, until: float) -> bool:
            wall.now += 28800
            return super().add(name, at, until)

    issuer = TokenIssuer(URL, audience="app", key=KEY, store=Slow(wall), now=wall)
    pair = issuer.issue("alice")
    with pytest.raises(InvalidGrant, match="at its end"):
        issuer.refresh(pair.refresh_token or "")
