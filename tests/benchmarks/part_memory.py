"""What cached tokens cost: memory, and time of the garbage collector."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Iterator

from jwt_middleware import Authenticator

from .rounds import Effort, Group, Section
from .tokens import Signer, signer_of

MEMORY, COLLECTION = "Memory of cached tokens", "Garbage collection of cached tokens"
PER_TOKEN, PAYLOAD = "each cached token", "payload of a token"
WITH, NONE = "with", "without"
MEMORY_NOTE = "Traced by `tracemalloc`; HS256, twice the `cache_size`."
MEMORY_ROUNDS = 3
WARM = 8


def collection_note(kept: int) -> str:
    return f"""\
A full collection after {kept:,} tokens came once, with twice the `cache_size`, and
before; the rest of the process is frozen, so that nothing else is walked over."""


def measure(effort: Effort) -> Iterator[Section]:
    signer = signer_of("HS256")
    yield Section(MEMORY, MEMORY_NOTE, [memory(signer, effort)])
    yield Section(
        COLLECTION, collection_note(effort.kept), [collection(signer, effort)]
    )


def memory(signer: Signer, effort: Effort) -> Group:
    number = max(WARM, effort.kept // 10)
    rounds = min(MEMORY_ROUNDS, effort.rounds)
    tokens = [traced(signer, number) for _ in range(rounds)]
    payload = 3 * len(signer.mint(number).split(".")[1]) / 4
    values = {PER_TOKEN: tokens, PAYLOAD: [payload] * rounds}
    return Group(f"{number:,} tokens", "B", values, ())


def traced(signer: Signer, number: int) -> float:
    """Octets for each, of an authenticator that is warm."""
    auth = signer.authenticator(cache_size=2 * (WARM + number))
    show(auth, signer, range(WARM))
    gc.collect()
    tracemalloc.start()
    try:
        show(auth, signer, range(WARM, WARM + number))
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / number
    finally:
        tracemalloc.stop()


def collection(signer: Signer, effort: Effort) -> Group:
    """Before an authenticator has seen tokens, and after."""
    values: dict[str, list[float]] = {WITH: [], NONE: []}
    gc.collect()
    gc.freeze()
    auth = signer.authenticator(cache_size=2 * effort.kept)
    try:
        for _ in range(effort.rounds):
            values[NONE].append(full_collection_ms())
        show(auth, signer, range(effort.kept))
        for _ in range(effort.rounds):
            values[WITH].append(full_collection_ms())
    finally:
        gc.unfreeze()
    return Group(f"{effort.kept:,} tokens", "ms", values, ())


def show(auth: Authenticator, signer: Signer, numbers: range) -> None:
    for number in numbers:
        auth.authenticate(signer.mint(number))


def full_collection_ms() -> float:
    began = time.perf_counter()
    gc.collect()
    return 1e3 * (time.perf_counter() - began)
