"""The benchmarks still run; what they measure is for people to read."""

from __future__ import annotations

import json
from pathlib import Path

from .interpreters import printed
from .redis_server import find_binary

TIMEOUT_S = 120
CONTENDERS = ["jwt_middleware", "PyJWKClient", "PyJWKClient, to_thread"]
ROWS = [
    ("nothing is fetched", "p50, ms"),
    ("nothing is fetched", "p99, ms"),
    ("unknown key; hangs", "p50, ms"),
    ("unknown key; hangs", "p99, ms"),
    ("unknown key; hangs", "fetches"),
    ("set is due; hangs", "p50, ms"),
    ("set is due; hangs", "p99, ms"),
    ("set is due; hangs", "fetches"),
    ("set has ended; hangs", "p50, ms"),
    ("set has ended; hangs", "p99, ms"),
    ("set has ended; hangs", "fetches"),
    ("cold, 50 at once; hangs", "last, ms"),
    ("cold, 50 at once; hangs", "fetches"),
    ("set has ended, 50 at once; 500", "accepted"),
    ("set has ended, 50 at once; 500", "last, ms"),
    ("set has ended, 50 at once; 500", "fetches"),
]
"""Scenario and measure."""

PROPAGATION_ROWS = [
    (scenario, measure)
    for scenario in ("readers idle", "readers busy")
    for measure in ("p50, ms", "p99, ms", "most, ms")
]


def test_hanging_fetch_measures_every_row(tmp_path: Path) -> None:
    """In a process of its own, as people run it; it asserts every status itself."""
    file = tmp_path / "measures.json"
    module = "tests.benchmarks.hanging_fetch"
    arguments = ("-m", module, "--quick", "--json", str(file))
    told = printed(*arguments, timeout=TIMEOUT_S)
    lines = [line for line in told.splitlines() if line.startswith("|")]
    head, _, *table = [line.strip("| ").split(" | ") for line in lines]
    assert head[2:5] == CONTENDERS
    assert [(row[0], row[1]) for row in table] == ROWS
    assert all(len(row) == len(head) for row in table)
    results = json.loads(file.read_text())["results"]
    assert list(results) == list(dict.fromkeys(scenario for scenario, _ in ROWS))
    assert all(list(by_name) == CONTENDERS for by_name in results.values())


def test_propagation_measures_every_row(tmp_path: Path) -> None:
    """It asserts itself that every mark is seen by every reader."""
    find_binary()  # skips the test if there is no Redis server
    file = tmp_path / "measures.json"
    module = "tests.benchmarks.propagation"
    arguments = ("-m", module, "--quick", "--json", str(file))
    told = printed(*arguments, timeout=TIMEOUT_S)
    lines = [line for line in told.splitlines() if line.startswith("|")]
    head, _, *table = [line.strip("| ").split(" | ") for line in lines]
    assert head[2:] == ["SQLiteStore", "RedisStore", "RedisStore / ours"]
    assert [(row[0], row[1]) for row in table] == PROPAGATION_ROWS
    results = json.loads(file.read_text())["results"]
    assert list(results) == ["readers idle", "readers busy"]
    assert all(
        list(by_name) == ["SQLiteStore", "RedisStore"] for by_name in results.values()
    )
