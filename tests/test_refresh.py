"""Refresh tokens: a session goes on without a new login, and never beyond its end."""

from __future__ import annotations

import asyncio
import hmac
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, TokenIssuer, TokenPair
from jwt_middleware.bridge import run
from jwt_middleware.compact import base64url_decode, write_json
from jwt_middleware.errors import (
    AuthError,
    InvalidGrant,
    InvalidScope,
    RefreshReused,
    RevocationsUnavailable,
    TokenRevoked,
    WrongType,
)
from jwt_middleware.jose import sign_compact
from jwt_middleware.redis import RedisStore
from jwt_middleware.refresh import _derived
from jwt_middleware.revocation import Revocations
from jwt_middleware.sqlite import SQLiteStore

from .children import at_once
from .conftest import NOW, sign
from .redis_server import RedisServer, eventually
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
    """Only the direct predecessor may come again: see test_rotation.py."""
    app = App(reuse_leeway=5)
    second = app.refresh(app.issuer.issue("alice"))
    third = app.refresh(second)
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
            if name.startswith("used "):
                wall.now += 28800
            return super().add(name, at, until)

    issuer = TokenIssuer(URL, audience="app", key=KEY, store=Slow(wall), now=wall)
    pair = issuer.issue("alice")
    with pytest.raises(InvalidGrant, match="at its end"):
        issuer.refresh(pair.refresh_token or "")


# What the client is told


def test_every_token_that_is_no_good_is_told_alike() -> None:
    """I-4: unknown, forged, ended, taken back or used; only the log tells which."""
    app = App(idle_lifetime=1000)
    stranger = App().issuer.issue("alice")
    idle, ended, out, used = (app.issuer.issue("alice") for _ in range(4))
    app.issuer.end_session(ended.session_id)
    app.refresh(used)
    refusals = []
    for text in (
        "unknown",
        f"{out.refresh_token}x",
        out.access_token,
        stranger.access_token,
        ended.refresh_token,
        used.refresh_token,
    ):
        with pytest.raises(InvalidGrant) as refusal:
            app.issuer.refresh(text or "")
        refusals.append(refusal.value)
    app.auth.revoke_subject("alice")
    app.wall.now += 1000
    for pair in (out, idle):
        with pytest.raises(InvalidGrant) as refusal:
            app.refresh(pair)
        refusals.append(refusal.value)
    told = {(error.status, *error.told().items()) for error in refusals}
    assert told == {
        (
            400,
            ("error", "invalid_grant"),
            ("error_description", "The refresh token is not valid."),
        )
    }
    assert not any(error.challenged() for error in refusals)
    assert len({str(error) for error in refusals}) > 4, "the log tells them apart"


def test_an_answer_has_the_members_of_rfc_6749() -> None:
    """I-2: §5.1, of a login and of a refresh; also right after a mark."""
    app = App(access_lifetime=300)
    pair = app.issuer.issue("alice", scope="read")
    app.wall.now += 100.75
    newer = app.refresh(pair)
    app.auth.revoke_subject("alice")
    for made in (pair, newer, app.issuer.issue("alice", scope="read")):
        answer = json.loads(json.dumps(made.as_dict()))
        claims = parts_of(answer["access_token"])[1]
        assert answer == {
            "access_token": made.access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": made.refresh_token,
        }
        assert type(answer["expires_in"]) is int
        assert claims["exp"] - claims["iat"] == pytest.approx(300, abs=1)
        assert claims["scope"] == "read", "as granted, so it need not be told again"


def test_more_scope_has_an_error_of_its_own() -> None:
    """I-13: RFC 6749 §5.2."""
    app = App()
    pair = app.issuer.issue("alice", scope="read")
    with pytest.raises(InvalidScope) as refusal:
        app.refresh(pair, scope=["read", "admin"])
    error = refusal.value
    assert (error.status, error.reason) == (400, "invalid_scope")
    assert error.told()["error"] == "invalid_scope"
    assert "admin" not in str(error.told())
    assert not error.challenged()


# Guessing


