"""How a session begins, goes on by one refresh token after the other, and ends."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .compact import read_json_object
from .errors import (
    InvalidGrant,
    InvalidToken,
    LifetimeExceeded,
    RefreshReused,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
)
from .jose import Key, verify_compact
from .options import read_parts, read_seconds
from .refresh import Grant, RefreshTokens
from .revocation import METHODS, Revocations
from .rotation import Rotation
from .session_ids import is_session_id, new_session_id
from .store import Store
from .trust import TrustedIssuer

LONGEST = 30 * 86400
"""Seconds of a session."""
MOST_REUSE_LEEWAY = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Of sessions, in seconds."""

    access_lifetime: int
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
        self._policy = trusted.policy
        self._leeway = trusted.policy.leeway
        if store is not None:
            read_parts("store", (store,), *METHODS)
        self._refresh = RefreshTokens(
            self._issuer, trusted.policy.audiences, keys, self._leeway
        )
        self._revocations = Revocations(store, {self._issuer: trusted}, now)
        self._rotation = Rotation(
            self._issuer, self._revocations, self._leeway, limits.reuse_leeway, now
        )

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
            session_id=new_session_id(self._issuer),
            identifier=secrets.token_urlsafe(32),
            issued_at=now,
            started_at=started,
            expires_at=now + self._limits.idle_lifetime,
            ends_at=now + self._limits.lifetime,
            scopes=scopes,
            claims=claims,
            window_started_at=now,
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
        used_at = await self._rotation.use(grant)
        if used_at is None:
            return None
        return self._refresh.successor(grant, used_at, self._limits.idle_lifetime)

    async def ensure_unused(self, grant: Grant) -> None:
        """Raise RefreshReused if *grant* was used, and end the session."""
        if not await self._rotation.was_used(grant):
            return
        if await self._rotation.raced_at(grant) is None:
            raise await self._end_reused(grant)

    async def _end_reused(self, grant: Grant) -> RefreshReused:
        await self._revocations.revoke_session(grant.session_id, self._issuer)
        return RefreshReused("it was used before, so its session is ended")

    async def end(self, refresh_token_or_sid: str) -> None:
        """End a session, by its ``sid`` or by a token of it, used or not."""
        text = refresh_token_or_sid
        self._revocations.demand_store()
        if not isinstance(text, str):
            raise ValueError(
                f"give a refresh token or a session id, not {type(text).__name__}"
            )
        if text.count(".") == 2:
            await self.end_by(text)
        elif is_session_id(self._issuer, text):
            await self._revocations.revoke_session(text, self._issuer)
        else:  # such as a user's name: a logout must not silently do nothing
            raise InvalidGrant(
                "neither a refresh token nor a session id of this issuer; for a "
                "session of another issuer write Authenticator.revoke_session"
            )

    async def end_by(self, text: str) -> None:
        """End the session that a refresh token or an access token belongs to.

        The token may have been used or have expired, since its holder may log out.  An
        access token that has been expired for longer than it may live is refused: a
        stolen one must not end the session at any later time.  Raise InvalidGrant.
        """
        try:
            sid = self._refresh.read_ended(text, self._now()).session_id
        except InvalidGrant:
            sid, expiry = self._read_access(text)
            latest = expiry + self._limits.access_lifetime + self._leeway
            if self._now() > latest:
                raise InvalidGrant(f"exp is {expiry}: too old to log out") from None
        await self._revocations.revoke_session(sid, self._issuer)

    def ensure_same_session(self, grant: Grant, access_token: str) -> None:
        """Raise InvalidGrant if *access_token*, which may have expired, is not of the
        session of *grant*."""
        if self._read_access(access_token)[0] != grant.session_id:
            raise InvalidGrant("the access token is of another session")

    def _read_access(self, text: str) -> tuple[str, float]:
        """Return ``sid`` and ``exp`` of an access token, which may have expired."""
        try:
            header, payload = verify_compact(text, self._keys)
            claims = read_json_object(payload)
            with suppress(TokenExpired, TokenNotYetValid, LifetimeExceeded):
                self._policy.check(header, claims, self._now())
        except InvalidToken as error:
            raise InvalidGrant(f"{error.reason}: {error}") from error
        if not claims.get("sid"):
            raise InvalidGrant("not a token of a session")
        return claims["sid"], claims["exp"]

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
        access_lifetime,
        lifetime,
        read_whole("idle_lifetime", idle, lifetime),
        read_seconds("reuse_leeway", reuse_leeway, least=0, most=MOST_REUSE_LEEWAY),
    )


def read_whole(option: str, value: object, most: float) -> int:
    """Return whole seconds, at least one."""
    return int(read_seconds(option, value, least=1, most=most))
