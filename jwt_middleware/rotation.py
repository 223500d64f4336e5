"""Allow one use of each refresh token, with few entries in the store.

The tokens of a session are numbered, and two kinds of entries say which were used:

- One entry for each session holds the highest number that was used, in place of a
  date: `Store.put` keeps the higher number.  The entry lasts as long as the session.
  Every token with that number or a lower one is refused.
- One entry for each use, made by `Store.add`, decides between requests that race with
  the same token.  The entry of the session takes over from it, so it lasts about a
  minute, and then its name serves a later number.

So a session has at most 2 * `WINDOW_USES` + 1 entries, however often it is refreshed.
A single entry for each session is not enough: of the operations of a store, only `add`
decides between requests, and its name is free again only when the entry has ended.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .errors import Unavailable
from .refresh import UNNUMBERED, WINDOW_USES, Grant
from .revocation import Revocations

IN_FLIGHT_S = 10.0
"""The longest time, in seconds, from the first to the last call of a store by one
refresh."""


class Rotation:
    """Decides which request uses a refresh token of *issuer*.

    The clocks of workers differ by *leeway* seconds at most.  If a token is used again
    within *reuse_leeway* seconds, and its successor was not used yet, two browser tabs
    are assumed to race.
    """

    def __init__(
        self,
        issuer: str,
        revocations: Revocations,
        leeway: float,
        reuse_leeway: float,
        now: Callable[[], float],
    ) -> None:
        self._issuer = issuer
        self._revocations = revocations
        self._leeway = leeway
        self._reuse_leeway = reuse_leeway
        self._lasts = IN_FLIGHT_S + 2 * leeway
        self._now = now

    async def use(self, grant: Grant) -> float | None:
        """Return when *grant* was used: now, or just before by a tab that races.

        Return None for a second use.  Raise Unavailable if the session was refreshed
        too often in a short time, and RevocationsUnavailable if the store fails.
        """
        now = self._now()
        if (wait := self._seconds_until_usable(grant, now)) > 0:
            raise Unavailable(
                f"{WINDOW_USES} refreshes of one session in a short time",
                retry_after=math.ceil(wait),
            )
        name, end = self._name(grant), self._end(grant, now)
        if not await self._revocations.use(name, now, end):
            return await self.raced_at(grant)
        if await self._is_past(grant):  # the entry of that use has ended
            return None
        if grant.generation != UNNUMBERED:
            end = grant.ends_at + 2 * self._leeway
            await self._revocations.put(self._session(grant), grant.generation, end)
        return now

    async def was_used(self, grant: Grant) -> bool:
        """Return whether *grant* was used, by this or another worker."""
        # Before the names of a window are free, an entry may be of an earlier use.
        is_free = self._seconds_until_usable(grant, self._now()) <= 0
        if is_free and await self._revocations.is_used(self._name(grant)):
            return True
        return await self._is_past(grant)

    async def raced_at(self, grant: Grant) -> float | None:
        """Return when *grant* was used, if so recently that tabs may be racing.

        Return None if not.  Only the direct predecessor of the live token counts.
        """
        used_at = await self._revocations.date_of(self._name(grant))
        if used_at is None or not 0 < self._reuse_leeway >= abs(self._now() - used_at):
            return None
        is_direct = await self._latest(grant) <= grant.generation
        return used_at if is_direct else None

    async def _is_past(self, grant: Grant) -> bool:
        return await self._latest(grant) >= grant.generation

    async def _latest(self, grant: Grant) -> float:
        """Return the highest number that was used in the session; -inf if none was."""
        name = self._session(grant)
        if not await self._revocations.is_used(name):
            return -math.inf
        number = await self._revocations.date_of(name)
        return -math.inf if number is None else number

    def _seconds_until_usable(self, grant: Grant, now: float) -> float:
        """Return the seconds until the names of the window of *grant* are free.

        The window before the last one had the same names.  Its last entry was made
        before the last window began.
        """
        if grant.generation <= 0 or grant.generation % WINDOW_USES:
            return 0
        return grant.window_started_at + self._lasts + self._leeway - now

    def _end(self, grant: Grant, now: float) -> float:
        if grant.generation == UNNUMBERED:
            return grant.expires_at + 2 * self._leeway  # no other entry takes over
        return now + self._lasts

    def _name(self, grant: Grant) -> str:
        if grant.generation == UNNUMBERED:
            return f"used {self._issuer} {grant.identifier}"
        slot = grant.generation % (2 * WINDOW_USES)
        return f"used {self._issuer} {grant.session_id} {slot}"

    def _session(self, grant: Grant) -> str:
        return f"generation {self._issuer} {grant.session_id}"
