"""On real servers, what is open ends with its token; also for a client that is deaf."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from jwt_middleware import Key, TokenIssuer

from .servers import TIMEOUT_S, connected, fetch, serving

LENGTH = 1_000
"""Of the response at /length."""

SOON_S = 4.0
"""Within which what is open has ended, on a busy machine too; less than `CLOSE_S`."""
QUIET_S = 3.0
"""After which a server that says nothing has said all."""
LIFETIME_S = 2
"""Of a token; it begins with a whole second, so that up to one of them is over."""
KEY = Key.generate("HS256", kid="served")
ENVIRONMENT = {"SERVED_KEY": json.dumps(KEY.to_jwk(private=True))}
APP = "tests.served_ending:asgi_app"
SERVERS = {
    "uvicorn-sansio-h11": (
        *("uvicorn", APP, "--fd={fd}", "--http=h11"),
        "--ws=websockets-sansio",
    ),
    "uvicorn-wsproto-httptools": (
        *("uvicorn", APP, "--fd={fd}", "--http=httptools", "--ws=wsproto"),
    ),
    "hypercorn-asyncio": (
        *("hypercorn", APP, "--bind=fd://{fd}", "--workers=0"),
        "--worker-class=asyncio",
    ),
    "hypercorn-trio": (
        *("hypercorn", APP, "--bind=fd://{fd}", "--workers=0", "--worker-class=trio"),
    ),
}

numbers = count(1)


class Subject:
    """A user of his own for each test, with a token of his."""

    def __init__(self, port: int, lifetime: float = 600) -> None:
        issuer = TokenIssuer(
            "https://issuer.example", audience="api", key=KEY, access_lifetime=lifetime
        )
        self.name = f"user{next(numbers)}"
        self.port = port
        self.pair = issuer.issue(self.name)
        self.headers = {"Authorization": f"Bearer {self.pair.access_token}"}

    def revoke(self) -> None:
        assert fetch(self.port, f"/public/revoke/subject/{self.name}")[0] == 200

    def revoke_session(self) -> None:
        path = f"/public/revoke/session/{self.pair.session_id}"
        assert fetch(self.port, path)[0] == 200

    def told(self) -> list[str]:
        told: list[str] = json.loads(fetch(self.port, f"/public/told/{self.name}")[2])
        return told

    def until_told(self, what: str, seconds: float = SOON_S) -> None:
        """The app was told *what*; it says so over http."""
        end = time.monotonic() + seconds
        while what not in (told := self.told()):
            assert time.monotonic() < end, f"told {told}"

    @contextmanager
    def websocket(self, path: str = "/echo") -> Iterator[ClientConnection]:
        url = f"ws://127.0.0.1:{self.port}{path}"
        with connect(url, additional_headers=self.headers, proxy=None) as websocket:
            yield websocket


@pytest.fixture(scope="module", params=list(SERVERS.values()), ids=list(SERVERS))
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of each server in turn."""
    pytest.importorskip(request.param[0])
    with serving(*request.param, environment=ENVIRONMENT) as opened:
        assert fetch(opened, "/public/hello")[0] == 200
        yield opened


def closed_with(websocket: ClientConnection, seconds: float = SOON_S) -> int | None:
    """The code that the client is told."""
    with pytest.raises(ConnectionClosed) as closed:
        websocket.recv(timeout=seconds)
    return None if closed.value.rcvd is None else closed.value.rcvd.code


def echoes(websocket: ClientConnection) -> bool:
    websocket.send("hello")
    return websocket.recv(timeout=TIMEOUT_S) == "hello"


@pytest.mark.parametrize("revoke", [Subject.revoke, Subject.revoke_session])
def test_a_websocket_is_closed_when_its_token_is_revoked(
    port: int, revoke: Callable[[Subject], None]
) -> None:
    """1008, policy violation, for the client; the same code for the app."""
    alice = Subject(port)
    with alice.websocket() as websocket:
        assert echoes(websocket)
        revoke(alice)
        assert closed_with(websocket) == 1008
        alice.until_told("disconnect 1008")


def test_all_websockets_of_a_user_are_closed_and_no_others(port: int) -> None:
    alice, bob = Subject(port), Subject(port)
    with alice.websocket() as one, alice.websocket() as two, bob.websocket() as other:
        assert all(echoes(websocket) for websocket in (one, two, other))
        alice.revoke()
        assert [closed_with(one), closed_with(two)] == [1008, 1008]
        assert echoes(other)


def test_a_websocket_is_closed_when_its_token_expires(port: int) -> None:
    alice = Subject(port, LIFETIME_S)
    with alice.websocket() as websocket:
        assert echoes(websocket)
        assert closed_with(websocket, LIFETIME_S + SOON_S) == 1008
        assert alice.pair.expires_in == LIFETIME_S
        alice.until_told("disconnect 1008")


@contextmanager
def response(alice: Subject, path: str) -> Iterator[http.client.HTTPResponse]:
    """A response of which the first line was read, and which goes on."""
    with connected(alice.port) as connection:
        connection.request("GET", path, headers=alice.headers)
        opened = connection.getresponse()
        assert opened.readline() == b"hello\n"
        connection.sock.settimeout(SOON_S)
        yield opened


