"""The key server does on the wire what its answers are called."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from jwt_middleware import Key

from . import keyserver_answers as answers
from .certificates import Certificate
from .keyserver import HOST, KeyServer
from .keyserver_answers import ANSWERS, BIG, METADATA, SLOW, SOUND
from .keyserver_exchange import PACE_S, Answer
from .servers import fetch

TIMEOUT_S = 5.0
A_WHILE_S = 3 * PACE_S
"""In which what is held does not come, and what drips comes more than once."""
KEYS = [Key.generate("ES256", kid="k1"), Key.generate("Ed25519", kid="k2")]
JWKS = {"keys": [key.public.to_jwk() for key in KEYS]}
BODY = json.dumps(JWKS).encode()
OIDC = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with KeyServer(KEYS) as running:
        yield running


@contextmanager
def asking(server: KeyServer, path: str = "/jwks") -> Iterator[socket.socket]:
    """A connection on which *path* was asked for."""
    with socket.create_connection((HOST, server.port), TIMEOUT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        yield connection


def read(connection: socket.socket, number: int | None = None) -> bytes:
    """*number* octets, or all until the end."""
    octets = b""
    while number is None or len(octets) < number:
        more = connection.recv(65_536 if number is None else number - len(octets))
        if not more:
            break
        octets += more
    return octets


def read_to(connection: socket.socket, pattern: bytes) -> None:
    """Read until all that came is of the *pattern*; fail where it never is."""
    octets, until = b"", time.monotonic() + TIMEOUT_S
    while not re.fullmatch(pattern, octets, re.DOTALL):
        more = connection.recv(65_536)
        assert more, f"the end came after {octets!r}"
        assert time.monotonic() < until, f"no end after {octets!r}"
        octets += more


def ask(server: KeyServer, path: str = "/jwks") -> tuple[bytes, bytes]:
    """What stands before and after the empty line."""
    with asking(server, path) as connection:
        before, _, after = read(connection).partition(b"\r\n\r\n")
        return before, after


def ensure_silent(connection: socket.socket) -> None:
    """Nothing comes, not even the end."""
    connection.settimeout(A_WHILE_S)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    connection.settimeout(TIMEOUT_S)


# Sound


@pytest.mark.parametrize("answer", SOUND.values(), ids=SOUND)
def test_a_sound_answer_is_the_public_set(server: KeyServer, answer: Answer) -> None:
    server.answer = answer
    status, _, text = fetch(server.port, "/jwks")
    assert (status, json.loads(text)) == (200, JWKS)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ok", "Content-Type: application/json"),
        ("ok", f"Content-Length: {len(BODY)}"),
        ("cached", "Cache-Control: public, max-age=300"),
        ("as_text_html", "Content-Type: text/html"),
        ("as_jwk_set", "Content-Type: application/jwk-set+json"),
        ("chunked", "Transfer-Encoding: chunked"),
        ("gzipped", "Content-Encoding: gzip"),
        ("gzip_bomb", "Content-Encoding: gzip"),
        ("html", "Content-Type: text/html"),
    ],
)
def test_headers(server: KeyServer, name: str, header: str) -> None:
    server.answer = ANSWERS[name]
    assert header in ask(server)[0].decode().split("\r\n")


def test_chunks_are_many(server: KeyServer) -> None:
    server.answer = answers.chunked
    _, after = ask(server)
    assert after.startswith(b"7\r\n" + BODY[:7] + b"\r\n7\r\n")
    assert after.endswith(b"\r\n0\r\n\r\n")


def test_an_unframed_body_has_no_length(server: KeyServer) -> None:
    server.answer = answers.unframed
    before, after = ask(server)
    assert b"Content-Length" not in before
    assert b"chunked" not in before
    assert after == BODY


def test_the_set_is_what_it_holds_now(server: KeyServer) -> None:
    server.keys = KEYS[1:]
    assert json.loads(ask(server)[1]) == {"keys": JWKS["keys"][1:]}


# Another status, another body


@pytest.mark.parametrize("name", answers.STATUSES)
def test_a_status_is_the_one_in_the_name(server: KeyServer, name: str) -> None:
    server.answer = ANSWERS[name]
    before, after = ask(server)
    assert before.startswith(b"HTTP/1.1 %b " % name.split("_")[1].encode())
    if name == "status_204":
        assert after == b""
    else:
        assert (after == BODY) == name.endswith("_with_keys")


def gunzipped_length(octets: bytes) -> int:
    swelling, total = zlib.decompressobj(wbits=31), 0
    while octets:
        total += len(swelling.decompress(octets, 1 << 20))
        octets = swelling.unconsumed_tail
    return total


BODIES: dict[str, Callable[[bytes], object]] = {
    "html": lambda body: body.startswith(b"<!doctype html>"),
    "truncated": lambda body: body == BODY[:-3],
    "short": lambda body: body == BODY,
    "empty": lambda body: body == b"",
    "array": lambda body: json.loads(body) == [],
    "null": lambda body: json.loads(body) is None,
    "empty_object": lambda body: json.loads(body) == {},
    "keys_is_an_object": lambda body: json.loads(body) == {"keys": {}},
    "no_keys": lambda body: json.loads(body) == {"keys": []},
    "utf_16": lambda body: json.loads(body.decode("utf-16")) == JWKS,
    "utf_8_with_bom": lambda body: body == b"\xef\xbb\xbf" + BODY,
    "invalid_utf_8": lambda body: (
        json.loads(body.decode("latin-1")) == {"\xff": 0, **JWKS}
    ),
    "gzipped": lambda body: zlib.decompress(body, wbits=31) == BODY,
    "gzip_bomb": lambda body: len(body) < 200_000 and gunzipped_length(body) == BIG,
    "deep": lambda body: (
        re.sub(rb'"deep":\[{100000}\]{100000},', b"", body) == BODY
        and len(body) < 256 * 1024
    ),
    "names_twice": lambda body: (
        json.loads(body) == JWKS
        and json.loads(body, object_pairs_hook=list)[0] == ("keys", None)
    ),
    "not_a_number": lambda body: b"NaN" in body and "x" in json.loads(body),
}


@pytest.mark.parametrize("name", answers.BODIES)
def test_a_body_is_wrong_in_the_way_of_its_name(server: KeyServer, name: str) -> None:
    server.answer = ANSWERS[name]
    before, after = ask(server)
    assert before.startswith(b"HTTP/1.1 200 OK\r\n")
    assert BODIES[name](after)
    assert (f"Content-Length: {len(after)}" in before.decode()) == (name != "short")


def test_a_short_body_is_missed_by_whoever_counts(server: KeyServer) -> None:
    server.answer = answers.short
    with pytest.raises(http.client.IncompleteRead):
        fetch(server.port, "/jwks")


# Too much


def test_a_big_body_is_sound_where_it_is_taken(server: KeyServer) -> None:
    server.answer = answers.big
    with asking(server) as connection:
        total, last = 0, b""
        while more := connection.recv(1 << 20):
            total, last = total + len(more), (last + more)[-len(BODY) :]
    assert total > BIG + len(BODY)
    assert last == BODY
    assert server.sent == total


BEGINNINGS = {
    "big": rb"HTTP/1.1 200 OK\r\n.*Content-Length: 1048\d{5}\r\n\r\n *",
    "big_in_chunks": rb"HTTP/1.1 200 OK\r\n.*chunked\r\n\r\n(10000\r\n *\r\n)+",
    "declared_tebibyte": (
        rb"HTTP/1.1 200 OK\r\n.*Content-Length: 1099511627776\r\n\r\n\{.*\}"
    ),
    "endless_headers": rb"HTTP/1.1 200 OK\r\n.*(X-Line: and another one\r\n)+",
    "endless_header": rb"HTTP/1.1 200 OK\r\n.*X-Line: x+",
    "endless_continue": rb"(HTTP/1.1 100 Continue\r\n\r\n)+",
    "endless_trailers": (
        rb"HTTP/1.1 200 OK\r\n.*\}\r\n0\r\n(X-Line: and another one\r\n)+"
    ),
    "endless_negative_chunk": rb"HTTP/1.1 200 OK\r\n.*chunked\r\n\r\n-1\r\n +",
}


@pytest.mark.parametrize("name", answers.ENDLESS)
def test_an_endless_answer_ends_when_the_client_leaves(
    server: KeyServer, name: str
) -> None:
    server.answer = ANSWERS[name]
    wanted = 400 if name == "declared_tebibyte" else 1_000_000
    with asking(server) as connection:
        begun = read(connection, wanted)
    server.wait_until_left()
    assert len(begun) == wanted
    assert re.match(BEGINNINGS[name], begun, re.DOTALL)
    assert server.sent < BIG


def test_a_declared_tebibyte_does_not_come(server: KeyServer) -> None:
    server.answer = answers.declared_tebibyte
    with asking(server) as connection:
        read_to(connection, rb".*\r\n\r\n" + re.escape(BODY))
        ensure_silent(connection)


# Too slowly, or never

BEFORE_THE_RELEASE = {
    "hang": rb"",
    "hang_after_headers": rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n",
    "hang_in_body": rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n" + re.escape(BODY[:-1]),
    "drip_headers": rb"HTTP/1.1 200 OK\r\n.*\r\nX-Slow: x+",
    "drip_body": rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n +",
    "drip_chunks": rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n(1\r\n \r\n)+",
    "drip_continue": rb"(HTTP/1.1 100 Continue\r\n\r\n)+",
}


@pytest.mark.parametrize("name", SLOW)
def test_before_the_release(server: KeyServer, name: str) -> None:
    server.answer = SLOW[name]
    with asking(server) as connection:
        server.wait_for_hits(1)
        read_to(connection, BEFORE_THE_RELEASE[name])
        if name.startswith("hang"):
            ensure_silent(connection)


@pytest.mark.parametrize("name", SLOW)
def test_after_the_release_the_answer_is_sound(server: KeyServer, name: str) -> None:
    server.answer = SLOW[name]
    connection = http.client.HTTPConnection(HOST, server.port, timeout=TIMEOUT_S)
    connection.request("GET", "/jwks")
    server.wait_for_hits(1)
    server.release()
    with connection.getresponse() as response:
        assert json.load(response) == JWKS
    connection.close()


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_ends_when_the_client_leaves(
    server: KeyServer, name: str
) -> None:
    server.answer = SLOW[name]
    with asking(server):
        server.wait_for_hits(1)
    server.wait_until_left()
    assert server.sent < 1000


def test_a_drip_comes_at_its_pace(server: KeyServer) -> None:
    """No time-out between two octets is long enough to notice."""
    server.answer = answers.drip_body
    began = time.monotonic()
    with asking(server) as connection:
        read_to(connection, rb".*\r\n\r\n {5,}")
    assert time.monotonic() - began > 4 * PACE_S


def test_a_release_is_for_the_requests_before_it(server: KeyServer) -> None:
    server.answer = answers.hang
    server.release()
    with asking(server) as first:
        server.wait_for_hits(1)
        ensure_silent(first)
        server.release()
        assert read(first).endswith(BODY)
        with asking(server) as second:
            server.wait_for_hits(2)
            ensure_silent(second)


# No answer


def test_a_closed_connection_ends(server: KeyServer) -> None:
    server.answer = answers.close
    with asking(server) as connection:
        assert read(connection) == b""


@pytest.mark.parametrize("answer", [answers.reset, answers.reset_in_body])
def test_a_reset_connection_breaks(server: KeyServer, answer: Answer) -> None:
    server.answer = answer
    with asking(server) as connection, pytest.raises(ConnectionResetError):
        read(connection)
    assert (server.sent > 0) == (answer is answers.reset_in_body)


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("no_http", b"220 mail.example ESMTP\r\n"),
        ("no_status", b"HTTP/1.1 OK\r\n\r\n"),
        ("no_length", b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    ],
)
def test_what_is_no_http(server: KeyServer, name: str, octets: bytes) -> None:
    server.answer = ANSWERS[name]
    with asking(server) as connection:
        assert read(connection) == octets


def test_a_chunk_of_no_length(server: KeyServer) -> None:
    server.answer = ANSWERS["no_chunk"]
    with pytest.raises(http.client.IncompleteRead):
        fetch(server.port, "/jwks")


# Somewhere else


@pytest.mark.parametrize(
    ("name", "status", "location"),
    [
        ("to_itself", 302, "/jwks"),
        ("to_itself_for_good", 301, "{url}/jwks"),
        ("elsewhere", 302, "{url}/elsewhere"),
        ("elsewhere_307", 307, "{url}/elsewhere"),
        ("to_another_host", 302, "//localhost:{port}/elsewhere"),
        ("to_a_file", 302, "file:///etc/passwd"),
    ],
)
def test_a_redirect(server: KeyServer, name: str, status: int, location: str) -> None:
    server.answer = ANSWERS[name]
    given, headers, text = fetch(server.port, "/jwks")
    assert (given, text) == (status, "")
    assert headers["Location"] == location.format(url=server.url, port=server.port)


@pytest.mark.parametrize("name", ["elsewhere", "elsewhere_307", "to_another_host"])
def test_a_client_that_follows_is_seen(server: KeyServer, name: str) -> None:
    server.answer = ANSWERS[name]
    with urllib.request.urlopen(server.jwks_url, timeout=TIMEOUT_S) as response:  # noqa: S310
        assert json.load(response) == JWKS
    assert server.paths == ["/jwks", "/elsewhere"]


# Sets


def members(server: KeyServer, name: str) -> list[Any]:
    """Those that stand before ours."""
    server.answer = ANSWERS[name]
    found = json.loads(ask(server)[1])["keys"]
    assert found[-2:] == JWKS["keys"]
    return list(found[:-2])


@pytest.mark.parametrize("name", answers.SETS)
def test_a_set_holds_ours_after_others(server: KeyServer, name: str) -> None:
    assert members(server, name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("weak_member", "1024 bits"),
        ("huge_member", "65536 bits"),
        ("malformed_member", "the JWK's x is missing or not base64url"),
    ],
)
def test_a_bad_member_is_refused_alone(
    server: KeyServer, name: str, wrong: str
) -> None:
    [jwk] = members(server, name)
    with pytest.raises(ValueError, match=wrong):
        Key.from_jwk(jwk)


def test_members_that_are_sound_keys_but_not_for_this(server: KeyServer) -> None:
    [private] = members(server, "private_member")
    [secret] = members(server, "secret_member")
    [encryption] = members(server, "encryption_member")
    [unknown] = members(server, "unknown_kty")
    assert Key.from_jwk(private).can_sign
    assert Key.from_jwk(secret).algorithm == "HS256"
    assert encryption["use"] == "enc"
    assert unknown["kty"] == "XYZ"


def test_a_rival_bears_the_first_name(server: KeyServer) -> None:
    [rival] = members(server, "kid_twice")
    assert rival["kid"] == "k1"
    assert Key.from_jwk(rival).verify(b"x", answers.RIVAL.sign(b"x"))


@pytest.mark.parametrize(("name", "size"), [("crowd", 5000), ("small_crowd", 300)])
def test_a_crowd_is_so_many_names(server: KeyServer, name: str, size: int) -> None:
    kids = {jwk["kid"] for jwk in members(server, name)}
    assert len(kids) == size - 2


# Metadata


@pytest.mark.parametrize(
    ("at", "path"),
    [
        (OIDC, ""),
        (OAUTH, ""),
        ("/realms/x" + OIDC, "/realms/x"),
        (OIDC + "/realms/x", "/realms/x"),
        (OAUTH + "/realms/x", "/realms/x"),
    ],
)
def test_metadata_is_that_of_the_issuer(server: KeyServer, at: str, path: str) -> None:
    assert json.loads(ask(server, at)[1]) == {
        "issuer": server.url + path,
        "jwks_uri": server.jwks_url,
    }


@pytest.mark.parametrize(
    ("form", "at"),
    [
        ("oidc", "/realms/x" + OIDC),
        ("oidc_inserted", OIDC + "/realms/x"),
        ("oauth", OAUTH + "/realms/x"),
    ],
)
def test_a_form_may_be_absent(server: KeyServer, form: str, at: str) -> None:
    server.forms = {form}
    paths = ["/realms/x" + OIDC, OIDC + "/realms/x", OAUTH + "/realms/x"]
    there = [path for path in paths if fetch(server.port, path)[0] == 200]
    assert there == [at]


def test_metadata_and_the_set_are_answered_apart(server: KeyServer) -> None:
    server.metadata = ANSWERS["status_500"]
    assert ask(server, OIDC)[0].startswith(b"HTTP/1.1 500 ")
    assert ask(server)[1] == BODY


@pytest.mark.parametrize(
    ("name", "member", "stated"),
    [
        ("wrong_issuer", "issuer", "https://someone-else.example"),
        ("issuer_with_slash", "issuer", "{url}/"),
        ("issuer_that_is_no_string", "issuer", ["{issuer}"]),
        ("no_issuer", "issuer", ...),
        ("no_jwks_uri", "jwks_uri", ...),
        ("jwks_uri_on_another_host", "jwks_uri", "http://keys.example/jwks"),
        ("jwks_uri_of_a_file", "jwks_uri", "file:///etc/passwd"),
        ("jwks_uri_that_is_no_string", "jwks_uri", 7),
        ("jwks_uri_that_is_null", "jwks_uri", None),
        ("jwks_uri_that_is_empty", "jwks_uri", ""),
        ("jwks_uri_that_is_relative", "jwks_uri", "/jwks"),
    ],
)
def test_metadata_states_what_it_should_not(
    server: KeyServer, name: str, member: str, stated: object
) -> None:
    server.metadata = METADATA[name]
    if isinstance(stated, str):
        stated = stated.format(url=server.url)
    assert json.loads(ask(server, OIDC)[1]).get(member, ...) == stated


# TLS


def trusting(server: KeyServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=server.cafile)


def test_tls_is_sound_for_name_and_address() -> None:
    with KeyServer(KEYS, tls=True) as server:
        for host in (HOST, "localhost"):
            url = f"https://{host}:{server.port}/jwks"
            with urllib.request.urlopen(
                url, timeout=TIMEOUT_S, context=trusting(server)
            ) as response:
                assert json.load(response) == JWKS
        assert server.jwks_url == f"https://{HOST}:{server.port}/jwks"


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        ("of_another_ca", "certificate signature failure|unable to get local issuer"),
        ("expired", "certificate has expired"),
        ("of_another_host", "IP address mismatch"),
    ],
)
def test_a_certificate_is_refused_for_the_reason_in_its_name(
    certificate: Certificate, why: str
) -> None:
    with (
        KeyServer(KEYS, tls=True, certificate=certificate) as server,
        socket.create_connection((HOST, server.port), TIMEOUT_S) as connection,
    ):
        with pytest.raises(ssl.SSLCertVerificationError, match=why):
            trusting(server).wrap_socket(connection, server_hostname=HOST)
        assert server.hits == []


@pytest.mark.parametrize("name", ["reset", "close", "big", *SLOW])
def test_answers_in_tls_end_too(name: str) -> None:
    with KeyServer(KEYS, tls=True) as server:
        server.answer = ANSWERS[name]
        connection = http.client.HTTPSConnection(
            HOST, server.port, timeout=TIMEOUT_S, context=trusting(server)
        )
        connection.request("GET", "/jwks")
        server.wait_for_hits(1)
        connection.close()
        server.wait_until_left()


def test_a_client_of_tls_gets_no_handshake_where_there_is_no_tls(
    server: KeyServer,
) -> None:
    """A way to hang before there is any HTTP."""
    with socket.create_connection((HOST, server.port), A_WHILE_S) as connection:
        context = ssl.create_default_context()
        with pytest.raises(TimeoutError):
            context.wrap_socket(connection, server_hostname=HOST)
    server.wait_until_left()
    assert server.hits == []


# Up and down


def test_a_stopped_server_refuses_and_comes_back_at_its_port(
    server: KeyServer,
) -> None:
    for _ in range(3):
        port = server.port
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            ask(server)
        server.start()
        assert server.port == port
        assert ask(server)[1] == BODY
    assert server.paths == ["/jwks"] * 3


def test_stopping_cuts_off_whoever_waits(server: KeyServer) -> None:
    server.answer = answers.hang
    with asking(server) as connection:
        server.wait_for_hits(1)
        server.stop()
        assert read(connection) == b""


@pytest.mark.parametrize("name", ["big", "endless_continue", *SLOW])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_end_ends_every_thread(name: str, tls: bool) -> None:
    before = threading.enumerate()
    with KeyServer(KEYS, tls=tls) as server:
        server.answer = ANSWERS[name]
        connection = http.client.HTTPConnection(HOST, server.port, timeout=TIMEOUT_S)
        if tls:
            connection = http.client.HTTPSConnection(
                HOST, server.port, timeout=TIMEOUT_S, context=trusting(server)
            )
        silent = socket.create_connection((HOST, server.port), TIMEOUT_S)
        connection.request("GET", "/jwks")
        server.wait_for_hits(1)
    assert set(threading.enumerate()) <= set(before)
    connection.close()
    silent.close()


# What a test asks


def test_hits_are_the_requests_so_far(server: KeyServer) -> None:
    fetch(server.port, "/jwks", headers={"Accept": "application/json"})
    fetch(server.port, "/other")
    assert server.paths == ["/jwks", "/other"]
    path, headers = server.hits[0]
    assert (path, headers["accept"]) == ("/jwks", "application/json")


def test_hits_are_waited_for(server: KeyServer) -> None:
    with pytest.raises(AssertionError, match="0 requests came, not 1"):
        server.wait_for_hits(1, seconds=0.01)
    askers = [threading.Thread(target=ask, args=[server]) for _ in range(20)]
    for asker in askers:
        asker.start()
    server.wait_for_hits(20)
    for asker in askers:
        asker.join()
    assert server.paths == ["/jwks"] * 20


def test_whoever_stays_is_told_of(server: KeyServer) -> None:
    server.answer = answers.hang
    with asking(server):
        server.wait_for_hits(1)
        with pytest.raises(AssertionError, match="1 connections are still open"):
            server.wait_until_left(seconds=0.01)


def test_only_get_is_answered(server: KeyServer) -> None:
    assert fetch(server.port, "/jwks", method="POST")[0] == 405
    assert fetch(server.port, "/other")[0] == 404
