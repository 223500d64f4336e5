"""A session that goes on inside a request: once, and only where all is well."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import Key, MemoryStore, Rule
from jwt_middleware.asgi import JWTMiddleware as ASGIMiddleware
from jwt_middleware.errors import InsufficientScope
from jwt_middleware.redis import RedisStore
from jwt_middleware.request import Request
from jwt_middleware.session_cookies import SessionCookies
from jwt_middleware.sqlite import SQLiteStore
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .asgi_checker import StrictASGI
from .children import THREADS, at_once
from .conftest import NOW, SentRequest, authenticator
from .doors import Answer, ASGIDoor, Door, Headers, WSGIDoor
from .redis_server import RedisServer, eventually
from .store_suite import Clock, WaitingStore
from .test_session_cookies import (
    ACCESS,
    EXPIRED_S,
    KEY,
    NAVIGATIONS,
    URL,
    Handler,
    Jar,
    Site,
    environ_of,
    jar_of,
    set_by,
    visit,
    visit_asgi,
)
from .test_set_cookie import attributes_of

REFRESH = "__Host-refresh"
OTHER_PAGE: Headers = [("Sec-Fetch-Site", "cross-site")]
OWN_PAGE: Headers = [("Sec-Fetch-Site", "same-origin")]
OPEN = "http.response.start"


def renewing(door: Door, store: Any = None, **options: Any) -> Site:
    """A site that renews sessions inside requests."""
    issuer = {"reuse_leeway": 10, **options.pop("issuer", {})}
    return Site(door, store, issuer=issuer, transparent=True, **options)


@pytest.fixture
def site(door: Door) -> Site:
    return renewing(door)


def say(status: int = 200, *headers: tuple[str, str]) -> Handler:
    """An application that says so, whatever it is asked."""
    return lambda request: (status, headers)


def expired(site: Site, **claims: Any) -> tuple[Any, Jar]:
    """A session of which the access token has expired, and its cookies."""
    pair, jar = site.log_in(**claims)
    site.wall.now += EXPIRED_S
    return pair, jar


def refresh_of(answer: Answer) -> str | None:
    return dict(jar_of(set_by(answer))).get(REFRESH)


def ensure_untouched(answer: Answer, site: Site, pair: Any) -> None:
    """No new cookies came, and the refresh token still works when no race is meant."""
    assert jar_of(set_by(answer)) == []
    assert site.still_refreshes(pair)


# It goes on


def test_a_session_goes_on_inside_the_request_that_shows_its_end(site: Site) -> None:
    pair, jar = expired(site, scope="read", name="Alice")
    answer = site.door.get(cookies=jar)
    assert answer.status == 200
    token = answer.token
    assert token is not None
    assert token is answer.current
    assert (token["sub"], token["name"], token["scope"]) == ("alice", "Alice", "read")
    assert token["sid"] == pair.session_id
    assert token.expires_at == site.wall.now + 600
    lines = set_by(answer)
    assert [line.partition("=")[0] for line in lines] == [ACCESS, REFRESH]
    for line in lines:
        assert attributes_of(line)["max-age"] == str(28800 - EXPIRED_S)
        assert {"secure", "httponly"} < attributes_of(line).keys()
    newer = jar_of(lines)
    assert {v for _, v in newer}.isdisjoint({v for _, v in jar})
    again = site.door.get(cookies=newer)
    assert (again.status, set_by(again)) == (200, []), "nothing to renew yet"
    site.wall.now += EXPIRED_S
    third = site.door.get(cookies=newer)
    assert (third.status, len(set_by(third))) == (200, 2)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "QUERY"])
def test_it_goes_on_in_any_request_of_the_owner(site: Site, method: str) -> None:
    _, jar = expired(site)
    answer = site.door.request(method, cookies=jar, headers=OWN_PAGE)
    assert (answer.status, len(jar_of(set_by(answer)))) == (200, 2)


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 302, 303, 304, 307, 399])
def test_it_goes_on_with_every_answer_that_is_no_error(site: Site, status: int) -> None:
    _, jar = expired(site)

    def handle(request: Request) -> tuple[int, Headers]:
        return status, [("X-A", "b"), ("Set-Cookie", "theme=dark")]

    answer = visit_bodiless(site, handle, jar)
    assert answer.status == status
    assert answer.header("x-a") == "b"
    assert set_by(answer)[0] == "theme=dark"
    assert [name for name, _ in jar_of(set_by(answer))] == ["theme", ACCESS, REFRESH]


def visit_bodiless(site: Site, handler: Handler, jar: Jar) -> Answer:
    """Without the checkers' rule on bodies, since some of these statuses have none."""
    if isinstance(site.door, WSGIDoor):
        started: list[tuple[str, Headers]] = []

        def app(environ: Any, start_response: Any) -> list[bytes]:
            status, headers = handler(SentRequest("GET", "https", "/", lambda name: ()))
            start_response(f"{status} Said", list(headers))
            return []

        def start(status: str, headers: Any, *_: Any) -> Any:
            assert type(headers) is list, "PEP 3333"
            started.append((status, headers))

        listed = [("Cookie", "; ".join(f"{n}={v}" for n, v in jar))]
        WSGIMiddleware(app, site.auth)(environ_of("GET", "/", listed), start)
        ((status, headers),) = started
        named = tuple((name.lower(), value) for name, value in headers)
        return Answer(int(status[:3]), named, b"", entered=True)

    async def app_of_asgi(scope: Any, receive: Any, send: Any) -> None:
        status, headers = handler(SentRequest("GET", "https", "/", lambda name: ()))
        octets = [(n.lower().encode(), v.encode()) for n, v in headers]
        await send({"type": OPEN, "status": status, "headers": octets})
        await send({"type": "http.response.body"})

    sent = call_asgi(site, app_of_asgi, jar)
    named = tuple((n.decode(), v.decode()) for n, v in sent[0]["headers"])
    return Answer(sent[0]["status"], named, b"", entered=True)


