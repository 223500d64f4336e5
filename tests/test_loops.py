"""asyncio and trio: what outlives one await, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from jwt_middleware.loops import (
    AsyncioLoop,
    Interrupted,
    Loop,
    TrioLoop,
    current_loop,
)

pytestmark = pytest.mark.anyio

SHORT_S = 0.05
SOON_S = 10.0
"""Within which what has to happen at once happens, on a machine that is busy."""
LOOPS = {"asyncio": AsyncioLoop, "trio": TrioLoop}

who: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture(params=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture
async def loop(anyio_backend: str) -> AsyncIterator[Loop]:
    """The loop that runs the test; no task of it may be left over."""
    before = tasks(anyio_backend)
    loop = current_loop()
    assert type(loop) is LOOPS[anyio_backend]
    yield loop
    with anyio.fail_after(SOON_S):
        while tasks(anyio_backend) > before:
            await checkpoint()
    assert not loop._guards  # type: ignore[attr-defined]


def tasks(backend: str) -> int:
    if backend == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(SOON_S):
        while not holds():
            await anyio.sleep(0.001)


async def answer(value: object) -> object:
    await checkpoint()
    return value


async def fail(error: BaseException) -> None:
    await checkpoint()
    raise error


class TestGuard:
    async def test_a_result_comes_through(self, loop: Loop) -> None:
        assert await loop.guard(answer, 7) == 7

    @pytest.mark.parametrize(
        "error",
        [ValueError("x"), OSError("gone"), TimeoutError("of the app"), Interrupted()],
        ids=lambda error: type(error).__name__,
    )
    async def test_an_error_comes_through(self, loop: Loop, error: Exception) -> None:
        """Also one that looks like ours."""
        with pytest.raises(type(error)) as caught:
            await loop.guard(fail, error)
        assert caught.value is error

    async def test_it_runs_in_the_same_task_and_context(self, loop: Loop) -> None:
        """A task of its own would lose contexts, and cancel scopes of others."""

        async def seen() -> tuple[int, str]:
            await checkpoint()
            found = who.get()
            who.set("bob")
            return anyio.get_current_task().id, found

        who.set("alice")
        task = anyio.get_current_task().id
        assert await loop.guard(seen) == (task, "alice")
        assert who.get() == "bob"

    async def test_an_interrupt_ends_what_waits(self, loop: Loop) -> None:
        ended: list[str] = []

        async def wait(name: str) -> None:
            with pytest.raises(Interrupted):
                await loop.guard(anyio.sleep_forever)
            ended.append(name)

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                for name in ("a", "b", "c"):
                    group.start_soon(wait, name)
                await anyio.wait_all_tasks_blocked()
                loop.interrupt()
        assert sorted(ended) == ["a", "b", "c"]

    async def test_what_comes_after_an_interrupt_is_not_begun(self, loop: Loop) -> None:
        begun: list[None] = []

        async def begin() -> None:
            begun.append(None)

        loop.interrupt()
        for _ in range(2):
            with pytest.raises(Interrupted):
                await loop.guard(begin)
        assert begun == []

    async def test_an_interrupt_may_come_twice(self, loop: Loop) -> None:
        """Also while what it ends takes its time to clean up."""
        cleaning, cleaned = anyio.Event(), anyio.Event()

        async def slow_to_leave() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cleaning.set()
                with anyio.CancelScope(shield=True):
                    await cleaned.wait()

        async def wait() -> None:
            with pytest.raises(Interrupted):
                await loop.guard(slow_to_leave)

        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                loop.interrupt()
                await cleaning.wait()
                try:
                    loop.interrupt()
                finally:
                    cleaned.set()

    async def test_an_interrupt_ends_nothing_that_is_not_guarded(
        self, loop: Loop
    ) -> None:
        """The task goes on, and so does what it waits for next."""
        loop.interrupt()
        with pytest.raises(Interrupted):
            await loop.guard(anyio.sleep_forever)
        assert await answer(7) == 7
        await anyio.sleep(SHORT_S)

    async def test_what_is_done_when_the_interrupt_comes_is_not_lost(
        self, loop: Loop
    ) -> None:
        """A message that was taken out of a queue has to get somewhere."""
        arrived = anyio.Event()
        got: list[object] = []

        async def receive() -> str:
            await arrived.wait()
            return "message"

        async def wait() -> None:
            got.append(await loop.guard(receive))

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            arrived.set()
            await checkpoint()
            await checkpoint()
            loop.interrupt()
        assert got == ["message"]

    async def test_a_cancelled_guard_leaves_nothing_behind(self, loop: Loop) -> None:
        """The cancellation is the app's, and it is for the app to see."""
        for _ in range(20):
            with anyio.move_on_after(0.001) as scope:
                await loop.guard(anyio.sleep_forever)
            assert scope.cancelled_caught
        assert not loop._guards  # type: ignore[attr-defined]
        assert await loop.guard(answer, 7) == 7

    async def test_a_timeout_of_the_app_is_told_from_an_interrupt(
        self, loop: Loop
    ) -> None:
        """Around the guard, and within."""

        async def in_time() -> None:
            with anyio.fail_after(0.001):
                await anyio.sleep_forever()

        with pytest.raises(TimeoutError):
            await loop.guard(in_time)
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.001):
                await loop.guard(anyio.sleep_forever)

    async def test_a_cancellation_wins_over_an_interrupt(self, loop: Loop) -> None:
        async def wait() -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await loop.guard(anyio.sleep_forever)

        scopes: list[anyio.CancelScope] = []
        with anyio.fail_after(SOON_S):
            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                scopes[0].cancel()
                loop.interrupt()
        assert scopes[0].cancelled_caught

    async def test_guards_stand_within_each_other(self, loop: Loop) -> None:
        """The lock may be wrapped twice."""
        outer = current_loop()

        async def inner() -> None:
            with pytest.raises(Interrupted):
                await loop.guard(anyio.sleep_forever)

        async with anyio.create_task_group() as group:
            group.start_soon(outer.guard, inner)
            await anyio.wait_all_tasks_blocked()
            loop.interrupt()


