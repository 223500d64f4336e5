"""Marks in a SQLite file, for all workers of one machine."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from pathlib import Path

from .bridge import instant
from .marks import fingerprint_of, hash_with, read_secret
from .marks_file import MarksFile
from .options import read_clock, read_seconds
from .replica import Replica

URL = re.compile(r"(?:sqlite|file|rediss?|unix)(?:\+\w+)?:", re.IGNORECASE)
"""How a URL begins, and what the command line calls a store."""


class SQLiteStore:
    """The marks of all workers of one machine, in the file *path*.

    >>> store = SQLiteStore("/var/lib/app/marks.db")  # doctest: +SKIP

    The marks survive a restart.  Each process holds a copy in memory, so that a request
    reads no file; the other workers see a mark within a tenth of a second.  If the file
    cannot be read for *max_staleness* seconds, requests with a token are answered 503.
    If a mark cannot be written to the disk, `put` raises.  Do not use a network file
    system, where SQLite's locks do not work.  *now* is the wall clock, by which marks
    end; *clock* is a monotonic clock, the same for all processes.

    Names are hashed with *secret*, of at least 32 random octets.  Without it, anyone
    who can read the file can find out which of the names that they know are in it.

    Raises ValueError where the file cannot be made, or is another program's.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_staleness: float = 2.0,
        secret: str | bytes | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _ensure_file_name(path)
        hashed_with = read_secret(secret)
        self._key_of = hash_with(hashed_with)
        self._file = MarksFile(Path(path), fingerprint_of(hashed_with), clock)
        self._place = "sqlite", Path(path).resolve()
        self._now = read_clock(now)
        self._replica = Replica(
            self._file,
            max_staleness=read_seconds(
                "max_staleness", max_staleness, least=0.1, most=3600
            ),
            passes_stale=False,
            now=self._now,
            clock=clock,
            key_of=self._key_of,
        )

    def add(self, name: str, at: float, until: float) -> bool:
        key = self._key_of(name)
        stood = self._file.add(key, at, until, self._now())
        self._replica.merge(key, *(stood or (at, until)))
        return stood is None

    def put(self, name: str, at: float, until: float) -> None:
        key = self._key_of(name)
        self._file.put(key, at, until, self._now())
        self._replica.merge(key, at, until)

    @instant
    def look(
        self, names: Sequence[str]
    ) -> Sequence[float | None] | Awaitable[Sequence[float | None]]:
        return self._replica.look(names)

    def watch(
        self, names: Sequence[str], call: Callable[[], None]
    ) -> Callable[[], None]:
        return self._replica.watch(names, call)

    @property
    def place(self) -> Hashable:
        """Equal in all stores of one file."""
        return self._place

    def close(self) -> None:
        """Stop reading; a later look begins anew."""
        self._replica.close()
        self._file.close()

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._file!r}>"


def _ensure_file_name(path: object) -> None:
    """Raise ValueError if *path* is not the path of a file."""
    if not isinstance(path, (str, Path)) or str(path) == ":memory:":
        raise ValueError("path is that of a file; in memory it is MemoryStore()")
    if scheme := URL.match(str(path)):
        raise ValueError(
            f"path begins with {scheme[0]!r}, expected the path of a file, and "
            "not a URL; write SQLiteStore('marks.db'), or RedisStore(url) for Redis"
        )
