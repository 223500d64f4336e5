"""What the core needs to know of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence


class Request:
    """A request as data: the one shape that both doors build.

    - *method*: in capitals, as frameworks read it, however it was sent; ``GET`` for a
      WebSocket handshake.
    - *scheme*: as the server reports it: ``http``, ``https``, ``ws`` or ``wss``.
    - *path*: decoded by the server, without the prefix that the app is mounted under.
    - *header*: returns every value sent under a lower-case name, in order; a WSGI
      server has joined them to one, by commas.
    - *raw_path*: as it was sent, where the server tells.
    - *is_handshake*: whether the server itself says that it asks for a WebSocket.
    """

    __slots__ = ("header", "is_handshake", "method", "path", "raw_path", "scheme")

    def __init__(
        self,
        method: str,
        scheme: str,
        path: str,
        header: Callable[[str], Sequence[str]],
        raw_path: str = "",
        is_handshake: bool = False,
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.path = path
        self.header = header
        self.raw_path = raw_path
        self.is_handshake = is_handshake

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
