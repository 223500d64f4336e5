"""A file that is deleted and made again, its secret, and who may read it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import marks_file, marks_table
from jwt_middleware.bridge import ask, run
from jwt_middleware.marks import key_of
from jwt_middleware.marks_table import SETTLE_S
from jwt_middleware.replica import Stale
from jwt_middleware.sqlite import SQLiteStore

from .children import in_child
from .servers import TIMEOUT_S

FAR = time.time() + 10_000
SECRET = b"0123456789abcdef" * 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Any]:
    stores: list[SQLiteStore] = []

    def open_one(**options: Any) -> SQLiteStore:
        stores.append(SQLiteStore(path, **options))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def look(store: SQLiteStore, *names: str) -> Sequence[float | None]:
    answer: Sequence[float | None] = run(ask(store.look, names))
    return answer


def delete(path: Path) -> None:
    for file in path.parent.glob("marks.db*"):
        file.unlink()


def test_a_new_worker_on_a_new_file_knows_what_the_old_one_had_revoked(
    opened: Any, path: Path
) -> None:
    """As after a cleaner of temporary files, or a deploy."""
    old = opened()
    old.put("revoked", 1.0, FAR)
    old.add("used", 2.0, FAR)
    for number in range(3 * marks_file.GIVEN_AT_ONCE // 2):
        old._replica.merge(b"%012d" % number, 1.0, FAR)
    assert look(old, "revoked", "used") == [1.0, 2.0]
    delete(path)
    new = opened()
    assert look(new, "revoked", "used") == [1.0, 2.0]
    assert new.add("used", 3.0, FAR) is False
    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute("SELECT count(*) FROM marks").fetchone()
    assert count == 2 + 3 * marks_file.GIVEN_AT_ONCE // 2


def test_a_used_token_is_not_used_again_in_a_new_file(opened: Any, path: Path) -> None:
    """`add` asks the file, which is not believed before the others have given."""
    old = opened()
    old.add("used", 2.0, FAR)
    look(old)
    delete(path)
    assert opened().add("used", 3.0, FAR) is False


@pytest.mark.parametrize("staleness", [0.3, 2.0])
def test_a_first_start_waits_for_about_a_second(opened: Any, staleness: float) -> None:
    """And answers, also if a copy may be less old than that."""
    begun = time.monotonic()
    assert look(opened(max_staleness=staleness), "a") == [None]
    assert SETTLE_S / 2 < time.monotonic() - begun < SETTLE_S + 2


def test_a_file_that_is_being_given_to_is_not_believed(
    opened: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that lives; one that died in the midst is not waited for."""
    monkeypatch.setattr(marks_table, "SETTLE_S", 0.0)
    monkeypatch.setattr(marks_file, "NEW_S", 0.05)
    store, now = opened(max_staleness=0.2), time.monotonic()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO givers VALUES (x'01', ?, ?)", (now, now))
    with pytest.raises(Stale):
        look(store, "a")
    with pytest.raises(sqlite3.OperationalError, match="writing entries back"):
        store.add("a", 1.0, FAR)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE givers SET seen = seen - 100")
    assert store.add("a", 1.0, FAR) is True


