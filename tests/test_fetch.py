"""Fetching: what may be fetched, how it is asked for, and what is taken for an answer.

What a server can do wrong is in `test_faults`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware.connect import connect, is_any, is_loopback, is_public, proxy_for
from jwt_middleware.fetch import Document, Fetcher, FetchFailed, NotThere

from . import keyserver_answers as answers
from .conftest import SIGNING_KEY
from .keyserver import KeyServer
from .keyserver_exchange import replaced_by, reply

ON_LOOPBACK = Fetcher(loopback_http=True)


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


# What may be fetched


@pytest.mark.parametrize(
    "url",
    [
        "https://login.example",
        "https://login.example/jwks",
        "https://login.example:8443/a/b?tenant=x",
        "https://[2001:db8::1]/jwks",
        "HTTPS://Login.Example/jwks",
    ],
)
def test_https_is_fetched(url: str) -> None:
    assert Fetcher().ensure_allowed(url).scheme == "https"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "is no address"),
        ("login.example", "is no address"),
        ("//login.example", "is not https"),
        ("https://", "is no address"),
        ("https:///jwks", "is no address"),
        ("https://login.example:0/", "is no address"),
        ("https://login.example:99999/", "is no address"),
        ("https://login.example:x/", "is no address"),
        ("https://[::1/", "is no address"),
        ("https://login.example/\njwks", "is no address"),
        ("https://login.example/ jwks", "is no address"),
        ("https://lögin.example/", "is no address"),
        ("https://login.example\\@evil.example/", "is no address"),
        (None, "is no address"),
        (b"https://login.example", "is no address"),
        ("http://login.example", "is not https; keys come by nothing else"),
        ("http://127.0.0.1.evil.example/", "is not https"),
        ("http://localhost.evil.example/", "is not https"),
        ("http://2130706433/", "is not https"),
        ("file:///etc/passwd", "is no address"),
        ("file://localhost/etc/passwd", "is not https"),
        ("ftp://login.example/jwks", "is not https"),
        ("data:application/json,{}", "is no address"),
        ("https://me:secret@login.example/", "leave user and fragment out"),
        ("https://me@login.example/", "leave user and fragment out"),
        ("https://@login.example/", "leave user and fragment out"),
        ("https://login.example/#x", "leave user and fragment out"),
        ("https://login.example/#", "leave user and fragment out"),
    ],
)
def test_nothing_else_is(url: str, told: str) -> None:
    for fetcher in (Fetcher(), ON_LOOPBACK):
        with pytest.raises(ValueError, match=told) as refusal:
            fetcher.ensure_allowed(url)
        assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_plain_http_is_for_this_machine_and_only_when_asked_for(host: str) -> None:
    url = f"http://{host}:8080/jwks"
    assert ON_LOOPBACK.ensure_allowed(url)
    with pytest.raises(ValueError, match="for development, allow it by"):
        Fetcher().ensure_allowed(url)


@pytest.mark.parametrize("name", ["use_proxies", "public_only", "loopback_http"])
def test_a_flag_is_true_or_false(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        Fetcher(**{name: "false"})  # type: ignore[arg-type]


def test_a_proxy_hides_which_addresses_are_public() -> None:
    with pytest.raises(ValueError, match="public_only cannot see"):
        Fetcher(use_proxies=True, public_only=True)


def test_certificates_have_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    wrong: list[Any] = [str(tmp_path / "none.pem"), str(tmp_path / "empty.pem"), 5.5]
    for cafile in wrong:
        with pytest.raises(ValueError, match="holds no certificates in PEM"):
            Fetcher(cafile=cafile)


# How it is asked for


def test_a_request_gives_away_nothing() -> None:
    """No user of ``.netrc``, no cookie, no name of the application."""
    with KeyServer([SIGNING_KEY]) as server:
        with pytest.raises(NotThere, match="404"):
            ON_LOOPBACK.fetch(f"{server.jwks_url}?tenant=x&y=%20", soon())
        (hit,) = server.hits
    assert hit.path == "/jwks?tenant=x&y=%20"
    assert hit.headers == {
        "host": server.url.removeprefix("http://"),
        "accept": "application/json, application/jwk-set+json",
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": "jwt_middleware",
    }


def test_an_address_without_a_path_asks_for_the_root() -> None:
    with KeyServer([SIGNING_KEY]) as server, pytest.raises(NotThere, match="404"):
        ON_LOOPBACK.fetch(server.url, soon())
    assert server.paths == ["/"]


def test_certificates_are_checked_with_those_that_are_given() -> None:
    with KeyServer([SIGNING_KEY], tls=True) as server:
        trusting = Fetcher(cafile=server.cafile)
        assert trusting.fetch(server.jwks_url, soon()).content["keys"]
        with pytest.raises(FetchFailed, match="certificate verify failed"):
            Fetcher().fetch(server.jwks_url, soon())


# What is taken for an answer


@pytest.mark.parametrize(
    ("headers", "max_age"),
    [
        ({}, None),
        ({"Cache_Control": "no-store"}, None),
        ({"Cache_Control": "public, max-age=300"}, 300),
        ({"Cache_Control": 'max-age="300"'}, 300),
        ({"Cache_Control": "Max-Age=300,must-revalidate"}, 300),
        ({"Cache_Control": "s-maxage=5, max-age=300"}, 300),
        ({"Cache_Control": "s-maxage=5"}, None),
        ({"Cache_Control": "max-age=-1"}, None),
        ({"Cache_Control": "max-age=9999999999"}, None),
        ({"Cache_Control": "max-age=300", "Age": "100"}, 200),
        ({"Cache_Control": "max-age=300", "Age": "400"}, -100),
        ({"Cache_Control": "max-age=300", "Age": "yesterday"}, 300),
        ({"Cache_Control": "max-age=٣٠٠"}, None),
    ],
)
def test_what_a_cache_may_keep_is_read(
    headers: dict[str, str], max_age: float | None
) -> None:
    with KeyServer([SIGNING_KEY]) as server:
        server.answer = reply(replaced_by(b"{}"), **dict[str, Any](headers))
        document = ON_LOOPBACK.fetch(server.jwks_url, soon())
    assert document.max_age == max_age


def test_a_document_is_what_the_server_wrote() -> None:
    with KeyServer([SIGNING_KEY]) as server:
        for answer in (answers.ok, answers.chunked, answers.cached(60)):
            server.answer = answer
            document = ON_LOOPBACK.fetch(server.jwks_url, soon())
            assert document.content["keys"][0]["kid"] == SIGNING_KEY.kid


def test_a_failure_tells_where_and_why_in_one_line() -> None:
    with KeyServer([SIGNING_KEY]) as server:
        server.stop()
        with pytest.raises(FetchFailed) as failure:
            ON_LOOPBACK.fetch(server.jwks_url, soon())
    told = str(failure.value)
    assert told.startswith(f"'{server.jwks_url}': ConnectionRefusedError: ")
    assert told.isprintable()


def test_a_deadline_that_has_passed_asks_nobody() -> None:
    with KeyServer([SIGNING_KEY]) as server:
        with pytest.raises(FetchFailed, match="the deadline has passed"):
            ON_LOOPBACK.fetch(server.jwks_url, soon(-1))
        assert server.hits == []


def test_another_library_may_fetch() -> None:
    class Canned(Fetcher):
        def fetch(self, url: str, until: float) -> Document:
            return Document({"asked": url})

    assert Canned().fetch("https://x", 0).content == {"asked": "https://x"}


# Which addresses are connected to


@pytest.mark.parametrize(
    ("address", "is_fine"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("10.0.0.7", False),
        ("::ffff:10.0.0.7", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("64:ff9b::a00:7", False),
        ("2002:a00:7::1", False),
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::5db8:d70e", True),
        ("fec0::1", False),
        ("::127.0.0.1", False),
        ("::ffff:0:127.0.0.1", False),
        ("64:ff9b:1::a00:1", False),
        ("5f00::1", False),
        ("2001:db8::1", False),
        ("fe80::1%eth0", False),
    ],
)
def test_a_public_address_is_told_from_others(address: str, is_fine: bool) -> None:
    """Also where an address of IPv4 comes in the guise of IPv6."""
    assert is_public(address) is is_fine
    assert is_any(address)


def test_a_private_address_is_not_connected_to_when_that_is_asked_for() -> None:
    """What counts is the address, whatever name led to it."""
    with KeyServer([SIGNING_KEY], tls=True) as server:
        careful = Fetcher(cafile=server.cafile, public_only=True)
        with pytest.raises(FetchFailed, match="no address that is allowed"):
            careful.fetch(server.jwks_url, soon())
        assert server.hits == []


def test_plain_http_never_leaves_the_machine() -> None:
    """Not even where a hosts file says that localhost is elsewhere."""
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.7")


def test_the_next_address_is_tried_where_one_does_not_answer() -> None:
    """``localhost`` is ``::1`` as well on many machines, and nobody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with connect("localhost", port, soon(), is_any) as sock:
            assert sock.getpeername()[1] == port


