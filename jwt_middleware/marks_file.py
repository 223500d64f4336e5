"""The file of a `SQLiteStore`: its form, its connections, and what goes in and out."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from .fork import rest_during_fork
from .grace import NO_READINGS, Readings
from .replica import Replica

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS marks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL UNIQUE,
        at REAL NOT NULL,
        until REAL NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS ends ON marks (until)",
    "CREATE TABLE IF NOT EXISTS readings (began REAL, lowest REAL, lowest_before REAL)",
    "PRAGMA application_id = 0x6A776D77",
)
APPLICATION_ID = 0x6A776D77
"""``jwmw``: tells the file from another program's."""
STANDING = "SELECT at, until FROM marks WHERE key = ? AND until > ?"
INSERT = "INSERT OR REPLACE INTO marks (key, at, until) VALUES (?, ?, ?)"
SWEEP = """DELETE FROM marks
WHERE seq IN (SELECT seq FROM marks WHERE until <= ? LIMIT ?)"""
READINGS = "SELECT began, lowest, lowest_before FROM readings"
NOTE = "INSERT INTO readings VALUES (?, ?, ?)"
NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'marks'"
NEWER = "SELECT seq, key, at, until FROM marks WHERE seq > ? ORDER BY seq"
POLL_S = 0.03
WAIT_S = 1.0
"""The longest wait for other writers of this process, and then for those of others."""
MAKE_S = 10.0
ASK_MS = 5
SWEPT_AT_ONCE = 1000

T = TypeVar("T")


class MarksFile:
    """The file, read by the thread of a `Replica` and written by whoever marks.

    SQLite's connections do not survive a fork, and neither do the locks that they
    hold: so they are closed before one, and opened anew where they are needed.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._path = path.absolute()
        self._clock = clock
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
            for seat in (self._reader, self._writer):  # a sick file is not written to
                with seat.lock:
                    seat.leave()

    def add(
        self, key: bytes, at: float, until: float, now: float
    ) -> tuple[float, float] | None:
        """Mark *key* if it is not; else return the date and end that stand."""
        with self.writing() as db:
            _sweep(db, now, self._clock())
            stood = _standing(db, key, now)
            if stood is None and until > now:
                _insert(db, key, at, until)
        return stood

    def put(self, key: bytes, at: float, until: float, now: float) -> None:
        """Mark *key*; of a mark that stands, the later date and end remain."""
        with self.writing() as db:
            _sweep(db, now, self._clock())
            standing_at, standing_until = _standing(db, key, now) or (at, until)
            # Also one that has ended by our clock, which may be wrong.
            _insert(db, key, max(at, standing_at), max(until, standing_until))

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
        _patiently(WAIT_S, lambda: self.db.execute("BEGIN IMMEDIATE"))
        yield self.db
        self.db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _make(path: Path) -> None:
    """Make the file, or ensure that it is a store's.  Raise sqlite3.Error.

    All workers of an application may do so at once, and SQLite does not wait for a
    lock in every case.
    """

    def make() -> None:
        with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as db:
            _prepare(db)

    _patiently(MAKE_S, make)


def _patiently(seconds: float, do: Callable[[], T]) -> T:
    """Try for some seconds what SQLite may be too busy for.

    Often: SQLite itself waits longer from one try to the next, so that a process that
    writes without a pause would keep all others out.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > until:
                raise
        time.sleep(ASK_MS / 1000)


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise sqlite3.DatabaseError("it is another program's")
    for statement in SCHEMA:
        db.execute(statement)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")


def _sweep(db: sqlite3.Connection, wall: float, monotonic: float) -> None:
    """Drop some of the marks that ended long ago, by what all workers have seen.

    The readings of the clocks are kept in the file: a worker that lives for a few
    minutes only would never know enough by itself.
    """
    found = db.execute(READINGS).fetchone()
    readings = Readings(*found) if found else NO_READINGS
    noted = readings.noted(wall, monotonic)
    if noted is not readings:
        db.execute("DELETE FROM readings")
        db.execute(NOTE, noted)
    db.execute(SWEEP, (noted.dropped_until, SWEPT_AT_ONCE))


def _standing(
    db: sqlite3.Connection, key: bytes, now: float
) -> tuple[float, float] | None:
    found: tuple[float, float] | None = db.execute(STANDING, (key, now)).fetchone()
    return found


def _insert(db: sqlite3.Connection, key: bytes, at: float, until: float) -> None:
    """In the place of what stands, and as the newest, so that it is read anew."""
    db.execute(INSERT, (key, at, until))
