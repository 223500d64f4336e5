"""Where sessions end, there they are looked up: another store is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, TokenIssuer, TrustedIssuer
from jwt_middleware.session_cookies import SessionCookies
from jwt_middleware.sqlite import SQLiteStore

KEY = Key.generate()
Make = Callable[[Path], Any]


class Wrapped:
    """A store of somebody's own, which says nothing of its place."""

    def __init__(self, inner: Any) -> None:
        self.add, self.put, self.look = inner.add, inner.put, inner.look


def redis(url: str, **options: Any) -> Make:
    def make(_: Path) -> Any:
        module = pytest.importorskip("redis", reason="needs redis")
        assert module
        from jwt_middleware.redis import RedisStore

        return RedisStore(url, **options)

    return make


def sqlite(name: str) -> Make:
    return lambda folder: SQLiteStore(folder / name)


def memory(_: Path) -> Any:
    return MemoryStore()


def nothing(_: Path) -> Any:
    return None


SAME: Sequence[tuple[Make, Make]] = (
    (sqlite("a.db"), sqlite("a.db")),
    (sqlite("a.db"), sqlite("../x/a.db")),
    (redis("redis://h/1"), redis("redis://h:6379/1")),
    (redis("redis://h/1"), redis("redis://user:word@h/1", max_staleness=9)),
    (redis("unix:///run/r"), redis("unix:///run/r")),
    (redis("redis+cluster://a,b"), redis("redis+cluster://b,a")),
    (nothing, memory),  # there are no sessions
    (memory, lambda _: Wrapped(MemoryStore())),  # nobody knows
    (lambda _: Wrapped(MemoryStore()), memory),
)
ELSEWHERE: Sequence[tuple[Make, Make]] = (
    (memory, nothing),
    (memory, memory),
    (memory, sqlite("a.db")),
    (sqlite("a.db"), nothing),
    (sqlite("a.db"), sqlite("b.db")),
    (sqlite("a.db"), redis("redis://h/1")),
    (redis("redis://h/1"), redis("redis://h/2")),
    (redis("redis://h/1"), redis("redis://other/1")),
    (redis("redis://h/1"), redis("redis://h/1", prefix="other")),
    (redis("unix:///run/r"), redis("unix:///run/q")),
    (lambda _: Wrapped(MemoryStore()), nothing),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "x").mkdir()
    return tmp_path / "x"


def issuer_with(store: Any) -> TokenIssuer:
    return TokenIssuer("https://app.example", audience="app", key=KEY, store=store)


@pytest.mark.parametrize(("ends_in", "asked"), SAME)
def test_an_authenticator_with_the_store_of_the_sessions_is_made(
    ends_in: Make, asked: Make, folder: Path
) -> None:
    assert Authenticator(issuer_with(ends_in(folder)).trusted(), store=asked(folder))


@pytest.mark.parametrize(("ends_in", "asked"), ELSEWHERE)
def test_an_authenticator_that_no_end_of_a_session_reaches_is_refused(
    ends_in: Make, asked: Make, folder: Path
) -> None:
    issuer = issuer_with(ends_in(folder))
    with pytest.raises(ValueError, match=r"live on here; write store=store in both"):
        Authenticator(issuer.trusted(), store=asked(folder))


def test_the_same_object_is_always_the_store_of_the_sessions() -> None:
    for store in (MemoryStore(), Wrapped(MemoryStore())):
        assert Authenticator(issuer_with(store).trusted(), store=store)


def test_the_message_shows_no_password_and_no_mark() -> None:
    pytest.importorskip("redis", reason="needs redis")
    from jwt_middleware.redis import RedisStore

    issuer = issuer_with(RedisStore("redis://user:pass-word@h/1"))
    with pytest.raises(ValueError, match="RedisStore") as caught:
        Authenticator(issuer.trusted(), store=MemoryStore())
    assert "pass-word" not in str(caught.value)


@pytest.mark.parametrize("asked", [nothing, memory])
def test_cookies_whose_sessions_end_elsewhere_are_refused(
    asked: Make, folder: Path
) -> None:
    """Also if the issuer was described by hand, and says nothing of its store."""
    cookies = SessionCookies(issuer_with(MemoryStore()))
    trusted = TrustedIssuer("https://app.example", audience="app", keys=[KEY.public])
    with pytest.raises(ValueError, match="SessionCookies"):
        Authenticator(trusted, sources=(cookies,), store=asked(folder))


def test_two_issuers_with_a_store_each_need_one_that_both_write() -> None:
    stores = MemoryStore(), MemoryStore()
    first = issuer_with(stores[0]).trusted()
    second = TokenIssuer(
        "https://b.example", audience="app", key=KEY, store=stores[1]
    ).trusted()
    for store in stores:
        with pytest.raises(ValueError, match="write store=store"):
            Authenticator(first, second, store=store)
