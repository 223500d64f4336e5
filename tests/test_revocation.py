"""Taking tokens back: which ones, from when, and what happens if nobody can say."""

from __future__ import annotations

import base64
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jwt_middleware import Key, MemoryStore, Token, TrustedIssuer
from jwt_middleware.errors import (
    BadSignature,
    InvalidToken,
    MalformedToken,
    RevocationsUnavailable,
    TokenRevoked,
)
from jwt_middleware.revocation import handle, handles

from .conftest import (
    AUDIENCE,
    ISSUER,
    NOW,
    Mint,
    authenticator,
    clock,
    mint_token,
    trusted,
)
from .doors import Door
from .store_suite import Clock

OTHER = "https://other.example"
OTHER_KEY = Key.generate("ES256", kid="k2")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def is_revoked(door: Door, token: str) -> bool:
    """Whether *token* is refused as revoked; if not, it must be let in."""
    answer = door.get(bearer=token)
    if answer.entered:
        return False
    assert answer.status == 401
    assert answer.challenge == (
        'Bearer realm="api", error="invalid_token", '
        'error_description="The access token was revoked."'
    )
    return True


@pytest.fixture
def two_issuers(door: Door) -> Door:
    """Each way in, with a second issuer beside the tests' own."""
    other = TrustedIssuer(OTHER, audience=AUDIENCE, keys=[OTHER_KEY])
    return door.behind(authenticator(trusted(), other, store=MemoryStore(clock)))


@pytest.mark.parametrize("as_text", [True, False])
def test_one_token_is_taken_back(door: Door, mint: Mint, as_text: bool) -> None:
    """By its text or as a `Token`; another of the same user goes on."""
    stolen, kept = mint(jti="stolen"), mint(jti="kept")
    assert not is_revoked(door, stolen)
    door.auth.revoke(stolen if as_text else door.auth.authenticate(stolen))
    assert is_revoked(door, stolen)
    assert not is_revoked(door, kept)


def test_a_token_is_taken_back_by_its_jti(door: Door, mint: Mint) -> None:
    door.auth.revoke_jti("stolen")
    assert is_revoked(door, mint(jti="stolen"))
    assert is_revoked(door, mint(jti="stolen", iat=20))
    assert not is_revoked(door, mint(jti="kept"))


def test_a_session_is_ended_with_all_its_tokens(door: Door, mint: Mint) -> None:
    door.auth.revoke_session("s1")
    assert is_revoked(door, mint(jti="a", sid="s1"))
    assert is_revoked(door, mint(jti="b", sid="s1", sub="bob"))
    assert not is_revoked(door, mint(sid="s2"))
    assert not is_revoked(door, mint())


def test_a_subject_is_logged_out_everywhere(door: Door, mint: Mint) -> None:
    door.auth.revoke_subject("alice")
    assert is_revoked(door, mint(jti="a", sid="s1"))
    assert is_revoked(door, mint(jti="b", sid="s2"))
    assert not is_revoked(door, mint(sub="bob"))
    assert not is_revoked(door, mint(sub=None))


def test_who_logs_in_again_is_let_in(door: Door, mint: Mint) -> None:
    """What was issued later is not meant; a token itself is taken back for good."""
    old = mint(iat=-10)
    door.auth.revoke_subject("alice")
    door.auth.revoke_session("s1")
    assert is_revoked(door, old)
    assert not is_revoked(door, mint(iat=1, sid="s2"))
    door.auth.revoke_jti("j9")
    assert is_revoked(door, mint(iat=30, jti="j9"))


@pytest.mark.parametrize(
    ("moment", "issued", "revoked"),
    [
        (0.0, 0, True),
        (0.0, 0.5, False),
        (0.9, 0, True),
        (0.9, 0.9, True),
        (0.9, 0.95, False),
        (0.9, 1, False),
        (0.0, -1, True),
        (-0.1, 0, False),
        (-1, -0.5, False),
        (-0.5, -0.5, True),
        (-1, 0, False),
    ],
)
def test_in_the_second_of_the_mark_a_token_counts_as_older(
    door: Door, mint: Mint, moment: float, issued: float, revoked: bool
) -> None:
    """One whose ``iat`` has whole seconds: a token from before must not slip by."""
    door.auth.revoke_subject("alice", before=NOW + moment)
    assert is_revoked(door, mint(iat=issued)) == revoked


