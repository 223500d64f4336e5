"""What the examples write to the terminal, by each command that starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .servers import ROOT, TIMEOUT_S, fetch, running

SETTINGS = {
    "ISSUER": "https://login.example.com",
    "AUDIENCE": "https://api.example.com",
}
REFUSED = ":jwt_middleware:refused 'GET' '/me': no_credentials: "
COMMANDS = {
    "uvicorn": ("uvicorn", "examples.starlette_app:app", "--fd={fd}"),
    "uvicorn-resource-server": ("uvicorn", "examples.resource_server:app", "--fd={fd}"),
    "gunicorn": ("gunicorn", "examples.flask_app:app", "--bind=fd://{fd}"),
    "gunicorn-gthread": (
        *("gunicorn", "examples.flask_app:app", "--threads=4", "--bind=fd://{fd}"),
    ),
}
BY_PORT = {
    "python-m-flask": ("examples.flask_app",),
    "python-m-starlette": ("examples.starlette_app",),
    "python-m-resource-server": ("examples.resource_server",),
    "flask-run": ("flask", "--app=examples.flask_app", "run", "--port={port}"),
    "flask-run-debug": (
        *("flask", "--app=examples.flask_app", "run", "--debug", "--port={port}"),
    ),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_a_developer_sees_why_a_request_was_refused(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    log = tmp_path / "stderr"
    with (
        log.open("wb") as stderr,
        running(*command, environment=SETTINGS, stderr=stderr) as (port, _),
    ):
        ensure_reason_is_shown(port, log)


@pytest.mark.parametrize("command", BY_PORT.values(), ids=list(BY_PORT))
def test_a_developer_sees_it_too_if_python_or_flask_starts_the_example(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    log = tmp_path / "stderr"
    with listening(command, log) as port:
        ensure_reason_is_shown(port, log)


def ensure_reason_is_shown(port: int, log: Path) -> None:
    """Once, and at INFO."""
    assert fetch(port, "/me")[0] == 401
    until(lambda: REFUSED in log.read_text())
    assert log.read_text().count(REFUSED) == 1
    assert f"INFO{REFUSED}" in log.read_text()


@contextmanager
def listening(command: tuple[str, ...], log: Path) -> Iterator[int]:
    """Run *command* on a free port, and yield the port when it accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", *(each.format(port=port) for each in command)],
            cwd=ROOT,
            env=environment(PORT=str(port), **SETTINGS),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        until(lambda: accepts(port))
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    except ConnectionRefusedError:
        return False
    return True


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def environment(**settings: str) -> dict[str, str]:
    known = {key: text for key, text in os.environ.items() if key not in SETTINGS}
    return known | settings


# A setting that is missing


@pytest.mark.parametrize("missing", list(SETTINGS))
@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(
    "command",
    [
        ("examples.resource_server",),
        ("uvicorn", "examples.resource_server:app", "--port=0"),
    ],
    ids=["python", "uvicorn"],
)
def test_the_resource_server_says_what_to_set(
    command: tuple[str, ...], value: str | None, missing: str
) -> None:
    settings = {key: text for key, text in SETTINGS.items() if key != missing}
    if value is not None:
        settings[missing] = value
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    line = f"{missing} is not set; write, for instance: export {missing}="
    assert done.returncode == 1
    assert done.stderr == f"{line}{SETTINGS[missing]}\n"
