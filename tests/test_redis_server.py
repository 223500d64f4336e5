"""The Redis servers of the tests do what they say, and so does the proxy."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.retry import Retry

from .redis_groups import Cluster, Replication, SentinelSet
from .redis_proxy import NIL, Proxy, whole_commands
from .redis_server import ANSWER_S, HOST, RedisServer, eventually, find_binary

SHORT_S = 0.2
"""How long a client waits here for what does not come."""


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server) as proxy:
        yield proxy


@pytest.fixture
def client(server: RedisServer, proxy: Proxy) -> Iterator[redis.Redis]:
    """Behind the proxy, with one connection, that is open."""
    with server.client(port=proxy.port) as client:
        client.ping()
        yield client


def dial(url: str, cafile: str | None = None) -> redis.Redis:
    """What somebody does who has no more than this."""
    return redis.Redis.from_url(
        url,
        socket_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        **({"ssl_ca_certs": cafile} if cafile else {}),
    )


def raw(proxy: Proxy) -> socket.socket:
    """A connection without a client."""
    return socket.create_connection((HOST, proxy.port), ANSWER_S)


def is_running(server: RedisServer) -> bool:
    return server.process.poll() is None


# One server


def test_a_server_starts_empty_and_keeps_what_it_is_told(server: RedisServer) -> None:
    assert server.command("DBSIZE") == 0
    assert server.command("SET", "a", "1")
    assert server.command("GET", "a") == b"1"


def test_the_url_is_all_that_a_client_needs(server: RedisServer) -> None:
    with dial(server.url) as client:
        assert client.ping()


def test_nothing_runs_and_nothing_lies_about_afterwards() -> None:
    with RedisServer() as server:
        directory = Path(str(server.info("config_file"))).parent
        assert directory.is_dir()
    assert not is_running(server)
    assert not directory.exists()


def test_it_ends_even_if_frozen() -> None:
    with RedisServer() as server:
        server.freeze()
    assert not is_running(server)


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    server = RedisServer("no-such-directive yes")
    with pytest.raises(AssertionError, match="no-such-directive"):
        server.__enter__()
    assert not is_running(server)


def test_a_binary_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    named = find_binary()
    monkeypatch.setenv("REDIS_SERVER", named)
    assert find_binary() == named


def test_a_named_binary_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_SERVER", "/no/such/redis-server")
    with pytest.raises(FileNotFoundError, match="REDIS_SERVER"):
        find_binary()


def test_where_there_is_no_binary_the_test_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="apt-get install redis-server"):
        find_binary()


def test_a_password_is_wanted() -> None:
    with RedisServer(password="a:b@/c") as server:
        with dial(server.url) as client:
            assert client.ping()
        with (
            dial(f"redis://{HOST}:{server.port}/0") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_a_user_has_a_name_and_no_more_than_its_rights() -> None:
    with RedisServer(
        user="app", password="secret", rights="~app:* +get +set"
    ) as server:
        assert server.command("SET", "app:a", "1")
        for beyond in (("SET", "other", "1"), ("DBSIZE",)):
            with pytest.raises(NoPermissionError):
                server.command(*beyond)
        with (
            dial(f"redis://:secret@{HOST}:{server.port}/0") as nameless,
            pytest.raises(redis.AuthenticationError),
        ):
            nameless.ping()


def test_tls_is_trusted_by_its_authority_only() -> None:
    with RedisServer(tls=True, password="secret") as server:
        assert server.url.startswith("rediss://")
        with dial(server.url, server.cafile) as client:
            assert client.ping()
        with (
            dial(server.url) as stranger,
            pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            stranger.ping()


def test_a_server_may_be_full() -> None:
    """It answers, and takes nothing more."""
    with RedisServer(maxmemory="1") as server:
        with pytest.raises(OutOfMemoryError):
            server.command("SET", "a", "1")
        assert server.command("GET", "a") is None


def test_further_configuration_is_heeded() -> None:
    with RedisServer("databases 3") as server:
        assert server.command("SELECT", 2)
        with pytest.raises(redis.ResponseError, match="out of range"):
            server.command("SELECT", 3)


# Up and down


def test_a_frozen_server_takes_a_command_and_answers_when_thawed(
    server: RedisServer,
) -> None:
    with server.client(SHORT_S) as client:
        client.ping()
        server.freeze()
        with pytest.raises(redis.TimeoutError):
            client.set("a", "1")
        with pytest.raises(redis.TimeoutError):
            client.ping()
    server.thaw()
    eventually(lambda: server.command("GET", "a") == b"1", "what was sent is done")


def test_a_killed_server_refuses(server: RedisServer) -> None:
    server.kill()
    with (
        server.client() as client,
        pytest.raises(redis.ConnectionError, match="refused"),
    ):
        client.ping()


def test_a_restarted_server_is_another_at_the_same_port_and_empty(
    server: RedisServer,
) -> None:
    url, run = server.url, server.info("run_id")
    server.command("SET", "a", "1")
    server.restart()
    assert server.url == url
    assert server.info("run_id") != run
    assert server.command("GET", "a") is None


def test_a_frozen_server_may_be_killed_and_come_back(server: RedisServer) -> None:
    server.freeze()
    server.restart()
    assert server.command("PING")


# More than one


def test_a_replica_has_what_was_written_and_takes_no_writes() -> None:
    with Replication() as group:
        group.master.command("SET", "a", "1")
        group.wait_for_replica()
        assert group.replica.command("GET", "a") == b"1"
        with pytest.raises(ReadOnlyError):
            group.replica.command("SET", "a", "2")


def test_a_promotion_loses_what_came_late() -> None:
    with Replication() as group:
        group.master.command("SET", "early", "1")
        group.wait_for_replica()
        group.part()
        group.master.command("SET", "late", "1")
        assert group.master.command("WAIT", 1, 1) == 0
        old = group.master
        new = group.promote()
        assert new is group.master is not old
        assert new.command("MGET", "early", "late") == [b"1", None]
        group.follow()
        assert old is group.replica
        assert old.command("MGET", "early", "late") == [b"1", None]


def test_sentinels_make_the_replica_master_and_the_dead_one_follows() -> None:
    with SentinelSet() as group:
        old = group.master
        assert masters_known(group) == {old.port}
        old.command("SET", "a", "1")
        group.wait_for_replica()
        new = group.failover()
        assert new is not old
        assert masters_known(group) == {new.port}
        assert new.command("GET", "a") == b"1"
        assert new.command("SET", "a", "2")
        old.restart()
        group.follow()
        assert old.command("GET", "a") == b"2"


def masters_known(group: SentinelSet) -> set[int]:
    """The port that the sentinels tell their clients; several if they disagree."""
    ports = set()
    for sentinel in group.sentinels:
        with sentinel.client() as client:
            _, port = client.sentinel_get_master_addr_by_name(group.name)
            ports.add(port)
    return ports


def test_a_node_of_a_cluster_has_a_third_of_the_keys() -> None:
    with Cluster() as cluster:
        first, second = cluster.owner("a"), cluster.owner("b")
        assert first is not second
        assert first.command("SET", "a", "1")
        with pytest.raises(MovedError):
            second.command("SET", "a", "1")
        assert second.command("CLUSTER", "COUNTKEYSINSLOT", key_slot(b"a")) == 0
        with redis.RedisCluster.from_url(cluster.url) as client:
            assert client.get("a") == b"1"
            assert client.set("b", "2")
        assert second.command("GET", "b") == b"2"


def test_a_cluster_without_a_node_is_down() -> None:
    with Cluster() as cluster:
        dead, other = cluster.owner("a"), cluster.owner("b")
        dead.kill()

        def is_down() -> bool:
            with suppress(ClusterDownError):
                other.command("GET", "b")
                return False
            return True

        eventually(is_down, "the others notice")


# The proxy


def test_the_proxy_lets_through(proxy: Proxy, client: redis.Redis) -> None:
    assert client.set("a", "1")
    assert client.get("a") == b"1"
    with dial(proxy.url) as another:
        assert another.get("a") == b"1"
        assert proxy.connections == 2
        assert proxy.open == 2
    proxy.wait_for(lambda counts: counts.open == 1)


@pytest.mark.parametrize("octets", [b"x" * 1_000_000, b"\r\n*1\r\n$4\r\nPING\r\n"])
def test_the_proxy_changes_nothing(client: redis.Redis, octets: bytes) -> None:
    client.set("a", octets)
    assert client.get("a") == octets


def test_the_proxy_lets_tls_and_passwords_through() -> None:
    with (
        RedisServer(tls=True, user="app", password="secret") as server,
        Proxy(server) as proxy,
        dial(proxy.url, server.cafile) as client,
    ):
        assert client.set("a", "1")
        assert client.get("a") == b"1"


def test_the_proxy_counts_commands(proxy: Proxy, client: redis.Redis) -> None:
    before = proxy.commands
    with client.pipeline(transaction=False) as pipeline:
        for key in "abc":
            pipeline.get(key)
        pipeline.execute()
    assert proxy.commands - before == 3


def test_refuse_cuts_and_refuses_until_let_pass(
    server: RedisServer, proxy: Proxy, client: redis.Redis
) -> None:
    proxy.refuse()
    assert proxy.open == 0
    with pytest.raises(redis.ConnectionError):
        client.ping()
    with dial(proxy.url) as late, pytest.raises(redis.ConnectionError, match="refused"):
        late.ping()
    assert server.command("PING")
    proxy.let_pass()
    assert client.ping()


def test_cut_closes_once(proxy: Proxy, client: redis.Redis) -> None:
    held = client.connection_pool.get_connection()
    proxy.cut()
    assert proxy.open == 0
    with pytest.raises(redis.ConnectionError):
        held.read_response()
    client.connection_pool.release(held)
    assert client.ping()
    assert proxy.connections == 2


def test_blackhole_takes_connections_and_never_answers(
    server: RedisServer, proxy: Proxy
) -> None:
    with server.client(SHORT_S, proxy.port) as client:
        client.ping()
        proxy.blackhole()
        with pytest.raises(redis.TimeoutError):
            client.set("a", "1")
        with pytest.raises(redis.TimeoutError):
            client.ping()
        assert proxy.connections == 2
        proxy.let_pass()
        assert client.get("a") is None


def test_delay_answers_late_what_was_done_at_once(
    server: RedisServer, proxy: Proxy
) -> None:
    with server.client(port=proxy.port) as client:
        client.ping()
        proxy.delay(SHORT_S)
        began = time.monotonic()
        assert client.set("a", "1")
        assert time.monotonic() - began >= SHORT_S
        proxy.delay(3_600)
        with patiently(lambda: client.set("a", "2")) as answered:
            eventually(lambda: server.command("GET", "a") == b"2", "it is done")
            assert not answered.is_set()
            proxy.let_pass()
            assert answered.wait(ANSWER_S)


@contextmanager
def patiently(ask: Callable[[], object]) -> Iterator[threading.Event]:
    """Let a thread *ask*; the event is that it was answered."""
    answered = threading.Event()

    def wait() -> None:
        assert ask()
        answered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield answered
    finally:
        thread.join()


def test_garbage_is_no_answer(
    server: RedisServer, proxy: Proxy, client: redis.Redis
) -> None:
    proxy.garbage()
    with pytest.raises(redis.RedisError, match="Protocol"):
        client.set("a", "1")
    assert server.command("GET", "a") is None


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", BusyLoadingError),
        (b"-READONLY You can't write against a read only replica.\r\n", ReadOnlyError),
        (b"-OOM command not allowed\r\n", OutOfMemoryError),
    ],
)
def test_any_error_may_be_the_answer(
    proxy: Proxy, client: redis.Redis, octets: bytes, error: type[Exception]
) -> None:
    proxy.answer(octets)
    with pytest.raises(error):
        client.exists("a")


def test_each_command_of_a_pipeline_has_the_answer(
    proxy: Proxy, client: redis.Redis
) -> None:
    proxy.answer(NIL)
    with client.pipeline(transaction=False) as pipeline:
        pipeline.exists("a")
        pipeline.exists("b")
        pipeline.get("c")
        assert pipeline.execute() == [None, None, None]


def test_half_an_answer_and_the_connection_is_gone(
    proxy: Proxy, client: redis.Redis
) -> None:
    client.set("a", "x" * 100)
    proxy.half()
    with raw(proxy) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert answer.read() == b"+PO"
    with pytest.raises(redis.ConnectionError, match="closed"):
        client.get("a")


def test_an_answer_may_be_lost_after_the_write(
    server: RedisServer, proxy: Proxy, client: redis.Redis
) -> None:
    proxy.lose_answers()
    with pytest.raises(redis.ConnectionError):
        client.incr("a")
    assert server.command("GET", "a") == b"1"
    proxy.let_pass()
    assert client.incr("a") == 2


def test_faults_may_flap(proxy: Proxy, client: redis.Redis) -> None:
    for _ in range(50):
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.let_pass()
        assert client.ping()


def test_the_proxy_ends_with_connections_open(server: RedisServer) -> None:
    threads = threading.active_count()
    with ExitStack() as left:
        with Proxy(server) as proxy:
            left.enter_context(raw(proxy))
            proxy.wait_for(lambda counts: counts.open == 1)
            proxy.blackhole()
        assert proxy.open == 0
        assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("octets", "number", "rest"),
    [
        (b"*1\r\n$4\r\nPING\r\n" * 2, 2, b""),
        (b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", 1, b"*1\r\n$4\r\nPI"),
        (b"*1\r\n$4\r\nPING\r", 0, b"*1\r\n$4\r\nPING\r"),
        (b"*1\r\n$4\r\n\r\n*1\r\n", 1, b""),
        (b"*", 0, b"*"),
        (b"\x16\x03\x01", 1, b""),
    ],
)
def test_commands_are_counted_whole(octets: bytes, number: int, rest: bytes) -> None:
    assert whole_commands(octets) == (number, rest)
