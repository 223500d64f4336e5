"""Keys that an issuer publishes, kept so that hardly a request waits for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .algorithms import usable_names
from .bridge import run
from .connect import prepare
from .discovery import Address, Metadata
from .errors import UnknownKey
from .fetch import Fetcher
from .jose import Key, fitting
from .jwk import ALGORITHMS, read_algorithms
from .jwks import read_jwks
from .keyset import KeysState
from .options import metadata_issuer, read_clock, read_seconds
from .quoting import shown
from .upkeep import Upkeep

SYMMETRIC = frozenset(ALGORITHMS["oct", None])
MOST_LIFETIME = 86400
MOST_STALENESS = 7 * 86400


class RemoteKeys:
    """The JWK Set at *jwks_url*, fetched when it is first needed, and kept fresh.

    >>> RemoteKeys("https://login.example.com/jwks").state().status
    'none'

    - *algorithms*: for a key without ``alg``, the first of them that its type can do.
    - *lifetime*: seconds for which a set is fresh where the issuer does not say, by
      ``Cache-Control``; what it says counts from 60 to 3600.
    - *cooldown*: seconds between two fetches for the sake of unknown keys, and the
      longest between two tries while the issuer does not answer.
    - *max_staleness*: seconds beyond its lifetime for which a set is used while none
      can be fetched.
    - *timeout*: seconds that a fetch takes at most, and that a request waits.
    - *fetcher*: how it is fetched.

    Only public keys that verify signatures are taken.  It is made before a server
    forks, or after: nothing runs until a request needs a key.
    """

    def __init__(
        self,
        jwks_url: str,
        *,
        algorithms: Iterable[str] | None = None,
        lifetime: float = 600,
        cooldown: float = 30,
        max_staleness: float = 86400,
        timeout: float = 5,
        fetcher: Fetcher | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        _ensure_no_metadata(jwks_url)
        prepare()
        self._able = usable_names() - SYMMETRIC  # this imports what reads keys
        self._algorithms: tuple[str, ...] | None = None
        self._upkeep = Upkeep(
            Address(jwks_url, _read_fetcher(fetcher)),
            lambda content: read_jwks(content, self._algorithms or ()),
            lifetime=read_seconds("lifetime", lifetime, least=1, most=MOST_LIFETIME),
            cooldown=read_seconds("cooldown", cooldown, least=1, most=3600),
            max_staleness=read_seconds(
                "max_staleness", max_staleness, least=0, most=MOST_STALENESS
            ),
            timeout=read_seconds("timeout", timeout, least=0.1, most=60),
            now=read_clock(now),
        )
        if algorithms is not None:
            self.prefer(read_algorithms(algorithms))

    @classmethod
    def from_issuer(
        cls, issuer: str, *, fetcher: Fetcher | None = None, **options: Any
    ) -> RemoteKeys:
        """Find the keys by the metadata of *issuer* (OpenID Connect, RFC 8414).

        The metadata must name exactly this issuer, and an https ``jwks_uri``.  Takes
        the same *options*.
        """
        keys = cls(issuer, fetcher=fetcher, **options)
        keys._upkeep.place = Metadata(issuer, _read_fetcher(fetcher))
        return keys

    def prefer(self, algorithms: Sequence[str]) -> None:
        """Let a key without ``alg`` take the first that its type can do.

        None means the usual one, and leaves what was preferred before.  Raise
        ValueError for HMAC, since whoever can fetch the keys could sign, and where
        another issuer of the same keys prefers others.
        """
        if symmetric := sorted(SYMMETRIC.intersection(algorithms)):
            raise ValueError(
                f"{symmetric[0]} needs a secret, and remote keys are public; leave it "
                "out, or give keys=[Key.from_secret(...)]"
            )
        wanted = tuple(algorithms) or self._algorithms or ()
        if self._algorithms not in (None, wanted):
            raise ValueError(
                "two issuers prefer different algorithms of the same keys; give each "
                "RemoteKeys of its own"
            )
        before, self._algorithms = self._algorithms or (), wanted
        if before != wanted:
            self._upkeep.read_again()

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        """The keys that *header* may mean.

        If the set does not have the key, the set is fetched again, at most once in a
        cooldown.  Raise UnknownKey if the key does not exist, and KeysUnavailable if
        that cannot be said yet.
        """
        if header["alg"] not in self._able:  # and so nobody is asked
            raise UnknownKey(f"alg {shown(header['alg'])} is of no published key")
        arrived = self._upkeep.now()
        held = await self._upkeep.current()
        while True:
            try:
                return fitting(held.keys, header)
            except UnknownKey:
                name = (header["alg"], header.get("kid"))
                newer = await self._upkeep.newer(held, arrived, name)
                if newer is None:
                    raise
                held = newer

    def held(self) -> Sequence[Key] | None:
        return self._upkeep.held()

    def load(self) -> None:
        """Fetch the keys if there are none, so that no request has to wait.

        Raise KeysUnavailable.  In a coroutine, await `aload`.
        """
        run(self.aload())

    async def aload(self) -> None:
        """Fetch the keys if there are none, like `load`."""
        await self._upkeep.current()

    def state(self) -> KeysState:
        """Tell how fresh the keys are; nothing is fetched for it."""
        return self._upkeep.state()

    def __repr__(self) -> str:
        return f"<RemoteKeys {self._upkeep.place!r}>"


def _read_fetcher(fetcher: Fetcher | None) -> Fetcher:
    if fetcher is None:
        return Fetcher()
    if not isinstance(fetcher, Fetcher):
        raise ValueError("fetcher is no Fetcher; write fetcher=Fetcher(cafile=...)")
    return fetcher


def _ensure_no_metadata(address: object) -> None:
    """Raise ValueError for the address of metadata, which holds no keys."""
    if issuer := metadata_issuer(address):
        raise ValueError(
            f"{address!r} is the address of metadata, expected a JWK Set or the name "
            f"of an issuer; write RemoteKeys.from_issuer({issuer!r})"
        )
