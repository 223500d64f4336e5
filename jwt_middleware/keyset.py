"""A set of keys as it was fetched, and how good it still is."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .jose import Key

REFRESH_AT = 0.8
"""Part of its life after which a set is fetched anew, behind the requests."""
JITTER = 0.1
"""Part of that by which it may be earlier, so that workers do not ask all at once."""
SHORTEST_S, LONGEST_S = 60, 3600
"""Between which an issuer's ``max-age`` counts."""
FIRST_RETRY_S = 1


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys as they were fetched; never changed, but replaced as a whole."""

    keys: tuple[Key, ...]
    content: Mapping[str, Any]
    asked_at: float
    """When it was asked for, by the monotonic clock."""
    lifetime: float
    max_staleness: float
    due_at: float = field(init=False)
    """When it is fetched anew, behind the requests; a copy has a moment of its own."""

    def __post_init__(self) -> None:
        after = REFRESH_AT * self.lifetime * (1 - _jitter())
        object.__setattr__(self, "due_at", self.asked_at + after)

    @property
    def expires_at(self) -> float:
        return self.asked_at + self.lifetime

    @property
    def ends_at(self) -> float:
        return self.expires_at + self.max_staleness

    def status(self, now: float) -> Literal["fresh", "stale", "expired"]:
        if now < self.expires_at:
            return "fresh"
        return "stale" if now < self.ends_at else "expired"


class Tries:
    """How the last tries to fetch went, and when the next may be made."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self.failures = 0
        self.error: str | None = None
        self.next_at = -math.inf

    def succeeded(self) -> None:
        self.failures, self.error, self.next_at = 0, None, -math.inf

    def failed(self, error: str, now: float) -> None:
        """Wait twice as long as the last time, up to the longest."""
        wait = min(FIRST_RETRY_S * 2 ** min(self.failures, 16), self._longest)
        self.next_at = now + wait * (1 - _jitter())
        self.error, self.failures = error, self.failures + 1


@dataclass(frozen=True, slots=True)
class KeysState:
    """What an operator wants to know of remote keys; times are in seconds."""

    status: Literal["none", "fresh", "stale", "expired"]
    """``stale``: beyond its lifetime, and in use since the issuer does not answer.
    ``expired``: too old even for that."""
    kids: tuple[str, ...]
    age: float | None
    next_fetch: float
    """Until a request will have the keys fetched; 0: the next one does."""
    failures: int
    """In a row, up to the last try."""
    error: str | None
    """Of the last try."""

    @property
    def is_usable(self) -> bool:
        """Whether tokens can be verified, for a readiness probe."""
        return self.status in ("fresh", "stale")


def lifetime_of(max_age: float | None, default: float) -> float:
    """Seconds for which a set is fresh: what the issuer says, within bounds."""
    if max_age is None or max_age != max_age:  # NaN would make a set that never ends
        return default
    return min(max(max_age, SHORTEST_S), LONGEST_S)


def _jitter() -> float:
    return random.uniform(0, JITTER)  # noqa: S311  (no secret)
