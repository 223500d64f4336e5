"""What may happen to Redis, and to the way there.

In no case is a revoked token accepted for longer than was promised, does an event
loop stand still, or a request hang.  Each test has a server of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count, islice
from multiprocessing.connection import Connection
from typing import Any

import pytest
import redis

from jwt_middleware import (
    Authenticator,
    Key,
    TokenIssuer,
    healing,
    redis_marks,
    stream,
)
from jwt_middleware.bridge import ask, run
from jwt_middleware.errors import RevocationsUnavailable, TokenRevoked
from jwt_middleware.healing import HEALED_AT_ONCE
from jwt_middleware.marks import Mark, key_of
from jwt_middleware.redis import RedisStore
from jwt_middleware.redis_forms import PACKED
from jwt_middleware.replica import Stale

from .children import child, in_child
from .doors import DOORS, Door
from .redis_groups import Cluster, Replication, SentinelSet
from .redis_proxy import Proxy
from .redis_server import RedisServer, eventually

ISSUER = TokenIssuer("https://issuer.example", audience="api", key=Key.generate())
STALENESS_S = 3.0
NOTICED_S = 3.5
"""Until silence is taken for what it is: a second to be expected, and 1.5 beyond."""
PUT_S = 2.5
"""A put has failed by then: a second to connect, and one for the answer."""
LAG_S = 0.25
"""Of a loop that is not blocked, on a machine that is busy."""
ANSWERED_S = 1.0
"""A request is, that waits for nobody."""
BEGIN_S = 2.2
"""For which a first look waits, at most."""
LIFE_S = 3600
LOG, SETS, EPOCH, OWED = (
    f"{{jwt_middleware}}:{name}" for name in ("log", "sets", "epoch", "owed")
)
NIL = b"$-1\r\n"
"""In the second version of the protocol, which the store speaks."""

Open = Callable[..., RedisStore]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens stores, and closes them when the servers have ended."""
    stores: list[RedisStore] = []

    def open_one(url: str, **options: Any) -> RedisStore:
        stores.append(RedisStore(url, **{"max_staleness": STALENESS_S, **options}))
        return stores[-1]

    yield open_one
    with ThreadPoolExecutor(max(len(stores), 1)) as pool:
        list(pool.map(RedisStore.close, stores))


@pytest.fixture
def server(opened: Open) -> Iterator[RedisServer]:
    """Used before, so that no worker waits for others that may hold entries."""
    with RedisServer() as server:
        server.command("SET", EPOCH, "first")
        server.command("ZADD", SETS, "+inf", "whole:first")
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server) as proxy:
        yield proxy


@pytest.fixture
def replication(opened: Open) -> Iterator[Replication]:
    with Replication() as replication:
        yield replication


def look(store: RedisStore, *names: str) -> Sequence[float | None]:
    return list(run(ask(store.look, names)))


def is_stale(store: RedisStore) -> bool:
    try:
        look(store, "a")
    except Stale:
        return True
    return False


def sees(store: RedisStore, *names: str) -> Callable[[], bool]:
    """Whether it does by now."""

    def does() -> bool:
        with suppress(Stale):
            return None not in look(store, *names)
        return False

    return does


def put(store: RedisStore, *names: str) -> None:
    for name in names:
        store.put(name, 1.0, time.time() + LIFE_S)


def names(number: int, prefix: str = "name") -> list[str]:
    return [f"{prefix} {turn}" for turn in range(number)]


def marks(names: Sequence[str]) -> Iterator[Mark]:
    until = time.time() + LIFE_S
    return ((key_of(name), 1.0, until) for name in names)


def put_in_bulk(store: RedisStore, names: Sequence[str]) -> None:
    """By the thousand, as one of its threads heals."""
    owed = marks(names)
    while batch := list(islice(owed, 1000)):
        store._there.put(batch)


def guarding(store: RedisStore) -> Authenticator:
    return Authenticator(ISSUER.trusted(), store=store)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"{what} took {took:.2f} s"


def ensure_all_arrive(store: RedisStore, names: Sequence[str], what: str) -> float:
    """Seconds until *store* sees all of *names*."""
    began = time.monotonic()
    eventually(sees(store, *names), what)
    return time.monotonic() - began


# Silence


def through(doors: Sequence[Door], bearer: str) -> list[int]:
    """The statuses by each door; none may wait."""
    statuses = []
    for door in doors:
        with within(ANSWERED_S, door.name):
            answer = door.get(bearer=bearer)
        statuses.append(answer.status)
        assert (answer.status == 503) == (answer.header("retry-after") is not None)
        assert answer.entered == (answer.status == 200)
    return statuses


