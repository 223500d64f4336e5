"""Notice by the ``iat`` of tokens that our own clock is behind."""

from __future__ import annotations

import logging

logger = logging.getLogger("jwt_middleware")

MOST_BEHIND_S = 3600
"""Seconds by which our clock may be behind the ``iat`` of a token.  A later ``iat`` is
taken for a mistake of the issuer: a mark of that date would refuse later logins."""


class IssueDates:
    """The latest date of issue in the verified tokens of each issuer."""

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}

    def note(self, issuer: str, issued: object, now: float) -> None:
        """Note ``iat`` of a token whose signature was verified, valid yet or not."""
        if not isinstance(issued, (int, float)):
            return
        if self._latest.get(issuer, 0) < issued <= now + MOST_BEHIND_S:
            self._latest[issuer] = issued

    def at_least(self, issuer: str, now: float, leeway: float) -> float:
        """Return *now*, or the latest date of issue if that is later."""
        latest = self._latest.get(issuer, now)
        if latest > now + leeway:
            logger.warning(
                "the clock is behind: %s issued a token %.0f seconds ahead of it",
                issuer,
                latest - now,
            )
        return max(now, latest)
