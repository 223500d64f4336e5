"""What many tokens have in common, so that it is found out once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .fork import start_anew_after_fork
from .jose import Key
from .trust import TrustedIssuer

MOST = 1024
"""Of all issuers: each has a few headers.  One that has many gains nothing here."""


class Origin(NamedTuple):
    """An issuer, a header of its tokens, and the keys that were meant by it."""

    issuer: TrustedIssuer
    header: Mapping[str, Any]
    fitting: Sequence[Key]
    held: Sequence[Key] | None
    """All keys of the issuer, when these were chosen; None where it cannot tell."""

    is_dear: bool = False
    """Whether a check of its signatures is not for the thread of an event loop."""


class Origins:
    """Origins of which a signature was verified, found by issuer and header.

    A number stands for one; where the keys of an issuer have changed, it is another
    one, under another number.
    """

    def __init__(self) -> None:
        self.headers: dict[bytes, Mapping[str, Any]] = {}
        """Headers as they were sent, and what they say."""
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._origins: dict[int, Origin] = {}
        self._last = 0
        self.start_anew()
        start_anew_after_fork(self)

    def start_anew(self) -> None:
        self._lock = threading.Lock()

    def numbered(self, number: int) -> Origin | None:
        """The origin of that number, where it still holds."""
        origin = self._origins.get(number)
        if origin is None or origin.issuer.held() is not origin.held:
            return None
        return origin

    def found(self, issuer: str, header: bytes) -> Origin | None:
        """The origin of an issuer's tokens with a header, where it still holds."""
        number = self._numbers.get((issuer, header))
        return None if number is None else self.numbered(number)

    def learn(self, origin: Origin, header: bytes) -> int:
        """Note that a token of *origin*, with this header, was verified.

        Return its number; 0 where nothing tells whether the keys will be the same.
        """
        if origin.held is None:
            return 0
        name = (origin.issuer.issuer, header)
        number = self._numbers.get(name)
        # Another one may have been made meanwhile, of the same keys.
        if number is not None and self._has_keys_of(origin, number):
            return number
        with self._lock:
            self._forget(self._numbers.get(name), name)
            if len(self._numbers) >= MOST:
                oldest = next(iter(self._numbers))
                self._forget(self._numbers[oldest], oldest)
            self._last += 1
            self._numbers[name], self._origins[self._last] = self._last, origin
            self.headers[header] = origin.header
            return self._last

    def _has_keys_of(self, origin: Origin, number: int) -> bool:
        standing = self._origins.get(number)
        return standing is not None and standing.held is origin.held

    def _forget(self, number: int | None, name: tuple[str, bytes]) -> None:
        if number is not None:
            del self._numbers[name], self._origins[number]
            self.headers.pop(name[1], None)
