"""A lock in front of any WSGI or ASGI application, for JSON Web Tokens.

The middlewares themselves are `jwt_middleware.wsgi.JWTMiddleware` and
`jwt_middleware.asgi.JWTMiddleware`; both take the `Authenticator` that is built
from what is here.
"""

from __future__ import annotations

from .authenticator import Authenticator
from .cookies import Cookie
from .credentials import BearerHeader
from .errors import AuthError
from .issuer import TokenIssuer
from .jose import Key
from .keys import StaticKeys
from .pair import TokenPair
from .remote import RemoteKeys
from .rules import Rule
from .session_cookies import SessionCookies
from .store import MemoryStore
from .token import Token, current_token
from .trust import TrustedIssuer

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
