"""Marks in Redis or Valkey, for all workers of all machines."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

from redis import Redis, RedisCluster
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from .bridge import instant
from .marks import key_of
from .options import read_clock, read_count, read_seconds, read_word
from .redis_marks import RedisMarks
from .replica import Replica
from .stream import Stream

CONNECT_S = 1.0
SETTLE_S = 1.0
"""Seconds in which workers that hold entries come back to a Redis that is empty.

Twice `replica.LONGEST_WAIT_S`, since they try again as often as that.
"""
OWN = ("db", "username", "password")
"""Options of the servers, which are not those of the sentinels."""
URL = re.compile(
    r"(?P<scheme>redis|rediss|unix)(?:\+(?P<kind>sentinel|cluster))?://"
    r"(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#@]*))?@)?"
    r"(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
HOST = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.]+\])(?::(?P<port>\d{1,5}))?")
PATHS = {
    "": re.compile(r"/?(?P<db>\d{0,4})"),
    "sentinel": re.compile(r"/(?P<service>[^/]+)(?:/(?P<db>\d{1,4}))?"),
    "cluster": re.compile(r"/?0?"),
}
"""By kind: what may follow the hosts."""
PORTS = {"": 6379, "sentinel": 26379, "cluster": 6379}
TLS = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"}
)
"""What a query may say; not that certificates are not checked."""


class RedisStore:
    """The marks of all workers of all machines, in Redis or Valkey from 6.2 on.

    >>> store = RedisStore("rediss://user:password@redis.example:6380/0")

    - *url*: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password;
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
        self._servers = _read_url(url)
        if replicas and self._servers.kind == "cluster":
            raise ValueError("a cluster cannot be waited for; leave replicas out")
        staleness = read_seconds("max_staleness", max_staleness, least=0.5, most=3600)
        # Often enough that a server which is well is never taken for a silent one.
        block_s = min(1.0, staleness / 5)
        self._place = "redis", prefix, self._servers.place
        self._there = RedisMarks(self._servers.connect, _read_prefix(prefix), block_s)
        self._stream = Stream(self._there, min(SETTLE_S, staleness / 2))
        self._replica = Replica(
            self._stream,
            max_staleness=staleness,
            passes_stale=on_stale == "allow",
            now=self._now,
        )

    def add(self, name: str, at: float, until: float) -> bool:
        key, now = key_of(name), self._now()
        if self._replica.marks.look(key, now) is not None:
            return False  # Redis may have lost the entry; this process has not
        stood = self._there.add(key, at, until, now, self._stream.epoch)
        self._replica.merge(key, *(stood or (at, until)))
        return stood is None

    def put(self, name: str, at: float, until: float) -> None:
        key = key_of(name)
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


@dataclass(frozen=True)
class _Servers:
    """Where the servers are, and how they are spoken to."""

    kind: str
    hosts: Sequence[tuple[str, int]]
    service: str
    options: Mapping[str, Any] = field(repr=False)

    @property
    def place(self) -> Hashable:
        """Which database this is, whoever we are there and however it is reached."""
        where = self.options.get("unix_socket_path")
        return where, frozenset(self.hosts), self.service, self.options.get("db")

    def connect(self, answer_s: float) -> Any:
        """A client that waits so long for an answer, and never tries again."""
        options: dict[str, Any] = {
            **self.options,
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": answer_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if self.kind == "cluster":
            nodes = [ClusterNode(*host) for host in self.hosts]  # type: ignore[no-untyped-call]
            return RedisCluster(startup_nodes=nodes, **options)
        if self.kind == "sentinel":
            limits = {name: options[name] for name in options if name not in OWN}
            sentinel: Any = Sentinel(self.hosts, sentinel_kwargs=limits, **options)  # type: ignore[no-untyped-call]
            return sentinel.master_for(self.service)
        if self.hosts:
            options["host"], options["port"] = self.hosts[0]
        return Redis(**options)


def _read_url(url: str) -> _Servers:
    """Take *url* apart; a password in it is shown by no message."""
    found = URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or (found["scheme"] == "unix" and not _is_unix(found)):
        raise ValueError(
            "a url is written redis://user:password@host:6379/0, rediss:// for TLS, "
            "unix:///path, redis+sentinel:// or redis+cluster://; a / in a password "
            "is %2F"
        )
    options = {
        **_read_query(found["query"] or "", found["scheme"]),
        "username": unquote(found["user"] or "") or None,
        "password": unquote(found["password"] or "") or None,
    }
    if found["scheme"] == "unix":
        return _Servers("", (), "", {**options, "unix_socket_path": found["path"]})
    return _read_servers(found, options)


def _is_unix(found: re.Match[str]) -> bool:
    return bool(found["path"]) and not found["kind"] and not found["hosts"]


def _read_servers(found: re.Match[str], options: dict[str, Any]) -> _Servers:
    kind = found["kind"] or ""
    path = PATHS[kind].fullmatch(found["path"] or "")
    if path is None:
        raise ValueError("the path is /0, /service/0 for sentinels, or nothing")
    named = path.groupdict()
    if kind != "cluster":
        options["db"] = int(named["db"] or options.get("db", 0))
    elif options.pop("db", 0):
        raise ValueError("a cluster has no databases; leave the number out")
    hosts = tuple(_read_host(host, kind) for host in found["hosts"].split(","))
    if not kind and len(hosts) > 1:
        raise ValueError("several hosts are for redis+sentinel:// or redis+cluster://")
    return _Servers(kind, hosts, named.get("service", ""), options)


def _read_host(text: str, kind: str) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    port = int((found and found["port"]) or PORTS[kind])
    if found is None or not 0 < port < 65536:
        raise ValueError("a host is written as redis.example:6379")
    return found["host"].strip("[]"), port


def _read_query(query: str, scheme: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    allowed = {"db", *TLS} if scheme == "rediss" else {"db"}
    if options.keys() - allowed or not str(options.get("db", 0)).isdecimal():
        names = ", ".join(sorted(allowed))
        raise ValueError(f"the query of a {scheme}:// URL says nothing but {names}")
    if "db" in options:
        options["db"] = int(options["db"])
    if scheme == "rediss":
        options |= {"ssl": True, "ssl_check_hostname": True}
    return options


def _read_prefix(prefix: str) -> str:
    if "{" in read_word("prefix", prefix) or "}" in prefix:
        raise ValueError("prefix has no braces: they say which slot a key is in")
    return prefix
