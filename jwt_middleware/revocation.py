"""Taking tokens back before they expire."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Literal

from .bridge import ask, is_instant, needs_loop
from .errors import LifetimeExceeded, RevocationsUnavailable, TokenRevoked
from .issue_dates import IssueDates
from .options import read_date
from .pools import WRITES
from .store import Store
from .token import Token
from .trust import TrustedIssuer

Kind = Literal["jti", "sid", "sub"]
STEP_S = 0.001
"""From a mark to what comes after it."""
METHODS = ("add", "put", "look")
"""Of a store."""


class Revocations:
    """Tokens that no longer hold.

    A token is revoked if one of its handles was marked: itself, its session (``sid``),
    or its subject (``sub``), each within its issuer.  A mark on a subject has a date:
    tokens that were issued later are not revoked.  A token that does not say when it
    was issued counts as issued before every mark.

    The tokens of a `TokenIssuer` say when their session began, and that date counts:
    a refresh that came after the mark does not save the session.
    """

    def __init__(
        self,
        store: Store | None,
        issuers: Mapping[str, TrustedIssuer],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._issuers = issuers
        self._now = now
        self._is_instant = is_instant(getattr(store, "look", None))
        self._issue_dates = IssueDates()

    @property
    def needs_loop(self) -> bool:
        """Whether the store is asynchronous, so that WSGI cannot ask it."""
        return any(needs_loop(getattr(self._store, name, None)) for name in METHODS)

    def ensure_live(self, token: Token) -> Awaitable[None] | None:
        """Raise TokenRevoked, or RevocationsUnavailable if the store cannot say.

        If this returns an awaitable, the check is not complete until it was awaited.
        """
        if self._store is None:
            return None
        issued = token.get("iat")
        if issued is not None:
            self._ensure_remembered(token["iss"], issued)
        names = handles(token)
        if not self._is_instant:
            marks: Any = ask(self._store.look, names)
        else:
            try:
                marks = self._store.look(names)
            except Exception as error:
                raise _unavailable("look", error) from error
            if type(marks) is list and marks.count(None) == len(marks) == len(names):
                return None  # as nearly always
        return _ensure_older(names, marks, self._date_of(token))

    async def ensure_session_live(
        self, issuer: str, sid: str, sub: str, started: float
    ) -> None:
        """Raise TokenRevoked if a session that began at *started* was revoked."""
        names = (handle("sid", issuer, sid), handle("sub", issuer, sub))
        leeway = self._issuers[issuer].policy.leeway
        await _ensure_older(names, self._look(names), started - leeway)

    async def start_of_session(self, issuer: str, sub: str, now: float) -> float:
        """Return when a session that begins *now* counts as begun.

        After "log out everywhere" that is just after the mark, by whatever clock the
        mark was made, so that the new login works at once.
        """
        mark = await self._mark_on_subject(issuer, sub)
        if mark is None:
            return now
        mark += self._issuers[issuer].policy.leeway
        return max(now, round(mark + STEP_S, 3))

    async def date_of(self, name: str) -> float | None:
        """When *name* was marked, or None.  Raise RevocationsUnavailable."""
        return (await _dates((name,), self._look((name,))))[0]

    async def is_used(self, name: str) -> bool:
        """Whether *name* was used, also by another worker.  Marks nothing."""
        return not await self.use(name, 0.0, 0.0)

    async def use(self, name: str, at: float, until: float) -> bool:
        """Mark *name* for the one use that there is.  False where it was used."""
        try:
            add = self.demand_store().add
            return bool(await ask(add, name, at, until, pool=WRITES))
        except Exception as error:  # whatever a store raises: it may have been used
            raise _unavailable("add", error) from error

    def watch(self, token: Token, call: Callable[[], None]) -> Callable[[], None]:
        """Have *call* called, by any thread, when *token* may have been revoked.

        What is returned ends it.  If the store cannot tell, nothing is called.
        """
        watch = getattr(self._store, "watch", None)
        return _nothing if watch is None else watch(handles(token), call)

    async def revoke_token(self, token: Token) -> None:
        """Take back *token*, until after its end on the slowest clock."""
        issuer = self._issuer(token.issuer)
        until = token.expires_at + 2 * issuer.policy.leeway
        # Marked for its whole life: a fast clock at the issuer does not undo it.
        await self._put("jti", issuer.issuer, token.identifier, until, until)

    async def revoke_jti(self, jti: str, issuer: str | None) -> None:
        """Take back the token called *jti*, whenever it was issued."""
        trusted = self._issuer(issuer)
        until = self._now() + trusted.policy.leeway + trusted.memory
        await self._put("jti", trusted.issuer, jti, until, until)

    async def revoke_session(self, sid: str, issuer: str | None) -> None:
        """Take back all tokens of a session, also those that are issued later."""
        trusted = self._issuer(issuer)
        until = self._now() + trusted.policy.leeway + trusted.memory
        # No login uses a sid again, so no clock has to be right for this.
        await self._put("sid", trusted.issuer, sid, until, until)

    async def revoke_subject(
        self, sub: str, issuer: str | None, before: float | None
    ) -> None:
        """Take back what was issued to a subject until *before*, or now."""
        trusted, now = self._issuer(issuer), self._now()
        at = now if before is None else read_date("before", before)
        if before is None:
            leeway = trusted.policy.leeway
            at = self._issue_dates.at_least(trusted.issuer, now, leeway)
            # A session may have begun just after an earlier mark.
            with suppress(RevocationsUnavailable):
                mark = await self._mark_on_subject(trusted.issuer, sub)
                at = at if mark is None else max(at, mark + 2 * STEP_S)
        await self._put("sub", trusted.issuer, sub, at, max(at, now) + trusted.memory)

    def note_issue(self, issuer: str, issued: object) -> None:
        """Note ``iat`` of a token whose signature was verified, valid yet or not."""
        self._issue_dates.note(issuer, issued, self._now())

    async def _mark_on_subject(self, issuer: str, sub: str) -> float | None:
        """Return when *sub* was marked, also if our copy does not have the mark yet."""
        name = handle("sub", issuer, sub)
        with suppress(RevocationsUnavailable):  # then our copy has to do
            await self.is_used(name)
        return await self.date_of(name)

    def _date_of(self, token: Token) -> float:
        """The date that marks on *token* are compared with."""
        trusted = self._issuers[token["iss"]]
        started = token.get("session_started_at")
        if trusted.session_store is not None and isinstance(started, (int, float)):
            # The mark may have been made by a clock that is behind the session's.
            return started - trusted.policy.leeway
        issued: float | None = token.get("iat")
        return -math.inf if issued is None else issued

    def demand_store(self) -> Store:
        """Return the store.  Raise ValueError where nothing can be revoked."""
        if self._store is None:
            raise ValueError("without a store nothing is revoked; write store=store")
        return self._store

    def _ensure_remembered(self, issuer: str, issued: float) -> None:
        """Raise LifetimeExceeded for a token older than any mark that is kept: it lives
        too long, and the marks on its session have ended."""
        if issued < self._now() - self._issuers[issuer].oldest:
            raise LifetimeExceeded(f"iat is {issued}: marks of then are not kept")

    def _look(self, names: Sequence[str]) -> Awaitable[Sequence[float | None]]:
        return ask(self.demand_store().look, names)

    async def _put(
        self, kind: Kind, issuer: str, value: str, at: float, until: float
    ) -> None:
        if not isinstance(value, str) or not value:
            raise ValueError(f"{kind} must be a string that is not empty")
        await self.put(handle(kind, issuer, value), at, until)

    async def put(self, name: str, at: float, until: float) -> None:
        """Mark *name*, like `Store.put`.  Raise RevocationsUnavailable."""
        store = self.demand_store()
        try:
            await ask(store.put, name, at, until, pool=WRITES)
        except Exception as error:  # whatever a store raises
            # It may have written all the same, before its connection was reset.
            told = f"{type(error).__name__}; it may not have been revoked; try again"
            raise RevocationsUnavailable(f"put: {told}") from error

    def _issuer(self, name: str | None) -> TrustedIssuer:
        if name is None and len(self._issuers) == 1:
            return next(iter(self._issuers.values()))
        if not isinstance(name, str) or name not in self._issuers:
            raise ValueError(f"name the issuer: one of {', '.join(self._issuers)}")
        return self._issuers[name]


def handle(kind: Kind, issuer: str, value: str) -> str:
    """The name of a mark.  Neither *kind* nor *issuer* has a space, so no two agree."""
    return f"{kind} {issuer} {value}"


def handles(token: Token) -> tuple[str, ...]:
    """The names by which *token* can be taken back."""
    issuer, sid, sub = token["iss"], token.get("sid"), token.get("sub")
    own = f"jti {issuer} {token.identifier}"  # as `handle` writes it
    if sid and sub:
        return own, f"sid {issuer} {sid}", f"sub {issuer} {sub}"
    if sid:
        return own, f"sid {issuer} {sid}"
    return (own, f"sub {issuer} {sub}") if sub else (own,)


def _nothing() -> None:
    """End what was not begun."""


async def _ensure_older(names: Sequence[str], marks: Any, issued: float) -> None:
    """Raise TokenRevoked if one of *names* was marked at *issued* or later."""
    for name, mark in zip(names, await _dates(names, marks), strict=True):
        # Most issuers write whole seconds: in that of the mark, a token is older.
        if mark is not None and mark >= issued:
            raise TokenRevoked(f"its {name.partition(' ')[0]} was revoked")


async def _dates(names: Sequence[str], marks: Any) -> Sequence[float | None]:
    """What a store says of *names*, once it says it.  Raise RevocationsUnavailable."""
    try:
        told = await marks if isawaitable(marks) else marks
        dates = [None if mark is None else float(mark) for mark in told]
        if len(dates) != len(names) or any(mark != mark for mark in dates):
            raise ValueError("not one date for each name")  # NaN is none
        return dates
    except Exception as error:  # whatever a store raises: nobody knows
        raise _unavailable("look", error) from error


def _unavailable(act: str, error: Exception) -> RevocationsUnavailable:
    return RevocationsUnavailable(f"{act}: {type(error).__name__}")
