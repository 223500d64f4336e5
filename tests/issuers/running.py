"""Run real issuers: on a free loopback port, ended by their process id.

`oidc_provider` and `authlib_issuer` each yield an `Issuer`, so that one test can
be run against both.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest

from tests.servers import ROOT, TIMEOUT_S, fetch

HERE = Path(__file__).parent
HEADERS = {
    "Authorization": f"Basic {b64encode(b'service:made-up').decode()}",
    "Content-Type": "application/x-www-form-urlencoded",
}
"""Of the one client that every issuer here knows."""


class Hits(NamedTuple):
    """How often an issuer was asked, whatever it answered."""

    metadata: int
    jwks: int


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer that runs, as whoever asks it for tokens and whoever runs it see it."""

    url: str
    algorithms: tuple[str, ...]
    """What it signs with; ES256 is among them."""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def token(self, algorithm: str = "ES256", *, scope: str = "read write") -> str:
        """Ask for an access token that is signed with *algorithm*.

        It is for `audience` of *algorithm*, and lives for 600 seconds.
        """
        form = {
            "grant_type": "client_credentials",
            "resource": audience(algorithm),
            "scope": scope,
        }
        return str(self.ask("/token", form)["access_token"])

    def rotate(self) -> None:
        """Publish new keys beside the old ones, and sign with them from now on."""
        self.ask("/__rotate", {})

    def drop(self) -> None:
        """Publish only the keys that sign now."""
        self.ask("/__drop", {})

    def down(self) -> None:
        """Answer 503 to everything, until `up`."""
        self.ask("/__down", {})

    def up(self) -> None:
        self.ask("/__up", {})

    def hits(self) -> Hits:
        return Hits(**self.ask("/__hits"))

    def ask(self, path: str, form: dict[str, str] | None = None) -> Any:
        """Read the JSON at *path*; with a *form*, by POST."""
        status, _, body = fetch(
            self.port,
            path,
            method="GET" if form is None else "POST",
            headers=HEADERS,
            body=None if form is None else urlencode(form),
        )
        assert status == 200, f"{path} answered {status}: {body}"
        return json.loads(body)


def audience(algorithm: str) -> str:
    """The API whose tokens an issuer signs with *algorithm*."""
    return f"https://api.example/{algorithm.lower()}"


@contextmanager
def oidc_provider() -> Iterator[Issuer]:
    """Run npm's oidc-provider: OpenID Connect's discovery, RFC 8414's too.

    Skips the test where Node.js or the package is missing.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("oidc-provider runs on Node.js; install it (node, npm)")
    if not (HERE / "node_modules" / "oidc-provider").is_dir():
        pytest.skip(
            "oidc-provider is missing; type: npm install --prefix tests/issuers"
        )
    with _running(node, str(HERE / "provider.mjs")) as url:
        yield Issuer(url, ("RS256", "ES256", "EdDSA"))


@contextmanager
def authlib_issuer() -> Iterator[Issuer]:
    """Run Authlib: RFC 8414's discovery alone, and an audience that is a list."""
    with _running(sys.executable, "-m", "tests.issuers.authlib_issuer") as url:
        yield Issuer(url, ("ES256",))


@contextmanager
def _running(*command: str) -> Iterator[str]:
    """Run *command*, which prints its URL when it listens, and yield that."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], TIMEOUT_S)
        line = process.stdout.readline() if ready else ""
        assert line, f"{command[-1]} did not start"
        yield json.loads(line)["issuer"]
        assert process.poll() is None, f"{command[-1]} ended by itself"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        process.stdout.close()
