"""The limits of logins and bodies in the examples, alone and on real servers."""

from __future__ import annotations

import http.client
import importlib
import json
import logging
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from starlette.testclient import TestClient

from examples.login_limits import HASHERS, LoginLimits, LoginRefused

from .servers import TIMEOUT_S, running, serving

COMMANDS = {
    "flask": ("gunicorn", "examples.flask_app:app", "--threads=16", "--bind=fd://{fd}"),
    "starlette": ("uvicorn", "examples.starlette_app:app", "--fd={fd}"),
}
WINDOW_S = 8
"""Far longer than six logins take on a busy machine."""
HASH_MIB = 64
LARGE = 5 * 1024 * 1024
HOME, OTHER = "127.0.0.1", "127.0.0.2"
JSON = {"Content-Type": "application/json"}
FORM = "application/x-www-form-urlencoded"
EACH = pytest.mark.parametrize("name", list(COMMANDS))
LARGE_BODIES = pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/token/refresh", FORM),
        ("/token", "application/json"),
        ("/login", None),  # a form for Flask, JSON for Starlette
    ],
)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def flask_app(keep_level: None) -> ModuleType:
    return importlib.import_module("examples.flask_app")


@pytest.fixture
def starlette_app(keep_level: None) -> ModuleType:
    return importlib.import_module("examples.starlette_app")


@pytest.fixture
def keep_level() -> Iterator[None]:
    """The examples set the level of the package's logger, for the whole process."""
    logger = logging.getLogger("jwt_middleware")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def is_refused(limits: LoginLimits, name: str, address: str) -> bool:
    try:
        limits.count(name, address)
    except LoginRefused as error:
        return error.status == 429
    return False


# The counters


def test_the_sixth_wrong_login_of_a_name_is_refused_until_the_window_ends(
    clock: Clock,
) -> None:
    limits = LoginLimits(now=clock)
    for _ in range(5):
        limits.count("alice", HOME)
        clock.now += 10
    with pytest.raises(LoginRefused) as refused:
        limits.count("alice", HOME)
    assert refused.value.headers == {"Retry-After": "250"}
    clock.now += 249
    assert is_refused(limits, "alice", HOME)  # and it does not prolong the window
    clock.now += 1
    assert not is_refused(limits, "alice", HOME)


def test_a_stranger_elsewhere_does_not_lock_a_user_out(clock: Clock) -> None:
    limits = LoginLimits(now=clock)
    while not is_refused(limits, "alice", OTHER):
        pass
    assert not is_refused(limits, "alice", HOME)
    assert not is_refused(limits, "bob", OTHER)


def test_the_right_password_ends_the_count_of_its_name_alone(clock: Clock) -> None:
    limits = LoginLimits(per_address=20, now=clock)
    for _ in range(4):
        limits.count("alice", HOME)
        limits.count("bob", HOME)
    limits.count("alice", HOME)
    limits.forget("alice", HOME)
    assert [is_refused(limits, "alice", HOME) for _ in range(6)] == [False] * 5 + [True]
    assert [is_refused(limits, "bob", HOME) for _ in range(2)] == [False, True]


def test_right_logins_are_without_limit(clock: Clock) -> None:
    limits = LoginLimits(now=clock)
    for _ in range(200):
        limits.count("alice", HOME)
        limits.forget("alice", HOME)


def test_an_address_that_tries_many_names_is_refused(clock: Clock) -> None:
    limits = LoginLimits(now=clock)
    wrong = [is_refused(limits, f"name{number}", HOME) for number in range(60)]
    assert wrong == [False] * 50 + [True] * 10
    assert is_refused(limits, "alice", HOME)


def test_an_account_of_ones_own_gives_no_more_guesses(clock: Clock) -> None:
    limits = LoginLimits(now=clock)
    guesses = 0
    while not is_refused(limits, f"name{guesses}", HOME):
        guesses += 1
        if not is_refused(limits, "mine", HOME):
            limits.forget("mine", HOME)
    assert guesses == 50


