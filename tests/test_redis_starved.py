"""A look that reads Redis itself, since the feeding thread has had no turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import count

import pytest

from jwt_middleware.bridge import ask, run
from jwt_middleware.marks import key_of
from jwt_middleware.redis import RedisStore
from jwt_middleware.redis_forms import PACKED, Entry, News
from jwt_middleware.redis_marks import READ_AT_ONCE
from jwt_middleware.replica import Replica, Stale
from jwt_middleware.stream import MOST_POLLS, Stream

from .conftest import ISSUER, authenticator, mint_token
from .doors import Door
from .store_suite import NOW, Clock

STALENESS_S = 5.0
EPOCH = b"0123456789abcdef"


def entries(*names: str) -> Sequence[Entry]:
    numbers = count(1)
    return [
        (b"%d-0" % next(numbers), {b"mark": PACKED.pack(key_of(name), 7.0, NOW + 100)})
        for name in names
    ]


class Answers:
    """Redis, as far as a look reads it; says what a test wants."""

    def __init__(self) -> None:
        self.news: Iterator[News] = iter(())
        self.after: list[bytes] = []

    def say(self, *batches: Sequence[Entry], is_same: bool = True) -> None:
        """Answer the next readings with *batches*."""
        self.news = iter([News(one, is_same, True, False) for one in batches])

    def read(self, after: bytes, epoch: bytes, wait_s: float = 0) -> News:
        self.after.append(after)
        return next(self.news)


class Starved:
    """A store whose feeding thread made the first copy, and never runs again."""

    def __init__(self) -> None:
        self.there, self.clock = Answers(), Clock(50.0)
        self.stream = Stream(self.there, 1.0)  # type: ignore[arg-type]
        self.replica = Replica(
            self.stream,
            max_staleness=STALENESS_S,
            passes_stale=False,
            now=Clock(),
            clock=self.clock,
        )
        self.replica._thread = object()  # type: ignore[assignment]
        self.stream._epoch, self.stream._last = EPOCH, b"0-1"
        self.stream._is_complete = True
        self.replica.confirm(self.clock())
        self.clock.now += STALENESS_S + 1

    def look(self, *names: str) -> Sequence[float | None]:
        answer: Sequence[float | None] = run(ask(self.replica.look, names))
        return answer


@pytest.fixture
def starved() -> Starved:
    return Starved()


def test_a_look_takes_over_what_was_put_meanwhile(starved: Starved) -> None:
    """And the thread reads on later from where it was."""
    starved.there.say(entries("a"))
    assert starved.look("a", "b") == [7.0, None]
    assert starved.look("a") == [7.0], "the copy is new enough again"
    assert starved.there.after == [b"0-1"]
    assert starved.stream._last == b"0-1"


def test_a_look_reads_on_until_it_has_everything(starved: Starved) -> None:
    full = entries(*(f"{number}" for number in range(READ_AT_ONCE)))
    starved.there.say(full, entries("last"))
    assert starved.look("0", "last") == [7.0, 7.0]
    assert starved.there.after == [b"0-1", b"%d-0" % READ_AT_ONCE]


def test_a_look_that_finds_no_end_leaves_it_to_the_thread(starved: Starved) -> None:
    """It does not answer by what may lack something."""
    full = [(b"1-0", {b"mark": b"none"})] * READ_AT_ONCE
    starved.there.say(*[full] * (MOST_POLLS + 1))
    with pytest.raises(Stale):
        starved.look("a")
    assert len(starved.there.after) == MOST_POLLS


def test_a_redis_that_has_begun_anew_is_not_read_on(
    starved: Starved, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread makes a new copy, and looks ask no more until it has."""
    starved.there.say(entries("a"), is_same=False)
    for _ in range(2):
        with pytest.raises(Stale):
            starved.look("a")
    assert len(starved.there.after) == 1
    assert "Redis has lost entries" in caplog.text


@pytest.mark.parametrize("lacks", ["_epoch", "_is_complete"])
def test_without_a_complete_copy_a_look_does_not_make_one(
    starved: Starved, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Others may still be giving back what Redis has lost."""
    caplog.set_level(logging.DEBUG)
    setattr(starved.stream, lacks, type(getattr(starved.stream, lacks))())
    starved.there.say(entries("b"))
    with pytest.raises(Stale):
        starved.look("a")
    assert caplog.text == ""


def test_a_look_of_a_starved_worker_refuses_what_is_revoked(
    starved: Starved, door: Door
) -> None:
    store = RedisStore("redis://127.0.0.1:1")
    store._replica = starved.replica
    lock = door.behind(authenticator(store=store))
    mark = PACKED.pack(key_of(f"sub {ISSUER} eve"), 4e9, 5e9)
    starved.there.say([(b"1-0", {b"mark": mark})])
    assert lock.get(bearer=mint_token(sub="eve")).status == 401
    assert lock.get(bearer=mint_token(sub="alice")).status == 200
