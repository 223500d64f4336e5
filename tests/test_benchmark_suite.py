"""The suite still runs, asserts outcomes, and tells what it measured as it was.

What it measures is for people to read: nothing here is about how fast anything is.
"""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest

from jwt_middleware import AuthError, Key

from .benchmarks import load, output, part_cold, part_requests, picture, plain, targets
from .benchmarks.drive import App
from .benchmarks.part_requests import BAD, GOOD, Scenario
from .benchmarks.peers import Unfit, pyjwt_decode
from .benchmarks.rounds import (
    OURS,
    RAW,
    TINY,
    WITHOUT,
    Group,
    Section,
    take_turns,
)
from .benchmarks.stacks import STACKS, Stack
from .benchmarks.targets import Target
from .benchmarks.tokens import Signer, raw_check, signer_of
from .servers import ROOT

TIMEOUT_S = 120
HAS_PROC = Path("/proc/self/task").exists()
ADDED = ["RS256, hot", "RS256, cold"]
REFUSED = [
    f"RS256, {name}"
    for name in ("missing", "expired", "forged", "700 B", "8 KB", "16 KB", "60 KB")
]
NAMES = ["RS256", "ES256", "Ed25519", "ES384", "HS256"]
OF_TEST_EXTRA = ("WSGI", "Flask", "ASGI", "Starlette", "FastAPI")
HOT, FORGED = GOOD[0], BAD[2]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny", "--no-peers"]
    return subprocess.run(
        [*command, "--results", str(folder), *arguments],
        cwd=ROOT,
        timeout=TIMEOUT_S,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_part_runs_and_tells_all_that_it_measured(tmp_path: Path) -> None:
    """In a process of its own, as people run it; it asserts every status itself."""
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "results.json").read_text())
    by_title = {section["title"]: section for section in told["sections"]}
    titles = {title: [g["title"] for g in s["groups"]] for title, s in by_title.items()}
    for stack in OF_TEST_EXTRA:
        assert titles[f"Requests: {stack}"] == ADDED
        assert titles[f"Refusals: {stack}"] == REFUSED
        assert by_title[f"Requests: {stack}"]["absent"] == []
    assert titles["Verifying a token that was never seen before"] == ["RS256", "ES384"]
    if HAS_PROC:
        assert len(titles["Server: uvicorn"]) == len(titles["Server: gunicorn"]) == 2
    for each in told["sections"]:
        for found in each["groups"]:
            assert all(found["values"].values()), found["title"]
            if found["title"].endswith("CPU of a request"):
                assert all(all(taken) for taken in found["values"].values())
    assert told["rounds"] == TINY.rounds
    assert told["machine"]["Python"] in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.md").read_text().strip() == ended.stdout.strip()


def test_one_part_can_be_chosen(tmp_path: Path) -> None:
    ended = run(tmp_path, "imports")
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "results.json").read_text())
    assert [section["title"] for section in told["sections"]] == ["Import"]
    assert "No picture: no requests were measured." in ended.stderr


def test_a_part_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, "imprts")
    assert ended.returncode == 2
    assert "no such part: imprts" in ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_good_tokens_verify_with_us_and_with_pyjwt(name: str) -> None:
    signer = signer_of(name)
    auth, decode = signer.authenticator(), pyjwt_decode(signer)
    tokens = signer.distinct(3)
    assert len(set(tokens)) == 3
    for token in tokens:
        assert dict(auth.authenticate(token)) == decode(token)
    assert raw_check(signer)() in (None, True)


@pytest.mark.parametrize("scenario", BAD[1:], ids=lambda each: each.name)
@pytest.mark.parametrize("name", NAMES)
def test_bad_tokens_verify_with_nobody(name: str, scenario: Scenario) -> None:
    signer = signer_of(name)
    token = scenario.token(signer)
    assert token is not None
    assert token.count(".") == 2
    with pytest.raises(AuthError):
        signer.authenticator().authenticate(token)
    with pytest.raises(jwt.PyJWTError):
        pyjwt_decode(signer)(token)


def test_no_token_comes_twice() -> None:
    signer = Signer(Key.generate("Ed25519"))
    first, more = signer.distinct(2), signer.distinct(5)
    assert more[:2] == first
    assert len(set(more)) == 5


def test_a_library_that_takes_a_forged_token_is_not_measured() -> None:
    with pytest.raises(AssertionError, match="forged"):
        part_cold.assert_refused(lambda token: "welcome", "forged")


