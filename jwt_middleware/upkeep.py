"""How a set of keys is kept fresh, and who has to wait for it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from .discovery import Place
from .errors import KeysUnavailable, shown
from .fetch import Document, FetchFailed
from .flight import Flight, SingleFlight
from .fork import start_anew_after_fork
from .jose import Key
from .keyset import KeySet, KeysState, Tries, lifetime_of

logger = logging.getLogger("jwt_middleware")

LOOK_S = 2.0
"""The longest wait for a key that is not in the set: it may be made up, and whoever
makes them up must not hold every thread of a server for as long as a fetch hangs."""

Read = Callable[[Mapping[str, Any]], tuple[Key, ...]]


class Upkeep:
    """Holds the set that is at *place*, and has it fetched when that is due.

    A set is *fresh* for its lifetime, and fetched anew behind the requests before
    that ends.  It is *stale* after it, and used on only where no other can be had.
    One thread fetches.  Who needs what it brings waits until its deadline, *timeout*
    seconds after it began; who has keys does not.
    """

    def __init__(
        self,
        place: Place,
        read: Read,
        *,
        lifetime: float,
        cooldown: float,
        max_staleness: float,
        timeout: float,
        now: Callable[[], float],
    ) -> None:
        self.place = place
        self.now = now
        self._read = read
        self._lifetime = lifetime
        self._cooldown = cooldown
        self._max_staleness = max_staleness
        self._timeout = timeout
        self._flights = SingleFlight(self._refresh)
        self._tries = Tries(cooldown)
        self._held: KeySet | None = None
        self._looked_at = -math.inf
        """When the set was last tried for a key that it had not."""
        start_anew_after_fork(self)

    async def current(self) -> KeySet:
        """The set to verify with.  Raise KeysUnavailable where there is none."""
        held, now = self._held, self.now()
        if held is not None and now < held.due_at:
            return held
        must_wait = self._must_wait(held, now)
        flight = self._join(self._may_refresh)
        if flight is not None and must_wait:
            await self._land(flight, self._timeout)
        held = self._held  # another flight may have landed just before we joined
        if held is None or now >= held.ends_at:
            raise self._unavailable(self._tries.next_at)
        return held

    def held(self) -> tuple[Key, ...] | None:
        """The keys to verify with; None where a fetch is due, or to be waited for."""
        held, now = self._held, self.now()
        if held is None:
            return None
        is_due = now >= held.due_at
        if is_due and (self._may_refresh() or self._must_wait(held, now)):
            return None
        return held.keys

    async def newer(self, held: KeySet, arrived: float) -> KeySet | None:
        """A set that may have a key that *held* has not; None where there is none.

        *arrived* is when the key was first asked for.
        """
        flight = self._join(partial(self._take_look, arrived))
        if flight is not None:
            if not await self._land(flight, LOOK_S):
                raise self._unavailable(self._next_look)
        elif held is self._held:
            if self._tries.failures:  # it may be a new key, and nobody can say
                raise self._unavailable(self._next_look)
            return None
        return self._held

    def state(self) -> KeysState:
        """Tell how fresh the set is; nothing is fetched for it."""
        held, tries, now = self._held, self._tries, self.now()
        due_at = now if held is None else held.due_at
        return KeysState(
            status="none" if held is None else held.status(now),
            kids=() if held is None else tuple(key.kid for key in held.keys),
            age=None if held is None else now - held.asked_at,
            next_fetch=max(due_at - now, tries.next_at - now, 0),
            failures=tries.failures,
            error=tries.error,
        )

    def read_again(self) -> None:
        """Read the set that is held again: `read` may now choose other algorithms."""
        held = self._held
        if held is None:
            return
        try:
            self._held = replace(held, keys=self._read(held.content))
        except ValueError:  # no usable key is left; the next request fetches the set
            self._held = None

    def start_anew(self) -> None:
        # The look of the parent may be lost with its thread, and its moment is taken.
        self._looked_at = -math.inf
        if self._held is not None:
            self._held = replace(self._held)

    def _join(self, may_start: Callable[[], bool]) -> Flight | None:
        try:
            return self._flights.join(may_start)
        except RuntimeError:
            self._fail("no thread can be had to fetch them")
            return None

    async def _land(self, flight: Flight, longest: float) -> bool:
        """Whether *flight* ends before its deadline and within *longest* seconds."""
        left = flight.began + self._timeout - time.monotonic()
        return await flight.wait(max(0, min(left, longest)))

    def _must_wait(self, held: KeySet | None, now: float) -> bool:
        """Whether *held* is not good enough, but for an issuer that does not answer."""
        if held is None or now >= held.ends_at:
            return True
        return now >= held.expires_at and not self._tries.failures

    def _may_refresh(self) -> bool:
        held, now = self._held, self.now()
        return now >= self._tries.next_at and (held is None or now >= held.due_at)

    def _take_look(self, arrived: float) -> bool:
        """Whether the set is fetched now for a key that is not in it.

        The one look of a cooldown is then taken, however it goes, and also where the
        set was asked for since the key was: it cannot be newer.  So strangers who
        make keys up cost the issuer one request in a cooldown.
        """
        held, now = self._held, self.now()
        if held is not None and held.asked_at >= arrived:
            self._looked_at = max(self._looked_at, held.asked_at)
            return False
        if now < self._next_look:
            return False
        self._looked_at = now
        return True

    @property
    def _next_look(self) -> float:
        return max(self._looked_at + self._cooldown, self._tries.next_at)

    def _refresh(self) -> None:
        """Fetch the set; in a thread, one at a time, and nothing is raised."""
        held, asked_at = self._held, self.now()
        is_due = held is None or asked_at >= held.due_at
        until = time.monotonic() + self._timeout
        try:
            self._hold(self.place.fetch(until, is_due=is_due), asked_at)
        except FetchFailed as failure:
            self._fail(str(failure))
        except Exception as error:  # of a Fetcher that is not ours, or no usable set
            self._fail(f"{type(error).__name__}: {shown(str(error))}")

    def _hold(self, document: Document, asked_at: float) -> None:
        held, content = self._held, document.content
        if held is not None and content == held.content:
            keys = held.keys
        else:
            keys = self._read(content)
            logger.info("keys of %r: %s", self.place, _kids(keys))
        lifetime = lifetime_of(document.max_age, self._lifetime)
        self._held = KeySet(keys, content, asked_at, lifetime, self._max_staleness)
        if self._tries.failures:
            logger.info("%r answers again", self.place)
        self._tries.succeeded()

    def _fail(self, error: str) -> None:
        self._tries.failed(error, self.now())
        if self.state().is_usable:
            logger.warning("no newer keys of %r: %s", self.place, error)
        else:
            logger.error("no keys of %r: %s", self.place, error)

    def _unavailable(self, next_at: float) -> KeysUnavailable:
        wait = max(next_at - self.now(), 1)
        told = self._tries.error or "no answer yet"
        return KeysUnavailable(f"{self.place!r}: {told}", retry_after=math.ceil(wait))


def _kids(keys: Sequence[Key]) -> str:
    return " ".join(shown(key.kid) for key in keys)
