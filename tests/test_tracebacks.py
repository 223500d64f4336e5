"""No exception that reaches an application shows a token in its frames."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

import pytest

from jwt_middleware import (
    Authenticator,
    AuthError,
    BearerHeader,
    Key,
    MemoryStore,
    SessionCookies,
    TokenIssuer,
    asgi,
    wsgi,
)
from jwt_middleware.errors import KeysUnavailable
from jwt_middleware.grants import FORM, read_refresh_request
from jwt_middleware.jose import verify_compact

from .conftest import (
    ISSUER,
    NOW,
    SIGNING_KEY,
    SentRequest,
    authenticator,
    clock,
    mint_token,
    sign,
    trusted,
)
from .test_inner_errors import WSGIServer, environ_of

PACKAGE = "jwt_middleware"
OTHER_KEY = Key.generate("ES256", kid="k1")


class Broken:
    """A store and a source of keys that cannot be reached."""

    def add(self, name: str, at: float, until: float) -> bool:
        raise OSError("no store")

    def put(self, name: str, at: float, until: float) -> None:
        raise OSError("no store")

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        raise OSError("no store")

    async def resolve(self, header: Any) -> Sequence[Key]:
        raise OSError("no keys")


def revoked() -> Authenticator:
    auth = authenticator(store=MemoryStore(clock))
    auth.revoke(mint_token())
    return auth


def slow() -> Authenticator:
    """An issuer whose signatures are checked in a thread."""
    return authenticator(trusted(keys=[SLOW_KEY]))


SLOW_KEY = Key.generate("ES384", kid="k1")
Case = tuple[str, Callable[[], str], Callable[[], Authenticator]]
CASES: tuple[Case, ...] = (
    ("malformed", lambda: "tökén" * 9, authenticator),
    ("malformed", lambda: "x" * 13000, authenticator),
    ("malformed", lambda: mint_token() + "!", authenticator),
    ("malformed", lambda: sign(b"[" * 99, b"{}"), authenticator),
    ("malformed", lambda: sign({"alg": "ES256"}, b'{"a":NaN}'), authenticator),
    ("malformed", lambda: sign({"alg": "ES256"}, b'{"a":"\\ud800"}'), authenticator),
    ("malformed", lambda: sign({"alg": "ES256"}, b"\xff{}"), authenticator),
    ("unknown_issuer", lambda: mint_token(iss="https://b.example"), authenticator),
    ("unknown_key", lambda: mint_token(header={"kid": "k9"}), authenticator),
    ("bad_signature", lambda: mint_token(key=OTHER_KEY), authenticator),
    ("bad_signature", lambda: mint_token(key=SLOW_KEY)[:-9] + "A" * 9, slow),
    ("wrong_type", lambda: mint_token(header={"typ": "logout+jwt"}), authenticator),
    ("wrong_audience", lambda: mint_token(aud="b"), authenticator),
    ("claim_missing", lambda: mint_token(exp=None), authenticator),
    ("claim_invalid", lambda: mint_token(sub=7), authenticator),
    ("expired", lambda: mint_token(exp=-600), authenticator),
    ("not_yet_valid", lambda: mint_token(nbf=300), authenticator),
    ("lifetime_exceeded", lambda: mint_token(exp=9e6), authenticator),
    ("revoked", mint_token, revoked),
    ("sender_constrained", lambda: mint_token(cnf={"jkt": "x"}), authenticator),
    ("keys_unavailable", mint_token, lambda: authenticator(trusted(keys=Broken()))),
    ("revocations_unavailable", mint_token, lambda: authenticator(store=Broken())),
)
IDS = [f"{number} {case[0]}" for number, case in enumerate(CASES)]


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and everything that it came from."""
    found, seen = [error], set[int]()
    while found:
        one = found.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            found += [one.__cause__, one.__context__]


def frames(error: BaseException) -> Iterator[FrameType]:
    for one in chain(error):
        traceback = one.__traceback__
        while traceback is not None:
            yield traceback.tb_frame
            traceback = traceback.tb_next


def assert_hidden(error: BaseException, text: str, *, whose: str = "") -> None:
    """Assert that *error* shows nothing of *text*, in the frames of *whose*."""
    secrets = {part for part in (text, *text.split(".")[1:]) if len(part) > 20}
    assert secrets
    for one in chain(error):
        assert not any(secret in repr(one) for secret in secrets)
    for frame in frames(error):
        if not frame.f_globals["__name__"].startswith(whose):
            continue
        for name, value in frame.f_locals.items():
            held = f"{value!r} {value}"
            where = f"{frame.f_code.co_qualname}: {name}"
            assert not any(secret in held for secret in secrets), where


def caught(call: Callable[[str], Any], held: list[str]) -> BaseException:
    """What *call* raises of the text in *held*, which no frame of the test holds."""
    with pytest.raises((AuthError, RuntimeError, ValueError)) as info:
        call(held.pop())
    return info.value


