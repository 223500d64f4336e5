"""Real servers for tests: on a free loopback port, ended by their process id."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 30


@contextmanager
def serving(
    *command: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run ``python -m *command*`` with a listening socket, and yield its port.

    ``{fd}`` in *command* becomes the socket's number.  It listens before the server
    starts, so nobody has to wait: a connection is queued until it is served.
    """
    with running(*command, environment=environment) as (port, _):
        yield port


@contextmanager
def running(
    *command: str,
    environment: Mapping[str, str] | None = None,
    stderr: IO[bytes] | int = subprocess.DEVNULL,
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Do what `serving` does, and yield the port and the process of the server."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        fd = listening.fileno()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *(part.replace("{fd}", str(fd)) for part in command),
            ],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            pass_fds=(fd,),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
        try:
            yield listening.getsockname()[1], process
            assert process.poll() is None, f"{command[0]} ended by itself"
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


@contextmanager
def connected(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.close()


def fetch(
    port: int,
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
) -> tuple[int, http.client.HTTPMessage, str]:
    """Send one request on a new connection: status, headers, body."""
    with connected(port) as connection:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
