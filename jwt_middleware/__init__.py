"""A lock in front of any WSGI or ASGI application, for JSON Web Tokens.

The middlewares themselves are `jwt_middleware.wsgi.JWTMiddleware` and
`jwt_middleware.asgi.JWTMiddleware`; both take the `Authenticator` that is built
from what is here.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As in typing, which is not imported for it; type checkers know the name."""

if TYPE_CHECKING:
    from .authenticator import Authenticator
    from .cookies import Cookie
    from .credentials import BearerHeader
    from .current import current_token
    from .errors import AuthError
    from .issuer import TokenIssuer
    from .jose import Key
    from .keys import StaticKeys
    from .pair import TokenPair
    from .remote import RemoteKeys
    from .rules import Rule
    from .session_cookies import SessionCookies
    from .store import MemoryStore
    from .token import Token
    from .trust import TrustedIssuer
else:  # unseen by type checkers: to them, any name would be one of ours

    def __getattr__(name):
        if name not in _ROOMS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
        globals()[name] = value  # so that this is asked once
        return value


__all__ = [
    "AuthError",
    "Authenticator",
    "BearerHeader",
    "Cookie",
    "Key",
    "MemoryStore",
    "RemoteKeys",
    "Rule",
    "SessionCookies",
    "StaticKeys",
    "Token",
    "TokenIssuer",
    "TokenPair",
    "TrustedIssuer",
    "current_token",
]

_ROOMS = {
    "AuthError": "errors",
    "Authenticator": "authenticator",
    "BearerHeader": "credentials",
    "Cookie": "cookies",
    "Key": "jose",
    "MemoryStore": "store",
    "RemoteKeys": "remote",
    "Rule": "rules",
    "SessionCookies": "session_cookies",
    "StaticKeys": "keys",
    "Token": "token",
    "TokenIssuer": "issuer",
    "TokenPair": "pair",
    "TrustedIssuer": "trust",
    "current_token": "current",
}
"""Where each name is defined; the room is imported when the name is first used."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
