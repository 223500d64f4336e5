"""Twenty defects that we reproduced in other packages, none of which is ours.

Each test names what went wrong and where; where the subject itself (query
parameters, refresh in passing) is not in this version, it holds to what remains.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from jwt_middleware import (
    AuthError,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TokenIssuer,
    wsgi,
)

from .conftest import (
    ISSUER,
    NOW,
    SIGNING_KEY,
    Mint,
    authenticator,
    clock,
    sign,
    trusted,
)
from .doors import ASGIDoor, Door, WSGIDoor
from .store_suite import WaitingStore

COOKIE = "__Host-access"


GARBAGE = [
    "x",
    ".",
    "..",
    "...",
    "....",
    "a.b.c",
    "~.~.~",
    "e30.e30.",
    "e30.e30.e30",
    ".e30.",
    "bnVsbA.bnVsbA.bnVsbA",
    "W10.W10.W10",
    "Ilwi.Ilwi.Ilwi",
    "eyJhbGciOm51bGx9.e30.AA",
    "eyJhbGciOlsiRVMyNTYiXX0.e30.AA",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6e319.e30.AA",
    "eyJhbGciOiJFUzI1NiJ9.e30.",
    "eyJhbGciOiJFUzI1NiJ9..",
    "________________.____.____",
    "=",
    "a=b.c.d",
    "A" * 11_000,
    "A" * 1_000_000,
    "." * 11_000,
    '{"payload":"e30","signatures":[]}',
    "null",
    "undefined",
    "Bearer",
    "Bearer Bearer",
    "\x01\x02",
    "é.é.é",
    "0",
    "-",
]


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


RSA_PRIVATE = rsa.generate_private_key(65537, 2048)
RSA_PEM = public_pem(RSA_PRIVATE)
ENCRYPTED_PEM = RSA_PRIVATE.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"a passphrase"),
)
BAD_PEMS = {
    "empty": (b"", "RS256"),
    "no PEM": (b"not a key", "RS256"),
    "truncated": (RSA_PEM[:200], "RS256"),
    "armour alone": (
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        "RS256",
    ),
    "damaged": (RSA_PEM.replace(b"MIIB", b"AAAA"), "RS256"),
    "encrypted": (ENCRYPTED_PEM, "RS256"),
    "another family": (public_pem(ec.generate_private_key(ec.SECP256R1())), "RS256"),
    "another curve": (public_pem(ec.generate_private_key(ec.SECP384R1())), "ES256"),
    "a family without PEM": (RSA_PEM, "HS256"),
    "no algorithm": (RSA_PEM, "none"),
}


def claims(**others: Any) -> bytes:
    """Claims that are good, but for *others*, which may be null."""
    good = {"iss": ISSUER, "aud": "https://api.example", "sub": "alice"}
    return json.dumps({**good, "exp": NOW + 600, "iat": NOW, **others}).encode()


@pytest.mark.parametrize("padding", ["=", "==", "===="])
def test_defect_01_a_revoked_token_with_padding_stays_revoked(
    door: Door, mint: Mint, padding: str
) -> None:
    """AuthX 1.7.1 looks revocations up by the text, and let a second spelling in."""
    token = mint()
    door.auth.revoke(token)
    cookies = door.behind(authenticator(sources=(Cookie(),), store=MemoryStore(clock)))
    cookies.auth.revoke(token)

    assert door.get(bearer=token).status == 401
    assert door.get(bearer=token + padding).status == 401
    assert cookies.get(cookies=[(COOKIE, token + padding)]).status == 401


def test_defect_01_an_unrevoked_token_has_no_second_spelling_either(
    door: Door, mint: Mint
) -> None:
    """The same, before the revocation: there is nothing to look up by text."""
    first, second, third = mint().split(".")
    for spelling in (
        f"{first}.{second}.{third}=",
        f"{first}.{second}=.{third}",
        f"{first}=.{second}.{third}",
    ):
        assert door.get(bearer=spelling).status in (400, 401)


def test_defect_02_a_revoked_cookie_is_not_renewed(door: Door, mint: Mint) -> None:
    """AuthX 1.7.1 refused it, and set a fresh token in the very same answer."""
    store = MemoryStore(clock)
    door = door.behind(authenticator(sources=(Cookie(),), store=store))
    token = mint(exp=5)
    passed = door.get(cookies=[(COOKIE, token)])
    door.auth.revoke(token)
    refused = door.get(cookies=[(COOKIE, token)])

    assert passed.entered
    assert passed.header("set-cookie") is None
    assert refused.status == 401
    assert refused.header("set-cookie") is None
    assert door.get(cookies=[(COOKIE, token)]).status == 401


def test_defect_03_a_token_without_a_scheme_is_no_credential(
    door: Door, mint: Mint
) -> None:
    """AuthX 1.7.1 took the whole header for a token."""
    token = mint()
    bare = [token, f" {token}", f"Bearer{token}", f"Bearer\t{token}", f"Bearer={token}"]
    for value in bare:
        answer = door.get(headers=[("Authorization", value)])
        assert answer.status in (400, 401)
        assert not answer.entered


def test_defect_04_importing_us_configures_no_logging() -> None:
    """Importing AuthX 1.7.1 set up the root logger of the host application."""
    program = """
