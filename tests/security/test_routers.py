"""Whatever a server and a router make of a path, the rules hold.

A differential test: a grammar writes request targets (`targets`), servers are imitated
in what they make of them (`request_lines`), and the routers are the real ones
(`frameworks`).  If a handler runs, the request had what the handler's plain path asks
for (`routes`).  Real servers get request lines over a socket.

The seed of a run is printed with each failure.  ``ROUTERS_SEED`` sets another one than
the default, and ``ROUTERS_CASES`` the number of targets for each framework: set both to
look for new ways around the rules.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SIGNING_KEY, authenticator, mint_token

from .frameworks import DIRECT, FRAMEWORKS, Framework
from .in_process import ASK, Outcome
from .lenient import HEADER, STEPS
from .raw_requests import SERVERS, Server, ask
from .request_lines import ROOT, Reading, any_reading, orderly_readings
from .routes import (
    CREDENTIALS,
    FILES,
    RULE_SETS,
    TABLES,
    Route,
    Run,
    read_answer,
    write_files,
)
from .targets import target

# WebOb's, under Python 3.11 and 3.12; and FastAPI's, where applications have a root.
pytestmark = [
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated"),
    pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated"),
]

SEED = int(os.environ.get("ROUTERS_SEED") or 1)
CASES = int(os.environ.get("ROUTERS_CASES") or 250)
"""Targets for each framework, each sent with several credentials."""
SHOWN = 5
"""Failures that are printed, the shortest first."""


ADDED = Reading(ROOT, root_is_added=True)
BELOW = Reading(ROOT)
KNOWN = {
    "a target without its first slash": ("quart", ADDED, "admin/x", ""),
    "a root without a slash after it": ("litestar", BELOW, "/apiadmin/x", ""),
    "a root that stands elsewhere": ("litestar", BELOW, "/x/api/admin/x", ""),
    "a router that ignores case": ("blacksheep", Reading(), "/Admin/x", ""),
    "a pattern that ignores case": ("django-caseless", Reading(), "/ADMIN/x", ""),
    "a letter that is another one without case": (
        *("starlette-caseless", Reading(), "/adm%c4%b1n/x", ""),
    ),
    "files whose names have no case": (
        *("starlette-caseless", Reading(), "/static/INNER/secret.txt", ""),
    ),
    "full-width letters": (
        *("lenient", Reading(), "/%ef%bd%81dmin/x", "compatibility"),
    ),
    "dots that a catch-all takes literally": (
        *("flask", Reading(), "//admin/purge/../..", ""),
    ),
    "dots that do not lead out of a folder of files": (
        *("pyramid", Reading(), "/static/%2e%2e/inner/secret.txt", ""),
    ),
    "the absolute form": ("quart", Reading(), "http://h/admin/x", ""),
    "octets that are dropped": ("bottle", Reading(), "/adm%FFin/x", ""),
    "what is encoded three times": (
        *("lenient", Reading(), "/%252561dmin/x", "decode decode-all"),
    ),
    "a root of FastAPI's own": ("fastapi-root", Reading(), "/api/admin/x", ""),
    "a root of Django's own": ("django-asgi-root", Reading(), "/api/admin/x", ""),
}
"""Ways around the rules that were open once: framework, reading, target and steps."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    write_files(folder)
    return folder


