"""One core, with or without an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import pytest
import trio

from jwt_middleware.bridge import Latch, ask, instant, needs_loop, run
from jwt_middleware.pools import CHECKS

from .carriers import LOOPS, Carry, by_trio
from .children import in_child
from .servers import TIMEOUT_S

CARRIERS = [pytest.param(run, id="run"), *LOOPS]


def where(*_: object) -> int:
    """The thread that a call runs in."""
    return threading.get_ident()


async def where_async(*_: object) -> int:
    return threading.get_ident()


class Called:
    """An object that is called as a coroutine function is."""

    async def __call__(self, *_: object) -> int:
        return threading.get_ident()


class Sure:
    """An object with one method that never waits."""

    @instant
    def method(self) -> int:
        return threading.get_ident()


def coroutine_of_where(*_: object) -> Awaitable[int]:
    """A plain function that gives a coroutine: what a wrapped client often is."""
    return where_async()


COROUTINES = [
    pytest.param(where_async, id="function"),
    pytest.param(partial(where_async, 1), id="partial"),
    pytest.param(Called(), id="object"),
    pytest.param(Called().__call__, id="method"),
]


@pytest.mark.parametrize("carry", CARRIERS)
@pytest.mark.parametrize("call", [*COROUTINES, coroutine_of_where])
def test_the_answer_is_never_a_coroutine(
    carry: Carry, call: Callable[..., Awaitable[int]]
) -> None:
    """One taken for an answer would be true: everyone would pass."""
    assert carry(ask(call, "an argument")) == threading.get_ident()


@pytest.mark.parametrize("carry", CARRIERS)
def test_arguments_and_answer_go_through(carry: Carry) -> None:
    def joined(*args: object) -> tuple[object, ...]:
        return args

    assert carry(ask(joined, 1, "a", None)) == (1, "a", None)
    assert carry(ask(joined)) == ()


def test_under_run_a_plain_call_is_made_in_place() -> None:
    assert run(ask(where)) == threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_under_a_loop_a_plain_call_is_made_in_a_thread(carry: Carry) -> None:
    """It may wait, and the loop must not."""
    assert carry(ask(where)) != threading.get_ident()
    assert carry(ask(partial(where, 1))) != threading.get_ident()


@pytest.mark.parametrize("carry", CARRIERS)
def test_an_instant_call_is_made_in_place(carry: Carry) -> None:
    assert carry(ask(Sure().method)) == threading.get_ident()
    assert carry(ask(instant(lambda: where()))) == threading.get_ident()


def test_a_loop_goes_on_while_a_plain_call_waits() -> None:
    """The call ends only after the loop has done something else."""
    done = threading.Event()

    async def both() -> tuple[object, object]:
        async def meanwhile() -> None:
            done.set()

        first, second = await asyncio.gather(ask(done.wait, 10), meanwhile())
        return first, second

    assert asyncio.run(both()) == (True, None)


@pytest.mark.parametrize("carry", CARRIERS)
@pytest.mark.parametrize("kind", [ValueError, KeyError, StopAsyncIteration])
def test_what_a_call_raises_comes_out(carry: Carry, kind: type[Exception]) -> None:
    def plain() -> None:
        raise kind("plain")

    async def coroutine() -> None:
        raise kind("coroutine")

    for call, text in ((plain, "plain"), (coroutine, "coroutine")):
        with pytest.raises(kind, match=text):
            carry(ask(call))


def test_run_carries_nested_work_to_its_end() -> None:
    async def inner(number: int) -> int:
        return number + await ask(lambda: 1)

    async def outer() -> int:
        return await inner(1) + await inner(2)

    assert run(outer()) == 5


def test_run_inside_run_leaves_the_outer_as_it_was() -> None:
    async def outer() -> list[int]:
        return [run(ask(where)), await ask(where)]

    assert run(outer()) == [threading.get_ident()] * 2


def test_run_inside_a_loop_does_not_change_how_the_loop_asks() -> None:
    """A handler may call `authenticate`; what it asks later still gets a thread."""

    async def handler() -> tuple[int, int]:
        return run(ask(Sure().method)), await ask(where)

    here, there = asyncio.run(handler())
    assert here == threading.get_ident() != there


def test_a_run_that_failed_leaves_nothing_behind() -> None:
    async def failing() -> None:
        raise ValueError("as it must")

    async def later() -> int:
        return await ask(where)

    with pytest.raises(ValueError, match="as it must"):
        run(failing())
    assert asyncio.run(later()) != threading.get_ident()


class Forever:
    """Something that only an event loop can end."""

    def __await__(self) -> Generator[None]:
        yield


def test_run_refuses_to_wait_and_cleans_up() -> None:
    """A store that needs a loop must not make WSGI hang, nor seem to answer."""
    cleaned: list[str] = []

    async def waiting() -> str:
        try:
            await Forever()
        finally:
            cleaned.append("up")
        return "never"

    with pytest.raises(RuntimeError, match="waits for an event loop") as caught:
        run(waiting())
    assert caught.tb is not None  # it still holds the coroutine: no collector helped
    assert cleaned == ["up"]


@pytest.mark.parametrize("call", COROUTINES)
def test_a_coroutine_function_needs_a_loop(call: object) -> None:
    assert needs_loop(call)


@pytest.mark.parametrize(
    "call", [where, partial(where), Sure().method, Sure(), None, 7]
)
def test_anything_else_needs_none(call: object) -> None:
    assert not needs_loop(call)


def test_instant_gives_back_the_function_itself() -> None:
    def plain() -> None:
        """Nothing."""

    assert instant(plain) is plain


def test_what_waits_under_run_is_told_where_it_waits() -> None:
    """So that a store or a source that waits is a fault like any other of its own."""

    async def guarded() -> str:
        try:
            await Forever()
        except RuntimeError as error:
            return str(error)
        return "never"

    assert "waits for an event loop, and here is none" in run(guarded())


def test_run_does_not_argue() -> None:
    async def stubborn() -> None:
        while True:
            with suppress(RuntimeError):
                await Forever()

    with pytest.raises(RuntimeError, match="waits for an event loop"):
        run(stubborn())


# A latch


@pytest.mark.parametrize("carry", CARRIERS)
def test_an_open_latch_holds_nobody_up(carry: Carry) -> None:
    latch = Latch()
    latch.open()
    assert carry(latch.wait(30)) is True
    latch.open()
    assert carry(latch.wait(30)) is True


@pytest.mark.parametrize("carry", CARRIERS)
def test_who_waits_too_long_is_told(carry: Carry) -> None:
    assert carry(Latch().wait(0.01)) is False


@pytest.mark.parametrize("carry", CARRIERS)
def test_a_thread_opens_a_latch_for_everybody(carry: Carry) -> None:
    """Several loops at once, and threads without one."""
    latch, ready = Latch(), threading.Barrier(5)

    async def waiting() -> bool:
        ready.wait(30)
        return await latch.wait(30)

    with ThreadPoolExecutor(4) as pool:
        waiters = [pool.submit(carry, waiting()) for _ in range(4)]
        ready.wait(30)
        latch.open()
        assert [waiter.result(30) for waiter in waiters] == [True] * 4


def test_tasks_wait_side_by_side() -> None:
    """The loop goes on for the others, and one that is cancelled takes nobody along."""
    latch = Latch()

    async def in_asyncio() -> list[object]:
        tasks = [asyncio.create_task(latch.wait(30)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        threading.Thread(target=latch.open).start()
        return await asyncio.gather(*tasks, return_exceptions=True)

    gone, *others = asyncio.run(in_asyncio())
    assert isinstance(gone, asyncio.CancelledError)
    assert others == [True, True]


def test_a_loop_that_has_ended_does_not_hinder_the_others() -> None:
    """Who gave up has left something to wake, in a loop that is closed by now."""
    latch = Latch()
    for carry in (asyncio.run, by_trio):
        assert carry(latch.wait(0.01)) is False
    latch.open()
    assert run(latch.wait(0)) is True


# Threads


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What blocked calls wait for; set in the end, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_does_not_wait_for_the_threads_of_an_asyncio_application(
    released: threading.Event,
) -> None:
    """All of them are busy, with calls that wait for its answer."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, released.wait, TIMEOUT_S)
        answer = await ask(where)
        released.set()
        assert await blocked
        return answer

    assert asyncio.run(main()) != threading.get_ident()


