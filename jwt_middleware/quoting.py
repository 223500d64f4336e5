"""Text of others, in a log and in the header of an answer."""

from __future__ import annotations

import re

SHOWN_CHARACTERS = 80
QUOTABLE = re.compile(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*")
"""What can stand in the quotes of a challenge: RFC 6750 §3."""


def ensure_quotable(name: str, text: object) -> None:
    """Raise ValueError if *text* is a string that would break out of its quotes."""
    if isinstance(text, str) and not QUOTABLE.fullmatch(text):
        raise ValueError(
            f"{name} cannot stand in a header: {text!r}; write printable ASCII without "
            "quotes and backslashes"
        )


def shown(value: object) -> str:
    """*value* as a log may show it: escaped, and cut to 80 characters."""
    text = ascii(value)  # no line break, control or look-alike survives ascii()
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
