"""A store of one process in the workers of real servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jwt_middleware import workers
from jwt_middleware.workers import is_one_of_several

from .servers import fetch, serving

GUNICORN = ("gunicorn", "tests.served_memory:wsgi_app", "--bind=fd://{fd}")
UVICORN = ("uvicorn", "tests.served_memory:asgi_app", "--fd={fd}", "--lifespan=off")


@pytest.mark.parametrize(
    ("command", "is_warned"),
    [
        ((*GUNICORN, "--workers=2"), True),
        ((*GUNICORN, "--workers=2", "--preload"), True),
        ((*GUNICORN, "--workers=1"), False),
        ((*GUNICORN, "--workers=1", "--preload"), False),
        ((*UVICORN, "--workers=2"), True),
        ((*UVICORN, "--workers=1"), False),
        ((*UVICORN, "--reload"), False),
    ],
)
def test_a_memory_store_in_several_workers_is_warned_of(
    tmp_path: Path, command: tuple[str, ...], is_warned: bool
) -> None:
    log = tmp_path / "log"
    with serving(*command, environment={"SERVED_LOG": str(log)}) as port:
        end = time.monotonic() + (20 if is_warned else 2.5)
        while time.monotonic() < end:
            assert fetch(port, "/")[0] == 200
            if "several workers" in log.read_text():
                break
            time.sleep(0.1)
    assert ("several workers" in log.read_text()) is is_warned


def test_tests_and_scripts_are_no_workers() -> None:
    assert not is_one_of_several()


def test_where_there_is_no_proc_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/1")
    monkeypatch.setattr(workers, "Path", lambda name: tmp_path / name.strip("/"))
    assert not is_one_of_several()