def test_load_that_is_refused_is_not_measured() -> None:
    answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nok"

    class Refusing(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer((load.HOST, 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(AssertionError, match="401"):
                load.send_by_sockets(server.server_address[1], None, 0.0)
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("length", [700, 8_000, 60_000])
def test_garbage_is_as_long_as_it_says(length: int) -> None:
    assert abs(len(signer_of("RS256").garbage(length)) - length) < 3


def test_contenders_take_turns_in_an_order_by_chance() -> None:
    came: list[str] = []

    def turn(name: str) -> Callable[[], float]:
        def one() -> float:
            came.append(name)
            return float(len(came))

        return one

    values = take_turns({name: turn(name) for name in "abc"}, 20, seed=7)
    rounds = [tuple(came[first : first + 3]) for first in range(0, 60, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) == 6
    for name in "abc":
        assert values[name] == [i + 1 for i, who in enumerate(came) if who == name]


def fake(lets_in: Callable[[str | None], bool]) -> Callable[[Signer], App]:
    """A contender that judges by the header's text alone."""

    def build(signer: Signer) -> App:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            if lets_in(environ.get("HTTP_AUTHORIZATION")):
                return plain.wsgi_app(environ, start_response)
            start_response("401 Unauthorized", [])
            return []

        return app

    return build


def stack_of(**peers: Callable[[Signer], App]) -> Stack:
    stack = STACKS["WSGI"]
    return Stack(stack.door, stack.plain, stack.ours, peers)


def is_good(authorization: str | None) -> bool:
    good = signer_of("RS256").distinct(1)[0]
    return authorization == f"Bearer {good}"


def test_a_contender_is_measured_beside_ours() -> None:
    stack = stack_of(fake=fake(is_good))
    for scenario in (HOT, FORGED):
        found, absent = part_requests.group(stack, scenario, signer_of("RS256"), TINY)
        assert list(found.values) == [WITHOUT, RAW, OURS, "fake"]
        assert {len(values) for values in found.values.values()} == {TINY.rounds}
        assert (OURS, "fake") in found.ratios
        assert not absent


@pytest.mark.parametrize(
    ("answer", "scenario"), [(True, FORGED), (False, HOT)], ids=["all", "nobody"]
)
def test_a_contender_with_the_wrong_outcome_is_not_measured(
    answer: bool, scenario: Scenario
) -> None:
    stack = stack_of(fake=fake(lambda authorization: answer))
    with pytest.raises(AssertionError):
        part_requests.group(stack, scenario, signer_of("RS256"), TINY)


def test_a_contender_that_gives_way_later_is_not_measured() -> None:
    """Each turn asserts, not only the first."""
    asked: list[str | None] = []

    def tires(authorization: str | None) -> bool:
        asked.append(authorization)
        return len(asked) < 8

    with pytest.raises(AssertionError):
        part_requests.group(stack_of(fake=fake(tires)), HOT, signer_of("RS256"), TINY)
    assert len(asked) >= 8


class Clock:
    """A door behind which an application takes so long as it is told."""

    def __init__(self, alone: App) -> None:
        self._alone = alone

    def seconds(
        self, app: App, requests: Sequence[str | None]
    ) -> tuple[float, set[int]]:
        good = app is self._alone or is_good(requests[0])
        return 5e-6 if app is self._alone else 8e-6, {200 if good else 401}


@pytest.mark.parametrize(("scenario", "told_us"), [(HOT, 3), (FORGED, 8)])
def test_what_is_added_is_told_or_all_of_a_refusal(
    scenario: Scenario, told_us: float
) -> None:
    stack = STACKS["WSGI"]
    timed = Stack(lambda: Clock(plain.wsgi_app), stack.plain, stack.ours)
    found, _ = part_requests.group(timed, scenario, signer_of("RS256"), TINY)
    assert found.values[WITHOUT] == pytest.approx([5, 5])
    assert found.values[OURS] == pytest.approx([told_us, told_us])


def missing(signer: Signer) -> App:
    raise ModuleNotFoundError("No module named 'fake'")


def unfit(signer: Signer) -> App:
    raise Unfit("no EdDSA")


def test_contenders_that_cannot_be_had_are_listed() -> None:
    stack = stack_of(one=missing, two=unfit)
    asked = [("RS256", HOT)]
    section = part_requests.section("Requests: WSGI", stack, asked, TINY)
    assert section.absent == ("one: No module named 'fake'", "two: no EdDSA")
    assert list(section.groups[0].values) == [WITHOUT, RAW, OURS]
    about = {"CPU": "some"}
    text = output.markdown([section], about, TINY)
    assert "Not measured: one: No module named 'fake'." in text


def made(values: Mapping[str, Sequence[float]], stack: str = "Flask") -> Section:
    ratios = [(OURS, name) for name in values if name not in (OURS, WITHOUT)]
    group = Group("RS256, hot", "µs", values, ratios)
    return Section(f"Requests: {stack}", "", [group])


VALUES = {
    WITHOUT: [50.0, 50.0, 50.0],
    RAW: [20.0, 20.0, 20.0],
    OURS: [1.0, 2.0, 9.0],
    "slow": [300.0, 300.0, 300.0],
    "best": [100.0, 100.0, 300.0],
}


def test_a_ratio_is_the_median_of_the_rounds_and_not_of_the_medians() -> None:
    lines = list(output.table(made(VALUES)))
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    by_head = dict(zip(heads, cells, strict=True))
    assert by_head[OURS] == "2 [1.5–5.5]"
    assert by_head[f"{OURS} ÷ best"] == "0.02 [0.015–0.025]"
    assert by_head["slow"] == "300"


def test_the_best_peer_is_the_one_that_adds_least() -> None:
    measured = targets.over_best_peer("Flask", "RS256, hot")([made(VALUES)])
    assert measured == [0.01, 0.02, 0.03]


@pytest.mark.parametrize(
    ("limit", "is_least", "word"),
    [
        (2.0, False, "met"),
        (1.9, False, "**not met**"),
        (2.0, True, "met"),
        (2.1, True, "**not met**"),
    ],
)
def test_a_target_is_met_or_not(limit: float, is_least: bool, word: str) -> None:
    measure = targets.value("Requests: Flask", "RS256, hot", OURS)
    target = Target("what", limit, measure, is_least)
    line = output.target_line(target, [made(VALUES)])
    assert line.split(" | ")[-1] == f"{word} |"
    assert "2 [1.5–5.5]" in line


def test_a_target_that_was_not_measured_says_so() -> None:
    for target in targets.targets():
        assert output.target_line(target, []).endswith("| not measured |")


def test_the_picture_shows_what_locks_add_and_nothing_else() -> None:
    stacks = picture.bars_of([made(VALUES), made(VALUES, "ASGI")])
    assert [bars[0].stack for bars in stacks] == ["bare ASGI", "Flask"]
    shown = [(bar.contender, bar.added_us) for bar in stacks[0]]
    assert shown == [(OURS, 2.0), ("slow", 300.0), ("best", 100.0)]
