"""What was revoked stays revoked, though clocks differ and sessions are refreshed."""

from __future__ import annotations

from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, TokenIssuer, TokenPair
from jwt_middleware.errors import InvalidGrant, RevocationsUnavailable
from tests.conftest import ISSUER, NOW, Mint, authenticator, mint_token, trusted
from tests.doors import Door
from tests.store_suite import Clock

URL = "https://app.example"
KEY = Key.generate("ES256")
LEEWAY = 30
OFFSETS = (-15, -3, 0, 3, 15)
"""Seconds by which the clock of a worker is wrong; two differ by the leeway at most."""


class Shared(MemoryStore):
    """The shared store of workers whose copies may not have heard of a mark yet."""

    def __init__(self) -> None:
        super().__init__(Clock(0))  # nothing ends
        self.is_late = False

    def copy(self) -> Copy:
        return Copy(self)


class Copy(MemoryStore):
    """What one worker knows: `look` reads a copy, and `add` and `put` the store."""

    place = "the shared store"

    def __init__(self, shared: Shared) -> None:
        super().__init__(Clock(0))
        self.shared = shared

    def add(self, name: str, at: float, until: float) -> bool:
        is_new = self.shared.look([name]) == [None]
        if is_new and until > 0:
            self.shared.put(name, at, until)
        self.hear(name)
        return is_new

    def put(self, name: str, at: float, until: float) -> None:
        self.shared.put(name, at, until)
        self.hear(name)

    def hear(self, name: str) -> None:
        """Copy one mark."""
        for known, (at, until) in list(self.shared._marks.items()):
            if known == name:
                super().put(name, at, until)

    def hear_all(self) -> None:
        for name in list(self.shared._marks):
            self.hear(name)


class Worker:
    """One worker, with a clock of its own."""

    def __init__(self, door: Door, shared: Shared, offset: float) -> None:
        self.now = Clock(NOW + offset)
        self.store = shared.copy()
        self.issuer = TokenIssuer(
            URL, audience="app", key=KEY, store=self.store, leeway=LEEWAY, now=self.now
        )
        auth = Authenticator(self.issuer.trusted(), store=self.store, now=self.now)
        self.door = door.behind(auth)

    def login(self) -> TokenPair:
        return self.issuer.issue("alice")

    def log_out_everywhere(self) -> None:
        self.door.auth.revoke_subject("alice")

    def refresh(self, pair: TokenPair) -> TokenPair:
        return self.issuer.refresh(pair.refresh_token or "")

    def accepts(self, pair: TokenPair) -> bool:
        self.store.hear_all()
        answer = self.door.get(bearer=pair.access_token)
        assert answer.entered == (answer.status == 200)
        if not answer.entered:
            assert "was revoked" in (answer.challenge or "")
        return answer.entered

    def is_over(self, pair: TokenPair) -> bool:
        """Whether neither token of *pair* is worth anything."""
        if self.accepts(pair):
            return False
        with pytest.raises(InvalidGrant):
            self.refresh(pair)
        return True


def workers(door: Door, *offsets: float) -> tuple[Worker, ...]:
    shared = Shared()
    return tuple(Worker(door, shared, offset) for offset in offsets)


@pytest.mark.parametrize("revoking", OFFSETS)
@pytest.mark.parametrize("serving", OFFSETS)
@pytest.mark.parametrize("passed", [0, 0.4, 1, 40])
@pytest.mark.parametrize("refreshed", ["never", "before", "within propagation"])
def test_no_clock_and_no_refresh_saves_a_session_that_was_logged_out(
    door: Door, serving: float, revoking: float, passed: float, refreshed: str
) -> None:
    """Whatever machine served the login and the refresh, and whichever revoked."""
    server, revoker = workers(door, serving, revoking)
    pairs = [server.login()]
    for worker in (server, revoker):
        worker.now.now += passed
    if refreshed == "before":
        pairs.append(server.refresh(pairs[-1]))
    revoker.log_out_everywhere()
    if refreshed == "within propagation":  # it has not heard of the mark
        pairs.append(server.refresh(pairs[-1]))
    for worker in (server, revoker):
        worker.now.now += 5
        assert all(worker.is_over(pair) for pair in pairs)


@pytest.mark.parametrize("revoking", OFFSETS)
@pytest.mark.parametrize("serving", OFFSETS)
def test_a_login_after_the_logout_works_at_once_on_any_worker(
    door: Door, serving: float, revoking: float
) -> None:
    """And can be refreshed, and be ended again by the next one, at once."""
    server, revoker, other = workers(door, serving, revoking, 0)
    old = server.login()
    revoker.log_out_everywhere()
    for _ in range(5):
        fresh = server.login()
        assert fresh.expires_in == 600
        assert all(w.accepts(fresh) for w in (server, revoker, other))
        newer = other.refresh(fresh)
        assert server.accepts(newer)
        assert other.is_over(old)
        revoker.log_out_everywhere()
        for worker in (server, revoker, other):
            assert worker.is_over(newer)
    assert other.accepts(other.login())


