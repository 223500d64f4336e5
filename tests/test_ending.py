"""What is open ends with its token: nothing sooner, nothing later, nothing lost."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import resource
import threading
import time
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
import trio
from anyio.lowlevel import checkpoint
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import request_response

from jwt_middleware import (
    Authenticator,
    Key,
    MemoryStore,
    Rule,
    TrustedIssuer,
    current_token,
)
from jwt_middleware.asgi import JWTMiddleware
from jwt_middleware.bridge import instant
from jwt_middleware.ending import Ending
from jwt_middleware.token import KEY

from .asgi_checker import App, Message, Receive, Scope, Send
from .conftest import ISSUER, SIGNING_KEY, authenticator, mint_token, trusted
from .store_suite import NOW, Clock, WaitingStore

pytestmark = pytest.mark.anyio

Kind = Literal["websocket", "http"]
SOON_S = 4.0
"""Within which a connection has ended, on a busy machine too.

Less than `CLOSE_S`, so that an app is seen not to be held for as long as that.
"""
LEEWAY_S = 30
MANY = 3_000

FIRST: dict[Kind, Message] = {
    "websocket": {"type": "websocket.connect"},
    "http": {"type": "http.request", "body": b"", "more_body": False},
}
GOODBYE: dict[Kind, Message] = {
    "websocket": {"type": "websocket.close", "code": 1008},
    "http": {"type": "http.response.body", "body": b"", "more_body": False},
}
TOLD: dict[Kind, Message] = {
    "websocket": {"type": "websocket.disconnect", "code": 1008, "reason": ""},
    "http": {"type": "http.disconnect"},
}
ACCEPT: Message = {"type": "websocket.accept"}
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"Content-Type", b"Text/Event-Stream; charset=utf-8")],
}
DOWNLOAD: Message = {**START, "headers": [(b"content-type", b"text/csv")]}
WHOLE: Message = {"type": "http.response.body", "body": b"whole"}


async def pass_on(request: Request, call_next: Any) -> Any:
    """Dispatch of a BaseHTTPMiddleware that does nothing."""
    return await call_next(request)


class Watched(MemoryStore):
    """Counts how often it is asked, and can be out of order."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.looks = 0
        self.is_down = False

    @instant
    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        self.looks += 1
        if self.is_down:
            raise OSError("no route to the store")
        return super().look(names)


