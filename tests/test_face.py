"""The public face: names, signatures and texts that others build on."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import jwt_middleware
from jwt_middleware import asgi, errors, jose, wsgi
from jwt_middleware.quoting import QUOTABLE
from jwt_middleware.token import KEY

from .test_challenge import REFUSALS, named

NAMES = jwt_middleware.__all__

FIXED: list[tuple[Callable[..., Any], str]] = [
    (
        jwt_middleware.Authenticator,
        "(*issuers, sources=(BearerHeader(name='Authorization', scheme='Bearer'),), "
        "rules=(), store=None, realm='api', require_https=False, cache_size=10000, "
        "now=<built-in function time>)",
    ),
    (
        jwt_middleware.TrustedIssuer,
        "(issuer, *, audience, keys=None, algorithms=None, types=('at+jwt', 'JWT'), "
        "leeway=30, max_lifetime=86400, require=(), profile=None)",
    ),
    (
        jwt_middleware.Rule,
        "(path, *, methods=(), public=False, optional=False, scopes=())",
    ),
    (jwt_middleware.BearerHeader, "(name='Authorization', scheme='Bearer')"),
    (jwt_middleware.Cookie, "(name='__Host-access', *, trusted_origins=())"),
    (
        jwt_middleware.MemoryStore,
        "(now=<built-in function time>, *, clock=<built-in function monotonic>)",
    ),
    (jwt_middleware.StaticKeys, "(*keys)"),
    (jwt_middleware.current_token, "()"),
    (jwt_middleware.Key.from_pem, "(data, algorithm, kid=None)"),
    (jwt_middleware.Key.from_secret, "(secret, algorithm='HS256', kid=None)"),
    (jwt_middleware.Key.generate, "(algorithm='ES256', kid=None)"),
    (jwt_middleware.Key.to_jwk, "(self, private=False)"),
    (jwt_middleware.Authenticator.authenticate, "(self, token)"),
    (jwt_middleware.Authenticator.aauthenticate, "(self, token)"),
    (jwt_middleware.Authenticator.revoke, "(self, token)"),
    (jwt_middleware.Authenticator.revoke_jti, "(self, jti, issuer=None)"),
    (jwt_middleware.Authenticator.revoke_session, "(self, sid, issuer=None)"),
    (
        jwt_middleware.Authenticator.revoke_subject,
        "(self, sub, issuer=None, before=None)",
    ),
    (jwt_middleware.Authenticator.arevoke, "(self, token)"),
    (jwt_middleware.Authenticator.arevoke_jti, "(self, jti, issuer=None)"),
    (jwt_middleware.Authenticator.arevoke_session, "(self, sid, issuer=None)"),
    (
        jwt_middleware.Authenticator.arevoke_subject,
        "(self, sub, issuer=None, before=None)",
    ),
    (jwt_middleware.MemoryStore.add, "(self, name, at, until)"),
    (jwt_middleware.MemoryStore.put, "(self, name, at, until)"),
    (jwt_middleware.MemoryStore.look, "(self, names)"),
    (jwt_middleware.TokenIssuer.issue, "(self, subject, *, scope=(), **claims)"),
    (jwt_middleware.TokenIssuer.jwks, "(self)"),
    (jwt_middleware.TokenIssuer.trusted, "(self)"),
    (jose.verify_compact, "(text, keys)"),
    (wsgi.JWTMiddleware, "(app, auth)"),
    (asgi.JWTMiddleware, "(app, auth, *, end_responses=False)"),
]

BEGINNINGS = [
    # What is fixed, where more may be added behind it.
    (jwt_middleware.Key.from_jwk, "(jwk"),
    (jwt_middleware.StaticKeys.from_jwks, "(jwks"),
    (jwt_middleware.TokenIssuer, "(issuer, *, audience, key, "),
]

REFUSED = {
    "AuthError": (401, None, "refused"),
    "NoCredentials": (401, None, "no_credentials"),
    "InvalidRequest": (400, "invalid_request", "malformed_credentials"),
    "MultipleCredentials": (400, "invalid_request", "multiple_credentials"),
    "AmbiguousPath": (400, "invalid_request", "ambiguous_path"),
    "InsecureTransport": (400, "invalid_request", "insecure_transport"),
    "InvalidTokenRequest": (400, "invalid_request", "malformed_token_request"),
    "InvalidToken": (401, "invalid_token", "invalid_token"),
    "MalformedToken": (401, "invalid_token", "malformed"),
    "UnknownIssuer": (401, "invalid_token", "unknown_issuer"),
    "UnknownKey": (401, "invalid_token", "unknown_key"),
    "BadSignature": (401, "invalid_token", "bad_signature"),
    "WrongType": (401, "invalid_token", "wrong_type"),
    "WrongAudience": (401, "invalid_token", "wrong_audience"),
    "ClaimMissing": (401, "invalid_token", "claim_missing"),
    "ClaimInvalid": (401, "invalid_token", "claim_invalid"),
    "TokenExpired": (401, "invalid_token", "expired"),
    "TokenNotYetValid": (401, "invalid_token", "not_yet_valid"),
    "LifetimeExceeded": (401, "invalid_token", "lifetime_exceeded"),
    "TokenRevoked": (401, "invalid_token", "revoked"),
    "TokenBound": (401, "invalid_token", "sender_constrained"),
    "InvalidGrant": (400, "invalid_grant", "invalid_grant"),
    "RefreshReused": (400, "invalid_grant", "refresh_reused"),
    "InvalidScope": (400, "invalid_scope", "invalid_scope"),
    "UnsupportedGrantType": (400, "unsupported_grant_type", "unsupported_grant_type"),
    "StepUpRequired": (
        401,
        "insufficient_user_authentication",
        "step_up_required",
    ),
    "InsufficientScope": (403, "insufficient_scope", "insufficient_scope"),
    "CrossOrigin": (403, "cross_origin", "cross_origin"),
    "Unavailable": (503, "temporarily_unavailable", "unavailable"),
    "KeysUnavailable": (503, "temporarily_unavailable", "keys_unavailable"),
    "RevocationsUnavailable": (
        503,
        "temporarily_unavailable",
        "revocations_unavailable",
    ),
}
"""Status, code and reason, which dashboards and clients are written against."""


def signature(call: Callable[..., Any]) -> str:
    """How *call* is called: its parameters and their defaults, without types."""
    found = inspect.signature(call)
    bare = [p.replace(annotation=p.empty) for p in found.parameters.values()]
    return str(inspect.Signature(bare))


def test_the_names_are_sorted_and_stand_once() -> None:
    assert sorted(set(NAMES)) == NAMES


def test_a_star_imports_the_names_and_nothing_else() -> None:
    found: dict[str, object] = {}
    exec("from jwt_middleware import *", found)  # noqa: S102  (what a reader would type)
    assert sorted(found.keys() - {"__builtins__"}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_name_says_what_it_is(name: str) -> None:
    """Its docstring begins with a sentence on a line of its own."""
    text = inspect.getdoc(getattr(jwt_middleware, name)) or ""
    first = text.splitlines()[0]
    assert re.fullmatch(r"[A-Z][^\n]{8,86}[.]", first), first


@pytest.mark.parametrize("name", NAMES)
def test_each_public_method_says_what_it_does(name: str) -> None:
    """But for what fulfils a protocol, which is told there."""
    told_elsewhere = {"find", "confirm", "challenge", "add", "put", "look", "resolve"}
    told_elsewhere |= {"sign", "identity", "display_name", "keys", "values", "items"}
    told_elsewhere |= {"get", "held"}
    thing = getattr(jwt_middleware, name)
    if not inspect.isclass(thing):
        return
    for method, value in vars(thing).items():
        is_told = method.startswith("_") or method in told_elsewhere
        if not is_told and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{method}"


@pytest.mark.parametrize(("call", "text"), FIXED)
def test_a_signature_that_is_fixed(call: Callable[..., Any], text: str) -> None:
    assert signature(call) == text


@pytest.mark.parametrize(("call", "text"), BEGINNINGS)
def test_a_signature_whose_beginning_is_fixed(
    call: Callable[..., Any], text: str
) -> None:
    """What follows has a default, so that what is written today goes on."""
    assert signature(call).startswith(text)
    parameters = list(inspect.signature(call).parameters.values())
    fixed = text.strip("(, ").replace("*, ", "").count(",") + 1
    assert all(p.default is not p.empty for p in parameters[fixed:])


def test_the_issuer_has_the_lifetime_that_is_fixed() -> None:
    parameters = inspect.signature(jwt_middleware.TokenIssuer).parameters
    assert parameters["access_lifetime"].default == 600
    assert parameters["access_lifetime"].kind is inspect.Parameter.KEYWORD_ONLY


def test_a_pair_of_tokens_has_the_fields_that_are_fixed() -> None:
    pair = jwt_middleware.TokenPair("a", expires_in=600, session_id="s")
    assert (pair.access_token, pair.refresh_token) == ("a", None)
    assert (pair.expires_in, pair.session_id) == (600, "s")
    assert pair.as_dict() == {
        "access_token": "a",
        "token_type": "Bearer",
        "expires_in": 600,
    }


def test_both_doors_keep_the_token_under_the_same_name() -> None:
    assert KEY == "jwt_middleware.token"
    assert vars(wsgi)["KEY"] is vars(asgi)["KEY"] is KEY


def test_the_refusals_are_those_that_are_fixed() -> None:
    found = {
        named(error): (error.status, error.error, error.reason) for error in REFUSALS
    }
    assert found == REFUSED


@pytest.mark.parametrize("error", REFUSALS, ids=named)
def test_a_refusal_can_be_quoted_in_a_header(error: jwt_middleware.AuthError) -> None:
    """RFC 6750 §3 leaves out what could end a quoted string."""
    for text in (*error.told().values(), *error.challenged().values(), error.reason):
        assert QUOTABLE.fullmatch(text)


def test_every_refusal_lives_in_one_module() -> None:
    assert all(type(error).__module__ == errors.__name__ for error in REFUSALS)
    assert len({error.reason for error in REFUSALS}) == len(REFUSALS)
