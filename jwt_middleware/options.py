"""Options as people write them, read once, at construction."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .quoting import QUOTABLE

WORD = re.compile(r"[^\s\x00-\x1F\x7F\uD800-\uDFFF]+")
"""No white space: an issuer stands in the names of marks."""
TEXT = re.compile(r"[^\x00-\x1F\x7F\uD800-\uDFFF]+")
SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3
UNWANTED = {TEXT: "control characters", QUOTABLE: 'quotes, "\\" and other than ASCII'}
EXAMPLES = {
    "issuer": "'https://login.example.com'",
    "audience": "'https://api.example.com'",
    "algorithms": "('ES256',)",
    "types": "('at+jwt', 'JWT')",
    "require": "('sub',)",
    "scopes": "('read',)",
    "methods": "('GET',)",
    "trusted_origins": "('https://app.example.com',)",
    "sources": "(BearerHeader(),)",
    "rules": "(Rule('/health', public=True),)",
    "store": "MemoryStore(), or another of the stores",
    "realm": "'api'",
    "login_path": "'/login'",
    "path": "'/session'",
    "kid": "'2026'",
}
"""What to write for an option, where it is not plain."""
METADATA = ("openid-configuration", "oauth-authorization-server")
LATEST_DATE = 2**53
"""Seconds since 1970, beyond which JSON numbers are not exact (RFC 7493 §2.2)."""


def read_word(
    option: str,
    value: object,
    pattern: re.Pattern[str] = WORD,
    unwanted: str = "spaces",
) -> str:
    """Return *value*.  Raise ValueError where it is no string of that pattern.

    *unwanted* says what the pattern leaves out.
    """
    if not isinstance(value, str) or not pattern.fullmatch(value):
        which = UNWANTED.get(pattern, unwanted)
        raise ValueError(
            f"{option} must be a string without {which}, not {value!r}{_write(option)}"
        )
    return value


def read_issuer(value: object) -> str:
    """Return the name of an issuer.  Raise ValueError for the address of a document."""
    issuer = read_word("issuer", value)
    name, found, document = issuer.partition("/.well-known/")
    if found:
        path = document.partition("/")[2]
        write = f"issuer={name + (path and '/' + path)!r}"
    elif issuer.endswith("/jwks.json"):
        write = "issuer as the tokens name it, and keys=RemoteKeys(address)"
    else:
        return issuer
    raise ValueError(
        f"issuer is {issuer!r}, the address of a document, expected the 'iss' of the "
        f"tokens, to the letter; write {write}"
    )


def metadata_issuer(address: object) -> str:
    """Return the issuer if *address* is that of its metadata, else an empty string."""
    name, _, document = str(address).partition("/.well-known/")
    kind, _, path = document.partition("/")
    return name + (path and f"/{path}") if kind in METADATA else ""


def read_words(
    option: str, values: object, pattern: re.Pattern[str] = WORD
) -> tuple[str, ...]:
    """Return several words.  A single string is refused: its letters would be meant."""
    if isinstance(values, (str, bytes)):
        raise ValueError(f"{option} takes several; write {option}=({values!r},)")
    if not isinstance(values, Iterable):
        raise ValueError(
            f"{option} takes several strings, not {values!r}{_write(option)}"
        )
    return tuple(read_word(f"each of {option}", value, pattern) for value in values)


def read_one_or_several(
    option: str, values: object, pattern: re.Pattern[str] = WORD
) -> tuple[str, ...]:
    """Return at least one word, of a string or of several."""
    several = (values,) if isinstance(values, str) else values
    words = read_words(option, several, pattern)
    if not words:
        raise ValueError(f"{option} is empty; name at least one")
    return words


def read_seconds(option: str, value: object, *, least: float, most: float) -> float:
    """Return a number of seconds from *least* to *most*.  NaN is none."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(
            f"{option} must be a number of seconds from {least:g} to {most:g}, "
            f"not {value!r}"
        )
    return value  # type: ignore[return-value]


def read_date(option: str, value: object) -> float:
    """Return a date in seconds since 1970.  Neither NaN nor infinity is one."""
    return read_seconds(option, value, least=0, most=LATEST_DATE)


def read_count(option: str, value: object) -> int:
    """Return a whole number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{option} must be a whole number from 0, not {value!r}")
    return value


def read_flag(option: str, value: object) -> bool:
    """Return True or False.  A string is neither: "false" would be true."""
    if not isinstance(value, bool):
        raise ValueError(f"{option} must be True or False, not {value!r}")
    return value


def read_clock(value: Callable[[], float]) -> Callable[[], float]:
    """Return a function of no argument that tells the time."""
    if not callable(value):
        raise ValueError("now must be a function that returns seconds")
    return value


def read_parts(option: str, values: object, *methods: str) -> tuple[Any, ...]:
    """Return several objects of our own making, each with *methods*.

    Classes are refused: they have the methods, and cannot be asked.
    """
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes, Mapping)):
        raise ValueError(f"{option} takes several, not {_kind(values)}{_write(option)}")
    found = tuple(values)
    for value in found:
        if isinstance(value, type) or not all(hasattr(value, m) for m in methods):
            raise ValueError(
                f"each of {option} is an object with {' and '.join(methods)}, "
                f"not {_kind(value)}{_write(option)}"
            )
    return found


def can_take(call: Any, count: int) -> bool:
    """Whether *call* can be called with so many arguments, as far as it tells.

    Its own signature counts: an adapter may say that it wraps something else.
    """
    try:
        signature = inspect.signature(call, follow_wrapped=False)
    except (TypeError, ValueError):  # of a builtin, which tells nothing
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _kind(value: object) -> str:
    """What *value* is; not shown, since it may be a secret."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else f"a {type(value).__name__}"


def _write(option: str) -> str:
    """What to write for *option*, in a message."""
    name = option.removeprefix("each of ").removeprefix("the ").partition(" of a ")[0]
    return f"; write {name}={EXAMPLES[name]}" if name in EXAMPLES else ""
