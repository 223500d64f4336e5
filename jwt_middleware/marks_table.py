"""What is in the file of a `SQLiteStore`, and how it is made, changed and swept."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from .grace import NO_READINGS, Readings

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
WAIT_S = 1.0
"""The longest wait for other writers of this process, and then for those of others."""
MAKE_S = 10.0
ASK_MS = 5
SWEPT_AT_ONCE = 1000

T = TypeVar("T")


def make(path: Path) -> None:
    """Make the file, or ensure that it is a store's.  Raise sqlite3.Error.

    All workers of an application may do so at once, and SQLite does not wait for a
    lock in every case.
    """

    def make_it() -> None:
        with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as db:
            _prepare(db)

    patiently(MAKE_S, make_it)


def patiently(seconds: float, do: Callable[[], T]) -> T:
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


def sweep(db: sqlite3.Connection, wall: float, monotonic: float) -> None:
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


def standing(
    db: sqlite3.Connection, key: bytes, now: float
) -> tuple[float, float] | None:
    found: tuple[float, float] | None = db.execute(STANDING, (key, now)).fetchone()
    return found


def insert(db: sqlite3.Connection, key: bytes, at: float, until: float) -> None:
    """In the place of what stands, and as the newest, so that it is read anew."""
    db.execute(INSERT, (key, at, until))
