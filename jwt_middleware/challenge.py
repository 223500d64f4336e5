"""What we answer to a request that may not pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from .errors import AuthError, Unavailable
from .options import QUOTABLE

REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Reply:
    """A response as data; a door sends it."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Challenge:
    """One value of ``WWW-Authenticate`` (RFC 9110 §11.6.1).

    Raises ValueError for a parameter that could break out of its quotes.
    """

    scheme: str
    parameters: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if not QUOTABLE.fullmatch(value):
                raise ValueError(f"{name} cannot stand in a header: {value!r}")

    def to_header(self) -> str:
        listed = ", ".join(
            f'{name}="{value}"' for name, value in self.parameters.items()
        )
        return f"{self.scheme} {listed}"


def reply_to(error: AuthError, schemes: Sequence[str], realm: str) -> Reply:
    """The reply that tells the client of *error*, and of no more than it says."""
    return _reply(
        error.status,
        tuple(error.told().items()),
        ("realm", realm),
        tuple(error.challenged().items()),
        tuple(schemes),
        error.retry_after if isinstance(error, Unavailable) else None,
    )


Items = tuple[tuple[str, str], ...]


@lru_cache(REMEMBERED)
def _reply(
    status: HTTPStatus,
    told: Items,
    realm: tuple[str, str],
    challenged: Items,
    schemes: tuple[str, ...],
    retry_after: int | None,
) -> Reply:
    """Made once: of what an application refuses, there are a few kinds only."""
    body = json.dumps(dict(told)).encode()
    parameters = dict([realm, *challenged])
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    # One line for each: many clients take a joined line for one challenge.
    for scheme in schemes:
        headers.append(("WWW-Authenticate", Challenge(scheme, parameters).to_header()))
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return Reply(status, tuple(headers), body)
