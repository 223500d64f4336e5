"""WSGI applications of each framework over the same table of routes; Django's both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from .asgi_apps import by_path, name_of, renamed
from .routes import Route, run


def flask_app(routes: Sequence[Route], files: Path, **lenient: bool) -> Any:
    flask = import_module("flask").Flask
    app = flask("served", static_folder=str(files), static_url_path="/static")
    for name, value in lenient.items():
        setattr(app.url_map, name, value)

    def view_of(route: Route) -> Any:
        return lambda rest="": run(route, rest)

    for route in routes:
        path = renamed(route, "<path:rest>")
        app.add_url_rule(path, name_of(route), view_of(route), methods=[route.method])
    return app


def lenient_flask_app(routes: Sequence[Route], files: Path) -> Any:
    return flask_app(routes, files, strict_slashes=False, merge_slashes=False)


def falcon_app(routes: Sequence[Route], files: Path) -> Any:
    app = import_module("falcon").App()

    def responder(route: Route) -> Any:
        def respond(self: Any, request: Any, response: Any, rest: str = "") -> None:
            response.text = run(route, rest)

        return respond

    for path, methods in by_path(routes, "{rest:path}").items():
        responders = {f"on_{m.lower()}": responder(r) for m, r in methods.items()}
        app.add_route(path, type("Resource", (), responders)())
    app.add_static_route("/static", str(files))
    return app


def pyramid_app(routes: Sequence[Route], files: Path) -> Any:
    config = import_module("pyramid.config").Configurator()
    text = import_module("pyramid.response").Response

    def view_of(route: Route) -> Any:
        return lambda request: text(run(route, request.matchdict.get("rest", "")))

    config.add_static_view("static", str(files))
    for route in routes:
        name = name_of(route)
        config.add_route(name, renamed(route, "{rest:.*}"), request_method=route.method)
        config.add_view(view_of(route), route_name=name)
    return config.make_wsgi_app()


def bottle_app(routes: Sequence[Route], files: Path) -> Any:
    bottle = import_module("bottle")
    app, inner = bottle.Bottle(), bottle.Bottle()

    def view_of(route: Route) -> Any:
        return lambda rest="": run(route, rest)

    app.route(
        "/static/<rest:path>", "GET", lambda rest: bottle.static_file(rest, files)
    )
    for route in routes:
        path, at = renamed(route, "<rest:path>"), app
        if path.startswith("/sub/"):
            path, at = path.removeprefix("/sub"), inner
        at.route(path, route.method, view_of(route))
    app.mount("/sub/", inner)
    return app


def django_urls(
    routes: Sequence[Route], files: Path, *, is_async: bool, is_caseless: bool = False
) -> tuple[Any, ...]:
    urls = import_module("django.urls")
    text = import_module("django.http").HttpResponse
    serve = import_module("django.views.static").serve

    def view_of(methods: dict[str, Route]) -> Any:
        def view(request: Any, **rest: str) -> Any:
            route = methods.get(request.method)
            return text(status=405) if route is None else text(run(route, **rest))

        async def async_view(request: Any, **rest: str) -> Any:
            return view(request, **rest)

        return async_view if is_async else view

    def file_view(request: Any, path: str) -> Any:
        with closing(
            serve(request, path, files)
        ) as response:  # as a whole: ASGI's may not stream
            return text(b"".join(response))

    flag = "(?i)" if is_caseless else ""
    listed = [urls.re_path(f"{flag}^static/(?P<path>.*)$", file_view)]
    for path, methods in by_path(routes, "(?P<rest>.*)").items():
        listed.append(urls.re_path(f"{flag}^{path[1:]}$", view_of(methods)))
    return tuple(listed)


@contextmanager
def django_settings(urls: tuple[Any, ...], root: str = "") -> Iterator[None]:
    """Django's settings, which the whole process shares, for the block."""
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure()
    override = import_module("django.test.utils").override_settings
    with override(
        ROOT_URLCONF=urls,
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[],
        FORCE_SCRIPT_NAME=root or None,
    ):
        yield
