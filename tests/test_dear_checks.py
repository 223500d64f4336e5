"""Signatures that take long to check: an event loop does not stand still for them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import pytest

from jwt_middleware import Authenticator, Key, StaticKeys, TrustedIssuer
from jwt_middleware.bridge import run
from jwt_middleware.errors import BadSignature, TokenExpired
from jwt_middleware.signatures import is_dear
from jwt_middleware.testing import Clock

from .carriers import LOOPS, Carry
from .conftest import NOW, authenticator, mint_token, trusted
from .doors import Door
from .servers import TIMEOUT_S

QUICK = ("HS512", "RS256", "PS256", "ES256", "Ed25519")
DEAR = ("ES384", "ES512", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87")
KEYS = {name: Key.generate(name, kid="k") for name in (*QUICK, *DEAR)}


class Watched:
    """An issuer with one key, whose checks are watched, and its authenticator."""

    def __init__(self, name: str, during: Callable[[], None] = lambda: None) -> None:
        self.threads: list[int] = []
        self.clock = Clock(NOW)
        self.issuer: TrustedIssuer = trusted(keys=[KEYS[name]])
        self.auth: Authenticator = authenticator(self.issuer, now=self.clock)
        (key,) = self.issuer.held() or ()
        verify = key.verify

        def check(octets: bytes, signature: bytes) -> bool:
            self.threads.append(threading.get_ident())
            during()
            return verify(octets, signature)

        key.verify = check


@pytest.mark.parametrize("carry", LOOPS)
@pytest.mark.parametrize("name", [*QUICK, *DEAR])
def test_a_dear_check_leaves_the_thread_of_the_loop(name: str, carry: Carry) -> None:
    """And a quick one does not: the way there and back would take longer."""
    watched = Watched(name)
    token = carry(watched.auth.aauthenticate(mint_token(key=KEYS[name])))
    assert token["sub"] == "alice"
    (thread,) = watched.threads
    assert (thread == threading.get_ident()) == (name in QUICK)


@pytest.mark.parametrize("name", [*QUICK, *DEAR])
def test_without_a_loop_each_is_made_in_place(name: str) -> None:
    watched = Watched(name)
    watched.auth.authenticate(mint_token(key=KEYS[name]))
    assert watched.threads == [threading.get_ident()]


def test_one_that_comes_again_needs_no_thread() -> None:
    watched, text = Watched("ES384"), mint_token(key=KEYS["ES384"])

    async def twice() -> None:
        for _ in range(2):
            await watched.auth.aauthenticate(text)

    asyncio.run(twice())
    assert len(watched.threads) == 1


@pytest.mark.parametrize("carry", LOOPS)
def test_the_loop_goes_on_meanwhile(carry: Carry) -> None:
    """The check ends when another task of the same loop says so."""
    begun, may_end = threading.Event(), threading.Event()

    def during() -> None:
        begun.set()
        assert may_end.wait(TIMEOUT_S)

    watched = Watched("ES384", during)

    async def other() -> None:
        while not begun.is_set():
            await anyio.sleep(0.001)
        may_end.set()

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await watched.auth.aauthenticate(mint_token(key=KEYS["ES384"]))

    carry(both())
    assert may_end.is_set()


@pytest.mark.parametrize("carry", [pytest.param(run, id="run"), *LOOPS])
@pytest.mark.parametrize("name", DEAR)
def test_a_forged_one_is_refused(name: str, carry: Carry) -> None:
    watched = Watched(name)
    forged = mint_token(key=Key.generate(name, kid="k"))
    for _ in range(2):
        with pytest.raises(BadSignature):
            carry(watched.auth.aauthenticate(forged))
    assert len(watched.threads) == 2


@pytest.mark.parametrize("carry", LOOPS)
def test_a_token_that_expires_meanwhile_is_refused(carry: Carry) -> None:
    def during() -> None:
        watched.clock.now = NOW + 700

    watched = Watched("ES384", during)
    with pytest.raises(TokenExpired):
        carry(watched.auth.aauthenticate(mint_token(key=KEYS["ES384"])))


@pytest.mark.parametrize("carry", LOOPS)
def test_a_token_whose_key_leaves_meanwhile_is_refused(carry: Carry) -> None:
    """The wait for a thread may be long."""

    def during() -> None:
        watched.issuer.keys = StaticKeys(Key.generate("ES384", kid="k"))

    watched, text = Watched("ES384", during), mint_token(key=KEYS["ES384"])
    for _ in range(2):
        with pytest.raises(BadSignature):
            carry(watched.auth.aauthenticate(text))


@pytest.mark.parametrize("carry", LOOPS)
def test_one_of_which_other_keys_leave_meanwhile_is_accepted(carry: Carry) -> None:
    """And kept: it is checked once more, with the keys that are left."""
    other = Key.generate("ES384", kid="other").public

    def during() -> None:
        if len(watched.threads) == 1:
            watched.issuer.keys = Held(key)

    watched, text = Watched("ES384", during), mint_token(key=KEYS["ES384"])
    (key,) = watched.issuer.held() or ()
    watched.issuer.keys = Held(key, other)
    for _ in range(2):
        assert carry(watched.auth.aauthenticate(text))["sub"] == "alice"
    assert len(watched.threads) == 2


class Held:
    """Keys as they are; `StaticKeys` takes the public halves of them anew."""

    def __init__(self, *keys: Key) -> None:
        self._keys = keys

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        return self._keys

    def held(self) -> Sequence[Key]:
        return self._keys


def test_those_that_come_at_once_are_all_kept() -> None:
    """Each finds out for itself whose it is, and what they find is the same."""
    watched = Watched("ES384")
    texts = [mint_token(key=KEYS["ES384"], jti=f"j{n}") for n in range(20)]

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for text in texts:
                group.start_soon(watched.auth.aauthenticate, text)

    for _ in range(2):
        asyncio.run(all_at_once())
        assert len(watched.threads) == len(texts)


@pytest.mark.parametrize("name", DEAR)
def test_it_passes_both_doors(door: Door, name: str) -> None:
    guarded = door.behind(authenticator(trusted(keys=[KEYS[name]])))
    good, forged = mint_token(key=KEYS[name]), mint_token(key=Key.generate(name, "k"))
    assert [guarded.get(bearer=text).status for text in (good, forged, good)] == [
        200,
        401,
        200,
    ]


@pytest.mark.parametrize(
    ("bits", "dear"), [(2048, False), (4096, False), (4097, True), (8192, True)]
)
@pytest.mark.parametrize("name", ["RS256", "PS512"])
def test_a_long_rsa_key_is_dear(name: str, bits: int, dear: bool) -> None:
    class Public:
        key_size = bits

    assert is_dear({name}, Public()) is dear


@pytest.mark.parametrize(("curve", "dear"), [("Ed25519", False), ("Ed448", True)])
def test_a_curve_is_known_by_its_legacy_name_too(curve: str, dear: bool) -> None:
    jwk = {**KEYS[curve].public.to_jwk(), "alg": "EdDSA"}
    assert Key.from_jwk(jwk).is_dear is dear