@pytest.fixture(scope="module")
def tokens() -> Mapping[str, str | None]:
    """The text of the token of each credential."""
    return {
        name: None if scopes is None else mint_token(scope=scopes)
        for name, scopes in CREDENTIALS.items()
    }


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and everything that it takes to send it again."""

    reading: Reading
    method: str
    target: str
    sent: str
    """The name of the credentials."""
    steps: str = ""
    """What rewrites the path behind the middleware."""


@dataclass(frozen=True, slots=True)
class Site:
    """One application: a framework with a table of routes and a set of rules."""

    framework: Framework
    table: str
    rule_set: str
    app: Any
    tokens: Mapping[str, str | None]

    async def ask(self, case: Case) -> Outcome:
        headers = {"Host": "api.example", HEADER: case.steps}
        if token := self.tokens[case.sent]:
            headers["Authorization"] = f"Bearer {token}"
        shape = {"asgi": case.reading.scope, "wsgi": case.reading.environ}
        request = shape[self.framework.kind](case.method, case.target, headers)
        return await ASK[self.framework.kind](self.app, request, case.sent)

    async def failures(self, case: Case) -> list[str]:
        """What is wrong with the outcome of *case*, in words."""
        outcome = await self.ask(case)
        needs = [run.lacks(self.rule_set) for run in outcome.runs]
        wrong = [f"let in without {need!r}" for need in needs if need]
        if case.sent == "all" and outcome.is_refused:
            wrong.append("kept out")
        return [self.explained(case, outcome, what) for what in wrong]

    def explained(self, case: Case, outcome: Outcome, what: str) -> str:
        return (
            f"{what}: {case.method} {case.target!r} as {case.sent}; "
            f"{self.framework.name}, routes {self.table}, rules {self.rule_set}\n"
            f"  read as {case.reading}, rewritten by {case.steps!r}\n"
            f"  status {outcome.status}, ran {outcome.runs}, {outcome.body[:120]!r}"
        )


@pytest.fixture(params=FRAMEWORKS, ids=lambda framework: framework.name)
def framework(request: pytest.FixtureRequest) -> Framework:
    chosen: Framework = request.param
    ensure_installed(chosen.module)
    return chosen


def ensure_installed(module: str) -> None:
    """Skip the test if *module* is not installed."""
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")


def sites(
    framework: Framework, files: Path, tokens: Mapping[str, str | None]
) -> Iterator[Site]:
    """*framework* with each table and each set of rules, one after the other."""
    for rule_set, rules in RULE_SETS.items():
        auth = authenticator(rules=rules)
        for table, routes in TABLES.items():
            with framework.guarded(auth, routes, files) as app:
                yield Site(framework, table, rule_set, app, tokens)


def report(failures: list[str]) -> str:
    shown = "\n".join(sorted(failures, key=len)[:SHOWN])
    return f"ROUTERS_SEED={SEED} ROUTERS_CASES={CASES}: {len(failures)}\n{shown}"


def test_no_target_leads_around_a_rule(
    framework: Framework, files: Path, tokens: Mapping[str, str | None]
) -> None:
    """If a handler runs, the request had what the handler's plain path asks for.

    Nor is a token that holds every scope ever too little.
    """
    rng = random.Random(f"{SEED} {framework.name}")  # noqa: S311
    failures: list[str] = []

    async def attack(site: Site) -> None:
        for _ in range(CASES // 4):
            reading, method = (
                any_reading(rng),
                rng.choice(("GET", "GET", "POST", "get")),
            )
            if not framework.takes_off_root:
                reading = replace(reading, root="")
            aim = framework.prefix + target(rng) if rng.random() < 0.8 else target(rng)
            steps = " ".join(rng.sample(sorted(STEPS), rng.randint(0, 4)))
            for sent in ("anonymous", "read", rng.choice(("admin", "all"))):
                case = Case(
                    reading, method, aim, sent, steps if framework.is_rewritten else ""
                )
                failures.extend(await site.failures(case))

    for site in sites(framework, files, tokens):
        asyncio.run(attack(site))
    assert not failures, report(failures)


@pytest.mark.parametrize("way", KNOWN)
def test_no_known_way_leads_around_a_rule(
    way: str, files: Path, tokens: Mapping[str, str | None]
) -> None:
    """And each still leads to a handler, if the token is good enough."""
    name, reading, aim, steps = KNOWN[way]
    framework = next(known for known in FRAMEWORKS if known.name == name)
    ensure_installed(framework.module)

    async def walk(site: Site) -> None:
        for sent in CREDENTIALS:
            failures = await site.failures(Case(reading, "GET", aim, sent, steps))
            assert not failures, report(failures)
        outcome = await site.ask(Case(reading, "GET", aim, "all", steps))
        assert outcome.runs, f"nothing is served: {outcome}"

    for site in sites(framework, files, tokens):
        if site.table == "catching":
            asyncio.run(walk(site))


def test_plain_paths_let_in_whoever_may_enter(
    framework: Framework, files: Path, tokens: Mapping[str, str | None]
) -> None:
    """And nobody else, below each root that a server may have."""
    failures: list[str] = []

    async def visit(site: Site, route: Route, path: str, reading: Reading) -> None:
        for sent in CREDENTIALS:
            case = Case(reading, route.method, path, sent)
            scopes = CREDENTIALS[sent]
            held = None if scopes is None else frozenset(scopes.split())
            may_enter = Run(route, held).lacks(site.rule_set) is None
            outcome = await site.ask(case)
            has_entered = [run.route for run in outcome.runs] == [route]
            if not (has_entered if may_enter else outcome.is_refused):
                what = "kept out" if may_enter else "let in"
                failures.append(site.explained(case, outcome, what))

    async def visit_all(site: Site) -> None:
        for reading in orderly_readings(framework.kind):
            if not framework.serves_below(reading):
                continue
            # Falcon looks for files last, and the catch-all is before them.
            files = FILES if site.table == "bare" else ()
            for route in (*TABLES[site.table], *files):
                path = framework.prefix + route.sample
                await visit(site, route, reading.plain_target(path), reading)

    for site in sites(framework, files, tokens):
        asyncio.run(visit_all(site))
    assert not failures, report(failures)


@pytest.fixture(scope="module", params=SERVERS, ids=lambda server: server.name)
def served(request: pytest.FixtureRequest, files: Path) -> Iterator[tuple[Server, int]]:
    """Each real server in turn, and its port."""
    server: Server = request.param
    for module in (server.module, server.parser):
        if module:
            ensure_installed(module)
    environment = {
        **os.environ,
        "SERVED_KEY": json.dumps(SIGNING_KEY.public.to_jwk()),
        "SERVED_FILES": str(files),
        "PYTHONWARNINGS": "ignore",
    }
    with server.started(environment) as port:
        yield server, port


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends request lines to the applications of one real server."""

    server: Server
    port: int
    tokens: Mapping[str, str | None]

    def send(self, app: str, method: str, aim: bytes, sent: str) -> tuple[Outcome, str]:
        """Return the outcome, and a description of the request with it."""
        headers = {"Host": "api.example", "X-App": app}
        if token := self.tokens[sent]:
            headers["Authorization"] = f"Bearer {token}"
        status, text = ask(self.port, method, aim, headers)
        body = text.partition("\r\n\r\n")[2]
        outcome = Outcome(status, body, tuple(read_answer(body, sent)))
        told = f"{self.server.name}, {app}: {method} {aim!r} as {sent}: {outcome}"
        return outcome, told

    def apps(self) -> Iterator[tuple[str, str]]:
        """What ``X-App`` may say, and the set of rules that it means."""
        for framework in DIRECT:
            if self.server.root and not framework.takes_off_root:
                continue
            if framework.kind == self.server.kind and find_spec(framework.module):
                for rule_set in RULE_SETS:
                    yield f"{framework.name} {rule_set}", rule_set