def call_asgi(site: Site, app: Any, jar: Jar) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    listed = [("Cookie", "; ".join(f"{n}={v}" for n, v in jar))]
    scope = ASGIDoor.scope("http", "/", "/", listed, "https", "", "")
    guarded = StrictASGI(ASGIMiddleware(StrictASGI(app), site.auth))
    asyncio.run(guarded(scope | {"method": "GET"}, receive, send))
    return sent


@pytest.mark.parametrize(
    "said",
    [
        [],
        [("Cache-Control", "public, max-age=3600")],
        [("cache-control", "max-age=1"), ("CACHE-CONTROL", "immutable")],
        [("CDN-Cache-Control", "max-age=60")],
        [("Cloudflare-CDN-Cache-Control", "max-age=60"), ("Cache-Control", "private")],
    ],
)
def test_no_cache_keeps_the_new_cookies(site: Site, said: Headers) -> None:
    """Whatever the application said: it knew of no cookies.  RFC 9213."""
    _, jar = expired(site)
    answer = visit(site.door, say(200, ("ETag", '"x"'), *said), cookies=jar)
    assert answer.header("cache-control") == "no-store"
    assert [n for n, _ in answer.headers if n.endswith("-cache-control")] == []
    assert answer.header("etag") == '"x"'
    assert len(set_by(answer)) == 2


def test_what_the_application_says_of_caches_holds_otherwise(site: Site) -> None:
    _, jar = site.log_in()
    said = ("Cache-Control", "max-age=3600"), ("CDN-Cache-Control", "max-age=60")
    answer = visit(site.door, say(200, *said), cookies=jar)
    assert answer.header("cache-control") == "max-age=3600"
    assert answer.header("cdn-cache-control") == "max-age=60"


def test_it_goes_on_where_a_token_is_optional_and_not_where_it_is_not_read(
    door: Door,
) -> None:
    rules = (Rule("/optional", optional=True), Rule("/public", public=True))
    site = renewing(door, rules=rules)
    _, jar = expired(site)
    public = site.door.get("/public", cookies=jar)
    assert (public.status, public.token, set_by(public)) == (200, None, [])
    optional = site.door.get("/optional", cookies=jar)
    assert optional.token is not None
    assert len(set_by(optional)) == 2


# Never unasked


def test_it_has_to_be_asked_for(door: Door) -> None:
    site = Site(door, issuer={"reuse_leeway": 10}, refresh=REFRESH, path="/")
    pair, jar = expired(site)
    answer = site.door.get(cookies=jar)
    assert (answer.status, answer.entered) == (401, False)
    ensure_untouched(answer, site, pair)


def test_a_header_is_never_renewed(site: Site) -> None:
    """A browser does not send it by itself, so the cookie is not its sender's."""
    pair, jar = expired(site)
    answer = site.door.get(bearer=pair.access_token, cookies=[jar[1]])
    assert (answer.status, answer.entered) == (401, False)
    ensure_untouched(answer, site, pair)


def test_a_header_beside_the_cookie_is_one_too_many(site: Site) -> None:
    pair, jar = expired(site)
    answer = site.door.get(bearer=pair.access_token, cookies=jar)
    assert answer.status == 400
    ensure_untouched(answer, site, pair)


@pytest.mark.parametrize("refresh", ["", "x", "a.b.c", "access", "none"])
def test_without_a_good_refresh_cookie_it_has_expired(site: Site, refresh: str) -> None:
    pair, jar = expired(site)
    text = pair.access_token if refresh == "access" else refresh
    cookies = [jar[0]] if refresh == "none" else [jar[0], (REFRESH, text)]
    answer = site.door.get(cookies=cookies)
    assert (answer.status, answer.entered) == (401, False)
    assert answer.json["error_description"] == "The access token expired."
    ensure_untouched(answer, site, pair)


def test_a_refresh_cookie_alone_is_no_session(site: Site) -> None:
    pair, jar = expired(site)
    answer = site.door.get(cookies=[jar[1]])
    assert (answer.status, answer.json.get("error")) == (401, None)
    ensure_untouched(answer, site, pair)


def test_two_refresh_cookies_renew_nothing(site: Site) -> None:
    """CK-8: a sibling domain can add one."""
    (pair, jar), (theirs, other) = site.log_in(), site.log_in("mallory")
    site.wall.now += EXPIRED_S
    for cookies in ([*jar, other[1]], [jar[0], other[1], jar[1]]):
        answer = site.door.get(cookies=cookies)
        assert (answer.status, answer.entered) == (400, False)
    ensure_untouched(answer, site, pair)
    assert site.still_refreshes(theirs)


@pytest.mark.parametrize("name", ["__host-refresh", "__HOST-REFRESH", "refresh"])
def test_another_cookie_renews_nothing(site: Site, name: str) -> None:
    """CK-9."""
    pair, jar = expired(site)
    answer = site.door.get(cookies=[jar[0], (name, jar[1][1])])
    assert answer.status == 401
    ensure_untouched(answer, site, pair)


