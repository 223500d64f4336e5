"""What an endpoint requires of a verified token: scopes and the kind of login."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import NoCredentials, StepUpRequired
from .options import SCOPE, read_count, read_words
from .quoting import shown
from .rules import ensure_scopes
from .token import Token

AHEAD_S = 300
"""Seconds by which the clock of an issuer may be ahead.  A later ``auth_time``, such as
one in milliseconds, is not accepted."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Scopes that are all needed, and how its user must have logged in (RFC 9470).

    >>> Requirement(("pay",), acr=("urn:example:gold",), max_age=300).max_age
    300

    One of *acr* and all of *amr* must be in the claims of those names, and
    ``auth_time`` lie at most *max_age* seconds back.  Raises ValueError for what
    could not stand in a challenge.
    """

    scopes: Sequence[str] = ()
    acr: Sequence[str] = ()
    amr: Sequence[str] = ()
    max_age: int | None = None

    def __post_init__(self) -> None:
        _check_placing(self.scopes)
        for option in ("scopes", "acr", "amr"):
            words = read_words(option, getattr(self, option), SCOPE)
            object.__setattr__(self, option, words)
        if self.max_age is not None:
            read_count("max_age", self.max_age)

    def permit(self, token: Token | None, now: float) -> Token:
        """Return *token*.  Raise NoCredentials, InsufficientScope or StepUpRequired."""
        if not isinstance(token, Token):  # nor what another middleware left there
            raise NoCredentials("no credentials")
        ensure_scopes(token, self.scopes)
        if self.acr and token.get("acr") not in self.acr:
            raise self._step_up(f"acr is {shown(token.get('acr'))}")
        if not _has_all(token.get("amr"), self.amr):
            raise self._step_up(f"amr is {shown(token.get('amr'))}")
        if self.max_age is not None and not self._is_recent(token, now):
            raise self._step_up(f"auth_time is {shown(token.get('auth_time'))}")
        return token

    def _is_recent(self, token: Token, now: float) -> bool:
        at = token.get("auth_time")
        if isinstance(at, bool) or not isinstance(at, (int, float)):
            return False
        oldest = now - (self.max_age or 0)
        return oldest <= at <= now + AHEAD_S  # compared: a huge one cannot be reckoned

    def _step_up(self, message: str) -> StepUpRequired:
        demanded = {}
        if self.acr:
            demanded["acr_values"] = " ".join(self.acr)
        if self.max_age is not None:
            demanded["max_age"] = str(self.max_age)
        return StepUpRequired(message, demanded=demanded)


def no_middleware(init_app: str) -> NoCredentials:
    """Return the refusal of a guard in an application without the middleware."""
    return NoCredentials(
        f"no JWTMiddleware stands in front of this application; write {init_app}"
    )


def _check_placing(scopes: object) -> None:
    """Raise ValueError for two common ways to write `requires` wrongly."""
    for scope in scopes if isinstance(scopes, tuple) else ():
        if callable(scope):
            raise ValueError(
                f"scopes are strings, not {scope!r}; "
                "write @requires() or @requires('read'), with parentheses"
            )
        if isinstance(scope, (tuple, list, set, frozenset)):
            raise ValueError(
                f"scopes are strings, not {scope!r}; write requires('read', 'write')"
            )


def _has_all(listed: object, wanted: Iterable[str]) -> bool:
    found = listed if isinstance(listed, list) else ()
    return all(value in found for value in wanted)