import logging
root, manager = logging.getLogger(), logging.Logger.manager
before = root.level, list(root.handlers), manager.disable, logging.raiseExceptions
import jwt_middleware, jwt_middleware.asgi, jwt_middleware.wsgi
jwt_middleware.Key.generate()
assert (root.level, root.handlers, manager.disable, logging.raiseExceptions) == before
ours = [logger for name, logger in manager.loggerDict.items()
        if name.partition(".")[0] == "jwt_middleware"
        if isinstance(logger, logging.Logger)]
assert ours
for logger in ours:
    assert logger.level == logging.NOTSET and logger.propagate and not logger.disabled
    assert not [h for h in logger.handlers if not isinstance(h, logging.NullHandler)]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "scheme", ["Basic", "Digest", "Negotiate", "DPoP", "Token", "JWT", "Bearers", "Bea"]
)
def test_defect_05_the_token_of_another_scheme_is_not_ours(
    door: Door, mint: Mint, scheme: str
) -> None:
    """Litestar 2.25.0 did not look at the scheme."""
    answer = door.get(headers=[("Authorization", f"{scheme} {mint()}")])

    assert answer.status == 401
    assert not answer.entered
    assert answer.challenge == 'Bearer realm="api"'


@pytest.mark.parametrize(
    "path",
    ["/public-data", "/x/pub", "/pub.json", "/pub-", "/PUB", "/pu", "/pubx/", "//pub"],
)
@pytest.mark.parametrize("rule", ["/pub", "/pub/*"])
def test_defect_06_a_public_path_opens_no_path_that_contains_it(
    door: Door, rule: str, path: str
) -> None:
    """Litestar 2.25.0 searches for a pattern, anywhere in the path."""
    inside = rule.replace("*", "inside")
    door = door.behind(authenticator(rules=(Rule(rule, public=True),)))

    assert door.get(inside).entered
    assert door.get(path).status == 401


def test_defect_06_a_path_is_no_pattern(door: Door) -> None:
    """What a regular expression would read into a path is plain text to us."""
    for path in ("/p.b", "/(pub|x)", "/pub?", "/^pub$", "/[a-z]+", "/pub|/"):
        loose = door.behind(authenticator(rules=(Rule(path, public=True),)))
        assert loose.get(path).entered
        assert loose.get("/pub").status == 401


@pytest.mark.parametrize("value", ["str", 7, 1.5, True, [], ["a", 1], {"a": {}}, None])
@pytest.mark.parametrize(
    "name", ["extras", "scope", "scp", "roles", "email", "auth_time", "azp", "act", ""]
)
def test_defect_07_a_claim_of_an_odd_type_is_no_accident(
    door: Door, name: str, value: object
) -> None:
    """Litestar 2.25.0 answered 500 where a claim it knows was of another type."""
    door = door.behind(authenticator(rules=(Rule("/admin", scopes=("admin",)),)))
    token = sign({"alg": "ES256"}, claims(**{name: value}))
    answer = door.get(bearer=token)

    assert answer.status == 200
    assert answer.token is not None
    assert answer.token[name] == value
    assert door.get("/admin", bearer=token).status == 403


@pytest.mark.parametrize("value", [7, 1.5, True, [], ["a"], {"a": {}}, None])
@pytest.mark.parametrize("name", ["iss", "sub", "jti", "sid", "client_id", "aud"])
def test_defect_07_a_registered_claim_of_an_odd_type_is_refused(
    door: Door, name: str, value: object
) -> None:
    """The same for the claims that RFC 7519 gives a type: a 401, no accident."""
    answer = door.get(bearer=sign({"alg": "ES256"}, claims(**{name: value})))

    assert answer.status == 401
    assert not answer.entered


