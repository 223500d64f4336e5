"""What the core needs to know of a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol


class Strips(IntEnum):
    """Where an application strips its root from a path."""

    AT_SLASH = 1
    """At the start of the path, if a slash follows or nothing."""
    AT_START = 2
    """At the start of the path, whatever follows."""
    OR_NOTHING = 3
    """At the start, whatever follows; any other path is read as no path at all."""
    ANYWHERE = 4
    """Anywhere; also what is assumed of an application that is not known."""


class Roots(NamedTuple):
    """What an application may strip from a path: ``root_path`` or ``SCRIPT_NAME``."""

    names: tuple[str, ...] = ()
    """The roots, the surest first; none is empty."""
    strips: Strips = Strips.ANYWHERE


NO_ROOTS = Roots()


class Request(Protocol):
    """A request as the core sees it: the one shape of both doors.

    Nothing of it is read before it is asked for.
    """

    __slots__ = ()

    @property
    def method(self) -> str:
        """In capitals, as frameworks read it, however it was sent; ``GET`` for a
        WebSocket handshake."""
        ...

    @property
    def sent_method(self) -> str:
        """The method as it was sent: some applications compare it to the letter."""
        return self.method

    @property
    def scheme(self) -> str:
        """As the server reports it: ``http``, ``https``, ``ws`` or ``wss``."""
        ...

    @property
    def path(self) -> str:
        """Decoded by the server, without the prefix that the app is mounted under."""
        ...

    @property
    def whole_path(self) -> str:
        """The path as the server reports it, which may begin with the root."""
        return self.path

    @property
    def roots(self) -> Roots:
        """What the app may strip from `whole_path`."""
        return NO_ROOTS

    @property
    def raw_path(self) -> str:
        """As it was sent, where the server tells; else empty."""
        ...

    @property
    def is_handshake(self) -> bool:
        """Whether the server itself says that it asks for a WebSocket."""
        ...

    def header(self, name: str) -> Sequence[str]:
        """Every value sent under a lower-case *name*, in order.  A WSGI server has
        joined them to one, by commas."""
        ...

    @property
    def is_websocket(self) -> bool:
        """Whether it asks for a WebSocket.

        A WSGI server, and an ASGI server that cannot upgrade, hand it on as a GET.
        """
        return self.is_handshake or is_upgrade(self.header("upgrade"))

    @property
    def is_secure(self) -> bool:
        """Whether nobody on the way could read along, as far as the server knows."""
        return self.scheme in ("https", "wss")

    @property
    def is_navigation(self) -> bool:
        """Whether a browser opens a page by it, or sends a form, as far as it tells."""
        if self.method not in ("GET", "POST") or self.is_websocket:
            return False
        if mode := ",".join(self.header("sec-fetch-mode")):
            return mode == "navigate"
        return ",".join(self.header("accept")).startswith("text/html")


def is_upgrade(values: Iterable[str]) -> bool:
    """Whether an ``Upgrade`` header asks for a WebSocket, as it does in HTTP/1.1."""
    return "websocket" in ",".join(values).lower()
