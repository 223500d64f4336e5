"""Keep tokens out of the tracebacks that error reporters collect.

An error reporter, such as Sentry, sends the local variables of every frame of a
traceback to its server, those of causes and contexts included.  The frames of this
package hold tokens.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from .errors import AuthError

P = ParamSpec("P")
T = TypeVar("T")

PACKAGE = __name__.partition(".")[0]
MEANT = (AuthError, RuntimeError, ValueError)
"""Errors that this package raises on purpose: their message is enough without frames.
Any other error is a bug, and keeps its frames."""


def drop_frames(error: BaseException) -> None:
    """Drop the frames of this package from *error*, its causes and its contexts.

    A context that this package has caught is dropped as a whole: some exceptions hold
    the text that could not be read.  A cause, and the frames and exceptions of the
    application, are kept.  After this call write a bare ``raise``, which adds no frame
    of the function around it.
    """
    found, seen = [error], set[int]()
    while found:
        one = found.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        context = one.__context__
        while context is not None and _is_caught_here(context):
            context = context.__context__
        one.__traceback__ = _foreign(one.__traceback__)
        one.__context__ = context
        found += [other for other in (one.__cause__, context) if other is not None]


def shows_no_token(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that takes a token, so that `MEANT` errors have no frame of
    this package."""

    @functools.wraps(call)
    async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await cast(Any, call)(*args, **kwargs)
        except MEANT as error:
            drop_frames(error)
            raise

    @functools.wraps(call)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except MEANT as error:
            drop_frames(error)
            raise

    is_awaited = inspect.iscoroutinefunction(call)
    return cast("Callable[P, T]", awaited if is_awaited else called)


def _is_caught_here(error: BaseException) -> bool:
    """Return whether a function of this package has caught *error*."""
    traceback = error.__traceback__  # the first frame is the one that caught it
    return traceback is not None and _is_ours(traceback.tb_frame)


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return isinstance(name, str) and name.partition(".")[0] == PACKAGE


def _foreign(traceback: TracebackType | None) -> TracebackType | None:
    """Return *traceback* without the frames of this package."""
    kept = []
    while traceback is not None:
        if not _is_ours(traceback.tb_frame):
            kept.append(traceback)
        traceback = traceback.tb_next
    following = None
    for one in reversed(kept):
        one.tb_next = following
        following = one
    return following
