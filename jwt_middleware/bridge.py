"""One core, with or without an event loop.

The core is written once, as coroutines.  ASGI awaits them.  WSGI has no loop,
so `run` steps them by hand: under it every `ask` is answered on the spot, a `Latch`
is waited for by the thread itself, and nothing ever suspends.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from functools import partial
from types import ModuleType
from typing import Any, TypeVar, cast

from .errors import Unavailable
from .pools import READS, Pool

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])


NOT_HERE, MAY_BLOCK, MAY_NOT_BLOCK, HAS_REFUSED = range(4)
"""Whether `run` is at work; whether it may block an event loop that runs in its thread;
and whether something in it would have had to."""
_run_here: ContextVar[int] = ContextVar("jwt_middleware.run", default=NOT_HERE)


def run(work: Coroutine[Any, Any, T], *, may_stop_loop: bool = False) -> T:
    """Carry *work* to its end without an event loop.

    Raise RuntimeError if *work* waits for an event loop, and if an event loop runs in
    this thread and *work* would have to block it, unless *may_stop_loop*.
    """
    token = _run_here.set(MAY_BLOCK if may_stop_loop else MAY_NOT_BLOCK)
    try:
        answer = _stepped(work)
    except Exception as error:
        if _run_here.get() == HAS_REFUSED:
            raise _would_block(work) from error
        raise
    else:
        if _run_here.get() == HAS_REFUSED:  # and yet something went on
            raise _would_block(work)
        return answer
    finally:
        _run_here.reset(token)
        work.close()


def _ensure_may_block() -> None:
    """Raise RuntimeError if an event loop runs in this thread."""
    if _run_here.get() != MAY_BLOCK and is_in_loop():
        _run_here.set(HAS_REFUSED)
        raise RuntimeError("an event loop runs in this thread")


def _stepped(work: Coroutine[Any, Any, T]) -> T:
    try:
        work.send(None)
        work.throw(_loopless(work))
    except StopIteration as end:
        value: T = end.value
        return value
    raise _loopless(work)


def _loopless(work: object) -> RuntimeError:
    return RuntimeError(f"{work!r} waits for an event loop, and here is none")


def _would_block(work: Coroutine[Any, Any, Any]) -> RuntimeError:
    name = getattr(work, "__name__", "its twin")
    return RuntimeError(
        "this call has to wait, which would stop the event loop of this thread; "
        f"in a coroutine, write instead: await {name}(...)"
    )


async def ask(
    call: Callable[..., T | Awaitable[T]], *args: Any, pool: Pool = READS
) -> T:
    """Make a call that may wait.

    A coroutine function is awaited.  A plain function runs in place if it is `instant`
    or if `run` is at work, and in a thread of *pool* otherwise.
    """
    answer: Any
    if is_instant(call) or needs_loop(call):
        answer = call(*args)
    elif holds_thread():
        if pool.may_block:
            _ensure_may_block()
        answer = call(*args)
    else:
        answer = await _in_thread(pool, call, *args)
    # A coroutine is truthy; await it.  A list, as of dates, needs no such question.
    if type(answer) is not list and inspect.isawaitable(answer):
        answer = await answer
    return cast(T, answer)


def holds_thread() -> bool:
    """Whether what waits here keeps a thread from other work, as under WSGI."""
    return _run_here.get() != NOT_HERE


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
        self._opened.set()  # not under the lock, since it takes one of its own
        with self._lock:
            wakers, self._wakers = self._wakers, []
        for wake in wakers:
            wake()

    async def wait(self, seconds: float) -> bool:
        """Whether it was opened before *seconds* were over."""
        if holds_thread():
            if seconds > 0 and not self.is_open:
                _ensure_may_block()
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


def is_in_loop() -> bool:
    """Whether an event loop runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)  # it may be half imported
    return (running is not None and running() is not None) or trio_here() is not None


async def _in_thread(pool: Pool, call: Callable[..., T], *args: Any) -> T:
    latch = Latch()
    job = pool.submit(partial(copy_context().run, call, *args), latch.open)
    try:
        is_done = await latch.wait(pool.seconds)
    finally:
        pool.give_up(job)
    if not is_done:
        raise Unavailable(f"{pool.purpose}: no answer within {pool.seconds:.0f} s")
    answer: T = job.result()
    return answer
