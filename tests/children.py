"""Threads that begin together, and forked children, which end whatever happens."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from jwt_middleware.testing import THREADS, at_once

from .servers import TIMEOUT_S

__all__ = ["THREADS", "Child", "at_once", "child", "in_child"]

T = TypeVar("T")

FORK = multiprocessing.get_context("fork")


class Child:
    """A process, and our end of a pipe to it."""

    def __init__(self, process: BaseProcess, pipe: Connection[object, object]) -> None:
        self.process = process
        self.pipe = pipe

    def hear(self) -> object:
        """The next thing that it says; an exception is raised here."""
        assert self.pipe.poll(TIMEOUT_S), "the child says nothing"
        said = self.pipe.recv()
        if isinstance(said, BaseException):
            raise said
        return said


@contextmanager
def child(work: Callable[[Connection[object, object]], object]) -> Iterator[Child]:
    """Fork a child that does *work* with its end of a pipe, and says what comes."""
    ours, theirs = FORK.Pipe()

    def say() -> None:
        ours.close()
        try:
            theirs.send(work(theirs))
        except BaseException as error:
            theirs.send(error)

    process = FORK.Process(target=say)
    process.start()
    theirs.close()
    try:
        yield Child(process, ours)
    finally:
        process.kill()
        process.join(TIMEOUT_S)
        ours.close()


@contextmanager
def children(
    works: Iterable[Callable[[Connection[object, object]], object]],
) -> Iterator[Sequence[Child]]:
    """Fork a child for each of *works*; all are at work together."""
    with ExitStack() as stack:
        yield [stack.enter_context(child(work)) for work in works]


def in_child(work: Callable[[], T]) -> T:
    """What *work* returns in a forked child."""
    with child(lambda _: work()) as one:
        answer: T = one.hear()  # type: ignore[assignment]
        one.process.join(TIMEOUT_S)
        assert one.process.exitcode == 0
        return answer
