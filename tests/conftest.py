"""What most tests start from: two doors, one issuer, one clock."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jwt
import pytest

from jwt_middleware import Authenticator, Key, MemoryStore, TrustedIssuer
from jwt_middleware.request import Request

from .doors import DOORS, ASGIDoor, Door

NOW = 3_000_000_000
"""The time in every test: the clock is injected."""
ISSUER = "https://issuer.example"
AUDIENCE = "https://api.example"
SIGNING_KEY = Key.generate("ES256", kid="k1")

Mint = Callable[..., str]


class SentRequest(Request):
    """A request that came by no door; *find* looks its headers up."""

    __slots__ = ("_find", "is_handshake", "method", "path", "raw_path", "scheme")

    method: str
    scheme: str
    path: str
    raw_path: str
    is_handshake: bool

    def __init__(
        self,
        method: str,
        scheme: str,
        path: str,
        find: Callable[[str], Sequence[str]],
        raw_path: str = "",
        is_handshake: bool = False,
    ) -> None:
        self.method, self.scheme, self.path = method, scheme, path
        self.raw_path, self.is_handshake = raw_path, is_handshake
        self._find = find

    def header(self, name: str) -> Sequence[str]:
        return self._find(name)


def clock() -> float:
    return float(NOW)


def trusted(**options: Any) -> TrustedIssuer:
    """The issuer of `mint`, with other *options*."""
    defaults: dict[str, Any] = {"audience": AUDIENCE, "keys": [SIGNING_KEY]}
    return TrustedIssuer(ISSUER, **{**defaults, **options})


def authenticator(*issuers: TrustedIssuer, **options: Any) -> Authenticator:
    """An authenticator on the tests' clock; of the tests' issuer if none is given."""
    return Authenticator(*(issuers or (trusted(),)), **{"now": clock, **options})


def mint_token(
    *, key: Key = SIGNING_KEY, header: dict[str, Any] | None = None, **claims: Any
) -> str:
    """Sign a token of the tests' issuer.

    ``exp``, ``nbf`` and ``iat`` are given in seconds from now.  A claim or a header
    parameter that is None is left out.
    """
    dates = {"exp": 600, "iat": -10, **claims}
    payload: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "jti": "j1",
    }
    payload |= dates
    for name in ("exp", "nbf", "iat"):
        if isinstance(payload.get(name), (int, float)):
            payload[name] += NOW
    named = {"typ": "at+jwt", "alg": key.algorithm, "kid": key.kid, **(header or {})}
    return sign(
        {name: value for name, value in named.items() if value is not None},
        json.dumps({n: v for n, v in payload.items() if v is not None}).encode(),
        key,
    )


def sign(header: dict[str, Any] | bytes, payload: bytes, key: Key = SIGNING_KEY) -> str:
    """Sign any octets under any header, as no honest library would."""
    octets = header if isinstance(header, bytes) else json.dumps(header).encode()
    encoded = [jwt.utils.base64url_encode(part) for part in (octets, payload)]
    signing_input = b".".join(encoded)
    signature = jwt.utils.base64url_encode(key.sign(signing_input))
    return b".".join([signing_input, signature]).decode()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed, as ``.ci/run`` sees to it, nothing may skip."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("FAIL_ON_SKIP"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(params=DOORS, ids=lambda door: door.name)
def door(request: pytest.FixtureRequest) -> Door:
    """Each way in, to the tests' issuer, with a store."""
    opened: Door = request.param(authenticator(store=MemoryStore(clock)))
    return opened


@pytest.fixture
def asgi_door() -> ASGIDoor:
    """The ASGI way in, for what WSGI has not: WebSockets, scopes."""
    return ASGIDoor(authenticator(store=MemoryStore(clock)))


@pytest.fixture
def mint() -> Mint:
    return mint_token


@pytest.fixture(autouse=True)
def _no_token_left_over() -> Iterator[None]:
    from jwt_middleware.current import set_current_token

    set_current_token(None)
    yield
    set_current_token(None)


@pytest.fixture(autouse=True)
def _log_level() -> None:
    """Examples, frameworks and the README's code set it for the whole process."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("jwt_middleware").setLevel(logging.NOTSET)
