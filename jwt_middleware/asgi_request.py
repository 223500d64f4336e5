"""A request as an ASGI server describes it."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

from .paths import below_root
from .request import NO_ROOTS, Request, Roots
from .roots import AppRoot

Scope = MutableMapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

UNKNOWN = AppRoot()


class ScopeRequest(Request):
    """The request of an ASGI *scope*, whose headers are *headers*.

    *app_root* is the root that the application is known to strip.
    """

    __slots__ = ("_app_root", "_headers", "_scope")

    def __init__(
        self, scope: Scope, headers: Headers, app_root: AppRoot = UNKNOWN
    ) -> None:
        self._scope = scope
        self._headers = headers
        self._app_root = app_root

    @property
    def method(self) -> str:
        return self.sent_method.upper()

    @property
    def sent_method(self) -> str:
        scope = self._scope
        method: str = "GET" if scope["type"] == "websocket" else scope["method"]
        return method

    @property
    def scheme(self) -> str:
        scheme: str = self._scope.get("scheme", "ws" if self.is_handshake else "http")
        return scheme

    @property
    def path(self) -> str:
        return below_root(self.whole_path, self.roots)

    @property
    def whole_path(self) -> str:
        path: str = self._scope["path"]
        return path

    @property
    def roots(self) -> Roots:
        root = self._scope.get("root_path") or ""
        if not root and not self._app_root.name:  # the usual case
            return NO_ROOTS
        return self._app_root.beside(root)

    @property
    def raw_path(self) -> str:
        raw_path: bytes = self._scope.get("raw_path") or b""
        text = raw_path.decode("latin-1")
        return text.partition("?")[0] if "?" in text else text

    @property
    def is_handshake(self) -> bool:
        return bool(self._scope["type"] == "websocket")

    def header(self, name: str) -> Sequence[str]:
        wanted, found = name.encode(), []
        for key, value in self._headers:
            if key.lower() == wanted:
                found.append(value.decode("latin-1"))
        return tuple(found)
