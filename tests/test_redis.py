"""The store of all machines, on a real server that is well."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from jwt_middleware.bridge import ask, run
from jwt_middleware.marks import hash_with, key_of
from jwt_middleware.redis import RedisStore
from jwt_middleware.redis_forms import HOUR_S, OtherSecret
from jwt_middleware.redis_scripts import GRACE_S
from jwt_middleware.replica import Stale
from jwt_middleware.store import Store
from jwt_middleware.stream import MOST_OWN

from .certificates import Certificate
from .children import in_child
from .redis_server import HOST, RedisServer, eventually
from .store_suite import Clock, StoreSuite

LIFE_S = 600
"""Of a mark, where nothing depends on it."""
APART_S = 300
"""By which two clocks may differ."""
PREFIXES = (f"p{number}" for number in count())
ENDLESS = ("epoch", "log", "sets")
"""Keys that stay: one value, and two that are trimmed."""

Open = Callable[..., RedisStore]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def opened() -> Iterator[list[RedisStore]]:
    """The stores of all tests; each takes up to a second to close."""
    stores: list[RedisStore] = []
    yield stores
    with ThreadPoolExecutor(max(len(stores), 1)) as pool:
        list(pool.map(RedisStore.close, stores))


@pytest.fixture(scope="module")
def server(opened: list[RedisStore]) -> Iterator[RedisServer]:
    """Ended before the stores are, which then need not wait for it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return next(PREFIXES)


@pytest.fixture
def another(server: RedisServer, prefix: str, opened: list[RedisStore]) -> Open:
    """A store as another process would have it; all of a test see the same marks."""

    def open_one(url: str = server.url, **options: Any) -> RedisStore:
        store = RedisStore(url, **{"prefix": prefix, **options})
        opened.append(store)
        return store

    return open_one


def look(store: Store, *names: str) -> Sequence[float | None]:
    answer: Sequence[float | None] = run(ask(store.look, names))
    return list(answer)


def sees(store: Store, *names: str) -> Callable[[], bool]:
    return lambda: None not in look(store, *names)


def soon() -> float:
    return time.time() + LIFE_S


class TestRedisStore(StoreSuite):
    """What any store must do."""

    @pytest.fixture(autouse=True)
    def _open(self, another: Open) -> None:
        self.another = another

    def open(self, now: Callable[[], float]) -> Store:
        return self.another(now=now)


# Between processes


def test_a_mark_that_is_put_is_seen_by_others(another: Open) -> None:
    """By those that run, and by those that begin later."""
    ours, theirs = another(), another()
    assert look(theirs, "a") == [None]
    ours.put("a", 7.0, soon())
    assert look(ours, "a") == [7.0]
    eventually(sees(theirs, "a"), "the mark arrives")
    assert look(theirs, "a", "b") == look(another(), "a", "b") == [7.0, None]


def test_a_mark_that_is_added_is_seen_by_who_added_it(another: Open) -> None:
    """Others cannot add it again, which is what they want to know."""
    ours, theirs = another(), another()
    assert ours.add("a", 7.0, soon())
    assert not theirs.add("a", 8.0, soon())
    theirs.put("later", 1.0, soon())
    eventually(sees(ours, "later"), "the mark arrives")
    assert look(ours, "a") == [7.0]
    assert look(theirs, "a") == [7.0], "who could not add it knows since when"
    assert look(another(), "a") == [None]


def test_a_mark_that_was_added_is_seen_by_others_once_it_is_put(another: Open) -> None:
    ours, theirs = another(), another()
    assert ours.add("a", 7.0, soon())
    ours.put("a", 8.0, soon())
    assert look(ours, "a") == [8.0]
    eventually(sees(theirs, "a"), "the mark arrives")
    assert look(theirs, "a") == [8.0]


def test_of_two_puts_by_two_processes_the_later_date_remains_for_all(
    another: Open,
) -> None:
    ours, theirs = another(), another()
    ours.put("a", 9.0, soon())
    theirs.put("a", 3.0, soon() + LIFE_S)
    theirs.put("end", 1.0, soon())
    eventually(sees(ours, "end"), "the marks arrive")
    eventually(sees(theirs, "a", "end"), "the marks arrive")
    eventually(lambda: look(theirs, "a") == [9.0], "the later date arrives")
    assert look(ours, "a") == look(another(), "a") == [9.0]


