"""What a token must say for us to accept it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .errors import (
    ClaimInvalid,
    ClaimMissing,
    LifetimeExceeded,
    TokenExpired,
    TokenNotYetValid,
    UnknownIssuer,
    WrongAudience,
    WrongType,
)
from .kinds import foreign_marks
from .options import LATEST_DATE
from .quoting import shown

STRINGS = ("iss", "sub", "jti", "sid", "client_id")
REFRESH_TYPE = "refresh+jwt"
"""The ``typ`` of our own refresh tokens."""
ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "jwt"})
REMEMBERED = 64
"""Values of ``typ``; there are two or three."""
RFC9068_CLAIMS = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The claims that we require; *issuer* and *audiences* have no default."""

    issuer: str
    audiences: frozenset[str]
    types: frozenset[str]
    """In lower case, without ``application/``."""
    leeway: float
    """Seconds by which clocks may differ."""
    max_lifetime: float
    """Seconds from now; infinite where there is no bound."""
    require: tuple[str, ...] = ()

    def check(
        self, header: Mapping[str, Any], claims: Mapping[str, Any], now: float
    ) -> tuple[float, float]:
        """Raise InvalidToken at the first rule that the token breaks.

        Return from when, and until when, it breaks none.
        """
        _check_strings(claims)
        _check_type(header, claims, self.types)
        # Issuer and audience are checked before the dates: a revocation or a logout
        # ignores errors of the dates, and must not ignore these.
        if claims.get("iss") != self.issuer:
            raise UnknownIssuer(
                f"iss is {shown(claims.get('iss'))}, expected {shown(self.issuer)}"
            )
        _check_audience(claims, self.audiences)
        _check_required(claims, self.require)
        expiry = _checked_expiry(claims, now, self.leeway)
        latest = now + self.leeway
        begins = expiry - self.max_lifetime
        if begins > latest:
            raise LifetimeExceeded(
                f"exp is {expiry}, {expiry - now:.0f} seconds from now; max_lifetime "
                f"is {self.max_lifetime:g}"
            )
        begins = max(begins, _checked_start(claims, latest))
        return begins - self.leeway, expiry + self.leeway


@lru_cache(REMEMBERED)
def media_type(typ: str) -> str:
    """*typ* as it is compared: RFC 7515 §4.1.9 leaves ``application/`` out."""
    short = typ.lower().removeprefix("application/")
    return typ.lower() if "/" in short else short


def _check_strings(claims: Mapping[str, Any]) -> None:
    # A number as jti would slip by a list of revoked strings, or crash it.
    for name in STRINGS:
        if not isinstance(claims.get(name, ""), str):
            raise ClaimInvalid(f"{name} is {shown(claims[name])}")


def _check_type(
    header: Mapping[str, Any], claims: Mapping[str, Any], types: frozenset[str]
) -> None:
    typ = header.get("typ", "JWT")
    kind = media_type(typ) if isinstance(typ, str) and typ.isascii() else None
    if kind not in types:
        raise WrongType(f"typ is {shown(typ)}")
    if kind in ACCESS_TOKEN_TYPES and (foreign := foreign_marks(claims)):
        raise WrongType(f"not an access token: it has {' and '.join(foreign)}")


def _checked_expiry(claims: Mapping[str, Any], now: float, leeway: float) -> float:
    expiry = _date(claims, "exp")
    if expiry is None:
        raise ClaimMissing("no exp")
    if expiry <= now - leeway:
        raise TokenExpired(f"exp is {expiry}, now is {now:.0f}")
    return expiry


def _checked_start(claims: Mapping[str, Any], latest: float) -> float:
    """From when the token is valid, by what it says itself."""
    begins = float(-LATEST_DATE)
    for name in ("nbf", "iat"):
        start = _date(claims, name)
        if start is not None:
            if start > latest:
                raise TokenNotYetValid(
                    f"{name} is {start}, with leeway now is {latest:.0f}"
                )
            begins = start if start > begins else begins
    return begins


def _check_audience(claims: Mapping[str, Any], audiences: frozenset[str]) -> None:
    aud = claims.get("aud")
    if "aud" not in claims and claims.get("token_use") == "access":
        aud = claims.get("client_id")  # Amazon Cognito names nobody but the app client
    if isinstance(aud, str) and aud in audiences:
        return
    named = aud if isinstance(aud, list) else ()
    if not all(isinstance(name, str) for name in named) or audiences.isdisjoint(named):
        expected = " or ".join(shown(name) for name in sorted(audiences))
        raise WrongAudience(f"aud is {shown(aud)}, expected {expected}")


def _check_required(claims: Mapping[str, Any], require: tuple[str, ...]) -> None:
    if require and (missing := [name for name in require if claims.get(name) is None]):
        raise ClaimMissing(f"no {' and no '.join(missing)}")


def _date(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate, which may be absent: a finite JSON number, nothing like one."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ClaimInvalid(f"{name} is {shown(value)}")
    if not -LATEST_DATE < value < LATEST_DATE:
        raise ClaimInvalid(f"{name} is out of range")
    return value