def test_a_host_without_an_address_is_a_failure() -> None:
    with pytest.raises(FetchFailed, match="gaierror"):
        Fetcher().fetch("https://nowhere.invalid/jwks", soon())


# Proxies


@contextmanager
def proxying(status: str = "200 OK") -> Iterator[tuple[int, list[bytes]]]:
    """A proxy for one connection: its port, and what it was asked."""
    asked: list[bytes] = []

    def serve() -> None:
        with listening.accept()[0] as client:
            asked.append(client.recv(4096))
            client.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode())
            if not status.startswith("200"):
                return
            host, _, port = asked[0].split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                pumps = [
                    threading.Thread(target=pump, args=ends)
                    for ends in ((client, server), (server, client))
                ]
                for thread in pumps:
                    thread.start()
                for thread in pumps:
                    thread.join(10)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], asked
        finally:
            thread.join(10)


def pump(source: socket.socket, sink: socket.socket) -> None:
    while octets := source.recv(65536):
        sink.sendall(octets)
    sink.shutdown(socket.SHUT_WR)


def test_a_proxy_is_gone_through_when_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The certificate that is checked is still the issuer's."""
    with KeyServer([SIGNING_KEY], tls=True) as server, proxying() as (port, asked):
        monkeypatch.setenv("https_proxy", f"http://me:p%40ss@127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        fetcher = Fetcher(cafile=server.cafile, use_proxies=True)
        assert fetcher.fetch(server.jwks_url, soon()).content["keys"]
        target = server.url.removeprefix("https://")
    assert asked[0].decode().split("\r\n") == [
        f"CONNECT {target} HTTP/1.1",
        f"Host: {target}",
        "Proxy-Authorization: Basic bWU6cEBzcw==",
        "",
        "",
    ]


def test_a_proxy_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying("407 Proxy Authentication Required") as (port, asked):
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(FetchFailed, match="the proxy answered 407"):
            Fetcher(use_proxies=True).fetch("https://login.example/jwks", soon())
    assert b"Proxy-Authorization" not in asked[0]


def test_a_proxy_is_not_gone_through_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets the environment would else see which issuers are asked."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with KeyServer([SIGNING_KEY], tls=True) as server:
        fetcher = Fetcher(cafile=server.cafile)
        assert fetcher.fetch(server.jwks_url, soon()).content["keys"]


def test_the_environment_may_except_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "login.example")
    assert proxy_for("login.example") is None
    assert proxy_for("other.example") is not None
    monkeypatch.delenv("https_proxy")
    assert proxy_for("other.example") is None


@pytest.mark.parametrize(
    "url",
    [
        *["socks5://127.0.0.1:1", "https://proxy", "http://"],
        *["http://me:se/cret@proxy:1", "http://me:'se'\u2100@proxy:1"],
    ],
)
def test_a_proxy_of_another_kind_is_told_of(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never gone past: what it keeps apart would be joined."""
    monkeypatch.setenv("https_proxy", url)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(FetchFailed, match="https_proxy names no proxy") as failure:
        Fetcher(use_proxies=True).fetch("https://login.example/jwks", soon())
    assert "'se'" not in str(failure.value)


def test_an_address_of_ipv6_is_put_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying("403 Forbidden") as (port, asked):
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(FetchFailed, match="403"):
            Fetcher(use_proxies=True).fetch("https://[2001:db8::1]/jwks", soon())
    assert asked[0].startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n")


def test_tls_is_as_python_recommends() -> None:
    from jwt_middleware.connect import tls

    context = tls(None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
