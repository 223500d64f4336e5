"""Keys, and the signatures that they make and verify (RFC 7515, 7517, 7638)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import getpid
from typing import Any

from .algorithms import Algorithm, algorithm_named, public_half
from .compact import Compact, base64url_encode, read_compact, write_json
from .errors import BadSignature, MalformedToken, UnknownKey
from .jwk import (
    algorithm_of,
    ensure_complete,
    ensure_for_signatures,
    is_issuer,
    read_issuer,
    thumbprint,
)
from .key_material import read_octets
from .options import TEXT, read_word
from .quoting import shown
from .signatures import Check, is_dear, prepared
from .tracebacks import shows_no_token
from .workers import SeveralWorkersWarning

MOST_CANDIDATES = 4
"""Keys tried for one token: a stranger's token must not cost many verifications."""
_warning = SeveralWorkersWarning(
    "Key.generate() was called in several workers of one server, and each has a key of "
    "its own: tokens of one are refused by the others; make the key once, and load it "
    "in each worker by Key.from_jwk or Key.from_pem"
)
REFUSED_PARAMETERS = ("crit", "b64", "zip", "enc")


class Key:
    """A key bound to one algorithm, so that no token can choose it.

    >>> key = Key.generate("ES256")
    >>> key.public.to_jwk()["kty"]
    'EC'

    Made by the class methods below; they raise ValueError for keys that are weak,
    damaged or of another kind.  A `Key` shows none of its material.
    """

    __slots__ = (
        "_algorithm",
        "_made_by",
        "_material",
        "_verifying",
        "is_dear",
        "is_named",
        "issuer",
        "kid",
        "names",
        "verify",
    )

    def __init__(
        self,
        algorithm: Algorithm,
        material: Any,
        kid: str | None,
        issuer: str | None = None,
    ) -> None:
        self._algorithm = algorithm
        self._made_by = 0
        self._material = material
        self._verifying = public_half(material)
        self.verify: Check = prepared(algorithm.name, self._verifying)
        """Whether the second octets are this key's signature over the first."""
        self.is_named = kid is not None
        """Whether *kid* was given; a key without a name may be meant by any ``kid``."""
        self.kid: str = kid or thumbprint(algorithm.dump_jwk(material))
        """The name in the token's header; the RFC 7638 thumbprint if none was given."""
        self.issuer = issuer
        """The ``issuer`` of its JWK, which limits whose tokens it verifies."""
        self.names: frozenset[str] = algorithm.names(self._verifying)
        """Values of ``alg`` that mean this key's algorithm."""
        self.is_dear = is_dear(self.names, self._verifying)
        """Whether `verify` is not for the thread of an event loop."""

    @classmethod
    @shows_no_token
    def from_jwk(cls, jwk: Mapping[str, Any], algorithm: str | None = None) -> Key:
        """Read a JSON Web Key, public or private.

        Its ``alg`` decides; where it has none, *algorithm*, else RS256 for RSA,
        HS256 for a secret, and what the curve says for the rest.
        """
        if not isinstance(jwk, Mapping):
            raise ValueError("a JWK is a mapping; json.loads makes one of its text")
        name = algorithm_of(jwk, () if algorithm is None else (algorithm,))
        if algorithm not in (None, name):
            raise ValueError(f"the JWK is for {name}, not for {algorithm}")
        ensure_for_signatures(jwk)
        ensure_complete(jwk)
        made = algorithm_named(name)
        material = made.load_jwk(jwk)
        return cls(made, material, _kid(jwk.get("kid")), read_issuer(jwk))

    @classmethod
    @shows_no_token
    def from_pem(cls, data: str | bytes, algorithm: str, kid: str | None = None) -> Key:
        """Read a public or private key from unencrypted PEM.

        Of a certificate the public key is taken, and nothing else in it is checked, not
        even its end; of a chain that of the first.  Raise ValueError for a text with
        more than one key, and for one with a key and a certificate.
        """
        made = algorithm_named(algorithm)
        if made.name.startswith("HS"):
            raise ValueError(
                "PEM is no HMAC secret; name its algorithm, such as ES256, or write "
                "Key.from_secret for a secret"
            )
        return cls(made, made.load_pem(read_octets(data)), _kid(kid))

    @classmethod
    @shows_no_token
    def from_secret(
        cls, secret: str | bytes, algorithm: str = "HS256", kid: str | None = None
    ) -> Key:
        """Take a secret of random octets, as long as the hash: 32, 48 or 64.

        Keys, certificates and JWKs are refused in any encoding: others may have them.
        """
        made = algorithm_named(algorithm)
        if not made.name.startswith("HS"):
            raise ValueError(f"{made.name} has no secret; use Key.from_pem")
        return cls(made, made.accept(read_octets(secret)), _kid(kid))

    @classmethod
    def generate(cls, algorithm: str = "ES256", kid: str | None = None) -> Key:
        """Make a new private key (for HS*, a secret).

        Each process that calls this has a key of its own: several workers of a server
        do not accept each other's tokens, and the log has a warning of it.
        """
        made = algorithm_named(algorithm)
        key = cls(made, made.create(), _kid(kid))
        key._made_by = getpid()
        return key

    @property
    def algorithm(self) -> str:
        """The one algorithm, as in ``alg``."""
        return self._algorithm.name

    @property
    def is_symmetric(self) -> bool:
        """Whether who can verify can also sign."""
        return self.algorithm.startswith("HS")

    @property
    def can_sign(self) -> bool:
        """Whether the signing half is here."""
        return self.is_symmetric or self._material is not self._verifying

    @property
    def public(self) -> Key:
        """The half that verifies; a secret has only itself."""
        kid = self.kid if self.is_named else None
        return Key(self._algorithm, self._verifying, kid, self.issuer)

    def is_of(self, issuer: str) -> bool:
        """Whether the key may verify tokens of *issuer*."""
        return is_issuer(self.issuer, issuer)

    def to_jwk(self, private: bool = False) -> dict[str, Any]:
        """Write a JSON Web Key, with ``kid``, ``alg`` and ``use``.

        Raise ValueError for a secret that is not asked for as *private*, and for a
        private key that is not here.
        """
        if not self.can_sign if private else self.is_symmetric:
            raise ValueError("this half of the key does not exist, or is a secret")
        material = self._material if private else self._verifying
        jwk = self._algorithm.dump_jwk(material)
        jwk |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return jwk if self.issuer is None else {**jwk, "issuer": self.issuer}

    def sign(self, octets: bytes) -> bytes:
        """Sign *octets*.  Raise ValueError where only the public half is here."""
        if not self.can_sign:
            raise ValueError("this key verifies only; the private one signs")
        if self._made_by == getpid():  # not by a process that forked the workers
            _warning.check()
        return self._algorithm.sign(octets, self._material)

    def __repr__(self) -> str:
        return f"<Key {self.algorithm} {shown(self.kid)}>"


