"""Both doors into the same authenticator, each under the strictest checker there is."""

from __future__ import annotations

import asyncio
import io
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from wsgiref.validate import WSGIWarning, validator

from jwt_middleware import Authenticator, Token, asgi, current_token, wsgi

from .asgi_checker import StrictASGI

KEY = "jwt_middleware.token"
Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What came back, and what the application behind the lock saw."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case."""
    body: bytes
    entered: bool
    """Whether the application was called at all."""
    token: Token | None = None
    current: Token | None = None

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None

    @property
    def challenge(self) -> str | None:
        return self.header("www-authenticate")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Door:
    """One way in.  `behind` gives the same way into another authenticator."""

    name: str

    def __init__(self, auth: Authenticator) -> None:
        self.auth = auth

    def behind(self, auth: Authenticator) -> Door:
        return type(self)(auth)

    def get(self, path: str = "/", **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str = "/", **options: Any) -> Answer:
        return self.request("POST", path, **options)

    def request(
        self,
        method: str,
        path: str = "/",
        *,
        bearer: str | None = None,
        headers: Headers = (),
        cookies: Iterable[tuple[str, str]] = (),
        scheme: str = "https",
        host: str | None = "api.example",
        query: str = "",
        root: str = "",
        raw_path: str | None = None,
        body: bytes = b"",
        extra: dict[str, Any] | None = None,
    ) -> Answer:
        """Send a request.  Each character of a header's value is one octet.

        *path* is the decoded path below *root*; *extra* is laid over the environ or
        the scope.
        """
        listed = [] if host is None else [("Host", host)]
        if bearer is not None:
            listed.append(("Authorization", f"Bearer {bearer}"))
        listed += headers
        if pairs := "; ".join(f"{name}={value}" for name, value in cookies):
            listed.append(("Cookie", pairs))
        target = path if raw_path is None else raw_path
        return self.send(
            method, path, target, listed, scheme, query, root, body, extra or {}
        )

    def send(
        self,
        method: str,
        path: str,
        raw_path: str,
        headers: Headers,
        scheme: str,
        query: str,
        root: str,
        body: bytes,
        extra: dict[str, Any],
    ) -> Answer:
        raise NotImplementedError


class WSGIDoor(Door):
    name = "wsgi"

    def send(
        self,
        method: str,
        path: str,
        raw_path: str,
        headers: Headers,
        scheme: str,
        query: str,
        root: str,
        body: bytes,
        extra: dict[str, Any],
    ) -> Answer:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": root,
            "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
            "RAW_URI": raw_path.encode("utf-8", "surrogateescape").decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scheme,
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            variable = f"HTTP_{name.upper().replace('-', '_')}"
            # As servers do; see also RFC 3875 §4.1.18.
            environ[variable] = ",".join(
                [environ[variable], value] if variable in environ else [value]
            )
        environ.update(extra)
        seen: dict[str, Any] = {"entered": False}
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            seen.update(entered=True, token=environ[KEY], current=current_token())
            environ["wsgi.input"].read(1)
            reply = [] if method == "HEAD" else [b"ok"]
            start_response("200 OK", [("Content-Type", "text/plain")])
            return reply

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Any:
            started.append((status, headers))
            return lambda octets: None

        guarded = validator(wsgi.JWTMiddleware(validator(app), self.auth))
        with warnings.catch_warnings():
            warnings.simplefilter("error", WSGIWarning)
            warnings.filterwarnings("ignore", "Unknown REQUEST_METHOD", WSGIWarning)
            result = guarded(environ, start_response)
            try:
                content = b"".join(result)
            finally:
                result.close()  # type: ignore[attr-defined]
        ((status, answered),) = started
        named = tuple((name.lower(), value) for name, value in answered)
        return Answer(int(status.split()[0]), named, content, **seen)


class ASGIDoor(Door):
    name = "asgi"

    def send(
        self,
        method: str,
        path: str,
        raw_path: str,
        headers: Headers,
        scheme: str,
        query: str,
        root: str,
        body: bytes,
        extra: dict[str, Any],
    ) -> Answer:
        scope = self.scope("http", path, raw_path, headers, scheme, query, root)
        scope |= {"method": method, **extra}
        answer, _ = self.exchange(scope, [{"type": "http.request", "body": body}])
        return answer

    def websocket(
        self,
        path: str = "/",
        *,
        bearer: str | None = None,
        headers: Headers = (),
        cookies: Iterable[tuple[str, str]] = (),
        scheme: str = "wss",
        host: str = "api.example",
        can_deny: bool = True,
    ) -> tuple[Answer, list[dict[str, Any]]]:
        """Open a WebSocket; *can_deny* is the extension for refusals over http."""
        listed = [("Host", host), *headers]
        if bearer is not None:
            listed.append(("Authorization", f"Bearer {bearer}"))
        if pairs := "; ".join(f"{name}={value}" for name, value in cookies):
            listed.append(("Cookie", pairs))
        scope = self.scope("websocket", path, path, listed, scheme, "", "")
        if can_deny:
            scope["extensions"] = {"websocket.http.response": {}}
        return self.exchange(scope, [{"type": "websocket.connect"}])

    @staticmethod
    def scope(
        kind: str,
        path: str,
        raw_path: str,
        headers: Headers,
        scheme: str,
        query: str,
        root: str,
    ) -> dict[str, Any]:
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "scheme": scheme,
            "path": root + path,
            "raw_path": raw_path.encode("utf-8", "surrogateescape"),
            "query_string": query.encode(),
            "root_path": root,
            "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in headers],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
        }

    def exchange(
        self, scope: dict[str, Any], incoming: list[dict[str, Any]]
    ) -> tuple[Answer, list[dict[str, Any]]]:
        """Run one scope to its end; also return the messages that were sent."""
        seen: dict[str, Any] = {"entered": False}
        sent: list[dict[str, Any]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.update(entered=True, token=scope[KEY], current=current_token())
            seen_scopes.append(scope)
            await receive()
            if scope["type"] == "websocket":
                await send({"type": "websocket.accept"})
                return
            reply = b"" if scope["method"] == "HEAD" else b"ok"
            headers = [(b"content-type", b"text/plain")]
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": reply})

        async def receive() -> Any:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        seen_scopes: list[Any] = []
        guarded = StrictASGI(asgi.JWTMiddleware(StrictASGI(app), self.auth))
        asyncio.run(guarded(scope, receive, send))
        self.last_scope = seen_scopes[0] if seen_scopes else None
        status = 0
        headers: Iterable[tuple[bytes, bytes]] = ()
        for message in sent:
            if message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close":
                status = 403  # what a server makes of it before accept
            elif message["type"].endswith("response.start"):
                status, headers = message["status"], message.get("headers", ())
        named = tuple((n.decode(), v.decode("latin-1")) for n, v in headers)
        content = b"".join(message.get("body", b"") for message in sent)
        return Answer(status, named, content, **seen), sent


DOORS = (WSGIDoor, ASGIDoor)