@pytest.mark.parametrize("fault", [RedisServer.kill, RedisServer.freeze])
def test_a_request_passes_until_the_copy_is_too_old_and_is_then_told_to_come_again(
    server: RedisServer,
    opened: Open,
    fault: Callable[[RedisServer], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503 with Retry-After by both doors; 401 would log everybody out."""
    caplog.set_level(logging.INFO)
    auth = guarding(opened(server.url))
    doors = [door(auth) for door in DOORS]
    good, bad = (ISSUER.issue(name).access_token for name in ("alice", "eve"))
    auth.revoke(bad)
    assert (through(doors, good), through(doors, bad)) == ([200, 200], [401, 401])
    fault(server)
    began, noticed = time.monotonic(), 0.0
    while (asked := time.monotonic() - began) < STALENESS_S + 0.5:
        statuses = through(doors, good)
        assert asked < STALENESS_S or statuses == [503, 503], f"after {asked:.2f} s"
        assert set(through(doors, bad)) <= {401, 503}
        if "marks are not fed" in caplog.text and not noticed:
            noticed = asked
        time.sleep(0.02)
    assert 0 < noticed < NOTICED_S
    if fault is RedisServer.freeze:
        server.thaw()
    else:
        server.restart()
    eventually(lambda: through(doors, good) == [200, 200], "it is well again")
    assert through(doors, bad) == [401, 401]
    assert "marks are fed again" in caplog.text


class Beat:
    """How long an event loop stood still at most."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.monotonic() - began - 0.005)


@asynccontextmanager
async def heartbeat() -> AsyncIterator[Beat]:
    beat = Beat()
    beating = asyncio.create_task(beat.run())
    yield beat
    beating.cancel()
    assert beat.longest < LAG_S


async def ensure_served(
    auth: Authenticator, bearer: str, seconds: float
) -> list[tuple[float, bool]]:
    """Ask all the time; when, and whether it was let pass."""
    began, answers = time.monotonic(), []
    while (asked := time.monotonic() - began) < seconds:
        with within(ANSWERED_S, "an answer"):
            try:
                await auth.aauthenticate(bearer)
            except RevocationsUnavailable:
                answers.append((asked, False))
            else:
                answers.append((asked, True))
        await asyncio.sleep(0.01)
    return answers


def test_no_event_loop_stands_still_while_redis_does(
    server: RedisServer, opened: Open
) -> None:
    """Requests are answered all the while, and a revocation fails in good time."""
    auth = guarding(opened(server.url))
    good, bad = (ISSUER.issue(name).access_token for name in ("alice", "eve"))

    async def main() -> None:
        await auth.aauthenticate(good)
        async with heartbeat():
            server.freeze()
            serving = ensure_served(auth, good, STALENESS_S + 0.5)
            serve = asyncio.create_task(serving)
            with within(PUT_S, "a put"), pytest.raises(RevocationsUnavailable):
                await auth.arevoke(bad)
            answers = await serve
            server.thaw()
            while not await _is_served(auth, good):
                await asyncio.sleep(0.02)
        assert answers[0][1]
        assert not any(passed for asked, passed in answers if asked > STALENESS_S)

    asyncio.run(main())


async def _is_served(auth: Authenticator, bearer: str) -> bool:
    try:
        await auth.aauthenticate(bearer)
    except RevocationsUnavailable:
        return False
    return True


@pytest.mark.parametrize("fault", [Proxy.refuse, Proxy.blackhole])
def test_a_worker_that_begins_without_redis_answers_in_good_time(
    proxy: Proxy, opened: Open, fault: Callable[[Proxy], None]
) -> None:
    """100 requests at once wait for the first copy, no longer than it may be old."""
    fault(proxy)
    auth = guarding(opened(proxy.url, max_staleness=BEGIN_S))
    bearer = ISSUER.issue("alice").access_token

    async def main() -> None:
        async with heartbeat():
            asked = [_is_served(auth, bearer) for _ in range(100)]
            with within(BEGIN_S + ANSWERED_S, "100 answers"):
                assert not any(await asyncio.gather(*asked))

    asyncio.run(main())
    proxy.let_pass()
    eventually(lambda: asyncio.run(_is_served(auth, bearer)), "it is well again")


def test_a_put_that_failed_while_redis_stood_still_can_be_done_again(
    server: RedisServer, opened: Open
) -> None:
    """It may have been done all the same, which is the safe side."""
    ours, theirs = opened(server.url), opened(server.url)
    put(ours, "before")
    eventually(sees(theirs, "before"), "the mark arrives")
    server.freeze()
    with within(PUT_S, "a put"), pytest.raises(redis.TimeoutError):
        put(ours, "a")
    with within(PUT_S, "an add"), pytest.raises(redis.TimeoutError):
        ours.add("b", 1.0, time.time() + LIFE_S)
    server.thaw()
    put(ours, "a")
    assert look(ours, "a") == [1.0]
    eventually(sees(theirs, "a"), "the mark arrives")


@pytest.mark.parametrize(
    "fault", [Proxy.blackhole, Proxy.refuse, Proxy.lose_answers, Proxy.half]
)
def test_a_put_that_is_not_answered_raises_in_good_time(
    proxy: Proxy, opened: Open, fault: Callable[[Proxy], None]
) -> None:
    """And can be done again."""
    store = opened(proxy.url)
    put(store, "before")
    fault(proxy)
    for name in ("a", "b"):
        with within(PUT_S, "a put"), pytest.raises(redis.RedisError):
            put(store, name)
    proxy.let_pass()
    put(store, "a", "b")
    assert look(store, "before", "a", "b") == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("said", [NIL, b"+OK\r\n", b":0\r\n", b"*0\r\n"])
def test_a_put_succeeds_by_its_own_answer_only(
    proxy: Proxy, opened: Open, said: bytes
) -> None:
    """Something that says yes to everything has revoked nothing."""
    auth = guarding(opened(proxy.url))
    proxy.answer(said)
    with pytest.raises(RevocationsUnavailable):
        auth.revoke(ISSUER.issue("eve").access_token)


NONSENSE = (NIL, b"+OK\r\n", b":0\r\n", b"*0\r\n", b"?\r\n", b"HTTP/1.1 200 OK\r\n\r\n")


def test_nonsense_is_no_news_for_a_worker_that_runs(
    server: RedisServer, opened: Open
) -> None:
    """All kinds at the same time, and half of each answer."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(server)) for _ in (*NONSENSE, "half")]
        stores = [opened(proxy.url, max_staleness=2.5) for proxy in proxies]
        assert not any(is_stale(store) for store in stores)
        for proxy, said in zip(proxies, NONSENSE, strict=False):
            proxy.answer(said)
        proxies[-1].half()
        began = time.monotonic()
        eventually(lambda: all(is_stale(store) for store in stores), "silence")
        assert time.monotonic() - began < 2.5 + ANSWERED_S
        for proxy in proxies:
            proxy.let_pass()
        eventually(lambda: not any(is_stale(store) for store in stores), "all is well")


@pytest.mark.parametrize("said", NONSENSE)
def test_nonsense_is_no_copy_for_a_worker_that_begins(
    proxy: Proxy, opened: Open, said: bytes
) -> None:
    proxy.answer(said)
    assert is_stale(opened(proxy.url, max_staleness=0.5))


# What to do when nothing is heard


def test_who_would_rather_go_on_passes_by_what_is_held(
    server: RedisServer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """on_stale="allow": logged each time, and what was revoked stays so."""
    auth = guarding(opened(server.url, max_staleness=2.2, on_stale="allow"))
    doors = [door(auth) for door in DOORS]
    good, bad = (ISSUER.issue(name).access_token for name in ("alice", "eve"))
    auth.revoke(bad)
    assert through(doors, good) == [200, 200]
    server.kill()
    eventually(
        lambda: through(doors, good) and "passed by marks" in caplog.text, "it is stale"
    )
    caplog.clear()
    assert (through(doors, good), through(doors, bad)) == ([200, 200], [401, 401])
    assert caplog.text.count("passed by marks") == 4
    with pytest.raises(RevocationsUnavailable):
        auth.revoke(good)
    assert through(doors, good) == [200, 200]


def test_who_would_rather_go_on_begins_without_redis(
    proxy: Proxy, opened: Open
) -> None:
    proxy.refuse()
    auth = guarding(opened(proxy.url, max_staleness=0.5, on_stale="allow"))
    assert auth.authenticate(ISSUER.issue("alice").access_token).subject == "alice"


# Redis forgets


@pytest.mark.parametrize(
    "forget", [RedisServer.restart, lambda server: server.command("FLUSHALL")]
)
def test_what_redis_lost_is_given_back_by_one_of_the_workers(
    server: RedisServer, opened: Open, forget: Callable[[RedisServer], object]
) -> None:
    """They keep what they hold; a worker that begins later sees all of it."""
    stores = [opened(server.url) for _ in range(3)]
    held = names(3 * HEALED_AT_ONCE)
    put_in_bulk(stores[0], held)
    for store in stores:
        eventually(sees(store, *held), "the marks arrive")
    forget(server)
    assert all(sees(store, *held)() for store in stores)
    eventually(lambda: _size(server) >= len(held), "the marks are back")
    later = opened(server.url)
    took = ensure_all_arrive(later, held, "a later worker sees all")
    assert took < STALENESS_S
    time.sleep(1.5)  # for those who would write them again
    assert _size(server) == len(held), "only one gives them back"
    assert all(sees(store, *held)() for store in stores)


def _size(server: RedisServer) -> int:
    """Entries of the log."""
    with suppress(redis.ConnectionError):
        return int(str(server.command("XLEN", LOG)))
    return 0


def test_what_redis_lost_is_given_back_also_while_others_write(
    server: RedisServer, opened: Open
) -> None:
    """Who reads without a pause must notice, too."""
    ours, busy = opened(server.url), opened(server.url)
    held = names(10)
    put(ours, *held)
    assert sees(busy, *held)()
    server.command("FLUSHALL")
    later = opened(server.url)
    ends = time.monotonic() + 3 * STALENESS_S
    turns = count()
    while time.monotonic() < ends and not sees(later, *held)():
        put(busy, f"other {next(turns)}")
        time.sleep(0.1)
    assert sees(later, *held)()


def test_what_was_given_back_in_vain_is_given_again(
    server: RedisServer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis comes back empty, and for a moment refuses what a worker writes."""
    store = opened(server.url)
    held = names(2 * HEALED_AT_ONCE + 1)
    put_in_bulk(store, held)
    eventually(sees(store, *held), "the marks arrive")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-eval")
        client.execute_command("FLUSHALL")
    eventually(lambda: "NoPermission" in caplog.text, "it tries in vain")
    server.command("ACL", "SETUSER", "default", "+eval")
    ensure_all_arrive(opened(server.url), held, "a later worker sees all")


@pytest.mark.parametrize(
    "forget", [RedisServer.restart, lambda server: server.command("FLUSHALL")]
)
@pytest.mark.parametrize("write", [RedisStore.add, RedisStore.put])
def test_a_name_that_a_worker_knows_is_never_new_to_it_again(
    server: RedisServer,
    opened: Open,
    forget: Callable[[RedisServer], object],
    write: Callable[..., object],
) -> None:
    """As a refresh token that was used, whatever Redis has lost since."""
    store, until = opened(server.url), time.time() + LIFE_S
    write(store, "used", 7.0, until)
    forget(server)
    assert not store.add("used", 8.0, until)
    assert look(store, "used") == [7.0]


def test_a_child_gives_back_what_its_parent_had_not(
    server: RedisServer, opened: Open
) -> None:
    """The parent may end first, as that of a server that goes into the background."""
    ours = opened(server.url)
    put(ours, "a")
    eventually(sees(ours, "a"), "the mark arrives")
    mark = b"{jwt_middleware}:mark:" + key_of("a")
    ours.close()
    lose_sets(server)
    server.command("DEL", mark)
    ours._stream._debts.are_owed = True

    def in_fork() -> bool:
        eventually(sees(ours, "a"), "the child reads")
        eventually(lambda: server.command("EXISTS", mark), "it gives the mark back")
        eventually(lambda: not server.command("EXISTS", OWED), "and says so")
        return True

    assert in_child(in_fork)
    eventually(sees(opened(server.url), "a"), "a later worker sees it")


def lose_sets(server: RedisServer) -> None:
    sets: Any = server.command("KEYS", "*:set:*")
    server.command("DEL", *sets)


LOSSES: dict[str, Callable[[RedisServer], object]] = {
    "restart": RedisServer.restart,
    "flush": lambda server: server.command("FLUSHALL"),
    "sets": lose_sets,
    "index": lambda server: server.command("DEL", SETS),
    "epoch": lambda server: server.command("DEL", EPOCH),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_worker_that_begins_while_entries_are_given_back_lets_none_of_them_in(
    server: RedisServer, opened: Open, loss: str
) -> None:
    """It says that it is stale, or what was revoked; and in the end what was."""
    ours, held = opened(server.url), names(5 * HEALED_AT_ONCE)
    put_in_bulk(ours, held)
    eventually(sees(ours, *held), "the marks arrive")
    LOSSES[loss](server)
    later, answers = opened(server.url), list[float | None]()

    def has_all() -> bool:
        with suppress(Stale):
            answers.extend(look(later, *held))
        return bool(answers)

    eventually(has_all, "the later worker is fresh")
    assert set(answers) == {1.0}


def test_a_new_worker_waits_for_one_that_is_far_away_and_notices_a_loss_late(
    server: RedisServer, proxy: Proxy, opened: Open
) -> None:
    """With the longest pause between two readings, of which all lies ahead."""
    ours = opened(proxy.url, max_staleness=5.0)
    put(ours, "revoked")
    eventually(sees(ours, "revoked"), "the mark arrives")
    proxy.delay(0.05)
    with server.client() as client:

        def is_waiting() -> bool:
            return any("b" in one["flags"] for one in client.client_list())

        eventually(is_waiting, "our worker reads")
        eventually(lambda: not is_waiting(), "it has read")
        eventually(is_waiting, "it reads again")
        client.flushall()
    later, answers = opened(server.url, max_staleness=5.0), list[float | None]()

    def is_fresh() -> bool:
        with suppress(Stale):
            answers.extend(look(later, "revoked"))
        return bool(answers)

    eventually(is_fresh, "the later worker is fresh")
    assert answers == [1.0]


def test_a_set_that_was_lost_and_is_written_again_does_not_look_whole(
    server: RedisServer, opened: Open
) -> None:
    ours = opened(server.url)
    put(ours, "a")
    eventually(sees(ours, "a"), "the mark arrives")
    lose_sets(server)
    put(ours, "b")
    eventually(sees(opened(server.url), "a", "b"), "a later worker sees both")


@pytest.mark.parametrize("staleness", [0.5, 5.0])
def test_a_first_start_on_an_empty_redis_is_soon_of_use(
    server: RedisServer, opened: Open, staleness: float
) -> None:
    server.command("FLUSHALL")
    store = opened(server.url, max_staleness=staleness)
    began = time.monotonic()
    eventually(lambda: not is_stale(store), "it is fresh")
    assert time.monotonic() - began < 2.0
    later = opened(server.url, max_staleness=staleness)
    with within(ANSWERED_S, "the first look of a second worker"):
        assert look(later, "a") == [None]


def test_no_name_is_new_while_entries_are_given_back(
    server: RedisServer, opened: Open
) -> None:
    """A refresh token that another worker saw used, or a proof."""
    ours, until = opened(server.url), time.time() + LIFE_S
    assert look(ours, "a") == [None]
    server.command("SET", EPOCH, "another")
    with pytest.raises(ConnectionError):
        ours.add("used", 1.0, until)
    eventually(lambda: _adds(ours, "used"), "all is given back")
    server.command("SADD", OWED, "somebody")
    with pytest.raises(ConnectionError):
        opened(server.url).add("another", 1.0, until)
    assert not opened(server.url).add("used", 1.0, until), "that much is known"


def _adds(store: RedisStore, name: str) -> bool:
    with suppress(ConnectionError):
        return store.add(name, 1.0, time.time() + LIFE_S)
    return False


@pytest.mark.parametrize(("away_s", "staleness"), [(0.03, 0.5), (0.08, 0.5), (0.15, 1)])
def test_a_redis_that_is_far_away_is_not_taken_for_a_silent_one(
    proxy: Proxy, opened: Open, away_s: float, staleness: float
) -> None:
    """0.5 is the shortest staleness that may be asked for."""
    store = opened(proxy.url, max_staleness=staleness)
    proxy.delay(away_s)
    eventually(lambda: not is_stale(store), "the first copy")

    def is_old() -> bool:
        return time.monotonic() - store._replica.as_of > staleness

    eventually(lambda: not is_old(), "the first reading, since the copy takes long")
    ends = time.monotonic() + 2.0
    stale = 0
    while time.monotonic() < ends:
        stale += is_old()
        time.sleep(0.005)
    assert stale == 0


# The way there


def stats(server: RedisServer, command: str) -> int:
    with server.client() as client:
        told = client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})
        return int(told["calls"])


def test_a_reader_that_was_cut_off_goes_on_where_it_was(
    server: RedisServer, proxy: Proxy, opened: Open
) -> None:
    """Nothing that was put meanwhile is missed, and nothing is read twice."""
    ours, theirs = opened(proxy.url), opened(server.url)
    put(theirs, *names(100, "before"))
    eventually(sees(ours, *names(100, "before")), "the marks arrive")
    reloads = stats(server, "zrange")
    for turn in range(3):
        proxy.refuse()
        put(theirs, *names(100, f"meanwhile {turn}"))
        assert look(ours, f"meanwhile {turn} 0") == [None]
        proxy.let_pass()
        put(theirs, f"afterwards {turn}")
        eventually(sees(ours, *names(100, f"meanwhile {turn}")), "the marks arrive")
        eventually(sees(ours, f"afterwards {turn}"), "the mark arrives")
    assert stats(server, "zrange") == reloads


def test_a_worker_that_was_cut_off_is_not_fresh_before_it_has_read(
    server: RedisServer, proxy: Proxy, opened: Open
) -> None:
    """A token that was revoked meanwhile never passes once it is stale."""
    ours, theirs = opened(proxy.url, max_staleness=2.2), opened(server.url)
    put(theirs, "before")
    eventually(sees(ours, "before"), "the mark arrives")
    proxy.refuse()
    put_in_bulk(theirs, names(50_000, "meanwhile"))
    put(theirs, "revoked")
    eventually(lambda: is_stale(ours), "nothing is heard")
    proxy.let_pass()
    while True:
        with suppress(Stale):
            answer = look(ours, "revoked")
            break
        time.sleep(0.0005)
    assert answer == [1.0]


def test_a_log_that_was_trimmed_beyond_the_reader_is_no_loss(
    server: RedisServer, proxy: Proxy, opened: Open
) -> None:
    """All that stands is read anew, and united with what is held."""
    ours, theirs = opened(proxy.url), opened(server.url)
    put(theirs, "before")
    eventually(sees(ours, "before"), "the mark arrives")
    proxy.refuse()
    put(theirs, *names(100, "meanwhile"))
    server.command("XTRIM", LOG, "MAXLEN", 0)
    put(theirs, "last")
    proxy.let_pass()
    eventually(sees(ours, "last", *names(100, "meanwhile")), "the marks arrive")
    assert look(ours, "before") == [1.0]


def test_the_first_mark_after_a_quiet_hour_is_no_loss(
    server: RedisServer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """It has Redis trim the log, and workers look there for the last that they read."""
    with server.client() as client:
        before_ms = int(time.time() - 7200) * 1000
        for number in range(100):  # as many as Redis keeps or drops together
            entry: Any = {"mark": PACKED.pack(b"%12d" % number, 1.0, 4e9)}
            client.xadd(LOG, entry, id=f"{before_ms + number}-0")
        ours = opened(server.url)
        assert look(ours, "new") == [None]
        put(ours, "new", "newer")
        eventually(lambda: not ours._stream._own, "both are read")
        assert client.xlen(LOG) == 102
    assert "Redis has lost entries" not in caplog.text


def test_100_000_marks_at_once_arrive_while_looks_go_on(
    server: RedisServer, opened: Open
) -> None:
    ours, theirs = opened(server.url), opened(server.url)
    assert look(ours, "a") == [None]
    many = names(100_000)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(put_in_bulk, theirs, many)
        longest = 0.0
        while not writing.done() or look(ours, many[-1]) == [None]:
            began = time.perf_counter()
            look(ours, "a", "b", "c")  # raises Stale where it lags behind
            longest = max(longest, time.perf_counter() - began)
            if writing.done() and not writing.exception():
                done = time.monotonic()
                eventually(sees(ours, many[-1]), "the last mark arrives")
                assert time.monotonic() - done < STALENESS_S
            time.sleep(0.001)
        writing.result()
    assert longest < LAG_S
    assert None not in look(ours, *many)


def test_a_flapping_network_takes_nothing_away(
    server: RedisServer, proxy: Proxy, opened: Open
) -> None:
    ours, theirs = opened(proxy.url), opened(server.url)
    put(theirs, "first")
    eventually(sees(ours, "first"), "the mark arrives")
    threads = threading.active_count()
    for turn in range(40):
        (proxy.refuse, proxy.let_pass)[turn % 2]()
        put(theirs, f"name {turn}")
        time.sleep(0.05)
    eventually(sees(ours, *names(40)), "the marks arrive")
    assert threading.active_count() < threads + 10


# Failovers


def lead_to(proxy: Proxy, server: RedisServer) -> None:
    """From now on the way leads to another server."""
    proxy._upstream = server.port
    proxy.cut()


def test_what_a_failover_lost_is_given_to_the_new_master(
    replication: Replication, opened: Open
) -> None:
    """The replica had not got the last marks when it was promoted."""
    with Proxy(replication.master) as proxy:
        ours, theirs = opened(proxy.url), opened(proxy.url)
        put(ours, *names(10, "kept"))
        eventually(sees(theirs, *names(10, "kept")), "the marks arrive")
        replication.wait_for_replica()
        replication.part()
        put(ours, *names(10, "lost"))
        eventually(sees(theirs, *names(10, "lost")), "the marks arrive")
        lead_to(proxy, replication.replica)
        every = names(10, "kept") + names(10, "lost")
        later = opened(proxy.url)
        ensure_all_arrive(later, every, "a later worker sees all")
        assert sees(ours, *every)()
        assert sees(theirs, *every)()


def test_what_a_failover_lost_before_anybody_read_it_is_given_back(
    replication: Replication, opened: Open
) -> None:
    """It was acknowledged, and who put it still holds it."""
    with Proxy(replication.master) as proxy:
        ours, theirs = opened(proxy.url), opened(proxy.url)
        put(ours, "kept")
        eventually(sees(theirs, "kept"), "the mark arrives")
        eventually(sees(ours, "kept"), "the mark arrives")
        replication.wait_for_replica()
        replication.part()
        proxy.cut()  # the readers come back after 0.1 s
        put(ours, "lost")
        lead_to(proxy, replication.replica)
        put(ours, "after")
        eventually(sees(theirs, "after"), "the mark arrives")
        assert look(ours, "lost") == [1.0]
        ensure_all_arrive(theirs, ["kept", "lost", "after"], "another worker sees all")


def refuses_as_revoked(auth: Authenticator, token: str) -> bool:
    """Whether *auth* knows why it refuses *token*, which it must in any case."""
    with pytest.raises((TokenRevoked, RevocationsUnavailable)) as caught:
        auth.authenticate(token)
    return caught.type is TokenRevoked


def test_sentinels_tell_who_is_the_master(opened: Open) -> None:
    with SentinelSet() as sentinels:
        hosts = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)
        url = f"redis+sentinel://{hosts}/{sentinels.name}/0"
        auth, ours, theirs = guarding(opened(url)), opened(url), opened(url)
        bad = ISSUER.issue("eve").access_token
        auth.revoke(bad)
        put(ours, "before")
        eventually(sees(theirs, "before"), "the mark arrives")
        sentinels.wait_for_replica()
        with ThreadPoolExecutor(1) as pool:
            failing = pool.submit(sentinels.failover)
            while not failing.done():
                with pytest.raises((TokenRevoked, RevocationsUnavailable)):
                    auth.authenticate(bad)
                time.sleep(0.01)
            failing.result()
        eventually(lambda: _puts(ours, "after"), "the new master is found")
        eventually(sees(theirs, "before", "after"), "the marks arrive")
        assert sees(opened(url), "before", "after")()
        eventually(lambda: refuses_as_revoked(auth, bad), "the first one is fed again")


def _puts(store: RedisStore, name: str) -> bool:
    with suppress(redis.RedisError), within(2 * PUT_S, "a put"):
        put(store, name)
        return True
    return False


def test_a_cluster_is_one_server_that_may_come_and_go(opened: Open) -> None:
    with Cluster() as cluster:
        url = cluster.url.replace("redis://", "redis+cluster://")
        ours, theirs = opened(url), opened(url)
        put(ours, *names(100))
        assert ours.add("proof", 1.0, time.time() + LIFE_S)
        assert not theirs.add("proof", 1.0, time.time() + LIFE_S)
        eventually(sees(theirs, *names(100)), "the marks arrive")
        owner = cluster.owner(LOG)
        owner.kill()
        began = time.monotonic()
        with within(2 * PUT_S, "a put"), pytest.raises(redis.RedisError):
            put(ours, "down")
        eventually(lambda: is_stale(ours), "nothing is heard")
        assert time.monotonic() - began < STALENESS_S + ANSWERED_S
        owner.restart()
        eventually(lambda: _puts(ours, "after"), "it is well again")
        later = opened(url)
        ensure_all_arrive(later, [*names(100), "after"], "a later worker sees all")


# Refusals


def test_a_wrong_password_is_told_without_it(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(password="right") as server:
        store = opened(server.url.replace(":right@", ":wrong@"), max_staleness=1.0)
        auth = guarding(store)
        good = ISSUER.issue("alice").access_token
        with within(2.0, "an answer"), pytest.raises(RevocationsUnavailable):
            auth.authenticate(good)
        with within(PUT_S, "a put"), pytest.raises(RevocationsUnavailable):
            auth.revoke(good)
        with pytest.raises(redis.AuthenticationError):
            store.put("a", 1.0, time.time() + LIFE_S)
        assert "marks are not fed" in caplog.text
        assert ":wrong" not in caplog.text


@pytest.mark.parametrize("missing", ["eval", "set"])
def test_a_right_that_is_missing_is_told(
    opened: Open, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is reported as revoked, and nothing passes, as the case may be."""
    with RedisServer(
        password="x", user="marks", rights=f"~* +@all -{missing}"
    ) as server:
        auth = guarding(opened(server.url, max_staleness=2.0))
        good = ISSUER.issue("alice").access_token
        with suppress(RevocationsUnavailable):
            auth.revoke(ISSUER.issue("eve").access_token)
            assert missing != "eval", "it cannot have been revoked"
        if missing == "eval":
            assert auth.authenticate(good).subject == "alice"
        else:
            eventually(lambda: not asyncio.run(_is_served(auth, good)), "a refusal")
            assert "NoPermission" in caplog.text


def test_who_cannot_read_the_log_is_not_taken_for_fresh(opened: Open) -> None:
    """It has read nothing of what was put since it made its copy."""
    with RedisServer(password="x", user="marks", rights="~* +@all -xread") as server:
        ours, theirs = opened(server.url), opened(server.url)
        put(theirs, "a")
        assert is_stale(ours)


def test_a_worker_that_cannot_give_back_keeps_new_ones_out_for_a_bounded_time(
    server: RedisServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lives on, holds entries, and may not write."""
    monkeypatch.setattr(healing, "GIVING_S", 1.0)
    for module in (healing, redis_marks):
        monkeypatch.setattr(module, "OWED_S", 2)
    ours, theirs = (opened(server.url, max_staleness=1.0) for _ in range(2))
    put(ours, "a")
    eventually(sees(theirs, "a"), "the mark arrives")
    assert server.command("ACL", "SETUSER", "default", "-eval")
    server.command("FLUSHALL")
    eventually(lambda: server.command("EXISTS", OWED), "they say that they owe")
    later = opened(server.url, max_staleness=1.0)
    assert is_stale(later)
    eventually(lambda: not is_stale(later), "the new worker is of use")
    assert theirs._stream._debts.are_owed
    server.command("ACL", "SETUSER", "default", "+eval")
    eventually(sees(later, "a"), "what is given back after all is known")


def test_a_redis_that_cannot_be_written_to_is_believed_after_a_bounded_time(
    server: RedisServer, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BELIEVED_S", 2.0)
    server.command("FLUSHALL")
    assert server.command("ACL", "SETUSER", "default", "-zadd")
    store = opened(server.url, max_staleness=1.0)
    assert is_stale(store)
    eventually(lambda: not is_stale(store), "it is of use")
    assert look(store, "a") == [None]


def test_a_healer_that_cannot_write_leaves_it_to_another(
    server: RedisServer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged once."""
    store = opened(server.url)
    put(store, "a")
    debts, there = store._stream._debts, store._there
    server.command("FLUSHALL")
    debts.owe(there, store._replica, b"epoch")
    assert server.command("ACL", "SETUSER", "default", "-eval")
    for _ in range(2):
        debts.give_back(there, store._replica)
        assert there.may_heal(b"another", 10)
        there.end_healing(b"not the one")
        assert not there.may_heal(b"not the one", 10)
        there.end_healing(b"another")
    assert caplog.text.count("cannot be written back to Redis: NoPermission") == 1


def test_a_full_memory_lets_nothing_be_reported_as_revoked(opened: Open) -> None:
    """Looks go on, also those of a worker that begins."""
    with RedisServer(maxmemory="100mb") as server:
        store = opened(server.url)
        auth = guarding(store)
        good, bad = (ISSUER.issue(name).access_token for name in ("alice", "eve"))
        auth.revoke(bad)
        assert auth.authenticate(good).subject == "alice"
        server.command("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(RevocationsUnavailable):
            auth.revoke(good)
        with pytest.raises(redis.OutOfMemoryError):
            store.add("proof", 1.0, time.time() + LIFE_S)
        ends = time.monotonic() + STALENESS_S
        while time.monotonic() < ends:
            assert auth.authenticate(good).subject == "alice"
            with pytest.raises(TokenRevoked):
                auth.authenticate(bad)
            time.sleep(0.02)
        beginning = guarding(opened(server.url))
        with pytest.raises(TokenRevoked):
            beginning.authenticate(bad)
        assert beginning.authenticate(good).subject == "alice"


# Workers that end


def test_what_was_acknowledged_outlives_the_worker(
    server: RedisServer, opened: Open
) -> None:
    """SIGKILL in the middle of its puts."""

    def work(pipe: Connection[object, object]) -> object:
        store = RedisStore(server.url)
        turns = count()
        while True:
            turn = next(turns)
            put(store, f"name {turn}")
            pipe.send(turn)

    with child(work) as worker:
        while worker.hear() != 500:
            pass
        worker.process.kill()
        worker.process.join()
        acknowledged = 500
        with suppress(EOFError):
            while worker.pipe.poll(1):
                acknowledged = int(str(worker.pipe.recv()))
    assert sees(opened(server.url), *names(acknowledged + 1))()


# Replicas


def test_a_mark_that_a_replica_has_not_got_is_not_reported(
    replication: Replication, opened: Open
) -> None:
    """replicas=1 waits for one, and raises where none has it in half a second."""
    url = replication.master.url
    store = opened(url, replicas=1)
    auth = guarding(store)
    replication.wait_for_replica()
    eventually(lambda: _is_put(store, "a", 0.5), "the replica has it at once")
    replication.wait_for_replica()
    assert sees(opened(replication.replica.url), "a") is not None
    assert replication.replica.command("XLEN", LOG) == _size(replication.master) > 0
    replication.replica.freeze()
    with within(1.5, "a put"), pytest.raises(TimeoutError, match="0 of 1"):
        put(store, "b")
    with pytest.raises(RevocationsUnavailable):
        auth.revoke(ISSUER.issue("eve").access_token)
    assert look(store, "a", "b") == [1.0, 1.0], "it may stand, which is the safe side"
    replication.replica.thaw()
    eventually(lambda: _is_put(store, "c"), "the replica is back")


def _is_put(store: RedisStore, name: str, seconds: float = math.inf) -> bool:
    """Whether it is, and sooner than that; on a busy machine, not each time."""
    began = time.monotonic()
    with suppress(TimeoutError):
        put(store, name)
        return time.monotonic() - began < seconds
    return False


def test_without_a_replica_nobody_is_told_that_there_is_one(
    server: RedisServer, opened: Open
) -> None:
    store = opened(server.url, replicas=1)
    with within(1.5, "a put"), pytest.raises(TimeoutError, match="0 of 1"):
        put(store, "a")
    put(opened(server.url), "a")


# What a review found


def test_a_replica_that_is_behind_is_not_taken_for_fresh(
    replication: Replication, opened: Open
) -> None:
    """A name that leads to a master of yesterday, say, which hears nothing any more."""
    with Proxy(replication.master) as proxy:
        store = opened(proxy.url, max_staleness=1.0)
        put(store, "before")
        assert look(store, "before") == [1.0]
        replication.wait_for_replica()
        replication.part()
        lead_to(proxy, replication.replica)
        replication.replica.command("REPLICAOF", "127.0.0.1", "1")
        eventually(lambda: is_stale(store), "it is not believed")


def test_a_second_loss_while_the_first_is_healed_is_healed_too(
    server: RedisServer, opened: Open
) -> None:
    """What was given back to the one that died is owed again."""
    ours, names = opened(server.url), [f"{number}" for number in range(3_000)]
    for first in range(0, len(names), 1_000):
        marks = [(key_of(n), 1.0, time.time() + LIFE_S) for n in names[first:][:1000]]
        ours._there.put(marks)
    ensure_all_arrive(ours, names, "the marks arrive")
    server.restart()
    theirs = opened(server.url)
    eventually(lambda: _some(theirs, names), "the healing has begun")
    server.restart()
    ensure_all_arrive(opened(server.url), names, "all is given back")


def _some(store: RedisStore, names: list[str]) -> bool:
    with suppress(Stale):
        return any(look(store, *names))
    return False


def test_marks_that_redis_evicted_are_noticed_and_given_back(
    server: RedisServer, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """A set that is gone before its time; the other keys tell nothing."""
    ours = opened(server.url)
    put(ours, "a", "b")
    assert look(ours, "a") == [1.0]
    sets: Any = server.command("KEYS", "*:set:*")
    for key in sets:
        server.command("DEL", key)
    assert look(opened(server.url), "a", "b") == [1.0, 1.0]
    assert "noeviction" in caplog.text