def test_of_many_processes_one_adds(another: Open) -> None:
    stores = [another() for _ in range(8)]
    with ThreadPoolExecutor(len(stores)) as pool:
        for turn in range(20):
            adding = partial(_add, f"proof {turn}")
            assert sum(pool.map(adding, stores)) == 1


def _add(name: str, store: RedisStore) -> bool:
    return store.add(name, 1.0, soon())


def test_a_prefix_is_a_world_of_its_own(another: Open) -> None:
    ours, theirs = another(), another(prefix=next(PREFIXES))
    ours.put("a", 1.0, soon())
    assert look(theirs, "a") == [None]
    assert theirs.add("a", 2.0, soon())
    assert look(theirs, "a") == [2.0]


def test_a_watcher_is_called_for_what_another_process_puts(another: Open) -> None:
    ours, theirs, calls = another(), another(), list[str]()
    look(ours, "a")
    unwatch = ours.watch(["a", "b"], lambda: calls.append("called"))
    theirs.put("c", 1.0, soon())
    theirs.put("b", 1.0, soon())
    eventually(lambda: calls, "the call")
    unwatch()
    theirs.put("a", 1.0, soon())
    eventually(sees(ours, "a"), "the mark arrives")
    assert calls == ["called"]


def test_a_store_that_is_closed_begins_anew_with_the_next_look(another: Open) -> None:
    ours, theirs = another(), another()
    ours.put("a", 1.0, soon())
    assert look(ours, "a") == [1.0]
    ours.close()
    theirs.put("b", 2.0, soon())
    assert look(ours, "a", "b") == [1.0, 2.0]


def test_a_fork_of_a_store_that_was_used_reads_for_itself(another: Open) -> None:
    """It shares no connection with its parent, whose answers it would take."""
    ours, theirs = another(), another()
    ours.put("before", 1.0, soon())
    assert look(ours, "before") == [1.0]

    def in_fork() -> Sequence[float | None]:
        ours.put("inside", 2.0, soon())
        theirs.put("other", 3.0, soon())
        eventually(sees(ours, "other"), "the mark arrives in the child")
        return look(ours, "before", "inside", "other")

    assert in_child(in_fork) == [1.0, 2.0, 3.0]
    eventually(sees(ours, "inside", "other"), "the marks arrive in the parent")
    assert ours.add("after", 1.0, soon())


# Clocks


def test_clocks_that_differ_do_not_take_a_revocation_back(another: Open) -> None:
    """A worker whose clock is behind holds a mark until its own clock says so,
    whether it was running when the mark came or begins afterwards."""
    true, behind = Clock(time.time()), Clock(time.time() - APART_S)
    ours, running = another(now=true), another(now=behind)
    look(running)
    until = true.now + 60
    ours.put("a", 7.0, until)
    eventually(sees(running, "a"), "the mark arrives")
    true.now, behind.now = until + APART_S - 1, until - 1
    assert look(running, "a") == look(another(now=behind), "a") == [7.0]
    behind.now = until
    assert look(running, "a") == [None]


def test_a_clock_that_is_ahead_does_not_shorten_what_others_see(another: Open) -> None:
    ahead, true = Clock(time.time() + APART_S), Clock(time.time())
    hasty, ours = another(now=ahead), another(now=true)
    ours.put("a", 7.0, true.now + 60)
    assert look(hasty, "a") == [None], "by its clock the mark has ended"
    hasty.put("a", 8.0, ahead.now + 1)
    assert look(hasty, "a") == [8.0]
    eventually(lambda: look(ours, "a") == [8.0], "the later date")
    true.now += APART_S
    assert look(ours, "a") == look(another(now=true), "a") == [8.0]


def test_who_is_ahead_cannot_add_what_is_added(another: Open) -> None:
    """Of marks that stand for longer than clocks differ."""
    ahead, true = Clock(time.time() + APART_S), Clock(time.time())
    assert another(now=true).add("a", 1.0, true.now + APART_S + 1)
    assert not another(now=ahead).add("a", 1.0, ahead.now + LIFE_S)


# What lies in Redis


