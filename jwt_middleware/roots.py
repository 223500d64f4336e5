"""Find the root that an ASGI application strips from a path, and how it does so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .request import Roots, Strips

MAX_WRAPPERS = 32
"""The most nested applications that are looked at: if an object creates its attributes
on demand, the nesting has no end."""
KNOWN = {
    "starlette": Strips.AT_SLASH,
    "fastapi": Strips.AT_SLASH,
    "django": Strips.AT_START,
    "quart": Strips.OR_NOTHING,
    "blacksheep": Strips.AT_START,
}
"""How frameworks strip a root, by their package."""


@dataclass(frozen=True, slots=True)
class AppRoot:
    """The root that an application strips, as far as it can be known."""

    name: str = ""
    """The root that the application sets in place of the server's."""
    strips: Strips = Strips.ANYWHERE

    def beside(self, root: str) -> Roots:
        """Return the roots of a request for which the server reports *root*.

        If the application sets another root, return both, that one first.
        """
        if self.name and root and root != self.name:
            return Roots((self.name, root), self.strips)
        return Roots((self.name or root,), self.strips)

    @classmethod
    def of(cls, app: object) -> AppRoot:
        """Return the root of *app*, or of an application that it wraps as its ``app``.

        FastAPI has its root in ``root_path``, and Django in its settings.
        """
        name, strips = "", Strips.ANYWHERE
        for wrapped in _unwrapped(app):
            package = type(wrapped).__module__.partition(".")[0]
            strips = KNOWN.get(package, Strips.ANYWHERE)
            name = name or _root_path(wrapped)
            if package == "django":
                name = name or _django_root()
        return cls(name, strips)


def _unwrapped(app: object) -> Iterator[object]:
    """Return *app*, the application inside it, the one inside that, and so on."""
    for _ in range(MAX_WRAPPERS):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


def _root_path(app: object) -> str:
    """Return the ``root_path`` of a FastAPI; in Flask and Quart it is a directory."""
    root = getattr(app, "root_path", None)
    if not isinstance(root, str) or hasattr(app, "import_name"):
        return ""
    return root


def _django_root() -> str:
    """Return Django's ``FORCE_SCRIPT_NAME``, which its ASGI handler strips."""
    settings = getattr(sys.modules.get("django.conf"), "settings", None)
    root = getattr(settings, "FORCE_SCRIPT_NAME", None)
    return root if isinstance(root, str) else ""
