"""Authlib as an issuer for tests: RFC 9068 access tokens for client credentials.

``python -m tests.issuers.authlib_issuer [port]`` prints ``{"issuer": "http://..."}``
when it listens.  Its metadata is where RFC 8414 puts it and nowhere else.  What is
under ``/__`` is what provider.mjs tells of.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable

from authlib.integrations.flask_oauth2 import AuthorizationServer  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant  # type: ignore[import-untyped]
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator  # type: ignore[import-untyped]
from flask import Flask, Response, request
from joserfc.jwk import ECKey, Key, KeySet
from werkzeug.serving import make_server

SCOPES = ("read", "write")
LIFETIME_S = 600


class Client:
    """The one client, as Authlib asks about it."""

    def get_client_id(self) -> str:
        return "service"

    def check_client_secret(self, secret: str) -> bool:
        return secret == "made-up"

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method, endpoint) == ("client_secret_basic", "token")

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def get_allowed_scope(self, scope: str | None) -> str:
        return " ".join(name for name in (scope or "").split() if name in SCOPES)


class Keys:
    """The keys that are published; the first one signs."""

    def __init__(self) -> None:
        self.generation = 0
        self.published: list[Key] = []
        self.rotate()

    def rotate(self) -> None:
        self.generation += 1
        key = ECKey.generate_key(
            "P-256",
            {"kid": f"ES256-{self.generation}", "alg": "ES256", "use": "sig"},
        )
        self.published.insert(0, key)

    def drop(self) -> None:
        del self.published[1:]


class Generator(JWTBearerTokenGenerator):  # type: ignore[misc]
    """RFC 9068 §3: the audience is the resource that was asked for."""

    def __init__(self, issuer: str) -> None:
        super().__init__(issuer, "ES256", expires_generator=lambda *_: LIFETIME_S)

    def get_jwks(self) -> KeySet:
        return KeySet(keys.published[:1])

    def get_audiences(self, client: Client, user: None, scope: str) -> list[str]:
        return request.form.getlist("resource")


app = Flask(__name__)
client, keys = Client(), Keys()
hits = Counter(metadata=0, jwks=0)
server = AuthorizationServer(
    app,
    query_client={client.get_client_id(): client}.get,
    save_token=lambda token, request: None,
)
server.register_grant(ClientCredentialsGrant)


@app.before_request
def count_and_refuse() -> tuple[str, int] | None:
    hits["metadata"] += request.path.startswith("/.well-known/")
    hits["jwks"] += request.path == "/jwks"
    if app.config.get("DOWN") and not request.path.startswith("/__"):
        return "", 503
    return None


@app.get("/.well-known/oauth-authorization-server")
def metadata() -> dict[str, object]:
    issuer = app.config["ISSUER"]
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/jwks",
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }


@app.get("/jwks")
def jwks() -> dict[str, object]:
    return {**KeySet(keys.published).as_dict()}


@app.post("/token")
def token() -> Response:
    return server.create_token_response()  # type: ignore[no-any-return]


@app.post("/__<change>")
def administer(change: str) -> dict[str, object]:
    changes: dict[str, Callable[[], None]] = {
        "rotate": keys.rotate,
        "drop": keys.drop,
        "down": lambda: app.config.update(DOWN=True),
        "up": lambda: app.config.update(DOWN=False),
    }
    changes[change]()
    return {}


@app.get("/__hits")
def tell_hits() -> dict[str, int]:
    return dict(hits)


def main(port: int = 0) -> None:
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "loopback"
    listening = make_server("127.0.0.1", port, app)
    issuer = app.config["ISSUER"] = f"http://127.0.0.1:{listening.port}"
    server.register_token_generator("default", Generator(issuer))
    print(json.dumps({"issuer": issuer}), flush=True)
    listening.serve_forever()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