def test_a_login_says_that_it_was_made_now(door: Door) -> None:
    """Only the beginning of its session lies after what was revoked."""
    server, revoker = workers(door, 0, 20)
    revoker.log_out_everywhere()
    token = server.door.auth.authenticate(server.login().access_token)
    assert (token.issued_at, token["auth_time"]) == (NOW, NOW)
    assert token["session_started_at"] > NOW + 20


def test_a_login_goes_on_while_the_shared_store_is_away(door: Door) -> None:
    (worker,) = workers(door, 0)

    def fail(name: str, at: float, until: float) -> bool:
        raise OSError

    worker.store.add = fail  # type: ignore[method-assign]
    assert worker.accepts(worker.login())


@pytest.mark.parametrize("started", [0, 1e9, -1e9, "soon", True, None])
def test_another_issuer_gains_nothing_by_the_claim(
    door: Door, mint: Mint, started: Any
) -> None:
    """Its tokens are judged by ``iat``, whatever it says of sessions."""
    door.auth.revoke_subject("alice")
    claims = {} if started is None else {"session_started_at": started}
    assert door.get(bearer=mint(iat=0, **claims)).status == 401
    assert door.get(bearer=mint(iat=1, **claims)).status == 200


def test_an_application_cannot_set_the_claim() -> None:
    issuer = TokenIssuer(URL, audience="app", key=KEY)
    with pytest.raises(ValueError, match="set by the issuer"):
        issuer.issue("alice", session_started_at=4e9)


# A clock that is behind


def test_a_session_is_revoked_though_the_clock_is_behind(
    door: Door, mint: Mint
) -> None:
    """A ``sid`` is never used again, so no date has to be compared."""
    now = Clock(NOW - 60)
    late = door.behind(authenticator(store=MemoryStore(Clock(0)), now=now))
    late.auth.revoke_session("s1")
    now.now = NOW + 5
    for issued in (-50, 0, 5):
        assert late.get(bearer=mint(iat=issued, sid="s1")).status == 401
    assert late.get(bearer=mint(iat=5, sid="s2")).status == 200


@pytest.mark.parametrize("behind", [20, 60, 3599])
def test_a_subject_is_revoked_though_the_clock_is_behind(
    door: Door, mint: Mint, behind: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The tokens that were seen say what time it is, also if they were refused."""
    now = Clock(NOW - behind)
    late = door.behind(authenticator(store=MemoryStore(Clock(0)), now=now))
    seen = mint(iat=0, exp=900)
    late.get(bearer=seen)
    late.auth.revoke_subject("alice")
    assert ("the clock is behind" in caplog.text) == (behind > 30)
    now.now = NOW + 5
    assert late.get(bearer=seen).status == 401
    assert late.get(bearer=mint(iat=0, jti="other")).status == 401
    assert late.get(bearer=mint(iat=1)).status == 200


@pytest.mark.parametrize("ahead", [3601, 10**9, 10**15])
def test_an_issuer_that_misdates_a_token_locks_nobody_out(
    door: Door, mint: Mint, ahead: int
) -> None:
    now = Clock(NOW)
    there = door.behind(authenticator(store=MemoryStore(now), now=now))
    assert there.get(bearer=mint(iat=ahead, exp=900)).status == 401
    there.auth.revoke_subject("alice")
    assert there.get(bearer=mint(iat=0)).status == 401
    assert there.get(bearer=mint(iat=1)).status == 200


def test_who_cannot_sign_cannot_move_a_revocation(door: Door, mint: Mint) -> None:
    stranger = Key.generate("ES256", kid="k1")
    assert door.get(bearer=mint_token(key=stranger, iat=3000)).status == 401
    door.auth.revoke_subject("alice")
    assert door.get(bearer=mint(iat=1)).status == 200


def test_a_revocation_that_failed_may_have_been_written(mint: Mint) -> None:
    """So the message does not promise that nothing was revoked."""

    class Reset(MemoryStore):
        def put(self, name: str, at: float, until: float) -> None:
            super().put(name, at, until)
            raise ConnectionResetError

    auth = authenticator(trusted(), store=Reset(Clock(NOW)))
    with pytest.raises(RevocationsUnavailable, match="may not have been revoked"):
        auth.revoke_subject("alice", ISSUER)
