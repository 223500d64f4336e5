"""What is judged again after it was let in, and what is refused for its real reason."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jwt_middleware import Key, MemoryStore
from jwt_middleware.errors import UnknownKey, WrongAudience, WrongType
from tests.conftest import SIGNING_KEY, Mint, authenticator, clock, trusted
from tests.test_refresh import App


class Changing:
    """Keys that an issuer may withdraw."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = (SIGNING_KEY.public,)

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        return self.keys

    def held(self) -> Sequence[Key]:
        return self.keys


def test_what_is_open_is_judged_by_the_keys_of_today(mint: Mint) -> None:
    """`ensure_live` is what a WebSocket asks, at the latest every 30 seconds."""
    keys = Changing()
    auth = authenticator(trusted(keys=keys), store=MemoryStore(clock))
    token = auth.authenticate(mint())
    asyncio.run(auth.ensure_live(token))
    keys.keys = (SIGNING_KEY.public, Key.generate(kid="k2").public)
    asyncio.run(auth.ensure_live(token))
    keys.keys = (Key.generate(kid="k2").public,)
    with pytest.raises(UnknownKey):
        asyncio.run(auth.ensure_live(token))


class Exchanged:
    """Keys that are exchanged and put back while a token asks for its own."""

    def __init__(self) -> None:
        self.keys = (Key.generate(kid="k2").public,)
        self.meanwhile: Sequence[Key] = (SIGNING_KEY.public,)

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        return self.meanwhile

    def held(self) -> Sequence[Key]:
        return self.keys


def test_keys_that_were_exchanged_for_a_moment_are_not_taken_for_those_of_today(
    mint: Mint,
) -> None:
    """Else a token of a key that was withdrawn would pass for as long as it lives."""
    keys = Exchanged()
    auth = authenticator(trusted(keys=keys))
    assert auth.authenticate(mint())
    keys.meanwhile = keys.keys
    with pytest.raises(UnknownKey):
        auth.authenticate(mint())


@pytest.mark.parametrize("held", [7, "keys", object()])
def test_a_source_that_says_something_odd_of_its_keys_is_asked_each_time(
    mint: Mint, held: Any
) -> None:
    keys = Exchanged()
    keys.keys = held
    auth = authenticator(trusted(keys=keys))
    assert [auth.authenticate(mint()).subject for _ in range(2)] == ["alice"] * 2
    keys.meanwhile = ()
    with pytest.raises(UnknownKey):
        auth.authenticate(mint())


@pytest.mark.parametrize("fault", [{"exp": -100}, {"nbf": 3600}, {"exp": 10**6}])
def test_no_fault_in_the_dates_hides_one_in_the_audience(
    mint: Mint, fault: dict[str, int]
) -> None:
    """Who revokes a text is told that it is for somebody else."""
    auth = authenticator(store=MemoryStore(clock))
    with pytest.raises(WrongAudience):
        auth.revoke(mint(aud="https://else.example", **fault))


def test_a_refresh_token_sent_as_an_access_token_is_told_to_the_log() -> None:
    app = App()
    with pytest.raises(WrongType, match="send the access token"):
        app.auth.authenticate(app.issuer.issue("alice").refresh_token or "")