def test_the_mark_is_set_at_the_time_of_the_clock(door: Door, mint: Mint) -> None:
    now = Clock(NOW + 5.7)
    later = door.behind(authenticator(store=MemoryStore(now), now=now))
    later.auth.revoke_subject("alice")
    assert is_revoked(later, mint(iat=5))
    assert not is_revoked(later, mint(iat=6))


def test_a_session_ends_also_for_an_issuer_whose_clock_is_ahead(
    door: Door, mint: Mint
) -> None:
    """Nobody logs in again to a session, so its mark is for its whole life."""
    door.auth.revoke_session("s1")
    assert is_revoked(door, mint(iat=30, sid="s1"))
    now = Clock(NOW)
    later = door.behind(authenticator(store=MemoryStore(now), now=now))
    later.auth.revoke_session("s1")
    now.now += 60
    for issued in (30, 31, 90):
        assert is_revoked(later, mint(iat=issued, sid="s1"))
    assert not is_revoked(later, mint(iat=31, sid="s2"))


def test_an_earlier_before_takes_nothing_back_that_a_later_one_revoked(
    door: Door, mint: Mint
) -> None:
    door.auth.revoke_subject("alice")
    door.auth.revoke_subject("alice", before=NOW - 500)
    assert is_revoked(door, mint(iat=-100))


def test_before_may_lie_ahead(door: Door, mint: Mint) -> None:
    """And then the mark is kept for as long as what it covers may live."""
    now = Clock(NOW)
    ahead = door.behind(authenticator(store=MemoryStore(now), now=now))
    ahead.auth.revoke_subject("alice", before=NOW + 3600)
    now.now = NOW + 3600 + 86400 - 1
    late = mint(iat=3600, exp=3600 + 86400)
    assert is_revoked(ahead, late)


def test_a_token_that_does_not_say_when_is_older_than_any_mark(
    door: Door, mint: Mint
) -> None:
    """Even than one from long ago."""
    door.auth.revoke_subject("alice", before=1)
    assert is_revoked(door, mint(iat=None))
    assert not is_revoked(door, mint(iat=-10))
    assert not is_revoked(door, mint(iat=None, sub="bob"))


def test_a_token_without_iat_and_jti_is_taken_back(door: Door, mint: Mint) -> None:
    text = mint(iat=None, jti=None)
    door.auth.revoke(text)
    assert is_revoked(door, text)


def test_a_fast_clock_at_the_issuer_does_not_undo_a_mark(
    door: Door, mint: Mint
) -> None:
    """The token says that it will be issued in 20 seconds; it is taken back now."""
    text = mint(iat=20)
    door.auth.revoke(text)
    assert is_revoked(door, text)


@pytest.mark.parametrize("jti", [None, ""])
def test_a_token_without_jti_is_known_by_what_was_signed(
    door: Door, mint: Mint, jti: str | None
) -> None:
    stolen, kept = mint(jti=jti), mint(jti=jti, sub="bob")
    door.auth.revoke(stolen)
    assert is_revoked(door, stolen)
    assert not is_revoked(door, kept)


def other_spelling(token: str) -> str:
    """The same token with *n* - *s* for *s*, which verifies too (ECDSA)."""
    signing_input, _, encoded = token.rpartition(".")
    signature = base64.urlsafe_b64decode(encoded + "==")
    s = int.from_bytes(signature[32:], "big")
    turned = signature[:32] + (P256_ORDER - s).to_bytes(32, "big")
    return f"{signing_input}.{base64.urlsafe_b64encode(turned).rstrip(b'=').decode()}"


@pytest.mark.parametrize("jti", [None, "j1"])
def test_both_spellings_of_a_revoked_token_are_refused(
    door: Door, mint: Mint, jti: str | None
) -> None:
    """Whichever was handed in: a list of texts would let the other one pass."""
    for turn in (0, 1):
        spellings = [mint(jti=jti and f"{jti}{turn}", n=turn)]
        spellings.append(other_spelling(spellings[0]))
        assert spellings[0] != spellings[1]
        assert not any(is_revoked(door, text) for text in spellings)
        door.auth.revoke(spellings[turn])
        assert all(is_revoked(door, text) for text in spellings)


