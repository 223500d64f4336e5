"""The routes that every framework serves, the rules over them, and the judgement.

What a route needs is written beside it, apart from the rules: the tests do not ask the
code that they test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from jwt_middleware import Rule, Token, current_token

NOTHING, TOKEN, DEFAULT = "", "token", "default"
"""A need is one of these or a scope.  DEFAULT is what a path without a rule needs."""
ALL_SCOPES = "admin purge"
CREDENTIALS: Mapping[str, str | None] = {
    "anonymous": None,
    "read": "read",
    "admin": "admin",
    "all": ALL_SCOPES,
}
"""The scopes of the token that a request carries, by name; None: no token."""

RULES = (
    Rule("/public/inner/*", scopes=("admin",)),
    Rule("/public/*", public=True),
    Rule("/static/inner/*", scopes=("admin",)),
    Rule("/static/*", public=True),
    Rule("/optional/*", optional=True),
    Rule("/admin/purge", scopes=("purge",)),
    Rule("/admin/*", scopes=("admin",)),
    Rule("/sub/admin/*", scopes=("admin",)),
    Rule("/signed/*"),
    Rule("/posts/*", methods=("GET",), optional=True),
    Rule("/posts/*", scopes=("admin",)),
)
RULE_SETS: Mapping[str, tuple[Rule, ...]] = {
    "open": (*RULES, Rule("/*", optional=True)),
    "closed": RULES,
}


@dataclass(frozen=True, slots=True)
class Route:
    """A handler: the plain path that it stands for, and what that path needs.

    A *path* that ends with ``/*`` is a route that takes any rest, with slashes.
    """

    path: str
    need: str
    method: str = "GET"

    @property
    def is_catch_all(self) -> bool:
        return self.path.endswith("/*")

    @property
    def prefix(self) -> str:
        """What stands before the rest that the route takes."""
        return self.path.removesuffix("*")

    @property
    def sample(self) -> str:
        """A plain path that the route serves."""
        return f"{self.prefix}some/thing" if self.is_catch_all else self.path


NEEDS = (
    ("/public/inner/", "admin"),
    ("/public/", NOTHING),
    ("/static/inner/", "admin"),
    ("/static/", NOTHING),
    ("/optional/", NOTHING),
    ("/admin/", "admin"),
    ("/sub/admin/", "admin"),
    ("/signed/", TOKEN),
    ("/posts/", NOTHING),
)
"""What the paths below a prefix need, if a GET route takes any rest."""

FIXED = (
    Route("/", DEFAULT),
    Route("/open", DEFAULT),
    Route("/public/x", NOTHING),
    Route("/public/inner/x", "admin"),
    Route("/optional/x", NOTHING),
    Route("/admin/x", "admin"),
    Route("/admin/kiss", "admin"),  # letters that have look-alikes under (?i)
    Route("/admin/purge", "purge"),
    Route("/sub/admin/x", "admin"),
    Route("/signed/x", TOKEN),
    Route("/posts/x", NOTHING),
    Route("/posts/x", "admin", method="POST"),
)
CATCH_ALL = (
    Route("/public/*", NOTHING),
    Route("/admin/*", "admin"),
    Route("/*", DEFAULT),
)
FILES = (
    Route("/static/logo.txt", NOTHING),
    Route("/static/inner/secret.txt", "admin"),
)
TABLES: Mapping[str, tuple[Route, ...]] = {
    "bare": FIXED,
    "catching": (*FIXED, *CATCH_ALL),
}


def write_files(folder: Path) -> None:
    """Write the static files; each says which it is."""
    for route in FILES:
        path = folder / route.path.removeprefix("/static/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {route.path}\n")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a handler, and the scopes of the token that it was given."""

    route: Route
    scopes: frozenset[str] | None
    rest: str = ""
    """What a route that takes any rest was given."""

    @property
    def need(self) -> str:
        """What the plain path needs that the handler was called for."""
        if not self.route.is_catch_all:
            return self.route.need
        path = self.route.prefix + self.rest.removeprefix("/")  # Litestar's has one
        return next((n for p, n in NEEDS if path.startswith(p)), self.route.need)

    def lacks(self, rule_set: str) -> str | None:
        """What the handler needs and did not get, or None."""
        need = self.need
        if need == DEFAULT:
            need = NOTHING if rule_set == "open" else TOKEN
        if need == NOTHING or (need == TOKEN and self.scopes is not None):
            return None
        return None if self.scopes is not None and need in self.scopes else need


_runs: ContextVar[list[Run] | None] = ContextVar("runs", default=None)


@contextmanager
def recorded_runs() -> Iterator[list[Run]]:
    """The runs of handlers within the block."""
    runs: list[Run] = []
    reset = _runs.set(runs)
    try:
        yield runs
    finally:
        _runs.reset(reset)


def run(route: Route, rest: str = "") -> str:
    """Record that the handler of *route* runs; return its answer."""
    token: Token | None = current_token()
    scopes = None if token is None else token.scopes
    runs = _runs.get()
    if runs is not None:
        runs.append(Run(route, scopes, rest))
    told = None if scopes is None else sorted(scopes)
    answer = {"ran": [route.method, route.path], "for": told, "rest": rest}
    return json.dumps(answer, separators=(",", ":"))


def read_answer(body: str, sent: str) -> list[Run]:
    """The runs that the answer of a real server tells of.

    A file does not know who asked for it: *sent* names the credentials of the request.
    """
    _, found, told = body.partition('{"ran":')
    if not found:
        return read_files(body, sent)
    answer, _ = json.JSONDecoder().raw_decode(found + told)
    method, path = answer["ran"]
    (route,) = (r for r in TABLES["catching"] if (r.method, r.path) == (method, path))
    scopes = None if answer["for"] is None else frozenset(answer["for"])
    return [Run(route, scopes, answer["rest"])]


def read_files(body: str, sent: str) -> list[Run]:
    """The static files that *body* holds."""
    scopes = CREDENTIALS[sent]
    held = None if scopes is None else frozenset(scopes.split())
    return [Run(route, held) for route in FILES if f"file {route.path}\n" in body]
