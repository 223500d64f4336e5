"""Real Redis servers for tests: empty, on loopback, ended by their process id.

    with RedisServer(password="secret") as server:
        RedisStore(server.url) ...
        server.freeze()

Several that belong together: `redis_groups`.  What a network can do between a client
and a server: `redis_proxy`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from .certificates import Certificate, write_certificates

HOST = "127.0.0.1"
TIMEOUT_S = 20.0
"""For what should happen at once, and on a busy machine does not."""
POLL_S = 0.005
ANSWER_S = 2.0
"""How long a client of ours waits for an answer."""
BUS = 10_000
"""The port of a cluster's node for other nodes is higher by this."""


def find_binary() -> str:
    """A server of Redis or Valkey; the test is skipped where there is none."""
    named = os.environ.get("REDIS_SERVER")
    for name in [named] if named else ["valkey-server", "redis-server"]:
        if found := shutil.which(name):
            return found
    if named:
        raise FileNotFoundError(f"$REDIS_SERVER is {named!r}: no such program")
    pytest.skip("no redis-server; apt-get install redis-server")


def eventually(holds: Callable[[], object], what: str) -> None:
    """Ask until *holds* says so: another process tells nobody when it is ready."""
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_S} s: {what}"
        time.sleep(POLL_S)


def bound(port: int = 0) -> socket.socket:
    """A socket that has the port for as long as a server may come and go there.

    It never listens: nobody can connect to it, and a server that sets SO_REUSEADDR,
    as Redis does, can listen beside it (on Linux).
    """
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((HOST, port))
    except OSError:
        held.close()
        raise
    return held


def bound_with_bus() -> tuple[socket.socket, socket.socket]:
    """A port for clients and the one for other nodes of a cluster."""
    while True:
        held = bound()
        port = held.getsockname()[1]
        if port + BUS < 65_536:
            try:
                return held, bound(port + BUS)
            except OSError:  # taken
                pass
        held.close()


class RedisServer:
    """Runs from `__enter__` on; keeps nothing on disk, so `restart` makes it empty.

    *config* has further lines of redis.conf; *rights* are what the ACL gives *user*.
    """

    def __init__(
        self,
        *config: str,
        password: str | None = None,
        user: str | None = None,
        rights: str = "~* &* +@all",
        tls: bool = False,
        certificate: Certificate = "sound",
        maxmemory: str | None = None,
        cluster: bool = False,
        sentinel: bool = False,
    ) -> None:
        self._binary = find_binary()
        self._sentinel = sentinel
        self._held = bound_with_bus() if cluster else (bound(),)
        self.port: int = self._held[0].getsockname()[1]
        self._directory = tempfile.TemporaryDirectory(prefix="redis-")
        self._path = Path(self._directory.name)
        self.cafile = str(self._path / "ca.pem") if tls else None
        """With *tls*: the certificate of the authority that a client should trust."""
        self._login = (
            f"{quote(user or '', '')}:{quote(password, '')}@" if password else ""
        )
        self.url = self.url_at(self.port)
        self._log = self._path / "redis.log"
        self._config = [f"bind {HOST}", f"dir {self._path}"]
        self._config += [f"{'tls-port' if tls else 'port'} {self.port}"]
        if not sentinel:
            self._config += ['save ""', "appendonly no"]
        if tls:
            write_certificates(self._path, certificate)
            self._config += ["port 0", "tls-auth-clients no", "tls-ca-cert-file ca.pem"]
            self._config += [f"tls-{kind}-file server.pem" for kind in ("cert", "key")]
        if user:
            self._config += ["user default off", f"user {user} on >{password} {rights}"]
        elif password:
            self._config += [f"requirepass {password}"]
        if maxmemory:
            self._config += [f"maxmemory {maxmemory}", "maxmemory-policy noeviction"]
        if cluster:
            self._config += ["cluster-enabled yes", "cluster-node-timeout 1000"]
        self._config += config

    def url_at(self, port: int) -> str:
        """The URL of this server through another *port*, such as a proxy's."""
        return f"redis{'s' if self.cafile else ''}://{self._login}{HOST}:{port}/0"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self.kill()
        for held in self._held:
            held.close()
        self._directory.cleanup()

    # Up and down

    def _start(self) -> None:
        conf = self._path / "redis.conf"
        conf.write_text("\n".join([*self._config, ""]))
        mode = ["--sentinel"] if self._sentinel else []
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self._binary, str(conf), *mode],
                cwd=self._path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(self._is_up, f"an answer at port {self.port}")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, f"Redis ended by itself:\n{self.log}"
        try:
            self.command("PING")
        except NoPermissionError:  # an answer, too
            return True
        except redis.ConnectionError:
            return False
        return True

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        return self._log.read_text()

    def kill(self) -> None:
        """End the process at once; connections are refused from then on."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def restart(self) -> None:
        """Come back on the same port as another run of the server, with no data."""
        self.kill()
        self._start()

    def freeze(self) -> None:
        """Stop the process: the kernel still takes connections, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let the process go on, with what it was sent in the meantime."""
        self.process.send_signal(signal.SIGCONT)
        os.waitid(os.P_PID, self.process.pid, os.WCONTINUED)

    # What a test asks

    def client(self, timeout: float = ANSWER_S, port: int | None = None) -> redis.Redis:
        """A client of its own, that tries everything once; close it."""
        trust = {"ssl_ca_certs": self.cafile} if self.cafile else {}
        return redis.Redis.from_url(
            self.url_at(port or self.port),
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            **trust,
        )

    def command(self, *words: str | int | float | bytes) -> object:
        """Send one command on a new connection; what redis-py makes of the answer."""
        with self.client() as client:
            answer: object = client.execute_command(*words)
            return answer

    def info(self, name: str) -> object:
        """A line of INFO, such as ``run_id``, as redis-py reads it."""
        with self.client() as client:
            return client.info("everything").get(name)
