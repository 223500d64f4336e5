"""Whose signatures we believe: keys, and where they come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from .jose import Key
from .jwk import PRIVATE_MEMBERS, NotForSignatures, algorithm_of


class KeySource(Protocol):
    """Finds the keys that a token may have been signed with."""

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        """The keys that *header* may mean; who asks chooses by ``alg`` and ``kid``.

        Raise UnknownKey where there is none, KeysUnavailable where nobody can say.
        """
        ...

    # A source may also have
    #     held(self) -> Sequence[Key] | None
    # the very same object for as long as nothing changes, None where `resolve` has to
    # be asked.  Without it, tokens are verified anew each time.  And
    #     prefer(self, algorithms: Sequence[str]) -> None
    # which is told once what its `TrustedIssuer` accepts, () for all; it raises
    # ValueError where no key can be for any of them.


class StaticKeys:
    """Keys that are known from the start.

    >>> StaticKeys(Key.generate("ES256").public)
    <StaticKeys ES256>

    Raises ValueError for no key at all, and for two of one name and algorithm.
    """

    __slots__ = ("keys",)

    def __init__(self, *keys: Key) -> None:
        if not keys:
            raise ValueError("no key that verifies signatures; give at least one")
        for key in keys:
            if not isinstance(key, Key):
                raise ValueError(
                    f"{type(key).__name__} is no Key; write Key.from_pem, Key.from_jwk "
                    "or Key.from_secret, and StaticKeys(*keys) for several"
                )
        self.keys: Sequence[Key] = tuple(key.public for key in keys)
        _ensure_distinct(self.keys)

    @classmethod
    def from_jwks(
        cls, jwks: Mapping[str, Any], algorithms: Sequence[str] = ()
    ) -> StaticKeys:
        """Read a JWK Set (RFC 7517 §5).

        Keys for encryption and of kinds that are not known are passed over; one
        without ``alg`` takes the first of *algorithms* that its type can do.
        Raises ValueError for a damaged, weak or private key.
        """
        members = jwks.get("keys") if isinstance(jwks, Mapping) else None
        if not isinstance(members, list):
            raise ValueError(
                f'a JWK Set is an object with a list "keys"; {_instead_of_set(jwks)}'
            )
        found = [_read_member(member, algorithms) for member in members]
        return cls(*(key for key in found if key is not None))

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        return self.keys

    def held(self) -> Sequence[Key]:
        return self.keys

    def __repr__(self) -> str:
        return f"<StaticKeys {' '.join(key.algorithm for key in self.keys)}>"


class OwnKeys(StaticKeys):
    """The keys of a `TokenIssuer`, whose tokens always name their key."""

    __slots__ = ()


def _read_member(jwk: Any, algorithms: Sequence[str]) -> Key | None:
    if not isinstance(jwk, Mapping):
        raise ValueError("a member of the JWK Set is no object")
    if private := sorted(PRIVATE_MEMBERS & jwk.keys()):
        raise ValueError(
            f"a JWK Set to verify with has the private member {private[0]!r}; keep it "
            "where tokens are signed, and write Key.from_jwk(...).public here"
        )
    try:
        return Key.from_jwk(jwk, algorithm_of(jwk, algorithms))
    except NotForSignatures:
        return None


def _ensure_distinct(keys: Sequence[Key]) -> None:
    for index, key in enumerate(keys):
        for other in keys[:index]:
            if key.kid == other.kid and key.names & other.names:
                raise ValueError(f"two keys are called {key.kid!r}; a kid names one")


def _instead_of_set(value: object) -> str:
    """What to write where *value* was given for a JWK Set."""
    if isinstance(value, (str, bytes)):
        return "write StaticKeys.from_jwks(json.loads(text))"
    if isinstance(value, Mapping) and "kty" in value:
        return "this is one JWK: write keys=[Key.from_jwk(jwk)]"
    return "write {'keys': [jwk]}"


def read_signing_keys(key: Key | Sequence[Key]) -> Sequence[Key]:
    """Return at least one key; the first can sign.  Raise ValueError."""
    is_iterable = isinstance(key, Iterable) and not isinstance(key, (str, bytes, dict))
    keys = tuple(cast("Iterable[Key]", key)) if is_iterable else (cast(Key, key),)
    for each in keys:
        if not isinstance(each, Key):
            raise ValueError(
                f"key is a {type(each).__name__}, expected a Key; write "
                "key=Key.from_pem(PRIVATE_PEM, 'ES256'), Key.from_jwk(...) or "
                "Key.generate()"
            )
    if not keys or not keys[0].can_sign:
        found = "has no signing half" if keys else "is empty"
        raise ValueError(
            f"key must be a private Key, or several, the first private; it {found}"
        )
    return keys
