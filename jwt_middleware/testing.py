"""What any store must do, for the tests of your own.

    from jwt_middleware.testing import Clock, StoreSuite

    class TestMyStore(StoreSuite):
        def open(self, now):
            return MyStore(now=now)

It needs pytest, which the package itself does not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from .bridge import ask, run
from .store import Store

NOW = 3_000_000_000.0
"""In the year 2065: stores whose servers have a clock end nothing before."""
THREADS = 16
AHEAD_S = 30 * 3600.0
"""More than a day, and not a whole number of them."""


class Clock:
    """A wall clock that a test turns on."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class StoreSuite:
    """The contract of `jwt_middleware.store.Store`, for the store that `open` makes.

    A store whose methods are coroutines, or whose marks end by another clock, says
    so by overriding `call` or `pass_time`.
    """

    def open(self, now: Callable[[], float]) -> Store:
        """An empty store that takes the time from *now*."""
        raise NotImplementedError

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        return run(ask(method, *args))

    def pass_time(self, clock: Clock, seconds: float) -> None:
        clock.now += seconds

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def store(self, clock: Clock) -> Store:
        return self.open(clock)

    def look(self, store: Store, *names: str) -> Sequence[float | None]:
        return list(self.call(store.look, names))

    def test_a_mark_is_seen_with_its_date(self, store: Store) -> None:
        self.call(store.put, "a", NOW - 0.5, NOW + 10)
        assert self.look(store, "a") == [NOW - 0.5]

    def test_answers_come_in_the_order_of_the_names(self, store: Store) -> None:
        self.call(store.put, "a", 1.0, NOW + 10)
        assert self.call(store.add, "b", 2.0, NOW + 10) is True
        assert self.look(store, "x", "b", "a", "b", "y") == [None, 2.0, 1.0, 2.0, None]
        assert self.look(store) == []

    def test_names_are_compared_octet_by_octet(self, store: Store) -> None:
        names = [
            "jti i 1",
            "jti i  1",
            "JTI i 1",
            "jti i 1 ",
            "jti i *",
            "é",
            "e\u0301",
        ]
        names += ["a:b", "a\nb", "a\x00b", "'; --", "x" * 5000, ""]
        for at, name in enumerate(names):
            assert self.call(store.add, name, float(at), NOW + 10) is True
        assert self.look(store, *names) == [float(at) for at in range(len(names))]

    def test_a_second_add_fails_and_changes_nothing(self, store: Store) -> None:
        assert self.call(store.add, "a", 1.0, NOW + 10) is True
        assert self.call(store.add, "a", 2.0, NOW + 99) is False
        assert self.look(store, "a") == [1.0]

    def test_an_add_fails_after_a_put(self, store: Store) -> None:
        self.call(store.put, "a", 1.0, NOW + 10)
        assert self.call(store.add, "a", 2.0, NOW + 10) is False

    def test_an_add_that_has_ended_only_asks(self, store: Store) -> None:
        assert self.call(store.add, "a", 0.0, 0.0) is True
        assert self.call(store.add, "a", 1.0, NOW + 10) is True
        assert self.call(store.add, "a", 0.0, 0.0) is False
        assert self.look(store, "a") == [1.0]

    def test_a_mark_ends(self, store: Store, clock: Clock) -> None:
        """At its end, not after it; then the name is free."""
        self.call(store.put, "a", 1.0, NOW + 10)
        self.call(store.add, "b", 1.0, NOW + 20)
        self.pass_time(clock, 9)
        assert self.look(store, "a", "b") == [1.0, 1.0]
        self.pass_time(clock, 1)
        assert self.look(store, "a", "b") == [None, 1.0]
        assert self.call(store.add, "b", 2.0, NOW + 99) is False
        assert self.call(store.add, "a", 2.0, NOW + 99) is True
        assert self.look(store, "a", "b") == [2.0, 1.0]

    def test_a_put_on_a_mark_that_ended_starts_anew(
        self, store: Store, clock: Clock
    ) -> None:
        """What ended says nothing any more, not even by its later date."""
        self.call(store.put, "a", 7.0, NOW + 10)
        self.pass_time(clock, 10)
        self.call(store.put, "a", 3.0, NOW + 20)
        assert self.look(store, "a") == [3.0]

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_two_puts_the_later_date_and_end_remain(
        self, store: Store, clock: Clock, turned: bool
    ) -> None:
        """Whichever comes last: no race takes back what one of them revoked."""
        puts = [(5.0, NOW + 10), (3.0, NOW + 30)]
        for at, until in reversed(puts) if turned else puts:
            self.call(store.put, "a", at, until)
        assert self.look(store, "a") == [5.0]
        self.pass_time(clock, 29)
        assert self.look(store, "a") == [5.0]
        self.pass_time(clock, 1)
        assert self.look(store, "a") == [None]

    def test_a_put_prolongs_what_was_added(self, store: Store, clock: Clock) -> None:
        self.call(store.add, "a", 5.0, NOW + 10)
        self.call(store.put, "a", 3.0, NOW + 30)
        self.pass_time(clock, 20)
        assert self.look(store, "a") == [5.0]

    def test_a_mark_may_never_end(self, store: Store, clock: Clock) -> None:
        """An issuer without ``max_lifetime`` asks for that."""
        self.call(store.put, "a", 5.0, float("inf"))
        self.call(store.put, "a", 3.0, NOW + 1)
        self.pass_time(clock, 10)
        assert self.look(store, "a") == [5.0]

    def test_a_mark_in_the_past_is_none(self, store: Store) -> None:
        self.call(store.put, "a", 5.0, NOW)
        assert self.look(store, "a") == [None]
        assert self.call(store.add, "a", 5.0, NOW + 1) is True

    def test_a_clock_that_was_ahead_for_a_while_ends_nothing(
        self, store: Store, clock: Clock
    ) -> None:
        """A machine that resumes may be hours ahead until its clock is put right.

        What was revoked stays revoked and what was used stays used, also if the store
        was written to meanwhile, which is when many stores drop what has ended.
        """
        self.call(store.put, "revoked", 1.0, NOW + 10)
        self.call(store.add, "used", 2.0, NOW + 10)
        clock.now += AHEAD_S
        for number in range(40):
            self.call(store.put, f"other {number}", 3.0, NOW + AHEAD_S + 10)
            self.call(store.add, f"another {number}", 3.0, NOW + AHEAD_S + 10)
            self.look(store, "revoked", "used")
        clock.now -= AHEAD_S
        assert self.call(store.add, "used", 4.0, NOW + 10) is False
        assert self.look(store, "revoked", "used") == [1.0, 2.0]

    def test_one_of_many_adds_at_a_time_succeeds(self, store: Store) -> None:
        """Atomic: a proof that is replayed in the same instant is seen once."""
        for name in ("a", "b", "c"):
            add = partial(self.call, store.add, name, 1.0, NOW + 9)
            answers = at_once(add)
            assert sorted(answers) == [False] * (THREADS - 1) + [True]

    def test_of_many_puts_at_a_time_the_latest_remains(self, store: Store) -> None:
        dates = iter(range(THREADS))
        at_once(lambda: self.call(store.put, "a", float(next(dates)), NOW + 9))
        assert self.look(store, "a") == [float(THREADS - 1)]


def at_once(work: Callable[[], Any], count: int = THREADS) -> list[Any]:
    """What *work* returned in each of *count* threads that began together."""
    barrier, answers = threading.Barrier(count), []

    def begin() -> None:
        barrier.wait()
        answers.append(work())

    threads = [threading.Thread(target=begin) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