def fitting(keys: Iterable[Key], header: Mapping[str, Any]) -> tuple[Key, ...]:
    """Choose the keys that *header* may mean.  Raise UnknownKey where none does."""
    alg, kid = header["alg"], header.get("kid")
    able = [key for key in keys if alg in key.names]
    if kid is not None:
        named = [key for key in able if key.kid == kid]
        able = named or [key for key in able if not key.is_named]
    if not 1 <= len(able) <= MOST_CANDIDATES:
        raise UnknownKey(f"{len(able)} keys fit alg {shown(alg)}, kid {shown(kid)}")
    return tuple(able)


def read_jws(text: str, known: Mapping[bytes, Mapping[str, Any]] = {}) -> Compact:
    """Take a token apart.  Raise MalformedToken for what a header must not ask for.

    *known* are headers as they were sent, of which a signature was verified.

    Parameters that would change what is signed or encrypt it are refused, and so
    is any ``crit``, since we support no extension (RFC 7515 §4.1.11); ``jwk``,
    ``jku``, ``x5c`` and ``x5u`` are never looked at (§10.3).
    """
    compact = read_compact(text, known)
    header = compact.header
    if compact.segment in known:
        return compact
    if not isinstance(header.get("alg"), str) or not isinstance(
        header.get("kid", ""), str
    ):
        raise MalformedToken("alg or kid is not a string")
    if refused := [name for name in REFUSED_PARAMETERS if name in header]:
        raise MalformedToken(f"the header has {' and '.join(refused)}")
    if isinstance(cty := header.get("cty"), str) and cty.lower().endswith("jwt"):
        raise MalformedToken("a nested token")  # RFC 7519 §5.2
    return compact


def ensure_signed(compact: Compact, keys: Iterable[Key]) -> None:
    """Raise BadSignature where no key of *keys* made the signature."""
    for key in keys:
        if key.verify(compact.signing_input, compact.signature):
            return
    raise BadSignature("the signature is not of the keys that fit")


@shows_no_token
def verify_compact(text: str, keys: Iterable[Key]) -> tuple[Mapping[str, Any], bytes]:
    """Return header and payload octets of a JWS that one of *keys* signed.

    The signature layer alone: no claim is read.  Raises `InvalidToken`.
    """
    compact = read_jws(text)
    ensure_signed(compact, fitting(keys, compact.header))
    return compact.header, compact.payload


def sign_compact(header: Mapping[str, Any], payload: bytes, key: Key) -> str:
    """Write a compact JWS, signed with *key*, whose ``alg`` and ``kid`` it names."""
    named = {"alg": key.algorithm, "kid": key.kid, **header}
    signing_input = f"{base64url_encode(write_json(named))}.{base64url_encode(payload)}"
    return f"{signing_input}.{base64url_encode(key.sign(signing_input.encode()))}"


def _kid(kid: object) -> str | None:
    return None if kid is None else read_word("kid", kid, TEXT)
