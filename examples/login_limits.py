"""Limits for the logins of the examples.  Copy this file together with an example.

A password hash is slow and takes 64 MiB on purpose, so the examples compute only
HASHERS of them at once: a login that has waited WAIT_S seconds is answered with 503.

`LoginLimits` counts wrong logins for each name and address, and answers with 429.  The
counters are in the memory of one process.  If several workers serve the application,
each of them allows as many wrong logins: count in a store that they share, such as
Redis.  If a proxy stands in front, the server must know about it (see the example), or
all clients have the address of the proxy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

HASHERS = 2
"""Password hashes that are computed at once: they take 2 x 64 MiB."""
WAIT_S = 2
"""Seconds that a login may wait for a hasher."""
NAME_LENGTH = 64
"""Characters of a name that are counted, since a stranger chooses its length."""


class LoginRefused(Exception):
    """A login that was refused before its password was checked."""

    def __init__(self, status: int, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.status = status
        self.headers = {"Retry-After": str(max(1, round(retry_after)))}


class LoginLimits:
    """Count wrong logins: *per_name* for one name and address, *per_address* for all.

    The counters end *window* seconds after the first wrong login, and refused logins
    do not prolong them.  Each address has counters of its own, so a stranger can keep
    a user out only from the user's own address.  When there are *most* counters, the
    oldest is dropped.  A guesser who has thousands of addresses is not stopped by this:
    that takes a second factor.
    """

    def __init__(
        self,
        *,
        per_name: int = 5,
        per_address: int = 50,
        window: float = 300,
        most: int = 10_000,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = (per_name, per_address)
        self._window, self._most, self._now = window, most, now
        self._counters: dict[tuple[str, ...], tuple[int, float]] = {}  # oldest first
        self._lock = threading.Lock()

    def count(self, name: str, address: str) -> None:
        """Count a login that is about to be checked.  Raise LoginRefused if too many.

        It counts as wrong until `forget` is called, so that many logins at once are
        not allowed more guesses.
        """
        now = self._now()
        with self._lock:
            self._drop(now)
            for key, limit in zip(_keys(name, address), self._limits, strict=True):
                wrong, ends = self._counters.get(key, (0, 0.0))
                if wrong >= limit:
                    text = "Too many wrong logins. Try again later."
                    raise LoginRefused(429, text, ends - now)
            for key in _keys(name, address):
                wrong, ends = self._counters.get(key, (0, now + self._window))
                self._counters[key] = (wrong + 1, ends)

    def forget(self, name: str, address: str) -> None:
        """Forget the wrong logins of *name*, since its password was right."""
        of_name, of_address = _keys(name, address)
        with self._lock:
            self._counters.pop(of_name, None)
            if of_address in self._counters:  # it tells nothing about other names
                wrong, ends = self._counters[of_address]
                self._counters[of_address] = (max(0, wrong - 1), ends)

    def _drop(self, now: float) -> None:
        """Drop the counters that have ended, and the oldest if there are too many."""
        while self._counters:
            oldest, (_, ends) = next(iter(self._counters.items()))
            if ends > now and len(self._counters) <= self._most - 2:
                return
            del self._counters[oldest]


def _keys(name: str, address: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key of a name and address, and that of an address."""
    network = _network(address)
    return (network, name[:NAME_LENGTH]), (network,)


def _network(address: str) -> str:
    """Return *address*, or its first half if it is of IPv6: one client has them all."""
    try:
        found = ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if not isinstance(found, IPv6Address) or found.ipv4_mapped:
        return str(found)
    return found.exploded[:19]
