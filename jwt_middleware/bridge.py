"""One core, with or without an event loop.

The core is written once, as coroutines.  ASGI awaits them.  WSGI has no loop,
so `run` steps them by hand: under it every `ask` is answered on the spot, a `Latch`
is waited for by the thread itself, and nothing ever suspends.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from concurrent.futures import Executor

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

AGAIN_S = 3600.0
"""Until what waits for a thread looks whether it still does."""

_under_run: ContextVar[bool] = ContextVar("jwt_middleware.under_run", default=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Carry *work* to its end without an event loop.

    What waits for a loop all the same is told by a RuntimeError, where it waits.
    """
    token = _under_run.set(True)
    try:
        work.send(None)
        work.throw(_loopless(work))
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        _under_run.reset(token)
        work.close()
    raise _loopless(work)


def _loopless(work: object) -> RuntimeError:
    return RuntimeError(f"{work!r} waits for an event loop, and here is none")


async def ask(call: Callable[..., T | Awaitable[T]], *args: Any) -> T:
    """Make a call that may wait.

    A coroutine function is awaited.  A plain function runs in place where it is
    `instant` or where `run` is at work, and in a thread otherwise.
    """
    answer: Any
    if is_instant(call) or _under_run.get() or needs_loop(call):
        answer = call(*args)
    else:
        answer = await _in_thread(call, *args)
    # Never take a coroutine for an answer: it is true.  A list, as of marks, is none.
    if type(answer) is not list and inspect.isawaitable(answer):
        answer = await answer
    return cast(T, answer)


def needs_loop(call: object) -> bool:
    """Whether *call* is a coroutine function, or an object that is called as one."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(
        getattr(call, "__call__", None)  # noqa: B004  (what it is, not whether)
    )


def is_instant(call: object) -> bool:
    """Whether *call* is marked as one that never waits, but may return what does."""
    return getattr(call, "instant", False) is True


def instant(call: F) -> F:
    """Mark *call* as one that never waits."""
    call.instant = True  # type: ignore[attr-defined]
    return call


class Latch:
    """Opened once, by any thread; threads and tasks that wait for it then go on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = threading.Event()
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def open(self) -> None:
        """Let all go on who wait, and whoever comes later."""
        with self._lock:
            self._opened.set()
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    async def wait(self, seconds: float) -> bool:
        """Whether it was opened before *seconds* were over."""
        if _under_run.get():
            return self._opened.wait(seconds)
        trio = trio_here()
        await (self._in_asyncio(seconds) if trio is None else self._in(trio, seconds))
        return self._opened.is_set()

    async def _in_asyncio(self, seconds: float) -> None:
        import asyncio  # here, so that it costs WSGI nothing

        loop, opened = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed, and its tasks with it
                loop.call_soon_threadsafe(opened.set)

        self._when_open(wake)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await opened.wait()

    async def _in(self, trio: ModuleType, seconds: float) -> None:
        token, opened = trio.lowlevel.current_trio_token(), trio.Event()

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(opened.set)

        self._when_open(wake)
        with trio.move_on_after(seconds):
            await opened.wait()

    def _when_open(self, wake: Callable[[], None]) -> None:
        with self._lock:
            if not self._opened.is_set():
                self._wakers.append(wake)
                return
        wake()


def trio_here() -> ModuleType | None:
    """trio, where it runs us; who runs under it has imported it."""
    trio = sys.modules.get("trio")
    lowlevel = getattr(trio, "lowlevel", None)  # another thread may be importing it
    return trio if lowlevel is not None and lowlevel.in_trio_run() else None


async def _in_thread(call: Callable[..., T], *args: Any) -> T:
    latch = Latch()
    answer = _threads().submit(copy_context().run, call, *args)
    answer.add_done_callback(lambda _: latch.open())
    while not answer.done():
        await latch.wait(AGAIN_S)
    return answer.result()


@cache
def _threads() -> Executor:
    """Threads of our own: those that the application has for such calls may all be
    busy, or even wait for an answer that needs this one."""
    from concurrent.futures import ThreadPoolExecutor  # here, as it costs WSGI nothing

    return ThreadPoolExecutor(thread_name_prefix="jwt_middleware")


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has none of them
