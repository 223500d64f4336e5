"""Documents of an issuer, fetched so that nobody on the way can do harm.

By the standard library, which follows no redirect, keeps no cookie and reads no
``.netrc``.  What it needs is imported when keys are first to be fetched (`prepare`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from .compact import read_json_object
from .connect import (
    Deadlined,
    connect,
    connect_through,
    is_any,
    is_loopback,
    is_public,
    proxy_for,
    secure,
    tls,
)
from .errors import MalformedToken
from .options import read_flag
from .quoting import shown

if TYPE_CHECKING:
    import socket
    from http.client import HTTPResponse

MOST_OCTETS = 256 * 1024
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Accept": "application/json, application/jwk-set+json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "jwt_middleware",  # there are firewalls that refuse Python's own
}
URL = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without the backslash, which some parsers take for a slash."""
MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})\b", re.IGNORECASE)
AGE = re.compile(r"\d{1,9}")


class FetchFailed(Exception):
    """A document cannot be had.  The text may be logged: what is foreign is escaped."""


class NotThere(FetchFailed):
    """The server is well, but has no such document here."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object, and for how long it may be kept."""

    content: Mapping[str, Any]
    max_age: float | None = None
    """Seconds, by ``Cache-Control`` less ``Age``; None where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """How documents are fetched.

    >>> Fetcher(cafile="/etc/ssl/our-ca.pem")  # doctest: +SKIP

    - *cafile*: certificates in PEM that are trusted instead of the system's.
    - *use_proxies*: go by ``https_proxy`` and ``no_proxy`` of the environment.
    - *public_only*: refuse, when connecting, every address that is not public.
    - *loopback_http*: plain http to this machine, for development.

    Certificates are always checked.  A subclass may fetch by another library.
    """

    cafile: str | None = None
    use_proxies: bool = False
    public_only: bool = False
    loopback_http: bool = False

    def __post_init__(self) -> None:
        for name in ("use_proxies", "public_only", "loopback_http"):
            read_flag(name, getattr(self, name))
        if self.use_proxies and self.public_only:
            raise ValueError(
                "public_only cannot see where a proxy connects to; let the proxy "
                "refuse what is not public"
            )
        _ensure_certificates(self.cafile)

    def ensure_allowed(self, url: object) -> SplitResult:
        """Return *url* in parts.  Raise ValueError where it must not be fetched."""
        parts = _split(url)
        if parts is None:
            raise ValueError(f"{shown(url)} is no address; write https://...")
        if "@" in parts.netloc or "#" in str(url):
            raise ValueError(f"{shown(parts.hostname)}: leave user and fragment out")
        if parts.scheme == "http" and parts.hostname in LOOPBACK:
            if not self.loopback_http:
                raise ValueError(
                    f"{shown(url)} is plain http; for development, allow it by "
                    "RemoteKeys(..., fetcher=Fetcher(loopback_http=True))"
                )
        elif parts.scheme != "https":
            raise ValueError(f"{shown(url)} is not https; keys come by nothing else")
        return parts

    def fetch(self, url: str, until: float) -> Document:
        """Fetch a JSON object before *until*, by the monotonic clock.

        Raise FetchFailed.  Looking up a name is the one step that a deadline cannot
        end.
        """
        from http.client import HTTPException

        try:
            parts = self.ensure_allowed(url)
            with self._connect(parts, until) as sock:
                return _read(_request(parts, Deadlined(sock, until)))
        except FetchFailed as error:
            raise type(error)(f"{shown(url)}: {error}") from error
        except (OSError, HTTPException, ValueError) as error:
            told = f"{type(error).__name__}: {shown(str(error))}"
            raise FetchFailed(f"{shown(url)}: {told}") from error

    def _connect(self, parts: SplitResult, until: float) -> socket.socket:
        host = str(parts.hostname)
        if parts.scheme == "http":
            return connect(host, parts.port or 80, until, is_loopback)
        port = parts.port or 443
        proxy = proxy_for(host) if self.use_proxies else None
        if proxy is not None:
            sock = connect_through(proxy, host, port, until)
        else:
            sock = connect(host, port, until, is_public if self.public_only else is_any)
        return secure(sock, host, until, self.cafile)


def _split(url: object) -> SplitResult | None:
    try:
        parts = urlsplit(url) if isinstance(url, str) and URL.fullmatch(url) else None
        return parts if parts and parts.hostname and parts.port != 0 else None
    except ValueError:  # which shows *url* unescaped
        return None


def _ensure_certificates(cafile: str | None) -> None:
    if cafile is None:
        return
    try:
        tls(cafile)
    except (OSError, TypeError) as error:
        raise ValueError(f"cafile {cafile!r} holds no certificates in PEM") from error


def _request(parts: SplitResult, channel: Deadlined) -> HTTPResponse:
    from http.client import HTTPConnection

    connection = HTTPConnection("connected")
    connection.sock = channel.as_socket()
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", target, headers={"Host": parts.netloc, **HEADERS})
    return connection.getresponse()


def _read(response: HTTPResponse) -> Document:
    with response:
        if response.status != 200:  # a redirect as well
            is_ill = response.status >= 500 or response.status == 429
            failure = FetchFailed if is_ill else NotThere  # an ill one is let alone
            raise failure(f"the answer is {response.status}")
        is_long = (response.length or 0) > MOST_OCTETS  # says it, or else shows it
        body = b"" if is_long else response.read(MOST_OCTETS + 1)
        if is_long or len(body) > MOST_OCTETS:
            raise NotThere(f"the answer has more than {MOST_OCTETS} octets")
        if response.length:
            raise OSError("the answer ended early")
    try:
        content = read_json_object(body)
    except MalformedToken as error:
        raise NotThere(f"the answer is no JSON object: {error}") from error
    return Document(content, _max_age(response))


def _max_age(response: HTTPResponse) -> float | None:
    told = MAX_AGE.search(response.getheader("Cache-Control") or "")
    if told is None:
        return None
    age = response.getheader("Age") or ""
    return float(told[1]) - (float(age) if AGE.fullmatch(age) else 0)
