"""Taking tokens back before they expire."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any, Literal

from .bridge import ask, is_instant, needs_loop
from .errors import LifetimeExceeded, RevocationsUnavailable, TokenRevoked
from .options import read_date
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

    A token is revoked when one of its handles was marked at or after the moment
    that it was issued: itself, its session (``sid``), its subject (``sub``), each
    within its issuer.  One that does not say when is older than any mark.
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

    @property
    def needs_loop(self) -> bool:
        """Whether the store is asynchronous, so that WSGI cannot ask it."""
        return any(needs_loop(getattr(self._store, name, None)) for name in METHODS)

    def ensure_live(self, token: Token) -> Awaitable[None] | None:
        """Raise TokenRevoked, or RevocationsUnavailable where nobody can say.

        Where something is returned, nobody can say before it has been awaited.
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
        return _ensure_older(names, marks, -math.inf if issued is None else issued)

    async def ensure_session_live(
        self, issuer: str, sid: str, sub: str, issued: float
    ) -> None:
        """Raise TokenRevoked where a session was ended since *issued*."""
        names = (handle("sid", issuer, sid), handle("sub", issuer, sub))
        await _ensure_older(names, self._look(names), issued)

    async def date_of(self, name: str) -> float | None:
        """When *name* was marked, or None.  Raise RevocationsUnavailable."""
        return (await _dates((name,), self._look((name,))))[0]

    async def is_used(self, name: str) -> bool:
        """Whether *name* was used, also by another worker.  Marks nothing."""
        return not await self.use(name, 0.0, 0.0)

    async def use(self, name: str, at: float, until: float) -> bool:
        """Mark *name* for the one use that there is.  False where it was used."""
        try:
            return bool(await ask(self.demand_store().add, name, at, until))
        except Exception as error:  # whatever a store raises: it may have been used
            raise _unavailable("add", error) from error

    def watch(self, token: Token, call: Callable[[], None]) -> Callable[[], None]:
        """Have *call* called when *token* may have been taken back.

        By any thread; what is returned ends it.  Where the store cannot tell, nothing
        is called.
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
        """Take back what was issued in a session, also by a clock that is ahead."""
        trusted, now = self._issuer(issuer), self._now()
        at = now + trusted.policy.leeway
        await self._put("sid", trusted.issuer, sid, at, at + trusted.memory)

    async def revoke_subject(
        self, sub: str, issuer: str | None, before: float | None
    ) -> None:
        """Take back what was issued to a subject until *before*, or now."""
        trusted, now = self._issuer(issuer), self._now()
        at = now if before is None else read_date("before", before)
        if before is None:
            # Also a session that began just after a mark, by a clock that is ahead.
            with suppress(RevocationsUnavailable):
                at = await self.after_mark("sub", trusted.issuer, sub, now)
        await self._put("sub", trusted.issuer, sub, at, max(at, now) + trusted.memory)

    async def after_mark(
        self, kind: Kind, issuer: str, value: str, now: float
    ) -> float:
        """*now*, or the first moment after a mark that stands."""
        mark = await self.date_of(handle(kind, issuer, value))
        return now if mark is None else max(now, mark + STEP_S)

    def demand_store(self) -> Store:
        """Return the store.  Raise ValueError where nothing can be revoked."""
        if self._store is None:
            raise ValueError("nothing can be revoked without a store; give store=...")
        return self._store

    def _ensure_remembered(self, issuer: str, issued: float) -> None:
        """Raise LifetimeExceeded for a token older than any mark that is kept.

        One that lives too long is refused when it is new.  It must not pass when it
        is old, and the marks on its session have ended.
        """
        if issued < self._now() - self._issuers[issuer].oldest:
            raise LifetimeExceeded(f"iat is {issued}: marks of then are not kept")

    def _look(self, names: Sequence[str]) -> Awaitable[Sequence[float | None]]:
        return ask(self.demand_store().look, names)

    async def _put(
        self, kind: Kind, issuer: str, value: str, at: float, until: float
    ) -> None:
        store = self.demand_store()
        if not isinstance(value, str) or not value:
            raise ValueError(f"{kind} must be a string that is not empty")
        try:
            await ask(store.put, handle(kind, issuer, value), at, until)
        except Exception as error:  # whatever a store raises: nothing was revoked
            raise _unavailable("put", error) from error

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
    """Raise TokenRevoked where one of *names* was marked since *issued*."""
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
