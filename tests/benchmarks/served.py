"""What real servers load: the application of a stack, behind a lock or without one.

The environment says which, and gives the key as a JWK.
"""

from __future__ import annotations

import json
import os

from jwt_middleware import Key

from .drive import App
from .rounds import OURS, WITHOUT
from .stacks import STACKS
from .tokens import Signer

STACK, LOCK, JWK = "BENCHMARK_STACK", "BENCHMARK_LOCK", "BENCHMARK_JWK"


def load() -> App:
    """For a server to call."""
    stack, lock = STACKS[os.environ[STACK]], os.environ[LOCK]
    if lock == WITHOUT:
        return stack.plain()
    signer = Signer(Key.from_jwk(json.loads(os.environ[JWK])))
    return stack.ours(signer) if lock == OURS else stack.peers[lock](signer)
