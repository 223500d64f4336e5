"""What the measures are meant to be, as ratios wherever a machine would else decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from . import part_cold, part_imports, part_memory, part_scale, part_threads
from .part_servers import CPU
from .rounds import OURS, RAW, WITHOUT, Group, Section

Results = Sequence[Section]
KEPT = "100,000 tokens"
LEAST_KEPT_B = 16
Measure = Callable[[Results], Sequence[float] | None]
"""A value for each round; None where it was not measured."""


@dataclass(frozen=True)
class Target:
    text: str
    limit: float
    measure: Measure
    is_least: bool = False
    """Whether the limit is the least, not the most."""
    unit: str = ""

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.is_least else value <= self.limit


def find(results: Results, section: str, group: str) -> Group | None:
    for each in results:
        if each.title == section:
            for found in each.groups:
                if found.title.startswith(group):
                    return found
    return None


def ratio(section: str, group: str, over: str, under: str) -> Measure:
    def measure(results: Results) -> Sequence[float] | None:
        found = find(results, section, group)
        if found is None or not {over, under} <= set(found.values):
            return None
        return found.ratio(over, under)

    return measure


def over_best_peer(stack: str, group: str) -> Measure:
    """Ours by the peer that adds least."""

    def measure(results: Results) -> Sequence[float] | None:
        found = find(results, f"Requests: {stack}", group)
        peers = set(found.values) - {WITHOUT, RAW, OURS} if found else set()
        if found is None or not peers:
            return None
        best = min(sorted(peers), key=lambda name: median(found.values[name]))
        return found.ratio(OURS, best)

    return measure


def value(section: str, group: str, name: str, minus: str | None = None) -> Measure:
    def measure(results: Results) -> Sequence[float] | None:
        found = find(results, section, group)
        if found is None:
            return None
        values = found.values[name]
        if minus is None:
            return values
        without = median(found.values[minus])
        return [each - without for each in values]

    return measure


def if_kept(measure: Measure) -> Measure:
    """Where no token is cached, it costs nothing, and that says nothing."""

    def measured(results: Results) -> Sequence[float] | None:
        memory = value(part_memory.MEMORY, "", part_memory.PER_TOKEN)(results)
        is_kept = memory is not None and median(memory) > LEAST_KEPT_B
        return measure(results) if is_kept else None

    return measured


def _cold() -> Sequence[Target]:
    limits = {"RS256": 1.6, "ES256": 1.3, "Ed25519": 1.15, "ES384": 1.1, "HS256": 5.0}
    return [
        Target(
            f"cold verification ÷ raw check, {name}",
            limit,
            ratio(part_cold.TITLE, name, OURS, RAW),
        )
        for name, limit in limits.items()
    ]


def _requests() -> Sequence[Target]:
    found, doors = list[Target](), ("ASGI", "WSGI")
    for door in doors:
        hot = ratio(f"Requests: {door}", "RS256, hot", OURS, RAW)
        text = f"hot, added to a bare {door} app ÷ raw RS256 check"
        found.append(Target(text, 0.22, hot))
    for stack in ("Flask", "Starlette", "FastAPI", "Litestar", "ASGI"):
        name = "ASGI (MCP SDK)" if stack == "ASGI" else stack
        text = f"hot, added ÷ best peer on {name}"
        found.append(Target(text, 0.06, over_best_peer(stack, "RS256, hot")))
    return found


def _refusals() -> Sequence[Target]:
    found: list[Target] = []
    limits = {"16 KB": 0.1, "60 KB": 0.1, "8 KB": 2.5}
    for door in ("ASGI", "WSGI"):
        section = f"Refusals: {door}"
        missing = value(section, "RS256, missing", OURS, WITHOUT)
        text = f"no credentials, added to a bare {door} app"
        found.append(Target(text, 3.0, missing, unit="µs"))
        for scenario, limit in limits.items():
            refused = ratio(section, f"RS256, {scenario}", OURS, RAW)
            text = f"{scenario} of garbage, refused by {door} ÷ raw RS256 check"
            found.append(Target(text, limit, refused))
    return found


def _servers() -> Sequence[Target]:
    limits = {"uvicorn": 0.85, "granian": 0.88, "gunicorn": 0.93}
    return [
        Target(
            f"{name}: CPU of a request without ÷ with the lock",
            limit,
            ratio(f"Server: {name}", f"{name}, {CPU}", WITHOUT, OURS),
            is_least=True,
        )
        for name, limit in limits.items()
    ]


def _held() -> Sequence[Target]:
    cached, marks = part_scale.CACHED, part_scale.MARKS
    collection = part_memory.COLLECTION
    payload, token = part_memory.PAYLOAD, part_memory.PER_TOKEN
    return [
        Target(
            "hot at 1,000,000 live marks ÷ at none",
            1.2,
            ratio(f"Hot path {marks}", marks, "1,000,000", "0"),
        ),
        Target(
            "hot at 10,000 cached tokens ÷ at 100",
            1.3,
            ratio(f"Hot path {cached}", cached, "10,000", "100"),
        ),
        Target(
            "memory of a cached token, less its payload",
            400,
            if_kept(value(part_memory.MEMORY, "", token, payload)),
            unit="B",
        ),
        Target(
            f"full collection with {KEPT}, less without",
            10,
            if_kept(value(collection, KEPT, part_memory.WITH, part_memory.NONE)),
            unit="ms",
        ),
    ]


def targets() -> Sequence[Target]:
    p99 = value(part_threads.TITLE, part_threads.P99, OURS)
    imports = ratio(part_imports.TITLE, "import", OURS, part_imports.CRYPTOGRAPHY)
    return [
        *_cold(),
        *_requests(),
        *_refusals(),
        *_servers(),
        *_held(),
        Target("99th percentile of a hot request beside 3 threads", 1, p99, unit="ms"),
        Target("import ÷ what cryptography needs to verify", 1.3, imports),
    ]
