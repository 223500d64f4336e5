"""Which request needs what."""

from __future__ import annotations

import logging
import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from .errors import InsufficientScope, NoCredentials
from .options import SCOPE, read_flag, read_parts, read_words
from .paths import fold, is_ambiguous
from .token import Token

logger = logging.getLogger("jwt_middleware")

METHOD = re.compile(r"[A-Z][A-Z0-9-]*")  # methods have a case: "get" would never match
PUBLIC_METHODS = ("GET", "HEAD")
"""The methods of a public rule that names none: they change nothing."""
QUERY = re.compile(r"\?\w+=")
PLACEHOLDER = re.compile(r"\{[^/]*\}|<[^/]*>|/:[A-Za-z_]\w*")
"""A parameter of a path, as routers write it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What the requests to *path* need.

    >>> rules = (
    ...     Rule("/health", public=True),
    ...     Rule("/admin/*", scopes=("admin",)),
    ...     Rule("/articles/*", methods=("GET",), optional=True),
    ... )

    *path* is exact, or a prefix of whole segments with ``/*`` at its end.  It is
    matched against the server's decoded path, never against a header.  *methods*
    left empty means every method, and GET and HEAD if the rule is *public*; GET
    includes HEAD.  A *public* path asks for no token and reads none; an *optional*
    one reads a token if it is there, and refuses a bad one.  *scopes* are all needed.

    The first rule that covers a request applies; where none does, a token is
    needed.  Raises ValueError for what could never match or contradicts itself.
    """

    path: str
    methods: Sequence[str] = field(default=(), kw_only=True)
    public: bool = field(default=False, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    scopes: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        _ensure_path(self.path)
        read_flag("public", self.public)
        read_flag("optional", self.optional)
        object.__setattr__(self, "methods", _read_methods(self.methods))
        object.__setattr__(self, "scopes", read_words("scopes", self.scopes, SCOPE))
        if (self.public and self.optional) or (self.scopes and self.admits_anonymous):
            given = [n for n in ("public", "optional", "scopes") if getattr(self, n)]
            raise ValueError(
                f"Rule({self.path!r}) has {' and '.join(given)}, which exclude each "
                "other; write one of them"
            )

    @property
    def admits_anonymous(self) -> bool:
        """Whether a request without a token may pass."""
        return self.public or self.optional

    @property
    def _default_methods(self) -> Sequence[str]:
        """Return the methods of a rule that names none; empty means every method."""
        return PUBLIC_METHODS if self.public else ()

    def covers(self, method: str, path: str) -> bool:
        """Whether the rule is about *method* on *path*, read literally."""
        own = self.path
        if path != own and not (own[-2:] == "/*" and path.startswith(own[:-1])):
            return False
        methods = self.methods or self._default_methods
        return (
            not methods or method in methods or (method == "HEAD" and "GET" in methods)
        )

    def shadows(self, other: Rule) -> bool:
        """Whether no request is left to *other* that this rule does not cover."""
        methods = self.methods or self._default_methods
        others = other.methods or other._default_methods
        if methods and not (others and {*others} <= {*methods}):
            return False
        if self.path.endswith("/*"):
            return other.path.removesuffix("*").startswith(self.path[:-1])
        return self.path == other.path

    def permit(self, token: Token | None) -> None:
        """Raise AuthError where *token* is not enough."""
        if token is None:
            if not self.admits_anonymous:
                raise NoCredentials("no credentials")
        elif self.scopes:
            ensure_scopes(token, self.scopes)


def ensure_scopes(token: Token, scopes: Sequence[str]) -> None:
    """Raise InsufficientScope where one of *scopes* is missing."""
    if missing := [scope for scope in scopes if scope not in token.scopes]:
        raise InsufficientScope(f"lacks {' '.join(missing)}", scopes=tuple(scopes))


def read_rules(rules: Iterable[Rule]) -> Sequence[Rule]:
    """Return *rules*.  One that can never apply is logged."""
    found = read_parts("rules", rules, "covers", "permit")
    for rule in found:
        if not isinstance(rule, Rule):
            raise ValueError(
                f"each of rules is a Rule, not a {type(rule).__name__}; "
                "derive its class from Rule"
            )
    for earlier, later in combinations(found, 2):
        if earlier.shadows(later):
            logger.warning("%r never applies: it stands after %r", later, earlier)
    return found


def _read_methods(methods: object) -> tuple[str, ...]:
    """Return names of methods.  Raise ValueError for a name in lower case."""
    names = read_words("methods", methods)
    for method in names:
        if not METHOD.fullmatch(method):
            raise ValueError(
                f"{method!r} is not the name of a method, which has capital letters; "
                f"write {method.upper()!r}"
            )
    return names


def fold_rules(rules: Sequence[Rule]) -> Sequence[Rule]:
    """Return *rules* for folded paths; *rules* itself if their paths are folded."""
    folded = tuple(
        replace(rule, path=fold(rule.path)) if type(rule) is Rule else rule
        for rule in rules
    )
    return rules if all(map(operator.eq, folded, rules)) else folded


def _ensure_path(path: str) -> None:
    if not isinstance(path, str):
        raise ValueError(f"the path of a rule is a string, not {path!r}")
    if found := PLACEHOLDER.search(path):
        prefix = path[: found.start()].rpartition("/")[0] or path[
            : found.start()
        ].rstrip("/")
        raise ValueError(
            f"{path!r} is not a path of a rule: a rule has no parameters such as "
            f"{found[0].lstrip('/')!r}; write {prefix + '/*'!r}"
        )
    if query := QUERY.search(path):  # any other "?" may be part of a decoded path
        raise ValueError(
            f"{path!r} is not a path of a rule: a rule does not see the query; "
            f"write {path[: query.start()]!r}"
        )
    literal = path[:-1] if path.endswith("/*") else path
    if not path.startswith("/") or "*" in literal or is_ambiguous(literal):
        raise ValueError(
            f"{path!r} is not a path of a rule; write '/exact/path' or '/prefix/*', "
            "decoded and without '//', '.', '..', ';' or a backslash"
        )
