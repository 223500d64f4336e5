"""Read the keys that an issuer is given, once, at construction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from .bridge import needs_loop
from .jose import MOST_CANDIDATES, Key
from .keys import KeySource, StaticKeys

Keys = KeySource | Iterable[Key] | Mapping[str, Any]


def read_keys(keys: Keys | None, issuer: str, algorithms: tuple[str, ...]) -> KeySource:
    if keys is None:
        return _discovered(issuer, algorithms)
    if isinstance(keys, (str, bytes, Key)):
        raise ValueError(
            f"{type(keys).__name__} is not a set of keys; write "
            "keys=[Key.from_pem(...)], "
            "keys=[Key.from_secret(...)], keys=[key], or keys=RemoteKeys(address) for "
            "keys at an address"
        )
    source = _read_static(keys, algorithms) if isinstance(keys, Iterable) else keys
    if isinstance(source, StaticKeys):
        _ensure_useful(source, issuer, algorithms)
    elif isinstance(source, type) or not needs_loop(getattr(source, "resolve", None)):
        raise ValueError(
            f"{type(keys).__name__} has no 'async def resolve(header)'; write "
            "keys=[key], a JWK Set or RemoteKeys(address)"
        )
    prefer: Any = getattr(source, "prefer", None)
    if callable(prefer):
        prefer(algorithms)
    return source


def _discovered(issuer: str, algorithms: tuple[str, ...]) -> KeySource:
    from .remote import RemoteKeys  # not for keys that are given

    try:
        return RemoteKeys.from_issuer(issuer, algorithms=algorithms or None)
    except ValueError as error:
        raise ValueError(
            f"keys are missing, and cannot be found by the issuer's name: {error}; "
            "or give keys=[Key.from_pem(...)] or RemoteKeys(...)"
        ) from error


def _read_static(
    keys: Iterable[Key] | Mapping[str, Any], algorithms: tuple[str, ...]
) -> StaticKeys:
    if isinstance(keys, Mapping):
        return StaticKeys.from_jwks(cast("Mapping[str, Any]", keys), algorithms)
    return StaticKeys(*keys)


def is_allowed(key: Key, algorithms: tuple[str, ...]) -> bool:
    return not algorithms or not key.names.isdisjoint(algorithms)


def _ensure_findable(source: StaticKeys) -> None:
    """Raise ValueError for more keys without a name than are tried for one token."""
    unnamed = [key.algorithm for key in source.keys if not key.is_named]
    for algorithm in sorted(set(unnamed)):
        count = unnamed.count(algorithm)
        if count > MOST_CANDIDATES:
            raise ValueError(
                f"{count} keys of {algorithm} have no kid, and of such at most "
                f"{MOST_CANDIDATES} are tried for one token; give each the kid that "
                "its tokens name, such as Key.from_pem(data, algorithm, kid='2026')"
            )


def _ensure_useful(
    source: StaticKeys, issuer: str, algorithms: tuple[str, ...]
) -> None:
    """Raise ValueError for keys that no token of *issuer* could be signed with."""
    if not any(is_allowed(key, algorithms) for key in source.keys):
        found = ", ".join(sorted({key.algorithm for key in source.keys}))
        raise ValueError(
            f"no key is for any of {', '.join(algorithms)}: the keys are for "
            f"{found}; write algorithms=None for what the keys say"
        )
    if not any(key.is_of(issuer) for key in source.keys):
        named = sorted({str(key.issuer) for key in source.keys})
        raise ValueError(
            f"the keys are of another issuer: their JWKs name {', '.join(named)}; "
            "write that name as issuer, or give the keys of this one"
        )
    if type(source) is StaticKeys:
        _ensure_findable(source)
