"""How servers, routers and file systems read a path.

Two programs can read one path differently: one resolves ``..``, another takes it
literally.  `readings` returns every reading that we know of, in every combination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from unicodedata import category, normalize
from urllib.parse import unquote

from .errors import AmbiguousPath
from .request import Roots, Strips

MAX_OCTETS = 8192
"""The longest path, in octets, that is read: a reading takes linear time."""
MAX_READINGS = 64
"""The most readings of one path; a path with more is no mistake of a client."""
MAX_CHARACTERS = 4 * MAX_OCTETS
"""The most characters of all readings of one path together, so that their number and
their length cannot both be at the bound."""
TWO_WAYS = re.compile(
    r"//|\\|;|%[0-9A-Fa-f]{2}|[\x00-\x1F\x7F\uD800-\uDFFF\uFFFD]|/\.\.?(?:/|\Z)|\A[^/]"
)
"""Matches what one router takes literally and another resolves, drops or decodes."""
RAW_TWO_WAYS = re.compile(r"%2F|%5C|\A[^/]", re.IGNORECASE)
"""Matches what only the undecoded path shows: an encoded slash, the absolute form."""
DROPPED = re.compile(r"[\x00-\x1F\x7F]")
INVALID = re.compile(r"[\uD800-\uDFFF\uFFFD]")
"""Octets that are not UTF-8, as WSGI and ASGI servers hand them on."""
SLASHES = re.compile(r"//+")
PARAMETERS = re.compile(r";[^/]*")
DOT_SEGMENT = re.compile(
    r"\A/?\.\.(?=/|\Z)|/\.(?=/|\Z)|/[^/]*/\.\.(?=/|\Z)"  # in this order
)
PARENT = re.compile(r"/\.\.(?=/|\Z)")
"""A dot segment that is dropped alone, where it would lead out of what is mounted."""
REFERENCE = re.compile(
    r"\A[\x00-\x20]*(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?([^?#]*).*", re.DOTALL
)
"""A URI reference (RFC 3986 appendix B); a router may use only its path.  Parsers of
URLs drop blanks in front of it."""


def ensure_short(path: str) -> None:
    """Raise AmbiguousPath if *path* is too long to be read in every way."""
    if len(path) * 4 <= MAX_OCTETS:
        return
    octets = len(path.encode("utf-8", "surrogatepass"))
    if octets > MAX_OCTETS:
        raise AmbiguousPath(
            f"the path has {octets} octets, and the bound is {MAX_OCTETS}"
        )


def below_root(path: str, roots: Roots) -> str:
    """Return *path* without the first of *roots*, if *path* begins with that root.

    Some servers put the root before the path, and others leave it out.
    """
    root = roots.names[0] if roots.names else ""
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path


def is_ambiguous(path: str, raw_path: str = "") -> bool:
    """Return whether two routers could read *path* as two different paths.

    Letter case and compatibility characters do not make a path ambiguous.
    """
    folded = path if path.isascii() else fold(path)
    if folded.count("/") != path.count("/") or TWO_WAYS.search(folded):
        return True
    return RAW_TWO_WAYS.search(raw_path) is not None


def hides_root(path: str, roots: Roots) -> bool:
    """Return whether a router may strip a root of *path* that `below_root` leaves.

    Many routers strip a root even if no slash follows, and some strip a root anywhere
    in the path.
    """
    if roots.strips == Strips.AT_SLASH or below_root(path, roots) != path:
        return False
    if roots.strips == Strips.OR_NOTHING:
        return bool(roots.names)
    stems = [root.rstrip("/").lower() for root in roots.names if root.strip("/")]
    if roots.strips == Strips.AT_START:
        return path.lower().startswith(tuple(stems))
    return any(stem in path.lower() for stem in stems)


def twin(path: str) -> str:
    """Return *path* with its last slash dropped, or with a slash added."""
    return path[:-1] if path.endswith("/") else f"{path}/"


def readings(starts: Iterable[str], roots: Sequence[str] = ()) -> Sequence[str]:
    """Return all readings of *starts*: every combination of single steps.

    The steps do not include letter case and the last slash: the caller folds each
    reading, and also matches its `twin`.  Raise AmbiguousPath if there are too many.
    """
    found = list(dict.fromkeys(starts))
    known = set(found)
    characters = 0
    for reading in found:  # the loop appends to it
        characters += len(reading)
        if len(found) > MAX_READINGS or characters > MAX_CHARACTERS:
            raise AmbiguousPath(
                f"the path can be read in more than {MAX_READINGS} ways"
            )
        for other in _steps(reading, roots):
            if other not in known:
                known.add(other)
                found.append(other)
    return found


def _steps(path: str, roots: Sequence[str]) -> Iterator[str]:
    """Yield *path* after each single step that a router or server may apply to it."""
    if "%" in path:
        yield unquote(path, errors="surrogateescape")
    if not path.isascii():
        yield fold(path)
        yield INVALID.sub("", path)
    yield DROPPED.sub("", path)
    yield path.replace("\\", "/")
    yield "/" + path.lstrip("/")
    yield SLASHES.sub("/", path)
    yield PARAMETERS.sub("", path)
    yield DOT_SEGMENT.sub("", path, count=1)
    yield PARENT.sub("", path, count=1)
    yield REFERENCE.sub(r"\1", path, count=1)
    for root in roots:
        yield _after_root(path, root)


def _after_root(path: str, root: str) -> str:
    """Return the part of *path* after the first *root*; *path* if it has no *root*."""
    stem = re.escape(root.rstrip("/"))
    return path[found.end() :] if (found := re.search(stem, path, re.I)) else path


SPECIAL = {0x130: "i", 0x131: "i"}  # re.IGNORECASE takes both for "i"
IGNORABLE = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F))
) | frozenset(map(chr, (0x3164, 0xFFA0, *range(0xFE00, 0xFE10))))
"""Characters that file systems and NFKC_Casefold drop, besides the category Cf."""
MAX_FOLDED = 10_000
"""The most characters whose folding is cached: about 1 MiB."""


class _Folding(dict[int, str]):
    """Maps each character to its form without letter case and compatibility variants.

    Characters are normalized one by one: a long run of combining marks would take
    quadratic time.
    """

    def __missing__(self, code: int) -> str:
        if len(self) >= MAX_FOLDED:
            self.clear()
        folded = SPECIAL.get(code)
        if folded is None:
            folded = normalize("NFKD", normalize("NFKD", chr(code)).casefold())
            kept = (c for c in folded if category(c) != "Cf" and c not in IGNORABLE)
            folded = "".join(kept)
        self[code] = folded
        return folded


FOLDING = _Folding()
TAILS = re.compile(r"(?<=[^/. ])[. ]+(?=/|\Z)")
"""Dots and blanks that the file systems of Windows drop; not the segments . and .."""


def fold(path: str) -> str:
    """Return *path* without the differences that some routers and file systems ignore:
    letter case, compatibility forms, dots and blanks at the end of a segment."""
    folded = path.lower() if path.isascii() else path.translate(FOLDING)
    return TAILS.sub("", folded)