def test_a_mark_is_of_one_issuer(two_issuers: Door, mint: Mint) -> None:
    """The same ``jti``, ``sid`` and ``sub`` at another issuer mean somebody else."""
    names: dict[str, Any] = {"jti": "j", "sid": "s", "sub": "u"}
    ours = mint(**names)
    theirs = mint_token(key=OTHER_KEY, iss=OTHER, **names)
    auth = two_issuers.auth
    ways: list[Callable[[], None]] = [
        lambda: auth.revoke_jti("j", ISSUER),
        lambda: auth.revoke_session("s", ISSUER),
        lambda: auth.revoke_subject("u", ISSUER),
        lambda: auth.revoke(ours),
    ]
    for revoke in ways:
        revoke()
        assert is_revoked(two_issuers, ours)
        assert not is_revoked(two_issuers, theirs)
    auth.revoke(theirs)
    assert is_revoked(two_issuers, theirs)


@pytest.mark.parametrize("issuer", [None, "https://nobody.example", ""])
def test_where_there_are_two_the_issuer_has_to_be_named(
    two_issuers: Door, issuer: str | None
) -> None:
    auth = two_issuers.auth
    for revoke in (auth.revoke_jti, auth.revoke_session, auth.revoke_subject):
        with pytest.raises(ValueError, match=f"name the issuer: one of {ISSUER}, "):
            revoke("x", issuer)


def test_a_wrong_issuer_is_refused_also_where_there_is_one(door: Door) -> None:
    with pytest.raises(ValueError, match="name the issuer"):
        door.auth.revoke_jti("x", OTHER)
    foreign = Token({}, {"iss": OTHER, "exp": NOW + 1, "jti": "x"})
    with pytest.raises(ValueError, match="name the issuer"):
        door.auth.revoke(foreign)


def test_separators_in_a_value_make_no_other_mark(door: Door, mint: Mint) -> None:
    """Whoever may choose a ``jti`` can take back no session with it."""
    values = ["a", "a b", f"{ISSUER} a", "sid a", f"sub {ISSUER} a", "a\n", " a", "a:b"]
    for value in values:
        fresh = door.behind(authenticator(store=MemoryStore(clock)))
        fresh.auth.revoke_jti(value)
        for other in values:
            assert is_revoked(fresh, mint(jti=other)) == (other == value)
            assert not is_revoked(fresh, mint(jti="x", sid=other, sub=other))


def test_no_two_handles_have_one_name() -> None:
    parts = ["a", "b", "a b", " ", "sid", "https://x.example"]
    words = [part for part in parts if " " not in part]
    names = [
        handle(kind, issuer, value)
        for kind in ("jti", "sid", "sub")
        for issuer in words
        for value in parts
    ]
    assert len(set(names)) == len(names)


def test_a_token_is_looked_up_by_every_handle_that_it_has() -> None:
    claims = {"iss": "i", "jti": "j", "sid": "s", "sub": "u"}
    assert handles(Token({}, claims)) == ("jti i j", "sid i s", "sub i u")
    for name, rest in (("sub", "sid i s"), ("sid", "sub i u")):
        less = {key: value for key, value in claims.items() if key != name}
        assert handles(Token({}, less)) == ("jti i j", rest)
    empty = {"iss": "i", "sid": "", "sub": ""}
    assert handles(Token({}, empty, digest="d")) == ("jti i d",)


def test_revoking_twice_is_as_good_as_once(door: Door, mint: Mint) -> None:
    text = mint(sid="s1")
    for _ in range(2):
        door.auth.revoke(text)
        door.auth.revoke_jti("j1")
        door.auth.revoke_session("s1")
        door.auth.revoke_subject("alice")
    assert is_revoked(door, text)


def test_a_text_that_expired_needs_nothing_more(mint: Mint) -> None:
    """A logout with an old token is no error, and leaves no mark."""
    store = MemoryStore(clock)
    authenticator(store=store).revoke(mint(exp=-100))
    assert store.size == 0


