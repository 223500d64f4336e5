"""Real servers in front of real issuers: discovered, rotated, down, and up again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import permutations
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest

from jwt_middleware import Key

from .conftest import sign
from .issuers.running import Issuer, audience, authlib_issuer, oidc_provider
from .keyserver import KeyServer
from .servers import TIMEOUT_S, fetch, serving

LIFETIME_S = 1
QUICK = {"lifetime": LIFETIME_S, "cooldown": 1}
CLIENTS = 4
ANSWERS = 10
"""That each client must have before the traffic is believed."""
ALGORITHMS = ("RS256", "ES256", "EdDSA")


class Server(NamedTuple):
    """A resource server: how `serving` starts it."""

    command: Sequence[str]
    workers: int

    def trusting(
        self, issuers: dict[str, str], **options: float
    ) -> AbstractContextManager[int]:
        """Run it, and yield its port."""
        environment = {
            "SERVED_ISSUERS": json.dumps(issuers),
            "SERVED_OPTIONS": json.dumps(options),
        }
        return serving(*self.command, environment=environment)


FLASK = (
    *("gunicorn", "tests.served_issuers:flask_app", "--bind=fd://{fd}"),
    *("--worker-class=gthread", "--workers=2", "--threads=4"),
)
SERVERS = {
    "flask": Server(FLASK, workers=2),
    "starlette": Server(
        ("uvicorn", "tests.served_issuers:starlette_app", "--fd={fd}"), workers=1
    ),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Issuer]:
    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def authlib() -> Iterator[Issuer]:
    with authlib_issuer() as running:
        yield running


@pytest.fixture(params=["provider", "authlib"])
def issuer(request: pytest.FixtureRequest) -> Issuer:
    """Each issuer in turn; no test leaves one down."""
    running: Issuer = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="module", params=list(SERVERS.values()), ids=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Server:
    chosen: Server = request.param
    return chosen


# Requests


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resource server said, and to which client."""

    status: int
    told: dict[str, Any]
    client: int = 0

    @property
    def error(self) -> str | None:
        """Why it refused."""
        return self.told.get("error")


def present(port: int, token: str, path: str = "/", client: int = 0) -> Answer:
    headers = {"Authorization": f"Bearer {token}"}
    status, _, body = fetch(port, path, headers=headers)
    return Answer(status, json.loads(body), client)


class Traffic:
    """Clients that send one request after another, each on its own thread."""

    def __init__(self, port: int, workers: int, take: Callable[[], str]) -> None:
        self._port = port
        self._workers = workers
        self._take = take
        self._ended = threading.Event()
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self.seen: list[Answer] = []
        """What `until` looked at so far."""

    def flow(self, client: int) -> None:
        """Send the first token and a fresh one by turns, until the end."""
        first = self._take()
        while not self._ended.is_set():
            for token in (first, self._take()):
                self._answers.put(present(self._port, token, client=client))

    def until(self, is_wanted: Callable[[Answer], bool]) -> None:
        """Go on until each client has had enough answers that are wanted.

        Each worker must have given some.  Not one of all that come may be a refusal.
        """
        had = dict.fromkeys(range(CLIENTS), 0)
        workers: set[int] = set()
        deadline = time.monotonic() + TIMEOUT_S
        while min(had.values()) < ANSWERS or len(workers) < self._workers:
            assert time.monotonic() < deadline, f"wanted: {had} from {workers}"
            answer = self._next()
            if is_wanted(answer):
                had[answer.client] += 1
                workers.add(answer.told["worker"])

    def _next(self) -> Answer:
        answer = self._answers.get(timeout=TIMEOUT_S)
        assert answer.status == 200, answer
        self.seen.append(answer)
        return answer

    def end(self) -> None:
        self._ended.set()

    def drain(self) -> None:
        """Look at the last answers too."""
        while not self._answers.empty():
            self._next()