def test_defect_08_options_is_a_method_like_any_other(door: Door, mint: Mint) -> None:
    """flask-jwt-extended 4.7.4 let it by unverified, and its view broke: a 500."""
    preflight = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "DELETE"),
    ]
    loose = Rule("/*", methods=("OPTIONS",), public=True)
    opened = door.behind(authenticator(rules=(loose,)))
    with_token = door.request("OPTIONS", bearer=mint())
    allowed = opened.request("OPTIONS", headers=preflight)

    assert door.request("OPTIONS").status == 401
    assert door.request("OPTIONS", headers=preflight).status == 401
    assert with_token.current is not None
    assert with_token.current["sub"] == "alice"
    assert allowed.entered
    assert allowed.token is None
    assert allowed.current is None
    assert opened.get(headers=preflight).status == 401


def test_defect_09_wsgi_refuses_an_asynchronous_store_at_construction() -> None:
    """flask-jwt-extended 4.7.4 took the coroutine itself for a yes."""

    def app(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("nobody comes this far")

    with pytest.raises(ValueError, match="asynchronous"):
        wsgi.JWTMiddleware(app, authenticator(store=WaitingStore()))


def test_defect_09_asgi_awaits_an_asynchronous_store(mint: Mint) -> None:
    """Neither its no nor its yes is lost: what it says is what counts."""
    door = ASGIDoor(authenticator(store=WaitingStore()))
    before = door.get(bearer=mint(jti="j9"))
    asyncio.run(door.auth.arevoke_jti("j9"))

    assert before.entered
    assert door.get(bearer=mint(jti="j9")).status == 401
    assert door.get(bearer=mint(jti="j10")).entered


def test_defect_09_a_coroutine_in_disguise_never_counts_as_an_answer(
    door: Door, mint: Mint
) -> None:
    """A plain method that returns a coroutine: awaited, by either door."""

    class Disguised(MemoryStore):
        def look(self, names: Sequence[str]) -> Any:
            async def answer() -> Sequence[float | None]:
                return MemoryStore.look(self, names)

            return answer()

    door = door.behind(authenticator(store=Disguised(clock)))
    door.auth.revoke_jti("j9")

    assert door.get(bearer=mint(jti="j9")).status == 401
    assert door.get(bearer=mint(jti="j10")).entered


def test_defect_10_a_lone_surrogate_is_no_accident(door: Door, mint: Mint) -> None:
    """flask-jwt-extended 4.7.4 answered 500 where a text could not be encoded."""
    token = mint()
    for text in ("\udc80", f"{token}\udc80", f"\udc80{token}", "\ud83d.\ude00.\udc80"):
        with pytest.raises(AuthError):
            door.auth.authenticate(text)
        with pytest.raises(AuthError):
            asyncio.run(door.auth.aauthenticate(text))
        octets = text.encode("utf-8", "surrogatepass").decode("latin-1")
        for value in (octets, "\x80", f"{token}\xff"):
            answer = door.get(bearer=value)
            assert answer.status == 400
            assert not answer.entered
        if isinstance(door, WSGIDoor):
            environ = {"HTTP_AUTHORIZATION": f"Bearer {text}"}
            assert door.get(extra=environ).status == 400


@pytest.mark.parametrize(
    "text", [r"\udc80", r"\ud800", r"\uDBFF\u0041", r"\ude00\ud83d"]
)
def test_defect_10_a_lone_surrogate_inside_is_none_either(
    door: Door, text: str
) -> None:
    """Nothing that cannot be written as UTF-8 gets as far as the application."""
    payload = claims(name="NAME").replace(b"NAME", text.encode())
    header = f'{{"alg":"ES256","x":"{text}"}}'.encode()

    assert door.get(bearer=sign({"alg": "ES256"}, payload)).status == 401
    assert door.get(bearer=sign(header, claims())).status == 401


@pytest.mark.parametrize("name", BAD_PEMS)
def test_defect_11_a_bad_pem_fails_at_construction(name: str) -> None:
    """flask-jwt-extended 4.7.4 found out at each request, with a 500."""
    pem, algorithm = BAD_PEMS[name]

    with pytest.raises(ValueError, match=r"\w"):
        Key.from_pem(pem, algorithm)


def test_defect_11_what_is_no_set_of_keys_fails_at_construction() -> None:
    """A PEM text in the place of keys, and keys that are damaged, likewise."""
    damaged = {"kty": "RSA", "n": "!!!", "e": "AQAB"}
    unusable: list[Any] = [
        RSA_PEM,
        RSA_PEM.decode(),
        [RSA_PEM],
        SIGNING_KEY,
        [],
        {},
        {"keys": []},
        {"keys": [damaged]},
        {"keys": [SIGNING_KEY.public.to_jwk(), damaged]},
        7,
    ]
    for keys in unusable:
        with pytest.raises(ValueError, match=r"\w"):
            trusted(keys=keys)


@pytest.mark.parametrize("others", [{}, {"require": ()}, {"max_lifetime": None}])
def test_defect_12_a_token_without_an_end_is_refused(
    door: Door, mint: Mint, others: dict[str, Any]
) -> None:
    """Four packages of eleven accept one for ever, unless they are told not to."""
    door = door.behind(authenticator(trusted(**others)))

    assert door.get(bearer=mint()).entered
    assert door.get(bearer=mint(exp=None)).status == 401
    ends: list[object] = [None, "", [], True, str(NOW + 600)]
    for end in ends:
        token = sign({"alg": "ES256"}, claims(exp=end))
        assert door.get(bearer=token).status == 401


@pytest.mark.parametrize(
    "typ",
    [
        "logout+jwt",
        "LOGOUT+JWT",
        "application/logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "id_token+jwt",
        "token-introspection+jwt",
        "statuslist+jwt",
        "jwt ",
        "",
    ],
)
def test_defect_13_a_token_of_another_type_is_no_access_token(
    door: Door, mint: Mint, typ: str
) -> None:
    """FastMCP 4.2.1 accepted a logout token."""
    answer = door.get(bearer=mint(header={"typ": typ}))

    assert answer.status == 401
    assert not answer.entered


def test_defect_13_a_logout_token_that_calls_itself_jwt_is_none_either(
    door: Door, mint: Mint
) -> None:
    """Its ``events`` claim tells (OpenID Connect Back-Channel Logout)."""
    events: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}

    assert door.get(bearer=mint(header={"typ": "JWT"}, events=events)).status == 401
    assert door.get(bearer=mint(header={"typ": None}, events=events)).status == 401


