"""What is decided of a request that may go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from .challenge import Reply
from .credentials import Renewal
from .errors import AuthError
from .request import Request
from .token import Token

Divert = Callable[[AuthError, Request, Reply], Reply]
"""Another reply than that of the lock, or the same: see `Source`."""


class Pass(NamedTuple):
    """The request may go on, with the token that it showed."""

    token: Token | None
    renewal: Renewal | None = None
    """To be completed when the answer begins."""


ANONYMOUS_PASS = Pass(None)
