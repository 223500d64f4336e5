"""What the core needs to know of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Request(NamedTuple):
    """A request as data: the one shape that both doors build."""

    method: str
    """In capitals, as frameworks read it, however it was sent; ``GET`` for a
    WebSocket handshake."""
    scheme: str
    """As the server reports it: ``http``, ``https``, ``ws`` or ``wss``."""
    path: str
    """Decoded by the server, without the prefix that the app is mounted under."""
    header: Callable[[str], tuple[str, ...]]
    """Every value sent under a lower-case name, in order.  A WSGI server has
    joined them to one, by commas."""
    raw_path: str = ""
    """As it was sent, where the server tells."""
    is_handshake: bool = False
    """Whether the server itself says that it asks for a WebSocket."""

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