# Never for what is over


@pytest.mark.parametrize("by", ["session", "subject", "logout", "time"])
def test_a_session_that_is_over_does_not_go_on(site: Site, by: str) -> None:
    pair, jar = site.log_in()
    if by == "session":
        site.auth.revoke_session(pair.session_id)
    elif by == "subject":
        site.auth.revoke_subject("alice")
    elif by == "logout":
        site.issuer.end_session(pair.refresh_token or "")
    site.wall.now += 28800 if by == "time" else EXPIRED_S
    answer = site.door.get(cookies=jar)
    assert (answer.status, answer.entered) == (401, False)
    assert set_by(answer) == []


@pytest.mark.parametrize("by", ["session", "subject", "logout"])
def test_a_session_that_ends_inside_the_request_does_not_go_on(
    site: Site, by: str
) -> None:
    """The application logs its user out, or somebody else does, meanwhile."""
    pair, jar = expired(site)

    def handle(request: Request) -> tuple[int, Headers]:
        if by == "session":
            site.auth.revoke_session(pair.session_id)
        elif by == "subject":
            site.auth.revoke_subject("alice")
        else:
            site.cookies.end(request)
        return 200, [("Cache-Control", "max-age=9")]

    answer = visit(site.door, handle, "POST", cookies=jar)
    assert (answer.status, set_by(answer)) == (200, [])
    assert answer.header("cache-control") == "max-age=9"
    assert site.door.get(cookies=jar).status == 401


@pytest.mark.parametrize("access", ["revoked", "forged", "another's", "not yet"])
def test_only_what_has_expired_is_renewed(door: Door, access: str) -> None:
    """Not what is bad for another reason; also where it has expired as well."""
    site = renewing(door)
    pair, jar = site.log_in()
    text = pair.access_token
    if access == "revoked":
        site.auth.revoke(text)
    elif access == "forged":
        site.wall.now += EXPIRED_S
        text = f"{text[:-8]}AAAAAAAA"
    elif access == "another's":
        theirs = renewing(door, issuer={"key": Key.generate()})
        text = theirs.log_in()[0].access_token
        site.wall.now += EXPIRED_S
    else:
        site.wall.now -= 100
    answer = site.door.get(cookies=[(ACCESS, text), jar[1]])
    assert (answer.status, answer.entered) == (401, False)
    site.wall.now = NOW + EXPIRED_S
    ensure_untouched(answer, site, pair)


def test_a_session_does_not_outlive_its_end_by_going_on(site: Site) -> None:
    """RFC 10017: however often."""
    _, jar = site.log_in()
    served = 0
    while (answer := site.door.get(cookies=jar)).status == 200:
        jar = jar_of(set_by(answer)) or jar
        assert answer.token is not None
        assert answer.token.expires_at <= NOW + 28800
        site.wall.now += EXPIRED_S
        served += 1
    assert NOW + 28800 <= site.wall.now < NOW + 28800 + 2 * EXPIRED_S
    assert served > 40


# Never on an error


@pytest.mark.parametrize("headers", [OTHER_PAGE, [("Origin", "https://evil.example")]])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_no_other_site_makes_a_session_go_on(
    site: Site, method: str, headers: Headers
) -> None:
    """CS-12: refused, and nothing is used up."""
    pair, jar = expired(site)
    answer = site.door.request(method, cookies=jar, headers=headers)
    assert (answer.status, answer.entered) == (403, False)
    ensure_untouched(answer, site, pair)


def test_what_the_session_has_no_scope_for_renews_nothing(door: Door) -> None:
    site = renewing(door, rules=(Rule("/admin", scopes=("admin",)),))
    pair, jar = expired(site, scope="read")
    answer = site.door.get("/admin", cookies=jar)
    assert (answer.status, answer.entered) == (403, False)
    ensure_untouched(answer, site, pair)


@pytest.mark.parametrize("fails", ["look", "add"])
def test_an_outage_is_503_and_uses_nothing_up(door: Door, fails: str) -> None:
    wall = Clock(NOW)

    class Failing(MemoryStore):
        down = ""

        def look(self, names: Any) -> Any:
            if self.down == "look":
                raise OSError
            return super().look(names)

        def add(self, name: str, at: float, until: float) -> bool:
            if self.down == "add":
                raise OSError
            return super().add(name, at, until)

    store = Failing(wall)
    site = renewing(door, store, wall=wall)
    pair, jar = expired(site)
    store.down = fails
    answer = site.door.get(cookies=jar)
    assert (answer.status, answer.entered) == (503, False)
    store.down = ""
    ensure_untouched(answer, site, pair)


