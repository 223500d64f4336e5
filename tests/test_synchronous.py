"""A synchronous call in a coroutine raises if it would stop the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from jwt_middleware import Authenticator, MemoryStore, RemoteKeys
from jwt_middleware.fetch import Document, Fetcher

from .carriers import LOOPS, Carry
from .conftest import NOW, SIGNING_KEY, authenticator, mint_token, trusted
from .doors import WSGIDoor


class PlainStore:
    """A store whose methods may wait, as far as anybody knows."""

    def __init__(self) -> None:
        self._entries = MemoryStore(now=lambda: NOW)

    def add(self, name: str, at: float, until: float) -> bool:
        return self._entries.add(name, at, until)

    def put(self, name: str, at: float, until: float) -> None:
        self._entries.put(name, at, until)

    def look(self, names: Sequence[str]) -> Sequence[float | None]:
        return self._entries.look(names)


class Published(Fetcher):
    """The issuer's key set, without a network, once *may_answer* is set."""

    may_answer = threading.Event()

    def fetch(self, url: str, until: float) -> Document:
        self.may_answer.wait(10)
        return Document({"keys": [SIGNING_KEY.public.to_jwk()]})


CALLS = [
    pytest.param(lambda auth, text: auth.authenticate(text), "aauthenticate"),
    pytest.param(lambda auth, text: auth.revoke(text), "arevoke"),
    pytest.param(lambda auth, text: auth.revoke_jti("j"), "arevoke_jti"),
    pytest.param(lambda auth, text: auth.revoke_session("s"), "arevoke_session"),
    pytest.param(lambda auth, text: auth.revoke_subject("s"), "arevoke_subject"),
]


@pytest.mark.parametrize("carry", LOOPS)
@pytest.mark.parametrize(("call", "twin"), CALLS)
def test_a_synchronous_call_in_a_coroutine_names_its_twin(
    carry: Carry, call: Callable[[Authenticator, str], object], twin: str
) -> None:
    """Not a 503, which would tell nobody what to change."""
    auth, text = authenticator(trusted(), store=PlainStore()), mint_token()

    async def main() -> None:
        with pytest.raises(RuntimeError, match=rf"await {twin}\("):
            call(auth, text)

    carry(main())
    call(auth, text)


@pytest.mark.parametrize("carry", LOOPS)
def test_a_synchronous_authenticate_in_a_coroutine_needs_keys_at_hand(
    carry: Carry,
) -> None:
    text = mint_token()
    fetcher = Published()
    fetcher.may_answer.clear()
    keys = RemoteKeys("https://issuer.example/keys", fetcher=fetcher)
    auth = authenticator(trusted(keys=keys))

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"await aauthenticate\("):
            auth.authenticate(text)
        fetcher.may_answer.set()
        await auth.aauthenticate(text)
        assert auth.authenticate(text)["sub"] == "alice"

    carry(main())


def test_a_wsgi_door_in_the_thread_of_a_loop_answers() -> None:
    """Some servers, and tests of applications, call WSGI so."""
    app = WSGIDoor(authenticator(trusted(), store=PlainStore()))

    async def main() -> int:
        return app.get(bearer=mint_token()).status

    assert asyncio.run(main()) == 200
