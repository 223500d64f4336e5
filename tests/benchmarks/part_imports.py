"""How long an import takes, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from .rounds import OURS, Effort, Group, Section, Turn, take_turns

TITLE = "Import"
NOTE = (
    "Milliseconds, each time in a fresh process; the bytecode is there, as after an "
    "installation.  `import jwt_middleware` loads only what is then used of it: the "
    "columns beside it tell what an app that verifies needs."
)
CRYPTOGRAPHY = "cryptography, to verify"
NAMES = """\
from jwt_middleware import Authenticator, BearerHeader, Key, Rule, TrustedIssuer
"""
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
"""The key of RFC 8037 §A.2."""
STATEMENTS: Mapping[str, str] = {
    CRYPTOGRAPHY: """\
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
""",
    OURS: "import jwt_middleware",
    f"{OURS}, ASGI": f"{NAMES}from jwt_middleware.asgi import JWTMiddleware\n",
    f"{OURS}, WSGI": f"{NAMES}from jwt_middleware.wsgi import JWTMiddleware\n",
    f"{OURS}, ASGI and a key": f"""\
{NAMES}from jwt_middleware.asgi import JWTMiddleware
Key.from_jwk({{"kty": "OKP", "crv": "Ed25519", "x": "{PUBLIC}"}})
""",
}
PEERS: Mapping[str, str] = {"PyJWT": "jwt", "flask-jwt-extended": "flask_jwt_extended"}
PROGRAM = """\
import time
began = time.perf_counter()
{statement}
print(time.perf_counter() - began)
"""


def importing(statement: str, bytecode: str) -> Turn:
    """A turn that finds the bytecode of all in the folder *bytecode*."""
    command = [sys.executable, "-c", PROGRAM.format(statement=statement)]
    kept = {"PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    environment = {**os.environ, **kept}

    def milliseconds() -> float:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        )
        return 1e3 * float(ended.stdout)

    milliseconds()  # so that all is compiled, and in the system's cache
    return milliseconds


def measure(effort: Effort) -> Iterator[Section]:
    statements, absent = dict(STATEMENTS), list[str]()
    for name, module in PEERS.items() if effort.has_peers else ():
        if find_spec(module):
            statements[name] = f"import {module}"
        else:
            absent.append(f"{name}: No module named '{module}'")
    with TemporaryDirectory() as bytecode:
        turns = {name: importing(code, bytecode) for name, code in statements.items()}
        values = take_turns(turns, effort.rounds, effort.seed)
    ratios = [(name, CRYPTOGRAPHY) for name in values if name != CRYPTOGRAPHY]
    yield Section(TITLE, NOTE, [Group("import", "ms", values, ratios)], absent)
