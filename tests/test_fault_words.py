"""What a token or a key server says is text: no address to ask, no line of a log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from . import keyserver_answers as answers
from .conftest import SIGNING_KEY, mint_token, sign
from .doors import Door
from .faults import discovered, lock, made_up, remote
from .keyserver import KeyServer
from .keyserver_answers import ANSWERS, RIVAL, stating
from .keyserver_exchange import Answer, raw
from .store_suite import Clock

MOST_LOGGED = 1000
"""Characters of a line in the log."""


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer([SIGNING_KEY]) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


# What a token says is no address


@pytest.mark.parametrize(
    "name", ["jku", "x5u", "kid", "jwk", "iss", "url", "cty", "typ"]
)
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_an_address_in_a_token_is_never_asked(
    door: Door, server: KeyServer, clock: Clock, name: str, is_warm: bool
) -> None:
    """Not even at the server that we ask for keys."""
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    if is_warm:
        keys.load()
        clock.now += 1
    there = f"{server.url}{answers.ELSEWHERE}"
    for key in (SIGNING_KEY, RIVAL):
        header = {name: there} if name != "iss" else {}
        claims = {"iss": there} if name == "iss" else {}
        guarded.get(bearer=mint_token(key=key, header=header, **claims))
    assert set(server.paths) <= {"/jwks"}


def test_an_issuer_that_is_not_trusted_makes_us_ask_nobody(
    door: Door, server: KeyServer, clock: Clock
) -> None:
    guarded = door.behind(lock(remote(server, clock)))
    for issuer in (server.url, f"{server.url}/", "https://issuer.example/", None):
        assert guarded.get(bearer=mint_token(iss=issuer)).status == 401
    assert server.hits == []


@pytest.mark.parametrize(
    "alg", ["HS256", "HS384", "HS512", "none", "None", "", "RS1", "dir"]
)
@pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
def test_an_algorithm_that_no_published_key_has_makes_us_ask_nobody(
    door: Door, server: KeyServer, clock: Clock, alg: str, is_warm: bool
) -> None:
    """Neither a secret's, nor none at all: no key set could change the answer."""
    keys = remote(server, clock)
    guarded = door.behind(lock(keys))
    if is_warm:
        keys.load()
        clock.now += 1
    for kid in (SIGNING_KEY.kid, "another", None):
        token = mint_token(header={"alg": alg, "kid": kid})
        unsigned = token.rpartition(".")[0] + "."
        assert guarded.get(bearer=token).status == 401
        assert guarded.get(bearer=unsigned).status in (400, 401)
    assert len(server.hits) == int(is_warm)


# The log

FORGED = "\r\n\x1b[31mERROR forged \u2028\u202e\x85line"


@pytest.mark.parametrize(
    ("answer", "metadata"),
    [
        (answers.ok, stating(issuer=f"https://a.example/{FORGED}")),
        (answers.ok, stating(issuer=[FORGED])),
        (answers.ok, stating(jwks_uri=f"https://a.example/{FORGED}")),
        (answers.ok, stating(jwks_uri=f"http://a.example/{'x' * 9000}")),
        (answers.ok, stating(jwks_uri=f"https://a.example:{'x' * 9000}/")),
        (answers.ok, stating(jwks_uri=f"https://[{'x' * 9000}]/")),
        (answers.ok, raw(f"HTTP/1.1 {FORGED}\r\n\r\n".encode())),
        (raw(f"HTTP/1.1 200 OK\r\n{FORGED}\r\n\r\n".encode()), answers.ok),
        (answers.among_good({"kty": "EC", "kid": FORGED}), answers.ok),
        (answers.among_good({**RIVAL.public.to_jwk(), "kid": FORGED}), answers.ok),
        (answers.among_good({**RIVAL.public.to_jwk(), "kid": [FORGED]}), answers.ok),
        (answers.among_good({**RIVAL.public.to_jwk(), "kid": "x" * 9000}), answers.ok),
        (
            answers.among_good({**RIVAL.public.to_jwk(), "kid": "\u202e\u0430\u2028"}),
            answers.ok,
        ),
        (answers.among_good({"kty": FORGED, "alg": FORGED, "use": FORGED}), answers.ok),
        (answers.among_good({**answers.WEAK, "kid": FORGED, "n": FORGED}), answers.ok),
        (answers.among_good(FORGED, [FORGED]), answers.ok),
    ],
)
def test_what_a_server_says_stands_in_the_log_escaped_and_cut(
    door: Door,
    server: KeyServer,
    clock: Clock,
    caplog: Any,
    answer: Answer,
    metadata: Answer,
) -> None:
    caplog.set_level("DEBUG")
    server.answer, server.metadata = answer, metadata
    guarded = door.behind(lock(discovered(server, clock), server.url))
    guarded.get(bearer=mint_token(iss=server.url))
    guarded.get(bearer=mint_token(iss=server.url, header={"kid": FORGED}))
    ensure_clean(caplog)


@pytest.mark.parametrize("name", ["ok", "status_503", "no_keys"])
def test_no_token_stands_in_the_log(
    door: Door, server: KeyServer, clock: Clock, caplog: Any, name: str
) -> None:
    """Whether it is good, forged, of an unknown key, or cannot be judged."""
    caplog.set_level("DEBUG")
    server.answer = ANSWERS[name]
    guarded = door.behind(lock(remote(server, clock)))
    tokens = [
        mint_token(),
        mint_token(exp=-100),
        made_up(),
        mint_token(key=RIVAL, header={"kid": SIGNING_KEY.kid}),
        sign({"alg": "ES256", "kid": FORGED}, b"{}"),
    ]
    for token in tokens:
        guarded.get(bearer=token)
    ensure_clean(caplog)
    for token in tokens:
        assert not any(part in caplog.text for part in token.split(".") if part)


def ensure_clean(caplog: Any) -> None:
    """Every record is one short line of visible characters."""
    assert caplog.records
    for record in caplog.records:
        if record.name == "jwt_middleware":
            assert re.fullmatch(rf"[ -~]{{1,{MOST_LOGGED}}}", record.getMessage())
