"""Find the rules that a request has to satisfy."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from .errors import AuthError, NoCredentials
from .paths import (
    below_root,
    ensure_short,
    fold,
    hides_root,
    is_ambiguous,
    readings,
    twin,
)
from .quoting import shown
from .request import NO_ROOTS, Request, Roots, Strips
from .rules import PUBLIC_METHODS, Rule, fold_rules, read_rules

logger = logging.getLogger("jwt_middleware")

REMEMBERED = 1024
"""Requests whose rules are cached; made-up paths can evict others, and no more."""
LONGEST_REMEMBERED = 300
"""The most characters of method and paths together for which rules are cached."""
PREFLIGHT = "access-control-request-method"
"""The header by which a browser marks a CORS preflight request."""
CORS_ADVICE = (
    "; a CORS preflight never has a token: put CORS outside of JWTMiddleware, or write "
    "Rule('/*', methods=('OPTIONS',), public=True)"
)
"""What the log adds to a preflight that is refused."""
NO_PATH = "/ "
"""The path that a catch-all route of Quart gets if the path lacks the root."""
SEVERAL_READINGS = re.compile(r"[?#]|[^\x00-\x7F]")
"""Matches what has more than one reading in a path that is not ambiguous."""


class Found(NamedTuple):
    """The rules that a request has to satisfy."""

    rules: Sequence[Rule]
    are_public: bool
    """Whether all rules are public."""
    is_optional: bool = False
    """Whether one of the rules is optional."""

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Found:
        are_public = all(rule.public for rule in rules)
        return cls(rules, are_public, any(rule.optional for rule in rules))


class OpenRoute(NamedTuple):
    """A route that has to be open to requests without a token.

    If its path ends in ``/*``, at least one path below has to be open.
    """

    method: str
    path: str
    why: str
    """What happens if no rule opens the route."""
    write: str
    """The rule to write."""


class Rules:
    """The rules of an application, with a cache of those found for a request."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = read_rules(rules)
        self._folded = fold_rules(self._rules)
        self._remembered = lru_cache(REMEMBERED)(self._found)
        # A subclass may use more than what the cache is keyed by.
        self._are_plain = all(type(rule) is Rule for rule in self._rules)

    def found(self, request: Request) -> Found:
        """Return the rules that *request* has to satisfy.

        Raise AmbiguousPath if the path is too long or can be read in too many ways.
        """
        if not self._rules:
            return NO_RULES
        method, path = request.sent_method, request.whole_path
        raw_path, roots = request.raw_path, request.roots
        length = len(method) + len(path) + len(raw_path)
        if length > LONGEST_REMEMBERED or not self._are_plain:
            return self._found(method, path, raw_path, roots)
        if roots is NO_ROOTS:  # hashing the roots takes as long as the rest
            return self._remembered(method, path, raw_path)
        return self._remembered(method, path, raw_path, roots)

    def _found(
        self, method: str, path: str, raw_path: str = "", roots: Roots = NO_ROOTS
    ) -> Found:
        upper = method.upper()
        rules = match(self._rules, upper, path, raw_path, roots, self._folded)
        if method != upper:
            # Flask reads "get" as GET, and Starlette as a method that it does not know.
            other = match(self._rules, method, path, raw_path, roots, self._folded)
            both = [rule for rule in (*rules, *other) if not rule.admits_anonymous]
            rules = both or (TOKEN_NEEDED,)
        return Found.of(rules)

    def ensure_open(self, routes: Iterable[OpenRoute]) -> None:
        """Log a warning for each of *routes* that no rule opens.

        Another application of the host may serve a route.  The path of a route may
        begin with a root, so a rule for any end of the path is enough.
        """
        for route in routes:
            parts = route.path.split("/")
            ends = ["/" + "/".join(parts[start:]) for start in range(1, len(parts))]
            if any(self._is_open(route.method, path) for path in ends):
                continue
            logger.warning(
                "no rule makes %s %s public: %s; write %s, unless another application "
                "serves it",
                route.method,
                route.path,
                route.why,
                route.write,
            )

    def _is_open(self, method: str, path: str) -> bool:
        if not path.endswith("/*"):
            position = _position(self._rules, method, path)
            return position is not None and self._rules[position].admits_anonymous
        below = path[:-1]
        return any(
            rule.admits_anonymous
            and rule.covers(method, rule.path.removesuffix("*"))
            and (rule.path.startswith(below) or rule.covers(method, below))
            for rule in self._rules
        )

    def advice(self, request: Request, error: AuthError) -> str:
        """Return what to write if only the method of *request* has it refused.

        Return an empty string in all other cases.
        """
        if not isinstance(error, NoCredentials) or request.method in PUBLIC_METHODS:
            return ""
        if request.method == "OPTIONS" and request.header(PREFLIGHT):
            return CORS_ADVICE
        plain = below_root(request.whole_path, request.roots) or "/"
        position = _position(self._rules, PUBLIC_METHODS[0], plain)
        if position is None:
            return ""
        rule = self._rules[position]
        if not rule.public or rule.methods:
            return ""
        return (
            f"; Rule({rule.path!r}, public=True) admits GET and HEAD; "
            f"write methods=({shown(request.method)},)"
        )


def match(
    rules: Sequence[Rule],
    method: str,
    path: str,
    raw_path: str = "",
    roots: Roots = NO_ROOTS,
    folded: Sequence[Rule] | None = None,
) -> Sequence[Rule]:
    """Return the rules that a request has to satisfy, all of them; mostly one.

    *path* is as the server reports it, and may begin with the first of *roots*.
    *folded* are the *rules* as `fold_rules` returns them.

    If two routers could read a path as two different paths, the request has to satisfy
    the rule of every reading, and always needs a token.  For any other path, the
    request has to satisfy the first rule that covers the path, and the rules of its
    other readings: other letter case, compatibility characters, the last slash, the
    path with its root.  If the rule of another reading also covers the path itself, it
    is left out: an earlier rule takes precedence.
    """
    folded = fold_rules(rules) if folded is None else folded
    ensure_short(path)
    plain = below_root(path, roots) or "/"
    if is_ambiguous(plain, raw_path) or (roots.names and hides_root(path, roots)):
        starts = [start for start in (path, plain, raw_path) if start]
        if roots.strips == Strips.OR_NOTHING:
            starts.append(NO_PATH)
        met = _met_by_all(rules, folded, method, readings(starts, roots.names))
        return _strict(rules, met) or (TOKEN_NEEDED,)
    met = _met(rules, method, plain)
    own = None
    if met and rules[met[0]].covers(method, plain):
        own = rules[met[0]]
    if roots.names or SEVERAL_READINGS.search(plain):
        paths = readings(*_starts(plain, path, roots))
        met += _met_by_all(rules, folded, method, paths)
    elif folded is not rules or fold(plain) != plain:
        met += _met(folded, method, fold(plain))
    others = [rule for rule in _strict(rules, met) if not rule.covers(method, plain)]
    return (own, *others) if own is not None else others or (TOKEN_NEEDED,)


def _starts(plain: str, path: str, roots: Roots) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that the readings of *plain* start from, and the roots in them.

    If *path* begins with the first root, no router looks for a root again.
    """
    others = [below_root(path, Roots((root,))) for root in roots.names[1:]]
    return (plain, path, *others), roots.names if path == plain else ()


def _met_by_all(
    rules: Sequence[Rule], folded: Sequence[Rule], method: str, paths: Iterable[str]
) -> list[int]:
    """Return the positions of the rules that any of *paths* meets, folded or not."""
    met = []
    for path in paths:
        met += _met(rules, method, path or "/")
        met += _met(folded, method, fold(path) or "/")
    return met


def _met(rules: Sequence[Rule], method: str, path: str) -> list[int]:
    """Return the positions of the first rule for *path* and the first for its twin.

    Many routers add or drop a slash at the end.  If a rule names *path* exactly,
    return only its position.
    """
    met = _position(rules, method, path)
    if met is not None and rules[met].path == path:
        return [met]
    positions = (met, _position(rules, method, twin(path)))
    return [position for position in positions if position is not None]


def _position(rules: Sequence[Rule], method: str, path: str) -> int | None:
    for position, rule in enumerate(rules):  # faster than a generator
        if rule.covers(method, path):
            return position
    return None


def _strict(rules: Sequence[Rule], met: Iterable[int]) -> Sequence[Rule]:
    """Return those rules of *met* that ask for a token, each once."""
    found = (rules[position] for position in dict.fromkeys(met))
    return [rule for rule in found if not rule.admits_anonymous]


TOKEN_NEEDED = Rule("/*")
NO_RULES = Found.of((TOKEN_NEEDED,))
"""The result for any request if the application has no rules."""