async def acaught(call: Callable[[str], Any], held: list[str]) -> BaseException:
    with pytest.raises((AuthError, RuntimeError, ValueError)) as info:
        await call(held.pop())
    return info.value


@pytest.mark.parametrize(("reason", "make", "build"), CASES, ids=IDS)
def test_authenticate_shows_no_token(
    reason: str, make: Callable[[], str], build: Callable[[], Authenticator]
) -> None:
    text, auth = make(), build()
    held = [text]
    error = caught(auth.authenticate, held)
    assert getattr(error, "reason", None) == reason
    assert_hidden(error, text)
    error = asyncio.run(acaught(auth.aauthenticate, [text]))
    assert getattr(error, "reason", None) == reason
    assert_hidden(error, text)


@pytest.mark.parametrize("make", [case[1] for case in CASES[:8]], ids=IDS[:8])
def test_revoke_and_the_signature_layer_show_no_token(make: Callable[[], str]) -> None:
    text, auth = make(), authenticator(store=MemoryStore(clock))
    assert_hidden(caught(auth.revoke, [text]), text)
    assert_hidden(asyncio.run(acaught(auth.arevoke, [text])), text)
    check = partial(verify_compact, keys=[Key.generate("ES256", kid="k1")])
    assert_hidden(caught(check, [text]), text)


def test_a_cause_stays_and_tells_what_failed() -> None:
    auth = authenticator(trusted(keys=Broken()))
    error = caught(auth.authenticate, [mint_token()])
    assert isinstance(error, KeysUnavailable)
    assert isinstance(error.__cause__, OSError)
    names = [frame.f_code.co_name for frame in frames(error.__cause__)]
    assert names == ["resolve"]  # the application's own frame


def test_what_the_application_was_handling_stays() -> None:
    auth, held = authenticator(), ["ö" * 30]
    broken = authenticator(trusted(keys=Broken()))
    try:
        raise KeyError("of the application")
    except KeyError as own:
        error = caught(auth.authenticate, held)
        failed = caught(broken.authenticate, [mint_token()])
        handled = own
    assert error.__context__ is failed.__context__ is handled
    assert handled.__traceback__ is not None
    assert_hidden(error, "ö" * 30)


def test_a_call_that_would_stop_the_loop_shows_no_token() -> None:
    class Waiting(Broken):
        def look(self, names: Sequence[str]) -> Sequence[float | None]:
            return [None for _ in names]

    text, auth = mint_token(), authenticator(store=Waiting())

    async def call() -> BaseException:
        return caught(auth.authenticate, [text])

    error = asyncio.run(call())
    assert "await aauthenticate" in str(error)
    assert_hidden(error, text)


def sessions() -> tuple[TokenIssuer, str]:
    store = MemoryStore(clock)
    issuer = TokenIssuer(ISSUER, audience="a", key=SIGNING_KEY, store=store, now=clock)
    text = issuer.issue("alice").refresh_token
    assert text is not None
    return issuer, text


def test_refresh_and_the_end_of_a_session_show_no_token() -> None:
    issuer, text = sessions()
    forged = text[:-20] + "A" * 20
    for bad in (forged, forged + "ö", mint_token()):
        for call in (issuer.refresh, issuer.end_session):
            assert_hidden(caught(call, [bad]), bad)
        waiting: Any = (issuer.arefresh, issuer.aend_session, issuer.aend_session_by)
        for acall in (*waiting, issuer.apeek, issuer.arenew):
            assert_hidden(asyncio.run(acaught(acall, [bad])), bad)
    issuer.refresh(text)
    assert_hidden(caught(issuer.refresh, [text]), text)  # it was used before
    body = b"grant_type=x&a=\xff" + text.encode()
    for kind in ("text/x", FORM):
        held: Any = [body]
        assert_hidden(caught(partial(read_refresh_request, kind), held), text)


def test_session_cookies_show_no_token() -> None:
    issuer, text = sessions()
    cookies = SessionCookies(issuer)
    for value in (text[:-20] + "A" * 20, f"{text}; __Secure-refresh={text}x"):
        request = request_of(f"__Secure-refresh={value}")
        with pytest.raises(AuthError) as info:
            cookies.refresh(request)
        assert_hidden(info.value, text, whose=PACKAGE)
        with pytest.raises(AuthError) as info:
            asyncio.run(cookies.arefresh(request))
        assert_hidden(info.value, text, whose=PACKAGE)
    long = issuer.issue("alice", groups=["g" * 90] * 40)
    with pytest.raises(ValueError, match="4096") as too_long:
        cookies.write(long)
    assert_hidden(too_long.value, long.access_token, whose=PACKAGE)


