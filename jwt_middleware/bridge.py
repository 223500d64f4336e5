"""One core, with or without an event loop.

The core is written once, as coroutines.  ASGI awaits them.  WSGI has no loop,
so `run` steps them by hand: under it every `ask` is answered on the spot, and
nothing ever suspends.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

_under_run: ContextVar[bool] = ContextVar("jwt_middleware.under_run", default=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry *work* to its end without an event loop."""
    token = _under_run.set(True)
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        _under_run.reset(token)
        work.close()
    raise RuntimeError(f"{work!r} waits for an event loop, and here is none")


async def ask(call: Callable[..., T | Awaitable[T]], *args: Any) -> T:
    """Make a call that may wait.

    A coroutine function is awaited.  A plain function runs in place where it is
    `instant` or where `run` is at work, and in a thread otherwise.
    """
    answer: Any
    if needs_loop(call) or getattr(call, "instant", False) or _under_run.get():
        answer = call(*args)
    else:
        answer = await _in_thread(call, *args)
    if inspect.isawaitable(answer):  # never take a coroutine for an answer: it is true
        answer = await answer
    result: T = answer
    return result


def needs_loop(call: object) -> bool:
    """Whether *call* is a coroutine function, or an object that is called as one."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004  (what it is, not whether)
    )


def instant(call: F) -> F:
    """Mark *call* as one that never waits."""
    call.instant = True  # type: ignore[attr-defined]
    return call


async def _in_thread(call: Callable[..., T], *args: Any) -> T:
    trio = sys.modules.get("trio")  # who runs under trio has imported it
    if trio is not None and trio.lowlevel.in_trio_run():
        # In a tuple, since trio does not let a thread return a coroutine.
        answer: tuple[T] = await trio.to_thread.run_sync(lambda: (call(*args),))
        return answer[0]
    from asyncio import to_thread  # here, so that it costs WSGI nothing

    return await to_thread(call, *args)
