"""What the log says of a request or a configuration that is wrong."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from flask import Flask
from starlette.applications import Starlette

from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    RemoteKeys,
    Rule,
    SessionCookies,
    StaticKeys,
    TokenIssuer,
    TrustedIssuer,
)
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.asgi import ScopeRequest
from jwt_middleware.challenge import Challenge
from jwt_middleware.errors import (
    InsufficientScope,
    InvalidGrant,
    InvalidTokenRequest,
    MalformedToken,
    NoCredentials,
    StepUpRequired,
)
from jwt_middleware.flask import require_token
from jwt_middleware.grants import FORM, read_refresh_request
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.wsgi import EnvironRequest
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .conftest import Mint, authenticator, clock, trusted
from .doors import Door
from .test_inner_errors import asgi_answer, wsgi_answer


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Bearer Bearer {}", "the scheme stands twice"),
        ('Bearer "{}"', "the token is in quotes"),
        ("Bearer {} x", "a blank in the token"),
        ("Bearer: {}", "a colon follows the scheme; write 'Bearer <token>'"),
        ("Bearer\t{}", "no blank follows the scheme; write 'Bearer <token>'"),
        ("bearer", "nothing follows the scheme; write 'Bearer <token>'"),
        ("Bearer {}!", "a character that no token has"),
    ],
)
def test_a_token_that_is_badly_written(
    door: Door, mint: Mint, caplog: Any, template: str, said: str
) -> None:
    token = mint()
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        answer = door.get(headers=[("Authorization", template.format(token))])
    assert answer.status == 400
    assert said in caplog.text
    assert token not in caplog.text
    assert said.encode() not in answer.body


def test_issuers_that_are_none() -> None:
    issuer = TokenIssuer("https://a.example", audience="a", key=Key.generate())
    wrong: Any
    for wrong in (issuer, [trusted()]):
        with pytest.raises(ValueError, match=r"Authenticator\(a, b\).*trusted\(\)"):
            Authenticator(wrong)


def test_an_asgi_application_is_not_served_as_wsgi() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match=r"jwt_middleware\.asgi\.JWTMiddleware"):
        WSGIMiddleware(app, authenticator())  # type: ignore[arg-type]


class Split(BearerHeader):
    challenge = "Bearer\r\nX: y"


class Waiting(BearerHeader):
    async def find(self, request: Any) -> Any:  # type: ignore[override]
        return None


class Lazy(BearerHeader):
    def renew(self, request: Any) -> Any:
        return None


class Unwritten(BearerHeader):
    confirm = None  # type: ignore[assignment]


class Headed(BearerHeader):
    header_name = "A\r\nB"


class Duck:
    """A rule that does not derive from Rule."""

    def covers(self, method: str, path: str) -> bool:
        return True

    def permit(self, token: Any) -> None: ...


KEY = Key.generate()
NOBODY: Any = None
NAME = "https://login.example"
METADATA = f"{NAME}/.well-known/openid-configuration"
OAUTH = f"{NAME}/.well-known/oauth-authorization-server/tenant"
JWKS = f"{NAME}/.well-known/jwks.json"


def issuing(**options: Any) -> TokenIssuer:
    return TokenIssuer(NAME, **{"audience": "a", "key": KEY, **options})


def named(issuer: Any, **options: Any) -> TrustedIssuer:
    return TrustedIssuer(issuer, **{"audience": "a", "keys": [KEY], **options})


def app(*_: Any) -> Any: ...


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a secret as key": (
        lambda: issuing(key="secret"),
        r"key is a str, expected a Key; write key=Key\.from_pem",
    ),
    "no key": (lambda: issuing(key=None), "key is a NoneType, expected a Key; write"),
    "a JWK as key": (lambda: issuing(key=KEY.to_jwk()), "key is a dict, expected a"),
    "a secret among keys": (lambda: issuing(key=[KEY, "x"]), "key is a str, expected"),
    "a public key": (
        lambda: issuing(key=KEY.public),
        "must be a private Key, or several, the first private; it has no signing half",
    ),
    "no keys": (lambda: issuing(key=[]), "the first private; it is empty"),
    "a store's address": (
        lambda: issuing(store="redis://a"),
        r"each of store is .*, not a str; write store=MemoryStore\(\)",
    ),
    "no subject": (lambda: issuing().issue(NOBODY), "subject must be .*, not None"),
    "no audience": (
        lambda: trusted(audience=None),
        "audience takes several strings, not None; write audience='https://api",
    ),
    "no audience to issue for": (lambda: issuing(audience=None), "write audience="),
    "an empty audience": (lambda: trusted(audience=""), "not ''; write audience="),
    "no issuer": (lambda: named(None), "not None; write issuer='https://login"),
    "a JWKS as issuer": (
        lambda: named(JWKS),
        "the address of a document, expected the 'iss'.*write issuer='https://login.ex",
    ),
    "a JWKS elsewhere": (
        lambda: named(f"{NAME}/jwks.json"),
        r"write issuer as the tokens name it, and keys=RemoteKeys\(address\)",
    ),
    "metadata as issuer": (
        lambda: named(METADATA, keys=None),
        "the address of a document, .*; write issuer='https://login.example'",
    ),
    "OAuth metadata": (lambda: named(OAUTH), "issuer='https://login.example/tenant'"),
    "metadata to issue by": (
        lambda: TokenIssuer(METADATA, audience="a", key=KEY),
        "write issuer='https://login.example'",
    ),
    "metadata as JWKS": (
        lambda: RemoteKeys(METADATA),
        r"metadata, expected .*; write RemoteKeys\.from_issuer\('https://login.example'",
    ),
    "metadata by issuer": (
        lambda: RemoteKeys.from_issuer(OAUTH),
        r"write RemoteKeys\.from_issuer\('https://login.example/tenant'\)",
    ),
    "a secret as keys": (
        lambda: trusted(keys="secret"),
        r"keys=\[Key\.from_secret\(\.\.\.\)\]",
    ),
    "a public rule with scopes": (
        lambda: Rule("/a", public=True, scopes=("read",)),
        r"Rule\('/a'\) has public and scopes, which exclude each other; write one of",
    ),
    "an optional public rule": (
        lambda: Rule("/a", public=True, optional=True),
        "has public and optional, which",
    ),
    "a store of one side only": (
        lambda: Authenticator(issuing(store=MemoryStore()).trusted()),
        "write store=store in both, the Authenticator and the TokenIssuer",
    ),
    "a refresh without a store to mark its token in": (
        lambda: issuing().refresh("x"),
        "without a store nothing is revoked; write store=store",
    ),
    "a date as claim": (
        lambda: issuing().issue("alice", plan="a", since=datetime.now(UTC)),
        r"the claim 'since', a datetime, is not plain JSON; .*a date as \.timestamp",
    ),
    "a store in no folder": (
        lambda: SQLiteStore("/no/such/folder/marks.db"),
        "there is no folder '/no/such/folder'; make it first",
    ),
    "a store that is a folder": (
        lambda: SQLiteStore("/"),
        "'/' cannot be a store: it is a folder; write a file in it, such as '/marks.d",
    ),
    "a store where nobody can write": (
        lambda: SQLiteStore("/proc/marks.db"),
        "unable to open database file; let this user write into the folder '/proc'",
    ),
    "a URL as file": (
        lambda: SQLiteStore("sqlite:///marks.db"),
        r"path begins with 'sqlite:', expected .*; write SQLiteStore\('marks\.db'\)",
    ),
    "a Path made of a URL": (
        lambda: SQLiteStore(Path("redis://host/0")),
        r"path begins with 'redis:', expected .* or RedisStore\(url\) for Redis",
    ),
    "no text as URL": (
        lambda: RedisStore(None),  # type: ignore[arg-type]
        "url is a NoneType, expected a str; write redis://user:password@host:6379/0",
    ),
    "a URL without a scheme": (
        lambda: RedisStore("u:secret@host:6379"),
        "url has no '://'; write redis://",
    ),
    "a URL of http": (
        lambda: RedisStore("http://host:6379"),
        "url does not begin with redis://, rediss:// or unix://; write redis://",
    ),
    "a slash in a password": (
        lambda: RedisStore("redis://u:sec/ret@host:6379/0"),
        r"url has '/', '#', '\?' or '@' in the password, which are %2F, %23, %3F, %40",
    ),
    "a socket without a path": (
        lambda: RedisStore("unix://"),
        "url has parts that are not where they are expected; write redis://.*unix:///p",
    ),
    "a port in words": (
        lambda: RedisStore("redis://host:port"),
        "its port is not a number from 1 to 65535; write it as redis.example:6379",
    ),
    "a database in words": (
        lambda: RedisStore("redis://host/zero"),
        "is not the number of a database; write /0 or nothing",
    ),
    "an address as keys": (
        lambda: trusted(keys=JWKS),
        r"keys=RemoteKeys\(address\) for keys at an address",
    ),
    "a number as keys": (lambda: trusted(keys=7), r"write keys=\[key\], a JWK Set or"),
    "a JWK as keys": (
        lambda: trusted(keys=KEY.public.to_jwk()),
        r"this is one JWK: write keys=\[Key\.from_jwk\(jwk\)\]",
    ),
    "text as JWKS": (
        lambda: StaticKeys.from_jwks("{}"),  # type: ignore[arg-type]
        r"write StaticKeys\.from_jwks\(json\.loads\(text\)\)",
    ),
    "another object as JWKS": (lambda: StaticKeys.from_jwks({}), r"write \{'keys': "),
    "a list of keys": (
        lambda: StaticKeys([KEY]),  # type: ignore[arg-type]
        r"list is no Key; .* and StaticKeys\(\*keys\) for several",
    ),
    "a JWK Set as JWK": (
        lambda: Key.from_jwk({"keys": []}),
        r"a JWK Set, expected one JWK; write StaticKeys\.from_jwks",
    ),
    "a JWK of another kind": (
        lambda: Key.from_jwk({"kty": "EC", "crv": "secp256k1"}),
        "no signature here uses: kty 'EC', crv 'secp256k1'$",
    ),
    "keys of another algorithm": (
        lambda: trusted(algorithms="RS256"),
        "no key is for any of RS256: the keys are for ES256; write algorithms=None",
    ),
    "small letters": (
        lambda: trusted(algorithms=["es256"]),
        "'es256' is none of the algorithms: .*; write 'ES256'",
    ),
    "a number of algorithms": (
        lambda: trusted(algorithms=5),
        r"algorithms takes several strings, not 5; write algorithms=\('ES256',\)",
    ),
    "five keys without names": (
        lambda: trusted(keys=[Key.generate() for _ in range(5)]),
        "5 keys of ES256 have no kid, .* at most 4 .*; give each the kid",
    ),
    "a source as sources": (
        lambda: authenticator(sources=BearerHeader()),
        r"sources takes several, not a BearerHeader; write sources=\(BearerHeader\(\),",
    ),
    "a class among sources": (
        lambda: authenticator(sources=(BearerHeader,)),
        r"not the class BearerHeader; write sources=\(BearerHeader\(\),\)",
    ),
    "a name among sources": (
        lambda: authenticator(sources=("Authorization",)),
        "an object with challenge and find and confirm, not a str; write sources=",
    ),
    "a challenge of two lines": (
        lambda: authenticator(sources=(Split(),)),
        r"the challenge of a source must be a string without .* not 'Bearer\\r\\nX: y'",
    ),
    "a source that waits": (
        lambda: authenticator(sources=(Waiting(),)),
        r"find\(\) of the source Waiting must be a plain method; write 'def find'",
    ),
    "a renewal that does not": (
        lambda: authenticator(sources=(Lazy(),)),
        r"renew\(\) of the source Lazy must be a coroutine; write 'async def renew'",
    ),
    "a source without a method": (
        lambda: authenticator(sources=(Unwritten(),)),
        "confirm of the source Unwritten is not a method",
    ),
    "a header of two lines": (
        lambda: authenticator(sources=(Headed(),)),
        r"header_name of the source Headed must be a string .* not 'A\\r\\nB'",
    ),
    "a rule as rules": (
        lambda: authenticator(rules=Rule("/a")),
        r"rules takes several, not a Rule; write rules=\(Rule\('/health', public=True",
    ),
    "a path among rules": (
        lambda: authenticator(rules=("/a",)),
        r"not a str; write rules=\(Rule\(",
    ),
    "a rule of another class": (
        lambda: authenticator(rules=(Duck(),)),
        "each of rules is a Rule, not a Duck; derive its class from Rule",
    ),
    "a query in a rule": (
        lambda: Rule("/search?q=*"),
        "a rule does not see the query; write '/search'",
    ),
    "a method in small letters": (
        lambda: Rule("/a", methods=("get",)),
        "which has capital letters; write 'GET'",
    ),
    "no methods": (
        lambda: Rule("/a", methods=None),  # type: ignore[arg-type]
        r"methods takes several strings, not None; write methods=\('GET',\)",
    ),
    "a string as scopes": (
        lambda: Rule("/a", scopes="read"),
        r"scopes takes several; write scopes=\('read',\)",
    ),
    "a realm of two lines": (
        lambda: authenticator(realm="a\r\nX: y"),
        r"realm must be .*, not 'a\\r\\nX: y'; write realm='api'",
    ),
    "a scheme of two lines": (
        lambda: BearerHeader(scheme="a\r\nb"),
        "scheme must be a string without spaces, quotes and separators",
    ),
    "another place to log in": (
        lambda: SessionCookies(issuing(), login_path="https://b.example/login"),
        "login_path must be a string without a host or a query.*; write login_path='/l",
    ),
    "an issuer of others' sessions": (
        lambda: SessionCookies(trusted()),  # type: ignore[arg-type]
        r"TrustedIssuer, expected a TokenIssuer; write SessionCookies\(TokenIssuer\(",
    ),
    "no application for WSGI": (
        lambda: WSGIMiddleware(None, authenticator()),  # type: ignore[arg-type]
        r"app is NoneType, expected an application; write JWTMiddleware\(app, Auth",
    ),
    "no application for ASGI": (
        lambda: ASGIMiddleware(None, authenticator()),  # type: ignore[arg-type]
        r"app is NoneType, expected an application; write JWTMiddleware\(app, Auth",
    ),
    "no authenticator": (
        lambda: ASGIMiddleware(app, trusted()),  # type: ignore[arg-type]
        r"auth is TrustedIssuer; write JWTMiddleware\(app, Authenticator\(",
    ),
    "a description of two lines": (
        lambda: type("Mine", (AuthError,), {"description": "a\r\nX: y"}),
        r"Mine\.description cannot stand in a header: .*; write printable ASCII",
    ),
    "a code in quotes": (
        lambda: type("Mine", (AuthError,), {"error": 'a"b'}),
        r"Mine\.error cannot stand in a header",
    ),
    "a scope of two lines": (
        lambda: InsufficientScope("x", scopes=("a\r\nX: y",)),
        "each of scopes cannot stand in a header",
    ),
    "a demand of two lines": (
        lambda: StepUpRequired("x", demanded={"acr_values": "a\nb"}),
        "acr_values cannot stand in a header",
    ),
    "a parameter of two lines": (
        lambda: Challenge("Bearer", {"a\r\nX": "y"}),
        r"a parameter of a challenge is called 'a\\r\\nX'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_configuration_that_cannot_work_is_told_what_to_write(name: str) -> None:
    make, told = WRONG[name]
    with pytest.raises(ValueError, match=told) as refusal:
        make()
    assert "'secret'" not in str(refusal.value)


def test_many_keys_without_names_serve_an_issuer_of_our_own() -> None:
    """Its tokens name their key; and four are tried for one token of others."""
    keys = [Key.generate() for _ in range(6)]
    issuer = issuing(key=keys)
    token = Authenticator(issuer.trusted()).authenticate(issuer.issue("a").access_token)
    assert token.header["kid"] == keys[0].kid
    assert trusted(keys=keys[:4]).held() is not None
    assert trusted(keys=[Key.generate(kid=str(number)) for number in range(9)])


@pytest.mark.parametrize(
    ("template", "logged", "told"),
    [
        ("{}", "Authorization has no scheme", "no scheme was sent"),
        ("Token {}", "Authorization has the scheme Token", "another scheme was sent"),
        ("jwt {}", "Authorization has the scheme JWT", "another scheme was sent"),
        ("Basic {}", "Authorization has the scheme Basic", "another scheme was sent"),
        ("basic", "Authorization has the scheme Basic", "no scheme was sent"),
        ("{} {}", "Authorization has another scheme", "another scheme was sent"),
        ("Secret {}", "Authorization has another scheme", "another scheme was sent"),
    ],
)
def test_a_token_without_its_scheme(
    door: Door, mint: Mint, caplog: Any, template: str, logged: str, told: str
) -> None:
    token = mint()
    expected = "expected 'Authorization: Bearer <token>'"
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        sent = [("Authorization", template.format(token, token))]
        answer = door.get(headers=sent)
    assert answer.status == 401
    assert answer.challenge == 'Bearer realm="api"'
    assert answer.json == {
        "error_description": f"An access token is required: {told}, {expected}."
    }
    assert f"no_credentials: no credentials: {logged}" in caplog.text
    assert ", expected" in caplog.text
    for part in (*token.split("."), "Secret"):
        assert part not in caplog.text + answer.body.decode()


def test_no_header_and_other_sources_have_no_scheme_to_speak_of(door: Door) -> None:
    plain = "An access token is required."
    assert door.get().json == {"error_description": plain}
    assert door.get(headers=[("Authorization", " ")]).json["error_description"] == plain
    bare = authenticator(sources=(BearerHeader("X-Token", scheme=None), Cookie()))
    answer = door.behind(bare).get(headers=[("Authorization", "Basic eA==")])
    assert answer.json == {"error_description": plain}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("Origin", "https://b.example")], "Origin is 'https://b.example'"),
        ([("Sec-Fetch-Site", "cross-site")], "Sec-Fetch-Site is 'cross-site'"),
        ([("Sec-Fetch-Site", "same-site")], "Sec-Fetch-Site is 'same-site'"),
        ([("Origin", "null")], "Origin is 'null'"),
        ([("Origin", "a\x1b[2J")], r"Origin is 'a\x1b[2J'"),
    ],
)
def test_a_request_of_another_origin(
    door: Door, mint: Mint, caplog: Any, headers: Any, said: str
) -> None:
    guarded = door.behind(authenticator(sources=(Cookie("access"),)))
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        answer = guarded.post(headers=headers, cookies=[("access", mint())])
    assert answer.status == 403
    assert said in caplog.text
    assert "Host is 'api.example'" in caplog.text
    assert "write its origin into trusted_origins" in caplog.text
    assert b"b.example" not in answer.body


def test_an_application_stands_behind_its_own_door() -> None:
    """Also a plain function that returns what is awaited, and an adapter."""

    def wsgi(environ: Any, start_response: Any) -> Any: ...
    async def asgi(scope: Any, receive: Any, send: Any) -> None: ...
    def plain_asgi(scope: Any, receive: Any, send: Any) -> Any: ...
    def one_of_two_steps(scope: Any) -> Any: ...
    @functools.wraps(wsgi)
    async def adapted(scope: Any, receive: Any, send: Any) -> None: ...
    def any_of_both(*args: Any) -> Any: ...

    auth, app = authenticator(), cast(Any, None)
    as_asgi, as_wsgi = cast(Any, ASGIMiddleware), cast(Any, WSGIMiddleware)
    for app in (wsgi, Flask("behind").wsgi_app, Flask("behind"), one_of_two_steps):
        with pytest.raises(ValueError, match=r"jwt_middleware\.wsgi\.JWTMiddleware"):
            as_asgi(app, auth)
    for app in (asgi, plain_asgi, Starlette(), ASGIMiddleware(asgi, auth)):
        with pytest.raises(ValueError, match=r"jwt_middleware\.asgi\.JWTMiddleware"):
            as_wsgi(app, auth)
    for app in (asgi, plain_asgi, adapted, any_of_both, Starlette(), print, Mock()):
        as_asgi(app, auth)
    for app in (wsgi, any_of_both, Flask("behind"), WSGIMiddleware(wsgi, auth), max):
        as_wsgi(app, auth)


def test_a_refresh_without_its_cookie_speaks_of_the_cookie(
    mint: Mint, caplog: Any
) -> None:
    store = MemoryStore(clock)
    cookies = SessionCookies(issuing(store=store, now=clock))

    def wsgi(environ: Any, start_response: Any) -> Any:
        cookies.refresh(EnvironRequest(environ))

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await cookies.arefresh(ScopeRequest(scope, scope["headers"]))

    told = b'{"error_description": "A refresh token is required, in the cookie '
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        status, _, body = wsgi_answer(wsgi, None, PATH_INFO="/public")
        assert (status, body) == ("401 Unauthorized", told + b'__Secure-refresh."}')
        sent, _ = asgi_answer(asgi, None, path="/public")
        assert sent[0]["status"] == 401
        assert sent[1]["body"] == body
    assert caplog.text.count("no cookie __Secure-refresh; browsers send it below") == 2


def test_plain_http_is_logged_with_what_a_proxy_needs(
    door: Door, mint: Mint, caplog: Any
) -> None:
    strict = door.behind(authenticator(require_https=True))
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        assert strict.get(bearer=mint(), scheme="http").status == 400
    assert "the scheme is 'http', expected 'https'; behind a proxy" in caplog.text
    assert "uvicorn --proxy-headers" in caplog.text


def test_a_preflight_is_told_from_a_request_without_a_token(
    door: Door, caplog: Any
) -> None:
    wanted = [("Access-Control-Request-Method", "PUT"), ("Origin", "https://b.example")]
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        assert door.request("OPTIONS", headers=wanted).status == 401
        assert "a CORS preflight never has a token: put CORS outside" in caplog.text
        caplog.clear()
        assert door.request("OPTIONS").status == 401
        assert door.request("PUT", headers=wanted).status == 401
    assert "preflight" not in caplog.text


def test_an_access_token_that_is_sent_as_refresh_token() -> None:
    issuer = issuing(store=MemoryStore(clock), now=clock)
    access = issuer.issue("alice").access_token
    with pytest.raises(
        InvalidGrant, match=r"no refresh token .*; send the refresh token"
    ):
        issuer.refresh(access)
    other = issuing(store=MemoryStore(clock), now=clock, key=Key.generate())
    for text in (str(other.issue("alice").refresh_token), "a.b.c"):
        with pytest.raises(InvalidGrant) as refused:
            issuer.refresh(text)
        assert "send the refresh token" not in str(refused.value)


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("application/json", b"{}", f"is 'application/json'; send {FORM}"),
        (FORM, b"refresh_token=a.b.c", "no grant_type; send grant_type=refresh_token"),
    ],
)
def test_a_token_request_that_is_badly_written(
    content_type: str, body: bytes, told: str
) -> None:
    with pytest.raises(InvalidTokenRequest, match=told):
        read_refresh_request(content_type, body)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("Bearer {}", "begins with 'Bearer '; give the token alone"),
        (None, "give a str"),
    ],
)
def test_a_text_that_is_not_the_token_alone(
    mint: Mint, template: str | None, told: str
) -> None:
    text: Any = None if template is None else template.format(mint())
    with pytest.raises(MalformedToken, match=told):
        authenticator().authenticate(text)


def test_a_flask_view_that_needs_a_token_asks_for_the_middleware() -> None:
    """Without the middleware it would seem that the client has sent no token."""
    bare = Flask("bare")
    bare.config["PROPAGATE_EXCEPTIONS"] = True
    bare.add_url_rule("/", view_func=lambda: str(require_token().subject))
    with pytest.raises(NoCredentials, match=r"write jwt_middleware\.flask\.init_app"):
        bare.test_client().get("/")
