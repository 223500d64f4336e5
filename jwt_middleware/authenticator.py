"""From a request to a token, or to a reply."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from .bridge import run
from .caching import PersonalAnswer, header_names
from .challenge import Reply, reply_to
from .credentials import (
    BearerHeader,
    Credentials,
    Renewal,
    Source,
    ensure_token68,
    ensure_unbound,
    explained,
    extract,
    read_sources,
)
from .decision import ANONYMOUS_PASS, Divert, Pass
from .errors import (
    AuthError,
    InsecureTransport,
    InvalidRequest,
    InvalidToken,
    MalformedToken,
    NoCredentials,
    TokenExpired,
    Unavailable,
)
from .matching import Rules
from .options import read_clock, read_count, read_flag, read_parts, read_word
from .plain_http import BEHIND_A_PROXY, note_scheme
from .quoting import QUOTABLE, shown
from .request import Request
from .revocation import METHODS, Revocations
from .revoking import Revoking
from .rules import Rule
from .store import Store, is_elsewhere
from .token import Token
from .tracebacks import MEANT, drop_frames
from .trust import TrustedIssuer, read_issuers
from .verifier import Verifier

logger = logging.getLogger("jwt_middleware")


class Authenticator(Revoking):
    """Decides who passes; the two middlewares carry the decision out.

    >>> from jwt_middleware import Key
    >>> auth = Authenticator(
    ...     TrustedIssuer("https://login.example.com", audience="api",
    ...                   keys=[Key.generate().public]),
    ...     rules=(Rule("/health", public=True),),
    ... )

    - *issuers*: whose tokens are believed; ``iss`` chooses among them.
    - *sources*: where a token may stand; one in two places is refused.
    - *rules*: the first that covers a request applies; else a token is needed.
    - *store*: marks of what was revoked; without one nothing can be.  That of a
      `TokenIssuer` whose tokens are believed here.
    - *realm*: a name for the challenge.
    - *require_https*: refuse (400) credentials that came over plain http, by the
      scheme that the server reports.
    - *cache_size*: verified tokens that are kept at most, so that they need not be
      verified again; all but the signature is asked each time.
    - *now*: the wall clock, seconds since 1970.

    Raises ValueError for configuration that could not do what it seems to.
    """

    def __init__(
        self,
        *issuers: TrustedIssuer,
        sources: Sequence[Source] = (BearerHeader(),),
        rules: Sequence[Rule] = (),
        store: Store | None = None,
        realm: str = "api",
        require_https: bool = False,
        cache_size: int = 10_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        trusted = read_issuers(issuers)
        if store is not None:
            read_parts("store", (store,), *METHODS)
        self._revocations = Revocations(store, trusted, read_clock(now))
        self._verifier = Verifier(
            trusted, self._revocations, now, read_count("cache_size", cache_size)
        )
        self._sources = read_sources(sources)
        _ensure_sessions_end(store, (*trusted.values(), *self._sources))
        self._diverts: Sequence[Divert] = _found_in(self._sources, "divert")
        self._rules = Rules(rules)
        self._rules.ensure_open(chain(*_found_in(self._sources, "open_routes")))
        self._writes_cookies = bool(_found_in(self._sources, "writes_cookies"))
        self._schemes = tuple(dict.fromkeys(s.challenge for s in self._sources))
        self._vary, self._unmarked = header_names(self._sources)
        self._realm = read_word("realm", realm, QUOTABLE)
        self._require_https = read_flag("require_https", require_https)

    @property
    def needs_loop(self) -> bool:
        """Whether something in it is asynchronous, so that WSGI cannot use it."""
        return self._revocations.needs_loop

    def authenticate(self, token: str) -> Token:
        """Verify the text of a token that came by another way than a request.

        Raises `AuthError`; also for a sender-constrained token, since nothing here
        shows that the sender holds its key.
        """
        try:
            return run(self.aauthenticate(token))
        except MEANT as error:
            drop_frames(error)
            raise

    async def aauthenticate(self, token: str) -> Token:
        """Verify like `authenticate`, with a store that may need an event loop."""
        try:
            if not isinstance(token, str):
                raise MalformedToken(
                    f"the token is a {type(token).__name__}, not text; give a str"
                )
            if token[:7].lower() == "bearer ":
                raise MalformedToken("it begins with 'Bearer '; give the token alone")
            verified = await self._verifier.verify(token)
            ensure_unbound(verified)
        except MEANT as error:
            drop_frames(error)
            raise
        return verified

    async def ensure_live(self, token: Token) -> None:
        """Raise `AuthError` where *token* has ended since it was verified."""
        await self._verifier.ensure_live(token)

    def seconds_left(self, token: Token) -> float:
        """Until *token* is refused as expired."""
        return self._verifier.seconds_left(token)

    def watch(self, token: Token, call: Callable[[], None]) -> Callable[[], None]:
        """Have *call* called, by any thread, when *token* may have been revoked.

        What is returned ends that.
        """
        return self._revocations.watch(token, call)

    async def decide(self, request: Request) -> Pass | Reply:
        """Judge a request: the order in here is the security of the product."""
        if self._writes_cookies:
            note_scheme(request)
        try:
            rules, are_public, is_personal = self._rules.found(request)
            if are_public:
                return ANONYMOUS_PASS
            credentials = extract(request, self._sources)
            found = ANONYMOUS_PASS
            if credentials is not None:
                found = await self._judge(credentials, request)
                is_personal = is_personal or credentials.source in self._unmarked
            for rule in rules:
                rule.permit(found.token)
        except AuthError as error:
            return self.refuse(error, request)
        if not is_personal:
            return found
        return Pass(found.token, PersonalAnswer(self._vary, found.completion))

    async def _judge(self, credentials: Credentials, request: Request) -> Pass:
        if self._require_https and not request.is_secure:
            why = f"the scheme is {shown(request.scheme)}, expected 'https'"
            raise InsecureTransport(f"{why}; {BEHIND_A_PROXY}")
        try:
            token, renewal = await self._verify(credentials, request)
            wait = credentials.source.confirm(credentials, token, request)
            if wait is not None:
                await wait
        except (InvalidToken, InvalidRequest) as error:
            error.source = credentials.source
            raise
        return Pass(token, renewal)

    async def _verify(
        self, credentials: Credentials, request: Request
    ) -> tuple[Token, Renewal | None]:
        try:
            return await self._verifier.verify(credentials.text), None
        except MalformedToken:
            ensure_token68(credentials.text)  # else it is the request that is malformed
            raise
        except TokenExpired:
            renew = getattr(credentials.source, "renew", None)
            renewal = None if renew is None else await renew(request)
            if renewal is None:
                raise
        return await self._verifier.verify(renewal.access_token), renewal

    def refuse(self, error: AuthError, request: Request) -> Reply:
        """The reply that tells the client of *error*, which is logged.

        For a framework, where an application raised it itself.
        """
        if type(error) is NoCredentials and not error.is_explained:
            error = explained(error, request, self._sources)
        level = logging.WARNING if isinstance(error, Unavailable) else logging.INFO
        if logger.isEnabledFor(level):
            method, path = shown(request.sent_method), shown(request.path)
            why = f"{error}{self._rules.advice(request, error)}"
            why = why if why.isprintable() else ascii(why)  # it may be an application's
            logger.log(level, "refused %s %s: %s: %s", method, path, error.reason, why)
        reply = reply_to(error, self._schemes, self._realm)
        for divert in self._diverts:
            reply = divert(error, request, reply)
        return replace(reply, body=b"") if request.sent_method == "HEAD" else reply


def _ensure_sessions_end(store: Store | None, owners: Iterable[object]) -> None:
    """Raise ValueError where a session of one of *owners* would not end here."""
    for owner in owners:
        kept: Store | None = getattr(owner, "session_store", None)
        if kept is not None and (store is None or is_elsewhere(store, kept)):
            raise ValueError(
                f"store={store!r}, but the sessions of {owner!r} end in {kept!r}, and "
                "their tokens would live on here; write store=store in both, the "
                "Authenticator and the TokenIssuer"
            )


def _found_in(sources: Sequence[Source], name: str) -> list[Any]:
    """Return what those of *sources* have that have an attribute *name*."""
    return [found for source in sources if (found := getattr(source, name, None))]


def ensure_authenticator(auth: object, app: object = print) -> None:
    """Raise ValueError if a middleware was given no Authenticator, or no *app*."""
    if not callable(app):
        raise ValueError(
            f"app is {type(app).__name__}, expected an application; "
            "write JWTMiddleware(app, Authenticator(...))"
        )
    if not isinstance(auth, Authenticator):
        raise ValueError(
            f"auth is {type(auth).__name__}; "
            "write JWTMiddleware(app, Authenticator(...))"
        )
