"""Find out whether this process is one of several workers of one server."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("jwt_middleware")

AGAIN_S = 1.0
"""Seconds between two checks: a server may start its workers one after the other."""
LONGEST_S = 3600.0
"""The longest time between two checks.  Each reads a file for every process of the
machine, which takes 0.1 seconds for a few thousand, perhaps of an event loop."""
SERVERS = ("uvicorn", "granian", "hypercorn")
"""Servers whose workers are started by `multiprocessing`."""


class SeveralWorkersWarning:
    """Logs *text* once if this process is one of several workers of one server.

    For an object that each process has for itself.  Only the workers of servers that
    are known here count, so tests, process pools and reloaders cause no warning.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._next = 0.0
        self._wait_s = AGAIN_S
        self._has_warned = False

    def check(self) -> None:
        """Check for other workers: after `AGAIN_S` seconds, and ever less often."""
        now = time.monotonic()
        if self._has_warned or now < self._next:
            return
        self._next = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_S)
        if is_one_of_several():
            self._has_warned = True
            logger.warning(self._text)


def is_one_of_several() -> bool:
    """Return whether a server runs this process and at least one other like it."""
    is_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")
    if not is_gunicorn and _starter() not in SERVERS:
        return False
    mine = _kind(os.getpid())
    return bool(mine) and any(_kind(one) == mine for one in _siblings())


def _starter() -> str:
    """Return the library whose function this process was started to run, or "".

    A process pool runs a function of Python itself, whatever the application imports.
    """
    processes = sys.modules.get("multiprocessing")  # a worker has loaded it
    if processes is None or processes.parent_process() is None:
        return ""
    target = getattr(processes.current_process(), "_target", None)
    module = getattr(getattr(target, "func", target), "__module__", None) or ""
    return module.partition(".")[0]


def _siblings() -> Iterator[int]:
    """Yield the other processes of the same parent; none if there is no /proc."""
    parent, me = os.getppid(), os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == parent and int(folder.name) != me and fields[0] != "Z":
            yield int(folder.name)


def _kind(process: int) -> bytes:
    """Return the command line without its numbers, which differ between workers."""
    try:
        return re.sub(rb"\d+", b"", Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:  # there is no /proc, or the process has ended
        return b""
