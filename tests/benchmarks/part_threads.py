"""How long one request takes beside threads that compute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import quantiles

from .peers import pyjwt_decode
from .rounds import OURS, Effort, Group, Section, take_turns
from .tokens import signer_of

TITLE = "Beside three busy threads"
BUSY = 3
PAUSE_S = 0.001
NOTE = f"""\
One hot token, RS256, while {BUSY} threads compute in Python. Who lets go of the
interpreter has to win it back from them."""
MEDIAN, P99 = "median", "99th percentile"


def measure(effort: Effort) -> Iterator[Section]:
    signer = signer_of("RS256")
    (token,) = signer.distinct(1)
    calls: dict[str, Callable[[str], object]] = {
        OURS: signer.authenticator().authenticate
    }
    if effort.has_peers:
        calls["PyJWT"] = pyjwt_decode(signer)
    took: dict[str, list[float]] = {name: [] for name in calls}

    def turn(name: str) -> Callable[[], float]:
        def one_turn() -> float:
            took[name] += latencies(calls[name], token, effort.beside_threads)
            return took[name][-1]

        return one_turn

    for call in calls.values():
        call(token)
    with busy_threads():
        take_turns({name: turn(name) for name in calls}, effort.rounds, effort.seed)
    ratios = [(OURS, name) for name in calls if name != OURS]
    groups = [
        Group(title, "ms", {name: [told(took[name])] for name in calls}, ratios)
        for title, told in ((MEDIAN, half), (P99, p99))
    ]
    yield Section(TITLE, NOTE, groups)


def latencies(call: Callable[[str], object], token: str, count: int) -> Sequence[float]:
    """Milliseconds of each call; between two, others get their turn."""

    def one() -> float:
        time.sleep(PAUSE_S)
        text = token.encode().decode()
        began = time.perf_counter()
        call(text)
        return 1e3 * (time.perf_counter() - began)

    return [one() for _ in range(count)]


@contextmanager
def busy_threads() -> Iterator[None]:
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute) for _ in range(BUSY)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def half(values: Sequence[float]) -> float:
    return quantiles(values, n=2, method="inclusive")[0]


def p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100, method="inclusive")[-1]