@pytest.fixture
def written(another: Open, prefix: str) -> str:
    """The prefix of a store in which there is a bit of everything."""
    store = another()
    assert look(store, "nothing") == [None]
    for turn in range(5):
        store.put(f"jti https://i.example token-{turn}", 1.0, soon() + turn * HOUR_S)
        store.add(f"proof-{turn}", 1.0, soon())
    store.put("sub https://i.example alice", 1.0, float("inf"))
    store.add("sub https://i.example bob", 1.0, float("inf"))
    return prefix


def keys(server: RedisServer, prefix: str) -> list[bytes]:
    with server.client() as client:
        return [
            key
            for key in client.scan_iter(count=1000)
            if f"{{{prefix}}}".encode() in key
        ]


def test_all_keys_lie_in_one_slot_of_a_cluster(
    server: RedisServer, written: str
) -> None:
    found = keys(server, written)
    assert len(found) > 10
    assert len({key_slot(key) for key in found}) == 1
    assert all(key.startswith(f"{{{written}}}:".encode()) for key in found)


def test_no_name_stands_in_redis(server: RedisServer, written: str) -> None:
    """Neither a user nor a token can be read there, in keys or in values."""
    held = b" ".join(_contents(server, written))
    assert len(held) > 500
    for name in (b"alice", b"bob", b"token-", b"proof-", b"i.example", b"jti", b"sub"):
        assert name not in held


SECRET = b"0123456789abcdef" * 2


def test_with_a_secret_no_name_can_be_guessed(
    server: RedisServer, another: Open, prefix: str
) -> None:
    one, two = another(secret=SECRET), another(secret=SECRET.decode())
    one.put("alice", 1.0, soon())
    assert one.add("bob", 1.0, soon())
    assert not two.add("bob", 1.0, soon())
    eventually(sees(two, "alice"), "the mark arrives")
    held = b" ".join(_contents(server, prefix))
    for name in ("alice", "bob"):
        assert hash_with(b"")(name) not in held
        assert repr(hash_with(b"")(name))[2:-1].encode() not in held


@pytest.mark.parametrize(
    ("first", "then"), [(None, SECRET), (SECRET, None), (SECRET, SECRET[::-1])]
)
@pytest.mark.parametrize("replicas", [0, 1])
def test_a_worker_with_another_secret_is_refused_since_it_would_find_nothing(
    another: Open,
    caplog: pytest.LogCaptureFixture,
    first: Any,
    then: Any,
    replicas: int,
) -> None:
    """It neither reads nor writes, and the log says why."""
    another(secret=first).put("early", 1.0, soon())  # before anybody has read
    assert look(another(secret=first), "a", "early") == [None, 1.0]
    wrong = another(secret=then, replicas=replicas)
    for write in (wrong.put, wrong.add):
        with pytest.raises(OtherSecret, match="another secret"):
            write("a", 1.0, soon())
    with pytest.raises(OtherSecret):
        wrong.has_readers()
    with pytest.raises(Stale):
        look(wrong, "early")
    assert (
        "OtherSecret: 'names in Redis are hashed with another secret; give"
        in caplog.text
    )


@pytest.mark.parametrize("wrong", ["", "short", b"x" * 31, 7])
def test_a_secret_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        RedisStore("redis://127.0.0.1:1", secret=wrong)


def _contents(server: RedisServer, prefix: str) -> Iterator[bytes]:
    reading: dict[str, tuple[str | int, ...]] = {
        "string": ("GET",),
        "set": ("SMEMBERS",),
        "zset": ("ZRANGE", 0, -1),
        "stream": ("XRANGE", "-", "+"),
    }
    with server.client() as client:
        for key in keys(server, prefix):
            yield key
            command, *rest = reading[client.type(key).decode()]
            yield repr(client.execute_command(command, key, *rest)).encode()


def test_every_mark_ends_in_redis(server: RedisServer, written: str) -> None:
    """An hour after the hour in which it ends, so that Redis's clock may be ahead."""
    with server.client() as client:
        left = {key: client.ttl(key) for key in keys(server, written)}
    kept = {key for key, seconds in left.items() if seconds < 0}
    assert kept == {f"{{{written}}}:{name}".encode() for name in ENDLESS}
    lasting = [seconds for key, seconds in left.items() if key not in kept]
    assert min(lasting) > LIFE_S + GRACE_S - 60
    ending = [seconds for seconds in lasting if seconds < 10**9]
    assert max(ending) <= 5 * HOUR_S + HOUR_S + GRACE_S
    assert len(ending) == len(lasting) - 3, "two marks without an end, and their set"


