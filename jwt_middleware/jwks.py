"""What is usable in a JWK Set that somebody else keeps (RFC 7517 §5)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from .jose import Key
from .jwk import PRIVATE_MEMBERS, NotForSignatures, algorithm_of
from .quoting import shown

logger = logging.getLogger("jwt_middleware")

MOST_KEYS = 100
"""Of one set: reading a key costs time, and a set has a handful."""


def read_jwks(jwks: Mapping[str, Any], algorithms: Sequence[str]) -> tuple[Key, ...]:
    """Read the public keys of a set, and leave out what cannot be used.

    A key without ``alg`` takes the first of *algorithms* that its type can do.  One
    that is damaged, weak, secret or private is logged, and costs the others
    nothing.  Raises ValueError where no key is left.
    """
    members = jwks.get("keys")
    if not isinstance(members, list):
        raise ValueError('no list "keys"')
    if len(members) > MOST_KEYS:
        logger.warning("a JWK Set has %d keys; %d are read", len(members), MOST_KEYS)
    found = [_read_member(member, algorithms) for member in members[:MOST_KEYS]]
    keys = _distinct([key for key in found if key is not None])
    if not keys:
        raise ValueError("no key that verifies signatures")
    return keys


def _read_member(jwk: Any, algorithms: Sequence[str]) -> Key | None:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    try:
        return _public_key(jwk, algorithms)
    except NotForSignatures as error:  # a set may hold what is not for us
        logger.debug("key %s is passed over: %s", shown(kid), error)
    except ValueError as error:
        logger.warning("key %s is left out: %s", shown(kid), shown(str(error)))
    return None


def _public_key(jwk: Any, algorithms: Sequence[str]) -> Key:
    if not isinstance(jwk, dict):
        raise ValueError("no object")
    if PRIVATE_MEMBERS & jwk.keys():
        raise ValueError("it is private, and everyone can read it")
    if jwk.get("kty") == "oct":  # who can read the set could sign
        raise ValueError("it is a secret, and everyone can read it")
    return Key.from_jwk(jwk, algorithm_of(jwk, algorithms))


def _distinct(keys: Sequence[Key]) -> tuple[Key, ...]:
    """Each key once; two of one name are both kept, since both may have signed."""
    named = {tuple(sorted(key.to_jwk().items())): key for key in keys}
    return tuple(named.values())
