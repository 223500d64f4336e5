"""How a token is presented."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

from .compact import ALPHABET, MAX_LENGTH
from .errors import InvalidRequest, MultipleCredentials, NoCredentials, TokenBound
from .options import read_parts, read_word
from .request import Request
from .token import Token

KNOWN_SCHEMES = {
    name.lower(): name
    for name in (
        *("Basic", "Bearer", "Digest", "DPoP", "GNAP", "HOBA", "Mutual", "Negotiate"),
        *(
            "NTLM",
            "OAuth",
            "PrivateToken",
            "vapid",
            "Token",
            "JWT",
            "ApiKey",
            "Api-Key",
        ),
        *("AWS4-HMAC-SHA256", "Hawk", "Signature", "Key"),
    )
}
"""Schemes that may be shown; any other first word may be a secret."""
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2, token
SEPARATORS = "spaces, quotes and separators"
TOKEN68 = ALPHABET + b".~+/"  # RFC 9110 §11.2, with "=" at its end only


class Source(Protocol):
    """One way of presenting a token: where it stands, and whose it may be."""

    @property
    def challenge(self) -> str:
        """The scheme of the challenge that asks for it."""
        ...

    def find(self, request: Request) -> Credentials | None:
        """The credentials in *request*, not yet believed.  Raise AuthError for
        what is there, but not as it must be written; of the text itself that is said
        elsewhere, where it does not verify."""
        ...

    def confirm(
        self, credentials: Credentials, token: Token, request: Request
    ) -> Awaitable[None] | None:
        """Raise AuthError where *token*, though good, was not the sender's to send.

        A plain method, or a coroutine where it has to wait.
        """
        ...

    # A source may also have
    #     async def renew(self, request) -> Renewal | None
    # which is asked where the token that it found has expired, and
    #     divert(self, error, request, reply) -> Reply
    # which may answer a refused request otherwise, such as by a redirect to a login;
    # `header_name`, the header that it reads, for `Vary`; without one an answer is only
    # kept out of shared caches;
    # and `session_store`, in which its sessions end: an Authenticator without that
    # store is refused.


class Renewal(Protocol):
    """Credentials that a request is served with in place of those that expired."""

    access_token: str

    async def complete(
        self, status: int, headers: Sequence[tuple[str, str]]
    ) -> Sequence[tuple[str, str]]:
        """Return *headers* of the answer, with what the client is to send next."""
        ...


class Credentials:
    """A token as it was presented, and how."""

    __slots__ = ("source", "text")

    def __init__(self, text: str, source: Source) -> None:
        self.text = text
        self.source = source

    def __repr__(self) -> str:  # no token
        return f"<Credentials of {self.source!r}>"


@dataclass(frozen=True, slots=True)
class BearerHeader:
    """A token in a header: ``Authorization: Bearer <token>`` (RFC 6750 §2.1).

    >>> BearerHeader("Cf-Access-Jwt-Assertion", scheme=None)
    BearerHeader(name='Cf-Access-Jwt-Assertion', scheme=None)

    *scheme* None means that the bare token is the value: the header of a proxy that
    sets it itself and takes away what a client sent.
    """

    name: str = "Authorization"
    scheme: str | None = "Bearer"
    _header: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        read_word("name", self.name, NAME, SEPARATORS)
        if self.scheme is not None:
            read_word("scheme", self.scheme, NAME, SEPARATORS)
        object.__setattr__(self, "_header", self.name.lower())

    @property
    def challenge(self) -> str:
        return self.scheme or "Bearer"

    @property
    def header_name(self) -> str:
        """Return the header that is read, for ``Vary``."""
        return self.name

    def find(self, request: Request) -> Credentials | None:
        # Joined as a WSGI server joins them, so that one grammar serves both doors:
        # it has no comma, and two tokens are never one.
        values = request.header(self._header)
        if not values:
            return None
        value = (values[0] if len(values) == 1 else ",".join(values)).strip(" \t")
        text = value if self.scheme is None else after_scheme(value, self.scheme)
        return Credentials(text, self) if text else None

    def confirm(self, credentials: Credentials, token: Token, request: Request) -> None:
        ensure_unbound(token)


def after_scheme(value: str, scheme: str) -> str | None:
    """What follows *scheme* in the value of a header, if it is that scheme's."""
    sent, space, text = value.partition(" ")
    if space and (sent == scheme or sent.lower() == scheme.lower()):
        return text.lstrip(" ")
    first = NAME.match(value)
    if first is None or first[0].lower() != scheme.lower():
        if re.search(rf",[ \t]*{re.escape(scheme)}[ \t]", value, re.IGNORECASE):
            raise MultipleCredentials("two schemes in one header")
        return None
    rest = value[len(scheme) :]
    fault = "nothing" if not rest else "a colon" if rest[0] == ":" else "no blank"
    raise InvalidRequest(f"{fault} follows the scheme; write '{scheme} <token>'")


