"""Marks in a SQLite file, for all workers of one machine."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from .bridge import instant
from .fork import rest_during_fork
from .marks import key_of
from .options import read_clock, read_seconds
from .replica import Replica

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS marks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE,
    at REAL NOT NULL,
    until REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS ends ON marks (until);
PRAGMA application_id = 0x6A776D77;
COMMIT;
"""
APPLICATION_ID = 0x6A776D77
"""``jwmw``: tells the file from another program's."""
STANDING = "SELECT at, until FROM marks WHERE key = ? AND until > ?"
INSERT = "INSERT OR REPLACE INTO marks (key, at, until) VALUES (?, ?, ?)"
SWEEP = """DELETE FROM marks
WHERE seq IN (SELECT seq FROM marks WHERE until <= ? LIMIT ?)"""
NEWER = "SELECT seq, key, at, until FROM marks WHERE seq > ? ORDER BY seq"
POLL_S = 0.03
WRITE_S = 2.0
"""The longest wait for another writer."""
SWEPT_AT_ONCE = 1000


class SQLiteStore:
    """The marks of all workers of one machine, in the file *path*.

    >>> store = SQLiteStore("/var/lib/app/marks.db")  # doctest: +SKIP

    It survives a restart.  Each process holds a copy in memory, so that a request
    reads no file; what one worker marks, the others see within a tenth of a second.
    Where the file cannot be read for *max_staleness* seconds, requests with a token
    are answered 503, and what is not on the disk counts as not revoked: `put` raises.
    Not for network file systems, where SQLite's locks do not hold.

    Raises ValueError where the file cannot be made, or is another program's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_staleness: float = 2.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        if os.fspath(path) == ":memory:":
            raise ValueError("a store in memory is MemoryStore()")
        self._file = _File(Path(path))
        self._now = read_clock(now)
        self._replica = Replica(
            self._file,
            max_staleness=read_seconds(
                "max_staleness", max_staleness, least=0.1, most=3600
            ),
            passes_stale=False,
            now=self._now,
        )

    def add(self, name: str, at: float, until: float) -> bool:
        key, now = key_of(name), self._now()
        with self._file.writing() as db:
            _sweep(db, now)
            if _standing(db, key, now) is not None:
                return False
            if until > now:
                _insert(db, key, at, until)
        self._replica.merge(key, at, until)
        return True

    def put(self, name: str, at: float, until: float) -> None:
        key, now = key_of(name), self._now()
        with self._file.writing() as db:
            _sweep(db, now)
            standing_at, standing_until = _standing(db, key, now) or (at, until)
            at, until = max(at, standing_at), max(until, standing_until)
            if until > now:
                _insert(db, key, at, until)
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

    def close(self) -> None:
        """Stop reading; a later look begins anew."""
        self._replica.close()
        self._file.close()

    def __repr__(self) -> str:
        return f"<SQLiteStore {self._file!r}>"


class _File:
    """The file, read by the thread of a `Replica` and written by whoever marks.

    SQLite's connections do not survive a fork, and neither do the locks that they
    hold: so they are closed before one, and opened anew where they are needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        try:
            _make(self._path)
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
            with self._reader.lock:
                self._reader.leave()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when it ends."""
        with self._writer.lock:
            try:
                with self._writer.connection().transaction() as db:
                    yield db
            except BaseException:
                self._writer.leave()
                raise

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
            timeout=WRITE_S,
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
        for seq, key, at, until in self.db.execute(NEWER, (self._seq,)):
            replica.merge(key, at, until)
            self._seq = seq
        self._version = version

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("PRAGMA synchronous=FULL")  # a power cut must not un-revoke
        self.db.execute("BEGIN IMMEDIATE")
        yield self.db
        self.db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Make the file, or ensure that it is a store's.  Raise sqlite3.Error."""
    with closing(sqlite3.connect(path, timeout=WRITE_S, isolation_level=None)) as db:
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise sqlite3.DatabaseError("it is another program's")
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA)


def _sweep(db: sqlite3.Connection, now: float) -> None:
    db.execute(SWEEP, (now, SWEPT_AT_ONCE))


def _standing(
    db: sqlite3.Connection, key: bytes, now: float
) -> tuple[float, float] | None:
    found: tuple[float, float] | None = db.execute(STANDING, (key, now)).fetchone()
    return found


def _insert(db: sqlite3.Connection, key: bytes, at: float, until: float) -> None:
    """In the place of what stands, and as the newest, so that it is read anew."""
    db.execute(INSERT, (key, at, until))
