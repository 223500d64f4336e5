"""What we answer to a request that may not pass."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from .errors import AuthError
from .quoting import ensure_quotable

REMEMBERED = 256
PARAMETER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2, token


@dataclass(frozen=True)
class Reply:
    """A response as data; a door sends it."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @cached_property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers as ASGI wants them."""
        return encoded(self.headers)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One value of ``WWW-Authenticate`` (RFC 9110 §11.6.1).

    Raises ValueError for a parameter that could break out of its quotes.
    """

    scheme: str
    parameters: Mapping[str, str]

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if not PARAMETER.fullmatch(name):
                raise ValueError(f"a parameter of a challenge is called {name!r}")
            ensure_quotable(name, value)

    def to_header(self) -> str:
        listed = ", ".join(
            f'{name}="{value}"' for name, value in self.parameters.items()
        )
        return f"{self.scheme} {listed}"


def encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in headers
    ]


def redirect_to(path: str, added: Iterable[tuple[str, str]]) -> Reply:
    """Return the reply that has a browser open *path* instead, with *added* headers."""
    headers = [
        ("Location", path),
        ("Content-Type", "text/plain"),
        ("Content-Length", "0"),
        ("Cache-Control", "no-store"),
    ]
    return Reply(HTTPStatus.SEE_OTHER, (*headers, *added), b"")


def reply_to(error: AuthError, schemes: tuple[str, ...], realm: str) -> Reply:
    """The reply that tells the client of *error*, and of no more than it says."""
    kind = type(error)
    if kind.told is not AuthError.told or kind.challenged is not AuthError.challenged:
        return _written(error, schemes, realm)  # by words of its own, each time others
    # All that the reply depends on: of that, an application has a few kinds only.
    key = (
        error.status,
        error.error,
        error.description,
        error.in_challenge,
        error.challenge_parameters,
        error.retry_after,
        schemes,
        realm,
    )
    reply = _replies.get(key)
    if reply is None:
        if len(_replies) >= REMEMBERED:
            _replies.clear()
        reply = _replies[key] = _written(error, schemes, realm)
    return reply


_replies: dict[tuple[object, ...], Reply] = {}


def _written(error: AuthError, schemes: Iterable[str], realm: str) -> Reply:
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
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    return Reply(error.status, tuple(headers), body)