def test_a_call_does_not_wait_for_the_threads_of_a_trio_application(
    released: threading.Event,
) -> None:
    async def block() -> None:
        assert await trio.to_thread.run_sync(released.wait, TIMEOUT_S)

    async def main() -> int:
        limiter = trio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(block)
            while limiter.available_tokens:
                await trio.sleep(0.001)
            answer = await ask(where)
            released.set()
        return answer

    assert by_trio(main()) != threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_a_call_that_is_given_up_leaves_the_thread_to_others(
    carry: Carry, released: threading.Event
) -> None:
    begun = threading.Event()

    def block() -> None:
        begun.set()
        released.wait(TIMEOUT_S)

    async def main() -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(ask, block)
            while not begun.is_set():
                await anyio.sleep(0.001)
            group.cancel_scope.cancel()
        return await ask(where)

    assert carry(main()) != threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_what_a_thread_raises_arrives(carry: Carry) -> None:
    def fail() -> None:
        raise LookupError("of the call")

    with pytest.raises(LookupError, match="of the call"):
        carry(ask(fail))


@pytest.mark.parametrize("carry", LOOPS)
def test_a_thread_sees_the_context_of_the_call(carry: Carry) -> None:
    variable = ContextVar("variable", default="")

    async def main() -> str:
        variable.set("of the task")
        return await ask(variable.get)

    assert carry(main()) == "of the task"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("carry", LOOPS)
