"""A network between a client and a Redis server, with faults that can be switched.

    with RedisServer() as server, Proxy(server) as proxy:
        RedisStore(proxy.url) ...
        proxy.blackhole()

A switch has happened when it returns, and holds for connections that are open as for
those to come; what is under way when it happens is treated in the new way.  TLS goes
through as it is, except that an answer of ours is then no TLS, and that what counts as
a command is whatever arrives at once.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from .redis_server import HOST, TIMEOUT_S, RedisServer, bound

BACKLOG = 100
CHUNK_OCTETS = 65_536
GARBAGE = b"\x16\x03HTTP/1.1 400 Bad Request\r\n\r\n"
"""What is no Redis protocol."""
NIL = b"_\r\n"
"""In the third version of the protocol, which redis-py speaks if not told otherwise."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of a command, and of its answer."""

    kind: Literal["pass", "refuse", "blackhole", "answer", "half", "lose"] = "pass"
    delay: float = 0.0
    """Seconds that an answer of the server is held back."""
    answer: bytes = b""
    """Said to each command instead of asking the server."""


class Proxy:
    """Stands before *server* from `__enter__` on, and lets everything through."""

    def __init__(self, server: RedisServer) -> None:
        self._upstream = server.port
        self._held = bound()
        self.port: int = self._held.getsockname()[1]
        self.url = server.url_at(self.port)
        self._counts = {"connections": 0, "commands": 0, "open": 0}
        self._counted = threading.Condition()
        self._fault = Fault()
        self._switched = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._switch(Fault())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), "the proxy does not end"
        self._loop.close()
        self._held.close()

    # Faults

    def let_pass(self) -> None:
        """No fault."""
        self._switch(Fault())

    def refuse(self) -> None:
        """Refuse connections, and cut those that are open, as where nothing runs."""
        self._switch(Fault("refuse"))

    def blackhole(self) -> None:
        """Accept connections and read, and neither pass it on nor ever answer."""
        self._switch(Fault("blackhole"))

    def delay(self, seconds: float) -> None:
        """Hold each answer back; the server has done at once what it was told."""
        self._switch(Fault(delay=seconds))

    def answer(self, octets: bytes) -> None:
        """Say *octets*, such as `NIL`, to each command, and keep it from the server."""
        self._switch(Fault("answer", answer=octets))

    def garbage(self) -> None:
        """Answer `GARBAGE`."""
        self.answer(GARBAGE)

    def half(self) -> None:
        """Pass on half of each answer and close the connection."""
        self._switch(Fault("half"))

    def lose_answers(self) -> None:
        """Let the server do what it is told, and close instead of passing that on."""
        self._switch(Fault("lose"))

    def cut(self) -> None:
        """Close the open connections; what holds for new ones stays."""
        self._run(self._cut())

    # What a test asks

    @property
    def connections(self) -> int:
        """How many were accepted so far."""
        return self._count("connections")

    @property
    def commands(self) -> int:
        """How many were read so far, the ones of redis-py's handshake included."""
        return self._count("commands")

    @property
    def open(self) -> int:
        """How many connections are open."""
        return self._count("open")

    def wait_for(self, holds: Callable[[Proxy], bool]) -> None:
        """Block until the counts are such, as in ``lambda p: p.commands > 3``."""
        with self._counted:
            came = self._counted.wait_for(lambda: holds(self), TIMEOUT_S)
            assert came, f"the counts are {self._counts}"

    def _count(self, name: str, more: int = 0) -> int:
        with self._counted:
            self._counts[name] += more
            self._counted.notify_all()
            return self._counts[name]

    # In the thread of the loop

    def _run(self, coroutine: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_S)

    def _switch(self, fault: Fault) -> None:
        self._run(self._become(fault))

    async def _become(self, fault: Fault) -> None:
        self._fault = fault
        self._switched.set()
        self._switched = asyncio.Event()
        if fault.kind == "refuse":
            if self._listening:
                self._loop.remove_reader(self._listening)
                self._listening.close()
                self._listening = None
            await self._cut()
        elif not self._listening:
            self._listening = bound(self.port)
            self._listening.setblocking(False)
            self._listening.listen(BACKLOG)
            self._loop.add_reader(self._listening, self._accept, self._listening)

    async def _cut(self) -> None:
        await _cancelled(self._links)

    async def _end(self) -> None:
        """Who was accepted just before is let go; cancelled, it would stay open."""
        await self._become(Fault("refuse"))
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        await asyncio.sleep(0)

    def _accept(self, listening: socket.socket) -> None:
        """As `asyncio.start_server` does, of which a connection that comes while the
        server closes stays open (Python 3.11)."""
        with suppress(OSError):  # who came has left
            client, _ = listening.accept()
            client.setblocking(False)
            self._loop.create_task(self._serve(client))

    async def _serve(self, accepted: socket.socket) -> None:
        client, to_client = await asyncio.open_connection(sock=accepted)
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        self._count("connections", 1)
        self._count("open", 1)
        try:
            if self._fault.kind != "refuse":  # it may have come just before
                await self._link(client, to_client)
        except OSError:  # the server is not there
            pass
        except asyncio.CancelledError:
            to_client.transport.abort()
        finally:  # awaits nothing, so that it cannot be cancelled halfway
            to_client.close()
            self._links.discard(link)
            self._count("open", -1)

    async def _link(
        self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        server, to_server = await asyncio.open_connection(HOST, self._upstream)
        pumps = [
            asyncio.create_task(_until_left(pump))
            for pump in (
                self._pass_commands(client, to_server, to_client),
                self._pass_answers(server, to_client),
            )
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            to_server.transport.abort()
            for pump in pumps:
                pump.cancel()

    async def _pass_commands(
        self,
        client: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
        to_client: asyncio.StreamWriter,
    ) -> None:
        rest = b""
        while octets := await client.read(CHUNK_OCTETS):
            number, rest = whole_commands(rest + octets)
            self._count("commands", number)
            if self._fault.kind == "blackhole":
                continue
            if self._fault.kind == "answer":
                to_client.write(self._fault.answer * number)
                await to_client.drain()
            else:
                to_server.write(octets)
                await to_server.drain()

    async def _pass_answers(
        self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        while octets := await server.read(CHUNK_OCTETS):
            if self._fault.delay:
                with suppress(TimeoutError):  # time is up, or there is a new fault
                    await asyncio.wait_for(self._switched.wait(), self._fault.delay)
            if self._fault.kind == "pass":
                to_client.write(octets)
                await to_client.drain()
            elif self._fault.kind == "half":
                to_client.write(octets[: len(octets) // 2])
                return
            elif self._fault.kind == "lose":
                return


async def _until_left(pump: Coroutine[None, None, None]) -> None:
    with suppress(OSError):  # one of the two left
        await pump


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait for their end, and for that of their connections."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
    await asyncio.sleep(0)


def whole_commands(octets: bytes) -> tuple[int, bytes]:
    """How many commands *octets* begin with, and what is there of the next."""
    if not octets.startswith(b"*"):  # TLS
        return 1, b""
    number = start = 0
    with suppress(ValueError):
        while start < len(octets):
            start = _end_of_command(octets, start)
            number += 1
    return number, octets[start:]


def _end_of_command(octets: bytes, start: int) -> int:
    """Read ``*2 $3 GET $1 a``, with CRLF for each space; ValueError if it goes on."""
    end = octets.index(b"\r\n", start) + 2
    for _ in range(int(octets[start + 1 : end])):
        word = octets.index(b"\r\n", end) + 2
        end = word + int(octets[end + 1 : word]) + 2
    if end > len(octets):
        raise ValueError("not whole")
    return end