def test_defect_14_a_missing_scope_is_insufficient_scope(
    door: Door, mint: Mint
) -> None:
    """FastMCP 4.2.1 called the token invalid, so that its client fetched another."""
    door = door.behind(authenticator(rules=(Rule("/*", scopes=("read", "write")),)))
    answer = door.get(bearer=mint(scope="read"))

    assert answer.status == 403
    assert answer.json["error"] == "insufficient_scope"
    assert answer.challenge is not None
    assert 'error="insufficient_scope"' in answer.challenge
    assert 'scope="read write"' in answer.challenge
    assert door.get(bearer=mint(scope="write read")).entered
    assert door.get(bearer=mint(scope="read", exp=-60)).status == 401


def test_defect_15_who_is_known_but_may_not_is_not_called_invalid(
    door: Door, mint: Mint
) -> None:
    """Authlib 1.9.9 answered 401 where a role was missing.  We know scopes alone:
    roles and groups give none, and a list in ``scp`` does."""
    door = door.behind(authenticator(rules=(Rule("/*", scopes=("admin",)),)))
    with_roles = door.get(bearer=mint(roles=["admin"], groups=["admin"]))
    without_scopes = door.get(bearer=mint(scp=[]))

    for answer in (with_roles, without_scopes):
        assert answer.status == 403
        assert answer.json["error"] == "insufficient_scope"
        assert answer.challenge is not None
        assert "invalid_token" not in answer.challenge
    assert door.get(bearer=mint(scp=["admin"])).entered


