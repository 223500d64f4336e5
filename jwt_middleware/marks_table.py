"""Create, change and sweep the tables in the file of a `SQLiteStore`."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from .grace import NO_READINGS, Readings
from .marks import Mark

logger = logging.getLogger("jwt_middleware")

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS marks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL UNIQUE,
        at REAL NOT NULL,
        until REAL NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS ends ON marks (until)",
    "CREATE TABLE IF NOT EXISTS readings (began REAL, lowest REAL, lowest_before REAL)",
    "CREATE TABLE IF NOT EXISTS file (id BLOB, made REAL, fingerprint BLOB)",
    "CREATE TABLE IF NOT EXISTS givers (name BLOB PRIMARY KEY, began REAL, seen REAL)",
    "PRAGMA application_id = 0x6A776D77",
)
"""``file`` has one row: a random identifier of the file, when it was made by the
monotonic clock (0 if that is not known), and the fingerprint of the secret.  ``givers``
are the processes that write back the entries of an earlier file at this path."""
APPLICATION_ID = 0x6A776D77
"""``jwmw``: distinguishes the file from a file of another program."""
FILE = "SELECT id, made, fingerprint FROM file"
STANDING = "SELECT at, until FROM marks WHERE key = ? AND until > ?"
INSERT = "INSERT OR REPLACE INTO marks (key, at, until) VALUES (?, ?, ?)"
GIVE = """INSERT OR REPLACE INTO marks (key, at, until)
SELECT ?1, max(?2, ifnull(at, ?2)), max(?3, ifnull(until, ?3))
FROM (SELECT 1) LEFT JOIN marks ON key = ?1
WHERE key IS NULL OR at < ?2 OR until < ?3"""
GIVER = "INSERT OR REPLACE INTO givers VALUES (?, ?, ?)"
GIVERS = """SELECT count(*) FROM givers
WHERE name != ? AND began BETWEEN ? AND ? AND seen > ?"""
SWEEP = """DELETE FROM marks
WHERE seq IN (SELECT seq FROM marks WHERE until <= ? LIMIT ?)"""
READINGS = "SELECT began, lowest, lowest_before FROM readings"
NOTE = "INSERT INTO readings VALUES (?, ?, ?)"
WAIT_S = 1.0
"""The longest wait, in seconds, for other writers of this process, and then for those
of other processes."""
MAKE_S = 10.0
ASK_MS = 5
SWEPT_AT_ONCE = 1000
SETTLE_S = 1.0
"""The age in seconds from which a file is trusted.  Until then, a process that used an
earlier file at this path may not have noticed that it must write entries back."""
GIVING_S = 30.0
"""The longest wait, in seconds, for a process that writes entries back."""
SILENT_S = 5.0
"""Seconds without a write after which a process that writes entries back counts as
dead."""

T = TypeVar("T")


def make(path: Path, fingerprint: bytes, monotonic: float) -> bytes:
    """Create the file unless it exists.  Return its identifier.

    Raise sqlite3.Error if the file belongs to another program, or was written with
    another secret.  All workers of an application may do this at once, and SQLite does
    not wait for a lock in every case.
    """

    def make_it() -> bytes:
        with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as db:
            _prepare(db, fingerprint, monotonic)
            return identify(db, fingerprint)

    _create(path)
    identifier = patiently(MAKE_S, make_it)
    _hide(path)
    return identifier


def patiently(seconds: float, do: Callable[[], T]) -> T:
    """Call *do* until SQLite is not busy, for *seconds* at most.  Return its result.

    The tries are frequent: SQLite itself waits longer and longer between two tries, so
    that a process that writes without a pause would keep all others from writing.
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


def identify(db: sqlite3.Connection, fingerprint: bytes) -> bytes:
    """Return the identifier of the file.

    Raise sqlite3.DatabaseError if its names are hashed with another secret.
    """
    identifier, _, written = db.execute(FILE).fetchone()
    if written != fingerprint:
        found = "with another secret" if written else "without a secret"
        raise sqlite3.DatabaseError(
            f"its names are hashed {found}; give the store the secret that the file "
            "was made with, or write another path once all present tokens have expired"
        )
    return bytes(identifier)


def is_settled(db: sqlite3.Connection, name: bytes, monotonic: float) -> bool:
    """Return whether the file has all entries of an earlier file at its path.

    It has them if it is not new, and if no process but *name* is writing entries back.
    A file that was made in the future is from an earlier boot, whose processes ended.
    """
    _, made, _ = db.execute(FILE).fetchone()
    if monotonic - SETTLE_S < made <= monotonic:
        return False
    bounds = monotonic - GIVING_S, monotonic, monotonic - SILENT_S
    (givers,) = db.execute(GIVERS, (name, *bounds)).fetchone()
    return not givers


def give(
    db: sqlite3.Connection,
    marks: Iterable[Mark],
    name: bytes,
    began: float,
    monotonic: float,
) -> None:
    """Add the *marks* that are missing, and note that process *name* will add more."""
    db.executemany(GIVE, marks)
    db.execute(GIVER, (name, began, monotonic))


def end_giving(db: sqlite3.Connection, name: bytes) -> None:
    """Note that process *name* has written everything back."""
    db.execute("DELETE FROM givers WHERE name = ?", (name,))


def sweep(db: sqlite3.Connection, wall: float, monotonic: float) -> None:
    """Drop some of the marks that ended long ago by the clocks of all workers.

    The readings of the clocks are kept in the file: a worker that runs for only a few
    minutes would never have enough readings of its own.
    """
    found = db.execute(READINGS).fetchone()
    readings = Readings(*found) if found else NO_READINGS
    noted = readings.noted(wall, monotonic)
    if noted is not readings:
        db.execute("DELETE FROM readings")
        db.execute(NOTE, noted)
    db.execute(SWEEP, (noted.dropped_until, SWEPT_AT_ONCE))


def standing(
    db: sqlite3.Connection, key: bytes, now: float
) -> tuple[float, float] | None:
    """Return date and end of the mark of *key*, or None if there is none at *now*."""
    found: tuple[float, float] | None = db.execute(STANDING, (key, now)).fetchone()
    return found


def insert(db: sqlite3.Connection, key: bytes, at: float, until: float) -> None:
    """Replace the mark of *key*, as the newest of the file: every reader reads it."""
    db.execute(INSERT, (key, at, until))


def _create(path: Path) -> None:
    """Create an empty file that only its owner may read, whatever the umask is.

    SQLite gives the ``-wal`` and ``-shm`` files the same mode.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError:  # the file exists, or SQLite will say what is wrong
        pass


def _hide(path: Path) -> None:
    """Set the mode of a file of an earlier version, or made by hand, to 0600.

    The ``-wal`` and ``-shm`` files hold entries too, and have the same mode.
    """
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(OSError):  # the file does not exist, or has another owner
            mode = file.stat().st_mode & 0o777
            if mode & 0o077:
                file.chmod(0o600)
                logger.warning("%s had the mode %03o, and has 600 now", file, mode)


def _prepare(db: sqlite3.Connection, fingerprint: bytes, monotonic: float) -> None:
    db.execute("BEGIN IMMEDIATE")
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise sqlite3.DatabaseError(
            "it is a database of another program; write another path"
        )
    for statement in SCHEMA:
        db.execute(statement)
    if db.execute(FILE).fetchone() is None:  # new, or of a version without this table
        made, written = (0.0, b"") if tables else (monotonic, fingerprint)
        row = secrets.token_bytes(8), made, written
        db.execute("INSERT INTO file VALUES (?, ?, ?)", row)
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode=WAL")
