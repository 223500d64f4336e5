"""A refresh token is used once, by few entries, and opens nothing of its session."""

from __future__ import annotations

from typing import Any

import pytest

from jwt_middleware import Key, MemoryStore, TokenIssuer, TokenPair
from jwt_middleware.bridge import run
from jwt_middleware.compact import write_json
from jwt_middleware.errors import InvalidGrant, RefreshReused, Unavailable
from jwt_middleware.jose import sign_compact
from jwt_middleware.refresh import WINDOW_USES, _derived
from tests.test_refresh import KEY, URL, App, parts_of


def chain(app: App, length: int) -> list[TokenPair]:
    pairs = [app.issuer.issue("alice")]
    for _ in range(length):
        pairs.append(app.refresh(pairs[-1]))
    return pairs


@pytest.mark.parametrize("back", [2, 3, 5])
def test_only_the_direct_predecessor_is_given_the_successor_again(back: int) -> None:
    app = App(reuse_leeway=10)
    pairs = chain(app, back)
    assert app.refresh(pairs[-2]).refresh_token == pairs[-1].refresh_token
    assert app.refuses(pairs[-1 - back]) == "refresh_reused"
    assert not app.accepts(pairs[-1])


@pytest.mark.parametrize("later", [1, 100, 10_000])
def test_a_use_is_known_after_its_own_entry_has_ended(later: int) -> None:
    app = App()
    pairs = chain(app, 1)
    app.wall.now += later
    assert app.refuses(pairs[0]) == "refresh_reused"
    assert app.refuses(pairs[1]) == "invalid_grant"


class Counting(MemoryStore):
    """A store that notes the names of what was marked."""

    def __init__(self, now: Any) -> None:
        super().__init__(now)
        self.names: set[str] = set()

    def add(self, name: str, at: float, until: float) -> bool:
        if until:
            self.names.add(name)
        return super().add(name, at, until)

    def put(self, name: str, at: float, until: float) -> None:
        self.names.add(name)
        super().put(name, at, until)


def test_a_session_has_a_bounded_number_of_entries() -> None:
    """However often it is refreshed; too often is answered by a time to wait."""
    app = App()
    app.store = Counting(app.wall)
    app.issuer = TokenIssuer(
        URL, audience="app", key=KEY, store=app.store, now=app.wall
    )
    pair, waited = app.issuer.issue("alice"), 0
    for _ in range(6 * WINDOW_USES):
        try:
            pair = app.refresh(pair)
        except Unavailable as error:
            waited += 1
            peeked = run(app.issuer.apeek(pair.refresh_token or ""))
            assert peeked.refresh_token == pair.refresh_token
            app.wall.now += error.retry_after or 0
            pair = app.refresh(pair)
    assert waited == 5
    assert len(app.store.names) == 2 * WINDOW_USES + 1


def test_a_refresh_token_of_an_earlier_version_is_used_once() -> None:
    app = App()
    pair = app.issuer.issue("alice")
    _, claims = parts_of(pair.refresh_token or "")
    for name in ("generation", "window_started_at", "session_started_at"):
        del claims[name]
    old = sign_compact({"typ": "refresh+jwt"}, write_json(claims), _derived(KEY))
    newer = app.issuer.refresh(old)
    assert app.accepts(app.refresh(newer))
    with pytest.raises(RefreshReused):
        app.issuer.refresh(old)
    assert not app.accepts(newer)


@pytest.mark.parametrize(("expired_for", "ends"), [(600, True), (20 * 86400, False)])
def test_an_old_access_token_ends_no_session(expired_for: int, ends: bool) -> None:
    app = App(session_lifetime=30 * 86400)
    pair = app.issuer.issue("alice")
    app.wall.now += 600 + expired_for
    newer = app.refresh(pair)
    if ends:
        app.issuer.end_session(pair.access_token)
    else:
        with pytest.raises(InvalidGrant, match="too old"):
            app.issuer.end_session(pair.access_token)
    assert app.accepts(newer) != ends


def test_a_renewal_is_for_the_session_of_the_access_token() -> None:
    app = App(reuse_leeway=10)
    alice, mallory = app.issuer.issue("alice"), app.issuer.issue("mallory")
    text = mallory.refresh_token or ""
    assert run(app.issuer.apeek(text, beside=mallory.access_token))
    for beside in (alice.access_token, "", "a.b.c"):
        with pytest.raises(InvalidGrant):
            run(app.issuer.apeek(text, beside=beside))
    other = TokenIssuer(URL, audience="app", key=Key.generate())
    with pytest.raises(InvalidGrant):
        run(app.issuer.apeek(text, beside=other.issue("mallory").access_token))


@pytest.mark.parametrize("text", ["alice", "", "x" * 28, "é" * 28, "-" * 28])
def test_what_names_no_session_of_ours_is_not_ended_in_silence(text: str) -> None:
    app = App()
    with pytest.raises(InvalidGrant, match="neither a refresh token nor"):
        app.issuer.end_session(text)
    foreign = TokenIssuer("https://other.example", audience="app", key=KEY)
    with pytest.raises(InvalidGrant):
        app.issuer.end_session(foreign.issue("alice").session_id)
    with pytest.raises(ValueError, match="not NoneType"):
        app.issuer.end_session(None)  # type: ignore[arg-type]
