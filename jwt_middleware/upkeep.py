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
from .errors import KeysUnavailable
from .fetch import Document, FetchFailed
from .flight import Flight, SingleFlight
from .fork import start_anew_after_fork
from .jose import Key
from .keyset import KeySet, KeysState, Tries, lifetime_of
from .looks import Looks
from .quoting import shown

logger = logging.getLogger("jwt_middleware")

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
        self._looks = Looks(cooldown)
        self._max_staleness = max_staleness
        self._timeout = timeout
        self._flights = SingleFlight(self._refresh)
        self._tries = Tries(cooldown)
        self._held: KeySet | None = None
        self._began_at = -math.inf
        """When the last fetch began, by the clock of the set's age."""
        start_anew_after_fork(self)

    async def current(self) -> KeySet:
        """The set to verify with.  Raise KeysUnavailable where there is none."""
        held, now = self._held, self.now()
        if held is not None and now < held.due_at:
            return held
        must_wait = self._must_wait(held, now)
        flight = self._join(partial(self._may_refresh, now))
        if flight is not None and must_wait and not self._began_fresh(held, now):
            await flight.wait(flight.left(self._timeout))
        held = self._held  # another flight may have landed just before we joined
        if held is None or now >= held.ends_at:
            raise self._unavailable(self._tries.next_at)
        return held

    def held(self) -> tuple[Key, ...] | None:
        """The keys to verify with; None where a fetch is due, or to be waited for."""
        held, now = self._held, self.now()
        if held is None:
            return None
        if now >= held.due_at and (
            self._is_refresh_due(now)
            or (self._must_wait(held, now) and not self._began_fresh(held, now))
        ):
            return None
        return held.keys

    async def newer(
        self, held: KeySet, arrived: float, name: tuple[object, object]
    ) -> KeySet | None:
        """Return a set that may have the key called *name*, which *held* has not.

        *arrived* is when this request first looked for it.  Return None if the key
        does not exist; raise KeysUnavailable if it may exist, but cannot be had now.
        """
        first_asked = self._looks.first_asked(name, arrived)
        flight = self._join(partial(self._may_look, arrived, self.now()))
        if flight is not None:
            if not await self._looks.wait(flight, self._timeout):
                raise self._unavailable(self.now() + flight.left(self._timeout))
        elif held is self._held:
            if self._tries.failures:
                raise self._unavailable(self._next_look)
            if held.asked_at < first_asked:
                raise self._unavailable(self._next_look, "the key may be new")
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
        self._looks.start_anew()
        if self._held is not None:
            self._held = replace(self._held)

    def _join(self, may_start: Callable[[], bool]) -> Flight | None:
        try:
            return self._flights.join(may_start)
        except RuntimeError:
            self._fail("no thread can be had to fetch them")
            return None

    def _must_wait(self, held: KeySet | None, now: float) -> bool:
        """Whether *held* is not good enough, but for an issuer that does not answer."""
        if held is None or now >= held.ends_at:
            return True
        return now >= held.expires_at and not self._tries.failures

    def _began_fresh(self, held: KeySet | None, now: float) -> bool:
        """Whether *held* was still fresh when the fetch began that is under way.

        Then the issuer had its time, and *held* is used until the fetch ends.
        """
        if held is None or now >= held.ends_at:
            return False
        return self._began_at < held.expires_at

    def _is_refresh_due(self, now: float) -> bool:
        held = self._held
        return now >= self._tries.next_at and (held is None or now >= held.due_at)

    def _may_refresh(self, now: float) -> bool:
        """Claim the fetch of a set that is due."""
        if not self._is_refresh_due(now):
            return False
        self._began_at = now
        return True

    def _may_look(self, arrived: float, now: float) -> bool:
        """Claim the fetch for a key that is not in the set."""
        held = self._held
        asked_at = None if held is None else held.asked_at
        if now < self._tries.next_at or not self._looks.take(asked_at, arrived, now):
            return False
        self._began_at = now
        return True

    @property
    def _next_look(self) -> float:
        return max(self._looks.next_at, self._tries.next_at)

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

    def _unavailable(self, next_at: float, reason: str = "") -> KeysUnavailable:
        wait = max(next_at - self.now(), 1)
        told = reason or self._tries.error or "no answer yet"
        return KeysUnavailable(f"{self.place!r}: {told}", retry_after=math.ceil(wait))


def _kids(keys: Sequence[Key]) -> str:
    return " ".join(shown(key.kid) for key in keys)
