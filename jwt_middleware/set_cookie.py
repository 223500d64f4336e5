"""How a cookie is written and cleared, so that a browser keeps it to itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from .credentials import NAME, SEPARATORS
from .options import read_count, read_word

PATH = re.compile(r"/[\x21-\x3A\x3C-\x7E]*")  # RFC 6265 §4.1.1, from the root
VALUE = re.compile(r"[A-Za-z0-9._~+/=-]*")
"""What a token is made of: no ``;``, and nothing that wants quotes."""
MOST_OCTETS = 4096
"""Of name and value together; a browser drops what is longer, in silence
(RFC 6265bis §5.6)."""
LONGEST_PATH = 1024
"""Octets; of an attribute that is longer nothing is left (RFC 6265bis §5.6)."""
LONGEST_AGE = 400 * 86400
"""Seconds; RFC 6265bis §5.5."""


@dataclass(frozen=True, slots=True)
class SetCookie:
    """A cookie as it is set: Secure, HttpOnly, and of this host alone.

    >>> SetCookie("__Host-access").clear()
    '__Host-access=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict'

    The prefix ``__Host-`` has the browser take it from this host and for every path
    only; for another path it is ``__Secure-``.  *same_site* "Lax" sends it also when
    a link on another site is followed.  Raises ValueError for what a browser would
    drop, which it does without a word.
    """

    name: str
    path: str = field(default="/", kw_only=True)
    same_site: Literal["Strict", "Lax"] = field(default="Strict", kw_only=True)

    def __post_init__(self) -> None:
        read_word("the name of a cookie", self.name, NAME, SEPARATORS)
        read_word("the path of a cookie", self.path, PATH, "spaces and semicolons")
        if self.same_site not in ("Strict", "Lax"):
            raise ValueError(f"same_site is 'Strict' or 'Lax', not {self.same_site!r}")
        if len(self.path) > LONGEST_PATH:
            raise ValueError(f"browsers ignore a path of more than {LONGEST_PATH}")
        # Browsers compare prefixes without case (RFC 6265bis §5.4).
        if self.path != "/" and self.name.lower().startswith("__host-"):
            raise ValueError(
                f"{self.name} is for the path '/'; write '__Secure-...' for {self.path}"
            )

    def write(self, value: str, max_age: int) -> str:
        """The value of ``Set-Cookie``; *max_age* is in seconds."""
        octets = len(self.name) + len(value)
        if octets > MOST_OCTETS:
            raise ValueError(
                f"{self.name} would have {octets} octets, and browsers drop what has "
                f"more than {MOST_OCTETS}, in silence; put fewer claims into the token"
            )
        if not VALUE.fullmatch(value):  # it stays unsaid: a token is a secret
            raise ValueError(f"what {self.name} is to hold is no token")
        age = min(read_count("max_age", max_age), LONGEST_AGE)
        return (
            f"{self.name}={value}; Path={self.path}; Max-Age={age}; "
            f"Secure; HttpOnly; SameSite={self.same_site}"
        )

    def clear(self) -> str:
        """The value of ``Set-Cookie`` that has the browser forget it."""
        return self.write("", 0)