def test_what_has_ended_is_trimmed_by_the_next_put(
    server: RedisServer, another: Open, prefix: str
) -> None:
    long_ago, before = int(time.time()) - 2 * HOUR_S, 2_000
    log, sets = f"{{{prefix}}}:log", f"{{{prefix}}}:sets"
    with server.client() as client, client.pipeline() as pipeline:
        for turn in range(before):
            pipeline.xadd(log, {"mark": bytes(28)}, id=f"{long_ago}000-{turn + 1}")
        pipeline.zadd(sets, {f"{{{prefix}}}:set:1": long_ago})
        pipeline.execute()
        another().put("a", 1.0, soon())
        assert client.xlen(log) < before / 10, "Redis trims whole nodes"
        assert client.zcard(sets) == 1


def test_a_name_that_is_put_often_takes_the_room_of_one(
    server: RedisServer, another: Open, prefix: str
) -> None:
    """But for the log, which is trimmed, and the set of an hour."""
    store, until = another(), soon()
    for turn in range(100):
        store.put("a", float(turn), until)
    assert len(keys(server, prefix)) == len(("mark", "set", "log", "sets"))


def test_a_session_that_is_refreshed_often_takes_the_room_of_one_entry(
    server: RedisServer, another: Open, prefix: str
) -> None:
    """Its entry is put with each refresh, with a later date and the same end."""
    store, until = another(), time.time() + 3600
    for date in (*range(50), 7.0):
        store.put("generation", float(date), until)
    (place,) = (key for key in keys(server, prefix) if b":set:" in key)
    assert server.command("SCARD", place) == 1 + 1, "and the one that came late"
    assert look(another(), "generation") == [49.0]


def test_of_two_dates_the_later_remains_for_who_has_read_nothing(
    server: RedisServer, another: Open, prefix: str
) -> None:
    """Whatever their ends are: a login asks for the date of "log out everywhere"."""
    begun = time.time()
    for first, second in ((5.0, 3.0), (3.0, 5.0)):
        for first_s, second_s in ((100, 200), (200, 100), (200, 200)):
            name = f"sub {first} {first_s} {second_s}"
            another().put(name, first, begun + first_s)
            another().put(name, second, begun + second_s)
            asked = another()
            assert not asked.add(name, 0.0, 0.0)
            assert asked._replica.marks.look(key_of(name), begun) == 5.0
            key = f"{{{prefix}}}:mark:".encode() + key_of(name)
            mark = server.command("GET", key)
            assert mark == f"{begun + max(first_s, second_s)!r} 5.0".encode()


def test_what_has_ended_by_our_clock_is_put_all_the_same(another: Open) -> None:
    """It may be wrong, and another worker's right; Redis forgets it in an hour."""
    store = another()
    store.put("a", 1.0, time.time() - 1)
    assert store.add("b", 1.0, time.time() - 1)
    assert look(store, "a", "b") == [None, None]
    early = another(now=lambda: time.time() - 60)
    assert look(early, "a") == [1.0]


@pytest.mark.parametrize("fields", [{"foreign": b"x"}, {"mark": b"too short"}])
def test_a_foreign_entry_of_the_log_is_logged_and_skipped(
    server: RedisServer,
    another: Open,
    prefix: str,
    fields: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours, theirs = another(), another()
    assert look(ours, "a") == [None]
    with server.client() as client:
        client.xadd(f"{{{prefix}}}:log", fields)
    theirs.put("a", 1.0, soon())
    eventually(sees(ours, "a"), "the mark behind it arrives")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "not a mark" in caplog.text


# Ways to a server


def ensure_works(open_one: Callable[[], RedisStore]) -> None:
    """A mark that one store puts is there for another."""
    one, two = open_one(), open_one()
    try:
        one.put("a", 1.0, soon())
        assert look(two, "a") == [1.0]
    finally:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(RedisStore.close, (one, two)))


def test_a_password_opens() -> None:
    with RedisServer(password="s3/cr:et@x") as server:
        ensure_works(lambda: RedisStore(server.url))


