"""Requests to a real server on this machine, over a few connections."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .plain import BODY

HOST = "127.0.0.1"
CONNECTIONS = 8
PATIENCE_S = 30
HAS_WRK = shutil.which("wrk") is not None
LEAST_WRK_S = 0.4
"""wrk takes whole seconds, which is too long for a look."""


def head(token: str | None) -> bytes:
    lines = ["GET / HTTP/1.1", "Host: api.example", "Accept: application/json"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def send(port: int, token: str | None, seconds: float) -> tuple[int, float]:
    """How many requests were answered, and in how many seconds; all with 200."""
    began = time.perf_counter()
    if uses_wrk(seconds):
        answered = _send_by_wrk(port, token, seconds)
    else:
        answered = send_by_sockets(port, token, seconds)
    return answered, time.perf_counter() - began


def uses_wrk(seconds: float) -> bool:
    return HAS_WRK and seconds >= LEAST_WRK_S


def status(port: int, token: str | None) -> int:
    """Of one request."""
    with socket.create_connection((HOST, port), PATIENCE_S) as connection:
        connection.sendall(head(token))
        return int(connection.recv(65_536).split(maxsplit=2)[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the server listens."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        assert process.poll() is None, f"{process.args!r} ended by itself"
        try:
            socket.create_connection((HOST, port), PATIENCE_S).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen")


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and those below it have taken."""
    return sum(_own_cpu_s(each) for each in _family(pid))


def can_measure() -> bool:
    return Path("/proc/self/task").exists()


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _own_cpu_s(pid: int) -> float:
    """Of all its threads, by the scheduler: in nanoseconds, not in ticks."""
    files = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


@contextmanager
def _connections(port: int) -> Iterator[Sequence[socket.socket]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((HOST, port), PATIENCE_S))
            for _ in range(CONNECTIONS)
        ]


def send_by_sockets(port: int, token: str | None, seconds: float) -> int:
    request, answered = head(token), 0
    with _connections(port) as connections:
        ends = time.perf_counter() + seconds
        while answered == 0 or time.perf_counter() < ends:
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                _receive(connection)
            answered += len(connections)
    return answered


def _receive(connection: socket.socket) -> None:
    answer = b""
    while not answer.endswith(BODY.encode()):
        received = connection.recv(65_536)
        assert received, f"the connection ended after {answer!r}"
        answer += received
    assert answer.startswith(b"HTTP/1.1 200 "), answer


def _send_by_wrk(port: int, token: str | None, seconds: float) -> int:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    if token is not None:
        command += ["-H", f"Authorization: Bearer {token}"]
    command.append(f"http://{HOST}:{port}/")
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Non-2xx" not in ended.stdout, ended.stdout
    assert "Socket errors" not in ended.stdout, ended.stdout
    found = re.search(r"(\d+) requests in", ended.stdout)
    assert found, ended.stdout
    return int(found[1])
