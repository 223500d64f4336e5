"""Each framework with its application, our lock in front of it, and other locks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from jwt_middleware import asgi, wsgi

from . import peers, plain
from .drive import ASGI, WSGI, App, Door
from .rounds import OURS
from .tokens import Signer

Build = Callable[[Signer], App]


@dataclass(frozen=True)
class Stack:
    door: Callable[[], Door]
    plain: Callable[[], App]
    ours: Build
    peers: Mapping[str, Build] = field(default_factory=dict)

    def locked(
        self, signer: Signer, *, has_peers: bool
    ) -> tuple[Mapping[str, App], list[str]]:
        """By contender, the application; and those that cannot be had, and why."""
        apps, absent = {OURS: self.ours(signer)}, list[str]()
        for name, build in self.peers.items() if has_peers else ():
            try:
                apps[name] = build(signer)
            except (ModuleNotFoundError, peers.Unfit) as error:
                absent.append(f"{name}: {error}")
        return apps, absent


def our_wsgi(signer: Signer) -> App:
    return wsgi.JWTMiddleware(plain.wsgi_app, signer.authenticator())


def our_flask(signer: Signer) -> App:
    app = plain.flask_app()
    locked = wsgi.JWTMiddleware(app.wsgi_app, signer.authenticator())
    app.wsgi_app = locked  # type: ignore[method-assign]
    return app


def our_asgi(signer: Signer) -> App:
    return asgi.JWTMiddleware(plain.asgi_app, signer.authenticator())


def our_starlette(signer: Signer) -> App:
    app = plain.starlette_app()
    app.add_middleware(asgi.JWTMiddleware, auth=signer.authenticator())
    return app


def our_fastapi(signer: Signer) -> App:
    app = plain.fastapi_app()
    app.add_middleware(asgi.JWTMiddleware, auth=signer.authenticator())
    return app


def our_litestar(signer: Signer) -> App:
    return asgi.JWTMiddleware(plain.litestar_app(), signer.authenticator())


STACKS: Mapping[str, Stack] = {
    "WSGI": Stack(WSGI, lambda: plain.wsgi_app, our_wsgi),
    "Flask": Stack(
        WSGI,
        plain.flask_app,
        our_flask,
        {
            "flask-jwt-extended": peers.flask_jwt_extended,
            "Authlib ResourceProtector": peers.authlib,
        },
    ),
    "ASGI": Stack(
        ASGI, lambda: plain.asgi_app, our_asgi, {"MCP SDK + PyJWT": peers.mcp}
    ),
    "Starlette": Stack(
        ASGI,
        plain.starlette_app,
        our_starlette,
        {"AuthenticationMiddleware + PyJWT": peers.starlette},
    ),
    "FastAPI": Stack(
        ASGI, plain.fastapi_app, our_fastapi, {"dependency + PyJWT": peers.fastapi}
    ),
    "Litestar": Stack(
        ASGI, plain.litestar_app, our_litestar, {"JWTAuth": peers.litestar}
    ),
}