def test_a_token_that_is_too_long_is_not_shown() -> None:
    issuer, _ = sessions()
    secret = "a claim that nobody else may know"
    claims: Any = {"note": secret + "x" * 20_000}
    calls: Any = (
        lambda: issuer.issue("alice", **claims),
        lambda: asyncio.run(issuer.aissue("alice", **claims)),
    )
    for call in calls:
        with pytest.raises(ValueError, match="characters") as info:
            call()
        names = [f.f_code.co_name for f in frames(info.value) if is_of_package(f)]
        assert names == []


def is_of_package(frame: FrameType) -> bool:
    name: str = frame.f_globals["__name__"]
    return name.partition(".")[0] == PACKAGE


def request_of(cookie: str) -> SentRequest:
    headers = {"cookie": (cookie,)}
    return SentRequest("POST", "https", "/", lambda name: headers.get(name, ()))


def test_the_wsgi_middleware_shows_no_token() -> None:
    """Of an AuthError that the server gets, since the answer has begun."""
    text, refused = mint_token(), mint_token(exp=-600)

    def begun(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"begun")
        authenticator().authenticate(refused)
        raise AssertionError

    def streamed(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])(b"begun")
        yield b""
        authenticator().authenticate(refused)

    for app in (begun, streamed):
        server = WSGIServer()
        guarded: Any = wsgi.JWTMiddleware(app, authenticator())
        with pytest.raises(AuthError) as info:
            server.write(b"".join(guarded(environ_of(text), server.start)))
        assert_hidden(info.value, text, whose=PACKAGE)
        names = [frame.f_code.co_name for frame in frames(info.value)]
        assert app.__name__ in names  # the application's own frames stay


def test_the_asgi_middleware_shows_no_token() -> None:
    text, refused = mint_token(), mint_token(exp=-600)

    async def begun(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await authenticator().aauthenticate(refused)

    async def send(message: Any) -> None: ...

    auth = authenticator(store=MemoryStore(clock))
    guarded = asgi.JWTMiddleware(begun, auth, end_responses=True)
    headers = [(b"authorization", f"Bearer {text}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    with pytest.raises(AuthError) as info:
        asyncio.run(guarded(scope, send, send))  # type: ignore[arg-type]
    assert_hidden(info.value, text, whose=PACKAGE)
    assert "begun" in [frame.f_code.co_name for frame in frames(info.value)]


def test_flask_shows_no_token() -> None:
    from flask import Flask

    from jwt_middleware import flask as ours

    app, text = Flask("shows_no_token"), mint_token()
    ours.init_app(app, authenticator())
    guarded, server = app.wsgi_app, WSGIServer()

    def begun(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"begun")
        raise KeysUnavailable("of an inner middleware")

    guarded.app = begun  # type: ignore[attr-defined]
    with pytest.raises(AuthError) as info:
        guarded(environ_of(text), server.start)
    assert_hidden(info.value, text, whose=PACKAGE)
    with app.test_request_context("/", headers={"Authorization": f"Bearer {text}"}):
        with pytest.raises(AuthError) as info:
            ours.require_token()
        assert_hidden(info.value, text, whose=PACKAGE)


def test_starlette_shows_no_token() -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request

    from jwt_middleware import starlette as ours

    text = mint_token()
    headers = [(b"authorization", f"Bearer {text}".encode())]
    scope = {"type": "http", "headers": headers, "jwt_middleware.token": None}
    with pytest.raises(AuthError) as info:
        ours.require_token(Request(scope))
    assert_hidden(info.value, text, whose=PACKAGE)

    async def begun(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeysUnavailable("of an inner middleware")

    async def send(message: Any) -> None: ...

    app = Starlette()
    app.add_middleware(lambda app: begun)
    ours.init_app(app, authenticator())
    served = {**scope, "method": "GET", "path": "/", "query_string": b""}
    with pytest.raises(AuthError) as info:
        asyncio.run(app(served, send, send))  # type: ignore[arg-type]
    assert_hidden(info.value, text, whose=PACKAGE)


def test_the_reason_is_logged_as_before(caplog: Any) -> None:
    server = WSGIServer()
    guarded: Any = wsgi.JWTMiddleware(lambda *_: [], authenticator())
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        guarded(environ_of(mint_token(exp=-600)), server.start)
    assert f"expired: exp is {NOW - 600}, now is {NOW}" in caplog.text
    assert not any(record.exc_info for record in caplog.records)


def test_an_error_that_nobody_meant_keeps_its_frames() -> None:
    class Bug(BearerHeader):
        pass

    auth = authenticator()
    auth._verifier = None  # type: ignore[assignment]
    with pytest.raises(AttributeError) as info:
        auth.authenticate("x" * 30)
    assert "aauthenticate" in [frame.f_code.co_name for frame in frames(info.value)]
