"""Threads for calls that would stop an event loop: a bounded pool for each purpose."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from jwt_middleware import Key, MemoryStore, TokenIssuer
from jwt_middleware.bridge import ask
from jwt_middleware.errors import RevocationsUnavailable, Unavailable
from jwt_middleware.pools import WRITES, Pool

from .carriers import LOOPS, Carry
from .children import in_child
from .conftest import authenticator, mint_token, trusted
from .servers import TIMEOUT_S

SOON_S = 1.0
"""Seconds within which a call that waits for nothing is answered on a busy machine."""


class HangingStore(MemoryStore):
    """A store whose writes hang until *released* is set."""

    def __init__(self, released: threading.Event) -> None:
        super().__init__()
        self._released = released
        self.begun = 0

    def add(self, name: str, at: float, until: float) -> bool:
        self.begun += 1
        assert self._released.wait(TIMEOUT_S)
        return super().add(name, at, until)

    def put(self, name: str, at: float, until: float) -> None:
        self.begun += 1
        assert self._released.wait(TIMEOUT_S)
        super().put(name, at, until)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def _fresh_writes(released: threading.Event) -> Iterator[None]:
    yield
    released.set()
    WRITES.start_anew()


def small(**options: Any) -> Pool:
    return Pool("tests", **{"threads": 1, "waiting": 1, "seconds": 10.0, **options})


def where() -> int:
    return threading.get_ident()


async def until(holds: Any) -> None:
    with anyio.fail_after(TIMEOUT_S):
        while not holds():
            await anyio.sleep(0.001)


@pytest.mark.parametrize("carry", LOOPS)
def test_a_slow_signature_is_checked_at_once_while_the_store_hangs(
    carry: Carry, released: threading.Event
) -> None:
    """More refreshes of one client wait than all pools together have threads."""
    key, store = Key.generate("ES384"), HangingStore(released)
    auth = authenticator(trusted(keys=[key]), store=store)
    issuer = TokenIssuer(
        "https://own.example", audience="api", key=Key.generate(), store=store
    )
    released.set()  # a login asks the store too
    refresh_token = issuer.issue("alice").refresh_token or ""
    released.clear()
    store.begun = 0

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(issuer.arefresh, refresh_token)
            await until(lambda: store.begun == 16)
            began = time.monotonic()
            token = await auth.aauthenticate(mint_token(key=key))
            assert time.monotonic() - began < SOON_S
            assert token["sub"] == "alice"
            group.cancel_scope.cancel()

    carry(main())


@pytest.mark.parametrize("carry", LOOPS)
def test_when_a_queue_is_full_the_answer_is_503_at_once(
    carry: Carry, released: threading.Event
) -> None:
    """And only for the purpose whose queue is full."""
    store = HangingStore(released)
    auth = authenticator(trusted(), store=store)
    refused: list[float] = []

    async def revoke(number: int) -> None:
        began = time.monotonic()
        try:
            await auth.arevoke_jti(f"j{number}")
        except RevocationsUnavailable:
            refused.append(time.monotonic() - began)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for number in range(16 + 256 + 10):
                group.start_soon(revoke, number)
            await until(lambda: len(refused) >= 10)
            assert await ask(where) != threading.get_ident()
            released.set()

    carry(main())
    # The threads that start meanwhile may take a few calls out of the queue.
    assert 10 <= len(refused) <= 26
    assert max(refused) < SOON_S
    assert store.begun + len(refused) == 16 + 256 + 10


@pytest.mark.parametrize("carry", LOOPS)
def test_a_call_that_does_not_end_is_answered_when_its_time_is_up(
    carry: Carry, released: threading.Event
) -> None:
    pool = small(seconds=0.05)
    with pytest.raises(Unavailable, match="tests: no answer within"):
        carry(ask(released.wait, TIMEOUT_S, pool=pool))
    with pytest.raises(Unavailable):
        carry(ask(where, pool=pool))
    released.set()
    assert carry(ask(where, pool=pool)) != threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_a_call_that_nobody_waits_for_takes_no_place_and_is_not_made(
    carry: Carry, released: threading.Event
) -> None:
    """Clients that went away do not keep the others out."""
    pool, made = small(), list[int]()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: ask(released.wait, TIMEOUT_S, pool=pool))
            await until(lambda: pool._threads and not pool._idle and not pool._waiting)
            for number in range(5):
                with anyio.move_on_after(0.01):
                    await ask(made.append, number, pool=pool)
            released.set()
            assert await ask(where, pool=pool) != threading.get_ident()

    carry(main())
    assert made == []


def test_threads_start_as_they_are_needed(released: threading.Event) -> None:
    pool, done = small(threads=3, waiting=10), threading.Semaphore(0)
    for _ in range(5):
        pool.submit(where, done.release)
        assert done.acquire(timeout=TIMEOUT_S)
        while not pool._idle:
            time.sleep(0.001)
    assert pool._threads == 1
    for _ in range(5):
        pool.submit(lambda: released.wait(TIMEOUT_S), done.release)
    assert pool._threads == 3


def test_without_a_thread_the_call_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system has no more of them; a pool that has one goes on with it."""
    pool, done = small(threads=2, waiting=5), threading.Semaphore(0)
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(Unavailable, match="no thread for tests"):
        pool.submit(where, done.release)
    assert (pool._threads, pool._waiting) == (0, 0)
    monkeypatch.setattr(threading.Thread, "start", start)
    may_end = threading.Event()
    pool.submit(lambda: may_end.wait(TIMEOUT_S), done.release)
    while pool._waiting:
        time.sleep(0.001)
    monkeypatch.setattr(threading.Thread, "start", fail)
    pool.submit(where, done.release)
    may_end.set()
    assert all(done.acquire(timeout=TIMEOUT_S) for _ in range(2))


def test_a_job_that_has_begun_cannot_be_given_up(released: threading.Event) -> None:
    pool, done = small(), threading.Semaphore(0)
    job = pool.submit(lambda: released.wait(TIMEOUT_S), done.release)
    while not job.has_begun:
        time.sleep(0.001)
    pool.give_up(job)
    assert not job.is_given_up
    released.set()
    assert done.acquire(timeout=TIMEOUT_S)
    assert job.result() is True


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("carry", LOOPS)
def test_a_forked_child_waits_neither_for_the_lock_nor_for_the_queue_of_its_parent(
    carry: Carry, released: threading.Event
) -> None:
    pool = small(waiting=2)
    for _ in range(2):
        pool.submit(lambda: released.wait(TIMEOUT_S), lambda: None)
    with pool._lock:
        assert in_child(lambda: carry(ask(where, pool=pool)) != threading.get_ident())


class Answer:
    """An answer that can be watched."""


def test_a_thread_that_waits_holds_no_answer() -> None:
    pool, done = small(), threading.Semaphore(0)
    job = pool.submit(Answer, done.release)
    assert done.acquire(timeout=TIMEOUT_S)
    answer = weakref.ref(job.result())
    del job
    while not pool._idle:
        time.sleep(0.001)
    gc.collect()
    assert answer() is None
