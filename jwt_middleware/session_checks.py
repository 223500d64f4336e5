"""What is looked at before the cookies of sessions are used."""

from __future__ import annotations

from collections.abc import Sequence

from .issuer import TokenIssuer
from .matching import OpenRoute


def open_routes(
    login_path: str | None, path: str, refreshes: bool
) -> Sequence[OpenRoute]:
    """Return the routes of a login and of what refreshes and ends a session."""
    found = []
    if login_path is not None:
        why = "a browser that is refused is sent there, and refused again"
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
            f"{type(issuer).__name__} is no TokenIssuer; "
            "write SessionCookies(TokenIssuer(...))"
        )
    if not issuer.is_renewable:
        raise ValueError(
            "a session that lies idle for an access token's life would end, and not be "
            "renewed; let idle_lifetime be longer than access_lifetime and leeway"
        )
    if transparent and not issuer.reuse_leeway:
        raise ValueError(
            "transparent=True needs a TokenIssuer(..., store=store, reuse_leeway=10)"
        )
    return issuer
