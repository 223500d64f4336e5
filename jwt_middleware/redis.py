"""Marks in Redis or Valkey, for all workers of all machines."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import ConnectionPool, SSLConnection, parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from .bridge import instant
from .marks import key_of
from .options import read_clock, read_count, read_seconds, read_word
from .replica import Replica
from .stream import Stream

CONNECT_S = 1.0
ALLOWED = frozenset(
    {
        *("host", "port", "path", "db", "username", "password", "connection_class"),
        *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    }
)
"""What a URL may say.  Not how long to wait, nor that certificates are not checked."""
OWN = ("host", "port", "connection_class")


class RedisStore:
    """The marks of all workers of all machines, in Redis or Valkey from 6.2 on.

    >>> store = RedisStore("rediss://user:password@redis.example:6380/0")

    - *url*: ``redis://``, ``rediss://`` (TLS) or ``unix://`` as redis-py reads them;
      ``redis+sentinel://host:26379,host:26379/service/0``; and
      ``redis+cluster://host:6379``; each with TLS as ``rediss+...``.
    - *max_staleness*: seconds for which a worker may have heard nothing.
    - *on_stale*: ``"deny"`` answers 503 then; ``"allow"`` goes by the marks that are
      held, and logs it.
    - *prefix*: of all keys.
    - *replicas*: how many must have a mark before `put` returns (``WAIT``); else it
      raises, though the mark may stand.

    Each process holds a copy in memory, fed by a thread, so that a request asks
    nobody.  Nothing is retried in silence: `add` and `put` raise within seconds.

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
        now: Callable[[], float] = time.time,
    ) -> None:
        if on_stale not in ("deny", "allow"):
            raise ValueError("on_stale is 'deny' or 'allow'")
        self._now = read_clock(now)
        self._replicas = read_count("replicas", replicas)
        servers = _read_url(url)
        if replicas and servers.kind == "cluster":
            raise ValueError("a cluster cannot be waited for; leave replicas out")
        self._servers = servers
        self._stream = Stream(servers.connect, read_word("prefix", prefix))
        self._replica = Replica(
            self._stream,
            max_staleness=read_seconds(
                "max_staleness", max_staleness, least=0.1, most=3600
            ),
            passes_stale=on_stale == "allow",
            now=self._now,
        )

    def add(self, name: str, at: float, until: float) -> bool:
        key, now = key_of(name), self._now()
        if until <= now:
            return True
        if not self._stream.add(key, until, now):
            return False
        self._replica.merge(key, at, until)
        return True

    def put(self, name: str, at: float, until: float) -> None:
        key = key_of(name)
        if until <= self._now():
            return
        reached = self._stream.put([(key, at, until)], self._replicas)
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

    def close(self) -> None:
        """Stop reading; a later look begins anew."""
        self._replica.close()
        self._stream.close()

    def __repr__(self) -> str:
        return f"<RedisStore {self._servers!r}>"


@dataclass(frozen=True)
class _Servers:
    """Where the servers are, and how they are spoken to."""

    kind: str
    hosts: Sequence[tuple[str, int]]
    service: str
    options: Mapping[str, Any] = field(repr=False)

    def connect(self, answer_s: float) -> Any:
        """A client that waits so long for an answer, and never tries again."""
        limits: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": answer_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if self.kind == "cluster":
            nodes = [ClusterNode(*host) for host in self.hosts]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **self._plain(), **limits)
        if self.kind == "sentinel":
            sentinel: Any = Sentinel(self.hosts, sentinel_kwargs=limits, **limits)  # type: ignore[no-untyped-call]
            return sentinel.master_for(self.service, **self._plain())
        return Redis.from_pool(ConnectionPool(**self.options, **limits))

    def _plain(self) -> dict[str, Any]:
        """Options for those who make connections of their own."""
        is_tls = self.options.get("connection_class") is SSLConnection
        plain = {name: self.options[name] for name in self.options if name not in OWN}
        return {**plain, "ssl": is_tls}


def _read_url(url: str) -> _Servers:
    scheme, _, rest = url.partition("://")
    scheme, _, kind = scheme.partition("+")
    if kind not in ("", "sentinel", "cluster"):
        raise ValueError(f"{kind!r}: write redis://, redis+sentinel:// or +cluster://")
    authority, _, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    path, question, query = path.partition("?")
    service, _, db = path.partition("/") if kind == "sentinel" else ("", "", path)
    first = hosts.split(",")[0] if kind else hosts
    options: dict[str, Any] = parse_url(  # type: ignore[no-untyped-call]
        f"{scheme}://{user}{at}{first}/{db}{question}{query}"
    )
    if kind == "cluster" and options.pop("db", 0):
        raise ValueError("a cluster has no databases; leave the number out")
    if unwanted := sorted(options.keys() - ALLOWED):
        raise ValueError(f"leave {unwanted[0]} out of the URL")
    return _Servers(kind, _read_hosts(hosts if kind else ""), service, options)


def _read_hosts(hosts: str) -> Sequence[tuple[str, int]]:
    found = [urlsplit(f"//{host}") for host in hosts.split(",") if host]
    return tuple((str(part.hostname), part.port or 6379) for part in found)
