"""A router that is more lenient than any single one: Starlette behind rewriting steps.

Proxies, servers and applications each rewrite paths in some of these ways.  A request
names the steps and their order, so that combinations are tried that no router of today
has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from posixpath import normpath
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote, unquote_to_bytes, urlsplit

HEADER = "x-steps"


def _without_parameters(path: str) -> str:
    return "/".join(segment.partition(";")[0] for segment in path.split("/"))


def _without_authority(path: str) -> str:
    try:
        return urlsplit(path).path if "://" in path else path
    except ValueError:  # no valid address
        return path


def _without_invalid_octets(path: str) -> str:
    return unquote_to_bytes(path).decode("utf-8", "ignore")


STEPS: Mapping[str, Callable[[str], str]] = {
    "decode": unquote,
    "decode-all": lambda path: unquote(unquote(unquote(unquote(path)))),
    "drop-invalid": lambda path: path.replace("\ufffd", ""),
    "decode-dropping": _without_invalid_octets,
    "compatibility": lambda path: normalize("NFKC", path),
    "case": str.casefold,
    "lower": str.lower,
    "upper-lower": lambda path: path.upper().lower(),
    "backslash": lambda path: path.replace("\\", "/"),
    "parameters": _without_parameters,
    "dots": lambda path: normpath(path) if path else path,
    "one-slash": lambda path: re.sub("//+", "/", path),
    "leading": lambda path: "/" + path.lstrip("/"),
    "first-slash": lambda path: path if path.startswith("/") else f"/{path}",
    "authority": _without_authority,
    "last-slash": lambda path: path.rstrip("/") or "/",
    "controls": lambda path: re.sub(r"[\x00-\x1f\x7f]", "", path),
    "nul": lambda path: path.partition("\0")[0],
}


def rewriting(app: Any) -> Any:
    """An ASGI application: *app* behind the steps that a request names."""

    async def rewritten(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        names = dict(scope["headers"]).get(HEADER.encode(), b"").decode().split()
        for name in names:
            path = STEPS[name](path)
        await app({**scope, "path": path}, receive, send)

    return rewritten
