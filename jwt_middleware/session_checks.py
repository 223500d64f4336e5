"""Check what `SessionCookies` is given."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .errors import MultipleCredentials
from .issuer import TokenIssuer
from .matching import OpenRoute

MOST_ENDED = 16
"""Cookies by which one request ends sessions: each costs a check of a signature."""


def ensure_few(values: Collection[str]) -> Collection[str]:
    """Return *values* of cookies.  Raise MultipleCredentials if they are too many."""
    if len(values) > MOST_ENDED:
        raise MultipleCredentials(
            f"{len(values)} cookies of sessions, expected {MOST_ENDED} at most"
        )
    return values


def open_routes(
    login_path: str | None, path: str, refreshes: bool
) -> Sequence[OpenRoute]:
    """Return the routes that have to be public: to log in, to refresh, to log out."""
    found = []
    if login_path is not None:
        why = "a browser without a valid token is redirected there, and refused again"
        write = f"Rule({login_path!r}, methods=('GET', 'POST'), public=True)"
        found.append(OpenRoute("GET", login_path, why, write))
    if refreshes:
        below = f"{path.rstrip('/')}/*"
        why = "a session whose access token has expired cannot be refreshed or ended"
        write = f"Rule({below!r}, methods=('POST',), public=True)"
        found.append(OpenRoute("POST", below, why, write))
    return found


def read_issuer(issuer: TokenIssuer, transparent: bool) -> TokenIssuer:
    """Return *issuer*.  Raise ValueError if its sessions cannot be kept in cookies."""
    if not isinstance(issuer, TokenIssuer):
        raise ValueError(
            f"the issuer is a {type(issuer).__name__}, expected a TokenIssuer; "
            "write SessionCookies(TokenIssuer(...))"
        )
    if not issuer.is_renewable:
        raise ValueError(
            "idle_lifetime is so short that a refresh token expires no later than its "
            "access token; write one longer than access_lifetime and leeway together"
        )
    if transparent and not issuer.reuse_leeway:
        raise ValueError(
            "transparent=True needs an issuer with a reuse_leeway, and this issuer has "
            "none; write TokenIssuer(..., store=store, reuse_leeway=10)"
        )
    return issuer
