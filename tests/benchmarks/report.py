"""A table of what was measured, and on what."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

Row = tuple[str, str, Mapping[str, Sequence[float]]]
"""A scenario, a measure, and by contender the values of all rounds; ours is first."""


def table(rows: Iterable[Row], contenders: Iterable[str]) -> Iterator[str]:
    """In Markdown: median and range of each measure, and how theirs is to ours."""
    ours, *theirs = contenders
    heads = [ours, *theirs, *(f"{name} / ours" for name in theirs)]
    yield _line("scenario", "measure", *heads)
    yield _line("---", "---", *["---:"] * len(heads))
    for scenario, measure, values in rows:
        told = [_spread(values[name]) for name in (ours, *theirs)]
        ratios = [_ratio(values[name], values[ours]) for name in theirs]
        yield _line(scenario, measure, *told, *ratios)


def machine(*libraries: str) -> Mapping[str, str]:
    """The processor, and the versions of Python and of *libraries*."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [
        line.partition(": ")[2] for line in lines if line.startswith("model name")
    ]
    return {
        "CPU": f"{[*models, platform.processor()][0]}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        **{name: version(name) for name in libraries},
    }


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    middle, least, most = (f"{f(values):.4g}" for f in (median, min, max))
    return f"{middle} [{least}–{most}]"


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """The median of the rounds' ratios."""
    if not all(ours):
        return "-"
    return f"{median(a / b for a, b in zip(theirs, ours, strict=True)):.3g}"
