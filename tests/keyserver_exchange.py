"""One request to the key server, and the ways to put an answer on the wire."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PACE_S = 0.05
"""Between two octets of an answer that drips."""


@dataclass(frozen=True)
class Exchange:
    """One request that was read, and the connection that it is answered on."""

    connection: socket.socket
    url: str
    """Of the server: scheme, host and port."""
    path: str
    document: Mapping[str, Any]
    """What an honest server would answer."""
    released: threading.Event
    """Set when whatever is held may go on."""
    count: Callable[[int], None]
    """Takes the number of octets that were sent."""

    @property
    def body(self) -> bytes:
        return json.dumps(self.document).encode()

    def send(self, octets: bytes) -> None:
        """Send *octets*, and count what the client's side took of them."""
        rest = memoryview(octets)
        while rest:
            sent = self.connection.send(rest)
            self.count(sent)
            rest = rest[sent:]

    def hold(self) -> None:
        """Wait for the release; raise where the client leaves before."""
        self.drip(b"")

    def drip(self, octets: bytes) -> None:
        """Send *octets* again and again, until the release."""
        while not self.released.wait(PACE_S):
            # A client that has sent its request is read from only when it has left.
            if select.select([self.connection], [], [], 0)[0]:
                raise ConnectionAbortedError("the client has left")
            self.send(octets)

    def flood(self, octets: bytes) -> None:
        """Send *octets* as fast as the client takes them, until the release."""
        while not self.released.is_set():
            self.send(octets)


Answer = Callable[[Exchange], None]
Change = Callable[[bytes], bytes]


def head(status: str = "200 OK", **headers: object) -> bytes:
    """Status line and headers; ``Content_Length=3`` is ``Content-Length: 3``."""
    named = {"Content_Type": "application/json", "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def reply(
    change: Change = lambda body: body, *, status: str = "200 OK", **headers: object
) -> Answer:
    """The honest body after a *change*, whole and with its right length."""

    def answer(exchange: Exchange) -> None:
        body = change(exchange.body)
        exchange.send(head(status, Content_Length=len(body), **headers) + body)

    return answer


def replaced_by(body: bytes) -> Change:
    return lambda _: body


def page(status: str) -> Answer:
    """*status*, with a page for people."""
    html = b"<!doctype html><h1>Sorry</h1>"
    return reply(replaced_by(html), status=status, Content_Type="text/html")


def chunk(octets: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def raw(octets: bytes) -> Answer:
    return lambda exchange: exchange.send(octets)