def test_nobody_guesses_a_refresh_token() -> None:
    """I-5: 256 bits at random, and as many in each that follows."""
    app = App()
    names = set()
    for _ in range(20):
        pair = app.issuer.issue("alice")
        for _ in range(3):
            name = parts_of(pair.refresh_token or "")[1]["jti"]
            assert len(base64url_decode(name.encode())) == 32
            names.add(name)
            pair = app.refresh(pair)
    assert len(names) == 60


def test_who_held_the_token_before_cannot_make_the_one_that_follows() -> None:
    """I-5: though all that it says can be told beforehand, but for the signature."""
    app = App(reuse_leeway=10)
    pair = app.issuer.issue("alice")
    newer = app.refresh(pair)
    header, claims = parts_of(newer.refresh_token or "")
    for key in (Key.generate("HS256", kid=KEY.kid), KEY):
        named = {**header, "alg": key.algorithm}
        guessed = sign(named, json.dumps(claims).encode(), key)
        with pytest.raises(InvalidGrant):
            app.issuer.refresh(guessed)
    assert app.accepts(app.refresh(newer)), "neither used up nor ended by that"


@pytest.mark.parametrize("part", range(3))
def test_no_part_of_a_refresh_token_can_be_changed(part: int) -> None:
    """Not one octet of it, nor its spelling."""
    app = App()
    text = app.issuer.issue("alice").refresh_token or ""
    parts = text.split(".")
    for at in range(len(parts[part])):
        other = "A" if parts[part][at] != "A" else "B"
        changed = f"{parts[part][:at]}{other}{parts[part][at + 1 :]}"
        with pytest.raises(InvalidGrant):
            app.issuer.refresh(".".join([*parts[:part], changed, *parts[part + 1 :]]))
    assert app.issuer.refresh(text)


def test_who_has_what_is_published_can_make_no_refresh_token() -> None:
    """It takes the private key; what an attacker makes of the public one is refused.

    The last is made of the private key, and shows that the attack is the right one.
    """
    app = App(reuse_leeway=10)
    text = app.issuer.issue("alice").refresh_token or ""
    header, claims = parts_of(text)
    private = KEY.to_jwk(private=True)
    (public,) = app.issuer.jwks()["keys"]
    without_d = {name: value for name, value in private.items() if name != "d"}
    for known in (public, without_d, KEY.public.to_jwk(), KEY.kid, {}, private):
        material = json.dumps(known, sort_keys=True).encode()
        secret = hmac.digest(material, b"jwt_middleware refresh tokens", "sha256")
        key = Key.from_secret(secret, kid=KEY.kid)
        forged = sign(header, json.dumps({**claims, "sub": "admin"}).encode(), key)
        if known is private:
            assert app.issuer.refresh(forged)
            return
        with pytest.raises(InvalidGrant):
            app.issuer.refresh(forged)


# Whose it is


@pytest.mark.parametrize(
    "options",
    [
        {"issuer": "https://other.example"},
        {"issuer": f"{URL}/"},
        {"key": Key.generate("ES256", kid=KEY.kid)},
        {"key": OTHER},
        {"key": [OTHER, KEY.public]},
        {"issuer": "https://other.example", "audience": URL},
    ],
    ids=["issuer", "issuer by a slash", "key", "name of a key", "public", "audience"],
)
def test_a_refresh_token_is_for_who_made_it(options: dict[str, Any]) -> None:
    """I-7: though all of them mark in the same store."""
    app = App()
    stated = {"issuer": URL, "audience": "app", "key": KEY, **options}
    other = TokenIssuer(stated.pop("issuer"), store=app.store, now=app.wall, **stated)
    own, foreign = app.issuer.issue("alice"), other.issue("alice")
    with pytest.raises(InvalidGrant):
        other.refresh(own.refresh_token or "")
    with pytest.raises(InvalidGrant):
        app.issuer.refresh(foreign.refresh_token or "")
    with pytest.raises(InvalidGrant):
        other.end_session(own.refresh_token or "")
    assert app.accepts(app.refresh(own)), "neither used up nor ended by that"
    assert other.refresh(foreign.refresh_token or "").session_id == foreign.session_id