def test_a_fork_has_threads_of_its_own(carry: Carry) -> None:
    carry(ask(where))
    assert in_child(partial(_asked_by, carry))


def _asked_by(carry: Carry) -> bool:
    return bool(carry(ask(where)) != threading.get_ident())


# A synchronous call in the thread of a loop


async def plainly() -> int:
    return await ask(where)


async def behind_a_latch() -> bool:
    return await Latch().wait(0.01)


async def swallowing() -> str:
    """As a store that answers something else where a call of its own fails."""
    with suppress(RuntimeError):
        await ask(where)
    return "as if nothing had been"


async def wrapping() -> int:
    try:
        return await ask(where)
    except RuntimeError as error:
        raise LookupError("of another kind") from error


WAITING = (plainly, behind_a_latch, swallowing, wrapping)


@pytest.mark.parametrize("carry", LOOPS)
@pytest.mark.parametrize("work", WAITING)
def test_run_in_a_coroutine_refuses_to_stop_the_loop_and_names_what_to_await(
    carry: Carry, work: Callable[[], Coroutine[Any, Any, object]]
) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=f"await {work.__name__}"):
            run(work())

    carry(main())


def test_run_beside_a_loop_waits() -> None:
    """Another thread has no loop, though its process has one."""

    async def main() -> tuple[bool, int]:
        return (
            await asyncio.to_thread(run, behind_a_latch()),
            await asyncio.to_thread(run, plainly()),
        )

    waited, thread = asyncio.run(main())
    assert not waited
    assert thread != threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_a_caller_that_knows_may_stop_its_loop(carry: Carry) -> None:
    """As a server does that calls WSGI in the thread of its loop."""

    async def main() -> int:
        return run(plainly(), may_stop_loop=True)

    assert carry(main()) == threading.get_ident()


@pytest.mark.parametrize("carry", LOOPS)
def test_run_in_a_coroutine_does_what_needs_no_waiting(carry: Carry) -> None:
    opened = Latch()
    opened.open()

    async def ready() -> list[object]:
        return [
            await ask(Sure().method),
            await ask(where, pool=CHECKS),
            await opened.wait(1),
            await Latch().wait(0),
        ]

    async def main() -> list[object]:
        return run(ready())

    here = threading.get_ident()
    assert carry(main()) == [here, here, True, False]
