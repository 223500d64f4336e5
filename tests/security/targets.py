"""Request targets as an attacker writes them: a grammar over plain paths."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

Mutation = Callable[[random.Random, str], str]

BASES = (
    "/admin/x",
    "/admin/x",
    "/admin/kiss",
    "/admin/purge",
    "/admin/some/thing",
    "/public/inner/x",
    "/static/inner/secret.txt",
    "/sub/admin/x",
    "/signed/x",
    "/posts/x",
    "/open",
    "/",
)
DECOYS = ("/public/x", "/optional/x", "/static/logo.txt", "/open", "/public", "/x")
"""Prefixes that ask for less than the path that an attacker wants."""
ROOTS = ("/api", "/api", "/api/", "api", "/gw", "/API", "/gw/api", "/")
DOT_SEGMENTS = (
    *("/.", "/..", "/./", "/x/..", "/x/../", "/%2e%2e", "/.%2e", "/%252e%252e", "/..;"),
    *(
        "/..;a=b",
        "/...",
        "/..%00",
        "/.%20",
        "/%e2%80%a4%e2%80%a4",
        "/%ef%bc%8e",
        "\\..",
    ),
)
ENDINGS = (
    *("/", "//", "/.", "/..", "/../..", "/%2e%2e/", ".", "..", ";", ";x=y", ";/", "?"),
    *("?/../x", "%3f", "%23", "#", "%00", "%0a", "%0d%0a", "%20", "%20/", "%09", "\\"),
    *("%5c", ".json", "%2500", "/;", "/%20", "::$DATA", "/x", "%c2%a0", "%e2%80%a8"),
)
SLASHES = (
    *("\\", "%2f", "%2F", "%5c", "%252f", "%25252f", "%ef%bc%8f", "%ef%bc%bc", "/;/"),
    *("%c0%af", "%e2%81%84", "%e2%88%95", "/./", "//", "///", "%2f/", "/%2f", ";/"),
)
OCTETS = ("%ff", "%c0", "%80", "%ed%a0%80", "%fe%ff", "%e2%82", "%f0%9f", "%c3", "%a0")
INVISIBLE = (
    *("%00", "%01", "%09", "%0a", "%0d", "%1b", "%7f", "%20", "%c2%85", "%c2%a0", "+"),
    *(
        "%e2%80%8b",
        "%e2%80%8d",
        "%c2%ad",
        "%ef%bb%bf",
        "%cc%81",
        "%ef%b8%8f",
        "%E2%81%A0",
    ),
    *("%ef%bf%bd", "%cd%8f", "%e2%80%ae", "%2520", "%250a", "%u002f", "%", "%2", "%zz"),
)
FORMS = (
    *("http://h", "https://h:443", "HTTP://H", "http://u@h", "http:", "http://", "x:"),
    *(
        "http:///",
        "//h",
        "//h:80",
        "///h",
        "h",
        "h:80",
        "*",
        "file://",
        "http://h/..",
        "@",
    ),
    *("http://h?", "http://[::1]", "//", "/http://h", "http://h/admin/x/../../public"),
)
LOOK_ALIKES = {
    "i": "ıİＩⁱ",
    "s": "ſＳˢ",
    "k": "\u212aｋ",
    "a": "ａªＡᵃ",
    "d": "ｄⅾ",
    "m": "ｍⅿ",
    "n": "ｎⁿ",
    "p": "ｐ",
    "u": "ｕ",
    "x": "ｘⅹ",
    "e": "ｅℯ",
    "-": "－",
    ".": "．․",
    "1": "１¹",
}
"""Characters that case or compatibility folding makes of others."""


def encoded(text: str, times: int = 1) -> str:
    """*text* with each octet percent-encoded, *times* over."""
    sign = "%" + "25" * (times - 1)
    return "".join(f"{sign}{octet:02x}" for octet in text.encode())


def _spots(text: str) -> Sequence[int]:
    """Where a segment begins or ends."""
    return [0, *(at for at, char in enumerate(text) if char == "/"), len(text)]


def _inserted(rng: random.Random, text: str, spots: Sequence[int], piece: str) -> str:
    at = rng.choice(spots)
    return text[:at] + piece + text[at:]


def _replaced(rng: random.Random, text: str, wanted: str, new: Mutation) -> str:
    """*text* with one of the characters in *wanted* made into another."""
    places = [at for at, char in enumerate(text) if char in wanted]
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + new(rng, text[at]) + text[at + 1 :]


def double_slash(rng: random.Random, text: str) -> str:
    return _inserted(rng, text, _spots(text), "/" * rng.choice((1, 1, 2, 5)))


def leading_slashes(rng: random.Random, text: str) -> str:
    return "/" * rng.choice((0, 0, 2, 3)) + text.lstrip("/")


def dot_segment(rng: random.Random, text: str) -> str:
    return _inserted(rng, text, _spots(text), rng.choice(DOT_SEGMENTS))


def climb(rng: random.Random, text: str) -> str:
    """Begin below a decoy, and climb out of it."""
    dots = rng.choice(
        ("/..", "/..", "/%2e%2e", "/..;x", "%2f..", "\\..", "/%252e%252e")
    )
    decoy = rng.choice(DECOYS)
    return decoy + dots * rng.choice((1, decoy.count("/"), 3)) + text


def fall(rng: random.Random, text: str) -> str:
    """End with a climb to somewhere else."""
    return text + "/.." * rng.choice((1, 2, 3)) + rng.choice(("", *DECOYS))


def ending(rng: random.Random, text: str) -> str:
    return text + rng.choice(ENDINGS)


def parameters(rng: random.Random, text: str) -> str:
    piece = rng.choice((";", ";a=b", ";/..", ";a/", "%3ba=b", ";a;b", ";.."))
    return _inserted(rng, text, _spots(text)[1:], piece)


def other_slash(rng: random.Random, text: str) -> str:
    return _replaced(rng, text, "/", lambda rng, _: rng.choice(SLASHES))


def case(rng: random.Random, text: str) -> str:
    if rng.random() < 0.3:
        return text.upper()
    return "".join(char.swapcase() if rng.random() < 0.3 else char for char in text)


def look_alike(rng: random.Random, text: str) -> str:
    times = rng.choice((1, 1, 1, 2))
    return _replaced(
        rng,
        text,
        "".join(LOOK_ALIKES),
        lambda rng, char: encoded(rng.choice(LOOK_ALIKES[char]), times),
    )


def encode(rng: random.Random, text: str) -> str:
    times = rng.choice((1, 1, 2, 3, 4, 6))
    return _replaced(
        rng,
        text,
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/.;%",
        lambda rng, char: encoded(char, times),
    )


def insert(pieces: Sequence[str]) -> Mutation:
    """Put one of *pieces* anywhere."""

    def inserted(rng: random.Random, text: str) -> str:
        spots = _spots(text) if rng.random() < 0.5 else range(len(text) + 1)
        return _inserted(rng, text, spots, rng.choice(pieces))

    return inserted


def form(rng: random.Random, text: str) -> str:
    """Absolute and authority form, and what resembles them."""
    return rng.choice(FORMS) + text


def root(rng: random.Random, text: str) -> str:
    """A root at any boundary, also glued to what follows."""
    piece = rng.choice(ROOTS)
    if rng.random() < 0.4:
        return piece + text.removeprefix("/")
    return _inserted(rng, text, _spots(text), piece)


MUTATIONS: Sequence[Mutation] = (
    double_slash,
    leading_slashes,
    dot_segment,
    climb,
    fall,
    ending,
    parameters,
    other_slash,
    case,
    look_alike,
    encode,
    encode,
    insert(OCTETS),
    insert(INVISIBLE),
    form,
    root,
    root,
)


def target(rng: random.Random) -> str:
    """A request target: ASCII, without blanks and line breaks."""
    text = rng.choice(BASES)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        text = rng.choice(MUTATIONS)(rng, text)
    return text
