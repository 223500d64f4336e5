"""Claims by which a token says that it is not an access token.

RFC 9068 uses the header's ``typ`` for that.  Most issuers and libraries use a claim of
their own; the tables below list the spellings, each with a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .quoting import shown

FOREIGN_CLAIMS = {
    "events": "RFC 8417: a security event token; OpenID Connect: a logout token",
    "nonce": "OpenID Connect Core §2: an ID token",
    "at_hash": "OpenID Connect Core §3.1.3.6: an ID token",
    "c_hash": "OpenID Connect Core §3.3.2.11: an ID token",
}
"""Claims that only a token of another kind has, whatever their value."""

KIND_CLAIMS = {
    "typ": "Keycloak (TokenUtil), Guardian (Guardian.Token.Jwt)",
    "type": "flask-jwt-extended, fastapi-jwt-auth, AuthX, quart-jwt-extended",
    "token_type": "djangorestframework-simplejwt, django-ninja-jwt",
    "tokenType": "Casdoor (object.Claims)",
    "token_use": "Amazon Cognito",
    "use": "custom issuers, as a short form of token_use",
    "tty": "FusionAuth",
    "oi_tkn_typ": "OpenIddict (OpenIddictConstants.Claims.Private)",
}
"""Claims whose value is the kind of the token."""

FOREIGN_KINDS = {
    "refresh": "every library above that makes refresh tokens",
    "id": "Keycloak, Amazon Cognito, FusionAuth, OpenIddict",
    "logout": "Keycloak, for OpenID Connect Back-Channel Logout",
}
"""Values of `KIND_CLAIMS` that no access token has, as `_word` returns them."""

OTHER_MARKS = {
    ("typ", "offline"): "Keycloak: a refresh token that outlives the session",
    ("typ", "serializedid"): "Keycloak: the cookie of a login session",
    ("type", "verification"): "PocketBase (record_tokens.go)",
    ("type", "passwordreset"): "PocketBase (record_tokens.go)",
    ("type", "emailchange"): "PocketBase (record_tokens.go)",
    ("purpose", "signin"): "AshAuthentication: a short-lived step of a login",
    ("purpose", "rememberme"): "AshAuthentication: makes new sessions",
    ("scope", "refresh"): "FastAPI tutorials: the only scope is refresh_token",
    ("drn", "dsr"): "Descope: a refresh token",
    ("oi_tkn_typ", "authorizationcode"): "OpenIddict",
    ("oi_tkn_typ", "devicecode"): "OpenIddict",
    ("oi_tkn_typ", "usercode"): "OpenIddict",
    ("oi_tkn_typ", "state"): "OpenIddict",
}
"""Pairs of a claim and a value that no access token has, as `_word` returns it."""

MARKS = frozenset(OTHER_MARKS) | {
    (claim, kind) for claim in KIND_CLAIMS for kind in FOREIGN_KINDS
}
NAMES = frozenset(FOREIGN_CLAIMS) | {claim for claim, _ in MARKS}

ACCESS_WITH_NONCE = {("typ", "Bearer"), ("tokenType", "access-token")}
"""Claims of access tokens of Keycloak and Casdoor, which may have a ``nonce``."""

WITHOUT_SEPARATORS = str.maketrans("", "", "-_ ")


def foreign_marks(claims: Mapping[str, Any]) -> Sequence[str]:
    """Return which *claims* no access token has, as texts for the log.

    A value that is in no table proves nothing: ``type`` may be the type of the user.
    """
    if NAMES.isdisjoint(claims):
        return ()
    found = [name for name in FOREIGN_CLAIMS if name in claims]
    if "nonce" in found and any(claims.get(n) == v for n, v in ACCESS_WITH_NONCE):
        found.remove("nonce")
    found += [
        f"{name} {shown(claims[name])}"
        for name in claims
        if name in NAMES and _is_foreign(name, claims[name])
    ]
    return found


def _is_foreign(name: str, value: object) -> bool:
    if name == "token_use":  # Amazon Cognito knows two values, "access" and "id"
        return value != "access"
    return isinstance(value, str) and (name, _word(value)) in MARKS


def _word(value: str) -> str:
    """Return *value* without letter case, separators and a final ``token``.

    For "Refresh-Token" that is "refresh".
    """
    word = value.lower().translate(WITHOUT_SEPARATORS)
    return word.removesuffix("token")