class Line:
    """The server's end of one connection, with a client that can be deaf."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.sent: list[Message] = []
        self.begun: list[Message] = []
        """What was to be sent, also to a client that does not read."""
        self._incoming = deque([FIRST[kind]])
        self._arrived = anyio.Event()
        self._is_read = anyio.Event()
        self._is_read.set()

    def say(self, message: Message) -> None:
        self._incoming.append(message)
        self._arrived.set()

    def stop_reading(self) -> None:
        self._is_read = anyio.Event()

    def read_on(self) -> None:
        self._is_read.set()

    async def receive(self) -> Message:
        while not self._incoming:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._incoming.popleft()

    async def send(self, message: Message) -> None:
        self.begun.append(message)
        await self._is_read.wait()
        self.sent.append(message)

    @property
    def is_opened(self) -> bool:
        """Whether all has arrived that `open_up` sends."""
        return len(self.sent) >= (1 if self.kind == "websocket" else 2)

    @property
    def is_over(self) -> bool:
        return GOODBYE[self.kind] in self.sent

    @property
    def chunk(self) -> Message:
        """A piece of what goes on."""
        if self.kind == "websocket":
            return {"type": "websocket.send", "text": "more"}
        return {"type": "http.response.body", "body": b"more", "more_body": True}


async def open_up(scope: Scope, receive: Receive, send: Send) -> None:
    """Begin what goes on until it is ended."""
    assert await receive() == FIRST[scope["type"]]
    if scope["type"] == "websocket":
        await send(ACCEPT)
    else:
        await send(START)
        await send({"type": "http.response.body", "body": b"0", "more_body": True})


class Listener:
    """An app that opens what it is called for, and listens until it is told."""

    def __init__(self) -> None:
        self.is_open = False
        self.heard: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await open_up(scope, receive, send)
        self.is_open = True
        while not self.heard or not self.heard[-1]["type"].endswith("disconnect"):
            self.heard.append(await receive())


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(params=["websocket", "http"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def line(kind: Kind) -> Line:
    return Line(kind)


@pytest.fixture
def wall() -> Clock:
    return Clock()


@pytest.fixture
def store(wall: Clock) -> Watched:
    return Watched(wall)


@pytest.fixture
def auth(store: Watched, wall: Clock) -> Authenticator:
    return authenticator(store=store, now=wall)


def call(
    app: App, auth: Authenticator, line: Line, token: str | None, **options: Any
) -> Awaitable[None]:
    """Have *app* called behind the lock."""
    headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
    scope = {"type": line.kind, "method": "GET", "path": "/live", "headers": headers}
    lock = JWTMiddleware(app, auth, **{"end_responses": True, **options})
    return lock(scope, line.receive, line.send)


@asynccontextmanager
async def serving(
    app: App, auth: Authenticator, line: Line, token: str
) -> AsyncIterator[None]:
    """*app* is called beside the test, and has to return soon after it."""

    returned = anyio.Event()

    async def serve() -> None:
        await call(app, auth, line, token)
        returned.set()

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        yield
        with anyio.fail_after(SOON_S):
            await returned.wait()


async def until(
    holds: Callable[[], object], seconds: float = SOON_S, every: float = 0.001
) -> None:
    with anyio.fail_after(seconds):
        while not holds():
            await anyio.sleep(every)


async def ask_again(auth: Authenticator, store: Watched) -> None:
    """Have everyone of alice look again, by a mark that concerns no token."""
    looks = store.looks
    await auth.arevoke_subject("alice", before=NOW - 1_000)
    await until(lambda: store.looks > looks)
    await anyio.wait_all_tasks_blocked()


async def by_jti(auth: Authenticator) -> None:
    await auth.arevoke_jti("j1")


async def by_session(auth: Authenticator) -> None:
    await auth.arevoke_session("s1")


async def by_subject(auth: Authenticator) -> None:
    await auth.arevoke_subject("alice")


async def by_token(auth: Authenticator) -> None:
    await auth.arevoke(mint_token(sid="s1"))


async def from_a_thread(auth: Authenticator) -> None:
    await anyio.to_thread.run_sync(auth.revoke_subject, "alice")


async def of_an_earlier_time(auth: Authenticator) -> None:
    await auth.arevoke_subject("alice", before=NOW - 11)


async def of_another_token(auth: Authenticator) -> None:
    await auth.arevoke_jti("j2")


async def of_another_session(auth: Authenticator) -> None:
    await auth.arevoke_session("s2")


async def of_another_subject(auth: Authenticator) -> None:
    await auth.arevoke_subject("bob")


class TestRevoked:
    @pytest.mark.parametrize(
        "revoke", [by_jti, by_session, by_subject, by_token, from_a_thread]
    )
    async def test_it_ends_for_the_client_and_for_the_app(
        self,
        auth: Authenticator,
        line: Line,
        revoke: Callable[[Authenticator], Awaitable[None]],
    ) -> None:
        app = Listener()
        async with serving(app, auth, line, mint_token(sid="s1")):
            await until(lambda: app.is_open)
            await revoke(auth)
            await until(lambda: line.is_over and app.heard)
        assert app.heard == [TOLD[line.kind]]
        assert line.sent.count(GOODBYE[line.kind]) == 1
        assert line.sent[-1] == GOODBYE[line.kind]

    @pytest.mark.parametrize(
        "mark",
        [of_an_earlier_time, of_another_token, of_another_session, of_another_subject],
    )
    async def test_a_mark_that_does_not_concern_it_leaves_it_open(
        self,
        auth: Authenticator,
        store: Watched,
        line: Line,
        mark: Callable[[Authenticator], Awaitable[None]],
    ) -> None:
        app = Listener()
        async with serving(app, auth, line, mint_token(sid="s1")):
            await until(lambda: app.is_open)
            await mark(auth)
            await ask_again(auth, store)
            assert not line.is_over
            assert app.heard == []
            await by_jti(auth)
            await until(lambda: line.is_over)

    async def test_a_mark_of_another_issuer_leaves_it_open(
        self, store: Watched, wall: Clock, line: Line
    ) -> None:
        """Who may both have an alice."""
        other = TrustedIssuer("https://b.example", audience="b", keys=[SIGNING_KEY])
        auth = authenticator(trusted(), other, store=store, now=wall)
        app = Listener()
        async with serving(app, auth, line, mint_token(sid="s1")):
            await until(lambda: app.is_open)
            await auth.arevoke_subject("alice", other.issuer)
            await auth.arevoke_session("s1", other.issuer)
            await auth.arevoke_jti("j1", other.issuer)
            await auth.arevoke_subject("alice", ISSUER, before=NOW - 1_000)
            await until(lambda: store.looks == 3)
            await anyio.wait_all_tasks_blocked()
            assert not line.is_over
            await auth.arevoke_subject("alice", ISSUER)
            await until(lambda: line.is_over)

    async def test_a_mark_between_the_door_and_the_watch_is_not_missed(
        self, auth: Authenticator, store: Watched, line: Line
    ) -> None:
        """It is set after the token was looked up, and before anyone watches."""
        watch, heard = store.watch, list[Message]()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await until(lambda: store.looks == 3)
            if line.kind == "http":
                await send(START)
            heard.append(await receive())

        def late(names: Sequence[str], call: Callable[[], None]) -> Callable[[], None]:
            store.put(f"jti {ISSUER} j1", NOW + 10, NOW + 1_000)
            return watch(names, call)

        store.watch = late  # type: ignore[method-assign]
        async with serving(app, auth, line, mint_token()):
            await until(lambda: store.looks == 2)
            await anyio.wait_all_tasks_blocked()
            store.looks += 1  # the app goes on
            await until(lambda: line.is_over)
        assert heard == [TOLD[line.kind]]

    async def test_a_store_is_asked_where_it_was_to_be_asked(self, line: Line) -> None:
        """One that may wait in a thread, whoever revokes, and how."""
        wall, app, where = Clock(), Listener(), list[int]()

        class Plain:
            """Its methods are not marked as instant."""

            def __init__(self) -> None:
                self.marks = MemoryStore(wall)
                self.add, self.watch = self.marks.add, self.marks.watch

            def put(self, name: str, at: float, until: float) -> None:
                self.marks.put(name, at, until)

            def look(self, names: Sequence[str]) -> Sequence[float | None]:
                where.append(threading.get_ident())
                return self.marks.look(names)

        auth = authenticator(store=Plain(), now=wall)
        async with serving(app, auth, line, mint_token()):
            await until(lambda: app.is_open and len(where) == 2)
            await anyio.to_thread.run_sync(auth.revoke_subject, "alice")
            await until(lambda: line.is_over)
        assert len(where) == 4  # who revokes a subject asks what mark there is
        assert threading.get_ident() not in where

    async def test_an_asynchronous_store_is_awaited(self, line: Line) -> None:
        class Waiting(WaitingStore):
            async def look(self, names: Sequence[str]) -> Sequence[float | None]:
                await checkpoint()
                return self.marks.look(names)

            async def put(self, name: str, at: float, until: float) -> None:
                await checkpoint()
                self.marks.put(name, at, until)

            def watch(
                self, names: Sequence[str], call: Callable[[], None]
            ) -> Callable[[], None]:
                return self.marks.watch(names, call)

        auth, app = authenticator(store=Waiting()), Listener()
        async with serving(app, auth, line, mint_token()):
            await until(lambda: app.is_open)
            await by_subject(auth)
            await until(lambda: line.is_over)

    async def test_a_store_that_cannot_be_watched_ends_nothing(
        self, wall: Clock, line: Line
    ) -> None:
        """What is open ends when its token expires."""

        class Silent:
            def __init__(self) -> None:
                marks = MemoryStore(wall)
                self.add, self.put, self.look = marks.add, marks.put, marks.look

        app = Listener()
        auth = authenticator(trusted(leeway=0), store=Silent(), now=wall)
        async with serving(app, auth, line, mint_token(exp=0.2)):
            await until(lambda: app.is_open)
            await anyio.wait_all_tasks_blocked()
            await by_subject(auth)
            await anyio.wait_all_tasks_blocked()
            assert not line.is_over
            wall.now += 1
            await until(lambda: line.is_over)

    async def test_the_log_says_where_and_why_and_no_secret(
        self,
        auth: Authenticator,
        line: Line,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        app, token = Listener(), mint_token()
        with caplog.at_level(logging.INFO, "jwt_middleware"):
            async with serving(app, auth, line, token):
                await until(lambda: app.is_open)
                await by_subject(auth)
        assert [record.getMessage() for record in caplog.records] == [
            "ended what was open at '/live': revoked"
        ]

    async def test_the_goodbye_is_said_before_the_app_is_seen_to_return(
        self, auth: Authenticator, line: Line
    ) -> None:
        """Else the server says its own: 1011, or nothing at all."""
        app, send = Listener(), line.send

        async def slow(message: Message) -> None:
            await checkpoint()  # as a server that drains its buffer
            await checkpoint()
            await send(message)

        line.send = slow  # type: ignore[method-assign]
        async with anyio.create_task_group() as group:

            async def serve() -> None:
                await call(app, auth, line, mint_token())
                sent.extend(line.sent)

            sent: list[Message] = []
            group.start_soon(serve)
            await until(lambda: app.is_open)
            await by_subject(auth)
            await until(lambda: sent)
        assert sent[-1] == GOODBYE[line.kind]


class TestExpired:
    """By the wall clock, with the leeway that a request would have."""

    async def test_it_ends_after_the_leeway_and_not_before(
        self, auth: Authenticator, store: Watched, wall: Clock, line: Line
    ) -> None:
        app = Listener()
        async with serving(app, auth, line, mint_token(exp=600)):
            await until(lambda: app.is_open)
            wall.now = NOW + 600 + LEEWAY_S - 0.1
            await ask_again(auth, store)
            assert not line.is_over
            wall.now = NOW + 600 + LEEWAY_S
            await until(lambda: line.is_over and app.heard)
        assert app.heard == [TOLD[line.kind]]

    async def test_a_timer_that_comes_early_comes_again(
        self, store: Watched, wall: Clock, line: Line
    ) -> None:
        """The wall clock stands still, so every timer comes too early."""
        auth, app = authenticator(trusted(leeway=0), store=store, now=wall), Listener()
        async with serving(app, auth, line, mint_token(exp=0.05)):
            await until(lambda: store.looks >= 5)
            assert app.is_open
            assert not line.is_over
            wall.now = NOW + 0.05
            await until(lambda: line.is_over)

    async def test_a_clock_that_is_put_back_neither_ends_nor_forgets(
        self, store: Watched, wall: Clock, line: Line
    ) -> None:
        auth, app = authenticator(trusted(leeway=0), store=store, now=wall), Listener()
        async with serving(app, auth, line, mint_token(exp=0.1)):
            await until(lambda: app.is_open and store.looks == 2)
            wall.now = NOW - 0.1
            await until(lambda: store.looks >= 4)
            assert not line.is_over
            wall.now = NOW + 0.1
            await until(lambda: line.is_over)

    async def test_it_needs_no_store(self, wall: Clock, line: Line) -> None:
        auth, app = authenticator(trusted(leeway=0), now=wall), Listener()
        async with serving(app, auth, line, mint_token(exp=0.1)):
            await until(lambda: app.is_open)
            wall.now += 0.1
            await until(lambda: line.is_over)


class Withdrawing:
    """An issuer that takes keys out of its set, and may be down."""

    def __init__(self) -> None:
        self.keys: Sequence[Key] = (SIGNING_KEY.public,)
        self.is_down = False
        self.asked = 0

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        self.asked += 1
        if self.is_down:
            raise OSError("no route to the issuer")
        return self.keys


class TestKeyWithdrawn:
    """At the next look, which comes within 30 seconds; here the clock stands still, so
    that one follows the other."""

    async def test_it_ends_with_the_key_that_signed_its_token(
        self, wall: Clock, line: Line
    ) -> None:
        issuer, app = Withdrawing(), Listener()
        auth = authenticator(trusted(keys=issuer, leeway=0), now=wall)
        async with serving(app, auth, line, mint_token(exp=0.05)):
            asked = issuer.asked
            await until(lambda: issuer.asked > asked + 1)
            assert not line.is_over
            issuer.keys = (Key.generate(kid="new").public,)
            await until(lambda: line.is_over and app.heard)
        assert app.heard == [TOLD[line.kind]]

    async def test_it_stays_open_while_nobody_can_say(
        self, wall: Clock, line: Line
    ) -> None:
        issuer, app = Withdrawing(), Listener()
        auth = authenticator(trusted(keys=issuer, leeway=0), now=wall)
        async with serving(app, auth, line, mint_token(exp=0.05)):
            await until(lambda: app.is_open)
            issuer.is_down, asked = True, issuer.asked
            await until(lambda: issuer.asked > asked)
            assert not line.is_over
            issuer.keys, issuer.is_down = (Key.generate(kid="new").public,), False
            await until(lambda: line.is_over and app.heard)
        assert app.heard == [TOLD[line.kind]]


class TestUnavailable:
    """Where nobody can say, what is open stays so, and the question is put again."""

    async def test_it_is_asked_again_until_there_is_an_answer(
        self, auth: Authenticator, store: Watched
    ) -> None:
        app, line = Listener(), Line("websocket")
        async with serving(app, auth, line, mint_token()):
            await until(lambda: app.is_open and store.looks == 2)
            store.is_down = True
            await by_subject(auth)
            await until(lambda: store.looks == 3)
            await until(lambda: store.looks == 4, 2 * SOON_S)
            assert not line.is_over
            store.is_down = False
            await until(lambda: line.is_over, 2 * SOON_S)

    async def test_it_expires_all_the_same(
        self, store: Watched, wall: Clock, line: Line
    ) -> None:
        auth, app = authenticator(trusted(leeway=0), store=store, now=wall), Listener()
        async with serving(app, auth, line, mint_token(exp=0.1)):
            await until(lambda: app.is_open)
            store.is_down = True
            wall.now += 0.1
            await until(lambda: line.is_over)

    async def test_an_answer_of_before_does_not_settle_a_question_of_after(
        self, wall: Clock
    ) -> None:
        """One look began before the mark and ends last; the one that the mark caused
        fails.  The question is still open, and is put again."""
        marks, app, asked = MemoryStore(wall), Listener(), 0
        answered, line = anyio.Event(), Line("websocket")

        class Slow:
            add, watch = marks.add, marks.watch

            async def put(self, name: str, at: float, until: float) -> None:
                marks.put(name, at, until)

            async def look(self, names: Sequence[str]) -> Sequence[float | None]:
                nonlocal asked
                asked += 1
                turn, found = asked, marks.look(names)
                if turn == 2:
                    await answered.wait()
                if turn == 3:
                    raise OSError("no route to the store")
                return found

        auth = authenticator(store=Slow(), now=wall)
        async with serving(app, auth, line, mint_token()):
            try:
                await until(lambda: app.is_open and asked == 2)
                await by_subject(auth)
                await until(lambda: asked == 3)
                await anyio.wait_all_tasks_blocked()
                answered.set()
                await until(lambda: line.is_over, 2 * SOON_S)
            finally:
                line.say(TOLD["websocket"])


class TestWhateverTheAppDoes:
    async def test_one_that_is_busy_is_told_later_and_the_client_now(
        self, auth: Authenticator, line: Line
    ) -> None:
        busy, heard = anyio.Event(), list[Message]()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            await busy.wait()
            heard.append(await receive())

        async with serving(app, auth, line, mint_token()):
            await until(lambda: line.is_opened)
            await by_subject(auth)
            await until(lambda: line.is_over)
            assert heard == []
            busy.set()
        assert heard == [TOLD[line.kind]]

    async def test_one_that_sends_to_a_deaf_client_is_told(
        self, auth: Authenticator, line: Line
    ) -> None:
        """And the client's goodbye does not wait for ever."""
        told: list[BaseException] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            line.stop_reading()
            try:
                await send(line.chunk)
            except OSError as error:
                told.append(error)

        async with serving(app, auth, line, mint_token()):
            await until(lambda: line.chunk in line.begun)
            await by_subject(auth)
            await until(lambda: told)
        assert not line.is_over

    async def test_what_it_sends_after_the_end_is_an_oserror(
        self, auth: Authenticator, line: Line
    ) -> None:
        """As the specification has it; each time."""
        failed: list[Exception] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            assert await receive() == TOLD[line.kind]
            for message in (line.chunk, line.chunk, GOODBYE[line.kind]):
                with pytest.raises(OSError, match="the token has ended") as caught:
                    await send(message)
                failed.append(caught.value)

        async with serving(app, auth, line, mint_token()):
            await until(lambda: line.is_opened)
            await by_subject(auth)
        assert len(failed) == 3
        assert line.sent[-1] == GOODBYE[line.kind]
        assert line.chunk not in line.sent

    async def test_one_that_does_not_listen_is_told_each_time(
        self, auth: Authenticator, line: Line
    ) -> None:
        heard: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            for _ in range(3):
                heard.append(await receive())

        async with serving(app, auth, line, mint_token()):
            await until(lambda: line.is_opened)
            await by_subject(auth)
        assert heard == [TOLD[line.kind]] * 3

    async def test_one_that_never_listens_leaves_others_their_turn(
        self, auth: Authenticator, line: Line
    ) -> None:
        """It asks on and on; a server's own receive would have it wait."""
        is_told, turns, receives = anyio.Event(), 0, 0

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal receives
            await open_up(scope, receive, send)
            await receive()
            is_told.set()
            while turns == 0 and receives < 10_000:
                receives += 1
                await receive()

        async with serving(app, auth, line, mint_token()):
            await until(lambda: line.is_opened)
            await by_subject(auth)
            await is_told.wait()
            turns += 1
        assert receives < 10_000

    async def test_one_that_had_closed_already_is_left_alone(
        self, auth: Authenticator, store: Watched, line: Line
    ) -> None:
        """A close of its own, or a response to its end: nothing is sent after it."""
        last: Message = {"type": "websocket.close", "code": 4000}
        if line.kind == "http":
            last = {"type": "http.response.body", "body": b"end"}
        received: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            await send(last)
            received.append(await receive())

        async with serving(app, auth, line, mint_token()):
            await until(lambda: last in line.sent)
            looks = store.looks
            await by_subject(auth)
            await until(lambda: store.looks > looks)
            await anyio.wait_all_tasks_blocked()
            assert received == []
            line.say({"type": f"{line.kind}.disconnect", "code": 4000})
        assert line.sent[-1] == last
        assert received == [{"type": f"{line.kind}.disconnect", "code": 4000}]

    async def test_what_it_raises_comes_out(
        self, auth: Authenticator, store: Watched, line: Line
    ) -> None:
        error = LookupError("of the app")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            raise error

        with pytest.raises(LookupError) as caught:
            await call(app, auth, line, mint_token())
        assert caught.value is error
        assert not store._watchers._calls
        assert not line.is_over

    async def test_a_cancellation_by_the_server_ends_it_and_leaves_nothing(
        self, auth: Authenticator, store: Watched, line: Line
    ) -> None:
        with anyio.move_on_after(0.05) as scope:
            await call(Listener(), auth, line, mint_token())
        assert scope.cancelled_caught
        assert not store._watchers._calls
        await by_subject(auth)
        await anyio.wait_all_tasks_blocked()
        assert not line.is_over

    async def test_a_client_that_left_is_told_of_as_the_server_tells(
        self, auth: Authenticator, store: Watched, line: Line
    ) -> None:
        app, left = Listener(), {"type": f"{line.kind}.disconnect", "code": 1001}
        async with serving(app, auth, line, mint_token()):
            await until(lambda: app.is_open)
            line.say(left)
        assert app.heard == [left]
        assert not store._watchers._calls
        await by_subject(auth)
        await anyio.wait_all_tasks_blocked()
        assert not line.is_over

    async def test_a_server_that_raises_at_the_goodbye_is_no_matter(
        self, auth: Authenticator, line: Line
    ) -> None:
        """It knows that the connection is gone; or a length was not reached."""
        app, refused = Listener(), list[Message]()
        send = line.send

        async def strict(message: Message) -> None:
            if message == GOODBYE[line.kind]:
                refused.append(message)
                raise RuntimeError("Response content shorter than Content-Length")
            await send(message)

        line.send = strict  # type: ignore[method-assign]
        async with serving(app, auth, line, mint_token()):
            await until(lambda: app.is_open)
            await by_subject(auth)
            await until(lambda: app.heard)
        assert refused == [GOODBYE[line.kind]]


