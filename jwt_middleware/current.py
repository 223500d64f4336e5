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
"""The type of the object that ``aclose()`` of an asynchronous generator returns."""
SCOPES = "security_scopes"
"""The parameter in which FastAPI gives a dependency the scopes of ``Security``."""
FASTAPI = "fastapi.dependencies.utils"
"""The module of FastAPI that looks for this parameter."""

_current: ContextVar[Token | None] = ContextVar(KEY, default=None)


class CurrentToken:
    """Return the token of the request that is being served, or None.

    This is a convenience: the token is also in ``environ`` or ``scope``.  A thread that
    a handler starts itself does not inherit the token.

    Read it before the first ``yield`` of a generator and keep it in a variable.  If
    a client goes away, Python may run the ``finally`` of an abandoned generator
    later, while another request is served.  In an asynchronous generator under
    asyncio, this then returns None.  In a plain generator that cannot be detected, and
    this may return *the token of that other request*.

    Raise RuntimeError if ``fastapi.Security`` gives it scopes, which it would ignore:
    write ``jwt_middleware.fastapi.current_token`` there.
    """

    __name__ = "current_token"

    def __call__(self, **options: Any) -> Token | None:
        if options:
            _ensure_no_scopes(**options)
        token = _current.get()
        return None if token is None or _is_closing_a_generator() else token

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, Signature  # here, since few need this module

        fastapi = _fastapi_that_asks()
        parameters = []
        if fastapi is not None:
            kind, annotation = Parameter.KEYWORD_ONLY, fastapi["SecurityScopes"]
            parameters.append(Parameter(SCOPES, kind, annotation=annotation))
        return Signature(parameters, return_annotation="Token | None")


current_token = CurrentToken()


def set_current_token(token: Token | None) -> None:
    """Set what `current_token` returns.  Call this at the beginning of every request.

    Resetting the variable after a request is not enough: servers start the next request
    of a connection in the context of the one before, and threads keep their context.
    """
    _current.set(token)


def _is_closing_a_generator() -> bool:
    """Return whether this asyncio task only closes an asynchronous generator.

    The event loop starts such a task for each generator that is garbage collected, in
    the context of the request that is being served at that moment.
    """
    asyncio = sys.modules.get("asyncio")
    running = getattr(asyncio, "_get_running_loop", None)  # it may be half imported
    if asyncio is None or running is None or running() is None:
        return False
    task = asyncio.current_task()
    return task is not None and type(task.get_coro()).__name__ == ACLOSE


def _fastapi_that_asks() -> dict[str, Any] | None:
    """Return the globals of `FASTAPI` if that module is calling, else None."""
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