@contextmanager
def traffic(port: int, workers: int, take: Callable[[], str]) -> Iterator[Traffic]:
    """Let clients send good tokens, which they *take*, while the test goes on."""
    flowing = Traffic(port, workers, take)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(flowing.flow, client) for client in range(CLIENTS)]
        try:
            yield flowing
        finally:
            flowing.end()
    for client in clients:
        client.result()
    flowing.drain()


def is_any(answer: Answer) -> bool:
    return True


# Discovery


class API(NamedTuple):
    """A resource server of one issuer, for one audience."""

    port: int
    issuer: Issuer
    algorithm: str


@pytest.fixture(
    scope="module",
    params=[("provider", name) for name in ALGORITHMS] + [("authlib", "ES256")],
    ids="-".join,
)
def api(server: Server, request: pytest.FixtureRequest) -> Iterator[API]:
    name, algorithm = request.param
    issuer: Issuer = request.getfixturevalue(name)
    with server.trusting({issuer.url: audience(algorithm)}) as port:
        yield API(port, issuer, algorithm)


def test_tokens_pass_by_discovery_alone(api: API) -> None:
    """Of OpenID Connect's, and of RFC 8414's where there is no other."""
    answer = present(api.port, api.issuer.token(api.algorithm))
    assert (answer.status, answer.told["algorithm"]) == (200, api.algorithm)
    assert answer.told["issuer"] == api.issuer.url
    assert answer.told["subject"] == "service"


def test_tokens_for_another_audience_are_refused(api: API) -> None:
    """Though the same issuer made them for the same client."""
    for other in set(ALGORITHMS) - {api.algorithm}:
        refused = present(api.port, api.issuer.token(other))
        assert (refused.status, refused.error) == (401, "invalid_token")


def test_a_rule_asks_for_a_scope(api: API) -> None:
    """A token may have another, or none at all."""
    token = api.issuer.token(api.algorithm, scope="read")
    assert present(api.port, token, "/reports").status == 200
    for scope in ("write", ""):
        token = api.issuer.token(api.algorithm, scope=scope)
        assert present(api.port, token).status == 200
        refused = present(api.port, token, "/reports")
        assert (refused.status, refused.error) == (403, "insufficient_scope")


# Rotation


def test_no_good_token_is_refused_while_keys_rotate(
    server: Server, issuer: Issuer
) -> None:
    """Whichever request brings an unknown key has it fetched, long before it is due."""
    with server.trusting({issuer.url: audience("ES256")}) as port:
        ensure_rotation_is_not_felt(port, server.workers, issuer)


def test_no_good_token_is_refused_where_the_server_forked(provider: Issuer) -> None:
    """Each worker keeps a set of its own, though `RemoteKeys` was made but once."""
    preloaded = Server((*FLASK, "--preload"), workers=2)
    with preloaded.trusting({provider.url: audience("ES256")}) as port:
        ensure_rotation_is_not_felt(port, preloaded.workers, provider)


def ensure_rotation_is_not_felt(port: int, workers: int, issuer: Issuer) -> None:
    """Rotate while clients send tokens of the old key and, as soon as can be, the new.

    An issuer that is asked for a token at that very moment may fail to sign it, so
    nobody asks it then; requests go on.
    """
    taking = threading.Lock()

    def take() -> str:
        with taking:
            return issuer.token()

    with traffic(port, workers, take) as flowing:
        flowing.until(is_any)
        old = {answer.told["kid"] for answer in flowing.seen}
        with taking:
            issuer.rotate()
        flowing.until(lambda answer: answer.told["kid"] not in old)
        flowing.until(lambda answer: answer.told["kid"] in old)  # still good
    assert len({answer.told["kid"] for answer in flowing.seen}) == 2


