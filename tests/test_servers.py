"""What only a real server does: reuse threads and contexts, join headers.

`current_token` must never tell of the request before: servers start a pipelined
request inside the context of the one in front of it, and threads keep their context.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from jwt_middleware import Key, TokenIssuer

from .servers import TIMEOUT_S, connected, fetch, serving

KEY = Key.generate("HS256", kid="served")
ISSUER = TokenIssuer("https://issuer.example", audience="api", key=KEY)
ENVIRONMENT = {"SERVED_KEY": json.dumps(KEY.to_jwk(private=True))}

SERVERS = {
    "uvicorn-h11": ("uvicorn", "tests.served:asgi_app", "--fd={fd}", "--http=h11"),
    "uvicorn-httptools": (
        *("uvicorn", "tests.served:asgi_app", "--fd={fd}"),
        "--http=httptools",
    ),
    "gunicorn-sync": ("gunicorn", "tests.served:wsgi_app", "--bind=fd://{fd}"),
    "gunicorn-gthread": (
        *("gunicorn", "tests.served:wsgi_app", "--bind=fd://{fd}"),
        *("--worker-class=gthread", "--threads=1"),
    ),
}


EVIL = Origin("http://evil.example")


def bearer(subject: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {ISSUER.issue(subject).access_token}"}


@pytest.fixture(scope="module", params=list(SERVERS.values()), ids=list(SERVERS))
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of each server in turn."""
    with serving(*request.param, environment=ENVIRONMENT) as opened:
        yield opened


@pytest.fixture(scope="module")
def uvicorn_port() -> Iterator[int]:
    with serving(*SERVERS["uvicorn-h11"], environment=ENVIRONMENT) as opened:
        yield opened


def test_a_token_is_told_and_its_absence_too(port: int) -> None:
    assert fetch(port, "/", headers=bearer("alice"))[::2] == (200, "alice")
    status, headers, _ = fetch(port, "/")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')


def test_identity_does_not_outlive_a_request_on_a_new_connection(port: int) -> None:
    """The same worker thread serves both."""
    for subject in ("alice", "bob"):
        assert fetch(port, "/", headers=bearer(subject))[2] == subject
        assert fetch(port, "/public")[2] == "nobody"


def test_identity_does_not_outlive_a_request_on_a_kept_connection(port: int) -> None:
    with connected(port) as connection:
        for path, headers, expected in (
            ("/", bearer("alice"), "alice"),
            ("/public", {}, "nobody"),
            ("/", bearer("bob"), "bob"),
            ("/public", bearer("bob"), "nobody"),
        ):
            connection.request("GET", path, headers=headers)
            assert connection.getresponse().read().decode() == expected


def test_identity_does_not_leak_between_pipelined_requests(port: int) -> None:
    """All of them are on the way before the first is answered."""
    authorization = bearer("alice")["Authorization"]
    private = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
    public = "GET /public HTTP/1.1\r\nHost: x\r\n\r\n"
    last = "GET /public HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
        client.sendall((private + public + private + last).encode())
        text = read_all(client)
    bodies = [part.partition("\r\n\r\n")[2] for part in text.split("HTTP/1.1 ")[1:]]
    # gunicorn's sync worker closes after the first; what is answered must be right.
    assert bodies == ["alice", "nobody", "alice", "nobody"][: len(bodies)]
    assert bodies


def test_two_authorization_headers_are_refused(port: int) -> None:
    """An ASGI server hands both over, a WSGI server joins them by a comma."""
    with connected(port) as connection:
        connection.putrequest("GET", "/")
        for subject in ("alice", "bob"):
            connection.putheader("Authorization", bearer(subject)["Authorization"])
        connection.endheaders()
        assert connection.getresponse().status == 400


def test_a_request_may_have_a_body_that_nobody_reads(port: int) -> None:
    """A refusal comes all the same."""
    assert fetch(port, "/", method="POST", body="x" * 10_000)[0] == 401


def test_head_is_refused_without_a_body(port: int) -> None:
    status, headers, body = fetch(port, "/", method="HEAD")
    assert (status, body) == (401, "")
    assert headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_websocket_knows_who_opened_it(uvicorn_port: int) -> None:
    url = f"ws://127.0.0.1:{uvicorn_port}/"
    with connect(url, additional_headers=bearer("alice")) as websocket:
        assert websocket.recv() == "alice"


def test_a_websocket_without_a_token_is_answered_like_a_request(
    uvicorn_port: int,
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{uvicorn_port}/")
    assert refused.value.response.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_cookie_opens_a_websocket_for_pages_of_the_same_origin_only(
    uvicorn_port: int,
) -> None:
    token = ISSUER.issue("alice").access_token
    cookie = {"Cookie": f"__Host-access={token}"}
    url, own = f"ws://127.0.0.1:{uvicorn_port}/", f"http://127.0.0.1:{uvicorn_port}"
    with connect(url, additional_headers=cookie, origin=Origin(own)) as websocket:
        assert websocket.recv() == "alice"
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers=cookie, origin=EVIL)
    assert refused.value.response.status_code == 403


def read_all(client: socket.socket) -> str:
    """Everything until the server closes, within the time-out."""
    end, octets = time.monotonic() + TIMEOUT_S, b""
    while time.monotonic() < end and (part := client.recv(65536)):
        octets += part
    return octets.decode()
