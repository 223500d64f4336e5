"""One picture: what each lock adds to a request whose token it has seen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from .rounds import OURS, RAW, WITHOUT
from .targets import Results, find

STACKS = {
    "WSGI": "bare WSGI",
    "ASGI": "bare ASGI",
    "Flask": "Flask",
    "Starlette": "Starlette",
    "FastAPI": "FastAPI",
    "Litestar": "Litestar",
}
GROUP = "RS256, hot"
TITLE = "Microseconds that a lock adds to a request"
SUBTITLE = "RS256 token that comes again and again; shorter is better"
INK, GREY, PAPER = "#1f2328", "#59636e", "#ffffff"
OUR_COLOUR, THEIR_COLOUR = "#0969da", "#c4ccd4"
BAR, GAP = 0.74, 0.6
WIDTH_IN, ROW_IN, EDGE_IN = 9.0, 0.3, 0.15
LEFT_IN, TOP_IN, BOTTOM_IN = 3.5, 0.85, 0.5
"""From the edges to the bars."""


@dataclass(frozen=True)
class Bar:
    stack: str
    contender: str
    added_us: float

    @property
    def is_ours(self) -> bool:
        return self.contender == OURS


def bars_of(results: Results) -> Sequence[Sequence[Bar]]:
    """By stack; ours first."""
    found = []
    for stack, shown in STACKS.items():
        group = find(results, f"Requests: {stack}", GROUP)
        if group is not None:
            names = [name for name in group.values if name not in (RAW, WITHOUT)]
            found.append(
                [Bar(shown, name, median(group.values[name])) for name in names]
            )
    return found


def draw(
    results: Results, about: Mapping[str, str], files: Sequence[Path]
) -> str | None:
    """Write the picture; return why not, where it cannot be drawn."""
    stacks = bars_of(results)
    if not stacks:
        return "no requests were measured"
    try:
        pyplot = import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        return str(error)
    rows = sum(len(bars) for bars in stacks) + GAP * (len(stacks) - 1)
    height_in = ROW_IN * rows + TOP_IN + BOTTOM_IN
    figure, axes = pyplot.subplots(figsize=(WIDTH_IN, height_in), facecolor=PAPER)
    _draw_bars(axes, stacks)
    _dress(figure, axes, about, height_in)
    for file in files:
        figure.savefig(file, facecolor=PAPER, metadata=_without_date(file))
    pyplot.close(figure)
    return None


def _draw_bars(axes: Any, stacks: Sequence[Sequence[Bar]]) -> None:
    longest = max(bar.added_us for bars in stacks for bar in bars)
    y = 0.0
    for bars in stacks:
        _write_beside(axes, y, bars[0].stack, LEFT_IN - EDGE_IN, ha="left", color=INK)
        for bar in bars:
            _draw_bar(axes, bar, y, longest)
            y += 1
        y += GAP
    axes.set_xlim(0, longest * 1.12)
    axes.set_ylim(y - GAP - 0.4, -0.6)


def _draw_bar(axes: Any, bar: Bar, y: float, longest: float) -> None:
    colour = OUR_COLOUR if bar.is_ours else THEIR_COLOUR
    ink = OUR_COLOUR if bar.is_ours else INK
    weight = "bold" if bar.is_ours else "normal"
    axes.barh(y, max(bar.added_us, 0), BAR, color=colour)
    label = f"{bar.added_us:.1f}" if bar.added_us < 10 else f"{bar.added_us:,.0f}"
    where = max(bar.added_us, 0) + longest * 0.012
    axes.text(where, y, label, va="center", color=ink, weight=weight)
    _write_beside(axes, y, bar.contender, 0.08, ha="right", color=ink, weight=weight)


def _write_beside(axes: Any, y: float, text: str, away_in: float, **style: str) -> None:
    """So far to the left of where the bars begin."""
    x = -away_in / (WIDTH_IN - LEFT_IN - EDGE_IN)
    axes.text(x, y, text, transform=axes.get_yaxis_transform(), va="center", **style)


def _dress(figure: Any, axes: Any, about: Mapping[str, str], height_in: float) -> None:
    """Title above, small print below; no frame, no ticks: the bars are labelled."""
    axes.set_axis_off()
    axes.axvline(0, color=GREY, linewidth=0.8)
    figure.subplots_adjust(
        left=LEFT_IN / WIDTH_IN,
        right=1 - EDGE_IN / WIDTH_IN,
        top=1 - TOP_IN / height_in,
        bottom=BOTTOM_IN / height_in,
    )
    x, top = EDGE_IN / WIDTH_IN, 1 - 0.33 / height_in
    figure.text(x, top, TITLE, size=14, weight="bold", color=INK)
    figure.text(x, top - 0.25 / height_in, SUBTITLE, size=10, color=GREY)
    told = f"{about['CPU']}; Python {about['Python']}; {about['date']}"
    small = f"In process, without a server; median of interleaved rounds. {told}"
    figure.text(x, 0.17 / height_in, small, size=8, color=GREY)


def _without_date(file: Path) -> Mapping[str, None]:
    return {"Date": None} if file.suffix == ".svg" else {}
