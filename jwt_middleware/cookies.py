"""A token in a cookie, which a browser sends unasked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .credentials import NAME, SEPARATORS, Credentials, ensure_unbound
from .errors import CrossOrigin, MultipleCredentials
from .options import read_word, read_words
from .quoting import shown
from .request import Request
from .token import Token

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"})
"""RFC 9110 §9.2.1, RFC 10008."""
TRUSTED = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d+)?")
"""Also of an app's own scheme, such as ``capacitor://localhost``."""
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Cookie:
    """A token in a cookie.

    >>> Cookie(trusted_origins=("https://app.example.com",)).name
    '__Host-access'

    A page of another origin can make the browser send it.  So a request that may
    change something has to be same-origin by ``Sec-Fetch-Site``, else by
    ``Origin``, or to come from one of *trusted_origins*, which are compared to the
    letter.  A WebSocket handshake is judged by ``Origin`` where it has one, though
    its method is safe.  A request with neither header comes from no browser, and
    passes.
    """

    name: str = "__Host-access"
    trusted_origins: Iterable[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        read_word("name", self.name, NAME, SEPARATORS)
        origins = read_words("trusted_origins", self.trusted_origins)
        for origin in origins:
            if not TRUSTED.fullmatch(origin) or _without_port(origin) != origin:
                raise ValueError(
                    f"{origin!r} is no origin; write one as 'https://app.example.com', "
                    "in lower case, without a path and without the usual port"
                )
        object.__setattr__(self, "trusted_origins", frozenset(origins))

    @property
    def header_name(self) -> str:
        """Return the header that is read, for ``Vary``."""
        return "Cookie"

    @property
    def challenge(self) -> str:
        return "Bearer"  # a 401 needs a challenge, and no scheme is for cookies

    def find(self, request: Request) -> Credentials | None:
        values = set(read_cookie(request.header("cookie"), self.name))
        if len(values) > 1:  # one may be a sibling domain's, and which is not told
            raise MultipleCredentials("a cookie with two values")
        text = values.pop() if values else ""
        return Credentials(text, self) if text else None

    def confirm(self, credentials: Credentials, token: Token, request: Request) -> None:
        ensure_unbound(token)
        if request.sent_method not in SAFE_METHODS or request.is_websocket:
            self.ensure_own_page(request)

    def ensure_own_page(self, request: Request) -> None:
        """Raise CrossOrigin where *request* came from another site's page.

        For what changes something before there is a token, such as a login: another
        site could else log the user in as somebody else.
        """
        if not self._is_from_own_page(request):
            sent = (
                f"{name} is {shown(','.join(request.header(name.lower())))}"
                for name in ("Sec-Fetch-Site", "Origin", "Host")
            )
            raise CrossOrigin(
                f"{', '.join(sent)}; expected the page of this host; if the page is "
                "yours, write its origin into trusted_origins, such as "
                "trusted_origins=('https://app.example.com',)"
            )

    def _is_from_own_page(self, request: Request) -> bool:
        origin = ",".join(request.header("origin"))
        if origin in self.trusted_origins:
            return True
        site = ",".join(request.header("sec-fetch-site"))
        if site and not (origin and request.is_websocket):
            return site in ("same-origin", "none")
        return not origin or _is_same_origin(origin, request)


def read_cookie(headers: Iterable[str], name: str) -> Iterator[str]:
    """Every value of the cookie *name*, octet by octet as it was sent.

    Unlike `http.cookies`, which hides what follows a cookie that it cannot parse
    and gives a quoted value a second spelling.  A comma is part of a value: whoever
    can set some cookie must not be able to set this one.
    """
    for header in headers:  # HTTP/2 clients send several (RFC 9113 §8.2.3)
        for pair in header.split(";"):
            found, equals, value = pair.strip(" \t").partition("=")
            if equals and found == name:
                yield value


def _is_same_origin(origin: str, request: Request) -> bool:
    """Whether *origin* is that of the request, by what the server tells of it.

    By ``Host``.  The scheme may be https where the server says http: so it looks
    behind a proxy that ends TLS.
    """
    scheme, _, host = origin.lower().partition("://")  # "null" has neither
    if scheme != "https" and (scheme != "http" or request.is_secure):
        return False
    own = ",".join(request.header("host")).lower()
    return host != "" and _without_port(f"{scheme}://{own}") == _without_port(
        f"{scheme}://{host}"
    )


def _without_port(origin: str) -> str:
    return origin.removesuffix(DEFAULT_PORTS.get(origin.partition(":")[0], ""))