# The login


@pytest.mark.parametrize("given", [None, NOW - 3600])
def test_the_moment_of_the_login_is_kept(given: int | None) -> None:
    """RFC 9068 §2.2.1: a refresh is no login, so step-up is not fooled by it."""
    app = App()
    claims: dict[str, Any] = {} if given is None else {"auth_time": given}
    at = NOW if given is None else given
    app.wall.now += 0.9
    pair = app.issuer.issue("alice", **claims)
    for _ in range(3):
        assert app.auth.authenticate(pair.access_token)["auth_time"] == at
        app.wall.now += 100
        seen = run(app.issuer.apeek(pair.refresh_token or ""))
        assert parts_of(seen.access_token)[1]["auth_time"] == at
        pair = app.refresh(pair)
    assert parts_of(pair.access_token)[1]["iat"] == NOW + 300


def test_it_is_told_how_long_a_refresh_token_may_wait() -> None:
    """Idle, and never beyond the end of the session; a look takes nothing from it."""
    app = App(session_lifetime=3600, idle_lifetime=1000)
    pair = app.issuer.issue("alice")
    left = [pair.refresh_expires_in]
    for _ in range(4):
        app.wall.now += 700
        assert peek(app, pair).refresh_expires_in == (left[-1] or 0) - 700
        pair = app.refresh(pair)
        left.append(pair.refresh_expires_in)
    assert left == [1000, 1000, 1000, 1000, 800]
    app.wall.now += 799
    assert peek(app, pair).refresh_expires_in == 1
    app.wall.now += 1
    assert app.refuses(pair) == "invalid_grant"
    alone = TokenIssuer(URL, audience="app", key=KEY).issue("alice")
    assert alone.refresh_expires_in is None


def test_tabs_that_race_are_told_the_same_end() -> None:
    """It is counted from the first use."""
    app = App(idle_lifetime=1000, reuse_leeway=10)
    pair = app.issuer.issue("alice")
    app.wall.now += 100
    app.refresh(pair)
    app.wall.now += 10
    assert app.refresh(pair).refresh_expires_in == 990


# A look before the answer


def peek(app: App, pair: TokenPair) -> TokenPair:
    return run(app.issuer.apeek(pair.refresh_token or ""))


def renew(app: App, pair: TokenPair) -> TokenPair | None:
    return run(app.issuer.arenew(pair.refresh_token or ""))


def test_a_look_uses_nothing_up() -> None:
    app = App()
    pair = app.issuer.issue("alice", scope="read", name="Alice")
    app.wall.now += 500
    for _ in range(3):
        seen = peek(app, pair)
        token = app.auth.authenticate(seen.access_token)
        assert (token["name"], token["scope"]) == ("Alice", "read")
        assert token["iat"] == app.wall.now
        assert seen.session_id == token["sid"] == pair.session_id
        assert seen.refresh_token == pair.refresh_token
        assert seen.refresh_expires_in == 28800 - 500
    assert app.accepts(app.refresh(pair)), "the one use there is"


def test_a_look_at_what_was_used_ends_the_session() -> None:
    """Like a second use."""
    app = App()
    pair = app.issuer.issue("alice")
    newer = app.refresh(pair)
    app.wall.now += 1
    with pytest.raises(RefreshReused):
        peek(app, pair)
    assert not app.accepts(newer)
    assert app.refuses(newer) == "invalid_grant"
    with pytest.raises(InvalidGrant):
        peek(app, newer)


def test_a_look_is_for_a_refresh_token_of_a_session_that_lives() -> None:
    app = App(idle_lifetime=1000)
    pair, ended = app.issuer.issue("alice"), app.issuer.issue("alice")
    app.issuer.end_session(ended.session_id)
    for text in (ended.refresh_token, pair.access_token, "", "a.b.c"):
        for look in (app.issuer.apeek, app.issuer.arenew):
            with pytest.raises(InvalidGrant):
                run(look(text or ""))
    app.wall.now += 1000
    with pytest.raises(InvalidGrant):
        peek(app, pair)
    with pytest.raises(ValueError, match="without a store"):
        run(TokenIssuer(URL, audience="app", key=KEY).apeek("x"))


