"""Applications behind the lock, one for each store and one with remote keys.

``/sqlite/revoke`` revokes the token that it comes with, in that store.  If there is a
``SERVED_TOKEN`` in the environment, the stores are used at import, which with
``--preload`` is before the fork, and before gunicorn's worker has patched the process.
"""

from __future__ import annotations

import os
from importlib import import_module

if "PATCHED_FIRST" in os.environ:
    import_module("gevent.monkey").patch_all()

import json
from collections.abc import Iterable
from typing import Any

from jwt_middleware import (
    Authenticator,
    Key,
    MemoryStore,
    RemoteKeys,
    TrustedIssuer,
    current_token,
)
from jwt_middleware.fetch import Fetcher
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.wsgi import JWTMiddleware

NAMES = ("memory", "sqlite", "redis", "remote")


def auth_with(store: Any, keys: Any = None) -> Authenticator:
    held = [Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))]
    issuer = TrustedIssuer(
        "https://issuer.example",
        audience="api",
        keys=keys or held,
        algorithms=["ES256"],
    )
    return Authenticator(issuer, store=store)


remote = RemoteKeys(
    os.environ["SERVED_JWKS"], fetcher=Fetcher(loopback_http=True), timeout=20
)
auths = {
    "memory": auth_with(MemoryStore()),
    "sqlite": auth_with(SQLiteStore(os.environ["SERVED_SQLITE"])),
    "redis": auth_with(RedisStore(os.environ["SERVED_REDIS"])),
    "remote": auth_with(MemoryStore(), remote),
}
if "SERVED_TOKEN" in os.environ:
    for name in ("memory", "sqlite", "redis"):  # the keys are for the first requests
        auths[name].authenticate(os.environ["SERVED_TOKEN"])
        auths[name].revoke_jti("before")


def plain(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    _, name, *rest = environ["PATH_INFO"].split("/")
    if rest:
        token = current_token()
        assert token is not None
        auths[name].revoke(token)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


guarded = {name: JWTMiddleware(plain, auth) for name, auth in auths.items()}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return guarded[environ["PATH_INFO"].split("/")[1]](environ, start_response)
