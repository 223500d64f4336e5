"""A Starlette application that logs its own users in.

Copy it with login_limits.py and the folder `page` into a package of your own, and
change ten lines.

    python -m examples.starlette_app        serves http://localhost:8000

alice (admin) and bob have the password "wonderland".  Open it in a browser, in two
tabs: tokens live for a minute and are renewed, and what one tab ends the other loses.
A client other than a browser sends a header:

    TYPE='Content-Type: application/json'
    curl -H "$TYPE" -d '{"name":"alice","password":"wonderland"}' localhost:8000/token
    curl -H "Authorization: Bearer $ACCESS_TOKEN" localhost:8000/me
    GRANT="grant_type=refresh_token&refresh_token=$REFRESH_TOKEN"
    curl -d "$GRANT" localhost:8000/token/refresh
    curl -H "Authorization: Bearer $ACCESS_TOKEN" -X POST localhost:8000/logout

For production: read the key from a secret (Key.from_pem), so that tokens survive a
restart and all workers sign alike; keep users and their hashes in a database; set
require_https=True, and tell uvicorn of your proxy (--proxy-headers).  MemoryStore and
LoginLimits serve one process; SQLiteStore serves all workers of a machine, RedisStore
all machines.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import uvicorn
from anyio import CapacityLimiter, fail_after, to_thread
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Key,
    MemoryStore,
    Rule,
    SessionCookies,
    TokenIssuer,
    TokenPair,
)
from jwt_middleware.grants import read_refresh_request
from jwt_middleware.starlette import (
    from_request,
    init_app,
    require_token,
    requires,
    set_cookies,
)

from .login_limits import HASHERS, WAIT_S, LoginLimits, LoginRefused

logging.basicConfig()
logging.getLogger("jwt_middleware").setLevel("INFO")  # why a request was refused

PAGE = Path(__file__).parent / "page"
HASHER = PasswordHasher()
HASHING = CapacityLimiter(HASHERS)
HASH = HASHER.hash("wonderland")
SCOPES = {"alice": ("read", "admin"), "bob": ("read",)}
POLICY = {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"}
NO_STORE = {"Cache-Control": "no-store"}

store = MemoryStore()
issuer = TokenIssuer(
    "http://localhost:8000",
    audience="example",
    key=Key.generate(),
    store=store,
    access_lifetime=int(os.environ.get("ACCESS_LIFETIME", "60")),  # 600 is usual
    leeway=2,  # one machine has one clock; 30 is usual
    reuse_leeway=10,  # two tabs may renew at once
)
limits = LoginLimits(window=float(os.environ.get("LOGIN_WINDOW", "300")))
cookies = SessionCookies(issuer)
auth = Authenticator(
    issuer.trusted(),
    sources=(BearerHeader(), cookies),
    rules=(
        Rule("/", public=True),
        Rule("/page/*", public=True),
        Rule("/.well-known/jwks.json", public=True),
        Rule("/token", methods=("POST",), public=True),
        Rule("/token/refresh", methods=("POST",), public=True),
        Rule("/login", methods=("POST",), public=True),
        Rule("/session/*", methods=("POST",), public=True),
        Rule("/admin/*", scopes=("admin",)),
    ),
    store=store,
)


async def home(request: Request) -> Response:
    return FileResponse(PAGE / "index.html", headers=POLICY)


async def jwks(request: Request) -> Response:
    return JSONResponse(issuer.jwks(), headers={"Cache-Control": "public, max-age=600"})


async def token(request: Request) -> Response:
    pair = await log_in(request)
    return JSONResponse(pair.as_dict(), headers=NO_STORE)


async def refresh_token(request: Request) -> Response:
    content_type = request.headers.get("content-type", "")
    text, scope = read_refresh_request(content_type, await request.body())
    pair = await issuer.arefresh(text, scope=scope)
    return JSONResponse(pair.as_dict(), headers=NO_STORE)


async def login(request: Request) -> Response:
    cookies.ensure_own_page(from_request(request))
    pair = await log_in(request)
    await cookies.aend(from_request(request))  # one session for one browser
    return signed_in(pair)


async def refresh(request: Request) -> Response:
    return signed_in(await cookies.arefresh(from_request(request)))


def signed_in(pair: TokenPair) -> Response:
    response = JSONResponse({"expires_in": pair.expires_in})
    return set_cookies(response, cookies.write(pair))


async def end(request: Request) -> Response:
    await cookies.aend(from_request(request))
    return signed_out()


def signed_out() -> Response:
    return set_cookies(Response(status_code=204), cookies.clear())


async def log_in(request: Request) -> TokenPair:
    # Another site's page can post a form here unasked, but not this type.
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415)
    try:
        sent = await request.json()
        name, password = str(sent["name"]), str(sent["password"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise HTTPException(400, "write a name and a password") from None
    address = request.client.host if request.client else ""
    try:
        with fail_after(WAIT_S):  # it bounds the wait for HASHING, not the hashing
            is_known = await to_thread.run_sync(
                is_user, name, password, address, limiter=HASHING
            )
    except TimeoutError:
        told = "Too many logins at once. Try again."
        raise HTTPException(503, told, {"Retry-After": "1"}) from None
    except LoginRefused as error:
        raise HTTPException(error.status, str(error), error.headers) from None
    if not is_known:
        raise HTTPException(403, "wrong name or password")
    return await issuer.aissue(name, scope=SCOPES[name])


def is_user(name: str, password: str, address: str) -> bool:
    limits.count(name, address)
    try:  # for anyone, so that time does not tell who is known
        HASHER.verify(HASH, password.encode("utf-8", "replace"))
    except VerifyMismatchError:
        return False
    if name not in SCOPES:
        return False
    limits.forget(name, address)
    return True


async def me(request: Request) -> Response:
    user = require_token(request)
    seconds = round(user.expires_at - time.time())
    told = {"user": user.subject, "scopes": sorted(user.scopes), "expires_in": seconds}
    return JSONResponse(told, headers=NO_STORE)


async def users(request: Request) -> Response:
    return JSONResponse({"users": sorted(SCOPES)})


@requires("read", max_age=300)
async def password(request: Request) -> Response:
    """What wants a recent login: five minutes later it answers 401 (RFC 9470)."""
    return JSONResponse({"changed": False})


async def logout(request: Request) -> Response:
    await issuer.aend_session(require_token(request)["sid"])
    return signed_out()


async def logout_everywhere(request: Request) -> Response:
    await auth.arevoke_subject(require_token(request)["sub"])
    return signed_out()


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(f"hello, {require_token(websocket).subject}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


app = Starlette(
    routes=[
        Route("/", home),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/.well-known/jwks.json", jwks),
        Route("/token", token, methods=["POST"]),
        Route("/token/refresh", refresh_token, methods=["POST"]),
        Route("/login", login, methods=["POST"]),
        Route("/session/refresh", refresh, methods=["POST"]),
        Route("/session/end", end, methods=["POST"]),
        Route("/me", me),
        Route("/admin/users", users),
        Route("/password", password, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/logout/everywhere", logout_everywhere, methods=["POST"]),
        WebSocketRoute("/ws", echo),
    ],
    max_body_size=65_536,  # else a stranger's body fills the memory
)
init_app(app, auth)

if __name__ == "__main__":
    print(__doc__)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