def test_a_renewal_is_the_one_use() -> None:
    app = App()
    pair = app.issuer.issue("alice", scope="read")
    peek(app, pair)
    newer = renew(app, pair)
    assert newer is not None
    assert newer.refresh_token != pair.refresh_token
    assert app.auth.authenticate(newer.access_token).scopes == {"read"}
    assert app.refuses(pair) == "refresh_reused"


def test_who_was_slower_renews_nothing_and_ends_nothing() -> None:
    """Both looked before either was answered: that is no theft."""
    app = App()
    pair = app.issuer.issue("alice")
    peek(app, pair)
    newer = renew(app, pair)
    assert newer is not None
    app.wall.now += 100
    assert renew(app, pair) is None
    assert app.accepts(newer)
    assert app.accepts(app.refresh(newer))


def test_a_look_that_nobody_can_answer_is_told_as_such() -> None:
    class Down(MemoryStore):
        def add(self, name: str, at: float, until: float) -> bool:
            raise OSError

    app = App(store=Down(Clock(NOW)))
    pair = app.issuer.issue("alice")
    for look in (peek, renew):
        with pytest.raises(RevocationsUnavailable):
            look(app, pair)


def test_a_store_that_needs_a_loop_is_looked_at_as_well() -> None:
    app = App(store=WaitingStore())

    async def story() -> None:
        pair = await app.issuer.aissue("alice")
        text = pair.refresh_token or ""
        assert (await app.issuer.apeek(text)).refresh_token == text
        assert await app.issuer.arenew(text) is not None
        assert await app.issuer.arenew(text) is None
        with pytest.raises(RefreshReused):
            await app.issuer.apeek(text)

    asyncio.run(story())


# Another worker


Opened = Callable[..., App]


