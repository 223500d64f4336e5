"""What was measured, in Markdown and in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .report import machine
from .rounds import Effort, Group, Section, middle
from .targets import Results, Target, targets

PACKAGES = (
    "jwt-asgi-wsgi",
    "pyjwt",
    "cryptography",
    "joserfc",
    "authlib",
    "flask",
    "flask-jwt-extended",
    "starlette",
    "fastapi",
    "litestar",
    "mcp",
    "uvicorn",
    "httptools",
    "granian",
    "gunicorn",
)
METHOD = """\
Contenders take turns, once in each round and in an order by chance; the garbage
collector is off while they do. Figures are medians of the rounds with their quartiles,
ratios are medians of the rounds' ratios with theirs. The microseconds are of this
machine and this day; the ratios travel better."""
MEANT = "| what | measured | meant | |\n|---|---:|---:|---|"


def surroundings() -> Mapping[str, str]:
    """The machine, the versions and the date."""
    installed = [name for name in PACKAGES if _is_installed(name)]
    now = datetime.now(UTC)
    return {"date": now.date().isoformat(), **machine(*installed)}


def markdown(results: Results, about: Mapping[str, str], effort: Effort) -> str:
    parts = [
        "# What a lock costs",
        "; ".join(f"{name} {value}" for name, value in about.items()) + ".",
        f"{METHOD} Rounds: {effort.rounds}; with real servers {effort.server_rounds}.",
        "## What was meant",
        "\n".join([MEANT, *(target_line(each, results) for each in targets())]),
    ]
    told = ""
    for section in results:
        parts.append(f"## {section.title}")
        if section.note != told:
            parts.append(section.note)
            told = section.note
        if section.groups:
            parts.append("\n".join(table(section)))
        parts += [f"Not measured: {why}." for why in section.absent]
    return "\n\n".join(parts) + "\n"


def table(section: Section) -> Iterator[str]:
    """A line for each group; a column for each contender and for each ratio.

    Where a group lacks a contender that another has, its cell is empty.
    """
    groups = section.groups
    names = list(dict.fromkeys(name for group in groups for name in group.values))
    ratios = list(dict.fromkeys(pair for group in groups for pair in group.ratios))
    heads = [*names, *(f"{over} ÷ {under}" for over, under in ratios)]
    yield _line("", *heads)
    yield _line("---", *["---:"] * len(heads))
    for group in groups:
        figures = [_figure(group.values.get(name)) for name in names]
        divided = [
            _figure(group.ratio(*pair) if pair in group.ratios else None)
            for pair in ratios
        ]
        yield _line(f"{group.title}, {group.unit}", *figures, *divided)


def as_json(results: Results, about: Mapping[str, str], effort: Effort) -> str:
    """All values of all rounds, and the medians and quartiles of the ratios."""
    content = {
        "machine": about,
        "rounds": effort.rounds,
        "targets": [_target_json(target, results) for target in targets()],
        "sections": [
            {
                "title": section.title,
                "absent": list(section.absent),
                "groups": [_group_json(group) for group in section.groups],
            }
            for section in results
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write(results: Results, effort: Effort, folder: Path) -> str:
    """Write both files, and return the Markdown."""
    about = surroundings()
    text = markdown(results, about, effort)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text)
    (folder / "results.json").write_text(as_json(results, about, effort))
    return text


def target_line(target: Target, results: Results) -> str:
    meant = f"{'≥' if target.is_least else '≤'} {target.limit:g} {target.unit}".rstrip()
    values = target.measure(results)
    if values is None:
        return _line(target.text, "–", meant, "not measured")
    is_met = target.is_met(middle(values)[0])
    told = f"{_figure(values)} {target.unit}".rstrip()
    return _line(target.text, told, meant, "met" if is_met else "**not met**")


def _target_json(target: Target, results: Results) -> Mapping[str, Any]:
    values = target.measure(results)
    measured = None if values is None else middle(values)[0]
    return {
        "what": target.text,
        "unit": target.unit,
        "meant": target.limit,
        "is_least": target.is_least,
        "measured": measured,
        "is_met": None if measured is None else target.is_met(measured),
    }


def _group_json(group: Group) -> Mapping[str, Any]:
    return {
        "title": group.title,
        "unit": group.unit,
        "values": {
            name: [round(value, 4) for value in values]
            for name, values in group.values.items()
        },
        "ratios": {
            f"{over} / {under}": {"median": median, "quartiles": quartiles}
            for over, under in group.ratios
            for median, *quartiles in [middle(group.ratio(over, under))]
        },
    }


def _figure(values: Sequence[float] | None) -> str:
    if values is None:
        return ""
    median, low, high = (_number(value) for value in middle(values))
    return median if low == high else f"{median} [{low}–{high}]"


def _number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
