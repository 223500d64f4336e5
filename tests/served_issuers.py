"""Resource servers for `test_real_issuers`, in Flask and in Starlette.

The environment says whom they trust: ``SERVED_ISSUERS`` is a JSON object of issuers
and the audience that we have with each, ``SERVED_OPTIONS`` one of the options of
`RemoteKeys`.  They tell whose token came, which worker verified it, and how good the
keys were then.  ``/reports`` needs the scope "read".
"""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from jwt_middleware import (
    Authenticator,
    RemoteKeys,
    Rule,
    TrustedIssuer,
    current_token,
)
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.fetch import Fetcher
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

ISSUERS: dict[str, str] = json.loads(os.environ["SERVED_ISSUERS"])
OPTIONS: dict[str, Any] = json.loads(os.environ.get("SERVED_OPTIONS", "{}"))

keys = {
    url: RemoteKeys.from_issuer(url, fetcher=Fetcher(loopback_http=True), **OPTIONS)
    for url in ISSUERS
}
auth = Authenticator(
    *(
        TrustedIssuer(url, audience=audience, keys=keys[url])
        for url, audience in ISSUERS.items()
    ),
    rules=(Rule("/reports", scopes=("read",)),),
)


def told() -> dict[str, Any]:
    token = current_token()
    assert token is not None, "the lock let nobody in"
    return {
        "issuer": token.issuer,
        "subject": token.subject,
        "algorithm": token.header["alg"],
        "kid": token.header["kid"],
        "worker": os.getpid(),
        "keys": keys[token.issuer].state().status,
    }


flask_app = Flask(__name__)
flask_app.wsgi_app = WSGIMiddleware(flask_app.wsgi_app, auth)  # type: ignore[method-assign]


@flask_app.get("/")
@flask_app.get("/reports")
def show() -> dict[str, Any]:
    return told()


async def ashow(request: Request) -> JSONResponse:
    return JSONResponse(told())


starlette_app = Starlette(
    routes=[Route("/", ashow), Route("/reports", ashow)],
    middleware=[Middleware(ASGIMiddleware, auth=auth)],
)
