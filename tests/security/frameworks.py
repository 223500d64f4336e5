"""Every framework and every way to mount it, as `Framework` entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from jwt_middleware import Authenticator, asgi, wsgi

from . import asgi_apps, wsgi_apps
from .request_lines import ROOT, Reading
from .routes import Route

Build = Callable[[Sequence[Route], Path], Any]


@dataclass(frozen=True, slots=True)
class Framework:
    """How a framework's application is built and put behind the middleware."""

    name: str
    kind: str
    """``asgi`` or ``wsgi``."""
    module: str
    """What must be installed."""
    build: Build
    mount: str = ""
    """Where the guarded application is mounted in another one."""
    root: str = ""
    """A root that the application takes off by itself."""
    is_rewritten: bool = False
    """Whether requests name the steps that rewrite their path (`lenient`)."""
    takes_off_root: bool = True
    """ASGI: whether it looks for its routes below the server's root, as rules do.

    Falcon does not: under a root, its routes and the rules name other paths.
    """

    @contextmanager
    def guarded(
        self, auth: Authenticator, routes: Sequence[Route], files: Path
    ) -> Iterator[Any]:
        """The application with the middleware, for the block."""
        middleware = {"asgi": asgi, "wsgi": wsgi}[self.kind].JWTMiddleware
        if self.module == "django":
            urls = self.build(routes, files)
            with wsgi_apps.django_settings(urls, self.root):
                core = import_module(f"django.core.handlers.{self.kind}")
                app = getattr(core, f"{self.kind.upper()}Handler")()
                yield self._mounted(middleware(app, auth))
        else:
            yield self._mounted(middleware(self.build(routes, files), auth))

    @property
    def prefix(self) -> str:
        """What the plain paths of a client begin with."""
        # A root that the middleware cannot know is not a part of plain paths.
        return self.mount or (self.root if self.module == "fastapi" else "")

    def serves_below(self, reading: Reading) -> bool:
        """Whether plain paths are served when a server reads them so."""
        has_own = self.mount or self.root or not self.takes_off_root
        return not (reading.root and has_own)

    def _mounted(self, app: Any) -> Any:
        if not self.mount:
            return app
        if self.kind == "asgi":
            routing = import_module("starlette.routing")
            return routing.Router([routing.Mount(self.mount, app)])
        dispatcher = import_module("werkzeug.middleware.dispatcher")
        not_found = import_module("werkzeug.exceptions").NotFound()
        return dispatcher.DispatcherMiddleware(not_found, {self.mount: app})


def _django(is_async: bool, is_caseless: bool = False) -> Build:
    return partial(wsgi_apps.django_urls, is_async=is_async, is_caseless=is_caseless)


DIRECT = (
    Framework("flask", "wsgi", "flask", wsgi_apps.flask_app),
    Framework("flask-lenient", "wsgi", "flask", wsgi_apps.lenient_flask_app),
    Framework("django-wsgi", "wsgi", "django", _django(is_async=False)),
    Framework("falcon-wsgi", "wsgi", "falcon", wsgi_apps.falcon_app),
    Framework("pyramid", "wsgi", "pyramid", wsgi_apps.pyramid_app),
    Framework("bottle", "wsgi", "bottle", wsgi_apps.bottle_app),
    Framework("starlette", "asgi", "starlette", asgi_apps.starlette_app),
    Framework("fastapi", "asgi", "fastapi", asgi_apps.fastapi_app),
    Framework("quart", "asgi", "quart", asgi_apps.quart_app),
    Framework("litestar", "asgi", "litestar", asgi_apps.litestar_app),
    Framework("django-asgi", "asgi", "django", _django(is_async=True)),
    Framework(
        "falcon-asgi", "asgi", "falcon", asgi_apps.falcon_app, takes_off_root=False
    ),
    Framework("blacksheep", "asgi", "blacksheep", asgi_apps.blacksheep_app),
)
OTHERWISE = (
    Framework("django-caseless", "wsgi", "django", _django(False, is_caseless=True)),
    Framework(
        "starlette-caseless",
        "asgi",
        "starlette",
        partial(asgi_apps.starlette_app, is_caseless=True),
    ),
    Framework("lenient", "asgi", "starlette", asgi_apps.lenient_app, is_rewritten=True),
    Framework(
        "fastapi-root",
        "asgi",
        "fastapi",
        partial(asgi_apps.fastapi_app, root=ROOT),
        root=ROOT,
    ),
    Framework("django-asgi-root", "asgi", "django", _django(True), root=ROOT),
    Framework("django-wsgi-root", "wsgi", "django", _django(False), root=ROOT),
)
MOUNTED = (
    Framework("flask-mounted", "wsgi", "flask", wsgi_apps.flask_app, mount="/api"),
    Framework("bottle-mounted", "wsgi", "bottle", wsgi_apps.bottle_app, mount="/api"),
    Framework(
        "starlette-mounted", "asgi", "starlette", asgi_apps.starlette_app, mount="/api"
    ),
    Framework("quart-mounted", "asgi", "quart", asgi_apps.quart_app, mount="/api"),
    Framework(
        "litestar-mounted", "asgi", "litestar", asgi_apps.litestar_app, mount="/api"
    ),
    Framework(
        "blacksheep-mounted",
        "asgi",
        "blacksheep",
        asgi_apps.blacksheep_app,
        mount="/api",
    ),
)
FRAMEWORKS = (*DIRECT, *OTHERWISE, *MOUNTED)
