"""Marks in Redis or Valkey, for all workers of all machines."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any, Literal

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from .bridge import instant
from .marks import hash_with, read_secret
from .options import read_clock, read_count, read_seconds, read_word
from .redis_marks import RedisMarks
from .redis_url import Servers, read_url
from .replica import Replica
from .stream import Stream

CONNECT_S = 1.0
SETTLE_S = 1.0
"""Seconds in which workers that hold entries connect again to a Redis that is empty.

Twice `replica.LONGEST_WAIT_S`, since they try again as often as that.
"""
MOST_BLOCK_S = 0.5
"""The longest wait, in seconds, for something new: a worker notices after it that Redis
has lost entries, long before a new worker believes the empty server."""
OWN = ("db", "username", "password")
"""Options of the servers, which are not those of the sentinels."""


class RedisStore:
    """The marks of all workers of all machines, in Redis or Valkey from 6.2 on.

    >>> store = RedisStore("rediss://user:password@redis.example:6380/0")

    - *url*: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password;
      ``redis+sentinel://host:26379,host:26379/service/0``; and
      ``redis+cluster://host:6379``; each with TLS as ``rediss+...``.
    - *max_staleness*: seconds for which Redis may be silent.
    - *on_stale*: after that, ``"deny"`` answers 503; ``"allow"`` uses the copy as it
      is, and logs that.
    - *prefix*: of all keys.
    - *replicas*: how many must have a mark before `put` returns (``WAIT``); else it
      raises, though the mark may stand.
    - *secret*: at least 32 random octets that names are hashed with, the same in all
      workers.  Without it, anyone who can read Redis can find out which of the names
      that they know are there.  A worker with another secret gets an error from Redis,
      and answers 503; a new secret needs a new *prefix*.

    Each process holds a copy in memory, which a thread keeps up to date, so that a
    request does not wait for Redis.  `add` and `put` raise within seconds; they do not
    try again.

    Raises ValueError for a URL that cannot be meant; connects when it is needed.
    """

    def __init__(
        self,
        url: str,
        max_staleness: float = 5.0,
        on_stale: Literal["deny", "allow"] = "deny",
        *,
        prefix: str = "jwt_middleware",
        replicas: int = 0,
        secret: str | bytes | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._now = read_clock(now)
        self._key_of = hash_with(hashed_with := read_secret(secret))
        self._servers = servers = read_url(url)
        self._replicas = _read_replicas(replicas, servers)
        staleness = read_seconds("max_staleness", max_staleness, least=0.5, most=3600)
        # Often enough that a server which is well is never taken for a silent one.
        block_s = min(MOST_BLOCK_S, staleness / 5)
        self._place = "redis", prefix, servers.place
        self._there = RedisMarks(
            partial(_connect, servers), _read_prefix(prefix), block_s, hashed_with
        )
        self._stream = Stream(self._there, min(SETTLE_S, staleness / 2))
        self._replica = Replica(
            self._stream,
            max_staleness=staleness,
            passes_stale=_read_on_stale(on_stale),
            now=self._now,
            key_of=self._key_of,
        )

    def add(self, name: str, at: float, until: float) -> bool:
        key, now = self._key_of(name), self._now()
        if self._replica.marks.look(key, now) is not None:
            return False  # Redis may have lost the entry; this process has not
        stood = self._there.add(key, at, until, now, self._stream.epoch)
        self._replica.merge(key, *(stood or (at, until)))
        return stood is None

    def put(self, name: str, at: float, until: float) -> None:
        key = self._key_of(name)
        entry, reached = self._there.put([(key, at, until)], self._replicas)
        self._stream.wrote(entry)
        self._replica.merge(key, at, until)
        if reached < self._replicas:
            raise TimeoutError(f"{reached} of {self._replicas} replicas have the mark")

    @instant
    def look(
        self, names: Sequence[str]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        return self._replica.look(names)

    def watch(
        self, names: Sequence[str], call: Callable[[], None]
    ) -> Callable[[], None]:
        """Have *call* called, by any thread, when one of *names* is marked.

        What is returned ends that.
        """
        return self._replica.watch(names, call)

    @property
    def place(self) -> Hashable:
        """Equal in all stores of one prefix of one database."""
        return self._place

    def has_readers(self) -> bool:
        """Whether a worker has ever looked under this prefix, in this database."""
        return self._there.epoch() is not None

    def close(self) -> None:
        """Stop reading; a later look begins anew."""
        self._replica.close()
        self._there.close()

    def __repr__(self) -> str:
        return f"<RedisStore {self._servers!r}>"


def _connect(servers: Servers, answer_s: float) -> Any:
    """A client that waits so long for an answer, and never tries again."""
    options: dict[str, Any] = {
        **servers.options,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": answer_s,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if servers.kind == "cluster":
        nodes = [ClusterNode(*host) for host in servers.hosts]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, **options)
    if servers.kind == "sentinel":
        limits = {name: options[name] for name in options if name not in OWN}
        sentinel: Any = Sentinel(servers.hosts, sentinel_kwargs=limits, **options)  # type: ignore[no-untyped-call]
        return sentinel.master_for(servers.service)
    if servers.hosts:
        options["host"], options["port"] = servers.hosts[0]
    return Redis(**options)


def _read_on_stale(on_stale: str) -> bool:
    if on_stale not in ("deny", "allow"):
        raise ValueError("on_stale is 'deny' or 'allow'")
    return on_stale == "allow"


def _read_replicas(replicas: int, servers: Servers) -> int:
    if read_count("replicas", replicas) and servers.kind == "cluster":
        raise ValueError("a cluster cannot be waited for; leave replicas out")
    return replicas


def _read_prefix(prefix: str) -> str:
    if "{" in read_word("prefix", prefix) or "}" in prefix:
        raise ValueError("prefix has no braces: they say which slot a key is in")
    return prefix
