"""The store of one machine: its file, its processes, and what happens to both."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from jwt_middleware import marks_table
from jwt_middleware.bridge import ask, run
from jwt_middleware.errors import RevocationsUnavailable
from jwt_middleware.grace import KEPT_S
from jwt_middleware.marks_file import POLL_S
from jwt_middleware.marks_table import SWEPT_AT_ONCE, WAIT_S
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.store import Store

from .children import FORK, at_once, child, children, in_child
from .conftest import NOW, authenticator, clock, mint_token
from .doors import Door
from .interpreters import printed
from .servers import ROOT, TIMEOUT_S
from .store_suite import Clock, StoreSuite

FAR = NOW + 10_000.0
SOON_S = 1.0
"""Ten times what is promised, for a busy machine."""
PROCESSES = 4
KILLS = 50
Open = Callable[..., SQLiteStore]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_wait_for_a_new_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with a new file, and most have no earlier one at its path."""
    monkeypatch.setattr(marks_table, "SETTLE_S", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "marks.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    """Open a store on the test's file, and close it after the test."""
    stores: list[SQLiteStore] = []

    def open_one(**options: Any) -> SQLiteStore:
        stores.append(SQLiteStore(path, **{"now": clock, **options}))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def look(store: Store, *names: str) -> Sequence[float | None]:
    answer: Sequence[float | None] = run(ask(store.look, names))
    return answer


def catch_up(store: SQLiteStore) -> None:
    """Wait until *store* says that it has all marks of before this call."""
    asked, end = time.monotonic(), time.monotonic() + TIMEOUT_S
    look(store)
    while store._replica.as_of <= asked:
        assert time.monotonic() < end, "the store has not caught up"
        time.sleep(0.001)


def wait_until_seen(store: SQLiteStore, name: str) -> float:
    """Seconds until *name* is seen as marked."""
    begun = time.monotonic()
    while look(store, name) == [None]:
        assert time.monotonic() < begun + TIMEOUT_S, f"{name} is not seen"
        time.sleep(0.001)
    return time.monotonic() - begun


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have somebody else write to the file, and not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def ensure_sound(path: Path) -> int:
    """How many marks are in the file, which SQLite finds no fault with."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (count,) = db.execute("SELECT count(*) FROM marks").fetchone()
        return int(count)


# What any store must do


class TestSQLiteStore(StoreSuite):
    """In one process."""

    @pytest.fixture(autouse=True)
    def _opened(self, opened: Open) -> None:
        self.opened = opened

    def open(self, now: Callable[[], float]) -> Store:
        return self.opened(now=now)


class TestTwoSQLiteStores(StoreSuite):
    """Written by one and read by another, as by two processes."""

    @pytest.fixture(autouse=True)
    def _opened(self, opened: Open) -> None:
        self.opened = opened

    def open(self, now: Callable[[], float]) -> Store:
        self.other = self.opened(now=now)
        return self.opened(now=now)

    def look(self, store: Store, *names: str) -> Sequence[float | None]:
        catch_up(self.other)
        seen = list(self.call(self.other.look, names))
        assert seen == list(self.call(store.look, names))
        return seen


class TestTwoSQLiteWriters(StoreSuite):
    """Every second call goes to the other one."""

    @pytest.fixture(autouse=True)
    def _opened(self, opened: Open) -> None:
        self.opened = opened

    def open(self, now: Callable[[], float]) -> Store:
        self.stores = [self.opened(now=now) for _ in range(2)]
        return self.stores[0]

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        self.stores.reverse()
        if method.__name__ == "look":
            catch_up(self.stores[0])
        return run(ask(getattr(self.stores[0], method.__name__), *args))


# One process


def test_a_mark_is_seen_at_once_in_the_process_that_made_it(opened: Open) -> None:
    store = opened()
    look(store)
    for number in range(20):
        store.put(f"{number}", 1.0, FAR)
        assert look(store, f"{number}") == [1.0]


def test_a_revoked_token_is_refused_by_both_doors(opened: Open, door: Door) -> None:
    """And what the first request waits for is the file, not a network."""
    lock = door.behind(authenticator(store=opened()))
    assert lock.get(bearer=mint_token()).status == 200
    lock.auth.revoke_subject("alice")
    assert lock.get(bearer=mint_token()).status == 401
    assert lock.get(bearer=mint_token(sub="bob")).status == 200


def test_the_file_is_in_wal_mode(opened: Open, path: Path) -> None:
    """Who reads does not wait for who writes."""
    opened().put("a", 1.0, FAR)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_no_name_is_in_the_file(opened: Open, path: Path) -> None:
    """A backup of it tells nobody who logged out."""
    auth = authenticator(store=opened())
    auth.revoke_subject("alice@secret.example")
    auth.revoke_session("session-of-alice")
    auth.revoke(mint_token(jti="jti-of-alice"))
    octets = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert len(octets) > 4096
    for part in (b"alice", b"secret", b"session", b"issuer.example"):
        assert part not in octets


def test_marks_that_ended_leave_the_file(opened: Open, path: Path) -> None:
    """After the grace, with each write, and with none for too long."""
    wall, monotonic = Clock(), Clock(1_000.0)  # so that the sums are exact
    store, count = opened(now=wall, clock=monotonic), 3 * SWEPT_AT_ONCE
    with closing(sqlite3.connect(path)) as db, db:
        rows = [(b"%012d" % number, 1.0, NOW + 1) for number in range(count)]
        db.executemany("INSERT INTO marks (key, at, until) VALUES (?, ?, ?)", rows)
    for number in range(5):
        store.put(f"stays {number}", 1.0, FAR)
    assert ensure_sound(path) == count + 5
    wall.now += 1
    for _ in range(2):
        store.add("only asked", 0, 0)
        assert ensure_sound(path) == count + 5
        monotonic.now += KEPT_S
    for left in (2 * SWEPT_AT_ONCE, SWEPT_AT_ONCE, 0, 0):
        store.put("stays 1", 1.0, FAR)
        assert ensure_sound(path) == left + 5
    wall.now = FAR - 1
    assert look(store, *(f"stays {number}" for number in range(5))) == [1.0] * 5


def test_marks_that_ended_leave_the_file_of_workers_that_live_for_minutes(
    path: Path,
) -> None:
    """What one worker saw of the clocks, the next one goes on from."""
    wall, monotonic = Clock(), Clock(1_000.0)
    for turn in range(30):
        with closing(SQLiteStore(path, now=wall, clock=monotonic)) as store:
            store.put(f"{turn}", 1.0, NOW + 1)
            wall.now += 600
            monotonic.now += 600
    assert ensure_sound(path) <= 1 + 2 * KEPT_S / 600


def test_a_name_that_is_put_often_takes_the_room_of_one(
    opened: Open, path: Path
) -> None:
    store = opened()
    for turn in range(50):
        store.put("a", float(turn), FAR + turn)
    assert ensure_sound(path) == 1


def test_who_watches_is_called_for_what_another_marked(opened: Open) -> None:
    """So that an open WebSocket ends in every worker."""
    writer, reader = opened(), opened()
    called, own = threading.Event(), threading.Event()
    reader.watch(["a", "b"], called.set)
    writer.watch(["a"], own.set)
    catch_up(reader)
    writer.put("x", 1.0, FAR)
    catch_up(reader)
    assert not called.is_set()
    writer.put("a", 1.0, FAR)
    assert own.is_set()
    assert called.wait(TIMEOUT_S)


def test_a_close_gives_back_every_file_and_thread(opened: Open) -> None:
    """One at a time: SQLite keeps a file while another connection has locked it."""
    opened().close()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(10):
        store = opened()
        store.put("a", 1.0, FAR)
        assert look(store, "a") == [1.0]
        assert len(os.listdir("/proc/self/fd")) > files
        store.close()
        assert len(os.listdir("/proc/self/fd")) == files
        assert threading.active_count() == threads


def test_a_store_that_was_closed_may_be_used_again(opened: Open) -> None:
    """What others marked meanwhile is there too."""
    store, other = opened(), opened()
    store.put("a", 1.0, FAR)
    look(store)
    for _ in range(2):
        store.close()
    other.put("b", 2.0, FAR)
    assert look(store, "a", "b") == [1.0, 2.0]
    store.close()
    store.put("c", 3.0, FAR)
    assert look(other, "b") == [2.0]
    assert wait_until_seen(other, "c") < TIMEOUT_S


def test_a_close_in_the_middle_of_things_hurts_nobody(opened: Open) -> None:
    """Who looks just then begins anew; who marks, too."""
    store, stop = opened(), threading.Event()

    def use(number: int) -> int:
        turn = 0
        while not stop.is_set():
            turn += 1
            store.put(f"{number} {turn}", float(turn), FAR)
            assert look(store, f"{number} {turn}") == [float(turn)]
        return turn

    with ThreadPoolExecutor(4) as pool:
        turns = [pool.submit(use, number) for number in range(4)]
        for _ in range(5):
            store.close()
        stop.set()
        counts = [turn.result(TIMEOUT_S) for turn in turns]
    names = [
        f"{n} {turn}" for n, count in enumerate(counts) for turn in range(1, count)
    ]
    assert None not in look(store, *names)


# What is no file for it


def another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE users (name)")


def no_database(path: Path) -> None:
    path.write_text("this is a letter, and not a database\n" * 100)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (another_program, "of another program"),
        (no_database, "not a database"),
        (Path.mkdir, "it is a folder"),
    ],
)
def test_what_is_no_store_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ValueError, match=says) as refused:
        SQLiteStore(path)
    assert str(path) in str(refused.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        SQLiteStore(tmp_path / "missing" / "marks.db")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", [":memory:", ""])
def test_a_path_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (each says something else)
        SQLiteStore(wrong)


@pytest.mark.parametrize("wrong", [None, 7, b"marks.db", "a\x00b"])
def test_what_is_no_path_is_wrong_configuration(wrong: Any) -> None:
    """`ValueError`, as all of it."""
    with pytest.raises(ValueError):  # noqa: PT011
        SQLiteStore(wrong)


@pytest.mark.parametrize("staleness", [0, 0.05, 3601, float("nan"), "2", None])
def test_a_staleness_out_of_bounds_is_refused(path: Path, staleness: Any) -> None:
    with pytest.raises(ValueError, match="max_staleness"):
        SQLiteStore(path, max_staleness=staleness)


@pytest.mark.parametrize("name", ["a b.db", "ä%20?mode=memory#.db", "'; --.db", "-x"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    """It becomes part of a URI, and stays itself."""
    store = SQLiteStore(tmp_path / name, now=clock)
    store.put("a", 1.0, FAR)
    assert look(store, "a") == [1.0]
    store.close()
    assert os.listdir(tmp_path) == [name]


def test_a_relative_path_is_of_the_folder_at_construction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server may change its folder afterwards, as a daemon does."""
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("marks.db", now=clock)
    monkeypatch.chdir("/")
    store.put("a", 1.0, FAR)
    assert look(store, "a") == [1.0]
    store.close()


# Other processes

OPENED = """
import os, sys, time
from jwt_middleware.bridge import ask, run
from jwt_middleware.sqlite import SQLiteStore

store = SQLiteStore(sys.argv[1], now=lambda: 1_800_000_000.0)
def look(*names):
    return run(ask(store.look, names))
"""
"""What each script begins with."""

SEEING = """
look()
print("ready", flush=True)
for line in sys.stdin:
    name, end = line.strip(), time.monotonic() + 10
    while look(name) == [None] and time.monotonic() < end:
        time.sleep(0.0005)
    print(time.monotonic(), flush=True)
"""


def python(script: str, path: Path, timeout: float = TIMEOUT_S) -> str:
    """What *script* prints, which must end well, and in time."""
    strictly = ("-X", "dev", "-W", "error")
    code = OPENED + script
    return printed(*strictly, "-c", code, str(path), timeout=timeout).strip()


def test_another_process_sees_a_mark_within_a_tenth_of_a_second(
    opened: Open, path: Path
) -> None:
    """Asserted with patience; the measures are printed for people."""
    store, took, chance = opened(), [], random.Random(7)  # noqa: S311
    with subprocess.Popen(
        [sys.executable, "-c", OPENED + SEEING, str(path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for number in range(50):
            time.sleep(chance.random() * POLL_S)  # not in step with who polls
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            store.put(f"{number}", 1.0, FAR)
            marked = time.monotonic()
            took.append(float(process.stdout.readline()) - marked)
        process.stdin.close()
    told = [f"{1000 * part:.1f}" for part in (min(took), median(took), max(took))]
    print(f"seen after ms: least {told[0]}, median {told[1]}, most {told[2]}")
    assert max(took) < SOON_S
    assert median(took) < 0.1


def test_a_restart_forgets_nothing(path: Path) -> None:
    """Also one without a goodbye."""
    python("store.put('a', 1.0, 9e9); os._exit(0)", path)
    python("store.add('b', 2.0, 9e9); store.close()", path)
    python("store.put('a', 3.0, 8e9)", path)
    assert python("print(look('a', 'b', 'c'))", path) == "[3.0, 2.0, None]"
    assert python("print(store.add('b', 5.0, 9e9))", path) == "False"


@pytest.mark.parametrize(
    "script",
    [
        "look('a')",
        "store.put('a', 1.0, 9e9); look('a')",
        "store.put('a', 1.0, 9e9)",
        "look('a'); sys.exit(0)",
        "look('a'); store.close()",
        "look('a'); os.unlink(sys.argv[1])",
        "import threading; threading.Thread(target=look).start()",
    ],
)
def test_a_process_ends_when_it_wants_to(path: Path, script: str) -> None:
    """The thread that reads keeps nobody, and says nothing at the end."""
    python(script, path, timeout=10)


def test_workers_may_all_begin_at_once_on_a_new_file(tmp_path: Path) -> None:
    """As they do when a server starts for the first time."""

    def work(barrier: Any, path: Path, mine: str, pipe: Any) -> object:
        barrier.wait(TIMEOUT_S)
        store = SQLiteStore(path, now=clock)
        store.put(mine, 1.0, FAR)
        pipe.send("ready")
        pipe.recv()
        return look(store, *names)

    names = [f"{number}" for number in range(8)]
    for turn in range(10):
        barrier, path = FORK.Barrier(8), tmp_path / f"{turn}.db"
        with children(partial(work, barrier, path, name) for name in names) as workers:
            assert [worker.hear() for worker in workers] == ["ready"] * 8
            for worker in workers:
                worker.pipe.send("go on")
            assert [worker.hear() for worker in workers] == [[1.0] * 8] * 8


@pytest.mark.parametrize("is_inherited", [True, False])
def test_of_many_adds_in_many_processes_one_succeeds(
    opened: Open, path: Path, is_inherited: bool
) -> None:
    """16 threads in each of four processes, whose store is their parent's or theirs."""
    store, barrier = opened(), FORK.Barrier(PROCESSES)
    look(store)
    names = [f"{number}" for number in range(5)]

    def work(_: Any) -> list[int]:
        own = store if is_inherited else SQLiteStore(path, now=clock)
        barrier.wait(TIMEOUT_S)
        return [sum(at_once(partial(own.add, name, 1.0, FAR))) for name in names]

    with children([work] * PROCESSES) as workers:
        wins: list[Any] = [worker.hear() for worker in workers]
    assert [sum(by_name) for by_name in zip(*wins, strict=True)] == [1] * 5
    catch_up(store)
    assert look(store, *names) == [1.0] * 5


def test_a_worker_that_is_killed_leaves_every_mark_that_it_made(
    opened: Open, path: Path
) -> None:
    """At any moment of a write.  Another worker reads on, and sees them all."""
    store, chance = opened(), random.Random(7)  # noqa: S311
    look(store)
    made: list[str] = []

    def work(mine: int, pipe: Any) -> None:
        own = SQLiteStore(path, now=clock)
        for number in range(100_000):
            name = f"{mine} {number}"
            own.put("often", float(number), FAR)
            assert own.add(name, 1.0, FAR)
            pipe.send(name)

    for turn in range(KILLS):
        with child(partial(work, turn)) as worker:
            for _ in range(chance.randrange(1, 6)):
                made.append(str(worker.hear()))
            threading.Event().wait(chance.random() * 0.004)
            worker.process.kill()
            worker.process.join(TIMEOUT_S)
            with suppress(EOFError, ConnectionError):
                while worker.pipe.poll():
                    made.append(str(worker.pipe.recv()))
    assert len(made) >= KILLS
    catch_up(store)
    assert None not in look(store, "often", *made)
    assert None not in look(opened(), "often", *made)
    assert ensure_sound(path) >= len(made)
    store.put("after", 1.0, FAR)


# A fork


def test_a_child_and_its_parent_see_each_other(opened: Open) -> None:
    """Both go on with what they have, and each has a thread of its own."""
    store = opened()
    store.put("before", 1.0, FAR)
    look(store)

    def work(pipe: Any) -> object:
        first = look(store, "before")
        store.put("child", 2.0, FAR)
        pipe.send(first)
        pipe.recv()
        return wait_until_seen(store, "parent") < TIMEOUT_S

    with child(work) as forked:
        assert forked.hear() == [1.0]
        wait_until_seen(store, "child")
        store.put("parent", 3.0, FAR)
        forked.pipe.send("go on")
        assert forked.hear() is True


def test_a_child_of_a_child_goes_on_too(opened: Open) -> None:
    store = opened()
    look(store)

    def grandchild() -> object:
        store.put("grandchild", 1.0, FAR)
        return look(store, "grandchild")

    assert in_child(lambda: in_child(grandchild)) == [1.0]
    wait_until_seen(store, "grandchild")


def test_a_fork_while_much_is_written_hurts_neither(opened: Open, path: Path) -> None:
    """In the middle of a write, of a look and of the thread that reads."""
    store, stop, made = opened(), threading.Event(), []
    look(store)

    def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            store.put(f"{number} {turn}", 1.0, FAR)
            made.append(f"{number} {turn}")
            assert look(store, made[-1]) == [1.0]

    def work(known: Sequence[str]) -> tuple[object, bool]:
        store.put(f"child {len(known)}", 1.0, FAR)
        return look(store, f"child {len(known)}"), None in look(store, *known)

    with ThreadPoolExecutor(3) as pool:
        writing = [pool.submit(write, number) for number in range(3)]
        try:
            children = []
            for _ in range(15):
                known = tuple(made)
                assert in_child(partial(work, known)) == ([1.0], False)
                children.append(f"child {len(known)}")
        finally:
            stop.set()
        for one in writing:
            one.result(TIMEOUT_S)
    catch_up(store)
    assert None not in look(store, *made, *children)
    assert ensure_sound(path) == len({*made, *children})


FORK_WHILE_STORES_OPEN = """
import threading

is_writing, is_forking = threading.Event(), threading.Event()
stores = [store, *(SQLiteStore(f"{sys.argv[1]}{n}") for n in range(5))]

def write():
    with store._file.writing():
        is_writing.set()
        is_forking.wait(5)
        time.sleep(0.2)  # now the fork waits for this write
        stores.extend(SQLiteStore(f"{sys.argv[1]}{n}") for n in range(5, 25))

writing = threading.Thread(target=write)
writing.start()
is_writing.wait(5)
is_forking.set()
child = os.fork()
if child:
    writing.join(5)
for each in tuple(stores):
    for locked in (each._file._reader, each._file._writer):
        if not locked.lock.acquire(timeout=1):
            print("in the child:" if not child else "in the parent:", "locked")
            sys.stdout.flush()
            os._exit(0)
        locked.lock.release()
    each.put("a", 1.0, 9e9)
if not child:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_fork_waits_for_a_write_and_another_store_may_open(path: Path) -> None:
    """What is told of a fork must be the same before it and after it."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OPENED + FORK_WHILE_STORES_OPEN, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# A file that is locked


def test_a_locked_file_is_read_and_a_mark_on_it_is_refused(
    opened: Open, path: Path, door: Door
) -> None:
    """503 for who revokes; who only shows a token notices nothing."""
    store = opened(max_staleness=0.5)
    lock = door.behind(authenticator(store=store))
    lock.auth.revoke_subject("bob")
    assert lock.get(bearer=mint_token()).status == 200
    with locked(path):
        begun = time.monotonic()
        with pytest.raises(RevocationsUnavailable) as refused:
            lock.auth.revoke_subject("alice")
        took = time.monotonic() - begun
        assert lock.get(bearer=mint_token()).status == 200
        assert lock.get(bearer=mint_token(sub="bob")).status == 401
        catch_up(store)
    assert refused.value.status == 503
    assert took < (2 * WAIT_S) + SOON_S
    lock.auth.revoke_subject("alice")
    assert lock.get(bearer=mint_token()).status == 401


def test_many_who_wait_for_a_locked_file_are_told_in_time(
    opened: Open, path: Path
) -> None:
    """Not one after the other: each has waited as long as is allowed."""
    store, count = opened(), 4

    def put(number: int) -> float:
        begun = time.monotonic()
        with pytest.raises(Exception):  # noqa: B017, PT011  (any makes it a 503)
            store.put(f"{number}", 1.0, FAR)
        return time.monotonic() - begun

    with locked(path), ThreadPoolExecutor(count) as pool:
        took = list(pool.map(put, range(count)))
    assert max(took) < (2 * WAIT_S) + SOON_S, took
    assert look(store, "0", "1") == [None, None]


def test_a_file_that_is_free_in_time_takes_the_mark(opened: Open, path: Path) -> None:
    store, done = opened(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with locked(path):
            putting = pool.submit(store.put, "a", 1.0, FAR)
            assert not done.wait(0.2)
            assert not putting.done()
        putting.result(TIMEOUT_S)
    assert look(store, "a") == [1.0]


# A file that something happens to


def pages(path: Path) -> int:
    return path.stat().st_size // 4096


def overwrite(path: Path, first: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * first)
        file.write(os.urandom(4096 * count))


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for file in path.parent.glob("marks.db*"):
        file.unlink()


def replace(path: Path) -> None:
    """By a new store, as a careless deployment does."""
    delete_all(path)
    fresh = path.with_name("fresh")
    SQLiteStore(fresh, now=clock)
    fresh.rename(path)


def replace_by_nothing(path: Path) -> None:
    delete_all(path)
    path.touch()


def replace_by_folder(path: Path) -> None:
    delete_all(path)
    path.mkdir()


def replace_by_another(path: Path) -> None:
    delete_all(path)
    another_program(path)


def damage_header(path: Path) -> None:
    overwrite(path, 0, 1)


def damage_pages(path: Path) -> None:
    overwrite(path, 1, pages(path) - 1)


def damage_all(path: Path) -> None:
    overwrite(path, 0, pages(path))
    overwrite(wal(path), 0, pages(wal(path)))


def damage_wal(path: Path) -> None:
    overwrite(wal(path), 0, pages(wal(path)))


def truncate(path: Path) -> None:
    os.truncate(path, 0)


def truncate_half(path: Path) -> None:
    os.truncate(path, 4096 * (pages(path) // 2))


def truncate_wal(path: Path) -> None:
    os.truncate(wal(path), 0)


def wal(path: Path) -> Path:
    return path.with_name("marks.db-wal")


FAULTS = [
    *(delete, delete_all, replace, replace_by_nothing, replace_by_folder),
    *(replace_by_another, damage_header, damage_pages, damage_all, damage_wal),
    *(truncate, truncate_half, truncate_wal),
]
STALENESS_S = 0.2


@pytest.mark.parametrize("is_checkpointed", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_file_lets_a_revoked_token_pass(
    opened: Open, path: Path, fault: Callable[[Path], None], is_checkpointed: bool
) -> None:
    """Neither one that was revoked before it, nor one that is said to be after it."""
    fill(path)
    workers = [opened(max_staleness=STALENESS_S) for _ in range(2)]
    locks = [authenticator(store=store) for store in workers]
    for lock in locks:
        assert status(lock, "alice") == 200
    locks[0].revoke_subject("early")
    for store in workers:
        catch_up(store)
    if is_checkpointed:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    fault(path)
    for turn in range(2):
        revoked = [
            f"late {turn}" for lock in locks[:1] if revokes(lock, f"late {turn}")
        ]
        end = time.monotonic() + STALENESS_S + 2 * POLL_S
        while time.monotonic() < end:
            assert {status(lock, "early") for lock in locks} <= {401, 503}
            time.sleep(0.02)
        # Said to be revoked: every worker knows, or knows that it does not.
        for name in revoked:
            assert {status(lock, name) for lock in locks} <= {401, 503}


def fill(path: Path) -> None:
    """So many marks that they fill pages."""
    store = SQLiteStore(path, now=clock)
    rows = [(b"%012d" % number, 1.0, FAR) for number in range(2_000)]
    with closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO marks (key, at, until) VALUES (?, ?, ?)", rows)
    store.close()


def status(lock: Any, subject: str) -> int:
    """What who shows a token of *subject* is told."""
    from jwt_middleware import AuthError

    try:
        lock.authenticate(mint_token(sub=subject, jti=f"of {subject}"))
    except AuthError as error:
        return error.status
    return 200


def revokes(lock: Any, subject: str) -> bool:
    """Whether the caller is told that it is done."""
    try:
        lock.revoke_subject(subject)
    except RevocationsUnavailable:
        return False
    return True


@pytest.mark.parametrize(
    "fault", [delete, replace_by_folder, damage_all, truncate, replace_by_another]
)
def test_a_file_that_is_gone_makes_it_503_and_one_that_is_back_heals(
    opened: Open, path: Path, door: Door, fault: Callable[[Path], None]
) -> None:
    """Without a restart, and with every mark of before."""
    store = opened(max_staleness=STALENESS_S)
    lock = door.behind(authenticator(store=store))
    lock.auth.revoke_subject("bob")
    assert lock.get(bearer=mint_token()).status == 200
    kept = path.with_name("kept")
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(kept)) as copy:
        db.backup(copy)
    fault(path)
    # A writer who fails has the reader see that the file is not what it was.
    with suppress(RevocationsUnavailable):
        lock.auth.revoke_subject("carol")
    until(lambda: lock.get(bearer=mint_token()).status == 503)
    answer = lock.get(bearer=mint_token(sub="bob"))
    assert answer.status == 503
    assert answer.header("retry-after")
    with pytest.raises(RevocationsUnavailable):
        lock.auth.revoke_subject("dave")
    if path.is_dir():
        path.rmdir()
    delete_all(path)
    kept.rename(path)
    until(lambda: lock.get(bearer=mint_token()).status == 200)
    assert lock.get(bearer=mint_token(sub="bob")).status == 401
    lock.auth.revoke_subject("dave")
    assert lock.get(bearer=mint_token(sub="dave")).status == 401


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, "it never comes to be so"
        time.sleep(0.01)


def test_the_marks_in_a_file_that_takes_the_place_are_seen(
    opened: Open, path: Path
) -> None:
    """Also those whose numbers are smaller than what was read before."""
    store, other = opened(), path.with_name("other.db")
    for number in range(5):
        store.put(f"{number}", 1.0, FAR)
    look(store)
    with closing(SQLiteStore(other, now=clock)) as restored:
        restored.put("restored", 2.0, FAR)
    store.close()
    other.rename(path)
    assert look(store, "restored", "4") == [2.0, 1.0]
    worker = opened()
    worker.put("new", 3.0, FAR)
    wait_until_seen(store, "new")


def test_a_file_that_was_replaced_keeps_what_is_marked_in_it(
    opened: Open, path: Path
) -> None:
    """Whoever leaves the old file must not clean up behind it by name."""
    old = opened()
    old.put("old", 1.0, FAR)
    look(old)
    other = path.with_name("other.db")
    SQLiteStore(other, now=clock)
    delete_all(path)
    other.rename(path)
    new = opened()
    names = [f"{number}" for number in range(20)]
    for name in names:
        new.put(name, 1.0, FAR)
    old.put("more", 1.0, FAR)
    for name in names:
        wait_until_seen(old, name)
    old.close()
    new.close()
    assert look(opened(), "more", *names) == [1.0] * 21


def test_a_damaged_file_is_refused_at_construction(path: Path) -> None:
    fill(path)
    damage_header(path)
    with pytest.raises(ValueError, match="not a database"):
        SQLiteStore(path)


@pytest.mark.parametrize("fault", [damage_pages, truncate_half])
def test_a_worker_that_starts_on_a_damaged_file_accepts_nobody(
    path: Path, fault: Callable[[Path], None]
) -> None:
    """It cannot know; that is told at construction or by 503."""
    fill(path)
    with closing(SQLiteStore(path, now=clock)) as store:
        authenticator(store=store).revoke_subject("early")
    fault(path)
    try:
        store = SQLiteStore(path, max_staleness=STALENESS_S, now=clock)
    except ValueError:
        return
    with closing(store):
        lock = authenticator(store=store)
        for _ in range(2):
            assert status(lock, "alice") == 503
            assert status(lock, "early") in (401, 503)


# A disk that takes no more


def test_a_full_disk_refuses_the_mark_and_forgets_none(path: Path) -> None:
    """`RLIMIT_FSIZE` stands for it: a file cannot grow."""
    with closing(SQLiteStore(path, now=clock)) as store:
        store.put("first", 1.0, FAR)

    def work() -> tuple[list[str], int, object]:
        own = SQLiteStore(path, now=clock)
        made, refused = ["first"], 0
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
        for number in range(40):
            try:
                own.put(f"{number}", 1.0, FAR)
            except sqlite3.Error:
                refused += 1
            else:
                made.append(f"{number}")
        while_full = look(own, *made)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        own.put("last", 1.0, FAR)
        assert while_full == [1.0] * len(made)
        return made, refused, look(own, "last", *made)

    made, refused, seen = in_child(work)
    assert refused > 0
    assert len(made) > 5
    assert seen == [1.0] * (1 + len(made))
    with closing(SQLiteStore(path, now=clock)) as store:
        assert look(store, "last", *made) == [1.0] * (1 + len(made))
    ensure_sound(path)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """One that another user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("is_in_use", [True, False])
def test_a_file_that_may_only_be_read_refuses_the_mark(
    public_folder: Path, is_in_use: bool
) -> None:
    """For a worker under a user who may not write; root would not be stopped."""
    path = public_folder / "marks.db"
    store = SQLiteStore(path, now=clock)
    authenticator(store=store).revoke_subject("bob")
    if not is_in_use:
        store.close()
    own = SQLiteStore(path, max_staleness=STALENESS_S, now=clock)
    for file in public_folder.iterdir():
        file.chmod(0o444)
    public_folder.chmod(0o555)

    def work() -> tuple[int, int, bool]:
        if os.getuid() == 0:
            os.setuid(65534)
        lock = authenticator(store=own)
        return status(lock, "alice"), status(lock, "bob"), revokes(lock, "alice")

    alice, bob, is_revoked = in_child(work)
    assert (alice, bob) in ((200, 401), (503, 503))
    assert not is_revoked
    public_folder.chmod(0o755)
    store.close()


def test_a_repr_tells_the_file(path: Path) -> None:
    store = SQLiteStore(path)
    assert repr(store) == f"<SQLiteStore '{path}'>"
    store.close()


def test_a_file_that_stays_locked_is_told_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_table, "MAKE_S", 0.0)
    monkeypatch.setattr(marks_table, "WAIT_S", 0.0)
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(ValueError, match="cannot be a store: database is locked"):
            SQLiteStore(path)


def test_a_file_that_is_locked_for_a_moment_is_waited_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_table, "WAIT_S", 0.0)
    SQLiteStore(path).close()
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as db,
        ThreadPoolExecutor(1) as pool,
    ):
        db.execute("BEGIN IMMEDIATE")
        making = pool.submit(SQLiteStore, path)
        assert not wait([making], timeout=5 * POLL_S).done
        db.execute("ROLLBACK")
        making.result(TIMEOUT_S).close()


def test_an_older_file_that_is_copied_into_this_one_is_read_from_its_beginning(
    tmp_path: Path,
) -> None:
    """As by an operator who restores it while the workers run."""
    ours, copy = SQLiteStore(tmp_path / "marks.db"), tmp_path / "copy.db"
    look(ours, "a")
    with closing(sqlite3.connect(tmp_path / "marks.db")) as db:
        with closing(sqlite3.connect(copy)) as empty:
            db.backup(empty)
        for number in range(5):
            ours.put(f"{number}", 1.0, time.time() + 1000)
        deadline = time.monotonic() + TIMEOUT_S
        while ours._file._reader.connection().newest < 5:
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        with closing(sqlite3.connect(copy)) as empty:
            empty.backup(db)
        theirs = SQLiteStore(tmp_path / "marks.db")
        theirs.put("new", 2.0, time.time() + 1000)
        while look(ours, "new") != [2.0]:
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
    for store in (ours, theirs):
        store.close()


def test_what_has_ended_by_our_clock_is_put_all_the_same(path: Path) -> None:
    """It may be ahead, and another worker's right."""
    wrong, right = (SQLiteStore(path, now=Clock(NOW + ahead)) for ahead in (60, 0))
    wrong.put("a", 7.0, NOW + 30)
    assert look(wrong, "a") == [None]
    assert look(right, "a") == [7.0]
    for store in (wrong, right):
        store.close()
