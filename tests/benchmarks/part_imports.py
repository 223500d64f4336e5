"""How long an import takes, in a fresh process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from .rounds import OURS, Effort, Group, Section, Turn, take_turns

TITLE = "Import"
NOTE = "Milliseconds, each time in a fresh process."
CRYPTOGRAPHY = "cryptography, to verify"
STATEMENTS: Mapping[str, str] = {
    CRYPTOGRAPHY: """\
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
""",
    OURS: "import jwt_middleware",
}
PEERS: Mapping[str, str] = {"PyJWT": "jwt", "flask-jwt-extended": "flask_jwt_extended"}
PROGRAM = """\
import time
began = time.perf_counter()
{statement}
print(time.perf_counter() - began)
"""


def importing(statement: str) -> Turn:
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]

    def milliseconds() -> float:
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return 1e3 * float(ended.stdout)

    milliseconds()  # so that files are in the system's cache
    return milliseconds


def measure(effort: Effort) -> Iterator[Section]:
    statements, absent = dict(STATEMENTS), list[str]()
    for name, module in PEERS.items() if effort.has_peers else ():
        if find_spec(module):
            statements[name] = f"import {module}"
        else:
            absent.append(f"{name}: No module named '{module}'")
    turns = {name: importing(statement) for name, statement in statements.items()}
    values = take_turns(turns, effort.rounds, effort.seed)
    ratios = [(name, CRYPTOGRAPHY) for name in values if name != CRYPTOGRAPHY]
    yield Section(TITLE, NOTE, [Group("import", "ms", values, ratios)], absent)