@pytest.fixture(params=["sqlite", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """Open one worker more: with a store object of its own, on the same marks."""
    with ExitStack() as stack:

        def open_one(kind: Any, where: str, **options: Any) -> App:
            store = kind(where, now=Clock(NOW))
            stack.callback(store.close)
            return App(store=store, **options)

        if request.param == "sqlite":
            path = str(tmp_path / "marks.db")
            yield lambda **options: open_one(SQLiteStore, path, **options)
            return
        with RedisServer() as server:  # ends first, so that no store waits for it
            yield lambda **options: open_one(RedisStore, server.url, **options)


def test_what_another_worker_used_is_seen_at_the_first_look(opened: Opened) -> None:
    """Also by one who has heard of no mark yet; and all hear of the end."""
    first, second = opened(), opened()
    pair = first.issuer.issue("alice")
    assert peek(second, pair).session_id == pair.session_id
    newer = first.refresh(pair)
    assert second.accepts(newer)
    with pytest.raises(RefreshReused):
        peek(second, pair)
    assert not second.accepts(newer)
    eventually(lambda: not first.accepts(newer), "the end, in the first worker")
    assert first.refuses(newer) == "invalid_grant"


def test_a_tab_may_race_through_another_worker(opened: Opened) -> None:
    """By the moment of the use, which both know; and no longer than the leeway."""
    first, second = opened(reuse_leeway=10), opened(reuse_leeway=10)
    pair = first.issuer.issue("alice")
    newer = first.refresh(pair)
    second.wall.now += 10
    assert peek(second, pair).refresh_token == pair.refresh_token
    renewed = renew(second, pair)
    assert renewed is not None
    assert renewed.refresh_token == newer.refresh_token
    second.wall.now += 1
    assert renew(second, pair) is None
    assert second.accepts(renewed)
    with pytest.raises(RefreshReused):
        peek(second, pair)
    assert not second.accepts(renewed)


def test_who_was_slower_than_another_worker_ends_nothing(opened: Opened) -> None:
    first, second = opened(), opened()
    pair = first.issuer.issue("alice")
    peek(first, pair)
    peek(second, pair)
    newer = renew(first, pair)
    assert newer is not None
    assert renew(second, pair) is None
    for worker in (first, second):
        assert worker.accepts(newer)
    assert second.refresh(newer).session_id == pair.session_id


def test_of_many_renewals_at_once_one_wins_and_nothing_ends(opened: Opened) -> None:
    app = opened()
    pair = app.issuer.issue("alice")
    (newer,) = filter(None, at_once(lambda: renew(app, pair)))
    assert app.accepts(newer)
    assert app.refresh(newer).session_id == pair.session_id


def revocations_of(app: App) -> Revocations:
    return Revocations(app.store, {URL: app.issuer.trusted()}, app.wall)


def test_to_ask_whether_a_name_was_used_is_no_use(opened: Opened) -> None:
    first, second = revocations_of(opened()), revocations_of(opened())
    for one in (first, second, first):
        assert run(one.is_used("used x")) is False
    assert run(first.use("used x", NOW, NOW + 100)) is True
    for one in (first, second):
        assert run(one.is_used("used x")) is True
        assert run(one.date_of("used x")) == NOW, "and then it is known since when"
        assert run(one.use("used x", NOW, NOW + 100)) is False
        assert run(one.is_used("used y")) is False


def test_a_use_that_has_ended_is_none() -> None:
    app = App()
    revocations = revocations_of(app)
    assert run(revocations.use("used x", NOW, NOW + 100)) is True
    app.wall.now += 99
    assert run(revocations.is_used("used x")) is True
    app.wall.now += 1
    assert run(revocations.is_used("used x")) is False
    assert run(revocations.use("used x", NOW, NOW + 200)) is True


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 0),
        ({"reuse_leeway": 10}, 10),
        ({"reuse_leeway": 0.5}, 0.5),
        ({"reuse_leeway": 10, "store": None}, 0),
    ],
)
def test_it_is_told_for_how_long_tabs_may_race(
    options: dict[str, Any], seconds: float
) -> None:
    """Not at all, where there are no refresh tokens."""
    stated = {"store": MemoryStore(), **options}
    issuer = TokenIssuer(URL, audience="app", key=KEY, **stated)
    assert issuer.reuse_leeway == seconds


def test_a_refresh_token_that_nobody_could_read_is_not_made() -> None:
    """It is a little longer than the access token beside it."""
    app, lengths = App(), []

    def grow() -> None:
        for length in range(8700, 9000):
            app.refresh(app.issuer.issue("alice", x="x" * length))
            lengths.append(length)

    with pytest.raises(ValueError, match="a refresh token of"):
        grow()
    assert lengths, "those that are made can be read"


def test_a_refresh_token_from_far_ahead_waits_for_its_time() -> None:
    """By more than the leeway of clocks; a logout is taken all the same."""
    app = App()
    app.wall.now += 31
    pair = app.issuer.issue("alice")
    app.wall.now -= 31
    assert app.refuses(pair) == "invalid_grant"
    app.wall.now += 1
    app.issuer.end_session(pair.refresh_token or "")
    assert app.refuses(pair) == "invalid_grant"


def test_a_refresh_token_that_names_no_audience_is_refused() -> None:
    """As one that an older version wrote: no error of ours comes of it."""
    app = App()
    text = app.issuer.issue("alice").refresh_token or ""
    header, claims = parts_of(text)
    del claims["audience"]
    older = sign_compact({"typ": header["typ"]}, write_json(claims), _derived(KEY))
    with pytest.raises(InvalidGrant, match="another audience"):
        app.issuer.refresh(older)
    assert app.issuer.refresh(text).refresh_token


def test_an_access_token_without_a_session_ends_none() -> None:
    """As the same key signs for an issuer that keeps no sessions."""
    text = TokenIssuer(URL, audience="app", key=KEY).issue("alice").access_token
    header, claims = parts_of(text)
    claims.pop("sid", None)
    without = sign_compact({"typ": header["typ"]}, write_json(claims), KEY)
    with pytest.raises(InvalidGrant, match="not a token of a session"):
        App().issuer.end_session(without)
