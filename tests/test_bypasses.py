"""Ways around the rules that real routers open: each was one, and is closed.

Werkzeug reads methods in capitals and, where it is told so, ignores a slash at the
end; Starlette's patterns match before a line break; a WebSocket handshake comes to a
WSGI application as a GET.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from jwt_middleware import Cookie, Key, MemoryStore, Rule
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.errors import LifetimeExceeded, TokenRevoked
from jwt_middleware.paths import is_ambiguous
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .conftest import NOW, SIGNING_KEY, Mint, authenticator, mint_token, trusted
from .doors import Door

ADMIN = Rule("/admin", scopes=("admin",))
BELOW_ADMIN = Rule("/admin/*", scopes=("admin",))
PUBLIC = Rule("/*", public=True)
READ = Rule("/*", scopes=("read",))
WRITE = Rule("/articles/*", methods=("POST", "DELETE"), scopes=("write",))


def flask_status(method: str, path: str, rules: Any, **headers: str) -> int:
    """The status of a real Flask application that is lenient about slashes."""
    app = Flask(__name__)
    app.url_map.strict_slashes = False
    for route in ("/admin", "/articles/<name>"):
        app.add_url_rule(
            route, route, lambda **_: "in", methods=["GET", "POST", "DELETE"]
        )
    guarded = WSGIMiddleware(app.wsgi_app, authenticator(rules=rules))
    app.wsgi_app = guarded  # type: ignore[method-assign]
    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    environ["REQUEST_METHOD"] = method
    environ["PATH_INFO"] = path
    return app.test_client().open("/", environ_overrides=environ).status_code


def starlette_status(path: str, rules: Any, **headers: str) -> int:
    """The status of a real Starlette application."""

    async def view(request: Request) -> Response:
        return PlainTextResponse("in")

    app = ASGIMiddleware(
        Starlette(routes=[Route("/admin", view)]), authenticator(rules=rules)
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [(n.encode(), v.encode()) for n, v in headers.items()],
    }
    asyncio.run(app(scope, receive, send))
    status: int = sent[0]["status"]
    return status


def bearer(**claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {mint_token(**claims)}"}


@pytest.mark.parametrize("method", ["POST", "post", "Post", "delete"])
def test_a_method_in_another_case_is_the_same_method(method: str) -> None:
    rules = (WRITE, Rule("/articles/*", public=True))
    assert flask_status(method, "/articles/1", rules) == 401
    read = bearer(scope="read")
    assert flask_status(method, "/articles/1", rules, **read) == 403
    write = bearer(scope="write")
    assert flask_status(method.upper(), "/articles/1", rules, **write) == 200


@pytest.mark.parametrize("method", ["get", "Get", "head", "gEt"])
@pytest.mark.parametrize("public", ["public", "optional"])
def test_a_method_that_is_not_in_capitals_is_open_to_nobody(
    door: Door, mint: Mint, method: str, public: str
) -> None:
    """An application that compares it to the letter takes it for no GET, and writes."""
    opened: dict[str, Any] = {public: True}
    rules = (Rule("/notes", **opened), WRITE, Rule("/articles/*", **opened))
    own = door.behind(authenticator(rules=rules))
    for path in ("/notes", "/articles/1"):
        assert own.request(method.upper(), path).status == 200
        assert own.request(method, path).status == 401
        assert own.request(method, path, bearer=mint()).status == 200


@pytest.mark.parametrize("method", ["post", "Post"])
def test_a_method_has_to_satisfy_the_rules_of_both_its_readings(
    door: Door, mint: Mint, method: str
) -> None:
    """In capitals, and as one that no rule names."""
    last = Rule("/*", scopes=("admin",))
    own = door.behind(authenticator(rules=(WRITE, last)))
    for scope, status in (("write", 403), ("admin", 403), ("write admin", 200)):
        answer = own.request(method, "/articles/1", bearer=mint(scope=scope))
        assert answer.status == status, scope


@pytest.mark.parametrize("method", ["get", "query", "Options"])
def test_a_method_that_is_not_in_capitals_is_not_safe_with_a_cookie(
    door: Door, mint: Mint, method: str
) -> None:
    own = door.behind(authenticator(sources=(Cookie(),)))
    sent: dict[str, Any] = {"cookies": [("__Host-access", mint())]}
    sent["headers"] = [("Sec-Fetch-Site", "cross-site")]
    assert own.request(method.upper(), **sent).status == 200
    assert own.request(method, **sent).status == 403


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
@pytest.mark.parametrize("rule", [ADMIN, BELOW_ADMIN])
@pytest.mark.parametrize("last", [(), (PUBLIC,), (READ,)])
def test_a_slash_at_the_end_leads_around_no_rule(
    path: str, rule: Rule, last: tuple[Rule, ...]
) -> None:
    rules = (rule, *last)
    assert flask_status("GET", path, rules) == 401
    assert flask_status("GET", path, rules, **bearer(scope="read")) == 403
    assert flask_status("GET", path, rules, **bearer(scope="read admin")) == 200


@pytest.mark.parametrize("last", [(), (PUBLIC,), (READ,)])
def test_a_line_break_at_the_end_leads_around_no_rule(last: tuple[Rule, ...]) -> None:
    rules = (ADMIN, *last)
    assert starlette_status("/admin\n", rules) == 401
    assert starlette_status("/admin\n", rules, **bearer(scope="read")) == 403
    assert starlette_status("/admin", rules, **bearer(scope="admin")) == 200


def test_an_exact_rule_stands_alone() -> None:
    """The twin of its path is somebody else's."""
    rules = (Rule("/admin", public=True), BELOW_ADMIN)
    assert flask_status("GET", "/admin", rules) == 200


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "h2c, websocket"])
def test_a_handshake_by_cookie_is_judged_by_its_origin(
    door: Door, mint: Mint, upgrade: str
) -> None:
    """Also where the server hands it on as a GET, whose method is safe."""
    own = door.behind(authenticator(sources=(Cookie(),)))
    cookies = [("__Host-access", mint())]
    for origin, status in (("https://api.example", 200), ("https://evil.example", 403)):
        headers = [("Upgrade", upgrade), ("Origin", origin)]
        assert own.get("/", headers=headers, cookies=cookies).status == status