def test_an_interrupt_reaches_a_task_that_swallowed_a_cancellation() -> None:
    """Of asyncio, which counts them; an app may go on without `uncancel`."""

    async def story() -> None:
        task = asyncio.ensure_future(interruptible())
        await asyncio.sleep(0)
        task.cancel()
        await swallowed.wait()
        await asyncio.sleep(0)
        loops[0].interrupt()
        await asyncio.wait_for(task, SOON_S)

    async def interruptible() -> None:
        loops.append(loop := AsyncioLoop())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        with pytest.raises(Interrupted):
            await loop.guard(asyncio.Event().wait)

    swallowed, loops = asyncio.Event(), list[AsyncioLoop]()
    asyncio.run(story())


class TestSpawn:
    async def test_work_is_done_beside_us(self, loop: Loop) -> None:
        done: list[int] = []

        async def work() -> None:
            await checkpoint()
            done.append(anyio.get_current_task().id)

        loop.spawn(work)
        assert done == []
        await until(lambda: done)
        assert done != [anyio.get_current_task().id]

    async def test_work_comes_from_any_thread(self, loop: Loop) -> None:
        where: list[int] = []

        async def work() -> None:
            where.append(threading.get_ident())

        for _ in range(3):
            await anyio.to_thread.run_sync(loop.spawn, work)
        await until(lambda: len(where) == 3)
        assert set(where) == {threading.get_ident()}

    async def test_work_has_no_part_in_the_context_that_it_was_spawned_in(
        self, loop: Loop
    ) -> None:
        """It is some other request's: of whoever revoked, and maybe within `run`."""
        seen: list[str] = []

        async def work() -> None:
            seen.append(who.get())

        def revoke() -> None:
            who.set("mallory")
            loop.spawn(work)

        thread = threading.Thread(target=revoke)
        thread.start()
        thread.join()
        await until(lambda: seen)
        assert seen == ["nobody"]

    async def test_work_is_held_until_it_is_done(self, loop: Loop) -> None:
        """asyncio itself holds its tasks weakly."""
        go_on, done = anyio.Event(), list[bool]()

        async def work() -> None:
            await go_on.wait()
            done.append(True)

        loop.spawn(work)
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        go_on.set()
        await until(lambda: done)

    async def test_work_comes_later(self, loop: Loop) -> None:
        done: list[float] = []

        async def work() -> None:
            done.append(time.monotonic())

        begun = time.monotonic()
        loop.spawn_after(SHORT_S, work)
        await until(lambda: done)
        assert done[0] - begun >= SHORT_S * 0.9

    async def test_work_that_was_called_off_does_not_come(self, loop: Loop) -> None:
        done: list[str] = []

        async def work() -> None:
            done.append("called off")

        async def other() -> None:
            done.append("other")

        loop.spawn_after(0, work)()
        call_off = loop.spawn_after(SHORT_S, work)
        await checkpoint()
        call_off()
        call_off()
        loop.spawn_after(SHORT_S * 2, other)
        await until(lambda: done)
        assert done == ["other"]

    async def test_calling_off_what_is_at_work_does_not_end_it(
        self, loop: Loop
    ) -> None:
        begun, go_on, done = anyio.Event(), anyio.Event(), list[bool]()

        async def work() -> None:
            begun.set()
            await go_on.wait()
            done.append(True)

        call_off = loop.spawn_after(0, work)
        await begun.wait()
        call_off()
        go_on.set()
        await until(lambda: done)

    async def test_a_year_is_no_trouble(self, loop: Loop) -> None:
        async def never() -> None:
            raise AssertionError("not yet")

        loop.spawn_after(366 * 86_400, never)()


