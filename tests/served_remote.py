"""An application behind the lock, for gunicorn to fork; its keys are fetched.

It was used before the fork: a token was verified, or is still being, by `BEFORE_FORK`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from jwt_middleware import AuthError
from jwt_middleware.fetch import Fetcher
from jwt_middleware.remote import RemoteKeys
from jwt_middleware.wsgi import JWTMiddleware

from .conftest import authenticator, trusted

TOKEN = os.environ["SERVED_TOKEN"]

auth = authenticator(
    trusted(
        keys=RemoteKeys(
            os.environ["SERVED_JWKS"], fetcher=Fetcher(loopback_http=True), timeout=20
        )
    )
)


def use() -> None:
    with suppress(AuthError):
        auth.authenticate(TOKEN)


def process_id(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if os.environ["BEFORE_FORK"] == "fetched":
    use()
else:
    threading.Thread(target=use, daemon=True).start()

app = JWTMiddleware(process_id, auth)
