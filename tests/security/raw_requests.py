"""Real servers, and requests to them whose first line is exactly what a test says."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.servers import ROOT as FOLDER
from tests.servers import TIMEOUT_S, serving

from .request_lines import ROOT

ASGI_APP = "tests.security.served_routers:asgi_app"
WSGI_APP = "tests.security.served_routers:wsgi_app"
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and how it is started."""

    name: str
    kind: str
    module: str
    command: Sequence[str]
    """Modules and arguments; ``{fd}`` is a listening socket, ``{port}`` a free port."""
    root: str = ""
    """The root below which the server serves."""
    is_root_sent: bool = True
    """Whether targets begin with the root; else the server adds it."""
    parser: str = ""
    """Another module that must be installed."""

    @contextmanager
    def started(self, environment: Mapping[str, str]) -> Iterator[int]:
        """Serve for the block, and give the port."""
        if not any("{port}" in part for part in self.command):
            with serving(*self.command, environment=environment) as port:
                yield port
            return
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        command = [part.replace("{port}", str(port)) for part in self.command]
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=FOLDER,
            env=dict(environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port)
            yield port
            assert process.poll() is None, f"{self.name} ended by itself"
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


UVICORN = ("uvicorn", ASGI_APP, "--fd={fd}", "--no-access-log", "--http")
SERVERS = (
    Server(
        "uvicorn-h11",
        "asgi",
        "uvicorn",
        (*UVICORN, "h11", f"--root-path={ROOT}"),
        root=ROOT,
        is_root_sent=False,
        parser="h11",
    ),
    Server(
        "uvicorn-httptools",
        "asgi",
        "uvicorn",
        (*UVICORN, "httptools"),
        parser="httptools",
    ),
    Server(
        "hypercorn",
        "asgi",
        "hypercorn",
        ("hypercorn", ASGI_APP, "--bind=fd://{fd}", "--workers=0", "--root-path", ROOT),
        root=ROOT,
    ),
    Server(
        "granian-asgi",
        "asgi",
        "granian",
        ("granian", ASGI_APP, "--interface=asgi", "--port={port}", "--no-log"),
    ),
    Server(
        "gunicorn-asgi",
        "asgi",
        "gunicorn",
        ("gunicorn", ASGI_APP, "--worker-class=asgi", "--bind=fd://{fd}"),
    ),
    Server("gunicorn", "wsgi", "gunicorn", ("gunicorn", WSGI_APP, "--bind=fd://{fd}")),
    Server(
        "granian-wsgi",
        "wsgi",
        "granian",
        (
            *("granian", WSGI_APP, "--interface=wsgi", "--port={port}", "--no-log"),
            f"--url-path-prefix={ROOT}",
        ),
        root=ROOT,
    ),
)


def _wait_for(port: int) -> None:
    end = time.monotonic() + TIMEOUT_S
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.05)  # another process: there is nothing to wait for
        else:
            return


def ask(
    port: int, method: str, target: bytes, headers: Mapping[str, str]
) -> tuple[int, str]:
    """Send one request; return status and everything that follows the status line.

    The status is 0 if the server hangs up without an answer.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    head = "".join([*lines, "Content-Length: 0\r\nConnection: close\r\n\r\n"])
    answer = b""
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
        try:
            connection.sendall(
                method.encode() + b" " + target + b" HTTP/1.1\r\n" + head.encode()
            )
            while octets := connection.recv(65536):
                answer += octets
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before it was read to the end
    line, _, rest = answer.decode("latin-1").partition("\r\n")
    return (int(line.split()[1]) if line.startswith("HTTP/") else 0), rest
