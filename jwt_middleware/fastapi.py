"""A courtesy to FastAPI: dependencies that its documentation shows with a padlock."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from fastapi import Security
from fastapi.openapi.models import HTTPBearer
from fastapi.requests import HTTPConnection
from fastapi.security import SecurityScopes
from fastapi.security.base import SecurityBase

from .options import read_clock
from .requirement import Requirement
from .starlette import from_request as from_request
from .starlette import init_app as init_app
from .starlette import refusing as refusing
from .starlette import set_cookies as set_cookies
from .token import KEY, Token


class _BearerToken(SecurityBase):
    """A dependency: the token of the request or WebSocket, with the scopes asked for.

    It reads what the middleware has verified, and verifies nothing itself.  Raises
    NoCredentials and InsufficientScope.
    """

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT")
        self.scheme_name = "JWT"

    async def __call__(
        self, connection: HTTPConnection, security_scopes: SecurityScopes
    ) -> Token:
        requirement = Requirement(security_scopes.scopes)
        return requirement.permit(connection.scope.get(KEY), 0)


current_token = _BearerToken()
"""``Security(current_token, scopes=["read"])``, or ``Depends(current_token)``."""


def requires(
    *scopes: str,
    acr: Sequence[str] = (),
    amr: Sequence[str] = (),
    max_age: int | None = None,
    now: Callable[[], float] = time.time,
) -> Callable[..., Coroutine[Any, Any, Token]]:
    """A dependency: a token with all *scopes*, of a user who logged in like that.

    >>> from fastapi import Depends, FastAPI
    >>> app = FastAPI()
    >>> @app.post("/payments")
    ... def pay(token: Annotated[Token, Depends(requires("pay", max_age=300))]): ...

    For the options see `jwt_middleware.requirement.Requirement`.
    """
    requirement, now = Requirement(scopes, acr, amr, max_age), read_clock(now)
    shown = Security(current_token, scopes=scopes)

    async def permit(token: Any = shown) -> Token:
        return requirement.permit(token, now())

    return permit
