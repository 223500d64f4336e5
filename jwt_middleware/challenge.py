"""What we answer to a request that may not pass."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from .errors import AuthError, Unavailable
from .options import QUOTABLE


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
    body = json.dumps(error.told()).encode()
    parameters = {"realm": realm, **error.challenged()}
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    # One line for each: many clients take a joined line for one challenge.
    for scheme in schemes:
        headers.append(("WWW-Authenticate", Challenge(scheme, parameters).to_header()))
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", str(error.retry_after)))
    return Reply(error.status, tuple(headers), body)
