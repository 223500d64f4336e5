"""A store and a key of one process in the workers of real servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jwt_middleware import workers
from jwt_middleware.workers import is_one_of_several

from .servers import fetch, serving

GUNICORN = ("gunicorn", "tests.served_memory:wsgi_app", "--bind=fd://{fd}")
UVICORN = ("uvicorn", "tests.served_memory:asgi_app", "--fd={fd}", "--lifespan=off")


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
    ],
)
def test_what_each_of_several_workers_has_of_its_own_is_warned_of(
    tmp_path: Path, command: tuple[str, ...], warnings: set[str]
) -> None:
    log = tmp_path / "log"
    with serving(*command, environment={"SERVED_LOG": str(log)}) as port:
        end = time.monotonic() + (20 if warnings else 2.5)
        while time.monotonic() < end:
            assert fetch(port, "/")[0] == 200
            if warnings and all(warning in log.read_text() for warning in warnings):
                break
            time.sleep(0.1)
    told = {warning for warning in (STORE, KEY) if warning in log.read_text()}
    assert told == warnings


def test_tests_and_scripts_are_no_workers() -> None:
    assert not is_one_of_several()


def test_where_there_is_no_proc_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/1")
    monkeypatch.setattr(workers, "Path", lambda name: tmp_path / name.strip("/"))
    assert not is_one_of_several()
