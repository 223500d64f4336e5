"""Whom we believe, and what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, Literal

from .errors import AuthError, KeysUnavailable, UnknownKey
from .jose import Key, fitting
from .jwk import read_algorithms
from .key_sources import Keys, is_allowed, read_keys
from .keys import KeySource
from .options import (
    TEXT,
    read_issuer,
    read_one_or_several,
    read_seconds,
    read_words,
)
from .policy import RFC9068_CLAIMS, Policy, media_type
from .quoting import shown
from .store import Store

DEFAULT_TYPES = ("at+jwt", "JWT")
MOST_LEEWAY = 300
"""Seconds; RFC 7519 §4.1.4: no more than a few minutes."""
EDWARDS = {"Ed25519", "Ed448"}
LONGEST_LIFETIME = 10 * 365 * 86400

Held = Callable[[], Sequence[Key] | None]


class TrustedIssuer:
    """An issuer whose tokens are believed, and what they must say.

    >>> issuer = TrustedIssuer(
    ...     "https://login.example.com",
    ...     audience="https://api.example.com",
    ... )

    - *issuer*: the exact ``iss``.
    - *audience*: what ``aud`` calls us; one string or several.
    - *keys*: a key source, an iterable of `Key`, or a JWK Set as a mapping; None
      means those that the issuer's metadata lead to (`RemoteKeys.from_issuer`).
    - *algorithms*: those that are accepted; None means what the keys say.  A key of
      a JWK Set without ``alg`` takes the first that its type can do.
    - *types*: accepted ``typ``, compared as media types; absent counts as ``JWT``.
      An access token with the marks of an ID token (``nonce``, ``at_hash``,
      ``c_hash``) or of an event (``events``) is refused.
    - *leeway*: seconds by which clocks may differ, at most 300.
    - *max_lifetime*: seconds from now by which a token must have ended; None means
      no bound, and marks on subjects and sessions that never end.
    - *require*: names of claims that must be there, beside ``iss``, ``aud``, ``exp``.
    - *profile*: ``"rfc9068"`` asks for ``at+jwt`` and every claim of RFC 9068.

    There is no switch that turns a check off.  Raises ValueError for configuration
    that could not do what it seems to.
    """

    __slots__ = (
        "_accepted",
        "_keys",
        "algorithms",
        "held",
        "issuer",
        "oldest",
        "policy",
        "session_store",
    )

    held: Held
    """The keys as a whole, where they are at hand and none are to be fetched."""

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Iterable[str],
        keys: Keys | None = None,
        algorithms: Iterable[str] | None = None,
        types: Iterable[str] = DEFAULT_TYPES,
        leeway: float = 30,
        max_lifetime: float | None = 86400,
        require: Iterable[str] = (),
        profile: Literal["rfc9068"] | None = None,
    ) -> None:
        self.issuer = read_issuer(issuer)
        self.algorithms = read_algorithms(algorithms)
        self._accepted = _names_of(self.algorithms)
        self.keys = read_keys(keys, self.issuer, self.algorithms)
        self.policy = Policy(
            issuer=self.issuer,
            audiences=frozenset(read_one_or_several("audience", audience, TEXT)),
            types=_read_types(types, profile),
            leeway=read_seconds("leeway", leeway, least=0, most=MOST_LEEWAY),
            max_lifetime=_read_lifetime(max_lifetime),
            require=read_words("require", require) + _required_by(profile),
        )
        self.oldest = self.policy.max_lifetime + self.policy.leeway
        """Seconds after its ``iat`` until which a token may be accepted."""
        self.session_store: Store | None = None
        """Set by a `TokenIssuer`: the store of its sessions.  Its tokens then say when
        their session began; that claim of any other issuer means nothing."""

    @property
    def keys(self) -> KeySource:
        """Where the keys come from."""
        return self._keys

    @keys.setter
    def keys(self, keys: KeySource) -> None:
        self._keys = keys
        self.held = _held_by(keys)

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        """The keys of this issuer that *header* may mean.

        Raise UnknownKey, or KeysUnavailable where nobody can say.
        """
        alg = header["alg"]
        if self._accepted and alg not in self._accepted:  # and so no source is asked
            raise UnknownKey(f"alg {shown(alg)} is not among the issuer's algorithms")
        try:
            keys = _ensure_keys(await self.keys.resolve(header))
        except AuthError:
            raise
        except Exception as error:  # whatever a source raises or returns, it is no key
            raise KeysUnavailable(f"resolve: {type(error).__name__}") from error
        allowed = (key for key in keys if self._is_allowed(key))
        return fitting(allowed, header)

    def _is_allowed(self, key: Key) -> bool:
        return is_allowed(key, self.algorithms) and key.is_of(self.issuer)

    @property
    def memory(self) -> float:
        """Seconds for which marks are kept: longer, by what clocks may differ."""
        return self.oldest + self.policy.leeway

    def __repr__(self) -> str:
        return f"<TrustedIssuer {self.issuer!r}>"


def read_issuers(issuers: Iterable[TrustedIssuer]) -> Mapping[str, TrustedIssuer]:
    """Return at least one issuer, each under its name.  Raise ValueError."""
    named: dict[str, TrustedIssuer] = {}
    for issuer in issuers:
        if not isinstance(issuer, TrustedIssuer):
            raise ValueError(
                f"{type(issuer).__name__} is not a TrustedIssuer; write "
                "Authenticator(a, b) for several, issuer.trusted() for a TokenIssuer"
            )
        if issuer.issuer in named:
            raise ValueError(
                "an issuer stands twice; give one all its audiences and keys"
            )
        named[issuer.issuer] = issuer
    if not named:
        raise ValueError("no issuer; write Authenticator(TrustedIssuer(...))")
    return named


def _held_by(keys: KeySource) -> Held:
    """What tells the keys that *keys* hold; None each time where nothing does."""
    source: Any = keys

    def ask() -> Any:
        try:
            return source.held()
        except Exception:  # of a source of somebody's own: `resolve` will tell
            return None

    return (lambda: None) if iscoroutinefunction(getattr(keys, "held", None)) else ask


def _ensure_keys(keys: Sequence[Key]) -> Sequence[Key]:
    found = tuple(keys)  # an iterator would be empty after the check
    if not all(isinstance(key, Key) for key in found):
        raise TypeError("not a sequence of keys")
    return found


def _names_of(algorithms: tuple[str, ...]) -> frozenset[str]:
    """Values of ``alg`` that mean one of *algorithms* (RFC 9864 §2.2)."""
    names = set(algorithms)
    if "EdDSA" in names:
        names |= EDWARDS
    elif names & EDWARDS:
        names.add("EdDSA")
    return frozenset(names)


def _read_types(types: Iterable[str], profile: str | None) -> frozenset[str]:
    names = frozenset(media_type(name) for name in read_one_or_several("types", types))
    if profile is None:
        return names
    if profile != "rfc9068":
        raise ValueError(f"{profile!r} is no profile; write profile='rfc9068'")
    if "at+jwt" not in names:
        raise ValueError("profile='rfc9068' is for at+jwt; leave types out")
    return frozenset({"at+jwt"})


def _required_by(profile: str | None) -> tuple[str, ...]:
    return () if profile is None else RFC9068_CLAIMS


def _read_lifetime(max_lifetime: float | None) -> float:
    if max_lifetime is None:
        return math.inf
    return read_seconds("max_lifetime", max_lifetime, least=1, most=LONGEST_LIFETIME)