class TestBeforeItIsOpen:
    async def test_a_websocket_that_was_not_accepted_is_closed(
        self, auth: Authenticator
    ) -> None:
        """Which the server answers by a 403; accepting it is too late."""
        line, connected, go_on = Line("websocket"), anyio.Event(), anyio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            connected.set()
            await go_on.wait()
            with pytest.raises(OSError, match="ended"):
                await send(ACCEPT)

        async with serving(app, auth, line, mint_token()):
            await connected.wait()
            await by_subject(auth)
            await until(lambda: line.is_over)
            go_on.set()
        assert line.sent == [GOODBYE["websocket"]]

    async def test_a_websocket_that_was_denied_is_not_closed(
        self, auth: Authenticator, store: Watched
    ) -> None:
        """The app answered it over http, to the end: a close is out of place."""
        line, leave = Line("websocket"), anyio.Event()
        start = {**START, "type": "websocket.http.response.start", "status": 404}
        body = {"type": "websocket.http.response.body", "body": b"no such room"}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(start)
            await send(body)
            await leave.wait()

        async with serving(app, auth, line, mint_token()):
            await until(lambda: body in line.sent)
            looks = store.looks
            await by_subject(auth)
            await until(lambda: store.looks > looks)
            await anyio.wait_all_tasks_blocked()
            leave.set()
        assert line.sent == [start, body]

    async def test_a_response_that_has_not_begun_ends_when_it_does(
        self, auth: Authenticator, store: Watched
    ) -> None:
        line, entered, go_on = Line("http"), anyio.Event(), anyio.Event()
        heard: list[Message] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            entered.set()
            await go_on.wait()
            await send(START)
            with pytest.raises(OSError, match="ended"):
                await send(line.chunk)
            heard.append(await receive())

        async with serving(app, auth, line, mint_token()):
            await entered.wait()
            await until(lambda: store.looks == 2)
            await by_subject(auth)
            await until(lambda: store.looks == 3)
            await anyio.wait_all_tasks_blocked()
            assert line.sent == []
            go_on.set()
        assert line.sent == [START, GOODBYE["http"]]
        assert heard == [TOLD["http"]]

    async def test_a_request_is_read_to_its_end_before_there_is_a_response(
        self, auth: Authenticator, store: Watched
    ) -> None:
        """Nothing is open that could be ended, so the upload goes on."""
        line, parts = Line("http"), list[Message]()
        last: Message = {"type": "http.request", "body": b"last", "more_body": False}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            parts.extend([await receive(), await receive()])

        async with serving(app, auth, line, mint_token()):
            await until(lambda: parts or store.looks == 2)
            await by_subject(auth)
            await until(lambda: store.looks == 3)
            await anyio.wait_all_tasks_blocked()
            line.say(last)
        assert parts == [FIRST["http"], last]

    async def test_a_download_is_cut_off_and_never_completed(
        self, auth: Authenticator, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its client sees an error: no last part, whatever the application does."""
        line, heard = Line("http"), list[Message]()
        await line.receive()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(DOWNLOAD)
            await send(line.chunk)
            heard.append(await receive())
            await send({"type": "http.response.body", "body": b""})

        with caplog.at_level(logging.INFO, "jwt_middleware"):
            async with serving(app, auth, line, mint_token()):
                await until(lambda: line.is_opened)
                await by_subject(auth)
        assert heard == [TOLD["http"]]
        assert line.sent == [DOWNLOAD, line.chunk]
        assert caplog.messages == ["ended what was open at '/live': revoked"]

    async def test_a_download_that_was_completed_is_left_alone(
        self, auth: Authenticator
    ) -> None:
        line = Line("http")

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(DOWNLOAD)
            await send(line.chunk)
            await send(WHOLE)
            await by_subject(auth)
            await anyio.wait_all_tasks_blocked()

        with anyio.fail_after(SOON_S):
            await call(app, auth, line, mint_token())
        assert line.sent == [DOWNLOAD, line.chunk, WHOLE]

    @pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # of trio
    @pytest.mark.parametrize("start", [START, DOWNLOAD], ids=["events", "download"])
    @pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
    @pytest.mark.parametrize("place", ["none", "inside", "outside"])
    async def test_a_stream_of_starlette_is_ended_without_an_error(
        self,
        auth: Authenticator,
        caplog: pytest.LogCaptureFixture,
        start: Message,
        spec_version: str,
        place: str,
    ) -> None:
        """Else the server would log a traceback for each."""
        line, events = Line("http"), [b"more"] * 1_000_000
        await line.receive()

        async def parts() -> AsyncIterator[bytes]:
            for part in events:
                yield part
                await checkpoint()

        async def endpoint(request: Request) -> Response:
            media_type = start["headers"][0][1].decode()
            return StreamingResponse(parts(), media_type=media_type)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await wrapped(scope, receive, send)

        wrapped: Any = request_response(endpoint)
        if place == "inside":
            wrapped = BaseHTTPMiddleware(wrapped, dispatch=pass_on)
        lock: Any = JWTMiddleware(app, auth, end_responses=True)
        if place == "outside":
            lock = BaseHTTPMiddleware(lock, dispatch=pass_on)
        headers = [(b"authorization", f"Bearer {mint_token()}".encode())]
        scope: Scope = {"type": "http", "method": "GET", "path": "/live"}
        scope.update(headers=headers, asgi={"spec_version": spec_version})
        with anyio.fail_after(SOON_S), caplog.at_level(logging.INFO, "jwt_middleware"):
            async with anyio.create_task_group() as group:
                group.start_soon(lock, scope, line.receive, line.send)
                await until(lambda: line.is_opened)
                await by_subject(auth)
        is_whole = line.sent[-1] == GOODBYE["http"]
        assert is_whole is (start is START or place == "outside")
        advised = "put it inside" in caplog.text
        assert advised is (start is DOWNLOAD and place == "outside")

    async def test_an_error_beside_the_end_comes_out(self, auth: Authenticator) -> None:
        line = Line("http")
        await line.receive()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(DOWNLOAD)
            await send(line.chunk)
            await receive()
            try:
                await send(line.chunk)
            except OSError as error:
                raise ExceptionGroup("both", [error, LookupError("mine")]) from None

        with pytest.RaisesGroup(OSError, LookupError, flatten_subgroups=True):
            async with serving(app, auth, line, mint_token()):
                await until(lambda: line.is_opened)
                await by_subject(auth)

    @pytest.mark.parametrize("length", [[], [(b"content-length", b"5")]])
    async def test_a_response_that_was_sent_in_one_is_left_alone(
        self, auth: Authenticator, length: list[tuple[bytes, bytes]]
    ) -> None:
        line = Line("http")
        start = {**START, "headers": length}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await send(start)
            await send(WHOLE)
            await by_subject(auth)
            await anyio.wait_all_tasks_blocked()

        with anyio.fail_after(SOON_S):
            await call(app, auth, line, mint_token())
        assert line.sent == [start, WHOLE]

    async def test_whoever_revokes_his_own_token_is_answered(
        self, auth: Authenticator, store: Watched
    ) -> None:
        """A logout: the response to it does not go on, it has a length."""
        line = Line("http")
        start = {**START, "headers": [(b"content-length", b"5")]}

        async def logout(scope: Scope, receive: Receive, send: Send) -> None:
            looks = store.looks
            await auth.arevoke(scope[KEY])
            await until(lambda: store.looks > looks)
            await send(start)
            await send(WHOLE)

        with anyio.fail_after(2 * SOON_S):
            await call(logout, auth, line, mint_token())
        assert line.sent == [start, WHOLE]


class TestMessages:
    """None is lost, none comes twice, none overtakes another."""

    COUNT = 1_000

    async def test_they_pass_in_order_while_others_are_revoked(
        self, auth: Authenticator, store: Watched
    ) -> None:
        line = Line("websocket")

        async def echo(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            while (message := await receive())["type"] != "websocket.disconnect":
                await send({"type": "websocket.send", "text": message["text"]})

        async with serving(echo, auth, line, mint_token()):
            for number in range(self.COUNT):
                line.say({"type": "websocket.receive", "text": str(number)})
                await auth.arevoke_jti(f"other {number}")
                await auth.arevoke_subject("alice", before=NOW - 1_000)
                if number % 7 == 0:
                    await checkpoint()
            line.say({"type": "websocket.disconnect", "code": 1000})
        texts = [message["text"] for message in line.sent[1:]]
        assert texts == [str(number) for number in range(self.COUNT)]
        assert store.looks > self.COUNT / 7

    async def test_a_receive_that_is_given_up_loses_none(
        self, auth: Authenticator
    ) -> None:
        """Apps look in between whether there is something else to do."""
        line, heard, given_up = Line("websocket"), list[str](), 0

        async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal given_up
            await open_up(scope, receive, send)
            while len(heard) < 300:
                try:
                    message = await in_time(receive)
                except TimeoutError:
                    given_up += 1
                else:
                    heard.append(message["text"])

        async with serving(impatient, auth, line, mint_token()):
            for number in range(300):
                line.say({"type": "websocket.receive", "text": str(number)})
                if number % 20 == 0:
                    await anyio.sleep(0.003)
        assert heard == [str(number) for number in range(300)]
        assert given_up > 0

    async def test_messages_of_before_the_end_are_heard_before_it(
        self, auth: Authenticator
    ) -> None:
        """Of those that the app has asked for in time."""
        line, heard = Line("websocket"), Listener()
        async with serving(heard, auth, line, mint_token()):
            await until(lambda: heard.is_open)
            for number in range(10):
                line.say({"type": "websocket.receive", "text": str(number)})
            await until(lambda: len(heard.heard) == 10)
            await by_subject(auth)
        assert [m.get("text") for m in heard.heard[:10]] == [str(n) for n in range(10)]
        assert heard.heard[10:] == [TOLD["websocket"]]

    async def test_two_tasks_may_send_and_receive_at_a_time(
        self, auth: Authenticator
    ) -> None:
        """One that waits for a deaf client keeps none from listening."""
        line, told = Line("websocket"), list[str]()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await open_up(scope, receive, send)
            line.stop_reading()

            async def push(name: str) -> None:
                with pytest.raises(OSError, match="ended"):
                    await send({"type": "websocket.send", "text": name})
                told.append(name)

            async with anyio.create_task_group() as group:
                group.start_soon(push, "a")
                group.start_soon(push, "b")
                while (await receive())["type"] != "websocket.disconnect":
                    told.append("heard")

        async with serving(app, auth, line, mint_token()):
            await until(lambda: len(line.begun) == 2)
            line.say({"type": "websocket.receive", "text": "hello"})
            await until(lambda: told == ["heard"])
            await by_subject(auth)
        assert sorted(told) == ["a", "b", "heard"]


async def in_time(receive: Receive) -> Message:
    """Receive, but give up soon; by asyncio's own means where that is the loop."""
    if not trio.lowlevel.in_trio_run():
        return await asyncio.wait_for(_as_coroutine(receive), 0.001)
    with anyio.fail_after(0.001):
        return await receive()


async def _as_coroutine(receive: Receive) -> Message:
    return await receive()


class TestPassing:
    """What the watching must not change."""

    async def test_the_app_runs_in_its_own_task_and_context(
        self, auth: Authenticator, line: Line
    ) -> None:
        mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark")
        mark.set("outer")
        seen: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            token = current_token()
            seen.extend([mark.get(), token is scope[KEY], token and token["sub"]])
            seen.append(anyio.get_current_task().id)

        await call(app, auth, line, mint_token())
        assert seen == ["outer", True, "alice", anyio.get_current_task().id]

    @pytest.mark.parametrize(
        ("path", "token"), [("/public", None), ("/public", "bad"), ("/optional", None)]
    )
    async def test_where_there_is_no_token_nothing_stands_between(
        self, line: Line, path: str, token: str | None
    ) -> None:
        rules = (Rule("/public", public=True), Rule("/optional", optional=True))
        await self.ensure_untouched(authenticator(rules=rules), line, path, token, True)

    async def test_a_response_passes_untouched_unless_it_was_asked_for(self) -> None:
        auth = authenticator()
        await self.ensure_untouched(auth, Line("http"), "/", mint_token(), False)

    @staticmethod
    async def ensure_untouched(
        auth: Authenticator, line: Line, path: str, token: str | None, ends: bool
    ) -> None:
        seen: list[Receive] = []
        sent: list[Message] = []
        message = {"type": f"{line.kind}.send", "text": "a", "body": b"a"}

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(receive)
            await send(message)

        async def receive() -> Message:
            return message

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
        scope = {"type": line.kind, "method": "GET", "path": path, "headers": headers}
        await JWTMiddleware(app, auth, end_responses=ends)(scope, receive, send)
        assert await seen[0]() is message
        assert sent[0] is message
        if line.kind == "http":  # of a WebSocket, the connect message is noted
            assert seen == [receive]

    async def test_the_lock_may_be_wrapped_twice(
        self, auth: Authenticator, line: Line
    ) -> None:
        """Both see the mark; the client is told once."""
        app = Listener()
        inner = JWTMiddleware(app, auth, end_responses=True)
        async with serving(inner, auth, line, mint_token()):
            await until(lambda: app.is_open)
            await by_subject(auth)
        assert app.heard == [TOLD[line.kind]]
        assert line.sent.count(GOODBYE[line.kind]) == 1

    async def test_nobody_watches_for_what_has_ended(
        self, auth: Authenticator, store: Watched, line: Line, anyio_backend: str
    ) -> None:
        before = tasks(anyio_backend)
        for _ in range(10):
            app, again = Listener(), Line(line.kind)
            async with serving(app, auth, again, mint_token()):
                await until(lambda app=app: app.is_open)  # type: ignore[misc]
                assert len(store._watchers._calls) == 2
                again.say({"type": f"{line.kind}.disconnect", "code": 1000})
        assert not store._watchers._calls
        await until(lambda: tasks(anyio_backend) <= before)


def test_the_option_is_a_flag() -> None:
    with pytest.raises(ValueError, match="end_responses"):
        JWTMiddleware(Listener(), authenticator(), end_responses="yes")  # type: ignore[arg-type]


def tasks(backend: str) -> int:
    if backend == "trio":
        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which takes most of the time of whoever opens
    much: it goes through all that is alive, again and again."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_thousands_of_idle_sockets_cost_nothing_but_memory(
    store: Watched, wall: Clock, anyio_backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No look while nothing is marked, and one mark on their subject ends them all."""
    lines, apps = [Line("websocket") for _ in range(MANY)], list[Listener]()
    key = Key.generate("HS256", kid="quick")
    auth = authenticator(trusted(keys=[key]), store=store, now=wall)
    token = mint_token(key=key)
    before, told = tasks(anyio_backend), list[Line]()

    async def serve(line: Line) -> None:
        apps.append(app := Listener())
        await call(app, auth, line, token)
        told.append(line)

    async with anyio.create_task_group() as group:
        pages = resident_pages()
        for line in lines:
            group.start_soon(serve, line)
        await until(lambda: all(app.is_open for app in apps), 30, every=0.2)
        await until(lambda: store.looks == 2 * MANY, 30, every=0.2)
        await anyio.wait_all_tasks_blocked()
        octets = (resident_pages() - pages) * resource.getpagesize()
        idle = time.process_time()
        await anyio.sleep(1)
        idle = time.process_time() - idle
        assert store.looks == 2 * MANY
        living = (tasks(anyio_backend) - before) / MANY
        begun = time.monotonic()
        await by_subject(auth)
        marked = time.monotonic() - begun
        await until(lambda: len(told) == MANY, 30, every=0.02)
        ended = time.monotonic() - begun
        await until(lambda: store.looks == 3 * MANY + 1, 30, every=0.02)
    with capsys.disabled():
        print(
            f"\n{anyio_backend}: {octets / MANY / 1024:.1f} KiB and {living:.0f} tasks "
            f"a socket; an idle second takes {idle:.3f} s; the mark takes {marked:.2f} "
            f"s, and all are told within {ended:.2f} s"
        )
    await anyio.wait_all_tasks_blocked()
    assert sum(line.is_over for line in lines) == MANY
    assert all(app.heard == [TOLD["websocket"]] for app in apps)
    assert store.looks == 3 * MANY + 1  # one was that of who revoked
    assert idle < 0.5
    assert not store._watchers._calls


async def test_what_the_app_has_closed_meanwhile_is_not_closed_again(
    auth: Authenticator,
) -> None:
    """While the goodbye was waiting for its turn."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "websocket", "path": "/"}
    token = await auth.aauthenticate(mint_token())
    ending = Ending(auth, token, scope, receive, send)
    await ending.send({"type": "websocket.close", "code": 1000})
    await ending._say_goodbye()
    assert [message["code"] for message in sent] == [1000]
