"""Read and write the file of a `SQLiteStore`, and write entries back to a new file."""

from __future__ import annotations

import logging
import math
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from .fork import rest_during_fork, start_anew_after_fork
from .marks import Mark, Marks
from .marks_connection import Connection, LockedConnection
from .marks_table import (
    WAIT_S,
    end_giving,
    give,
    insert,
    is_settled,
    make,
    standing,
    sweep,
)
from .replica import Replica

logger = logging.getLogger("jwt_middleware")

POLL_S = 0.03
TURN_S = 5.0
"""The longest wait, in seconds, for another thread that is reading the file."""
NEW_S = 2.0
"""The longest wait, in seconds, until a file that was just made is trusted."""
LEAVE_S = 2.0
"""The longest time, in seconds, for which a store that is closed writes entries back,
and then waits for its writers: a locked file must not keep a server from stopping."""
GIVEN_AT_ONCE = 2000


class MarksFile:
    """The file, which the thread of a `Replica` reads, and which any thread may write.

    Neither SQLite's connections nor the locks that they hold survive a fork.  So they
    are closed before a fork, and opened again when they are needed.

    A file that is deleted and made again lacks earlier revocations.  So a process that
    finds another file than before writes back the entries that it holds.  No process
    trusts a file that was just made, or that entries are being written back to
    (`is_settled`).
    """

    def __init__(
        self, path: Path, fingerprint: bytes, clock: Callable[[], float]
    ) -> None:
        self._path = path.absolute()
        self._clock = clock
        try:
            self._known = make(self._path, fingerprint, clock())
        except sqlite3.Error as error:
            why = _fault_of(self._path, error)
            raise ValueError(f"{str(path)!r} cannot be a store: {why}") from error
        self._newest = 0
        """The last entry of that file that was read."""
        self._settled: bytes | None = None
        self._name = secrets.token_bytes(8)
        """Identifies this process among those that write entries back."""
        self._debts = _Debts((), 0.0)
        self._reader = LockedConnection(self._path, fingerprint)
        self._writer = LockedConnection(self._path, fingerprint)
        rest_during_fork(self)
        start_anew_after_fork(self)

    def run(self, replica: Replica, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.poll(replica)
                if not self._give_back():
                    stop.wait(POLL_S)
            # Write the rest back: new workers wait for a process that has not done so.
            end = time.monotonic() + LEAVE_S
            while self._give_back() and time.monotonic() < end:
                pass
        finally:
            for locked in (self._reader, self._writer):  # the file may be damaged
                _close(locked)

    def poll(self, replica: Replica) -> None:
        """Read what is new."""
        with self._reader.held(TURN_S):
            as_of = replica.clock()
            connection = self._reader.connection()
            connection.read(replica)
            settled = self._is_settled(connection)
            # An older copy of the file has the same identifier, and fewer entries.
            if connection.file != self._known or connection.newest < self._newest:
                self._known = connection.file
                # All entries, also those that have ended: the clock may be wrong.
                marks = replica.marks.lacking_in(Marks(), -math.inf)
                self._debts = _Debts(marks, self._clock())
            self._newest = connection.newest
        if settled:
            replica.confirm(as_of)

    def add(
        self, key: bytes, at: float, until: float, now: float
    ) -> tuple[float, float] | None:
        """Mark *key* unless it is marked; else return the date and end of its mark."""
        end = time.monotonic() + NEW_S
        while True:
            with self.writing() as connection:
                if self._is_settled(connection):
                    sweep(connection.db, now, self._clock())
                    stood = standing(connection.db, key, now)
                    if stood is None and until > now:
                        insert(connection.db, key, at, until)
                    return stood
            if time.monotonic() > end:
                raise sqlite3.OperationalError(
                    "the file is new, or other workers are writing entries back to it"
                )
            time.sleep(POLL_S)

    def put(self, key: bytes, at: float, until: float, now: float) -> None:
        """Mark *key*.  If it is marked already, keep the later date and end."""
        with self.writing() as connection:
            db = connection.db
            sweep(db, now, self._clock())
            standing_at, standing_until = standing(db, key, now) or (at, until)
            # Also a mark that has ended by our clock, which may be wrong.
            insert(db, key, max(at, standing_at), max(until, standing_until))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin a transaction.  It is on the disk when the context ends."""
        with self._writer.held(WAIT_S):
            try:
                connection = self._writer.connection()
                with connection.transaction():
                    yield connection
                if connection.file != self._known:
                    # Whatever file is read next may not be the one just written to.
                    self._known = b""
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close the connection of writers, unless a thread is still writing."""
        _close(self._writer)

    def rest(self) -> None:
        for locked in (self._reader, self._writer):
            locked.acquire(math.inf)
            locked.close()

    def go_on(self) -> None:
        for locked in (self._reader, self._writer):
            locked.lock.release()

    def start_anew(self) -> None:
        """Write entries back under a name of the child's own.

        If both had the same name, the first to finish would note that the other has
        finished as well.
        """
        if self._debts.are_owed:
            self._known = b""  # all is owed again: the parent may end before it writes
        self._name, self._debts = secrets.token_bytes(8), _Debts((), 0.0)

    def __repr__(self) -> str:
        return repr(str(self._path))

    def _is_settled(self, connection: Connection) -> bool:
        if connection.file != self._settled:
            if not is_settled(connection.db, self._name, self._clock()):
                return False
            self._settled = connection.file
        return True

    def _give_back(self) -> bool:
        """Write some of the owed entries to the file.  Return whether any was owed.

        If that fails, return False; reading goes on, and a later call tries again.
        """
        debts = self._debts  # `poll` may replace it, if it finds another file
        if not debts.are_owed:
            return False
        try:
            with self.writing() as connection:
                is_done = debts.pay(connection.db, self._name, self._clock())
        except sqlite3.Error as error:
            debts.failed(error)
            return False
        debts.written(is_done)
        return True


def _close(locked: LockedConnection) -> None:
    """Close a connection; if it is in use for too long, leave it open."""
    with suppress(sqlite3.OperationalError), locked.held(LEAVE_S):
        locked.close()


class _Debts:
    """Entries that this process holds and a new file may lack; written in batches."""

    def __init__(self, marks: Iterable[Mark], began: float) -> None:
        self._left = iter(marks)
        self._began = began
        self._batch: list[Mark] = []
        self.are_owed = marks != ()
        self._has_failed = False

    def pay(self, db: sqlite3.Connection, name: bytes, monotonic: float) -> bool:
        """Write a batch, as process *name*.  Return whether it was the last one."""
        if not self._batch:  # else the last batch could not be written
            self._batch = list(islice(self._left, GIVEN_AT_ONCE))
        if self._batch:
            give(db, self._batch, name, self._began, monotonic)
            return False
        end_giving(db, name)
        return True

    def written(self, is_done: bool) -> None:
        """Note that the batch is on the disk."""
        self._batch, self.are_owed = [], not is_done

    def failed(self, error: Exception) -> None:
        """Log once, as a warning, why entries cannot be written back."""
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        logger.log(level, "entries cannot be written back to the file: %s", error)


def _fault_of(path: Path, error: sqlite3.Error) -> str:
    """Return *error*, or what keeps SQLite from opening *path*."""
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_CANTOPEN:
        return str(error)
    if path.is_dir():
        return f"it is a folder; write a file in it, such as {str(path / 'marks.db')!r}"
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}; make it first"
    return f"{error}; let this user write into the folder {str(path.parent)!r}"
