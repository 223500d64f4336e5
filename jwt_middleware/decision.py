"""What is decided of a request that may go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from .challenge import Reply
from .errors import AuthError
from .request import Request
from .token import Token

Divert = Callable[[AuthError, Request, Reply], Reply]
"""Another reply than that of the lock, or the same: see `Source`."""


class Completion(Protocol):
    """Adds headers when the answer of the application begins."""

    async def complete(
        self, status: int, headers: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[str, str]]:
        """Return *headers* and those that are added."""
        ...


class Pass(NamedTuple):
    """The request may go on, with the token that it showed."""

    token: Token | None
    completion: Completion | None = None


ANONYMOUS_PASS = Pass(None)
