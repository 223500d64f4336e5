"""A session that goes on inside a request whose access token has expired."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .errors import InvalidGrant, Unavailable

if TYPE_CHECKING:
    from .issuer import TokenIssuer
    from .pair import TokenPair

logger = logging.getLogger("jwt_middleware")

Headers = Sequence[tuple[str, str]]

CACHING = ("cache-control", "surrogate-control", "expires", "x-accel-expires")


class SessionRenewal:
    """A session that goes on when the answer to a request begins.

    Its refresh token is used up then, and not before: an answer that never comes,
    that tells of an error, or that sets one of the cookies *names* itself leaves it
    as it was.  *write* makes cookies of new tokens.
    """

    def __init__(
        self,
        issuer: TokenIssuer,
        refresh_token: str,
        access_token: str,
        names: tuple[str, ...],
        write: Callable[[TokenPair], Sequence[str]],
    ) -> None:
        self._issuer = issuer
        self._refresh_token = refresh_token
        self._written = tuple(f"{name}=" for name in names)
        self._write = write
        self._cookies: Headers = ()
        self.access_token = access_token
        """For the request itself."""

    async def complete(self, status: int, headers: Headers) -> Headers:
        """Return *headers* of an answer with the new cookies, which no cache keeps."""
        if self._are_written_by(headers):
            return headers
        if status < 400 and not self._cookies:
            self._cookies = await self._renew()
        if not self._cookies:
            return headers
        # Kept from here on, though WSGI may begin a second time, with an error.
        return [
            *without_caching(headers),
            ("Cache-Control", "no-store"),
            *self._cookies,
        ]

    async def _renew(self) -> Headers:
        try:
            pair = await self._issuer.arenew(self._refresh_token)
        except (InvalidGrant, Unavailable) as error:  # the session was ended meanwhile
            logger.info("not renewed: %s: %s", error.reason, error)
            return ()
        return [] if pair is None else [("Set-Cookie", v) for v in self._write(pair)]

    def _are_written_by(self, headers: Headers) -> bool:
        """Whether the application has logged somebody in, or out."""
        return any(
            name.lower() == "set-cookie" and value.startswith(self._written)
            for name, value in headers
        )


def without_caching(headers: Headers) -> Headers:
    """*headers* without those that let a cache keep the answer."""
    return [header for header in headers if not is_for_caches(header[0])]


def is_for_caches(name: str) -> bool:
    """Whether a header of that name tells a cache how long to keep an answer.

    Also ``CDN-Cache-Control`` and its like (RFC 9213), which go before.
    """
    lower = name.lower()
    return lower in CACHING or lower.endswith("cdn-cache-control")