def test_a_key_that_was_dropped_is_refused_once_the_set_was_fetched_anew(
    server: Server, provider: Issuer
) -> None:
    """No later than the lifetime says, by every worker; the new key stays good."""
    with server.trusting({provider.url: audience("ES256")}, **QUICK) as port:
        old = provider.token()
        provider.rotate()
        assert present(port, old).status == 200
        with traffic(port, server.workers, provider.token) as flowing:
            flowing.until(is_any)
            provider.drop()
            until_refused(port, old, time.monotonic() + LIFETIME_S)
            refusals = [present(port, old) for _ in range(2 * ANSWERS)]
            flowing.until(is_any)
    assert {(answer.status, answer.error) for answer in refusals} == {
        (401, "invalid_token")
    }


def until_refused(port: int, token: str, end: float) -> None:
    """Present *token* until *end*: it passes or is refused, and nothing else."""
    while time.monotonic() < end:
        assert present(port, token).status in (200, 401)


# Outage


def test_no_good_token_is_refused_while_the_issuer_is_down(
    server: Server, provider: Issuer
) -> None:
    """Every worker goes on with the keys that it has, and gets new ones in the end."""
    token = provider.token()
    with (
        server.trusting({provider.url: audience("ES256")}, **QUICK) as port,
        traffic(port, server.workers, lambda: token) as flowing,
    ):
        flowing.until(is_any)
        with down(provider):
            flowing.until(lambda answer: answer.told["keys"] == "stale")
        flowing.until(lambda answer: answer.told["keys"] == "fresh")


def test_a_cold_server_says_when_to_come_back_and_then_lets_in(
    server: Server, issuer: Issuer
) -> None:
    """503 and not 401, since the token may be good; few requests ask the issuer."""
    headers = {"Authorization": f"Bearer {issuer.token()}"}
    before = issuer.hits()
    with server.trusting({issuer.url: audience("ES256")}, **QUICK) as port:
        with down(issuer):
            answers = [fetch(port, "/", headers=headers) for _ in range(2 * ANSWERS)]
        asked = issuer.hits().metadata - before.metadata
        for status, _, body in answers:
            assert status == 503
            assert json.loads(body)["error"] == "temporarily_unavailable"
        assert 1 <= asked < len(answers)
        time.sleep(int(answers[-1][1]["Retry-After"]))  # as the client was told
        assert fetch(port, "/", headers=headers)[0] == 200


@contextmanager
def down(issuer: Issuer) -> Iterator[None]:
    issuer.down()
    try:
        yield
    finally:
        issuer.up()


# Two issuers


def test_a_key_of_one_issuer_signs_for_no_other(
    server: Server, provider: Issuer
) -> None:
    """Though the keys of all of them have the same name."""
    ours = Key.generate("ES256", kid="ES256-1")
    with (
        oidc_provider() as one,
        authlib_issuer() as two,
        KeyServer([ours]) as three,
        server.trusting(
            dict.fromkeys((one.url, two.url, three.url), audience("ES256"))
        ) as port,
    ):
        tokens = (one.token(), two.token(), signed(ours, three.url))
        for token, url in zip(tokens, (one.url, two.url, three.url), strict=True):
            answer = present(port, token)
            assert (answer.status, answer.told["issuer"]) == (200, url)
            assert answer.told["kid"] == "ES256-1"
        forged = [signed(ours, one.url), signed(ours, two.url)]
        forged += [exchanged(*pair) for pair in permutations(tokens, 2)]
        for token in (*forged, provider.token()):  # the last is of nobody we trust
            refused = present(port, token)
            assert (refused.status, refused.error) == (401, "invalid_token")


def signed(key: Key, issuer: str) -> str:
    """What *issuer* would say, signed with *key*."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience("ES256"),
        "sub": "service",
        "iat": now,
        "exp": now + 600,
    }
    header = {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid}
    return sign(header, json.dumps(claims).encode(), key)


def exchanged(token: str, other: str) -> str:
    """*token* with the signature of another."""
    return f"{token.rpartition('.')[0]}.{other.rpartition('.')[2]}"
