"""Which request needs what."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from posixpath import normpath
from unicodedata import normalize
from urllib.parse import unquote

from .errors import InsufficientScope, NoCredentials
from .options import SCOPE, read_flag, read_parts, read_words
from .request import Request
from .token import Token

logger = logging.getLogger("jwt_middleware")

REMEMBERED = 1024
"""Requests whose rules are known; a stranger's paths drive out others, and no more."""
LONGEST_REMEMBERED = 300
"""Characters of method and path."""
METHOD = re.compile(r"[A-Z][A-Z0-9-]*")  # methods have a case: "get" would never match
TWO_WAYS = re.compile(
    r"//|\\|;|%[0-9A-Fa-f]{2}|[\x00-\x1F\x7F\uD800-\uDFFF]|/\.\.?(?:/|\Z)|\A[^/]"
)
"""What one router takes literally and another resolves, cuts off or decodes again."""
BEYOND_ASCII = re.compile(r"[^\x00-\x7F]")
CONTROL = re.compile(r"[\x00-\x1F\x7F]")
RAW_TWO_WAYS = re.compile(r"%2F|%5C|\A[^/]", re.IGNORECASE)
"""What only the undecoded path shows: an encoded slash, the absolute form."""


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
    left empty means every method; GET includes HEAD.  A *public* path asks for no
    token and reads none; an *optional* one reads a token if it is there, and
    refuses a bad one.  *scopes* are all needed.

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
        object.__setattr__(self, "methods", read_words("methods", self.methods, METHOD))
        object.__setattr__(self, "scopes", read_words("scopes", self.scopes, SCOPE))
        if (self.public and self.optional) or (self.scopes and self.admits_anonymous):
            raise ValueError(
                f"{self.path}: public, optional and scopes exclude each other"
            )

    @property
    def admits_anonymous(self) -> bool:
        """Whether a request without a token may pass."""
        return self.public or self.optional

    def covers(self, method: str, path: str) -> bool:
        """Whether the rule is about *method* on *path*, read literally."""
        is_head_of_get = method == "HEAD" and "GET" in self.methods
        if self.methods and method not in self.methods and not is_head_of_get:
            return False
        if self.path.endswith("/*"):
            return path.startswith(self.path[:-1])
        return path == self.path

    def shadows(self, other: Rule) -> bool:
        """Whether no request is left to *other* that this rule does not cover."""
        if self.methods and not (other.methods and {*other.methods} <= {*self.methods}):
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
    for earlier, later in combinations(found, 2):
        if earlier.shadows(later):
            logger.warning("%r never applies: it stands after %r", later, earlier)
    return found


class Rules:
    """The rules of an application, and which of them were found for a request."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = read_rules(rules)
        self._remembered = lru_cache(REMEMBERED)(self._found)
        # One of somebody's own may look at more than the request.
        self._are_plain = all(type(rule) is Rule for rule in self._rules)

    def found(self, request: Request) -> tuple[Sequence[Rule], bool]:
        """The rules that *request* has to satisfy, and whether they are all public."""
        if not self._rules:
            return NO_RULES
        method, path, raw_path = request.method, request.path, request.raw_path
        length = len(method) + len(path) + len(raw_path)
        if length > LONGEST_REMEMBERED or not self._are_plain:
            return self._found(method, path, raw_path)
        return self._remembered(method, path, raw_path)

    def _found(
        self, method: str, path: str, raw_path: str
    ) -> tuple[Sequence[Rule], bool]:
        rules = match(self._rules, method, path, raw_path)
        return rules, all(rule.public for rule in rules)


def match(
    rules: Sequence[Rule], method: str, path: str, raw_path: str = ""
) -> Sequence[Rule]:
    """The rules that a request has to satisfy, all of them; mostly there is one.

    A path that a router might read otherwise than we do is held to the rule of
    every reading, and let in by none without a token.  Many routers add or drop a
    slash at the end: so unless a rule names the path exactly, it is held to the
    rule of its twin as well, though never let in by it.  A rule of the twin that
    covers the path too adds nothing: the one before it was chosen over it.
    """
    path = path or "/"
    if is_ambiguous(path, raw_path):
        plain = _resolved(path)
        found = [_first(rules, method, p) for p in (path, plain, _twin(plain))]
        return _strict(found) or (TOKEN_NEEDED,)
    literal = _first(rules, method, path)
    twin = _first(rules, method, _twin(path))
    if literal is None:
        return _strict([twin]) or (TOKEN_NEEDED,)
    if literal.path == path or (twin is not None and twin.covers(method, path)):
        return (literal,)
    return (literal, *_strict([twin]))


def is_ambiguous(path: str, raw_path: str = "") -> bool:
    """Whether two routers could take *path* for two different ones."""
    folded = _folded(path)
    if folded.count("/") != path.count("/") or TWO_WAYS.search(folded):
        return True
    return RAW_TWO_WAYS.search(raw_path) is not None


def _folded(path: str) -> str:
    """*path* with full-width dots and slashes made real ones."""
    # One by one: NFKC of a long run of combining marks takes quadratic time.
    return BEYOND_ASCII.sub(lambda found: normalize("NFKC", found[0]), path)


def _strict(rules: Iterable[Rule | None]) -> Sequence[Rule]:
    """Of *rules*, those that ask for a token."""
    return [rule for rule in rules if rule is not None and not rule.admits_anonymous]


def _first(rules: Sequence[Rule], method: str, path: str) -> Rule | None:
    return next((rule for rule in rules if rule.covers(method, path)), None)


def _twin(path: str) -> str:
    return path[:-1] if path.endswith("/") else f"{path}/"


def _resolved(path: str) -> str:
    """*path* as the most helpful router would read it."""
    # Without control characters: "$" at the end of a pattern matches before "\n".
    text = CONTROL.sub("", _folded(unquote(path)))
    segments = text.replace("\\", "/").split("/")
    return normpath("/" + "/".join(s.partition(";")[0] for s in segments).lstrip("/"))


def _ensure_path(path: str) -> None:
    if not isinstance(path, str):
        raise ValueError(f"the path of a rule is a string, not {path!r}")
    literal = path[:-1] if path.endswith("/*") else path
    if not path.startswith("/") or "*" in literal or is_ambiguous(literal):
        raise ValueError(
            f"{path!r} is no path of a rule; write '/exact/path' or '/prefix/*', "
            "decoded and without '//', '.', '..', ';' or a backslash"
        )


TOKEN_NEEDED = Rule("/*")
NO_RULES = ((TOKEN_NEEDED,), False)
"""What is found where there are none, for any request."""
