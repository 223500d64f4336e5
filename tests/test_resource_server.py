"""The example of a resource server, in front of real issuers."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from .issuers.running import Issuer, audience, authlib_issuer, oidc_provider
from .servers import ROOT, TIMEOUT_S, fetch, serving

COMMAND = ("uvicorn", "examples.resource_server:app", "--fd={fd}")
FILE = ROOT / "examples" / "resource_server.py"
RUNNING = {"provider": oidc_provider, "authlib": authlib_issuer}


@pytest.fixture(scope="module", params=list(RUNNING))
def issuer(request: pytest.FixtureRequest) -> Iterator[Issuer]:
    """Each issuer in turn; no test leaves it down."""
    with RUNNING[request.param]() as running:
        yield running


@pytest.fixture(scope="module")
def port(issuer: Issuer) -> Iterator[int]:
    with example(issuer) as opened:
        yield opened


def example(issuer: Issuer) -> AbstractContextManager[int]:
    """Run the example, and yield its port."""
    return serving(*COMMAND, environment=environment(issuer))


def environment(issuer: Issuer) -> dict[str, str]:
    return {"ISSUER": issuer.url, "AUDIENCE": audience("ES256")}


def ask(port: int, path: str, token: str | None = None) -> tuple[int, Any]:
    """Status and JSON of one request."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    status, _, body = fetch(port, path, headers=headers)
    return status, json.loads(body)


def test_a_token_says_who_asks(port: int, issuer: Issuer) -> None:
    expected = {"user": "service", "scopes": ["read", "write"]}
    assert ask(port, "/me", issuer.token()) == (200, expected)


def test_nobody_passes_without_a_token_or_with_one_for_another_api(
    port: int, issuer: Issuer
) -> None:
    for token in (None, issuer.token("RS256"), issuer.token() + "A"):
        for path in ("/me", "/reports", "/nowhere"):
            assert ask(port, path, token)[0] == 401


def test_the_reports_need_a_scope(port: int, issuer: Issuer) -> None:
    status, told = ask(port, "/reports", issuer.token(scope="read"))
    assert (status, list(told)) == (200, ["reports"])
    status, told = ask(port, "/reports", issuer.token(scope="write"))
    assert (status, told["error"]) == (403, "insufficient_scope")


def test_it_is_ready_when_it_has_the_keys(issuer: Issuer) -> None:
    """The probe fetches them, so that no request has to wait; once is enough."""
    before = issuer.hits()
    with example(issuer) as port:
        answers = [ask(port, "/ready") for _ in range(3)]
        assert issuer.hits().jwks == before.jwks + 1
        assert ask(port, "/me", issuer.token())[0] == 200
        assert issuer.hits().jwks == before.jwks + 1
    for status, told in answers:
        assert (status, told["status"]) == (200, "fresh")
        assert told["kids"] == len(issuer.algorithms)
        assert 0 <= told["age"] < TIMEOUT_S


def test_it_lives_but_is_not_ready_while_the_issuer_is_down(issuer: Issuer) -> None:
    """An orchestrator must not end it for that; it gets ready by itself."""
    issuer.down()
    try:
        with example(issuer) as port:
            assert ask(port, "/health") == (200, {"status": "up"})
            none = {"status": "none", "age": None, "kids": 0}
            assert ask(port, "/ready") == (503, none)
            assert ask(port, "/health") == (200, {"status": "up"})
            issuer.up()
            ensure_ready_soon(port)
    finally:
        issuer.up()


def ensure_ready_soon(port: int) -> None:
    """Probe as an orchestrator does: until it is well, or for too long."""
    deadline = time.monotonic() + TIMEOUT_S
    while ask(port, "/ready")[0] == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_it_stays_ready_when_the_issuer_goes_down(issuer: Issuer) -> None:
    token = issuer.token()
    with example(issuer) as port:
        assert ask(port, "/ready")[0] == 200
        issuer.down()
        try:
            assert ask(port, "/ready")[0] == 200
            assert ask(port, "/me", token)[0] == 200
        finally:
            issuer.up()


# What stands in its docstring


def test_the_lines_to_try_it_do_what_they_say(port: int, issuer: Issuer) -> None:
    """Those with curl, on our ports; they come in the order of the docstring."""
    said = FILE.read_text().split('"""')[1].splitlines()
    lines = [line.strip() for line in said if line.startswith("    ")]
    setting = [line for line in lines if line.startswith(("WANTED=", "TOKEN="))]
    asking = [line for line in lines if line.startswith("curl ")]
    assert (len(setting), len(asking)) == (2, 4)
    answers = shell([*setting, *asking], port, issuer)
    assert [list(answer) for answer in answers] == [
        ["status"],
        ["status", "age", "kids"],
        ["user", "scopes"],
        ["reports"],
    ]
    assert answers[2] == {"user": "service", "scopes": ["read"]}


def shell(lines: list[str], port: int, issuer: Issuer) -> list[dict[str, Any]]:
    """Run *lines* of the docstring; what each curl printed, in turn."""
    script = "\n".join(f"{line}\necho" for line in lines)
    done = subprocess.run(
        ["/bin/sh", "-euc", script.replace("localhost:8000", f"127.0.0.1:{port}")],
        env={**os.environ, **environment(issuer)},
        capture_output=True,
        check=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    return [json.loads(line) for line in done.stdout.split("\n") if line]


# Configuration


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "http://localhost:9000",
        "https://localhost:9000",
        "https://login.example.com",
    ],
)
def test_plain_http_is_for_an_issuer_on_this_machine(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISSUER", url)
    monkeypatch.setenv("AUDIENCE", "https://api.example")
    assert repr(runpy.run_path(str(FILE))["keys"]) == f"<RemoteKeys '{url}'>"


@pytest.mark.parametrize(
    "url", ["http://login.example.com", "http://127.0.0.1.example.com", "nonsense"]
)
def test_no_other_issuer_is_asked_by_plain_http(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not start."""
    monkeypatch.setenv("ISSUER", url)
    monkeypatch.setenv("AUDIENCE", "https://api.example")
    with pytest.raises(ValueError, match=r"write https|is not https"):
        runpy.run_path(str(FILE))