@pytest.mark.parametrize("fails", ["look", "add"])
def test_an_outage_inside_the_request_lets_it_be_answered(
    door: Door, fails: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was let in; the session goes on with the next one."""
    caplog.set_level(logging.INFO)
    wall = Clock(NOW)

    class Failing(MemoryStore):
        down = ""

        def look(self, names: Any) -> Any:
            if self.down == "look":
                raise OSError
            return super().look(names)

        def add(self, name: str, at: float, until: float) -> bool:
            if self.down == "add":
                raise OSError
            return super().add(name, at, until)

    store = Failing(wall)
    site = renewing(door, store, wall=wall)
    pair, jar = expired(site)

    def handle(request: Request) -> tuple[int, Headers]:
        store.down = fails
        return 200, [("Cache-Control", "max-age=9")]

    answer = visit(site.door, handle, cookies=jar)
    assert answer.status == 200
    assert answer.header("cache-control") == "max-age=9"
    assert "not renewed: revocations_unavailable" in caplog.text
    store.down = ""
    ensure_untouched(answer, site, pair)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 500, 502, 503, 599])
def test_an_answer_that_tells_of_an_error_renews_nothing(
    site: Site, status: int
) -> None:
    pair, jar = expired(site)
    said = ("Cache-Control", "max-age=9")
    answer = visit(site.door, say(status, said), cookies=jar)
    assert (answer.status, answer.entered) == (status, True)
    assert answer.header("cache-control") == "max-age=9"
    ensure_untouched(answer, site, pair)


@pytest.mark.parametrize("error", [LookupError("x"), SystemExit(3)])
def test_an_application_that_raises_renews_nothing(
    site: Site, error: BaseException
) -> None:
    pair, jar = expired(site)

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise error

    def failing_wsgi(environ: Any, start_response: Any) -> Any:
        raise error

    is_asgi = isinstance(site.door, ASGIDoor)
    call, app = (call_asgi, failing) if is_asgi else (open_wsgi, failing_wsgi)
    with pytest.raises(type(error)) as caught:
        call(site, app, jar)
    assert caught.value is error
    assert site.still_refreshes(pair)


# The application has the last word


@pytest.mark.parametrize("name", ["Set-Cookie", "set-cookie", "SET-COOKIE"])
@pytest.mark.parametrize("which", ["login", "logout", "access", "refresh"])
def test_an_application_that_writes_a_cookie_itself_is_left_alone(
    site: Site, name: str, which: str
) -> None:
    """It has logged somebody in, or out; ours must not undo that."""
    pair, jar = expired(site)
    theirs = site.issuer.issue("bob")
    lines = {
        "login": site.cookies.write(theirs),
        "logout": site.cookies.clear(),
        "access": site.cookies.write(theirs)[:1],
        "refresh": site.cookies.clear()[1:],
    }[which]
    said = [("Cache-Control", "private"), *((name, line) for line in lines)]
    answer = visit(site.door, say(200, *said), cookies=jar)
    assert set_by(answer) == list(lines)
    assert answer.header("cache-control") == "private"
    assert site.still_refreshes(pair)


@pytest.mark.parametrize(
    "line", ["theme=dark", f"x{ACCESS}=1", f"{ACCESS}x=1", f"x={ACCESS}=1"]
)
def test_another_cookie_of_the_application_stands_beside_ours(
    site: Site, line: str
) -> None:
    _, jar = expired(site)
    answer = visit(site.door, say(200, ("Set-Cookie", line)), cookies=jar)
    assert set_by(answer)[0] == line
    assert len(set_by(answer)) == 3


# Once


Open = Callable[[], Any]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store_of(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Clock, Open]]:
    """Each store in turn: what opens it, as another worker would."""
    wall, opened = Clock(NOW), []

    def keep(store: Any) -> Any:
        opened.append(store)
        return store

    if request.param == "memory":
        one = MemoryStore(wall)
        yield wall, lambda: one
    elif request.param == "sqlite":
        path = tmp_path / "marks.db"
        yield wall, lambda: keep(SQLiteStore(path, now=wall))
    else:
        with RedisServer() as server:
            yield wall, lambda: keep(RedisStore(server.url, now=wall))
            server.kill()  # else each close waits for the silence of a reader
    for store in opened:
        store.close()


def all_at_once(sites: list[Site], jar: Jar) -> list[Answer]:
    """The answers to one request to each of *sites*, all inside at a time."""
    if isinstance(sites[0].door, WSGIDoor):
        together, turn = threading.Barrier(len(sites)), iter(sites)

        def handle(request: Request) -> tuple[int, Headers]:
            together.wait(20)
            return 200, ()

        return at_once(lambda: visit(next(turn).door, handle, cookies=jar), len(sites))

    async def ask_all() -> list[Answer]:
        together = threading.Barrier(len(sites))
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2 * len(sites)))

        def handle(request: Request) -> tuple[int, Headers]:
            together.wait(20)
            return 200, ()

        listed = [("Cookie", "; ".join(f"{n}={v}" for n, v in jar))]
        scopes = [
            ASGIDoor.scope("http", "/", "/", listed, "https", "", "")
            | {"method": "GET"}
            for _ in sites
        ]
        return await asyncio.gather(
            *(
                visit_asgi(site.auth, handle, scope)
                for site, scope in zip(sites, scopes, strict=True)
            )
        )

    return asyncio.run(ask_all())


def test_a_page_that_loads_its_parts_at_once_is_renewed_once(
    door: Door, store_of: tuple[Clock, Open]
) -> None:
    """All are answered, and all are given the same; its successor is one."""
    wall, open_store = store_of
    site = renewing(door, open_store(), wall=wall)
    _, jar = expired(site)
    answers = all_at_once([site] * THREADS, jar)
    assert [answer.status for answer in answers] == [200] * THREADS
    (successor,) = {refresh_of(answer) for answer in answers}
    assert successor not in (None, dict(jar)[REFRESH])
    wall.now += 11
    newer = jar_of(set_by(answers[0]))
    assert site.door.get(cookies=newer).status == 200
    wall.now += EXPIRED_S
    assert site.door.get(cookies=newer).status == 200, "it was not used before"


def test_workers_that_are_asked_at_once_give_the_same(
    door: Door, store_of: tuple[Clock, Open]
) -> None:
    """Each with a store of its own on the same file, or the same Redis."""
    wall, open_store = store_of
    workers = [renewing(door, open_store(), wall=wall) for _ in range(4)]
    _, jar = expired(workers[0])
    answers = all_at_once(workers * 4, jar)
    assert [answer.status for answer in answers] == [200] * 16
    (successor,) = {refresh_of(answer) for answer in answers}
    assert successor not in (None, dict(jar)[REFRESH])
    for worker in workers:
        assert worker.door.get(cookies=jar_of(set_by(answers[0]))).status == 200


def test_another_worker_knows_at_once_who_was_first(
    door: Door, store_of: tuple[Clock, Open]
) -> None:
    """Within the leeway it gives the same; after it, somebody has stolen."""
    wall, open_store = store_of
    here, there = (renewing(door, open_store(), wall=wall) for _ in range(2))
    _, jar = expired(here)
    here.door.get(cookies=jar)  # opens both, so that neither copies what stands
    there.door.get(cookies=jar)
    _, jar = here.log_in()
    wall.now += EXPIRED_S
    first = here.door.get(cookies=jar)
    wall.now += 10
    second = there.door.get(cookies=jar)
    assert (first.status, second.status) == (200, 200)
    assert refresh_of(first) == refresh_of(second) is not None


@pytest.mark.parametrize("where", ["here", "there"])
def test_a_refresh_token_that_was_used_ends_the_session_everywhere(
    door: Door, store_of: tuple[Clock, Open], where: str
) -> None:
    """Also where another worker had marked the use.  RFC 9700 §4.14.2."""
    wall, open_store = store_of
    workers = {name: renewing(door, open_store(), wall=wall) for name in ("a", "b")}
    first, second = workers["a"], workers["b" if where == "there" else "a"]
    _, jar = expired(first)
    _, other = first.log_in("bob")
    newer = jar_of(set_by(first.door.get(cookies=jar)))
    wall.now += 11
    assert second.door.get(cookies=newer).status == 200
    late = second.door.get(cookies=jar)
    assert (late.status, late.entered, set_by(late)) == (401, False, [])
    for worker in workers.values():
        ask = partial(worker.door.get, cookies=newer)
        eventually(partial(is_refused, ask), "the end in every worker")
        assert worker.door.get(cookies=other).status == 200, "another session"
    wall.now += EXPIRED_S
    for worker in workers.values():
        assert worker.door.get(cookies=newer).status == 401


def is_refused(ask: Callable[[], Answer]) -> bool:
    return ask().status == 401


def test_the_leeway_is_exact(site: Site) -> None:
    _, jar = expired(site)
    first = site.door.get(cookies=jar)
    site.wall.now += 10
    assert refresh_of(site.door.get(cookies=jar)) == refresh_of(first)
    site.wall.now += 0.001
    assert site.door.get(cookies=jar).status == 401
    newer = jar_of(set_by(first))
    assert site.door.get(cookies=newer).status == 401, "and all is over"


@pytest.mark.parametrize("seconds", [0, 10, 11, 600])
def test_a_slow_request_ends_nothing_that_a_fast_one_renewed(
    site: Site, seconds: int
) -> None:
    """It came in first, and answers last; that is no theft."""
    _, jar = expired(site)
    inner: list[Answer] = []

    def handle(request: Request) -> tuple[int, Headers]:
        inner.append(visit(site.door, say(), cookies=jar))
        site.wall.now += seconds
        return 200, ()

    slow, (fast,) = visit(site.door, handle, cookies=jar), inner
    assert (slow.status, fast.status) == (200, 200)
    if seconds <= 10:
        assert refresh_of(slow) == refresh_of(fast)
    else:
        assert set_by(slow) == [], "the browser has those of the fast one"
    newer = jar_of(set_by(fast))
    assert site.door.get(cookies=newer).status == 200
    site.wall.now += EXPIRED_S
    assert site.door.get(cookies=newer).status == 200


def test_a_slow_request_alone_renews_when_it_answers(site: Site) -> None:
    _, jar = expired(site)

    def handle(request: Request) -> tuple[int, Headers]:
        site.wall.now += 100
        return 200, ()

    newer = jar_of(set_by(visit(site.door, handle, cookies=jar)))
    assert site.door.get(cookies=newer).status == 200


def test_an_error_beside_an_answer_is_no_second_use(site: Site) -> None:
    """Of two parallel requests one fails: the other's cookies work on."""
    _, jar = expired(site)
    failed = visit(site.door, say(500), cookies=jar)
    worked = visit(site.door, say(200), cookies=jar)
    failed_late = visit(site.door, say(404), cookies=jar)
    assert (set_by(failed), set_by(failed_late)) == ([], [])
    site.wall.now += 11
    assert site.door.get(cookies=jar_of(set_by(worked))).status == 200


def test_a_store_that_needs_a_loop_serves_asgi(asgi_door: ASGIDoor) -> None:
    store = WaitingStore()
    site = renewing(asgi_door, store)
    lines: list[str] = []

    async def log_in() -> None:
        lines.extend(site.cookies.write(await site.issuer.aissue("alice")))

    asyncio.run(log_in())
    site.wall.now += EXPIRED_S
    answer = site.door.get(cookies=jar_of(lines))
    assert (answer.status, len(set_by(answer))) == (200, 2)
    site.wall.now += 11
    assert site.door.get(cookies=jar_of(lines)).status == 401


# Nothing secret


def test_no_renewal_shows_a_token(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Neither to a log nor in a `repr`, as it stands in tracebacks."""
    caplog.set_level(logging.DEBUG)
    _, jar = expired(site)
    answer = site.door.get(cookies=jar)
    newer = jar_of(set_by(answer))
    site.wall.now += 11
    assert site.door.get(cookies=jar).status == 401
    assert site.door.get(cookies=newer).status == 401
    assert "not renewed: refresh_reused" in caplog.text
    held = caplog.text + repr((site.cookies, answer.token, site.auth, site.store))
    for _, value in [*jar, *newer]:
        assert value not in held
        assert value[-40:] not in held


def test_a_renewal_itself_shows_nothing(site: Site) -> None:
    _, jar = expired(site)
    listed = {"cookie": ("; ".join(f"{n}={v}" for n, v in jar),)}
    request = SentRequest("GET", "https", "/", lambda name: listed.get(name, ()))
    decision = asyncio.run(site.auth.decide(request))
    said = repr(decision) + repr(getattr(decision, "renewal", None))
    for _, value in jar:
        assert value not in said
    renewal = decision.completion._inner  # type: ignore[union-attr]
    assert renewal.access_token not in said


# PEP 3333


def open_wsgi(site: Site, app: Any, jar: Jar) -> list[tuple[str, Headers, Any]]:
    """How *app* began its answers, as the server was told."""
    started: list[tuple[str, Headers, Any]] = []

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        started.append((status, list(headers), exc_info))
        return lambda octets: None

    listed = [("Cookie", "; ".join(f"{n}={v}" for n, v in jar))]
    result = WSGIMiddleware(app, site.auth)(environ_of("GET", "/", listed), start)
    b"".join(result)
    return started


@pytest.fixture
def wsgi_site() -> Site:
    return renewing(WSGIDoor(authenticator()))


def test_an_answer_that_begins_late_is_renewed_late(wsgi_site: Site) -> None:
    """A generator begins its answer when its first part is asked for."""
    _, jar = expired(wsgi_site)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x"

    ((_, headers, _),) = open_wsgi(wsgi_site, app, jar)
    assert [name for name, _ in headers].count("Set-Cookie") == 2


def test_an_answer_may_begin_anew(wsgi_site: Site) -> None:
    """PEP 3333: with ``exc_info`` the first headers are replaced, our own as well."""
    _, jar = expired(wsgi_site)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("X-A", "1")])
        try:
            raise LookupError
        except LookupError:
            start_response("200 Other", [("X-A", "2")], sys.exc_info())
        return []

    first, second = open_wsgi(wsgi_site, app, jar)
    assert (first[2], second[2][0]) == (None, LookupError)
    assert second[0] == "200 Other"
    names = [name for name, _ in second[1]]
    assert names == ["X-A", "Cache-Control", "Set-Cookie", "Set-Cookie", "Vary"]
    found = [jar_of(v for n, v in s[1] if n == "Set-Cookie") for s in (first, second)]
    assert dict(found[0])[REFRESH] == dict(found[1])[REFRESH]
    wsgi_site.wall.now += 11
    assert wsgi_site.door.get(cookies=found[1]).status == 200


@pytest.mark.parametrize("is_late", [False, True])
def test_a_refusal_in_the_place_of_an_answer_brings_its_cookies(
    wsgi_site: Site, is_late: bool
) -> None:
    """The refresh token before them is used up."""
    _, jar = expired(wsgi_site)

    def refusing(start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        raise InsufficientScope("lacks pay", scopes=("pay",))
        yield b""

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        parts = refusing(start_response)
        return parts if is_late else list(parts)

    _, (status, headers, _) = open_wsgi(wsgi_site, app, jar)
    assert status == "403 Forbidden"
    newer = jar_of(value for name, value in headers if name == "Set-Cookie")
    wsgi_site.wall.now += 11
    assert wsgi_site.door.get(cookies=newer).status == 200
    assert [name for name, _ in headers].count("Cache-Control") == 1


def test_a_refusal_before_an_answer_uses_nothing_up(wsgi_site: Site) -> None:
    pair, jar = expired(wsgi_site)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise InsufficientScope("lacks pay", scopes=("pay",))

    ((_, headers, _),) = open_wsgi(wsgi_site, app, jar)
    assert "Set-Cookie" not in dict(headers)
    assert wsgi_site.still_refreshes(pair)


def test_exc_info_of_a_first_answer_goes_through(wsgi_site: Site) -> None:
    pair, jar = expired(wsgi_site)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        try:
            raise LookupError
        except LookupError:
            start_response("500 Oops", [("X-A", "1")], sys.exc_info())
        return []

    ((status, headers, exc_info),) = open_wsgi(wsgi_site, app, jar)
    assert (status, headers[0]) == ("500 Oops", ("X-A", "1"))
    assert [name for name, _ in headers[1:]] == ["Vary", "Cache-Control"]
    assert exc_info[0] is LookupError
    assert wsgi_site.still_refreshes(pair)


def test_write_is_that_of_the_server(wsgi_site: Site) -> None:
    _, jar = expired(wsgi_site)
    written: list[bytes] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"first")
        return []

    listed = [("Cookie", "; ".join(f"{n}={v}" for n, v in jar))]
    WSGIMiddleware(app, wsgi_site.auth)(
        environ_of("GET", "/", listed), lambda *_: written.append
    )
    assert written == [b"first"]


# WebSockets


@pytest.fixture
def socket_site(asgi_door: ASGIDoor) -> Site:
    return renewing(asgi_door)


def open_socket(
    site: Site, app: Any, jar: Jar, headers: Headers = (("Origin", URL),)
) -> list[Any]:
    sent: list[Any] = []
    incoming = [{"type": "websocket.connect"}]

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return incoming.pop(0)

    listed = [
        ("Host", "api.example"),
        *headers,
        ("Cookie", "; ".join(f"{n}={v}" for n, v in jar)),
    ]
    scope = ASGIDoor.scope("websocket", "/", "/", listed, "wss", "", "")
    scope["extensions"] = {"websocket.http.response": {}}
    guarded = StrictASGI(ASGIMiddleware(StrictASGI(app), site.auth))
    asyncio.run(guarded(scope, receive, send))
    return sent


def test_a_handshake_carries_the_new_cookies(socket_site: Site) -> None:
    """RFC 6455 §4.2.2: its answer may have any header; the browser keeps them."""
    _, jar = expired(socket_site)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"x-a", b"b")]
        accept = {"type": "websocket.accept", "subprotocol": "v1", "headers": headers}
        await send(accept)
        assert headers == [(b"x-a", b"b")], "the application's own list"
        assert accept["headers"] is headers

    (accepted,) = open_socket(socket_site, app, jar)
    assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", "v1")
    names = [name for name, _ in accepted["headers"]]
    assert names == [b"x-a", b"cache-control", b"set-cookie", b"set-cookie"]
    assert all(type(v) is bytes for pair in accepted["headers"] for v in pair)
    lines = [v.decode() for n, v in accepted["headers"] if n == b"set-cookie"]
    assert socket_site.door.get(cookies=jar_of(lines)).status == 200
    socket_site.wall.now += 11
    assert socket_site.door.get(cookies=jar).status == 401, "it was used up"


def test_a_handshake_may_be_accepted_without_a_header(socket_site: Site) -> None:
    _, jar = expired(socket_site)
    assert isinstance(socket_site.door, ASGIDoor)
    answer, sent = socket_site.door.websocket(cookies=jar)
    assert answer.status == 101
    assert answer.token is not None
    assert [n for n, _ in sent[0]["headers"]].count(b"set-cookie") == 2


@pytest.mark.parametrize(("status", "lines"), [(200, 2), (303, 2), (403, 0), (500, 0)])
def test_an_application_may_deny_a_handshake(
    socket_site: Site, status: int, lines: int
) -> None:
    """By a response, which renews like any other; never by a code of a close."""
    pair, jar = expired(socket_site)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": status, "headers": []})
        await send({"type": f"{kind}.body", "body": b"no"})

    start, _ = open_socket(socket_site, app, jar)
    assert [n for n, _ in start["headers"]].count(b"set-cookie") == lines
    assert socket_site.still_refreshes(pair) == (lines == 0)


def test_a_handshake_that_the_application_closes_renews_nothing(
    socket_site: Site,
) -> None:
    pair, jar = expired(socket_site)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1000})

    (closed,) = open_socket(socket_site, app, jar)
    assert closed == {"type": "websocket.close", "code": 1000}
    assert socket_site.still_refreshes(pair)


@pytest.mark.parametrize("headers", [[("Origin", "https://evil.example")], OTHER_PAGE])
def test_no_other_site_opens_a_socket_into_a_session(
    socket_site: Site, headers: Headers
) -> None:
    """It would go on for the attacker; and nothing is used up."""
    pair, jar = expired(socket_site)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody is let in")

    start, _ = open_socket(socket_site, app, jar, headers)
    assert start["status"] == 403
    assert b"set-cookie" not in dict(start["headers"])
    assert socket_site.still_refreshes(pair)


def test_what_follows_the_beginning_is_left_alone(asgi_door: ASGIDoor) -> None:
    """Only the message that carries the headers is another one."""
    site = renewing(asgi_door)
    _, jar = expired(site)
    body = {"type": "http.response.body", "body": b"ok"}
    start: dict[str, Any] = {"type": OPEN, "status": 200}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    sent = call_asgi(site, app, jar)
    assert sent[1] is body
    assert start == {"type": OPEN, "status": 200}, "the application's own message"
    assert [n for n, _ in sent[0]["headers"]].count(b"set-cookie") == 2


def test_octets_of_a_header_pass_as_they_are(site: Site) -> None:
    """Also those that are no ASCII."""
    _, jar = expired(site)
    answer = visit(site.door, say(200, ("X-A", "\u00e9\u00ff")), cookies=jar)
    assert answer.header("x-a") == "\u00e9\u00ff"
    assert len(set_by(answer)) == 2


# What cannot be meant


def test_what_to_write_is_told(door: Door) -> None:
    """Without a leeway, the parts of a page that load at once would end its session."""
    for issuer in ({}, {"store": None, "reuse_leeway": 10}, {"reuse_leeway": 0}):
        with pytest.raises(
            ValueError,
            match=r"write TokenIssuer\(\.\.\., store=store, reuse_leeway=10\)",
        ):
            Site(door, transparent=True, issuer=issuer)
    assert isinstance(
        renewing(door, issuer={"reuse_leeway": 1}).cookies, SessionCookies
    )


def test_a_refresh_cookie_of_every_request_is_for_every_path(door: Door) -> None:
    """CK-5, CK-15: with the prefix that its name has, whatever the other."""
    site = renewing(door, refresh="__Host-Http-refresh", access="__Host-Http-access")
    _, jar = expired(site)
    lines = set_by(site.door.get(cookies=jar))
    assert [attributes_of(line)["path"] for line in lines] == ["/", "/"]
    names = [name for name, _ in jar_of(lines)]
    assert names == ["__Host-Http-access", "__Host-Http-refresh"]


def test_who_opens_a_page_with_an_expired_session_is_not_sent_to_the_login(
    door: Door,
) -> None:
    site = renewing(door, login_path="/login")
    _, jar = expired(site)
    page = [("Sec-Fetch-Mode", "navigate")]
    answer = site.door.get(cookies=jar, headers=page)
    assert (answer.status, len(set_by(answer))) == (200, 2)
    site.wall.now += 11
    late = site.door.get(cookies=jar, headers=page)
    assert (late.status, late.header("location")) == (303, "/login")
    assert set_by(late) == [site.cookies.clear()[0]]


def test_a_link_from_another_site_brings_what_renews_the_session(door: Door) -> None:
    """Lax brings both, or an expired access token comes alone, and is cleared."""
    site = renewing(door, same_site="Lax", login_path="/login")
    _, jar = expired(site)
    kept = site.cookies.write(site.issuer.issue("alice"))
    by_link = {
        line.partition("=")[0]
        for line in kept
        if attributes_of(line)["samesite"] == "Lax"
    }
    sent = [cookie for cookie in jar if cookie[0] in by_link]
    answer = site.door.get("/page", cookies=sent, headers=NAVIGATIONS[2])
    assert answer.status == 200


def test_an_answer_that_becomes_an_error_leaves_the_session_alive() -> None:
    """PEP 3333: only the last of the beginnings reaches the browser."""
    site = renewing(WSGIDoor(authenticator()))
    _, jar = expired(site)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise LookupError
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())
        return []

    *_, (_, headers, _) = open_wsgi(site, app, jar)
    newer = jar_of(v for n, v in headers if n == "Set-Cookie") or jar
    site.wall.now += 11
    assert site.door.get(cookies=newer).status == 200


def test_workers_with_turned_keys_give_one_successor(door: Door) -> None:
    """While a new key is rolled out, the leaf of a session is still one."""
    site = renewing(door)
    turned = renewing(
        door, site.store, wall=site.wall, issuer={"key": [Key.generate(), KEY]}
    )
    _, jar = expired(site)
    answers = [site.door.get(cookies=jar), turned.door.get(cookies=jar)]
    assert None not in [refresh_of(answer) for answer in answers]
    site.wall.now += EXPIRED_S
    assert turned.door.get(cookies=jar_of(set_by(answers[0]))).status == 200
    site.wall.now += 11
    other = turned.door.get(cookies=jar_of(set_by(answers[1])))
    assert other.status == 401, "it is the same, and was used"


@pytest.mark.parametrize("name", ["Surrogate-Control", "X-Accel-Expires"])
def test_no_proxy_keeps_the_new_cookies(door: Door, name: str) -> None:
    """Varnish and Fastly, and nginx, ask these before Cache-Control."""
    site = renewing(door)
    _, jar = expired(site)
    answer = visit(site.door, lambda r: (200, [(name, "max-age=60")]), cookies=jar)
    assert answer.header(name.lower()) is None


def test_what_no_browser_would_keep_uses_nothing_up(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """While the key is changed for one whose signatures are longer."""
    site = renewing(door)
    # A cookie of nearly 4096 octets, by the shorter signature.
    pair, _ = site.log_in(x="x" * 2500)
    jar = jar_of(site.cookies.write(pair))
    longer = renewing(
        door,
        site.store,
        wall=site.wall,
        issuer={"key": [Key.generate("ML-DSA-44"), KEY]},
    )
    site.wall.now += EXPIRED_S
    with caplog.at_level("INFO", "jwt_middleware"):
        assert longer.door.get(cookies=jar).status == 401
    assert "browsers drop" in caplog.text
    site.wall.now += 11
    assert site.door.get(cookies=jar).status == 200


class Slow(MemoryStore):
    """It takes its time to mark a use, in which the token may end."""

    marking: Any = None

    async def add(self, name: str, at: float, until: float) -> bool:  # type: ignore[override]
        if until:
            await self.marking(name)
        return super().add(name, at, until)


def test_an_answer_that_is_ended_has_begun() -> None:
    """A token may be revoked while the renewal waits for the store."""
    wall = Clock(NOW)
    store = Slow(wall)
    site = renewing(ASGIDoor(authenticator()), store, wall=wall)
    _, jar = expired(site)
    sent: list[str] = []

    async def marking(name: str) -> None:
        await site.auth.arevoke_subject("alice")
        for _ in range(20):
            await asyncio.sleep(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": OPEN, "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def story() -> None:
        store.marking = marking
        scope = ASGIDoor.scope("http", "/", "/", [], "https", "", "")
        cookie = "; ".join(f"{name}={value}" for name, value in jar)
        scope |= {"method": "GET", "headers": [(b"cookie", cookie.encode())]}
        guarded = ASGIMiddleware(app, site.auth, end_responses=True)
        with suppress(ConnectionResetError):
            await guarded(scope, receive, send)

    asyncio.run(story())
    assert sent[0] == OPEN
    assert sent[1:], "and it has an end"
