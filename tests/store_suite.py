"""The suite for stores, which is published, and a store for tests of what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jwt_middleware import MemoryStore
from jwt_middleware.testing import NOW, Clock, StoreSuite, at_once

__all__ = ["NOW", "Clock", "StoreSuite", "WaitingStore", "at_once"]


class WaitingStore:
    """A store that gives up control before it answers, as one over a socket does."""

    def __init__(self) -> None:
        self.marks = MemoryStore(Clock())

    async def add(self, name: str, at: float, until: float) -> bool:
        await asyncio.sleep(0)
        return self.marks.add(name, at, until)

    async def put(self, name: str, at: float, until: float) -> None:
        await asyncio.sleep(0)
        self.marks.put(name, at, until)

    async def look(self, names: Sequence[str]) -> Sequence[float | None]:
        await asyncio.sleep(0)
        return self.marks.look(names)
