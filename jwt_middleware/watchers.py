"""Who wants to know when something is marked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence


class Watchers:
    """Calls by name; each may stand under several names, and a name have several."""

    def __init__(self) -> None:
        # One may be removed by the garbage collector, in the midst of what is below.
        self._lock = threading.RLock()
        self._calls: dict[Hashable, set[Callable[[], None]]] = {}

    def add(
        self, names: Sequence[Hashable], call: Callable[[], None]
    ) -> Callable[[], None]:
        """Have *call* made when one of *names* is.  What is returned ends that.

        It is made by any thread, and must neither wait nor raise.
        """
        with self._lock:
            for name in names:
                self._calls.setdefault(name, set()).add(call)

        def remove() -> None:
            with self._lock:
                for name in names:
                    calls = self._calls.get(name, set())
                    calls.discard(call)
                    if not calls:
                        self._calls.pop(name, None)

        return remove

    def call_all(self) -> None:
        """Make every call."""
        with self._lock:
            every = set().union(*list(self._calls.values()))
        for call in every:
            call()

    def call(self, name: Hashable) -> None:
        """Make the calls that stand under *name*."""
        if name not in self._calls:  # the lock is for those who are watched
            return
        with self._lock:
            calls = tuple(self._calls.get(name, ()))
        for call in calls:
            call()
