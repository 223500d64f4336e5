"""What a lock adds to a request, on the same application of the same framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .drive import App, Door
from .rounds import (
    FEWEST_CALLS,
    OURS,
    RAW,
    WARM,
    WITHOUT,
    Effort,
    Group,
    Section,
    Turn,
    calling,
    calls_for,
    take_turns,
)
from .stacks import STACKS, Stack
from .tokens import Signer, raw_check, signer_of

ADDED_NOTE = """\
Microseconds that a lock adds to a request; the application without one in its own
column. *Hot*: a token that comes again; *cold*: one that was never seen."""
REFUSED_NOTE = """\
Microseconds of a whole request that is refused, and so never reaches the application,
which stands beside it without a lock. *Forged*: with the signature of another; what is
given in bytes is garbage in the shape of a token."""
LENGTHS = {"700 B": 700, "8 KB": 8_000, "16 KB": 16_000, "60 KB": 60_000}


@dataclass(frozen=True)
class Scenario:
    """What is sent, and whether it is good."""

    name: str
    token: Callable[[Signer], str | None]
    is_good: bool = False
    is_cold: bool = False


def first(signer: Signer) -> str:
    return signer.distinct(1)[0]


GOOD = (
    Scenario("hot", first, is_good=True),
    Scenario("cold", first, is_good=True, is_cold=True),
)
BAD = (
    Scenario("missing", lambda signer: None),
    Scenario("expired", Signer.expired),
    Scenario("forged", Signer.forged),
    *(
        Scenario(name, partial(Signer.garbage, length=length))
        for name, length in LENGTHS.items()
    ),
)


class Requests:
    """Sends those of one scenario, and sees that they end as they should."""

    def __init__(self, scenario: Scenario, signer: Signer, effort: Effort) -> None:
        self._scenario, self._effort, self._signer = scenario, effort, signer
        self._token = scenario.token(signer)

    def turn(self, door: Door, app: App, *, is_locked: bool = True) -> Turn:
        """Seconds of a request; the outcome is asserted before and in each turn."""
        wants_good = self._scenario.is_good or not is_locked

        def send(tokens: Sequence[str | None]) -> float:
            headers = [None if token is None else f"Bearer {token}" for token in tokens]
            seconds, statuses = door.seconds(app, headers)
            assert all(is_right(status, wants_good) for status in statuses), statuses
            return seconds

        if self._scenario.is_cold:
            coming = iter(self._signer.distinct(self._pool))
            calls = self._effort.cold_calls
            send([next(coming) for _ in range(calls)])
            return lambda: send([next(coming) for _ in range(calls)])
        call_s = send([self._token] * FEWEST_CALLS)
        calls = WARM + calls_for(self._effort.turn_s, call_s)
        return lambda: send([self._token] * calls)

    @property
    def _pool(self) -> int:
        return (self._effort.rounds + 1) * self._effort.cold_calls


def is_right(status: int, wants_good: bool) -> bool:
    return status == 200 if wants_good else 400 <= status < 500


def group(
    stack: Stack, scenario: Scenario, signer: Signer, effort: Effort
) -> tuple[Group, list[str]]:
    """All contenders anew, so that no cache knows a token."""
    door, requests = stack.door(), Requests(scenario, signer, effort)
    apps, absent = stack.locked(signer, has_peers=effort.has_peers)
    turns = {
        WITHOUT: requests.turn(door, stack.plain(), is_locked=False),
        RAW: calling(raw_check(signer), effort.turn_s),
        **{name: requests.turn(door, app) for name, app in apps.items()},
    }
    values = take_turns(turns, effort.rounds, effort.seed)
    told = {name: [1e6 * s for s in seconds] for name, seconds in values.items()}
    for name in apps if scenario.is_good else ():
        pairs = zip(told[name], told[WITHOUT], strict=True)
        told[name] = [locked - without for locked, without in pairs]
    ratios = [(OURS, name) for name in (RAW, *apps) if name != OURS]
    return Group(f"{signer.name}, {scenario.name}", "µs", told, ratios), absent


def section(
    title: str,
    stack: Stack,
    asked: Sequence[tuple[str, Scenario]],
    effort: Effort,
) -> Section:
    """What was *asked*: algorithms and scenarios, all of which are good or bad."""
    groups, absent = [], list[str]()
    note = ADDED_NOTE if asked[0][1].is_good else REFUSED_NOTE
    try:
        for algorithm, scenario in asked:
            found, missing = group(stack, scenario, signer_of(algorithm), effort)
            groups.append(found)
            absent += missing
    except ModuleNotFoundError as error:
        absent.append(f"this framework: {error}")
    return Section(title, note, groups, tuple(dict.fromkeys(absent)))


def measure(effort: Effort) -> Iterator[Section]:
    good = [(name, scenario) for name in effort.algorithms for scenario in GOOD]
    bad = [("RS256", scenario) for scenario in BAD]
    for name, stack in STACKS.items():
        yield section(f"Requests: {name}", stack, good, effort)
    for name, stack in STACKS.items():
        yield section(f"Refusals: {name}", stack, bad, effort)
