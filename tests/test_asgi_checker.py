"""The checker raises on every bug that is planted, and on nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from .asgi_checker import App, Message, Receive, Scope, Send, StrictASGI, Violation

OK = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": OK}
BODY: dict[str, Any] = {"type": "http.response.body", "body": b"ok"}
ACCEPT = {"type": "websocket.accept"}
CLOSE: dict[str, Any] = {"type": "websocket.close", "code": 1008}
DENIAL = [
    {**START, "type": "websocket.http.response.start", "status": 401},
    {**BODY, "type": "websocket.http.response.body"},
]
CONNECT = {"type": "websocket.connect"}
OFFER: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}


def start(*headers: Any, status: Any = 200) -> dict[str, Any]:
    return {**START, "status": status, "headers": list(headers)}


def sends(messages: Sequence[Any], receives: int = 0) -> App:
    """An app that receives so many messages, and then sends *messages*."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(receives):
            await receive()
        for message in messages:
            await send(message)

    return app


def check(app: App, scope: dict[str, Any], *incoming: Message) -> list[Message]:
    """Run *app* under the checker; return what got through."""
    sent: list[Message] = []
    waiting = list(incoming)

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(StrictASGI(app)(scope, receive, send))
    return sent


def http(method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": "/", "headers": [(b"a", b"b")]}


def websocket(**extra: Any) -> dict[str, Any]:
    return {"type": "websocket", "path": "/", "headers": [], **extra}


PLANTED_HTTP = {
    "name is str": ([start(("a", b"b")), BODY], "name is no bytes"),
    "value is str": ([start((b"a", "b")), BODY], "value is no bytes"),
    "name in upper case": ([start((b"Content-Type", b"b")), BODY], "not lower case"),
    "name with a colon": ([start((b"a:", b"b")), BODY], "not lower case"),
    "empty name": ([start((b"", b"b")), BODY], "not lower case"),
    "name with a line break": ([start((b"a\n", b"b")), BODY], "not lower case"),
    "CR LF in a value": ([start((b"a", b"b\r\nc: d")), BODY], "control character"),
    "LF in a value": ([start((b"a", b"b\n")), BODY], "control character"),
    "NUL in a value": ([start((b"a", b"\x00")), BODY], "control character"),
    "three parts": ([start((b"a", b"b", b"c")), BODY], "no pair"),
    "status is str": ([start(status="200"), BODY], "no status"),
    "status is bool": ([start(status=True), BODY], "no status"),
    "status is float": ([start(status=200.0), BODY], "no status"),
    "status of a pause": ([start(status=100), BODY], "no status"),
    "status of nothing": ([start(status=600), BODY], "no status"),
    "no status": ([{"type": "http.response.start"}, BODY], "no status"),
    "body before start": ([BODY], "http.response.body in state new"),
    "two starts": ([START, START], "start in state started"),
    "start after body": ([START, BODY, START], "start in state body"),
    "body after the end": ([START, BODY, BODY], "a body after the end"),
    "body is str": ([START, {**BODY, "body": "ok"}], "a body is no bytes"),
    "body is bytearray": ([START, {**BODY, "body": bytearray(b"ok")}], "is no bytes"),
    "length too big": (
        [start((b"content-length", b"3")), BODY],
        "content-length is not what was sent",
    ),
    "length too small": (
        [start((b"content-length", b"1")), BODY],
        "content-length is not what was sent",
    ),
    "length of a part": (
        [START, {**BODY, "more_body": True}, BODY],
        "content-length is not what was sent",
    ),
    "length twice": (
        [start((b"content-length", b"2"), (b"content-length", b"2")), BODY],
        "content-length stands twice",
    ),
    "length is no number": ([start((b"content-length", b"-2")), BODY], "no number"),
    "body on 204": ([start(status=204), BODY], "a body where none may be"),
    "body on 304": ([start(status=304), BODY], "a body where none may be"),
    "no response": ([], r"does not end \(state new\)"),
    "no body": ([START], r"does not end \(state started\)"),
    "no end": ([START, {**BODY, "more_body": True}], r"does not end \(state body\)"),
    "message of a websocket": ([ACCEPT], "websocket.accept in state new"),
    "unknown message": ([{"type": "http.response.push"}], "in state new"),
    "message without type": ([{}], "None in state new"),
    "message is no dict": ([[("type", "http.response.start")]], "no dict"),
}
PLANTED_WEBSOCKET = {
    # what is sent; how much is received before; what the server offers
    "accept before connect": ([ACCEPT], 0, OFFER, "accept in state new"),
    "close before connect": ([CLOSE], 0, OFFER, "close in state new"),
    "denial before connect": (DENIAL, 0, OFFER, "start in state new"),
    "denial that is not offered": (DENIAL, 1, {}, "denial not offered"),
    "denial, extensions None": (DENIAL, 1, {"extensions": None}, "not offered"),
    "denial after accept": ([ACCEPT, *DENIAL], 1, OFFER, "start in state open"),
    "denial without end": (DENIAL[:1], 1, OFFER, r"does not end \(state denying\)"),
    "denial with a str": (
        [{**DENIAL[0], "headers": [(b"a", "b")]}, DENIAL[1]],
        1,
        OFFER,
        "value is no bytes",
    ),
    "denial of another length": (
        [DENIAL[0], {**DENIAL[1], "body": b"no"[:1]}],
        1,
        OFFER,
        "content-length is not what was sent",
    ),
    "close and denial": ([CLOSE, *DENIAL], 1, OFFER, "start in state done"),
    "close twice": ([CLOSE, CLOSE], 1, OFFER, "close in state done"),
    "accept twice": ([ACCEPT, ACCEPT], 1, OFFER, "accept in state open"),
    "accept after close": ([CLOSE, ACCEPT], 1, OFFER, "accept in state done"),
    "code is str": ([{**CLOSE, "code": "1008"}], 1, OFFER, "close code is no int"),
    "plain response": ([START, BODY], 1, OFFER, "in state connecting"),
    "no answer": ([], 1, OFFER, r"does not end \(state connecting\)"),
}


@pytest.mark.parametrize(
    ("messages", "text"), PLANTED_HTTP.values(), ids=list(PLANTED_HTTP)
)
def test_a_bug_in_a_response_is_found(messages: list[Any], text: str) -> None:
    with pytest.raises(Violation, match=text):
        check(sends(messages), http())


def test_a_body_on_head_is_found() -> None:
    with pytest.raises(Violation, match="a body where none may be"):
        check(sends([START, BODY]), http("HEAD"))


@pytest.mark.parametrize(
    ("messages", "receives", "offer", "text"),
    PLANTED_WEBSOCKET.values(),
    ids=list(PLANTED_WEBSOCKET),
)
def test_a_bug_in_a_handshake_is_found(
    messages: list[Any], receives: int, offer: dict[str, Any], text: str
) -> None:
    with pytest.raises(Violation, match=text):
        check(sends(messages, receives), websocket(**offer), CONNECT)


def test_a_message_that_breaks_a_rule_does_not_reach_the_server() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is received")

    with pytest.raises(Violation):
        asyncio.run(StrictASGI(sends([START, START]))(http(), receive, send))
    assert sent == [START]


def added(scope: Scope) -> None:
    scope["session"] = "alice"


def removed(scope: Scope) -> None:
    del scope["path"]


def changed(scope: Scope) -> None:
    scope["path"] = "/other"


def replaced(scope: Scope) -> None:
    scope["headers"] = list(scope["headers"])


def appended(scope: Scope) -> None:
    scope["headers"].append((b"x", b"y"))


def emptied(scope: Scope) -> None:
    scope["headers"].clear()


@pytest.mark.parametrize(
    "change", [added, removed, changed, replaced, appended, emptied]
)
def test_a_change_of_the_callers_scope_is_found(change: Any) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        change(scope)
        await sends([START, BODY])(scope, receive, send)

    with pytest.raises(Violation, match=r"scope|headers were changed"):
        check(app, http())


PARTS = [
    start((b"x", b"caf\xe9\t"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")),
    {"type": "http.response.body", "body": b"a", "more_body": True},
    {"type": "http.response.body", "more_body": True},
    {"type": "http.response.body"},
]


@pytest.mark.parametrize(
    ("method", "messages"),
    [
        ("GET", [START, BODY]),
        ("POST", [{"type": "http.response.start", "status": 599}, BODY]),
        ("HEAD", [START, {**BODY, "body": b""}]),
        ("GET", [start(status=204), {"type": "http.response.body"}]),
        ("GET", [start((b"content-length", b"9"), status=304), {**BODY, "body": b""}]),
        ("GET", PARTS),
        ("GET", [start(), {**BODY, "more_body": True}, BODY]),
        (
            "GET",
            [START, {**BODY, "body": b"o", "more_body": True}, {**BODY, "body": b"k"}],
        ),
    ],
)
def test_a_correct_response_passes_untouched(
    method: str, messages: list[dict[str, Any]]
) -> None:
    assert check(sends(messages), http(method)) == messages


@pytest.mark.parametrize(
    ("messages", "offer"),
    [
        ([ACCEPT], {}),
        ([ACCEPT, {"type": "websocket.send", "text": "hello"}, CLOSE], OFFER),
        ([{**ACCEPT, "subprotocol": "chat"}, {"type": "websocket.close"}], {}),
        ([CLOSE], {}),
        ([CLOSE], OFFER),
        (DENIAL, OFFER),
        (
            [
                DENIAL[0],
                {**DENIAL[1], "body": b"o", "more_body": True},
                {**DENIAL[1], "body": b"k"},
            ],
            OFFER,
        ),
    ],
)
def test_a_correct_handshake_passes_untouched(
    messages: list[dict[str, Any]], offer: dict[str, Any]
) -> None:
    assert check(sends(messages, receives=1), websocket(**offer), CONNECT) == messages


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_who_hears_that_the_client_left_need_not_answer(kind: str) -> None:
    scope = http() if kind == "http" else websocket()
    assert check(sends([], receives=1), scope, {"type": f"{kind}.disconnect"}) == []


def test_lifespan_passes_untouched() -> None:
    """Its state is there to be filled."""
    state: dict[str, Any] = {}
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {}, "state": state}
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    done = [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in done:
            await receive()
            scope["state"]["is_open"] = True
            await send(message)

    assert check(app, scope, *events) == done
    assert state == {"is_open": True}


def test_what_the_app_raises_comes_out() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("in the app")

    with pytest.raises(LookupError, match="in the app"):
        check(app, http())


def test_headers_may_be_any_iterable() -> None:
    """One that can be read once is not read by the checker."""
    scope = {**http(), "headers": iter([(b"a", b"b")])}
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend(scope["headers"])
        await sends([START, BODY])(scope, receive, send)

    check(app, scope)
    assert seen == [(b"a", b"b")]