@pytest.mark.parametrize(
    ("one", "another", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one_address(
    one: str, another: str, is_same: bool, clock: Clock
) -> None:
    limits = LoginLimits(now=clock)
    while not is_refused(limits, "alice", one):
        pass
    assert is_refused(limits, "alice", another) is is_same


def test_the_counters_are_bounded_and_the_oldest_goes_first(clock: Clock) -> None:
    limits = LoginLimits(most=10, now=clock)
    for _ in range(5):
        limits.count("alice", HOME)
    for number in range(4):
        assert is_refused(limits, "alice", HOME)
        limits.count("n" * 1_000_000, f"192.0.2.{number}")
    assert len(limits._counters) == 10
    limits.count("bob", "192.0.2.9")
    assert len(limits._counters) == 10
    assert not is_refused(limits, "alice", HOME)
    assert sum(len(text) for key in limits._counters for text in key) < 1_000
    clock.now += 300
    limits.count("carol", HOME)
    assert len(limits._counters) == 2


def test_a_count_that_has_ended_while_a_password_was_checked_stays_sound(
    clock: Clock,
) -> None:
    limits = LoginLimits(per_address=1, now=clock)
    limits.count("alice", HOME)
    clock.now += 300
    limits.count("bob", HOME)
    limits.forget("bob", HOME)
    limits.forget("alice", HOME)
    assert [is_refused(limits, name, HOME) for name in "ab"] == [False, True]


# Logins, on the servers that people run the examples on


def post_login(
    port: int, name: str, password: str, address: str = HOME
) -> http.client.HTTPResponse:
    """Log in from the loopback address *address*."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=TIMEOUT_S, source_address=(address, 0)
    )
    try:
        body = json.dumps({"name": name, "password": password})
        connection.request("POST", "/token", body, JSON)
        response = connection.getresponse()
        response.read()
    finally:
        connection.close()
    return response


@EACH
def test_the_sixth_wrong_login_gets_429_and_later_the_right_one_works(
    name: str,
) -> None:
    with serving(*COMMANDS[name], environment={"LOGIN_WINDOW": str(WINDOW_S)}) as port:
        wrong = [post_login(port, "alice", "wrong") for _ in range(6)]
        assert [answer.status for answer in wrong] == [403] * 5 + [429]
        assert 1 <= int(wrong[-1].headers["Retry-After"]) <= WINDOW_S
        assert post_login(port, "alice", "wonderland").status == 429
        assert post_login(port, "bob", "wonderland").status == 200
        assert post_login(port, "alice", "wonderland", OTHER).status == 200
        deadline = time.monotonic() + TIMEOUT_S
        while post_login(port, "alice", "wonderland").status == 429:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert post_login(port, "alice", "wonderland").status == 200


def test_wrong_logins_of_a_form_are_counted_and_the_page_says_so(
    flask_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flask_app, "limits", LoginLimits())
    client, sent = flask_app.app.test_client(), {"name": "alice", "password": "wrong"}
    answers = [client.post("/login", data=sent) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert "Too many wrong logins. Try again later." in answers[-1].text
    assert '<form class="card" method="post" action="/login">' in answers[-1].text


def test_wrong_logins_of_a_script_are_counted(
    starlette_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starlette_app, "limits", LoginLimits())
    client, sent = TestClient(starlette_app.app), {"name": "alice", "password": "x"}
    answers = [client.post("/login", json=sent) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [403] * 5 + [429]
    assert answers[-1].text == "Too many wrong logins. Try again later."


@EACH
def test_eight_wrong_logins_at_once_take_the_memory_of_two_hashes(name: str) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("there is no /proc to read the memory of a process from")
    with running(*COMMANDS[name]) as (port, process):
        assert post_login(port, "bob", "wonderland").status == 200
        before = peak_mib(process.pid)
        with ThreadPoolExecutor(8) as pool:
            names = [f"name{number}" for number in range(8)]
            answers = list(pool.map(lambda each: post_login(port, each, "x"), names))
        assert {answer.status for answer in answers} <= {403, 503}
        grown = peak_mib(process.pid) - before
    assert grown < 3 * HASH_MIB


def peak_mib(pid: int) -> int:
    """The most memory that the process *pid* or a child of it has had, in MiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    texts = [Path(f"/proc/{each}/status").read_text() for each in (pid, *children)]
    peaks = [int(number) for number in re.findall(r"VmHWM:\s+(\d+)", "".join(texts))]
    return max(peaks) // 1024


def test_flask_answers_503_while_all_hashers_are_busy(
    flask_app: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flask_app, "WAIT_S", 0.01)
    client, sent = (
        flask_app.app.test_client(),
        {"name": "bob", "password": "wonderland"},
    )
    for _ in range(HASHERS):
        assert flask_app.HASHING.acquire(timeout=TIMEOUT_S)
    try:
        answer = client.post("/token", json=sent)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    finally:
        flask_app.HASHING.release(HASHERS)
    assert client.post("/token", json=sent).status_code == 200


def test_starlette_answers_503_while_all_hashers_are_busy(
    starlette_app: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starlette_app, "WAIT_S", 0.01)
    sent = {"name": "bob", "password": "wonderland"}
    hashing, borrowers = starlette_app.HASHING, [object() for _ in range(HASHERS)]
    with TestClient(starlette_app.app) as client:
        assert client.portal is not None
        for borrower in borrowers:
            client.portal.call(hashing.acquire_on_behalf_of, borrower)
        try:
            answer = client.post("/token", json=sent)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        finally:
            for borrower in borrowers:
                client.portal.call(hashing.release_on_behalf_of, borrower)
        assert client.post("/token", json=sent).status_code == 200


# Bodies


@pytest.fixture(scope="module", params=list(COMMANDS))
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with serving(*COMMANDS[request.param]) as port:
        yield request.param, port


@LARGE_BODIES
def test_a_large_body_gets_413_before_it_is_sent(
    server: tuple[str, int], path: str, content_type: str | None
) -> None:
    """The client announces 5 MiB and sends 100 KiB of them."""
    length = f"Content-Length: {LARGE}"
    with posting(server, path, content_type, length) as connection:
        connection.sendall(b"a" * 100_000)
        assert status_of(connection) == 413


@LARGE_BODIES
def test_a_large_body_without_a_length_is_refused_before_its_end(
    server: tuple[str, int], path: str, content_type: str | None
) -> None:
    """Werkzeug reads a chunked body up to the limit, so that it is malformed."""
    expected = 400 if server[0] == "flask" else 413
    with posting(
        server, path, content_type, "Transfer-Encoding: chunked"
    ) as connection:
        connection.sendall(b"%x\r\n" % LARGE + b"a" * 100_000)
        assert status_of(connection) == expected


@contextmanager
def posting(
    server: tuple[str, int], path: str, content_type: str | None, length: str
) -> Iterator[socket.socket]:
    """Begin a POST request, of which the body is missing."""
    name, port = server
    content_type = content_type or (FORM if name == "flask" else "application/json")
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        length,
    ]
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        yield connection


def status_of(connection: socket.socket) -> int:
    return int(connection.recv(12).split()[1])
