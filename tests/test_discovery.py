"""Where an issuer's metadata may be, and which issuers have any."""

from __future__ import annotations

import time

import pytest

from jwt_middleware.discovery import Address, Metadata, metadata_urls
from jwt_middleware.fetch import Fetcher, FetchFailed, NotThere

from . import keyserver_answers as answers
from .conftest import SIGNING_KEY
from .keyserver import KeyServer

ON_LOOPBACK = Fetcher(loopback_http=True)


def soon() -> float:
    return time.monotonic() + 10


@pytest.mark.parametrize("issuer", ["https://login.example", "https://login.example/"])
def test_without_a_path_there_are_two_places(issuer: str) -> None:
    assert metadata_urls(issuer) == (
        "https://login.example/.well-known/openid-configuration",
        "https://login.example/.well-known/oauth-authorization-server",
    )


@pytest.mark.parametrize("slash", ["", "/"])
def test_with_a_path_there_are_four(slash: str) -> None:
    """OpenID Connect appends, RFC 8414 §3.1 puts in front, §5 knows of both."""
    assert metadata_urls(f"https://login.example:8443/realms/x{slash}") == (
        "https://login.example:8443/realms/x/.well-known/openid-configuration",
        "https://login.example:8443/.well-known/oauth-authorization-server/realms/x",
        "https://login.example:8443/.well-known/openid-configuration/realms/x",
        "https://login.example:8443/realms/x/.well-known/oauth-authorization-server",
    )


@pytest.mark.parametrize(
    ("issuer", "told"),
    [
        ("http://login.example", "is not https"),
        ("login.example", "is no address"),
        ("https://login.example/?tenant=x", "has a query"),
        ("https://login.example/?", "has a query"),
        ("https://login.example/#x", "leave user and fragment out"),
        ("https://me@login.example", "leave user and fragment out"),
        ("http://localhost:8080", "is plain http; for development, allow it by"),
    ],
)
def test_what_cannot_have_metadata_is_told_so(issuer: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Metadata(issuer, Fetcher())


def test_the_address_of_the_keys_is_looked_up_when_the_set_is_due() -> None:
    """A fetch for the sake of an unknown key costs the issuer one request."""
    with KeyServer([SIGNING_KEY]) as server:
        place = Metadata(server.url, ON_LOOPBACK)
        for is_due in (True, False, False, True):
            place.fetch(soon(), is_due=is_due)
        asked = [path.rpartition("/")[2] for path in server.paths]
    openid = "openid-configuration"
    assert asked == [openid, "jwks", "jwks", "jwks", openid, "jwks"]


def test_keys_that_have_moved_are_found_again() -> None:
    with KeyServer([SIGNING_KEY]) as server:
        place = Metadata(server.url, ON_LOOPBACK)
        place.fetch(soon(), is_due=True)
        server.answer = answers.STATUSES["status_404"]
        with pytest.raises(NotThere, match="404"):
            place.fetch(soon(), is_due=False)
        server.answer = answers.ok
        assert place.fetch(soon(), is_due=False).content["keys"]
        assert server.paths.count("/.well-known/openid-configuration") == 2


def test_every_place_that_was_tried_is_told_of() -> None:
    with KeyServer([SIGNING_KEY]) as server:
        server.forms = set()
        with pytest.raises(NotThere) as failure:
            Metadata(server.url, ON_LOOPBACK).fetch(soon(), is_due=True)
        for url in metadata_urls(server.url):
            assert f"'{url}': the answer is 404" in str(failure.value)


def test_a_place_is_called_by_its_address() -> None:
    url = "https://login.example"
    assert repr(Address(url, Fetcher())) == repr(Metadata(url, Fetcher())) == repr(url)


def test_metadata_that_came_by_https_lead_to_nothing_else() -> None:
    """Not even to this machine, where whoever may open a port would choose the keys."""
    with KeyServer([SIGNING_KEY], tls=True) as server:
        fetcher = Fetcher(cafile=server.cafile, loopback_http=True)
        server.metadata = answers.stating(jwks_uri="http://127.0.0.1:1/jwks")
        with pytest.raises(NotThere, match="its jwks_uri leaves https"):
            Metadata(server.url, fetcher).fetch(soon(), is_due=True)


@pytest.mark.parametrize("status", ["status_500", "status_503"])
def test_an_issuer_that_is_ill_is_not_asked_everywhere(status: str) -> None:
    with KeyServer([SIGNING_KEY]) as server:
        server.metadata = answers.STATUSES[status]
        with pytest.raises(FetchFailed, match="the answer is 50"):
            Metadata(f"{server.url}/realms/x", ON_LOOPBACK).fetch(soon(), is_due=True)
        assert len(server.hits) == 1
