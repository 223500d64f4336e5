"""A lock whose keys are at a `KeyServer`, by a clock that a test turns on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from jwt_middleware import Authenticator, Key, RemoteKeys, TrustedIssuer
from jwt_middleware.bridge import run
from jwt_middleware.fetch import Fetcher

from .conftest import AUDIENCE, ISSUER, authenticator, mint_token
from .doors import Answer
from .keyserver import KeyServer
from .store_suite import Clock

T = TypeVar("T")
LOOPBACK = Fetcher(loopback_http=True)
LIFETIME_S, COOLDOWN_S, STALENESS_S = 600, 30, 3600
PATIENT_S = 30.0
"""A time-out that nothing should need."""
SOON_S = PATIENT_S / 3
"""On a busy machine; who waited for a fetch that hangs took longer."""
SLACK_S = 2.0
"""By which a busy machine may be late."""


def remote(server: KeyServer, clock: Callable[[], float], **options: Any) -> RemoteKeys:
    """The keys at *server*."""
    return RemoteKeys(server.jwks_url, now=clock, **{**defaults(), **options})


def discovered(
    server: KeyServer, clock: Clock, path: str = "", **options: Any
) -> RemoteKeys:
    """The keys that the metadata of the issuer at *path* lead to."""
    issuer = server.url + path
    return RemoteKeys.from_issuer(issuer, now=clock, **{**defaults(), **options})


def defaults() -> dict[str, Any]:
    return {
        "fetcher": LOOPBACK,
        "lifetime": LIFETIME_S,
        "cooldown": COOLDOWN_S,
        "max_staleness": STALENESS_S,
        "timeout": PATIENT_S,
    }


def lock(keys: RemoteKeys, issuer: str = ISSUER) -> Authenticator:
    """Who believes *issuer* as far as *keys* go."""
    return authenticator(TrustedIssuer(issuer, audience=AUDIENCE, keys=keys))


def made_up() -> str:
    """A token whose ``kid`` nobody has ever heard of."""
    return mint_token(header={"kid": uuid4().hex})


def signed_by(key: Key, **claims: Any) -> str:
    return mint_token(key=key, **claims)


def landed(keys: RemoteKeys) -> None:
    """Wait until no fetch is under way."""
    flight = keys._upkeep._flights.join(lambda: False)
    assert flight is None or run(flight.wait(PATIENT_S)), "a fetch does not end"


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """The answer, and the seconds that it took."""
    began = time.monotonic()
    return call(), time.monotonic() - began


def ensure_unavailable(answer: Answer) -> None:
    """The fault is ours: 503 and when to come again, never 401."""
    assert answer.status == 503
    assert not answer.entered
    assert answer.json["error"] == "temporarily_unavailable"
    assert 1 <= int(answer.header("retry-after") or 0) <= COOLDOWN_S