def test_events_end_when_their_token_is_revoked(port: int) -> None:
    """As if they were over: the last chunk is there."""
    alice = Subject(port)
    with response(alice, "/events") as events:
        alice.revoke()
        begun = time.monotonic()
        assert events.read() == b""
        assert time.monotonic() - begun < SOON_S
    alice.until_told("http.disconnect")


def test_events_end_when_their_token_expires(port: int) -> None:
    alice = Subject(port, LIFETIME_S)
    with response(alice, "/events") as events:
        begun = time.monotonic()
        assert events.read() == b""
        assert time.monotonic() - begun < LIFETIME_S + SOON_S
    alice.until_told("http.disconnect")


def test_a_download_that_is_cut_off_is_an_error_for_its_client(port: int) -> None:
    """No client takes the part that it got for the whole."""
    alice = Subject(port)
    with response(alice, "/download") as download:
        alice.revoke()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            download.read()
    alice.until_told("http.disconnect")


def test_a_download_that_is_cut_off_is_an_error_for_httpx(port: int) -> None:
    alice = Subject(port)
    url = f"http://127.0.0.1:{port}/download"
    with (
        httpx2.Client(trust_env=False) as client,
        client.stream("GET", url, headers=alice.headers) as download,
    ):
        parts = download.iter_raw()
        assert next(parts) == b"hello\n"
        alice.revoke()
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
            next(parts)


def test_a_connection_serves_the_next_after_events_were_ended(port: int) -> None:
    """What it says belongs to the next response, or it is closed."""
    alice, bob = Subject(port), Subject(port)
    with connected(port) as connection:
        connection.request("GET", "/events", headers=alice.headers)
        events = connection.getresponse()
        assert events.readline() == b"hello\n"
        alice.revoke()
        assert events.read() == b""
        alice.until_told("http.disconnect")
        try:
            connection.request("GET", f"/public/told/{bob.name}")
            assert connection.getresponse().read() == b"[]"
        except ConnectionError:
            pass  # closed, which a client knows to try again


def test_a_response_with_a_length_is_told_whole(port: int) -> None:
    """It has an end, and a client must not take a part for the whole."""
    alice = Subject(port, LIFETIME_S)
    with response(alice, "/length") as whole:
        assert len(b"hello\n" + whole.read()) == LENGTH


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_a_client_that_never_reads_does_not_keep_the_app(
    request: pytest.FixtureRequest, port: int, kind: str
) -> None:
    """All buffers are full, the app waits in its send, and is told all the same.

    Hypercorn under trio shields what it sends from being cancelled (0.18).
    """
    if "hypercorn-trio" in request.node.name:
        request.applymarker(pytest.mark.xfail(reason="the server shields its sends"))
    alice = Subject(port)
    with deaf(alice, kind):
        alice.until_told("flood", TIMEOUT_S)
        alice.revoke()
        alice.until_told("OSError")


@pytest.mark.parametrize("kind", ["websocket", "http"])
def test_what_a_slow_client_gets_is_whole(port: int, kind: str) -> None:
    """It reads again after the end: no goodbye stands in the midst of something."""
    alice = Subject(port)
    with deaf(alice, kind) as client:
        alice.until_told("flood", TIMEOUT_S)
        alice.revoke()
        octets = read_all(client)
    body = octets.partition(b"\r\n\r\n")[2]
    if kind == "http":
        ensure_chunks(body)
    else:
        ensure_frames(body)


@contextmanager
def deaf(alice: Subject, kind: str) -> Iterator[socket.socket]:
    """A client that asks for a flood and does not read it."""
    lines = ["GET /flood HTTP/1.1", "Host: x"]
    lines += ["Connection: close"] if kind == "http" else []
    lines += [f"{name}: {value}" for name, value in alice.headers.items()]
    if kind == "websocket":
        key = base64.b64encode(b"sixteen octets..").decode()
        lines += ["Connection: Upgrade", "Upgrade: websocket"]
        lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(QUIET_S)
        client.connect(("127.0.0.1", alice.port))
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        yield client


def read_all(client: socket.socket) -> bytes:
    """Everything until the server closes, or says no more."""
    octets = bytearray()
    try:
        while part := client.recv(1 << 20):
            octets += part
    except (TimeoutError, ConnectionError):
        pass
    return bytes(octets)


def ensure_chunks(body: bytes) -> None:
    """Nothing but chunks of the flood; the last may be cut off, if nothing follows."""
    while body:
        size, _, body = body.partition(b"\r\n")
        assert all(digit in b"0123456789abcdefABCDEF" for digit in size), size[:20]
        chunk, body = body[: int(size or b"0", 16)], body[int(size or b"0", 16) + 2 :]
        assert chunk.strip(b"x") in (b"", b"hello\n"), chunk.strip(b"x")[:20]


def ensure_frames(body: bytes) -> None:
    """Nothing but binary frames of the flood, and perhaps a close (1008) at the end."""
    while len(body) >= 10:
        code, length, start = body[0] & 15, body[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(body[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(body[2:10]), 10
        assert code in (2, 8, 9), code
        frame, body = body[start : start + length], body[start + length :]
        assert code != 2 or not frame.strip(b"x"), frame.strip(b"x")[:20]
