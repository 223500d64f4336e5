"""What carries a coroutine to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

Carry = Callable[[Coroutine[Any, Any, Any]], Any]


def by_trio(work: Coroutine[Any, Any, Any]) -> Any:
    async def main() -> Any:
        return await work

    return trio.run(main)


LOOPS = [pytest.param(asyncio.run, id="asyncio"), pytest.param(by_trio, id="trio")]
