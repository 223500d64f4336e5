"""Find guards that have no effect, because they are written above the route."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any
from weakref import WeakSet

View = Callable[..., Any]
HOLDING = ("__wrapped__", "func", "__func__")
"""Attributes in which a decorated function, a partial and a method hold the function
that they call."""

_guards: WeakSet[View] = WeakSet()
"""The functions that `requires` returned."""
_below: WeakSet[View] = WeakSet()
"""The functions that `requires` was put above."""


def note_guard(guard: View, view: View) -> None:
    """Remember that *guard* was put above *view*."""
    _guards.add(guard)
    for function in _wrapped(view):
        with suppress(TypeError):  # this callable cannot be referenced weakly
            _below.add(function)


def check_guards(registered: Iterable[object]) -> None:
    """Raise RuntimeError if a function was registered without the guard above it.

    A decorator above the route has no effect: the route has already registered the
    function.  If the module's own name for the function has no guard either, the
    application registered the function without a guard on purpose.
    """
    views = [view for view in registered if callable(view)]
    guarded: set[int] = set()
    bare: list[View] = []
    for view in views:
        functions = list(_wrapped(view))
        if any(_is_in(function, _guards) for function in functions):
            guarded.update(map(id, functions))
        else:
            bare += functions
    for function in bare:
        is_known = id(function) in guarded or _is_named(function)
        if _is_in(function, _below) and not is_known:
            raise RuntimeError(
                f"{function!r} is registered without its guard; "
                "write @requires(...) below the route, next to the function"
            )


def _wrapped(view: Any) -> Iterator[Any]:
    """Yield *view* and the functions in it: of a decorator, a partial or a method."""
    found, seen = [view], set[int]()
    while found:
        function = found.pop()
        if function is None or id(function) in seen:
            continue
        seen.add(id(function))
        yield function
        found += [getattr(function, name, None) for name in HOLDING]


def _is_in(function: View, functions: WeakSet[View]) -> bool:
    try:
        return function in functions
    except TypeError:  # not hashable, or without weak references
        return False


def _is_named(function: View) -> bool:
    """Return whether the name of *function* in its module is *function* itself."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    return getattr(module, name, None) is function
