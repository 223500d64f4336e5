"""Read the URL of a `RedisStore`."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

URL = re.compile(
    r"(?P<scheme>redis|rediss|unix)(?:\+(?P<kind>sentinel|cluster))?://"
    r"(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#@]*))?@)?"
    r"(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
SCHEME = re.compile(r"(?:rediss?|unix)(?:\+(?:sentinel|cluster))?")
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
"""Options in a query.  None of them turns the check of certificates off."""


@dataclass(frozen=True)
class Servers:
    """Where the servers are."""

    kind: str
    hosts: Sequence[tuple[str, int]]
    service: str
    options: Mapping[str, Any] = field(repr=False)

    @property
    def place(self) -> Hashable:
        """Identifies the database, without the user and without the use of TLS."""
        where = self.options.get("unix_socket_path")
        return where, frozenset(self.hosts), self.service, self.options.get("db")


def read_url(url: str) -> Servers:
    """Parse *url*.  Raise ValueError, whose message shows no password."""
    found = URL.fullmatch(url) if isinstance(url, str) else None
    if found is None or not (_is_unix if found["scheme"] == "unix" else _is_tcp)(found):
        raise ValueError(
            f"url {_fault_of(url)}; write redis://user:password@host:6379/0, rediss:// "
            "for TLS, unix:///path, redis+sentinel:// or redis+cluster://"
        )
    options = {
        **_read_query(found["query"] or "", found["scheme"]),
        "username": unquote(found["user"] or "") or None,
        "password": unquote(found["password"] or "") or None,
    }
    if found["scheme"] == "unix":
        return Servers("", (), "", {**options, "unix_socket_path": found["path"]})
    return _read_servers(found, options)


def _fault_of(url: object) -> str:
    """Say what is wrong with *url*, and nothing of it that may be a password."""
    if not isinstance(url, str):
        return f"is a {type(url).__name__}, expected a str"
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "has no '://'"
    if not SCHEME.fullmatch(scheme):
        return "does not begin with redis://, rediss:// or unix://"
    if "#" in rest or rest.count("@") > 1 or "@" in rest.partition("/")[2]:
        return "has '/', '#', '?' or '@' in the password, which are %2F, %23, %3F, %40"
    return "has parts that are not where they are expected"


def _is_unix(found: re.Match[str]) -> bool:
    return bool(found["path"]) and not found["kind"] and not found["hosts"]


def _is_tcp(found: re.Match[str]) -> bool:
    if found["kind"] == "sentinel":  # whose services may have any name
        return True
    return "@" not in (found["path"] or "")  # else a password was cut at its slash


def _read_servers(found: re.Match[str], options: dict[str, Any]) -> Servers:
    kind = found["kind"] or ""
    path = PATHS[kind].fullmatch(found["path"] or "")
    if path is None:
        raise ValueError(
            "what follows the hosts of the url is not the number of a database; write "
            "/0 or nothing, /service/0 for sentinels, and no number for a cluster"
        )
    named = path.groupdict()
    if kind != "cluster":
        options["db"] = int(named["db"] or options.get("db", 0))
    elif options.pop("db", 0):
        raise ValueError(
            "the url names a database, and a cluster has none; leave the number out"
        )
    hosts = tuple(_read_host(host, kind) for host in found["hosts"].split(","))
    if not kind and len(hosts) > 1:
        raise ValueError(
            "the url has several hosts, expected one; write redis+sentinel:// or "
            "redis+cluster:// for several"
        )
    return Servers(kind, hosts, named.get("service", ""), options)


def _read_host(text: str, kind: str) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    port = int((found and found["port"]) or PORTS[kind])
    if found is None or not 0 < port < 65536:
        raise ValueError(
            "a host of the url is empty, or its port is not a number from 1 to 65535; "
            "write it as redis.example:6379"
        )
    return found["host"].strip("[]"), port


def _read_query(query: str, scheme: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    allowed = {"db", *TLS} if scheme == "rediss" else {"db"}
    if options.keys() - allowed or not str(options.get("db", 0)).isdecimal():
        names = ", ".join(sorted(allowed))
        raise ValueError(
            f"the query of the url has an option that is unknown or not valid; a "
            f"{scheme}:// URL takes {names}"
        )
    if "db" in options:
        options["db"] = int(options["db"])
    if scheme == "rediss":
        options |= {"ssl": True, "ssl_check_hostname": True}
    return options
