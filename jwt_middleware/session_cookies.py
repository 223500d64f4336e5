"""The tokens of a session in the cookies of a browser."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal

from .bridge import run
from .challenge import Reply, redirect_to
from .cookies import Cookie, read_cookie
from .credentials import Credentials
from .errors import (
    AuthError,
    InvalidGrant,
    InvalidRequest,
    MultipleCredentials,
    NoCredentials,
)
from .issuer import TokenIssuer
from .matching import OpenRoute
from .options import read_flag, read_word
from .pair import TokenPair
from .plain_http import warn_of_dropped_cookies
from .renewal import SessionRenewal
from .request import Request
from .session_checks import ensure_few, open_routes, read_issuer
from .set_cookie import SetCookie
from .store import Store
from .token import Token
from .tracebacks import shows_no_token

logger = logging.getLogger("jwt_middleware")

LOGIN_PATH = re.compile(r"/(?:[\w.~-]+(?:/[\w.~-]+)*/?)?", re.ASCII)
"""On our own host: a second slash at the beginning would name another."""


class SessionCookies:
    """The tokens of *issuer* in two cookies, as a source that also writes them.

    >>> store = MemoryStore()
    >>> issuer = TokenIssuer(
    ...     "https://app.example.com", audience="app", key=Key.generate(), store=store
    ... )
    >>> cookies = SessionCookies(issuer)
    >>> auth = Authenticator(
    ...     issuer.trusted(), sources=(BearerHeader(), cookies), store=store
    ... )
    >>> [line.partition("=")[0] for line in cookies.write(issuer.issue("alice"))]
    ['__Host-access', '__Secure-refresh']

    - *access*, *refresh*: their names; ``__Secure-refresh`` by default.
    - *path*: below it, by default ``/session``, a session is refreshed and ended; the
      refresh cookie is sent nowhere else, and is Strict.
    - *same_site*: of the access cookie; "Lax" has it sent as well when a link on
      another site is followed.
    - *transparent*: renew a session whose access token has expired inside the request
      that shows so.  The refresh cookie is then sent whenever the access cookie is:
      its name is ``__Host-refresh``, its path ``/``.
    - *login_path*: where a browser is sent that opens a page or sends a form, and is
      refused by a 401; such as ``"/login"``, which a rule has to let everybody see.
      None means that it is shown the JSON.
    - *trusted_origins*: as of `Cookie`.

    A script of the page sees neither cookie.  Raises ValueError for what a browser
    would drop, and for *transparent* with an issuer that has no ``reuse_leeway``: a
    page loads its parts at once, and all of them show the same refresh token.
    """

    def __init__(
        self,
        issuer: TokenIssuer,
        *,
        access: str = "__Host-access",
        refresh: str | None = None,
        path: str | None = None,
        same_site: Literal["Strict", "Lax"] = "Strict",
        transparent: bool = False,
        login_path: str | None = None,
        trusted_origins: Iterable[str] = (),
    ) -> None:
        self._issuer = read_issuer(issuer, read_flag("transparent", transparent))
        self._transparent = transparent
        self._cookie = Cookie(access, trusted_origins=trusted_origins)
        self._access = SetCookie(access, same_site=same_site)
        if transparent and path is not None:
            raise ValueError("transparent=True has no path: each request may renew")
        prefix, where = ("__Host-", "/") if transparent else ("__Secure-", "/session")
        self._refresh = SetCookie(
            f"{prefix}refresh" if refresh is None else refresh,
            path=where if path is None else path,
            same_site=same_site if transparent else "Strict",
        )
        if login_path is not None:
            read_word("login_path", login_path, LOGIN_PATH, "a host or a query")
        self._login_path = login_path
        self._refreshes = issuer.has_sessions and not transparent
        if self._refresh.name == access:
            raise ValueError("access and refresh are two cookies; give them two names")

    writes_cookies = True

    @property
    def open_routes(self) -> Sequence[OpenRoute]:
        """The routes that do their work only if no token is needed for them."""
        return open_routes(self._login_path, self._refresh.path, self._refreshes)

    def __repr__(self) -> str:
        return f"<SessionCookies {self._access.name!r}, {self._refresh.name!r}>"

    @property
    def session_store(self) -> Store | None:
        """In which the sessions end; None where there are none."""
        return self._issuer.trusted().session_store

    @property
    def header_name(self) -> str:
        """Return the header that is read, for ``Vary``."""
        return self._cookie.header_name

    @property
    def challenge(self) -> str:
        return self._cookie.challenge

    def find(self, request: Request) -> Credentials | None:
        try:
            found = self._cookie.find(request)
        except InvalidRequest as error:
            error.source = self
            raise
        return None if found is None else Credentials(found.text, self)

    def confirm(self, credentials: Credentials, token: Token, request: Request) -> None:
        self._cookie.confirm(credentials, token, request)

    def ensure_own_page(self, request: Request) -> None:
        """Raise CrossOrigin where *request* came from another site's page.

        For a login: another site could else log the user in as somebody else.
        """
        self._cookie.ensure_own_page(request)

    @shows_no_token
    def write(self, pair: TokenPair) -> tuple[str, ...]:
        """The values of ``Set-Cookie`` that give *pair* to a browser.

        Send them with ``Cache-Control: no-store``.  Raises ValueError for a token
        that is too long for a cookie.
        """
        warn_of_dropped_cookies()
        lasting = pair.refresh_expires_in if self._transparent else None
        access = self._access.write(pair.access_token, lasting or pair.expires_in)
        if pair.refresh_token is None or pair.refresh_expires_in is None:
            return (access,)
        refresh = self._refresh.write(pair.refresh_token, pair.refresh_expires_in)
        return access, refresh

    def clear(self) -> tuple[str, ...]:
        """The values of ``Set-Cookie`` that take both cookies from a browser."""
        return self._access.clear(), self._refresh.clear()

    @shows_no_token
    def refresh(self, request: Request) -> TokenPair:
        """Take the refresh token in the cookie of *request* for new tokens.

        Raises CrossOrigin for another site's page, NoCredentials where there is no
        such cookie, and what `TokenIssuer.refresh` raises.  In a coroutine, await
        `arefresh`.
        """
        return run(self.arefresh(request))

    @shows_no_token
    async def arefresh(self, request: Request) -> TokenPair:
        """Take the refresh token in a cookie for new tokens, like `refresh`."""
        return await self._issuer.arefresh(self._demand(request))

    @shows_no_token
    def end(self, request: Request) -> None:
        """End the session that the cookies of *request* are of, if there is one.

        Also by a token that was used or has expired.  Raises CrossOrigin for another
        site's page, MultipleCredentials if there are more than 16 such cookies, and
        RevocationsUnavailable.  In a coroutine, await `aend`.
        """
        run(self.aend(request))

    @shows_no_token
    async def aend(self, request: Request) -> None:
        """End the session that the cookies of *request* are of, like `end`."""
        self.ensure_own_page(request)
        cookies = (self._refresh, self._access)
        for text in ensure_few({v for c in cookies for v in self._values(c, request)}):
            with suppress(InvalidGrant):  # a sibling domain may have set it
                await self._issuer.aend_session_by(text)

    async def renew(self, request: Request) -> SessionRenewal | None:
        """A renewal of the session of *request*, whose access token has expired.

        None where the session is over.  Raise RevocationsUnavailable.
        """
        text = self._find_refresh(request) if self._transparent else ""
        if not text:
            return None
        try:
            expired = self._cookie.find(request)
            beside = "" if expired is None else expired.text
            pair = await self._issuer.apeek(text, beside=beside)
            self.write(pair)  # what no browser would keep must use nothing up
        except InvalidGrant as error:
            logger.info("not renewed: %s: %s", error.reason, error)
            return None
        except ValueError as error:
            logger.error("not renewed: %s", error)
            return None
        names = (self._access.name, self._refresh.name)
        return SessionRenewal(self._issuer, text, pair.access_token, names, self.write)

    def divert(self, error: AuthError, request: Request, reply: Reply) -> Reply:
        """Send a browser that opens a page, or sends a form, to the login.

        Where it was refused for want of a token, or for a bad one in our cookie, which
        is cleared: a login page where a token is optional would else be refused too.
        """
        is_bad = error.source is self
        if self._login_path is None or not request.is_navigation:
            return reply
        if not is_bad and not isinstance(error, NoCredentials):
            return reply
        cleared = [("Set-Cookie", self._access.clear())] if is_bad else []
        # No circle: only of a __Host- cookie there is no second one, of a sibling's.
        is_gone = is_bad and self._access.name.startswith("__Host-")
        if request.path == self._login_path and not is_gone:
            return replace(reply, headers=(*reply.headers, *cleared))
        return redirect_to(self._login_path, cleared)

    def _demand(self, request: Request) -> str:
        self.ensure_own_page(request)
        text = self._find_refresh(request)
        if not text:
            name, path = self._refresh.name, self._refresh.path
            raise NoCredentials(
                f"no cookie {name}; browsers send it below {path} only, and by https",
                description=f"A refresh token is required, in the cookie {name}.",
            )
        return text

    def _find_refresh(self, request: Request) -> str:
        values = self._values(self._refresh, request)
        if len(values) > 1:  # one may be a sibling domain's, and which is not told
            raise MultipleCredentials("a cookie with two values")
        return values.pop() if values else ""

    @staticmethod
    def _values(cookie: SetCookie, request: Request) -> set[str]:
        return set(read_cookie(request.header("cookie"), cookie.name))
