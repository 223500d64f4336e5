"""A file that is deleted and made again, its secret, and who may read it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import marks_file, marks_table
from jwt_middleware.bridge import ask, run
from jwt_middleware.marks_table import SETTLE_S
from jwt_middleware.replica import Stale
from jwt_middleware.sqlite import SQLiteStore

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


def test_a_first_start_waits_for_about_a_second(opened: Any) -> None:
    begun = time.monotonic()
    assert look(opened(), "a") == [None]
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
    with pytest.raises(sqlite3.OperationalError, match="give back"):
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
        while "cannot be given back" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(1.2)
        other.execute("ROLLBACK")
    while look(new, "revoked") == [None]:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert caplog.text.count("cannot be given back") == 1


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
    seat = store._file._writer
    seat.take(0)

    def release() -> None:
        released.set()
        seat.lock.release()

    threading.Timer(0.1, release).start()
    store.put("a", 1.0, FAR)
    assert released.is_set()
    seat.take(1)
    with pytest.raises(sqlite3.OperationalError, match="too long"):
        seat.take(0)
    seat.lock.release()


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


def test_with_a_secret_no_name_can_be_guessed(opened: Any, path: Path) -> None:
    from jwt_middleware.marks import key_of

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
