"""What a lock costs, ours beside others.

    python -m tests.benchmarks [PART ...] [--quick] [--results FOLDER]

A few minutes; with --quick, a look.  Contenders that are not installed are listed as
such; ``pip install -e '.[benchmarks]'`` installs all.  Requests to real servers are
sent by wrk where it is installed.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from . import (
    output,
    part_cold,
    part_imports,
    part_memory,
    part_requests,
    part_scale,
    part_servers,
    part_threads,
    picture,
)
from .rounds import QUICK, TINY, Effort, Section

RESULTS = Path(__file__).parent / "results"
PARTS: Mapping[str, Callable[[Effort], Iterator[Section]]] = {
    "cold": part_cold.measure,
    "requests": part_requests.measure,
    "servers": part_servers.measure,
    "threads": part_threads.measure,
    "memory": part_memory.measure,
    "scale": part_scale.measure,
    "imports": part_imports.measure,
}


def measured(parts: Sequence[str], effort: Effort) -> list[Section]:
    results: list[Section] = []
    for name in parts:
        began = time.monotonic()
        results += PARTS[name](effort)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return results


def read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all"
    )
    efforts = parser.add_mutually_exclusive_group()
    efforts.add_argument("--quick", action="store_true", help="a look")
    efforts.add_argument(
        "--tiny", action="store_true", help="show that all runs; the figures are void"
    )
    parser.add_argument("--no-peers", action="store_true", help="ours alone")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=Effort.seed)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--png", action="store_true", help="the picture as PNG as well")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def effort_of(options: argparse.Namespace) -> Effort:
    effort = QUICK if options.quick else TINY if options.tiny else Effort()
    effort = replace(effort, has_peers=not options.no_peers, seed=options.seed)
    return replace(effort, rounds=options.rounds) if options.rounds else effort


def main(arguments: Sequence[str]) -> None:
    options = read(arguments)
    logging.disable(logging.CRITICAL)  # refusals are meant, and each would be told
    warnings.filterwarnings("ignore", "EdDSA is deprecated")  # joserfc
    effort = effort_of(options)
    results = measured(options.parts or list(PARTS), effort)
    print(output.write(results, effort, options.results))
    files = [options.results / "results.svg"]
    if options.png:
        files.append(options.results / "results.png")
    why_not = picture.draw(results, output.surroundings(), files)
    if why_not:
        print(f"No picture: {why_not}.", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
