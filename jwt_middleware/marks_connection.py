"""Connections to the file of a `SQLiteStore`, each used by one thread at a time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .marks_table import ASK_MS, WAIT_S, identify, patiently
from .replica import Replica

NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'marks'"
NEWER = "SELECT seq, key, at, until FROM marks WHERE seq > ? ORDER BY seq"
TURN_S = 0.1
"""Seconds of one try to acquire a lock."""


class LockedConnection:
    """One connection, for the thread that holds the lock."""

    def __init__(self, path: Path, fingerprint: bytes) -> None:
        self.lock = threading.Lock()
        self._path = path
        self._fingerprint = fingerprint
        self._connection: Connection | None = None

    def acquire(self, seconds: float) -> None:
        """Acquire the lock.  Raise sqlite3.OperationalError after *seconds*.

        The wait has many short tries: if the lock was made before gevent patched the
        process, waiting for it stops every greenlet, also the one that holds the lock.
        """
        end = time.monotonic() + seconds
        while not self.lock.acquire(timeout=TURN_S):
            if time.monotonic() > end:
                raise sqlite3.OperationalError(
                    f"another thread has used the file for {seconds:g} seconds"
                )
            time.sleep(ASK_MS / 5000)

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Hold the lock.  Raise like `acquire`."""
        self.acquire(seconds)
        try:
            yield
        finally:
            self.lock.release()

    def connection(self) -> Connection:
        """Return the connection; a new one if the path has another file by now."""
        if self._connection is None or self._connection.inode != _inode(self._path):
            self.close()
            self._connection = Connection(self._path, self._fingerprint)
        return self._connection

    def __del__(self) -> None:
        self.close()  # Python 3.13 and later warn of a connection that is left open

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            self._connection.db.close()  # what was not committed is undone
            self._connection = None


class Connection:
    """A connection, and the identity of its file."""

    def __init__(self, path: Path, fingerprint: bytes) -> None:
        self.inode = _inode(path)
        self._fingerprint = fingerprint
        # A file that has vanished is not created here: it would lack revocations.
        self.db = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=WAIT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._version: int | None = None
        self.newest = 0
        """The last entry that was read."""
        try:
            self.file = identify(self.db, fingerprint)
        except BaseException:
            self.db.close()
            raise

    def read(self, replica: Replica) -> None:
        """Give *replica* what was marked since the last call."""
        (version,) = self.db.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return
        self.file = identify(self.db, self._fingerprint)
        (newest,) = self.db.execute(NEWEST).fetchone()
        if newest < self.newest:  # an older file, or another one, was copied into this
            self.newest = 0
        for seq, key, at, until in self.db.execute(NEWER, (self.newest,)):
            replica.merge(key, at, until)
            self.newest = seq
        self.newest = max(newest, self.newest)
        self._version = version

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.db.execute("PRAGMA synchronous=FULL")  # a power cut must not un-revoke
        self.db.execute(f"PRAGMA busy_timeout={ASK_MS}")
        patiently(WAIT_S, lambda: self.db.execute("BEGIN IMMEDIATE"))
        # Another file may have been copied into this one since it was opened.
        self.file = identify(self.db, self._fingerprint)
        yield
        self.db.execute("COMMIT")


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
