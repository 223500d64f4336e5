"""The file of a `SQLiteStore`: who reads and writes it, and what a new one is given."""

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
from .marks_seat import Connection, Seat
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
"""The longest wait, in seconds, for the thread that is reading the file just now."""
NEW_S = 2.0
"""The longest wait, in seconds, until a file that was just made is believed."""
LEAVE_S = 2.0
"""The longest time, in seconds, for which a store that ends gives entries back, and
then waits for those who are writing: a locked file must not keep a server running."""
GIVEN_AT_ONCE = 2000


class MarksFile:
    """The file, read by the thread of a `Replica` and written by whoever marks.

    SQLite's connections do not survive a fork, and neither do the locks that they
    hold: so they are closed before one, and opened anew where they are needed.

    A file that is deleted and made again lacks what was revoked before.  So a process
    that finds another file than the one that it knows gives back what it holds; and
    no process believes a file that was just made, or that is being given something
    back (`is_settled`).
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
        """Tells the processes apart that give entries back."""
        self._debts = _Debts((), 0.0)
        self._reader = Seat(self._path, fingerprint)
        self._writer = Seat(self._path, fingerprint)
        rest_during_fork(self)
        start_anew_after_fork(self)

    def run(self, replica: Replica, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.poll(replica)
                if not self._give_back():
                    stop.wait(POLL_S)
            # Give the rest back: new workers wait for a process that has not done so.
            end = time.monotonic() + LEAVE_S
            while self._give_back() and time.monotonic() < end:
                pass
        finally:
            for seat in (self._reader, self._writer):  # a sick file is not written to
                _leave(seat)

    def poll(self, replica: Replica) -> None:
        """Read what is new."""
        with self._reader.taken(TURN_S):
            as_of = replica.clock()
            connection = self._reader.connection()
            connection.read(replica)
            settled = self._is_settled(connection)
            # An older copy of the file has its name, and fewer entries.
            if connection.file != self._known or connection.newest < self._newest:
                self._known = connection.file
                # All, those that have ended too: the clock may be wrong.
                marks = replica.marks.lacking_in(Marks(), -math.inf)
                self._debts = _Debts(marks, self._clock())
            self._newest = connection.newest
        if settled:
            replica.confirm(as_of)

    def add(
        self, key: bytes, at: float, until: float, now: float
    ) -> tuple[float, float] | None:
        """Mark *key* if it is not; else return the date and end that stand."""
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
                raise sqlite3.OperationalError("the file lacks what others give back")
            time.sleep(POLL_S)

    def put(self, key: bytes, at: float, until: float, now: float) -> None:
        """Mark *key*; of a mark that stands, the later date and end remain."""
        with self.writing() as connection:
            db = connection.db
            sweep(db, now, self._clock())
            standing_at, standing_until = standing(db, key, now) or (at, until)
            # Also one that has ended by our clock, which may be wrong.
            insert(db, key, max(at, standing_at), max(until, standing_until))

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, on the disk when it ends."""
        with self._writer.taken(WAIT_S):
            try:
                connection = self._writer.connection()
                with connection.transaction():
                    yield connection
                if connection.file != self._known:
                    # Whatever file is read next may not be the one just written to.
                    self._known = b""
            except BaseException:
                self._writer.leave()
                raise

    def close(self) -> None:
        """Close the connection of writers, unless one of them is still writing."""
        _leave(self._writer)

    def rest(self) -> None:
        for seat in (self._reader, self._writer):
            seat.take(math.inf)
            seat.leave()

    def go_on(self) -> None:
        for seat in (self._reader, self._writer):
            seat.lock.release()

    def start_anew(self) -> None:
        """Give entries back under a name of the child's own.

        With the name of its parent, the first of the two that is done would say that
        the other one is done as well.
        """
        if self._debts.are_owed:
            self._known = b""  # so all is owed again: the parent may end before it pays
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
        """Write some of what is owed to the file.  Return whether something was.

        If that fails, the reading goes on, and it is tried again.
        """
        debts = self._debts  # since a look may find another file, and owe it all
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


def _leave(seat: Seat) -> None:
    """Close the connection of *seat*; if it is in use for too long, leave it open."""
    with suppress(sqlite3.OperationalError), seat.taken(LEAVE_S):
        seat.leave()


class _Debts:
    """What this process holds, and what a new file may lack; given back in batches."""

    def __init__(self, marks: Iterable[Mark], began: float) -> None:
        self._left = iter(marks)
        self._began = began
        self._batch: list[Mark] = []
        self.are_owed = marks != ()
        self._has_failed = False

    def pay(self, db: sqlite3.Connection, name: bytes, monotonic: float) -> bool:
        """Write a batch, as process *name*.  Return whether it was the last one."""
        if not self._batch:  # else it could not be written, and is tried again
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
        """Log what hinders the giving back, once."""
        level = logging.DEBUG if self._has_failed else logging.WARNING
        self._has_failed = True
        logger.log(level, "entries cannot be given back to the file: %s", error)


def _fault_of(path: Path, error: sqlite3.Error) -> str:
    """Return *error*, or what keeps SQLite from opening *path*."""
    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_CANTOPEN:
        return str(error)
    if path.is_dir():
        return f"it is a folder; write a file in it, such as {str(path / 'marks.db')!r}"
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}; make it first"
    return f"{error}; let this user write into the folder {str(path.parent)!r}"
