"""Connections that end by a deadline, to no address that is not allowed."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import socket
    import ssl
    from ipaddress import IPv4Address, IPv6Address

NEEDED = ("encodings.idna", "http.client", "ipaddress", "ssl", "urllib.request")
MOST_OCTETS = 512 * 1024
"""Read from one connection, whatever they are."""
CONNECT_S = 2.0
"""For each address of a host; the whole has a deadline of its own."""
FOR_IPV4 = (
    bytes(10) + b"\xff\xff",  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
    b"\x00\x64\xff\x9b" + bytes(8),  # 64:ff9b::/96, RFC 6052 §2.1
)
"""How an address of IPv6 begins that stands for one of IPv4."""


class Deadlined:
    """A socket whose steps together have one deadline, not each its own.

    It has what `http.client` asks of a socket; who opened that one closes it.
    """

    def __init__(self, sock: socket.socket, until: float) -> None:
        self._sock = sock
        self._until = until
        self._octets = 0

    def as_socket(self) -> socket.socket:
        return cast("socket.socket", self)

    def sendall(self, octets: bytes) -> None:
        self._sock.settimeout(left(self._until))
        self._sock.sendall(octets)

    def recv_into(self, buffer: memoryview) -> int:
        self._sock.settimeout(left(self._until))
        count = self._sock.recv_into(buffer)
        self._octets += count  # headers too, and chunks of a length that lies
        if self._octets > MOST_OCTETS:
            raise OSError(f"the answer has more than {MOST_OCTETS} octets in all")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        pass


class _Reader(io.RawIOBase):
    """The reading half of a `Deadlined`, as a file."""

    def __init__(self, channel: Deadlined) -> None:
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._channel.recv_into(memoryview(buffer))


def prepare() -> None:
    """Import what a connection needs.

    Not in the thread that fetches: a fork would find it half imported, and the child
    could never import it again.
    """
    for name in NEEDED:
        import_module(name)


def left(until: float) -> float:
    """Seconds until *until*, by the monotonic clock.  Raise TimeoutError after it."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline has passed")
    return seconds


def connect(
    host: str, port: int, until: float, allowed: Callable[[str], bool]
) -> socket.socket:
    """Connect to the first address of *host* that is *allowed* and answers.

    It is judged here, after the name was looked up, so that no answer of a name
    server leads elsewhere.  Raise OSError.
    """
    import socket

    failure = OSError("the host has no address that is allowed")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        if not allowed(str(address[0])):
            continue
        try:
            return _connected(socket.socket(family, kind, protocol), address, until)
        except OSError as error:  # also where this machine has no such family
            failure = error
    raise failure


def _connected(sock: socket.socket, address: Any, until: float) -> socket.socket:
    try:
        sock.settimeout(min(CONNECT_S, left(until)))
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_through(
    proxy: SplitResult, host: str, port: int, until: float
) -> socket.socket:
    """Connect to *host* by way of *proxy* (RFC 9110 §9.3.6).  Raise OSError."""
    from base64 import b64encode
    from http.client import HTTPResponse
    from urllib.parse import unquote

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {b64encode(user).decode()}")
    sock = connect(str(proxy.hostname), proxy.port or 80, until, is_any)
    try:
        channel = Deadlined(sock, until)
        channel.sendall("\r\n".join([*lines, "", ""]).encode())
        with HTTPResponse(channel.as_socket(), method="CONNECT") as answer:
            answer.begin()
            if answer.status != 200:
                raise OSError(f"the proxy answered {answer.status}")
    except BaseException:
        sock.close()
        raise
    return sock


def proxy_for(host: str) -> SplitResult | None:
    """The proxy that the environment names for https to *host*."""
    from urllib.request import getproxies, proxy_bypass

    url = getproxies().get("https")
    if url is None or proxy_bypass(host):
        return None
    with suppress(ValueError):  # whose text may show a piece of a password
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme == "http" and parts.hostname and parts.port != 0:
            return parts
    raise OSError("https_proxy names no proxy that is spoken to by plain http")


def secure(
    sock: socket.socket, host: str, until: float, cafile: str | None
) -> socket.socket:
    """Speak TLS on *sock* with *host*, whose certificate is checked.  Raise OSError."""
    try:
        sock.settimeout(left(until))
        secured: socket.socket = tls(cafile).wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    return secured


def tls(cafile: str | None) -> ssl.SSLContext:
    """Trust the certificates of *cafile*, else the system's.  Raise OSError.

    Read for every connection, so that renewed ones count.
    """
    import ssl

    return ssl.create_default_context(cafile=cafile)


def is_any(address: str) -> bool:
    return True


def is_loopback(address: str) -> bool:
    return _plain(address).is_loopback


def is_public(address: str) -> bool:
    """Whether it is of the internet at large, whatever it is written as."""
    ip = _plain(address)
    if ip.version == 4:
        return ip.is_global and not ip.is_multicast
    # 2000::/3, less what holds an address of IPv4 and is not routed any more.
    is_unicast = ip.packed[0] >> 5 == 1 and not ip.sixtofour and not ip.teredo
    return is_unicast and ip.is_global


def _plain(address: str) -> IPv4Address | IPv6Address:
    """Without its zone; one that stands for an address of IPv4 as that one."""
    from ipaddress import IPv4Address, ip_address

    ip = ip_address(address.partition("%")[0])
    if ip.version == 6 and ip.packed[:12] in FOR_IPV4:
        return IPv4Address(ip.packed[12:])
    return ip
