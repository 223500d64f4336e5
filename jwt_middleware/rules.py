"""Which request needs what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from posixpath import normpath
from unicodedata import normalize
from urllib.parse import unquote

from .errors import InsufficientScope, NoCredentials
from .options import SCOPE, read_words
from .request import Request
from .token import Token

METHOD = re.compile(r"[A-Z][A-Z0-9-]*")  # methods have a case: "get" would never match
TWO_WAYS = re.compile(
    r"//|\\|;|%[0-9A-Fa-f]{2}|[\x00-\x1F\x7F\uD800-\uDFFF]|/\.\.?(?:/|\Z)|\A[^/]"
)
"""What one router takes literally and another resolves, cuts off or decodes again."""
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
        object.__setattr__(self, "methods", read_words("methods", self.methods, METHOD))
        object.__setattr__(self, "scopes", read_words("scopes", self.scopes, SCOPE))
        if (self.public and self.optional) or (self.scopes and self.is_loose):
            raise ValueError(
                f"{self.path}: public, optional and scopes exclude each other"
            )

    @property
    def is_loose(self) -> bool:
        """Whether a request without a token may pass."""
        return self.public or self.optional

    def covers(self, method: str, path: str) -> bool:
        """Whether the rule is about *method* on *path*, read literally."""
        named = "GET" if method == "HEAD" else method
        if self.methods and not {method, named} & {*self.methods}:
            return False
        if self.path.endswith("/*"):
            return path.startswith(self.path[:-1])
        return path == self.path

    def permit(self, token: Token | None) -> None:
        """Raise AuthError where *token* is not enough."""
        if token is None:
            if not self.is_loose:
                raise NoCredentials("no credentials")
        elif missing := [scope for scope in self.scopes if scope not in token.scopes]:
            raise InsufficientScope(
                f"lacks {' '.join(missing)}", scopes=tuple(self.scopes)
            )


def match(rules: Sequence[Rule], request: Request) -> Sequence[Rule]:
    """The rules that *request* has to satisfy: one, as a rule.

    A path that a router might read otherwise than we do is held to the rule of
    each reading, and let in by none without a token.  So is a path that no rule
    covers but for a slash at its end, which many routers add or drop.
    """
    method, path = request.method, request.path or "/"
    readings: tuple[str, ...]
    if is_ambiguous(path, request.raw_path):
        plain = _resolved(path)
        readings = (path, plain, _twin(plain))
    elif (literal := _first(rules, method, path)) is not None:
        return (literal,)
    else:
        readings = (_twin(path),)
    found = [_first(rules, method, reading) for reading in readings]
    return [rule for rule in found if rule and not rule.is_loose] or (TOKEN_NEEDED,)


def is_ambiguous(path: str, raw_path: str = "") -> bool:
    """Whether two routers could take *path* for two different ones."""
    if not path.isascii():  # full-width dots and slashes fold into real ones
        path = normalize("NFKC", path)
    return bool(TWO_WAYS.search(path) or RAW_TWO_WAYS.search(raw_path))


def _first(rules: Sequence[Rule], method: str, path: str) -> Rule | None:
    return next((rule for rule in rules if rule.covers(method, path)), None)


def _twin(path: str) -> str:
    return path[:-1] if path.endswith("/") else f"{path}/"


def _resolved(path: str) -> str:
    """*path* as the most helpful router would read it."""
    segments = unquote(path).replace("\\", "/").split("/")
    return normpath("/" + "/".join(s.partition(";")[0] for s in segments).lstrip("/"))


def _ensure_path(path: str) -> None:
    literal = path[:-1] if path.endswith("/*") else path
    if not path.startswith("/") or "*" in literal or is_ambiguous(literal):
        raise ValueError(
            f"{path!r} is no path of a rule; write '/exact/path' or '/prefix/*', "
            "decoded and without '//', '.', '..', ';' or a backslash"
        )


TOKEN_NEEDED = Rule("/*")
