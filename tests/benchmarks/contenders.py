"""Our middleware and PyJWT's PyJWKClient, as applications that verify a bearer token.

All answer 200, or 401 for a bad token, or 503 where the keys cannot be had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import jwt

from jwt_middleware import Authenticator, RemoteKeys, TrustedIssuer
from jwt_middleware.asgi import ASGIApp, JWTMiddleware, Receive, Scope, Send
from jwt_middleware.fetch import Fetcher

ISSUER, AUDIENCE = "https://issuer.example", "https://api.example"

Age = Literal["none", "fresh", "rested", "due", "ended"]
"""Of the set that is held: none yet; just fetched; fetched longer ago than the
cooldown; time to fetch it anew; no longer fresh."""
AHEAD_S: Mapping[Age, float] = {"rested": 31, "due": 0.9 * 600, "ended": 1.1 * 600}
"""How far our clock is put forward: a set is fresh for 600 s, by default."""
LIFESPAN_S = 1.0
"""Of PyJWT's set where it has to end, since its clock cannot be put forward."""

SETTINGS = f"""\
- jwt_middleware is as by default; for a set that ages, its clock is put forward.
- PyJWKClient is as by default (timeout 30, cooldown_duration 30, lifespan 300, no
  cache_keys), with two exceptions.  For the unknown key: cooldown_duration=0, as if
  the last fetch were 30 s ago.  Where the set is to be due or ended, which are one
  to it: lifespan={LIFESPAN_S:.0f}, which is waited for."""


class Contender(Protocol):
    """A way to verify tokens by keys that are fetched."""

    @property
    def app(self) -> ASGIApp: ...

    async def grow(self) -> None:
        """Let the set that was just fetched come to the age that it should have."""


class Ours:
    def __init__(self, jwks_url: str, age: Age) -> None:
        fetcher = Fetcher(loopback_http=True)
        keys = RemoteKeys(jwks_url, fetcher=fetcher, now=self._now)
        auth = Authenticator(TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys))
        self.app: ASGIApp = JWTMiddleware(_welcome, auth)
        self._age: Age = age
        self._ahead_s = 0.0

    async def grow(self) -> None:
        self._ahead_s = AHEAD_S.get(self._age, 0)

    def _now(self) -> float:
        return time.monotonic() + self._ahead_s


class Direct:
    """PyJWKClient, called in an async handler as one calls it elsewhere."""

    def __init__(self, jwks_url: str, age: Age) -> None:
        self._ends = age in ("due", "ended")
        self._client = jwt.PyJWKClient(
            jwks_url,
            lifespan=LIFESPAN_S if self._ends else 300,
            cooldown_duration=0 if age == "rested" else 30,
        )

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorization = dict(scope["headers"])[b"authorization"].decode()
        try:
            await self._verify(authorization.removeprefix("Bearer "))
        except jwt.PyJWKClientConnectionError:
            await _answer(503, send)
        except jwt.PyJWTError:
            await _answer(401, send)
        else:
            await _answer(200, send)

    async def grow(self) -> None:
        if self._ends:
            await asyncio.sleep(LIFESPAN_S)

    async def _verify(self, token: str) -> None:
        self._decode(token)

    def _decode(self, token: str) -> None:
        key = self._client.get_signing_key_from_jwt(token)
        jwt.decode(token, key, ["ES256"], audience=AUDIENCE, issuer=ISSUER)


class Threaded(Direct):
    """The same, in a thread of the loop's pool."""

    async def _verify(self, token: str) -> None:
        await asyncio.to_thread(self._decode, token)


CONTENDERS: Mapping[str, Callable[[str, Age], Contender]] = {
    "jwt_middleware": Ours,
    "PyJWKClient": Direct,
    "PyJWKClient, to_thread": Threaded,
}


async def _welcome(scope: Scope, receive: Receive, send: Send) -> None:
    await _answer(200, send)


async def _answer(status: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})
