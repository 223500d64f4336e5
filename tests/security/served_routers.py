"""The applications of `frameworks` for a real server, as ``asgi_app`` and ``wsgi_app``.

The header ``X-App`` of a request says which one is meant: its name and the name of
its rules.  ``SERVED_KEY`` is the key of the tokens, ``SERVED_FILES`` the folder of the
static files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jwt_middleware import Authenticator, Key, TrustedIssuer
from tests.conftest import AUDIENCE, ISSUER, clock

from .frameworks import DIRECT
from .routes import RULE_SETS, TABLES

TABLE = "catching"
served = ExitStack()  # for as long as the process lives


@cache
def apps(kind: str) -> Mapping[str, Any]:
    """The applications of a *kind*, by what ``X-App`` says."""
    issuer = TrustedIssuer(
        ISSUER,
        audience=AUDIENCE,
        keys=[Key.from_jwk(json.loads(os.environ["SERVED_KEY"]))],
    )
    files = Path(os.environ["SERVED_FILES"])
    return {
        f"{framework.name} {name}": served.enter_context(
            framework.guarded(
                Authenticator(issuer, rules=rules, now=clock), TABLES[TABLE], files
            )
        )
        for framework in DIRECT
        if framework.kind == kind and find_spec(framework.module)
        for name, rules in RULE_SETS.items()
    }


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    name = dict(scope["headers"])[b"x-app"].decode()
    await apps("asgi")[name](scope, receive, send)


def wsgi_app(environ: Any, start_response: Any) -> Any:
    return apps("wsgi")[environ["HTTP_X_APP"]](environ, start_response)
