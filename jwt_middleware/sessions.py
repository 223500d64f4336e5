"""How a session begins, goes on by one refresh token after the other, and ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .compact import read_json_object
from .errors import InvalidGrant, InvalidToken, RefreshReused, TokenRevoked
from .jose import Key, verify_compact
from .options import read_seconds
from .refresh import Grant, RefreshTokens
from .revocation import Revocations
from .store import Store
from .trust import TrustedIssuer

LONGEST = 30 * 86400
"""Seconds of a session."""
MOST_REUSE_LEEWAY = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Of sessions, in seconds."""

    lifetime: int
    idle_lifetime: int
    reuse_leeway: float


class Sessions:
    """The sessions of one issuer.  Without a store there are no refresh tokens."""

    def __init__(
        self,
        trusted: TrustedIssuer,
        keys: Sequence[Key],
        store: Store | None,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self._issuer = trusted.issuer
        self._keys = keys
        self._store = store
        self._limits = limits
        self._now = now
        self._leeway = trusted.policy.leeway
        self._refresh = RefreshTokens(
            self._issuer, trusted.policy.audiences, keys, self._leeway
        )
        self._revocations = Revocations(store, {self._issuer: trusted}, now)

    @property
    def are_kept(self) -> bool:
        """Whether there is a store for their marks."""
        return self._store is not None

    @property
    def idle_lifetime(self) -> float:
        """Seconds for which a refresh token may lie unused."""
        return self._limits.idle_lifetime

    @property
    def reuse_leeway(self) -> float:
        """Seconds for which tabs may race; none without refresh tokens."""
        return 0 if self._store is None else self._limits.reuse_leeway

    async def begin(
        self, subject: str, scopes: tuple[str, ...], claims: Mapping[str, Any]
    ) -> Grant:
        """Begin a session, as of now."""
        now = int(self._now())
        started: float = now
        if self._store is not None:
            started = await self._revocations.start_of_session(
                self._issuer, subject, now
            )
        return Grant(
            subject=subject,
            session_id=secrets.token_urlsafe(16),
            identifier=secrets.token_urlsafe(32),
            issued_at=now,
            started_at=started,
            expires_at=now + self._limits.idle_lifetime,
            ends_at=now + self._limits.lifetime,
            scopes=scopes,
            claims=claims,
        )

    async def read(self, refresh_token: str) -> Grant:
        """Return what a token stands for.  Raise InvalidGrant where its session ended.

        Whether it was used is not asked here.
        """
        self._revocations.demand_store()
        grant = self._refresh.read(refresh_token, self._now())
        try:
            await self._revocations.ensure_session_live(
                self._issuer, grant.session_id, grant.subject, grant.started_at
            )
        except TokenRevoked as error:
            raise InvalidGrant(str(error)) from error
        return grant

    async def use(self, grant: Grant) -> Grant:
        """Return the one successor of *grant*.

        Raise RefreshReused for a second use, and end the session.
        """
        successor = await self.try_use(grant)
        if successor is None:
            raise await self._end_reused(grant)
        return successor

    async def try_use(self, grant: Grant) -> Grant | None:
        """Return the one successor of *grant*, or None for a second use."""
        now, name = self._now(), self._use_of(grant)
        until = grant.expires_at + 2 * self._leeway  # by the slowest of our clocks
        if await self._revocations.use(name, now, until):
            used_at: float | None = now
        else:
            used_at = await self._raced_at(grant)
        if used_at is None:
            return None
        return self._refresh.successor(grant, used_at, self._limits.idle_lifetime)

    async def ensure_unused(self, grant: Grant) -> None:
        """Raise RefreshReused where *grant* was used, and end the session."""
        is_used = await self._revocations.is_used(self._use_of(grant))
        if is_used and await self._raced_at(grant) is None:
            raise await self._end_reused(grant)

    def _use_of(self, grant: Grant) -> str:
        return f"used {self._issuer} {grant.identifier}"

    async def _raced_at(self, grant: Grant) -> float | None:
        """When *grant* was used, if so shortly ago that tabs may be racing."""
        used_at = await self._revocations.date_of(self._use_of(grant))
        leeway = self._limits.reuse_leeway
        is_race = used_at is not None and 0 < leeway >= abs(self._now() - used_at)
        return used_at if is_race else None

    async def _end_reused(self, grant: Grant) -> RefreshReused:
        await self._revocations.revoke_session(grant.session_id, self._issuer)
        return RefreshReused("it was used before, so its session is ended")

    async def end(self, refresh_token_or_sid: str) -> None:
        """End a session, by its ``sid`` or by a token of it, used or not."""
        text = refresh_token_or_sid
        if isinstance(text, str) and text.count(".") == 2:
            await self.end_by(text)
        else:
            await self._revocations.revoke_session(text, self._issuer)

    async def end_by(self, text: str) -> None:
        """End the session of a token of it, of either kind.  Raise InvalidGrant.

        It may have been used or have expired: who has it may log out.
        """
        try:
            sid = self._refresh.read_ended(text, self._now()).session_id
        except InvalidGrant:
            sid = self._sid_of(text)
        await self._revocations.revoke_session(sid, self._issuer)

    def _sid_of(self, access_token: str) -> str:
        try:
            claims = read_json_object(verify_compact(access_token, self._keys)[1])
        except InvalidToken as error:
            raise InvalidGrant(f"{error.reason}: {error}") from error
        sid = claims.get("sid")
        if claims.get("iss") != self._issuer or not (isinstance(sid, str) and sid):
            raise InvalidGrant("no token of a session")
        return sid

    def write(self, grant: Grant) -> str | None:
        """Return the refresh token, where there is a store to mark its use in."""
        return None if self._store is None else self._refresh.write(grant)


def read_limits(
    access_lifetime: int,
    store: Store | None,
    session_lifetime: float,
    idle_lifetime: float | None,
    reuse_leeway: float,
) -> Limits:
    """Return the limits of sessions.  Raise ValueError where they contradict."""
    lifetime = read_whole("session_lifetime", session_lifetime, LONGEST)
    if store is None:  # then a session is one access token
        lifetime = access_lifetime
    if lifetime < access_lifetime:
        raise ValueError("access_lifetime is longer than session_lifetime")
    idle = lifetime if idle_lifetime is None else idle_lifetime
    return Limits(
        lifetime,
        read_whole("idle_lifetime", idle, lifetime),
        read_seconds("reuse_leeway", reuse_leeway, least=0, most=MOST_REUSE_LEEWAY),
    )


def read_whole(option: str, value: object, most: float) -> int:
    """Return whole seconds, at least one."""
    return int(read_seconds(option, value, least=1, most=most))
