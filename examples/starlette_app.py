"""A Starlette application that logs its own users in.  Copy it, change ten lines.

    python -m examples.starlette_app        serves http://localhost:8000

alice (admin) and bob have the password "wonderland".  A client sends a header:

    TYPE='Content-Type: application/json'
    curl -H "$TYPE" -d '{"name":"alice","password":"wonderland"}' localhost:8000/token
    curl -H "Authorization: Bearer $ACCESS_TOKEN" localhost:8000/me

A browser sends a cookie; a WebSocket at /ws takes either:

    LOGIN='{"name":"bob","password":"wonderland"}'
    curl -H "$TYPE" -d "$LOGIN" -c jar localhost:8000/login
    curl -b jar localhost:8000/me
    curl -b jar localhost:8000/admin/users
    curl -b jar -X POST localhost:8000/logout

For production: read the key from a secret (Key.from_pem), so that tokens survive a
restart and all workers sign alike; keep users and their hashes in a database; set
require_https=True, and tell uvicorn of your proxy (--proxy-headers).  MemoryStore
serves one process; SQLiteStore serves all workers of a machine, RedisStore all of them.
"""

from __future__ import annotations

from typing import Any

import uvicorn
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TokenIssuer,
    TokenPair,
)
from jwt_middleware.asgi import JWTMiddleware

HASHER = PasswordHasher()
HASH = HASHER.hash("wonderland")
SCOPES = {"alice": ("read", "admin"), "bob": ("read",)}
COOKIE: dict[str, Any] = {"secure": True, "httponly": True, "samesite": "lax"}

issuer = TokenIssuer("http://localhost:8000", audience="example", key=Key.generate())
auth = Authenticator(
    issuer.trusted(),
    sources=(BearerHeader(), Cookie("__Host-access")),
    rules=(
        Rule("/", public=True),
        Rule("/token", public=True),
        Rule("/login", public=True),
        Rule("/admin/*", scopes=("admin",)),
    ),
    store=MemoryStore(),
)


async def home(request: Request) -> Response:
    return PlainTextResponse(__doc__)


async def token(request: Request) -> Response:
    pair = await log_in(request)
    return JSONResponse(pair.as_dict(), headers={"Cache-Control": "no-store"})


async def login(request: Request) -> Response:
    pair = await log_in(request)
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        "__Host-access", pair.access_token, max_age=pair.expires_in, **COOKIE
    )
    return response


async def log_in(request: Request) -> TokenPair:
    # Another site's page can post a form here unasked, but not this type.
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415)
    try:
        sent = await request.json()
        name, password = str(sent["name"]), str(sent["password"])
    except (ValueError, KeyError, TypeError):
        raise HTTPException(400, "write a name and a password") from None
    if not await run_in_threadpool(is_user, name, password):
        raise HTTPException(403, "wrong name or password")
    return issuer.issue(name, scope=SCOPES[name])


def is_user(name: str, password: str) -> bool:
    try:  # for anyone, so that time does not tell who is known
        HASHER.verify(HASH, password.encode("utf-8", "replace"))
    except VerifyMismatchError:
        return False
    return name in SCOPES


async def me(request: Request) -> Response:
    user = {"user": request.user.subject, "scopes": sorted(request.user.scopes)}
    return JSONResponse(user)


async def users(request: Request) -> Response:
    return JSONResponse({"users": sorted(SCOPES)})


async def logout(request: Request) -> Response:
    auth.revoke_session(request.user["sid"])
    response = Response(status_code=204)
    response.delete_cookie("__Host-access", **COOKIE)
    return response


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello, {websocket.user.subject}")
    await websocket.close()


app = Starlette(
    routes=[
        Route("/", home),
        Route("/token", token, methods=["POST"]),
        Route("/login", login, methods=["POST"]),
        Route("/me", me),
        Route("/admin/users", users),
        Route("/logout", logout, methods=["POST"]),
        WebSocketRoute("/ws", greet),
    ],
    middleware=[Middleware(JWTMiddleware, auth=auth)],
)

if __name__ == "__main__":
    print(__doc__)
    uvicorn.run(app, host="127.0.0.1", port=8000)
