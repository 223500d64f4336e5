"""A store and a key of one process in the workers of real servers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from jwt_middleware import workers
from jwt_middleware.workers import SeveralWorkersWarning, is_one_of_several

from .servers import fetch, serving

GUNICORN = ("gunicorn", "tests.served_memory:wsgi_app", "--bind=fd://{fd}")
UVICORN = ("uvicorn", "tests.served_memory:asgi_app", "--fd={fd}", "--lifespan=off")


HYPERCORN = ("hypercorn", "tests.served_memory:asgi_app", "--bind=fd://{fd}")
GRANIAN = (
    *("granian", "tests.served_memory:asgi_app", "--interface=asgi"),
    *("--host=127.0.0.1", "--port={port}"),
    "--workers-kill-timeout=2",  # one that has just begun may not hear that it is over
)
STORE, KEY = "MemoryStore is used in several workers", "Key.generate() was called in"


@pytest.mark.parametrize(
    ("command", "warnings"),
    [
        ((*GUNICORN, "--workers=2"), {STORE, KEY}),
        ((*GUNICORN, "--workers=2", "--preload"), {STORE}),  # which share the key
        ((*GUNICORN, "--workers=1"), set()),
        ((*GUNICORN, "--workers=1", "--preload"), set()),
        ((*UVICORN, "--workers=2"), {STORE, KEY}),
        ((*UVICORN, "--workers=1"), set()),
        ((*UVICORN, "--reload"), set()),
        ((*HYPERCORN, "--workers=2"), {STORE, KEY}),
        ((*HYPERCORN, "--workers=1"), set()),
        ((*GRANIAN, "--workers=2"), {STORE, KEY}),
        ((*GRANIAN, "--workers=1"), set()),
    ],
)
def test_what_each_of_several_workers_has_of_its_own_is_warned_of(
    tmp_path: Path, command: tuple[str, ...], warnings: set[str]
) -> None:
    """Once by each of them."""
    log = tmp_path / "log"
    own = free_port()  # for a server that takes no socket
    command = tuple(part.replace("{port}", f"{own}") for part in command)
    with serving(*command, environment={"SERVED_LOG": str(log)}) as given:
        port = own if command[0] == "granian" else given
        end = time.monotonic() + (20 if warnings else 1.5)
        while time.monotonic() < end:
            is_served, text = answers(port), log.read_text() if log.exists() else ""
            if is_served and warnings and all(map(text.count, warnings)):
                break
            time.sleep(0.1)
    text = log.read_text()
    assert {warning for warning in (STORE, KEY) if warning in text} == warnings
    assert max(map(text.count, (STORE, KEY))) <= 2


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether the server answers; one that opens its own socket may not yet."""
    try:
        return fetch(port, "/")[0] == 200
    except ConnectionRefusedError:
        return False


def test_tests_and_scripts_are_no_workers() -> None:
    assert not is_one_of_several()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_pool_of_an_application_is_not_a_server(method: str) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert not any(pool.map(_is_one_of_several, range(4)))


def _is_one_of_several(_: int) -> bool:
    import_module("uvicorn")  # the application may serve elsewhere
    time.sleep(0.05)  # so that both processes have something to do
    return is_one_of_several()


Processes = Callable[..., None]


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Processes:
    """Say which processes there are."""
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/1")
    monkeypatch.setattr(workers, "Path", lambda name: tmp_path / name.strip("/"))

    def add(number: int, command: str, *, parent: int = 0, state: str = "S") -> None:
        folder = tmp_path / "proc" / f"{number}"
        folder.mkdir(parents=True)
        ppid = parent or os.getppid()
        (folder / "stat").write_text(f"{number} (a (b) c) {state} {ppid} 1 1")
        (folder / "cmdline").write_text(command)

    return add


def test_one_like_us_with_our_parent_is_another_worker(process: Processes) -> None:
    process(os.getpid(), "python worker 1")
    process(1_000_001, "python worker 2", parent=7)
    process(1_000_002, "python worker 3", state="Z")
    process(1_000_003, "redis-server")
    assert not is_one_of_several()
    process(1_000_004, "python worker 22")
    assert is_one_of_several()


def test_a_process_that_ends_meanwhile_is_none(
    process: Processes, tmp_path: Path
) -> None:
    process(os.getpid(), "python worker 1")
    (tmp_path / "proc" / "1000001").mkdir()
    assert not is_one_of_several()


def test_it_is_said_once_and_asked_once_a_second(
    process: Processes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("jwt_middleware.workers.time.monotonic", lambda: now[0])
    caplog.set_level(logging.WARNING)
    warning = SeveralWorkersWarning("there are several workers")
    process(os.getpid(), "python worker 1")
    warning.check()
    process(1_000_001, "python worker 2")
    warning.check()
    assert caplog.text == ""
    for _ in range(3):
        now[0] += workers.LONGEST_S
        warning.check()
    assert caplog.text.count("there are several workers") == 1


def test_a_worker_that_is_alone_looks_for_others_ever_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be thousands of processes, and each is looked at."""
    now, looks = [100.0], list[float]()
    monkeypatch.setattr("jwt_middleware.workers.time.monotonic", lambda: now[0])

    def look() -> bool:
        looks.append(now[0])
        return False

    monkeypatch.setattr(workers, "is_one_of_several", look)
    warning = SeveralWorkersWarning("there are several workers")
    for _ in range(8 * 3600):
        warning.check()
        now[0] += 1.0
    pauses = [after - before for before, after in pairwise(looks)]
    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == workers.LONGEST_S
    assert len(looks) < 30


def test_where_there_is_no_proc_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/1")
    monkeypatch.setattr(workers, "Path", lambda name: tmp_path / name.strip("/"))
    assert not is_one_of_several()


def test_a_worker_is_known_by_the_function_that_it_was_started_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its server's, plain or with arguments; a pool's is one of Python."""
    process = multiprocessing.current_process()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: process)
    for target, library in (
        (None, ""),
        (Path.cwd, "pathlib"),
        (partial(Path.cwd), "pathlib"),
    ):
        monkeypatch.setattr(process, "_target", target, raising=False)
        assert workers._starter() == library