def test_only_a_text_that_verifies_can_be_revoked(mint: Mint) -> None:
    """Else anyone could log anyone out, or fill the store."""
    store = MemoryStore(clock)
    auth = authenticator(store=store)
    forged = mint(key=Key.generate("ES256", kid="k1"))
    refused: list[tuple[str, type[InvalidToken]]] = [
        (forged, BadSignature),
        (mint(key=Key.generate("ES256", kid="k1"), exp=-100), BadSignature),
        ("nonsense", MalformedToken),
        ("", MalformedToken),
        (mint(aud="https://else.example"), InvalidToken),
    ]
    for text, error in refused:
        with pytest.raises(error):
            auth.revoke(text)
    assert store.size == 0


@pytest.mark.parametrize("dates", [{"nbf": 3600}, {"iat": 3600}, {"exp": 90_000}])
def test_a_token_of_later_can_be_taken_back_now(
    door: Door, mint: Mint, dates: dict[str, int]
) -> None:
    """It would become valid otherwise, and whoever stole it could wait."""
    now = Clock(NOW)
    later = door.behind(authenticator(store=MemoryStore(now), now=now))
    token = {"exp": 7200, **dates}
    stolen, kept = mint(jti="a", **token), mint(jti="b", **token)
    assert later.get(bearer=stolen).status == 401
    later.auth.revoke(stolen)
    now.now = NOW + 4000
    assert is_revoked(later, stolen)
    assert not is_revoked(later, kept)


