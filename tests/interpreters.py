"""Python in a process of its own, as people start it."""

from __future__ import annotations

import subprocess
import sys

from .servers import ROOT, TIMEOUT_S


def printed(*arguments: str, timeout: float = TIMEOUT_S) -> str:
    """What ``python`` prints, which must end well, without a complaint and in time."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout
