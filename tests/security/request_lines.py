"""What servers make of the same request line: the ways in which they differ.

Each `Reading` puts a target into an environ or a scope as at least one server does, or
did; the real ones serve in `test_routers` as well.
"""

from __future__ import annotations

import io
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes

ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
ROOT = "/api"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a server reads a target below *root*."""

    root: str = ""
    root_is_added: bool = False
    """ASGI: the path is root and target (uvicorn); else the target (hypercorn)."""
    cut: str = "prefix"
    """WSGI: how the root leaves PATH_INFO: as a *prefix*; by its *length*, whatever
    stands there; where it *stands*, anywhere; or *not*, since it was not sent."""
    origin_form: bool = False
    """The authority of an absolute target is taken off (httptools, gunicorn)."""
    one_slash: bool = False
    """Slashes at the beginning become one (waitress, werkzeug)."""
    tells_raw: bool = True
    """The application is told the target as it was sent."""

    def plain_target(self, path: str) -> str:
        """The target that a well-behaved client sends for *path* of the application."""
        return path if self.root_is_added or self.cut == "not" else self.root + path

    def scope(self, method: str, target: str, headers: Mapping[str, str]) -> Any:
        """The ASGI scope."""
        sent, _, query = self._sent(target).partition("?")
        added = self.root if self.root_is_added else ""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": added + unquote(sent),
            "raw_path": (added + sent).encode(),
            "query_string": query.encode(),
            "root_path": self.root,
            "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }
        if not self.tells_raw:
            del scope["raw_path"]
        return scope

    def environ(self, method: str, target: str, headers: Mapping[str, str]) -> Any:
        """The WSGI environ."""
        sent, _, query = self._sent(target).partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self.root,
            "PATH_INFO": self._below_root(unquote_to_bytes(sent).decode("latin-1")),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "443",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "CONTENT_LENGTH": "0",
        }
        if self.tells_raw:
            environ["RAW_URI"] = target
        for name, value in headers.items():
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return environ

    def _sent(self, target: str) -> str:
        if self.origin_form:
            target = ABSOLUTE.sub("", target, count=1)
        return re.sub(r"\A/+", "/", target) if self.one_slash else target

    def _below_root(self, path: str) -> str:
        if self.cut == "length":
            return path[len(self.root) :]
        if self.cut == "stands" and self.root:
            return path.split(self.root, 1)[-1]
        return path.removeprefix(self.root) if self.cut == "prefix" else path


def orderly_readings(kind: str) -> list[Reading]:
    """Readings without and with a root, for requests that mean no harm."""
    if kind == "asgi":
        return [Reading(), Reading(ROOT), Reading(ROOT, root_is_added=True)]
    return [Reading(), Reading(ROOT), Reading(ROOT, cut="not")]


def any_reading(rng: random.Random) -> Reading:
    return Reading(
        root=rng.choice(("", ROOT, ROOT, "/gw/api")),
        root_is_added=rng.random() < 0.5,
        cut=rng.choice(("prefix", "length", "stands", "not")),
        origin_form=rng.random() < 0.3,
        one_slash=rng.random() < 0.2,
        tells_raw=rng.random() < 0.7,
    )
