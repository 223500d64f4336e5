"""The form of entries in Redis, and of its answers."""

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
"""Seconds since 1970 that stand for the end of a mark that never ends."""
EPOCH_DIGITS = 16
"""Digits of the random value at the beginning of an epoch.  If names are hashed with a
secret, the fingerprint of the secret follows."""

OTHER_SECRET = 3
"""The answer of a script that was called with another fingerprint."""
ANYTHING = re.compile(rb".+", re.DOTALL)
ENTRY = re.compile(rb"\d+-\d+")
Entry = tuple[bytes, dict[bytes, bytes]]


class OtherSecret(Exception):
    """Names in Redis are hashed with another secret."""


class News(NamedTuple):
    """One answer of Redis: what is new in the log, and the state after that."""

    entries: Sequence[Entry]
    is_same: bool
    """Whether the epoch is the expected one, and the log still has the entry after
    which it was read."""
    is_marked_whole: bool
    """Whether a worker has noted that Redis has all entries."""
    is_owed: bool
    """Whether a worker has to write back entries that Redis has lost."""

    @property
    def is_whole(self) -> bool:
        return self.is_marked_whole and not self.is_owed


def expect(answer: object, form: re.Pattern[bytes] = ANYTHING) -> bytes:
    if not isinstance(answer, bytes) or not form.fullmatch(answer):
        refuse(answer)
    return answer  # type: ignore[return-value]


def refuse(answer: object) -> Any:
    raise ConnectionError(f"unexpected answer of Redis: a {type(answer).__name__}")


def ensure_same_secret(answer: object) -> None:
    """Raise OtherSecret if the *answer* of a script says so."""
    if answer == OTHER_SECRET:
        raise OtherSecret(
            "names in Redis are hashed with another secret; give the store that "
            "secret, or another prefix"
        )


def ends(until: float) -> str:
    return repr(min(until, NEVER))


def hour(until: float) -> int:
    return math.ceil(min(until, NEVER) / HOUR_S)


def forgotten(until: float) -> int:
    """Return when Redis may drop a mark with this end, in seconds since 1970."""
    return hour(until) * HOUR_S + GRACE_S
