"""Other locks, each as its documentation says.

All check the signature, ``iss``, ``aud`` and ``exp``, by a key that was prepared
beforehand.  Those that may not be installed are imported where they are built.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import jwt
from authlib.integrations.flask_oauth2 import (  # type: ignore[import-untyped]
    ResourceProtector,
)
from authlib.oauth2.rfc9068 import (  # type: ignore[import-untyped]
    JWTBearerTokenValidator,
)
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from flask import Flask
from joserfc import jwk
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
    requires,
)
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Route

from . import plain
from .drive import App
from .tokens import AUDIENCE, ISSUER, Signer

bearer = OAuth2PasswordBearer(tokenUrl="token")

Decode = Callable[[str], dict[str, Any]]


class Unfit(Exception):
    """A contender does not take such tokens."""


def pyjwt_decode(signer: Signer) -> Decode:
    key, algorithms = signer.prepared, [signer.header_name]

    def decode(token: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms,
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    return decode


def flask_jwt_extended(signer: Signer) -> App:
    """https://flask-jwt-extended.readthedocs.io/: "Basic Usage", "Configuration"."""
    extended = import_module("flask_jwt_extended")
    app = Flask("benchmark")
    name = "JWT_SECRET_KEY" if signer.name.startswith("HS") else "JWT_PUBLIC_KEY"
    app.config |= {
        "JWT_ALGORITHM": signer.header_name,
        name: signer.prepared,
        "JWT_DECODE_ISSUER": ISSUER,
        "JWT_DECODE_AUDIENCE": AUDIENCE,
    }
    extended.JWTManager(app)
    app.add_url_rule("/", view_func=extended.jwt_required()(plain.flask_view))
    return app


class AuthlibValidator(JWTBearerTokenValidator):  # type: ignore[misc]
    def __init__(self, signer: Signer) -> None:
        super().__init__(issuer=ISSUER, resource_server=AUDIENCE)
        self._key = jwk.import_key(dict(signer.jwk))

    def get_jwks(self) -> object:
        return self._key


def authlib(signer: Signer) -> App:
    """https://docs.authlib.org/: "Flask OAuth 2.0 Server", "Resource Server"."""
    if signer.header_name == "EdDSA":  # it leaves joserfc's default, which has none
        raise Unfit("no EdDSA")
    protector = ResourceProtector()
    protector.register_token_validator(AuthlibValidator(signer))
    app = Flask("benchmark")
    app.add_url_rule("/", view_func=protector()(plain.flask_view))
    return app


class PyJWTBackend(AuthenticationBackend):
    def __init__(self, decode: Decode) -> None:
        self._decode = decode

    async def authenticate(
        self, conn: HTTPConnection
    ) -> tuple[AuthCredentials, SimpleUser] | None:
        if "Authorization" not in conn.headers:
            return None
        scheme, _, token = conn.headers["Authorization"].partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims = self._decode(token)
        except jwt.PyJWTError as error:
            raise AuthenticationError("invalid token") from error
        return AuthCredentials(["authenticated"]), SimpleUser(claims["sub"])


def starlette(signer: Signer) -> App:
    """https://www.starlette.io/authentication/, with PyJWT."""
    backend = PyJWTBackend(pyjwt_decode(signer))
    return Starlette(
        routes=[Route("/", requires("authenticated")(plain.starlette_view))],
        middleware=[Middleware(AuthenticationMiddleware, backend=backend)],
    )


def fastapi(signer: Signer) -> App:
    """https://fastapi.tiangolo.com/tutorial/security/oauth2-jwt/, with PyJWT."""
    decode = pyjwt_decode(signer)

    async def current_user(token: Annotated[str, Depends(bearer)]) -> str:
        try:
            claims = decode(token)
        except jwt.PyJWTError as error:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise HTTPException(401, "invalid token", challenge) from error
        return str(claims["sub"])

    app = FastAPI()
    app.add_api_route("/", plain.view, dependencies=[Depends(current_user)])
    return app


def litestar(signer: Signer) -> App:
    """https://docs.litestar.dev/: "JWT Security Backends"."""
    security = import_module("litestar.security.jwt")

    async def retrieve_user(token: Any, connection: Any) -> str:
        return str(token.sub)

    lock = security.JWTAuth[str](
        retrieve_user_handler=retrieve_user,
        token_secret=signer.prepared,
        algorithm=signer.header_name,
        accepted_audiences=[AUDIENCE],
        accepted_issuers=[ISSUER],
    )
    return plain.litestar_app(on_app_init=[lock.on_app_init])


def mcp(signer: Signer) -> App:
    """https://py.sdk.modelcontextprotocol.io/: "Authorization", with PyJWT."""
    middleware = import_module("mcp.server.auth.middleware.bearer_auth")
    provider = import_module("mcp.server.auth.provider")
    decode = pyjwt_decode(signer)

    class PyJWTVerifier:
        async def verify_token(self, token: str) -> Any:
            try:
                claims = decode(token)
            except jwt.PyJWTError:
                return None
            return provider.AccessToken(
                token=token,
                client_id=claims["client_id"],
                scopes=claims["scope"].split(),
                expires_at=claims["exp"],
                subject=claims["sub"],
            )

    locked = middleware.RequireAuthMiddleware(plain.asgi_app, ["items:read"])
    backend = middleware.BearerAuthBackend(PyJWTVerifier())
    return AuthenticationMiddleware(locked, backend=backend)
