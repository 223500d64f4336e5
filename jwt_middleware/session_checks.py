"""What is looked at before the cookies of sessions are used."""

from __future__ import annotations

from .issuer import TokenIssuer


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