def test_a_user_needs_these_rights_only() -> None:
    """What a careful operator grants: the keys under the prefix, no other."""
    commands = (
        *("eval", "get", "set", "expire", "expireat", "del", "sadd", "sscan", "zadd"),
        *("zrange", "zremrangebyscore", "xadd", "xtrim", "xread", "xrange"),
        *("xrevrange", "time", "exists", "zscore", "zrem", "srem"),
    )
    rights = " ".join(["~{jwt_middleware}:*", *(f"+{name}" for name in commands)])
    with RedisServer(password="secret", user="marks", rights=rights) as server:
        ensure_works(lambda: RedisStore(server.url))


def test_tls_is_checked_against_the_authority_that_is_named() -> None:
    with RedisServer(tls=True, password="secret") as server:
        assert server.url.startswith("rediss://")
        ensure_works(lambda: RedisStore(f"{server.url}?ssl_ca_certs={server.cafile}"))
        ensure_refused(server.url)


class Unchecked(RedisServer):
    """A server that counts as up when it accepts: no client would trust it."""

    def _is_up(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port)):
            return True
        return False


@pytest.mark.parametrize("certificate", ["of_another_ca", "of_another_host", "expired"])
def test_tls_with_another_certificate_is_refused(certificate: Certificate) -> None:
    with Unchecked(tls=True, certificate=certificate) as server:
        ensure_refused(f"{server.url}?ssl_ca_certs={server.cafile}")


def ensure_refused(url: str) -> None:
    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        RedisStore(url).put("a", 1.0, soon())


@pytest.mark.skipif(sys.platform == "win32", reason="no unix sockets here")
def test_a_socket_of_the_machine_opens() -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "redis.sock"
        with RedisServer(f"unixsocket {path}", password="secret"):
            ensure_works(lambda: RedisStore(f"unix://:secret@{path}"))


def test_a_database_is_a_world_of_its_own(server: RedisServer, another: Open) -> None:
    one, two = (another(f"redis://{HOST}:{server.port}/{db}") for db in (1, 2))
    one.put("a", 1.0, soon())
    assert (look(one, "a"), look(two, "a")) == ([1.0], [None])
    assert look(another(f"redis://{HOST}:{server.port}?db=1"), "a") == [1.0]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "redis+sentinel://a:1,b:2/service/0",
            "(('a', 1), ('b', 2)), service='service'",
        ),
        ("redis+sentinel://u:secret@a:1,b:2/service", "(('a', 1), ('b', 2))"),
        ("rediss+sentinel://:secret@[::1]:1/s?ssl_ca_certs=/secret", "(('::1', 1),)"),
        ("redis+cluster://u:secret@a:1,b", "(('a', 1), ('b', 6379))"),
        ("redis+cluster://a:1/0", "(('a', 1),)"),
        ("rediss+cluster://u:secret@a:1/?ssl_ca_certs=/secret/ca.pem", "(('a', 1),)"),
        ("redis://u:secret@a:1/0", "RedisStore"),
        ("unix://u:secret@/run/redis.sock?db=1", "RedisStore"),
    ],
)
def test_a_url_is_read_and_never_shown_with_its_password(url: str, told: str) -> None:
    """Nothing connects before it is needed: these servers are not there."""
    store = RedisStore(url)
    for text in (repr(store), str(store), repr(store._servers), repr(vars(store))):
        assert "secret" not in text
    assert told in repr(store)


def test_no_name_is_shown(another: Open) -> None:
    store = another()
    store.put("sub https://i.example alice", 1.0, soon())
    store.add("sub https://i.example alice", 1.0, soon())
    assert look(store, "sub https://i.example alice") == [1.0]
    assert "alice" not in repr(store) + repr(vars(store))


