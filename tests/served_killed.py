"""A worker that takes one refresh token for new tokens, and may be killed meanwhile.

    python -m tests.served_killed sqlite|redis WHERE before|after|never REUSE_LEEWAY

The refresh token stands in the first line that it is sent.  Its answer would be the
new refresh token.  It is killed, as by the kernel, before or after the store has
marked the use.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

from jwt_middleware import Key, TokenIssuer
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

from .conftest import clock

Shared = SQLiteStore | RedisStore
URL = "https://app.example"


def open_store(kind: str, where: str, now: Callable[[], float]) -> Shared:
    """One of several store objects, of several workers, on the same marks."""
    return (SQLiteStore if kind == "sqlite" else RedisStore)(where, now=now)


class Deadly:
    """A store whose `add` does not return: its process ends there and then."""

    def __init__(self, store: Shared, moment: str) -> None:
        self._store = store
        self._moment = moment

    def add(self, name: str, at: float, until: float) -> bool:
        self._die("before")
        is_first = self._store.add(name, at, until)
        if is_first:
            self._die("after")
        return is_first

    def put(self, name: str, at: float, until: float) -> None:
        self._store.put(name, at, until)

    def look(
        self, names: Sequence[str]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        return self._store.look(names)

    def _die(self, moment: str) -> None:
        if self._moment == moment:
            os.kill(os.getpid(), signal.SIGKILL)


def main(kind: str, where: str, moment: str, reuse_leeway: str) -> None:
    issuer = TokenIssuer(
        URL,
        audience="app",
        key=Key.from_jwk(json.loads(os.environ["SERVED_KEY"])),
        store=Deadly(open_store(kind, where, clock), moment),
        reuse_leeway=float(reuse_leeway),
        now=clock,
    )
    print(issuer.refresh(sys.stdin.readline().strip()).refresh_token)


if __name__ == "__main__":
    main(*sys.argv[1:])
