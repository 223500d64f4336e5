"""The token of the request that is being served, in a context variable."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .token import KEY, Token

if TYPE_CHECKING:
    from inspect import Signature
    from types import FrameType

ACLOSE = "async_generator_athrow"
"""The type of what ``aclose()`` of an asynchronous generator returns."""
SCOPES = "security_scopes"
"""The parameter by which FastAPI says which scopes a dependency is asked for."""
FASTAPI = "fastapi.dependencies.utils"
"""The module of FastAPI that looks for such a parameter."""

_current: ContextVar[Token | None] = ContextVar(KEY, default=None)


class CurrentToken:
    """Return the token of the request that is being served, or None.

    A convenience: ``environ`` and ``scope`` hold the truth.  A thread that a
    handler starts itself does not inherit it.

    Read it before the first ``yield`` of a generator and keep it in a variable.  If
    a client goes away, Python may run the ``finally`` of an abandoned generator
    later, while another request is served.  In an asynchronous generator under
    asyncio this returns None then.  In a plain generator it cannot be noticed, and
    this may return *the token of that other request*.

    Raise RuntimeError if ``fastapi.Security`` asks it for scopes, which it would
    ignore: write ``jwt_middleware.fastapi.current_token`` there.
    """

    __name__ = "current_token"

    def __call__(self, **options: Any) -> Token | None:
        if options:
            _ensure_no_scopes(**options)
        token = _current.get()
        return None if token is None or _is_closing_a_generator() else token

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, Signature  # here: few ask, and it is large

        fastapi = _fastapi_that_asks()
        parameters = []
        if fastapi is not None:
            kind, annotation = Parameter.KEYWORD_ONLY, fastapi["SecurityScopes"]
            parameters.append(Parameter(SCOPES, kind, annotation=annotation))
        return Signature(parameters, return_annotation="Token | None")


current_token = CurrentToken()


def set_current_token(token: Token | None) -> None:
    """Set what `current_token` returns; to be called on entry to every request.

    Resetting it afterwards would not do: servers start the next request of a
    connection inside the context of the one before, and threads keep theirs.
    """
    _current.set(token)


def _is_closing_a_generator() -> bool:
    """Whether this task of asyncio does nothing but close an asynchronous generator.

    The event loop begins one for each generator that is garbage, in the context of
    whatever request is served at that moment.
    """
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)  # it may be half imported
    if asyncio is None or running is None or running() is None:
        return False
    task = asyncio.current_task()
    return task is not None and type(task.get_coro()).__name__ == ACLOSE


def _fastapi_that_asks() -> dict[str, Any] | None:
    """Return the names of the module of FastAPI that has asked, if it has."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != FASTAPI:
        frame = frame.f_back
    return None if frame is None else frame.f_globals


def _ensure_no_scopes(security_scopes: Any) -> None:
    if security_scopes.scopes:
        raise RuntimeError(
            "jwt_middleware.current_token reads no scopes; "
            "in Security(...) write jwt_middleware.fastapi.current_token"
        )