def test_a_token_from_before_all_marks_is_refused(
    door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    """Its session may have ended when it was still too long-lived to be accepted."""
    caplog.set_level(logging.INFO, "jwt_middleware")
    oldest = 86400 + 30
    assert door.get(bearer=mint(iat=-oldest)).status == 200
    assert door.get(bearer=mint(iat=-oldest - 1)).status == 401
    assert ": lifetime_exceeded: iat is " in caplog.text
    unbounded = authenticator(trusted(max_lifetime=None), store=MemoryStore(clock))
    assert door.behind(unbounded).get(bearer=mint(iat=-oldest - 1)).status == 200


@pytest.mark.parametrize("value", ["", None, 7, b"x", ["x"]])
def test_what_names_nothing_cannot_be_revoked(value: Any) -> None:
    auth = authenticator(store=MemoryStore(clock))
    for revoke in (auth.revoke_jti, auth.revoke_session, auth.revoke_subject):
        with pytest.raises(ValueError, match="must be a string that is not empty"):
            revoke(value)


@pytest.mark.parametrize("before", [math.nan, math.inf, -1, True, "0", 2**53 + 2])
def test_before_is_a_date(before: Any) -> None:
    auth = authenticator(store=MemoryStore(clock))
    with pytest.raises(ValueError, match="before must be a number"):
        auth.revoke_subject("alice", before=before)


def test_without_a_store_nothing_can_be_revoked(door: Door, mint: Mint) -> None:
    """That is said, not swallowed; verifying goes on without one."""
    storeless = door.behind(authenticator())
    auth, text = storeless.auth, mint()
    for revoke in (auth.revoke, auth.revoke_jti, auth.revoke_session):
        with pytest.raises(ValueError, match="without a store"):
            revoke(text)
    with pytest.raises(ValueError, match="without a store"):
        auth.revoke_subject("alice")
    assert storeless.get(bearer=text).status == 200


class Remembering:
    """A store that notes until when each mark is to be kept."""

    def __init__(self) -> None:
        self.ends: dict[str, float] = {}

    def add(self, name: str, at: float, until: float) -> bool:
        raise NotImplementedError

    def put(self, name: str, at: float, until: float) -> None:
        self.ends[name.partition(" ")[0]] = until - NOW

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        return [None for _ in names]


@pytest.mark.parametrize(
    ("lifetime", "kept"), [(86400, 86400 + 60), (600, 660), (None, math.inf)]
)
def test_a_mark_is_kept_for_as_long_as_what_it_covers_may_live(
    mint: Mint, lifetime: float | None, kept: float
) -> None:
    """With the leeway on both sides: the verifier's clock, and the issuer's.

    A mark on a session or token lies ahead by one more.
    """
    store = Remembering()
    auth = authenticator(trusted(max_lifetime=lifetime), store=store)
    auth.revoke_session("s1")
    auth.revoke_subject("alice")
    auth.revoke_jti("j1")
    assert store.ends == {"sid": kept + 30, "sub": kept, "jti": kept + 30}
    auth.revoke(mint(exp=600))
    assert store.ends["jti"] == 600 + 60


def test_a_mark_holds_until_the_token_has_ended_on_every_clock(
    door: Door, mint: Mint
) -> None:
    now = Clock(NOW)
    waiting = door.behind(authenticator(store=MemoryStore(now), now=now))
    text = mint(exp=600)
    waiting.auth.revoke(text)
    now.now = NOW + 629.9
    assert is_revoked(waiting, text)
    now.now = NOW + 630
    expired = waiting.get(bearer=text)
    assert expired.json["error_description"] == "The access token expired."


class Failing(Remembering):
    """A store whose server is gone, or answers nonsense."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def put(self, name: str, at: float, until: float) -> None:
        raise OSError("the server is gone: redis://user:password@host")

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Sequence[float | None] = self.answer
        return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OSError("redis://user:password@host"), id="raises"),
        pytest.param(TimeoutError(), id="times out"),
        pytest.param(None, id="None"),
        pytest.param((), id="too few"),
        pytest.param((None,), id="one for two"),
        pytest.param((None, None, None), id="too many"),
        pytest.param((None, "soon"), id="text"),
        pytest.param((None, [0]), id="a list"),
        pytest.param((None, math.nan), id="NaN"),
        pytest.param(7, id="a number"),
    ],
)
def test_where_nobody_can_say_nobody_passes(
    door: Door, mint: Mint, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """503, and never 401: the token may be as good as it was."""
    caplog.set_level(logging.INFO, "jwt_middleware")
    failing = door.behind(authenticator(store=Failing(answer)))
    refusal = failing.get(bearer=mint())
    assert not refusal.entered
    assert refusal.status == 503
    assert refusal.header("retry-after") == "2"
    assert refusal.challenge == 'Bearer realm="api"'
    assert refusal.json == {
        "error": "temporarily_unavailable",
        "error_description": "The request cannot be checked at the moment.",
    }
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING
    assert ": revocations_unavailable: look: " in message
    assert "password" not in message


def test_a_failing_store_changes_no_refusal_and_no_public_path(
    door: Door, mint: Mint
) -> None:
    """It is asked last, about tokens that are otherwise good."""
    failing = door.behind(authenticator(store=Failing(OSError())))
    assert failing.get().status == 401
    assert failing.get(bearer=mint(exp=-100)).status == 401
    forged = mint(key=Key.generate("ES256", kid="k1"))
    assert failing.get(bearer=forged).status == 401


def test_a_revocation_that_failed_is_not_kept_quiet(mint: Mint) -> None:
    """Whoever logs out has to know that the revocation may have failed."""
    auth = authenticator(store=Failing(OSError()))
    token = authenticator().authenticate(mint())
    ways: list[Callable[[], None]] = [
        lambda: auth.revoke(mint()),
        lambda: auth.revoke(token),
        lambda: auth.revoke_jti("j1"),
        lambda: auth.revoke_session("s1"),
        lambda: auth.revoke_subject("alice"),
    ]
    for revoke in ways:
        with pytest.raises(RevocationsUnavailable, match=r"^put: OSError; .* again$"):
            revoke()


def test_authenticate_asks_the_store_too(mint: Mint) -> None:
    auth = authenticator(store=MemoryStore(clock))
    auth.revoke(mint())
    with pytest.raises(TokenRevoked, match="its jti was revoked"):
        auth.authenticate(mint())
    with pytest.raises(RevocationsUnavailable):
        authenticator(store=Failing(OSError())).authenticate(mint())


def test_the_log_names_the_handle_and_not_its_value(
    door: Door, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jwt_middleware")
    door.auth.revoke_session("session-of-alice")
    assert is_revoked(door, mint(sid="session-of-alice"))
    assert ": revoked: its sid was revoked" in caplog.text
    assert "session-of-alice" not in caplog.text
