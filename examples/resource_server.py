"""A resource server: it takes the tokens of an issuer that others run.  Copy it.

    export ISSUER=https://login.example.com AUDIENCE=https://api.example.com
    python -m examples.resource_server        serves http://localhost:8000

    curl localhost:8000/health
    curl localhost:8000/ready
    curl -H "Authorization: Bearer $TOKEN" localhost:8000/me
    curl -H "Authorization: Bearer $TOKEN" localhost:8000/reports

To try it, run the issuer of the tests (it needs Node.js) in a shell of its own:

    npm install --prefix tests/issuers
    node tests/issuers/provider.mjs 9000

and in two others, one for the server and one for curl, write:

    export ISSUER=http://127.0.0.1:9000 AUDIENCE=https://api.example/es256
    WANTED="grant_type=client_credentials&scope=read&resource=$AUDIENCE"
    TOKEN=$(curl -sS -u service:made-up -d "$WANTED" $ISSUER/token | grep -o 'ey[^"]*')

For production: let the load balancer ask /ready, and who restarts dead processes ask
/health, since an outage of the issuer is no reason to end one.  Set
require_https=True, and tell uvicorn of your proxy (--proxy-headers).
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from jwt_middleware import Authenticator, AuthError, RemoteKeys, Rule, TrustedIssuer
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.fetch import Fetcher
from jwt_middleware.starlette import require_token

logging.basicConfig()
logging.getLogger("jwt_middleware").setLevel("INFO")  # why a request was refused


def setting(name: str, example: str) -> str:
    """Return what the environment sets *name* to, or end with a line to write."""
    value = os.environ.get(name)
    if not value:
        raise SystemExit(
            f"{name} is not set; write, for instance: export {name}={example}"
        )
    return value


ISSUER = setting("ISSUER", "https://login.example.com")
AUDIENCE = setting("AUDIENCE", "https://api.example.com")

# Plain http is for an issuer on this machine, to try it out; leave the fetcher away.
keys = RemoteKeys.from_issuer(ISSUER, fetcher=Fetcher(loopback_http=True))
auth = Authenticator(
    TrustedIssuer(ISSUER, audience=AUDIENCE, keys=keys),
    rules=(
        Rule("/health", public=True),
        Rule("/ready", public=True),
        Rule("/reports", scopes=("read",)),
    ),
)


async def health(request: Request) -> Response:
    return JSONResponse({"status": "up"})


async def ready(request: Request) -> Response:
    with suppress(AuthError):  # what is wrong, the state says
        await keys.aload()
    state = keys.state()
    told = {"status": state.status, "age": state.age, "kids": len(state.kids)}
    return JSONResponse(told, 200 if state.is_usable else 503)


async def me(request: Request) -> Response:
    user = require_token(request)
    return JSONResponse({"user": user.subject, "scopes": sorted(user.scopes)})


async def reports(request: Request) -> Response:
    return JSONResponse({"reports": ["January", "February"]})


app = Starlette(
    routes=[
        Route("/health", health),
        Route("/ready", ready),
        Route("/me", me),
        Route("/reports", reports),
    ],
    middleware=[Middleware(JWTMiddleware, auth=auth)],
)

if __name__ == "__main__":
    print(__doc__)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