def test_work_that_is_called_off_in_its_last_moment_does_not_come() -> None:
    """trio wakes who waits for the same moment in any order."""
    done: list[int] = []

    async def story(turn: int) -> None:
        async def work() -> None:
            done.append(turn)

        loop = current_loop()
        async with trio.open_nursery() as nursery:

            async def call_off() -> None:
                await trio.sleep(1)
                stop()

            nursery.start_soon(call_off)
            await trio.testing.wait_all_tasks_blocked()
            stop = loop.spawn_after(1, work)

    for turn in range(30):
        trio.run(story, turn, clock=MockClock(autojump_threshold=0))
    assert done == []


class TestAfterTheEnd:
    """Whoever marks something does not know which loops there still are."""

    @pytest.mark.parametrize("backend", list(LOOPS))
    def test_spawning_is_harmless(self, backend: str) -> None:
        async def story() -> Loop:
            return current_loop()

        async def never() -> None:
            raise AssertionError("there is no loop")

        loop = anyio.run(story, backend=backend)
        loop.spawn(never)
        thread = threading.Thread(target=loop.spawn, args=(never,))
        thread.start()
        thread.join()

    @pytest.mark.parametrize("backend", list(LOOPS))
    def test_spawning_in_the_last_moment_is_harmless(self, backend: str) -> None:
        """A connection that opens while the server shuts down."""

        async def work() -> None:
            await checkpoint()

        async def story() -> None:
            current_loop().spawn(work)

        for _ in range(30):
            anyio.run(story, backend=backend)

    def test_spawning_while_the_loop_closes_is_harmless(self) -> None:
        """A thread that revokes while the server shuts down.

        Of trio, where an error would end all; asyncio drops what comes so late.
        """

        async def work() -> None:
            begun.set()

        async def story() -> None:
            loop = current_loop()
            thread = threading.Thread(target=revoke, args=(loop,))
            threads.append(thread)
            thread.start()
            await begun.wait()

        def revoke(loop: Loop) -> None:
            while not over.wait(0.0001):
                loop.spawn(work)

        for _ in range(60):
            over, begun = threading.Event(), trio.Event()
            threads: list[threading.Thread] = []
            try:
                trio.run(story)
            finally:
                over.set()
                threads[0].join()

    @pytest.mark.parametrize("backend", list(LOOPS))
    def test_what_was_to_come_later_does_not_keep_the_loop(self, backend: str) -> None:
        async def never() -> None:
            raise AssertionError("there is no loop")

        async def story() -> None:
            current_loop().spawn_after(3600, never)
            await checkpoint()

        begun = time.monotonic()
        anyio.run(story, backend=backend)
        assert time.monotonic() - begun < SOON_S


class TestGive:
    async def test_it_does_not_wait_for_longer(self, loop: Loop) -> None:
        begun = time.monotonic()
        await loop.give(SHORT_S, anyio.sleep_forever)
        assert SHORT_S * 0.9 <= time.monotonic() - begun < SOON_S

    async def test_it_waits_for_what_is_done_in_time(self, loop: Loop) -> None:
        done: list[bool] = []

        async def work() -> None:
            await anyio.sleep(SHORT_S)
            done.append(True)

        await loop.give(SOON_S, work)
        assert done == [True]

    async def test_an_error_comes_through(self, loop: Loop) -> None:
        async def work() -> None:
            await fail(OSError("gone"))

        with pytest.raises(OSError, match="gone"):
            await loop.give(SOON_S, work)

    async def test_an_interrupt_does_not_end_it(self, loop: Loop) -> None:
        """It is for saying goodbye, which comes after."""
        done: list[bool] = []

        async def work() -> None:
            await anyio.sleep(SHORT_S)
            done.append(True)

        loop.interrupt()
        await loop.give(SOON_S, work)
        assert done == [True]

    async def test_a_cancellation_is_not_swallowed(self, loop: Loop) -> None:
        with anyio.move_on_after(SHORT_S) as scope:
            await loop.give(60, anyio.sleep_forever)
        assert scope.cancelled_caught


class TestLock:
    async def test_one_at_a_time_and_in_turn(self, loop: Loop) -> None:
        lock, seen = loop.lock(), list[str]()

        async def enter(name: str) -> None:
            async with lock:
                seen.append(f"+{name}")
                await checkpoint()
                seen.append(f"-{name}")

        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(enter, name)
        assert [(a[0], b[0], a[1] == b[1]) for a, b in pairs(seen)] == [
            ("+", "-", True)
        ] * 3

    async def test_who_was_cancelled_does_not_keep_it(self, loop: Loop) -> None:
        lock = loop.lock()

        async def hold() -> None:
            async with lock:
                await anyio.sleep_forever()

        for call in (hold, lambda: loop.guard(hold)):
            with anyio.move_on_after(SHORT_S):
                await call()
        with anyio.fail_after(SOON_S):
            async with lock:
                pass

    async def test_it_is_one_of_its_own_each_time(self, loop: Loop) -> None:
        async with loop.lock():
            with anyio.fail_after(SOON_S):
                async with loop.lock():
                    pass


def pairs(entries: list[str]) -> list[tuple[str, str]]:
    return list(zip(entries[::2], entries[1::2], strict=True))
