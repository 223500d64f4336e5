"""The file of a `SQLiteStore`: its form, its connections, and what goes in and out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .fork import rest_during_fork
from .marks_table import ASK_MS, WAIT_S, insert, make, patiently, standing, sweep
from .replica import Replica

NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'marks'"
NEWER = "SELECT seq, key, at, until FROM marks WHERE seq > ? ORDER BY seq"
POLL_S = 0.03


class MarksFile:
    """The file, read by the thread of a `Replica` and written by whoever marks.

    SQLite's connections do not survive a fork, and neither do the locks that they
    hold: so they are closed before one, and opened anew where they are needed.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path.absolute()
        self._clock = clock
        try:
            make(self._path)
        except sqlite3.Error as error:
            raise ValueError(f"{str(path)!r} cannot be a store: {error}") from error
        self._reader, self._writer = _Seat(self._path), _Seat(self._path)
        rest_during_fork(self)

    def run(self, replica: Replica, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                as_of = replica.clock()
                with self._reader.lock:
                    self._reader.connection().read(replica)
                replica.confirm(as_of)
                stop.wait(POLL_S)
        finally:
            for seat in (self._reader, self._writer):  # a sick file is not written to
                with seat.lock:
                    seat.leave()

    def add(
        self, key: bytes, at: float, until: float, now: float
    ) -> tuple[float, float] | None:
        """Mark *key* if it is not; else return the date and end that stand."""
        with self.writing() as db:
            sweep(db, now, self._clock())
            stood = standing(db, key, now)
            if stood is None and until > now:
                insert(db, key, at, until)
        return stood

    def put(self, key: bytes, at: float, until: float, now: float) -> None:
        """Mark *key*; of a mark that stands, the later date and end remain."""
        with self.writing() as db:
            sweep(db, now, self._clock())
            standing_at, standing_until = standing(db, key, now) or (at, until)
            # Also one that has ended by our clock, which may be wrong.
            insert(db, key, max(at, standing_at), max(until, standing_until))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when it ends."""
        if not self._writer.lock.acquire(timeout=WAIT_S):
            raise sqlite3.OperationalError("others wait to write for too long")
        try:
            with self._writer.connection().transaction() as db:
                yield db
        except BaseException:
            self._writer.leave()
            raise
        finally:
            self._writer.lock.release()

    def close(self) -> None:
        with self._writer.lock:
            self._writer.leave()

    def rest(self) -> None:
        for seat in (self._reader, self._writer):
            seat.lock.acquire()
            seat.leave()

    def go_on(self) -> None:
        for seat in (self._reader, self._writer):
            seat.lock.release()

    def __repr__(self) -> str:
        return repr(str(self._path))


class _Seat:
    """Room for one connection, for who holds the lock."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self._path = path
        self._connection: _Connection | None = None

    def connection(self) -> _Connection:
        """The one that is open, unless another file has taken the place of its own."""
        if self._connection is None or self._connection.inode != _inode(self._path):
            self.leave()
            self._connection = _Connection(self._path)
        return self._connection

    def __del__(self) -> None:
        self.leave()  # since Python 3.13 says so where a connection is left open

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.db.close()  # what was not committed is undone
            self._connection = None


class _Connection:
    """A connection, and the very file that it is to."""

    def __init__(self, path: Path) -> None:
        self.inode = _inode(path)
        # Not made anew where it has vanished: what was revoked would be forgotten.
        self.db = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=WAIT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._version: int | None = None
        self._seq = 0

    def read(self, replica: Replica) -> None:
        """Give *replica* what was marked since the last time."""
        (version,) = self.db.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        (newest,) = self.db.execute(NEWEST).fetchone()
        if newest < self._seq:  # an older file was copied into this one
            self._seq = 0
        for seq, key, at, until in self.db.execute(NEWER, (self._seq,)):
            replica.merge(key, at, until)
            self._seq = seq
        self._version = version

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("PRAGMA synchronous=FULL")  # a power cut must not un-revoke
        self.db.execute(f"PRAGMA busy_timeout={ASK_MS}")
        patiently(WAIT_S, lambda: self.db.execute("BEGIN IMMEDIATE"))
        yield self.db
        self.db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
