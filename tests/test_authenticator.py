"""From a request to a token or to a reply; and what the log says of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

import pytest

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TrustedIssuer,
)
from jwt_middleware.challenge import Reply
from jwt_middleware.decision import Pass
from jwt_middleware.errors import (
    AuthError,
    MalformedToken,
    RevocationsUnavailable,
    TokenBound,
    TokenExpired,
    TokenRevoked,
)
from jwt_middleware.request import Request

from .conftest import ISSUER, NOW, Mint, SentRequest, authenticator, clock, trusted
from .doors import ASGIDoor, Door
from .store_suite import WaitingStore

OTHER = "https://other.example"
OTHER_KEY = Key.generate("ES256", kid="k1")
"""Another issuer may well call its key by the same name."""


def test_a_text_is_authenticated_without_a_request(mint: Mint) -> None:
    token = authenticator().authenticate(mint())
    assert (token.subject, token.issuer) == ("alice", ISSUER)
    assert token.header["kid"] == "k1"


def test_both_ways_of_asking_give_the_same(mint: Mint) -> None:
    auth = authenticator()
    again = asyncio.run(auth.aauthenticate(mint()))
    assert dict(auth.authenticate(mint())) == dict(again)


@pytest.mark.parametrize("text", [None, 7, b"a.b.c", "", "a.b.c", "\udcff.b.c", ["x"]])
def test_what_is_no_token_is_malformed(text: Any) -> None:
    """Also what is no text at all: the type of what came in from elsewhere."""
    with pytest.raises(MalformedToken):
        authenticator().authenticate(text)
    with pytest.raises(MalformedToken):
        asyncio.run(authenticator().aauthenticate(text))


def test_every_refusal_is_an_auth_error(mint: Mint) -> None:
    with pytest.raises(TokenExpired) as caught:
        authenticator().authenticate(mint(exp=-100))
    assert isinstance(caught.value, AuthError)


def test_a_bound_token_is_refused_also_by_hand(mint: Mint) -> None:
    """Nothing here shows that the sender holds its key."""
    with pytest.raises(TokenBound):
        authenticator().authenticate(mint(cnf={"jkt": "x"}))


def test_a_store_that_needs_a_loop_is_asked_in_one(mint: Mint) -> None:
    """The sync way says that it cannot, rather than let the token pass."""
    store = WaitingStore()
    auth = authenticator(store=store)
    assert auth.needs_loop
    assert asyncio.run(auth.aauthenticate(mint())).subject == "alice"
    authenticator(store=store.marks).revoke(mint())
    with pytest.raises(TokenRevoked):
        asyncio.run(auth.aauthenticate(mint()))
    with pytest.raises(RevocationsUnavailable) as refusal:
        auth.authenticate(mint())
    assert "waits for an event loop" in str(refusal.value.__cause__)


def test_tokens_are_taken_back_in_a_loop_too(mint: Mint) -> None:
    """Each of the four has a twin that is awaited, for either kind of store."""

    async def take_back(auth: Authenticator) -> None:
        await auth.arevoke(mint(jti="a"))
        await auth.arevoke_jti("b")
        await auth.arevoke_session("s")
        await auth.arevoke_subject("bob", before=NOW - 5)
        for lost in ({"jti": "a"}, {"jti": "b"}, {"sid": "s"}, {"sub": "bob"}):
            with pytest.raises(TokenRevoked):
                await auth.aauthenticate(mint(**lost))
        assert await auth.aauthenticate(mint())
        assert await auth.aauthenticate(mint(sub="bob", iat=-4))

    for store in (WaitingStore(), MemoryStore(clock)):
        asyncio.run(take_back(authenticator(store=store)))


def test_a_store_of_which_one_method_is_asynchronous_needs_a_loop() -> None:
    class Half(MemoryStore):
        async def put(self, name: str, at: float, until: float) -> None:  # type: ignore[override]
            raise NotImplementedError

    assert authenticator(store=Half(clock)).needs_loop


def test_nothing_else_needs_a_loop() -> None:
    assert not authenticator().needs_loop
    assert not authenticator(store=MemoryStore(clock)).needs_loop


def test_a_token_is_believed_of_its_own_issuer_alone(door: Door, mint: Mint) -> None:
    """``iss`` chooses, and the keys of the one it chose decide."""
    other = TrustedIssuer(OTHER, audience="other-api", keys=[OTHER_KEY])
    both = door.behind(authenticator(trusted(), other))
    ours, theirs = (
        both.get(bearer=mint()),
        both.get(bearer=mint(key=OTHER_KEY, iss=OTHER, aud="other-api")),
    )
    assert ours.token is not None
    assert theirs.token is not None
    assert (ours.token.issuer, theirs.token.issuer) == (ISSUER, OTHER)
    for crossed in (
        mint(key=OTHER_KEY),
        mint(iss=OTHER, aud="other-api"),
        mint(key=OTHER_KEY, iss=OTHER),
        mint(aud="other-api"),
        mint(iss=f"{ISSUER}/"),
        mint(iss=None),
        mint(iss=[ISSUER]),
    ):
        answer = both.get(bearer=crossed)
        assert (answer.status, answer.entered) == (401, False)


def test_credentials_may_have_to_come_by_https(door: Door, mint: Mint) -> None:
    """By what the server says of the connection."""
    strict = door.behind(authenticator(require_https=True))
    assert strict.get(bearer=mint(), scheme="https").status == 200
    answer = strict.get(bearer=mint(), scheme="http")
    assert (answer.status, answer.entered) == (400, False)
    assert answer.json == {
        "error": "invalid_request",
        "error_description": "The access token was sent over plain http.",
    }


@pytest.mark.parametrize("scheme", ["HTTPS", "https ", "", "wss2", "quic"])
def test_a_scheme_that_nobody_knows_is_not_secure(
    asgi_door: ASGIDoor, mint: Mint, scheme: str
) -> None:
    """ASGI servers write it in lower case; a WSGI server has two words only."""
    strict = asgi_door.behind(authenticator(require_https=True))
    assert strict.get(bearer=mint(), scheme=scheme).status == 400


def test_no_forwarded_header_makes_http_secure(door: Door, mint: Mint) -> None:
    """A client can write these itself."""
    strict = door.behind(authenticator(require_https=True))
    headers = [
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "on"),
        ("Forwarded", "proto=https"),
        ("X-Url-Scheme", "https"),
    ]
    assert strict.get(bearer=mint(), headers=headers, scheme="http").status == 400


def test_without_credentials_plain_http_is_no_error(door: Door) -> None:
    """There is nothing that somebody on the way could have read."""
    rules = (Rule("/health", public=True),)
    strict = door.behind(authenticator(require_https=True, rules=rules))
    assert strict.get("/health", scheme="http").status == 200
    assert strict.get(scheme="http").status == 401


def test_plain_http_is_refused_before_anything_is_verified(
    door: Door, mint: Mint
) -> None:
    """A token that leaked is told so, though it is bad anyway."""
    strict = door.behind(authenticator(require_https=True))
    assert strict.get(bearer=mint(exp=-100), scheme="http").status == 400


def test_a_websocket_may_have_to_come_by_wss(mint: Mint) -> None:
    strict = ASGIDoor(authenticator(require_https=True))
    assert strict.websocket(bearer=mint())[0].status == 101
    assert strict.websocket(bearer=mint(), scheme="ws")[0].status == 400


def test_a_decision_is_data(mint: Mint) -> None:
    """What a door for another protocol would build on."""
    text = mint()

    def request(value: str) -> Request:
        return SentRequest("GET", "https", "/", lambda name: (value,))

    auth = authenticator()
    passed = asyncio.run(auth.decide(request(f"Bearer {text}")))
    assert isinstance(passed, Pass)
    assert passed.token is not None
    refused = asyncio.run(auth.decide(request("Bearer")))
    assert isinstance(refused, Reply)
    assert refused.status == 400


def test_a_bug_in_a_source_is_no_pass(door: Door) -> None:
    """It surfaces as it is; the app is not called."""

    class Buggy(BearerHeader):
        def find(self, request: Request) -> Any:
            raise ZeroDivisionError("a bug")

    buggy = door.behind(authenticator(sources=(Buggy(),)))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        buggy.get()


class TestLog:
    """One line for a refusal, and none for what passes."""

    @pytest.fixture(autouse=True)
    def _everything(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "jwt_middleware")

    def test_a_refusal_is_one_line_with_its_reason(
        self, door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
    ) -> None:
        door.post("/orders", bearer=mint(exp=-100))
        assert caplog.record_tuples == [
            (
                "jwt_middleware",
                logging.INFO,
                f"refused 'POST' '/orders': expired: exp is {NOW - 100}, now is {NOW}",
            )
        ]

    def test_what_passes_is_not_logged(
        self, door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
    ) -> None:
        door.get(bearer=mint())
        assert caplog.record_tuples == []

    @pytest.mark.parametrize(
        ("path", "text"),
        [
            ("/a\r\nrefused 'GET' '/b'", r'"/a\r\nrefused'),
            ("/\x1b[31mred", r"'/\x1b[31mred'"),
            ("/m\u00fcnchen", r"'/m\xfcnchen'"),
            ("/\u202egnp", r"'/\u202egnp'"),
            ("/" + "a" * 500, f"'/{'a' * 78}..."),
        ],
    )
    def test_a_path_is_escaped_and_cut(
        self, door: Door, path: str, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody writes a line of his own into the log."""
        door.get(path)
        ((_, _, message),) = caplog.record_tuples
        assert text in message
        assert re.fullmatch(r"[\x20-\x7E]*", message)
        assert len(message) < 200

    def test_a_method_is_escaped_too(
        self, door: Door, caplog: pytest.LogCaptureFixture
    ) -> None:
        door.request("G\x1bT")
        assert r"refused 'G\x1bT' '/': no_credentials" in caplog.text

    def test_no_part_of_a_token_is_logged(
        self, door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = mint(sub="alice@private.example", exp=-100)
        forged = mint(key=OTHER_KEY)
        for value in (text, forged, text[:-3], f"{text} x", f"{text},{text}"):
            door.get(bearer=value)
        assert len(caplog.records) == 5
        for part in (*text.split("."), *forged.split("."), "private.example"):
            assert part[:12] not in caplog.text

    def test_what_a_token_says_is_escaped_and_cut(
        self, door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Unproved words: anyone can write them."""
        door.get(bearer=mint(iss="https://evil.example/\r\n\x1b[2J" + "x" * 500))
        door.get(bearer=mint(header={"kid": "\r\n\u2028" + "x" * 500}))
        assert len(caplog.records) == 2
        for record in caplog.records:
            assert re.fullmatch(r"[\x20-\x7E]{1,250}", record.getMessage())


def test_each_request_gets_a_token_of_its_own(door: Door, mint: Mint) -> None:
    """What a handler does to a nested value reaches no other request."""
    text = mint(roles=["reader"])
    first, second = door.get(bearer=text).token, door.get(bearer=text).token
    assert first is not None
    assert second is not None
    first["roles"].append("admin")
    assert second["roles"] == ["reader"]
    third = door.get(bearer=text).token
    assert third == second
    assert third is not second


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sources": ()}, "name at least one source"),
        ({"sources": BearerHeader()}, "sources takes several"),
        ({"sources": ("Authorization",)}, "each of sources is an object with"),
        ({"sources": (BearerHeader,)}, "each of sources is an object with"),
        ({"sources": (BearerHeader(), BearerHeader())}, "and none twice"),
        ({"sources": (Cookie(), BearerHeader(), Cookie())}, "and none twice"),
        ({"sources": None}, "sources takes several"),
        ({"rules": Rule("/x")}, "rules takes several"),
        ({"rules": ("/x",)}, "each of rules is an object with"),
        ({"rules": "/x"}, "rules takes several"),
        ({"rules": {Rule("/x"): 1}}, "rules takes several"),
        ({"rules": None}, "rules takes several"),
        ({"realm": 'a"b'}, "realm must be a string"),
        ({"realm": "a\r\nb"}, "realm must be a string"),
        ({"realm": None}, "realm must be a string"),
        ({"require_https": "no"}, "require_https must be True or False"),
        ({"store": object()}, "each of store is an object with add and put and look"),
        ({"store": MemoryStore}, "each of store is an object with"),
        ({"now": 1_800_000_000}, "now must be a function"),
        ({"now": None}, "now must be a function"),
        ({"cache_size": -1}, "cache_size must be a whole number"),
        ({"cache_size": 1.5}, "cache_size must be a whole number"),
        ({"cache_size": True}, "cache_size must be a whole number"),
    ],
)
def test_options_that_could_not_work_are_refused(
    options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        authenticator(**options)


def test_issuers_that_could_not_work_are_refused() -> None:
    issuer = trusted()
    same = TrustedIssuer(ISSUER, audience="other", keys=[OTHER_KEY])
    wrong: list[tuple[tuple[Any, ...], str]] = [
        ((), "no issuer"),
        ((ISSUER,), "str is not a TrustedIssuer"),
        (([issuer],), "list is not a TrustedIssuer"),
        ((issuer, None), "NoneType is not a TrustedIssuer"),
        ((issuer, same), "an issuer stands twice"),
        ((issuer, issuer), "an issuer stands twice"),
    ]
    for issuers, text in wrong:
        with pytest.raises(ValueError, match=text):
            Authenticator(*issuers)


def test_sources_and_rules_may_come_as_generators(door: Door, mint: Mint) -> None:
    """They are read once, at construction, and serve every request."""
    sources = (source for source in (BearerHeader(), Cookie("t")))
    rules = (rule for rule in (Rule("/open", public=True),))
    generated = door.behind(authenticator(sources=sources, rules=rules))
    for _ in range(2):
        assert generated.get(bearer=mint()).status == 200
        assert generated.get(cookies=[("t", mint())]).status == 200
        assert generated.get("/open").status == 200
        assert generated.get().status == 401


def test_the_wall_clock_is_the_default(mint: Mint) -> None:
    """So a token of today passes, and one of a minute ago does not."""
    today = time.time() - NOW
    auth = Authenticator(trusted())
    assert auth.authenticate(mint(exp=today + 60, iat=today)).subject == "alice"
    with pytest.raises(TokenExpired):
        auth.authenticate(mint(exp=today - 60, iat=today - 120))