def test_what_cannot_be_given_back_is_tried_again(
    opened: Any, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is read meanwhile, and that is told once."""
    old = opened()
    old.put("revoked", 1.0, FAR)
    look(old)
    delete(path)
    new = opened()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        end = time.monotonic() + TIMEOUT_S
        while "cannot be written back" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(1.2)
        other.execute("ROLLBACK")
    while look(new, "revoked") == [None]:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert caplog.text.count("cannot be written back") == 1


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def held(path: Path) -> set[str]:
    """Which of the names "0", "1", ... are in the file."""
    with closing(sqlite3.connect(path)) as db:
        keys = {key for (key,) in db.execute("SELECT key FROM marks")}
    return {f"{number}" for number in range(10) if key_of(f"{number}") in keys}


def givers(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute("SELECT count(*) FROM givers").fetchone()
    return int(count)


def eventually(holds: Callable[[], object]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_table, "SETTLE_S", 0.0)


@pytest.mark.usefixtures("_no_wait")
def test_a_file_that_is_replaced_twice_has_everything_in_the_end(
    opened: Any, path: Path
) -> None:
    """Also by the first one, and also what was written to the second one only."""
    store, first = opened(), path.with_name("first.db")
    store.put("1", 1.0, FAR)
    look(store)
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(first)) as copy:
        db.backup(copy)
    for number in (2, 3):
        delete(path)
        SQLiteStore(path).close()
        store.put(f"{number}", 1.0, FAR)
        eventually(lambda: "1" in held(path))
    delete(path)
    first.rename(path)
    eventually(lambda: held(path) == {"1", "2", "3"})


@pytest.mark.usefixtures("_no_wait")
def test_what_is_written_to_a_file_that_goes_at_once_is_given_to_the_next(
    opened: Any, path: Path
) -> None:
    """The thread that reads has not seen it: it was no file that it knows of."""
    store = opened()
    look(store)
    with store._file._reader.held(TIMEOUT_S):
        kept = path.with_name("kept")
        path.rename(kept)
        SQLiteStore(path).close()
        store.put("1", 1.0, FAR)
        delete(path)
        kept.rename(path)
    eventually(lambda: held(path) == {"1"})


@pytest.mark.usefixtures("_no_wait")
def test_an_older_copy_of_the_file_is_given_what_it_lacks(
    opened: Any, path: Path
) -> None:
    """It has the name of the file, so only its entries tell that it is older."""
    store, backup = opened(), path.with_name("backup")
    store.put("1", 1.0, FAR)
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(backup)) as copy:
        db.backup(copy)
    store.put("2", 1.0, FAR)
    look(store)
    delete(path)
    backup.rename(path)
    eventually(lambda: held(path) == {"1", "2"})


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("is_locked", [True, False])
def test_the_end_of_a_store_is_not_held_up_by_what_it_owes(
    opened: Any, path: Path, monkeypatch: pytest.MonkeyPatch, is_locked: bool
) -> None:
    """A server ends though the file is locked, or though there is much to write."""
    monkeypatch.setattr(marks_file, "LEAVE_S", 0.2)
    monkeypatch.setattr(marks_file, "GIVEN_AT_ONCE", 1)
    store = opened()
    look(store)
    for number in range(100_000):
        store._replica.merge(b"%012d" % number, 1.0, FAR)
    delete(path)
    SQLiteStore(path).close()
    eventually(lambda: store._file._debts.are_owed)
    with locked(path) if is_locked else nullcontext():
        began = time.monotonic()
        store.close()
        assert time.monotonic() - began < 4.0
    assert store._file._debts.are_owed


def test_the_end_of_a_store_waits_for_a_writer_and_not_for_ever(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_file, "LEAVE_S", 0.2)
    store = opened()
    store.put("1", 1.0, FAR)
    with store._file.writing() as connection:
        began = time.monotonic()
        store.close()
        assert 0.1 < time.monotonic() - began < 2.0
        assert connection.db.execute("SELECT count(*) FROM marks").fetchone() == (1,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("_no_wait")
def test_a_child_that_has_given_all_back_does_not_say_so_of_its_parent(
    opened: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a new worker would believe the file while the parent is still at it."""
    monkeypatch.setattr(marks_file, "GIVEN_AT_ONCE", 1)
    store = opened()
    for number in range(10):
        store.put(f"{number}", 1.0, FAR)
    look(store)
    with store._file._writer.held(TIMEOUT_S):
        delete(path)
        SQLiteStore(path).close()
        eventually(lambda: store._file._debts.are_owed)
    monkeypatch.setattr(store._file, "_give_back", lambda: False)
    eventually(lambda: givers(path) == 1)

    def give_all() -> set[str]:
        monkeypatch.undo()
        look(store)
        eventually(lambda: not store._file._debts.are_owed)
        return held(path)

    assert in_child(give_all) == set(map(str, range(10)))
    assert givers(path) == 1, "the parent has not said that it is done"


@pytest.mark.usefixtures("_no_wait")
def test_a_child_owes_what_its_parent_owes(opened: Any, path: Path) -> None:
    """Under a name of its own; the parent may end before it has given all back."""
    store = opened()
    look(store)
    file = store._file
    name, known = file._name, file._known
    file.start_anew()
    assert file._name != name
    assert file._known == known
    file._debts = marks_file._Debts(iter(()), 0.0)
    file.start_anew()
    assert not file._debts.are_owed
    eventually(lambda: file._known == known)


def test_what_could_not_be_written_is_written_the_next_time(
    opened: Any, path: Path
) -> None:
    opened()
    debts = marks_file._Debts(iter([(b"a", 1.0, FAR)]), 0.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for end in ("ROLLBACK", "COMMIT"):
            db.execute("BEGIN")
            assert not debts.pay(db, b"me", 0.0)
            db.execute(end)
        debts.written(is_done=False)
        assert debts.pay(db, b"me", 0.0)
        assert db.execute("SELECT key FROM marks").fetchall() == [(b"a",)]


def test_a_look_reads_the_file_if_its_thread_has_no_turn(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_table, "SETTLE_S", 0.0)
    store, other = opened(max_staleness=0.2), opened()
    look(store)
    store._replica._stop.set()  # as if the thread never ran again
    store._replica._thread.join(TIMEOUT_S)
    other.put("revoked", 1.0, FAR)
    time.sleep(0.3)
    assert look(store, "revoked") == [1.0]


def test_a_lock_of_the_file_is_waited_for_and_not_for_ever(opened: Any) -> None:
    """By asking again: under gevent a plain wait would stop its holder as well."""
    store, released = opened(), threading.Event()
    locked = store._file._writer
    locked.acquire(0)

    def release() -> None:
        released.set()
        locked.lock.release()

    threading.Timer(0.1, release).start()
    store.put("a", 1.0, FAR)
    assert released.is_set()
    locked.acquire(1)
    with pytest.raises(sqlite3.OperationalError, match="another thread has used"):
        locked.acquire(0)
    locked.lock.release()


# Secrets and modes


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_the_file_is_for_its_owner_alone(opened: Any, path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        opened().put("a", 1.0, FAR)
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "marks.db-wal" in modes


def test_a_file_that_others_could_read_is_hidden_from_them(
    opened: Any, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One of an earlier version or of an operator, with what lies beside it."""
    opened().put("a", 1.0, FAR)
    for file in path.parent.iterdir():
        file.chmod(0o644)
    assert look(opened(), "a") == [1.0]
    modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == {0o600}
    assert "marks.db had the mode 644, and has 600 now" in caplog.text


def test_a_file_of_another_program_is_left_as_it_is(path: Path) -> None:
    path.write_text("another program's" * 100)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="not a database"):
        SQLiteStore(path)
    assert path.stat().st_mode & 0o777 == 0o644


def test_with_a_secret_no_name_can_be_guessed(opened: Any, path: Path) -> None:
    store = opened(secret=SECRET)
    store.put("alice", 1.0, FAR)
    assert look(store, "alice") == [1.0]
    with closing(sqlite3.connect(path)) as db:
        ((key,),) = db.execute("SELECT key FROM marks").fetchall()
    assert key != key_of("alice")
    assert look(opened(secret=SECRET.decode()), "alice") == [1.0]


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (None, SECRET, "without a secret"),
        (SECRET, None, "with another secret"),
        (SECRET, SECRET[::-1], "with another secret"),
    ],
)
def test_another_secret_is_refused_since_it_would_find_nothing(
    opened: Any, first: Any, then: Any, says: str
) -> None:
    opened(secret=first)
    with pytest.raises(ValueError, match=says):
        opened(secret=then)


def test_a_file_with_another_secret_that_takes_the_place_is_not_read(
    opened: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_table, "SETTLE_S", 0.0)
    store = opened(secret=SECRET, max_staleness=0.5)
    look(store)
    delete(path)
    opened()
    time.sleep(0.7)
    with pytest.raises(Stale):
        look(store, "a")


@pytest.mark.parametrize("wrong", ["", "short", b"x" * 31, 7, True])
def test_a_secret_that_is_none_is_refused(path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        SQLiteStore(path, secret=wrong)
    assert not path.exists()


def test_a_file_of_an_earlier_version_is_taken_over(opened: Any, path: Path) -> None:
    opened().put("a", 1.0, FAR)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE file")
    begun = time.monotonic()
    assert look(opened(), "a") == [1.0]
    assert time.monotonic() - begun < SETTLE_S