UNMEANT = [
    pytest.param(url, id=url)
    for url in (
        "",
        "redis",
        "//secret@host",
        "http://u:secret@host",
        "redis+foo://u:secret@host",
        "redis://u:secret@host:port/0",
        "redis://u:secret@one:1,two:2/0",
        "redis://u:secret@host:99999/0",
        "redis://u:secret@host/zero",
        "redis://u:secret@host/-1",
        "redis://u:secret@host/0?db=one",
        "redis://:secret/x@host/0",
        "redis://:secret?x@host/0",
        "redis://:secret#x@host/0",
        "rediss://u:secret@host/0?ssl_cert_reqs=none",
        "rediss://u:secret@host/0?ssl_check_hostname=false",
        "redis://u:secret@host/0?ssl_ca_certs=/ca.pem",
        "redis://u:secret@host/0?socket_timeout=60",
        "redis://u:secret@host/0?socket_connect_timeout=60",
        "redis://u:secret@host/0?retry_on_timeout=yes",
        "redis://u:secret@host/0?health_check_interval=1",
        "redis://u:secret@host/0?decode_responses=yes",
        "redis://u:secret@host/0?protocol=3",
        "redis://u:secret@host/0?secret=secret",
        "redis+cluster://u:secret@host/1",
        "redis+cluster://u:secret@host/?db=1",
        "redis+cluster://",
        "redis+cluster://u:secret@host:port",
        "redis+sentinel://u:secret@host:26379",
        "redis+sentinel:///service",
        "redis+sentinel://u:secret@host:port/service",
        "redis+sentinel://u:secret@host:26379/service/zero",
        "redis+sentinel://u:secret@host:26379/service?socket_timeout=60",
        "unix+cluster://u:secret@/run/redis.sock",
        "unix+sentinel://u:secret@/run/redis.sock",
        "unix://",
    )
]


@pytest.mark.parametrize("url", UNMEANT)
def test_a_url_that_cannot_be_meant_is_refused(url: str) -> None:
    """At construction, and without the password in the message."""
    with pytest.raises(ValueError, match=r".") as refused:
        RedisStore(url)
    told = str(refused.value).replace("secret out of the URL", "")
    assert "secret" not in told


@pytest.mark.parametrize("url", [None, 6379, b"redis://host", ["redis://host"]])
def test_what_is_no_url_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match="url"):
        RedisStore(url)


def test_what_follows_the_host_may_be_a_question_mark() -> None:
    """redis-py reads ``redis://host?db=1``, without a slash, so we do."""
    store = RedisStore("rediss://host?ssl_ca_certs=ca.pem")
    assert store._servers.options["ssl_ca_certs"] == "ca.pem"


@pytest.mark.parametrize(
    "options",
    [
        {"on_stale": "pass"},
        {"on_stale": None},
        {"replicas": -1},
        {"replicas": 1.5},
        {"replicas": True},
        {"max_staleness": 0},
        {"max_staleness": -1},
        {"max_staleness": float("nan")},
        {"max_staleness": float("inf")},
        {"max_staleness": "5"},
        {"prefix": ""},
        {"prefix": "a b"},
        {"prefix": None},
        {"prefix": "}a"},
        {"now": 5.0},
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        RedisStore("redis://:secret@host", **options)


def test_a_cluster_cannot_be_waited_for() -> None:
    with pytest.raises(ValueError, match="replicas"):
        RedisStore("redis+cluster://host", replicas=1)


@pytest.mark.parametrize("staleness", [0.1, 0.5, 1.0, 1.9])
def test_a_silent_server_that_is_well_is_never_stale(
    another: Open, staleness: float
) -> None:
    """Whatever may be asked for can be had, or else is refused at construction."""
    try:
        store = another(max_staleness=staleness)
    except ValueError:
        return
    assert look(store, "a") == [None]
    ends = time.monotonic() + 2.5
    while time.monotonic() < ends:
        assert look(store, "a") == [None]
        time.sleep(0.02)


def test_the_process_that_only_opens_a_store_has_no_thread_for_it(
    another: Open,
) -> None:
    """gunicorn --preload: nothing that a fork could break."""
    before = len(os.listdir(f"/proc/{os.getpid()}/task"))
    another()
    assert len(os.listdir(f"/proc/{os.getpid()}/task")) == before


def test_a_process_that_never_looks_keeps_no_list_of_what_it_wrote() -> None:
    stream = RedisStore("redis://127.0.0.1:1")._stream
    for number in range(2 * MOST_OWN + 1):
        stream.wrote(b"1-%d" % number)
    assert stream._own == {b"1-%d" % (2 * MOST_OWN)}


def test_what_a_parent_owes_is_not_its_childs() -> None:
    stream = RedisStore("redis://127.0.0.1:1")._stream
    stream._debts.are_owed = True
    before = stream._debts._name
    stream.start_anew()
    assert not stream._debts.are_owed
    assert stream._debts._name != before


def test_a_child_has_connections_of_its_own() -> None:
    there = RedisStore("redis://127.0.0.1:1")._there
    before = there._reader
    assert there._reader is before
    there.start_anew()
    assert there._reader is not before
    there.close()
    before.close()
