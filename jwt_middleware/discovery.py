"""Where an issuer keeps its keys (OpenID Connect Discovery 1.0, RFC 8414)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from .fetch import Document, Fetcher, FetchFailed, NotThere
from .quoting import shown

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


class Place(Protocol):
    """Where a JWK Set is."""

    def fetch(self, until: float, *, is_due: bool) -> Document:
        """Fetch the set before *until*.  Raise FetchFailed.

        One that is asked for before it *is_due* costs one request, if it can.
        """
        ...


class Address:
    """A JWK Set at an address that is known."""

    def __init__(self, url: str, fetcher: Fetcher) -> None:
        fetcher.ensure_allowed(url)
        self._url = url
        self._fetcher = fetcher

    def fetch(self, until: float, *, is_due: bool) -> Document:
        return self._fetcher.fetch(self._url, until)

    def __repr__(self) -> str:
        return shown(self._url)


class Metadata:
    """A JWK Set whose address stands in the metadata of *issuer*."""

    def __init__(self, issuer: str, fetcher: Fetcher) -> None:
        fetcher.ensure_allowed(issuer)
        if "?" in issuer:
            raise ValueError(f"{shown(issuer)} has a query; the URL of an issuer none")
        self._issuer = issuer
        self._fetcher = fetcher
        self._jwks_uri: str | None = None

    def fetch(self, until: float, *, is_due: bool) -> Document:
        if is_due or self._jwks_uri is None:
            self._jwks_uri = self._discover(until)
        try:
            return self._fetcher.fetch(self._jwks_uri, until)
        except FetchFailed:
            self._jwks_uri = None  # it may have moved
            raise

    def __repr__(self) -> str:
        return shown(self._issuer)

    def _discover(self, until: float) -> str:
        failures = []
        for url in metadata_urls(self._issuer):
            try:
                return self._read(url, until)
            except NotThere as failure:
                failures.append(str(failure))
        raise NotThere("; ".join(failures))

    def _read(self, url: str, until: float) -> str:
        """Return the ``jwks_uri`` that stands at *url*.

        Metadata that name another issuer are of no use (RFC 8414 §3.3): whoever may
        put a file on the server could choose the keys.
        """
        metadata = self._fetcher.fetch(url, until).content
        named, jwks_uri = metadata.get("issuer"), metadata.get("jwks_uri")
        if named != self._issuer:
            raise NotThere(f"{shown(url)} is of {shown(named)}, not of the issuer")
        try:
            scheme = self._fetcher.ensure_allowed(jwks_uri).scheme
        except ValueError as error:
            raise NotThere(f"{shown(url)}: its jwks_uri: {error}") from error
        if scheme != urlsplit(url).scheme:  # to whom on this machine may open a port
            raise NotThere(f"{shown(url)}: its jwks_uri leaves https")
        return str(jwks_uri)


def metadata_urls(issuer: str) -> Sequence[str]:
    """Where the metadata of *issuer* may be, likeliest first.

    OpenID Connect appends its path to the issuer's (Discovery §4); RFC 8414 §3.1 puts
    its own in front of it, and there are servers that do it the other way round (§5).
    """
    parts = urlsplit(issuer.removesuffix("/"))
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path
    forms = (path + OPENID, OAUTH + path, OPENID + path, path + OAUTH)
    return tuple(dict.fromkeys(origin + form for form in forms))
