"""ASGI applications of each framework over the same table of routes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from .lenient import rewriting
from .routes import Route, run


def renamed(route: Route, pattern: str) -> str:
    """The path of *route* in a framework's language: *pattern* takes any rest."""
    return route.prefix + pattern if route.is_catch_all else route.path


def name_of(route: Route) -> str:
    return re.sub(r"\W", "_", f"{route.method}{route.path}")


def mounted_at(route: Route, path: str) -> tuple[str, str]:
    """Where *path* of *route* is mounted, if it is, and what of it stands there."""
    if path.startswith("/sub/"):
        return "/sub", path.removeprefix("/sub")
    return "", path


def _static(files: Path, is_caseless: bool = False) -> Any:
    class CaselessFiles(import_module("starlette.staticfiles").StaticFiles):  # type: ignore[misc]
        """On a file system that ignores case, as those of Windows and macOS do."""

        def lookup_path(self, path: str) -> Any:
            return super().lookup_path(path.casefold())

    plain = import_module("starlette.staticfiles").StaticFiles
    return (CaselessFiles if is_caseless else plain)(directory=files)


def starlette_app(
    routes: Sequence[Route], files: Path, is_caseless: bool = False
) -> Any:
    routing = import_module("starlette.routing")
    text = import_module("starlette.responses").PlainTextResponse

    def view_of(route: Route) -> Any:
        async def view(request: Any) -> Any:
            return text(run(route, request.path_params.get("rest", "")))

        return view

    listed = [routing.Mount("/static", _static(files, is_caseless))]
    for route in routes:
        mount, path = mounted_at(route, renamed(route, "{rest:path}"))
        one = routing.Route(path, view_of(route), methods=[route.method])
        if is_caseless:
            one.path_regex = re.compile(one.path_regex.pattern, re.IGNORECASE)
        listed.append(routing.Mount(mount, routes=[one]) if mount else one)
    return import_module("starlette.applications").Starlette(routes=listed)


def lenient_app(routes: Sequence[Route], files: Path) -> Any:
    return rewriting(starlette_app(routes, files))


def fastapi_app(routes: Sequence[Route], files: Path, root: str = "") -> Any:
    fastapi = import_module("fastapi").FastAPI
    app, inner = fastapi(root_path=root, openapi_url=None), fastapi(openapi_url=None)
    app.mount("/static", _static(files))
    app.mount("/sub", inner)
    for route in routes:
        mount, path = mounted_at(route, renamed(route, "{rest:path}"))
        view = partial(_answer_rest if route.is_catch_all else _answer, route)
        (inner if mount else app).add_api_route(path, view, methods=[route.method])
    return app


async def _answer(route: Route) -> Any:
    return json.loads(run(route))


async def _answer_rest(route: Route, rest: str) -> Any:
    return json.loads(run(route, rest))


def quart_app(routes: Sequence[Route], files: Path) -> Any:
    quart = import_module("quart").Quart
    app = quart("served", static_folder=str(files), static_url_path="/static")

    def view_of(route: Route) -> Any:
        async def view(rest: str = "") -> str:
            return run(route, rest)

        return view

    for route in routes:
        path = renamed(route, "<path:rest>")
        app.add_url_rule(path, name_of(route), view_of(route), methods=[route.method])
    return app


def litestar_app(routes: Sequence[Route], files: Path) -> Any:
    litestar = import_module("litestar")
    from_path = import_module("litestar.params").FromPath
    static = import_module("litestar.static_files").create_static_files_router

    def handler_of(route: Route) -> Any:
        async def view() -> str:
            return run(route)

        async def view_of_rest(rest: Any) -> str:
            return run(route, rest)

        view_of_rest.__annotations__["rest"] = from_path[str]
        decorate = getattr(litestar, route.method.lower())
        path = renamed(route, "{rest:path}")
        view_of_path = view_of_rest if route.is_catch_all else view
        return decorate(path, name=name_of(route), status_code=200)(view_of_path)

    handlers = [*map(handler_of, routes), static("/static", [str(files)])]
    return litestar.Litestar(handlers, openapi_config=None, logging_config=None)


def falcon_app(routes: Sequence[Route], files: Path) -> Any:
    app = import_module("falcon.asgi").App()

    def responder(route: Route) -> Any:
        async def respond(
            self: Any, request: Any, response: Any, rest: str = ""
        ) -> None:
            response.text = run(route, rest)

        return respond

    for path, methods in by_path(routes, "{rest:path}").items():
        responders = {f"on_{m.lower()}": responder(r) for m, r in methods.items()}
        app.add_route(path, type("Resource", (), responders)())
    app.add_static_route("/static", str(files))
    return app


def by_path(routes: Sequence[Route], pattern: str) -> dict[str, dict[str, Route]]:
    """The routes of each path by their methods."""
    found: dict[str, dict[str, Route]] = {}
    for route in routes:
        found.setdefault(renamed(route, pattern), {})[route.method] = route
    return found


def blacksheep_app(routes: Sequence[Route], files: Path) -> Any:
    """Of all these routers the one that ignores case."""
    blacksheep = import_module("blacksheep")
    app = blacksheep.Application(router=blacksheep.Router())

    def view_of(route: Route) -> Any:
        async def view(request: Any) -> Any:
            rest = (request.route_values or {}).get("rest") or ""
            return blacksheep.text(run(route, rest))

        view.__annotations__["request"] = blacksheep.Request
        return view

    for route in routes:
        app.router.add(route.method, renamed(route, "{path:rest}"), view_of(route))
    app.serve_files(str(files), root_path="/static")
    return app