def raw(rng: random.Random, text: str) -> bytes:
    """*text* as octets; now and then octets above ASCII are not encoded."""
    octets = text.encode()
    if rng.random() < 0.2:
        return re.sub(
            rb"%([89a-f][0-9a-f])",
            lambda found: bytes.fromhex(found[1].decode()),
            octets,
        )
    return octets


def test_no_request_line_leads_around_a_rule(
    served: tuple[Server, int], tokens: Mapping[str, str | None]
) -> None:
    """The same behind real servers, which get the very octets of the target."""
    server, port = served
    sender = Sender(server, port, tokens)
    rng = random.Random(f"{SEED} {server.name}")  # noqa: S311
    failures = []
    for app, rule_set in sender.apps():
        for _ in range(CASES // 10):
            begin = server.root if server.is_root_sent and rng.random() < 0.7 else ""
            aim, method = raw(rng, begin + target(rng)), rng.choice(("GET", "POST"))
            for sent in ("anonymous", "read", rng.choice(("admin", "all"))):
                outcome, told = sender.send(app, method, aim, sent)
                if any(run.lacks(rule_set) for run in outcome.runs):
                    failures.append(f"let in: {told}")
                if sent == "all" and outcome.is_refused:
                    failures.append(f"kept out: {told}")
    assert not failures, report(failures)


def test_request_lines_of_plain_paths_let_in_whoever_may_enter(
    served: tuple[Server, int], tokens: Mapping[str, str | None]
) -> None:
    server, port = served
    sender = Sender(server, port, tokens)
    failures = []
    for app, rule_set in sender.apps():
        for route in TABLES["catching"]:
            begin = server.root if server.is_root_sent else ""
            for sent in ("anonymous", "read", "all"):
                scopes = CREDENTIALS[sent]
                held = None if scopes is None else frozenset(scopes.split())
                may_enter = Run(route, held).lacks(rule_set) is None
                aim = (begin + route.sample).encode()
                outcome, told = sender.send(app, route.method, aim, sent)
                has_entered = [run.route for run in outcome.runs] == [route]
                if not (has_entered if may_enter else outcome.is_refused):
                    failures.append(f"kept out: {told}" if may_enter else f"in: {told}")
    assert not failures, report(failures)
