"""How entries lie in Redis, and what its answers look like."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from .redis_scripts import GRACE_S

PACKED = struct.Struct(">12sdd")
"""A key, its date and its end."""
HOUR_S = 3600
NEVER = 10**15
"""Seconds since 1970: the end of a mark without one, as Redis counts."""
EPOCH_DIGITS = 16
"""Of the random value that an epoch begins with.  The fingerprint of the secret that
names are hashed with follows, if there is one."""

OTHER_SECRET = 3
"""The answer of a script that was called with another fingerprint."""
ANYTHING = re.compile(rb".+", re.DOTALL)
ENTRY = re.compile(rb"\d+-\d+")
Entry = tuple[bytes, dict[bytes, bytes]]


class OtherSecret(Exception):
    """Names in Redis are hashed with another secret."""


class News(NamedTuple):
    """One answer of Redis: what is new in the log, and what held after that."""

    entries: Sequence[Entry]
    is_same: bool
    """Whether the epoch is the one that was asked for, and the log goes back to the
    entry after which it was read."""
    is_marked_whole: bool
    """Whether somebody has said that Redis has all entries."""
    is_owed: bool
    """Whether a worker is giving back entries that Redis has lost."""

    @property
    def is_whole(self) -> bool:
        return self.is_marked_whole and not self.is_owed


def expect(answer: object, form: re.Pattern[bytes] = ANYTHING) -> bytes:
    if not isinstance(answer, bytes) or not form.fullmatch(answer):
        refuse(answer)
    return answer  # type: ignore[return-value]


def refuse(answer: object) -> Any:
    raise ConnectionError(f"not the answer that was asked for: {type(answer).__name__}")


def ensure_same_secret(answer: object) -> None:
    """Raise OtherSecret if that is the *answer* of a script."""
    if answer == OTHER_SECRET:
        raise OtherSecret(
            "names in Redis have another secret; a new secret needs a new prefix"
        )


def ends(until: float) -> str:
    return repr(min(until, NEVER))


def hour(until: float) -> int:
    return math.ceil(min(until, NEVER) / HOUR_S)


def forgotten(until: float) -> int:
    """When Redis may forget a mark with this end."""
    return hour(until) * HOUR_S + GRACE_S