def test_what_was_revoked_does_not_come_back_in_its_last_day(door: Door) -> None:
    """A token that lives too long is refused when it is new.  When it is old enough
    to be accepted, the marks on its subject and its session have ended."""
    month = 30 * 86400
    text = mint_token(exp=month, iat=0, sid="s1")
    time = [NOW]
    auth = authenticator(
        trusted(), store=MemoryStore(lambda: time[0]), now=lambda: time[0]
    )
    with pytest.raises(LifetimeExceeded):
        auth.authenticate(text)
    auth.revoke_subject("alice")
    auth.revoke_session("s1")
    time[0] = NOW + month - 3600
    with pytest.raises(LifetimeExceeded):
        auth.authenticate(text)
    assert door.behind(auth).get("/", bearer=text).status == 401


def test_a_token_that_is_not_yet_valid_can_be_taken_back() -> None:
    time = [NOW]
    auth = authenticator(
        trusted(), store=MemoryStore(lambda: time[0]), now=lambda: time[0]
    )
    text = mint_token(nbf=300, iat=300, exp=900)
    auth.revoke(text)
    time[0] = NOW + 400
    with pytest.raises(TokenRevoked):
        auth.authenticate(text)


def test_a_fast_clock_at_the_issuer_does_not_undo_the_end_of_a_session() -> None:
    auth = authenticator(store=MemoryStore(lambda: NOW))
    text = mint_token(iat=20, sid="s1")
    auth.revoke_session("s1")
    with pytest.raises(TokenRevoked):
        auth.authenticate(text)


@pytest.mark.parametrize(
    "claims",
    [{"typ": kind} for kind in ("ID", "Refresh", "Offline", "Logout")]
    + [{"token_use": "id"}, {"nonce": "n"}, {"at_hash": "h", "typ": "Bearer"}],
)
def test_a_token_of_another_kind_is_no_access_token(
    door: Door, mint: Mint, claims: dict[str, Any]
) -> None:
    """As Keycloak and Amazon Cognito mark them, in a claim."""
    text = mint(header={"typ": "JWT"}, **claims)
    assert door.get("/", bearer=text).status == 401


@pytest.mark.parametrize(
    "claims", [{"typ": "Bearer", "nonce": "n"}, {"token_use": "access"}]
)
def test_an_access_token_that_says_so_is_one(
    door: Door, mint: Mint, claims: dict[str, Any]
) -> None:
    text = mint(header={"typ": "JWT"}, **claims)
    assert door.get("/", bearer=text).status == 200


def test_a_long_path_of_combining_marks_costs_linear_time() -> None:
    """NFKC of the whole would take minutes; this is done in a blink."""
    assert not is_ambiguous("/" + "\u0315\u0300\u0327" * 100_000)


def der(key: Key) -> bytes:
    octets: bytes = key._material.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return octets


@pytest.mark.parametrize("name", ["RS256", "ES256", "Ed25519"])
def test_a_private_key_in_der_is_no_hmac_secret(name: str) -> None:
    with pytest.raises(ValueError, match="secret is an asymmetric key"):
        Key.from_secret(der(Key.generate(name)))


def test_nor_is_one_whose_last_octet_is_a_space() -> None:
    """One key in about forty ends in what looks like white space."""
    made = (der(Key.generate("Ed25519")) for _ in range(10_000))
    octets = next(found for found in made if found != found.rstrip())
    with pytest.raises(ValueError, match="secret is an asymmetric key"):
        Key.from_secret(octets)


@pytest.mark.parametrize("last", [(), (Rule("/*"),), (Rule("/*", scopes=("user",)),)])
def test_what_a_rule_covers_is_not_asked_for_more_by_a_later_one(
    door: Door, last: tuple[Rule, ...]
) -> None:
    """The twin of /docs/ falls under the last rule, which was ranked after."""
    docs = door.behind(authenticator(rules=(Rule("/docs/*", public=True), *last)))
    assert [docs.get(path).status for path in ("/docs/", "/docs/x")] == [200, 200]
    admin = door.behind(authenticator(rules=(BELOW_ADMIN, *last)))
    assert admin.get("/admin/", bearer=mint_token(scope="admin")).status == 200


def test_revoking_nothing_is_an_error() -> None:
    """As where a logout finds no token: it must not seem to have worked."""
    auth = authenticator(store=MemoryStore(lambda: NOW))
    nothing: Any = None
    with pytest.raises(ValueError, match="give a Token or its text"):
        auth.revoke(nothing)


def test_a_key_source_may_answer_with_an_iterator() -> None:
    class Source:
        async def resolve(self, header: Any) -> Any:
            return iter([SIGNING_KEY])

    auth = authenticator(trusted(keys=Source()))
    assert auth.authenticate(mint_token()).subject == "alice"


@pytest.mark.parametrize("middleware", [WSGIMiddleware, ASGIMiddleware])
@pytest.mark.parametrize("auth", [None, trusted(), lambda *_: None])
def test_a_middleware_without_an_authenticator_is_not_built(
    middleware: Any, auth: Any
) -> None:
    """Not at the first request, which would be a 500."""
    with pytest.raises(ValueError, match="write JWTMiddleware"):
        middleware(lambda *_: None, auth)