def explained(
    error: NoCredentials, request: Request, sources: Iterable[Source]
) -> NoCredentials:
    """Return *error*, or one that says which scheme came in place of a source's.

    Nothing of what was sent is shown but the names of schemes: it may be a token.
    """
    for source in sources:
        if not isinstance(source, BearerHeader) or source.scheme is None:
            continue
        if not (values := request.header(source.name.lower())):  # as mostly
            continue
        value = ",".join(values).strip(" \t")
        scheme = re.split(r"[ \t,]", value)[0].lower()
        if not value or scheme == source.scheme.lower():  # which no rule asked to read
            continue
        sent = KNOWN_SCHEMES.get(scheme)
        found = "no scheme" if " " not in value else "another scheme"
        expected = f"expected '{source.name}: {source.scheme} <token>'"
        return NoCredentials(
            f"{error}: {source.name} has {f'the scheme {sent}' if sent else found}, "
            f"{expected}",
            description=f"An access token is required: {found} was sent, {expected}.",
        )
    return error


def ensure_token68(text: str) -> None:
    """Raise InvalidRequest where *text* could not be a token in any scheme."""
    if len(text) > MAX_LENGTH:  # whatever it is: nothing looks at its characters
        return
    bare = text.rstrip("=")
    if not (bare and bare.isascii()) or bare.encode().translate(None, TOKEN68):
        if "," in text:
            raise MultipleCredentials(
                "a comma: two values in one header, or two headers"
            )
        raise InvalidRequest(f"not a token68: {_fault_of(text)}")


def _fault_of(text: str) -> str:
    """Say what is wrong with *text*, and nothing of it: it may be a token."""
    if text[:7].lower() == "bearer ":
        return "the scheme stands twice; write 'Bearer <token>'"
    if text[:1] in ('"', "'") or text[-1:] in ('"', "'"):
        return "the token is in quotes; write it without them"
    if " " in text or "\t" in text:
        return "a blank in the token; write 'Bearer <token>' and nothing after it"
    return "a character that no token has"


def ensure_unbound(token: Token) -> None:
    """Raise TokenBound for a sender-constrained token; RFC 9449 §7.2: no downgrade.

    Also where we do not know the binding, though RFC 7800 §3.1 would ignore it.
    """
    if "cnf" in token:
        raise TokenBound("a bound token came without a proof")


def extract(request: Request, sources: Sequence[Source]) -> Credentials | None:
    """The credentials of *request*; two of them are refused."""
    found = None
    for source in sources:
        credentials = source.find(request)
        if credentials is not None:
            if found is not None:
                raise MultipleCredentials("credentials in more than one place")
            found = credentials
    return found


def _ensure_methods(source: Source) -> None:
    """Raise ValueError if a method of *source* could not be called as it will be."""
    name = type(source).__name__
    for method in ("find", "confirm", "renew", "divert"):
        if not callable(getattr(source, method, print)):
            raise ValueError(f"{method} of the source {name} is not a method")
    for method in ("find", "divert"):
        if inspect.iscoroutinefunction(getattr(source, method, None)):
            raise ValueError(
                f"{method}() of the source {name} must be a plain method; write "
                f"'def {method}', without 'async'"
            )
    renew = getattr(source, "renew", None)
    if renew is not None and not inspect.iscoroutinefunction(renew):
        raise ValueError(
            f"renew() of the source {name} must be a coroutine; write 'async def renew'"
        )
    if (header := getattr(source, "header_name", None)) is not None:
        read_word(f"header_name of the source {name}", header, NAME, SEPARATORS)


def read_sources(sources: Iterable[Source]) -> Sequence[Source]:
    """Return at least one source, none twice.  Raise ValueError."""
    found = read_parts("sources", sources, "challenge", "find", "confirm")
    if not found or any(a == b for a, b in combinations(found, 2)):
        raise ValueError("name at least one source, and none twice")
    for source in found:
        read_word("the challenge of a source", source.challenge, NAME, SEPARATORS)
        _ensure_methods(source)
    return found
