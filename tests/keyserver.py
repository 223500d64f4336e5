"""A key server on a loopback socket, which can do everything wrong on request.

    with KeyServer([key]) as server:
        server.answer = answers.drip_body
        RemoteKeys(server.jwks_url) ...
        server.wait_for_hits(1)

It serves a key set at ``/jwks`` and the metadata of an issuer at the well-known places,
one request per connection.  How it answers: `keyserver_answers`.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from jwt_middleware import Key

from . import keyserver_answers as answers
from .certificates import Certificate, write_certificates
from .keyserver_exchange import Answer, Exchange, page

HOST = "127.0.0.1"
TIMEOUT_S = 10.0
MAX_REQUEST_OCTETS = 65_536
WELL_KNOWN = {
    "oidc": r"(?P<path>.*)/\.well-known/openid-configuration",
    "oidc_inserted": r"/\.well-known/openid-configuration(?P<path>/.+)",
    "oauth": r"/\.well-known/oauth-authorization-server(?P<path>.*)",
}
"""Where metadata is asked for, of an issuer with or without a path."""


class Hit(NamedTuple):
    """A request that was read."""

    path: str
    headers: Mapping[str, str]
    """By names in lower case."""


class KeyServer:
    """Listens from `__enter__` on, or where `stop` had ended it, from `start` on."""

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        tls: bool = False,
        certificate: Certificate = "sound",
    ) -> None:
        self.keys: list[Key] = list(keys)
        """The set from now on, of their public halves."""
        self.answer: Answer = answers.ok
        """How a request for the set is answered from now on."""
        self.metadata: Answer = answers.ok
        """How a request for metadata is answered from now on."""
        self.forms: set[str] = set(WELL_KNOWN)
        """The well-known places that exist from now on."""
        self.sent = 0
        """Octets of answers so far."""
        self._hits: list[Hit] = []
        self._changed = threading.Condition()
        self._released = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._directory = tempfile.TemporaryDirectory(prefix="keyserver-")
        self.cafile = str(Path(self._directory.name, "ca.pem"))
        """With *tls*: the certificate of the authority that a client should trust."""
        self._tls = self._tls_context(certificate) if tls else None
        self._listening = _bound(0)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"
        self.jwks_url = f"{self.url}/jwks"

    def _tls_context(self, certificate: Certificate) -> ssl.SSLContext:
        write_certificates(Path(self._directory.name), certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(Path(self._directory.name, "server.pem"))
        return context

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._listening.close()
        self._directory.cleanup()

    # Up and down

    def start(self) -> None:
        """Listen, on the same port every time."""
        self._wake, self._woken = socket.socketpair()
        self._listening.listen(128)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Refuse connections, and cut off those that are open.

        The port stays taken, so that nobody else can answer there.
        """
        if self._wake.fileno() == -1:
            return
        self._wake.close()
        self._join(self._acceptor)
        self._woken.close()
        self._listening.close()
        self._listening = _bound(self.port)
        with self._changed:
            for connection in self._open:
                _cut_off(connection)
        while self._threads:
            self._join(self._threads.pop())

    def _join(self, thread: threading.Thread) -> None:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), "a thread of the key server does not end"

    # What a test asks

    @property
    def hits(self) -> list[Hit]:
        """The requests so far."""
        with self._changed:
            return list(self._hits)

    @property
    def paths(self) -> list[str]:
        """What was asked for so far."""
        return [hit.path for hit in self.hits]

    def wait_for_hits(self, number: int, seconds: float = TIMEOUT_S) -> None:
        """Block until there were *number* requests; fail after *seconds*."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self._hits) >= number, seconds)
            assert came, f"{len(self._hits)} requests came, not {number}"

    def wait_until_left(self, seconds: float = TIMEOUT_S) -> None:
        """Block until no connection is open; fail after *seconds*."""
        with self._changed:
            left = self._changed.wait_for(lambda: not self._open, seconds)
            assert left, f"{len(self._open)} connections are still open"

    def release(self) -> None:
        """Let the answers to all requests so far go on; later ones are held again."""
        with self._changed:
            self._released.set()
            self._released = threading.Event()

    # Serving

    def _accept(self) -> None:
        watched = [self._listening, self._woken]
        while self._woken not in select.select(watched, [], [])[0]:
            connection, _ = self._listening.accept()
            try:
                connection = self._wrapped(connection)
            except OSError:  # gone before its thread began
                connection.close()
                continue
            with self._changed:
                self._open.add(connection)
            serve = threading.Thread(target=self._serve, args=[connection], daemon=True)
            self._threads.append(serve)
            serve.start()

    def _wrapped(self, connection: socket.socket) -> socket.socket:
        """In TLS, if there is any; the handshake is left to the connection's thread."""
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )

    def _serve(self, connection: socket.socket) -> None:
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            self._converse(connection)
        except OSError:  # the client left, or was cut off
            pass
        finally:
            connection.close()
            with self._changed:
                self._open.remove(connection)
                self._changed.notify_all()

    def _converse(self, connection: socket.socket) -> None:
        """Read one request and answer it."""
        method, hit = _read_request(connection)
        with self._changed:
            self._hits.append(hit)
            released = self._released
            self._changed.notify_all()
        answer, document = self._route(method, hit.path)
        answer(
            Exchange(connection, self.url, hit.path, document, released, self._count)
        )

    def _route(self, method: str, path: str) -> tuple[Answer, dict[str, Any]]:
        """How to answer, and what an honest server would say."""
        jwks = {"keys": [key.public.to_jwk() for key in self.keys]}
        if method != "GET":
            return page("405 Method Not Allowed"), {}
        if path == answers.ELSEWHERE:
            return answers.ok, jwks
        if path == "/jwks":
            return self.answer, jwks
        for form in self.forms:
            if found := re.fullmatch(WELL_KNOWN[form], path):
                issuer = self.url + found["path"]
                return self.metadata, {"issuer": issuer, "jwks_uri": self.jwks_url}
        return page("404 Not Found"), {}

    def _count(self, octets: int) -> None:
        with self._changed:
            self.sent += octets


def _bound(port: int) -> socket.socket:
    """A socket that has the port; nobody can connect before it listens."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


def _cut_off(connection: socket.socket) -> None:
    """Wake whoever reads or writes there; `_serve` closes it."""
    with suppress(OSError):  # the client was first
        # Not SSLSocket's own, which takes the TLS state away under a running thread.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _read_request(connection: socket.socket) -> tuple[str, Hit]:
    read = b""
    while b"\r\n\r\n" not in read:
        octets = connection.recv(MAX_REQUEST_OCTETS)
        if not octets or len(read) > MAX_REQUEST_OCTETS:
            raise ConnectionAbortedError("no request")
        read += octets
    first, *lines = read.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    named = (line.partition(":") for line in lines)
    return method, Hit(path, {name.lower(): value.strip() for name, _, value in named})