@pytest.mark.parametrize(
    "parameter",
    [
        {"cat": "cl_x"},
        {"x5t": "dGh1bWJwcmludA"},
        {"nonce": "n"},
        {"ver": 2, "org": {"id": [1]}},
        {"x" * 600: "y" * 600},
    ],
    ids=lambda parameter: next(iter(parameter))[:5],
)
def test_defect_16_a_header_parameter_that_we_do_not_know_is_ignored(
    door: Door, mint: Mint, parameter: dict[str, Any]
) -> None:
    """joserfc, under Authlib 1.9.9, refuses the tokens of issuers that add one;
    RFC 7515 §4.2 lets them."""
    answer = door.get(bearer=mint(header=parameter))

    assert answer.entered
    assert answer.token is not None
    assert answer.token.header.items() >= parameter.items()


def test_defect_17_a_token_without_a_type_is_refused_where_one_is_asked_for(
    door: Door, mint: Mint
) -> None:
    """Authlib 1.9.9 accepted it in its RFC 9068 validator.  Absent counts as JWT."""
    strict = door.behind(authenticator(trusted(types=("at+jwt",))))
    profile = door.behind(authenticator(trusted(profile="rfc9068")))
    typed = mint(client_id="c")
    for header in ({"typ": None}, {"typ": "JWT"}):
        token = mint(header=header, client_id="c")
        assert strict.get(bearer=token).status == 401
        assert profile.get(bearer=token).status == 401
        assert door.get(bearer=token).entered
    assert strict.get(bearer=typed).entered
    assert profile.get(bearer=typed).entered


@pytest.mark.parametrize("typ", ["rt+jwt", "refresh+jwt", "application/rt+jwt"])
def test_defect_18_a_refresh_token_opens_nothing(
    door: Door, mint: Mint, typ: str
) -> None:
    """fastapi-jwt 0.3.0 accepted its own on every endpoint."""
    assert door.get(bearer=mint(header={"typ": typ})).status == 401


def test_defect_18_our_own_issuer_makes_and_accepts_access_tokens_alone(
    door: Door,
) -> None:
    """Whatever else is signed with the same key is not its access token."""
    issuer = TokenIssuer(ISSUER, audience="app", key=SIGNING_KEY, now=clock)
    door = door.behind(authenticator(issuer.trusted()))
    pair = issuer.issue("alice")
    others = [{}, {"typ": "JWT"}, {"typ": "rt+jwt"}]

    assert pair.refresh_token is None
    assert door.get(bearer=pair.access_token).entered
    for header in others:
        token = sign({"alg": "ES256", **header}, claims(aud="app"))
        assert door.get(bearer=token).status == 401


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_defect_19_garbage_raises_nothing_that_is_not_ours(
    door: Door, text: str
) -> None:
    """GuardPost 1.1.0 let the exceptions of PyJWT out."""
    cookies = door.behind(authenticator(sources=(Cookie(),)))
    bare = door.behind(authenticator(sources=(BearerHeader("X-Token", scheme=None),)))
    answers = [
        door.get(bearer=text),
        cookies.get(cookies=[(COOKIE, text)]),
        bare.get(headers=[("X-Token", text)]),
    ]

    assert {answer.status for answer in answers} <= {400, 401}
    assert not any(answer.entered for answer in answers)
    with pytest.raises(AuthError):
        door.auth.authenticate(text)


def test_defect_19_nor_does_the_damage_of_a_good_token(door: Door, mint: Mint) -> None:
    """A token cut off at any of its characters, or with one of them changed."""
    token = mint()
    for length in range(1, len(token), 7):
        other = "B" if token[length] == "A" else "A"
        for text in (token[:length], token[:length] + other + token[length + 1 :]):
            answer = door.get(bearer=text)
            assert answer.status == 401
            assert not answer.entered


@pytest.mark.parametrize(
    "binding",
    [{"jkt": "0ZcOCORZNYy"}, {"x5t#S256": "bwcK0esc3AC"}, {"kid": "k"}, {}, "", None],
)
def test_defect_20_a_bound_token_is_not_downgraded_to_a_bearer_token(
    door: Door, binding: object
) -> None:
    """auth0-api-python 1.0.0b9 accepted one where DPoP was switched off."""
    token = sign({"alg": "ES256"}, claims(cnf=binding))
    cookies = door.behind(authenticator(sources=(Cookie(),)))
    bare = door.behind(authenticator(sources=(BearerHeader("X-Token", scheme=None),)))

    assert door.get(bearer=token).status == 401
    assert cookies.get(cookies=[(COOKIE, token)]).status == 401
    assert bare.get(headers=[("X-Token", token)]).status == 401
    with pytest.raises(AuthError):
        door.auth.authenticate(token)
