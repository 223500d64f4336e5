"""What asyncio and trio do each in their own way, for what outlives one await."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import copy_context
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .bridge import trio_here

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Interrupted(Exception):
    """What was awaited will not be waited for any more."""


class Loop(Protocol):
    """The event loop that a connection lives in."""

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin *work* beside the connection; from any thread."""
        ...

    def spawn_after(
        self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Callable[[], None]:
        """Begin *work* later; what is returned calls it off."""
        ...

    async def guard(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await a call in the same task.  Raise Interrupted after `interrupt`."""
        ...

    def interrupt(self) -> None:
        """End all that is guarded, now and from now on."""
        ...

    async def pause(self) -> None:
        """Let others have their turn."""
        ...

    async def give(self, seconds: float, call: Callable[[], Awaitable[object]]) -> None:
        """Await a call, but not for longer."""
        ...

    def lock(self) -> AbstractAsyncContextManager[object]:
        """A lock for tasks of this loop."""
        ...


class AsyncioLoop:
    """asyncio, where a timeout that never comes can be told to come now."""

    def __init__(self) -> None:
        import asyncio  # here, so that importing the middleware costs no loop

        self._asyncio = asyncio
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._guards: set[asyncio.Timeout] = set()
        self._is_over = False

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(RuntimeError):  # the loop is closed, and its connections with it
            # In the connection's context, not in that of whoever calls.
            self._loop.call_soon_threadsafe(self._begin, work, context=self._context)

    def spawn_after(
        self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Callable[[], None]:
        context = self._context
        return self._loop.call_later(seconds, self._begin, work, context=context).cancel

    async def guard(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        if self._is_over:
            raise Interrupted
        guard = self._asyncio.timeout(None)
        self._guards.add(guard)
        try:
            async with guard:
                return await call(*args)
        except TimeoutError:
            if guard.expired():
                raise Interrupted from None
            raise
        finally:
            self._guards.discard(guard)

    def interrupt(self) -> None:
        if not self._is_over:
            self._is_over = True
            for guard in self._guards:
                guard.reschedule(self._loop.time())

    async def pause(self) -> None:
        await self._asyncio.sleep(0)

    async def give(self, seconds: float, call: Callable[[], Awaitable[object]]) -> None:
        with suppress(TimeoutError):
            async with self._asyncio.timeout(seconds):
                await call()

    def lock(self) -> AbstractAsyncContextManager[object]:
        return self._asyncio.Lock()

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = self._loop.create_task(work())
        self._tasks.add(task)  # the loop itself holds it weakly
        task.add_done_callback(self._tasks.discard)


class TrioLoop:
    """trio, whose scopes can be cancelled from outside."""

    def __init__(self, trio: ModuleType) -> None:
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._guards: set[Any] = set()
        self._is_over = False

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(self._trio.RunFinishedError):
            self._token.run_sync_soon(self._begin, work)

    def spawn_after(
        self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Callable[[], None]:
        scope = self._trio.CancelScope()

        async def wait() -> None:
            with scope:
                await self._trio.sleep(seconds)
                await self._trio.lowlevel.checkpoint()  # for who calls off just now
            if not scope.cancel_called:
                await work()

        self._begin(wait)
        cancel: Callable[[], None] = scope.cancel
        return cancel

    async def guard(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        if self._is_over:
            raise Interrupted
        guard = self._trio.CancelScope()
        self._guards.add(guard)
        try:
            with guard:
                return await call(*args)
        finally:
            self._guards.discard(guard)
        raise Interrupted

    def interrupt(self) -> None:
        self._is_over = True
        for guard in self._guards:
            guard.cancel()

    async def pause(self) -> None:
        await self._trio.lowlevel.checkpoint()

    async def give(self, seconds: float, call: Callable[[], Awaitable[object]]) -> None:
        with self._trio.move_on_after(seconds):
            await call()

    def lock(self) -> AbstractAsyncContextManager[object]:
        lock: AbstractAsyncContextManager[object] = self._trio.Lock()
        return lock

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with suppress(RuntimeError):  # the run is ending, and its connections with it
            self._trio.lowlevel.spawn_system_task(work)


def current_loop() -> Loop:
    """The loop that runs us, for one connection."""
    trio = trio_here()
    return AsyncioLoop() if trio is None else TrioLoop(trio)
