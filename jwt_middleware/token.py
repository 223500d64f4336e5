"""A token that we believe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

KEY = "jwt_middleware.token"
"""Where ``environ`` and ``scope`` hold the token of a request, or None."""

PROPERTIES = {
    "sub": "token.subject",
    "iss": "token.issuer",
    "exp": "token.expires_at",
    "iat": "token.issued_at",
    "scope": "token.scopes",
    "scp": "token.scopes",
}
"""The property of a `Token` for a claim, by the name of the claim."""


class Token(Mapping[str, Any]):
    """The claims of a token whose every check has passed.

    Only the verifier makes one, so whoever holds a `Token` need not ask whether
    it was verified.  It reads as a mapping of its claims: ``token["sub"]``,
    ``token.get("email")``, ``dict(token)``.  It is made anew for every request,
    so nothing that a handler does to a nested value reaches another request.

    It also has the attributes that Starlette's ``request.user`` is asked for.

    Write ``dict(token)`` for what takes no other mapping than a dict, such as
    ``json.dumps`` and Flask's ``jsonify``.  A token can be copied, but not pickled.
    """

    __slots__ = ("_claims", "_digest", "_header", "_scopes")

    is_authenticated = True

    def __init__(
        self, header: Mapping[str, Any], claims: Mapping[str, Any], digest: str = ""
    ) -> None:
        self._claims = dict(claims)
        self._digest = digest
        self._header = dict(header)
        self._scopes: frozenset[str] | None = None

    def __getitem__(self, name: str) -> Any:
        return self._claims[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._claims.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._claims

    def __iter__(self) -> Iterator[str]:
        return iter(self._claims)

    def __len__(self) -> int:
        return len(self._claims)

    if not TYPE_CHECKING:  # pragma: no branch - a type checker would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            text = f"a Token has no attribute {name!r}"
            if not name.startswith("_"):
                instead = f"{PROPERTIES[name]} or " if name in PROPERTIES else ""
                text += f'; write {instead}token["{name}"]'
            raise AttributeError(text)

    def __copy__(self) -> Token:
        return Token(self._header, self._claims, self._digest)

    def __deepcopy__(self, memo: dict[int, Any]) -> Token:
        return Token(self._header, deepcopy(self._claims, memo), self._digest)

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        # What is unpickled was not verified here, and may have been revoked since.
        raise TypeError(
            "a Token cannot be pickled; write dict(token) for its claims, or verify "
            "its text again where it is needed"
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # FastAPI would fill a parameter that no Depends() fills from the request.
        try:
            return handler(source)  # of a model that allows arbitrary types
        except Exception:
            raise TypeError(
                "a Token is read from no request and written to no response; as a "
                "parameter write Annotated[Token, Depends(current_token)], with "
                "current_token of jwt_middleware.fastapi; as a return annotation write "
                "dict[str, Any], and return dict(token)"
            ) from None

    def __repr__(self) -> str:  # no claim: a repr lands in tracebacks and logs
        return f"<Token of {len(self)} claims>"

    @property
    def header(self) -> Mapping[str, Any]:
        """The JOSE header."""
        return MappingProxyType(deepcopy(self._header))  # others have it too

    @property
    def scopes(self) -> frozenset[str]:
        """From ``scope`` (RFC 8693 §4.2), else ``scp``: a string or a list."""
        if self._scopes is None:
            self._scopes = read_scopes(self._claims)
        return self._scopes

    @property
    def issuer(self) -> str:
        """Who made the token: ``iss``."""
        issuer: str = self._claims["iss"]
        return issuer

    @property
    def subject(self) -> str | None:
        """Whom the token speaks of: ``sub``, unique within its issuer only."""
        return self._claims.get("sub")

    @property
    def expires_at(self) -> float:
        """Seconds since 1970: ``exp``."""
        expires_at: float = self._claims["exp"]
        return expires_at

    @property
    def issued_at(self) -> float | None:
        """Seconds since 1970: ``iat``."""
        return self._claims.get("iat")

    @property
    def identifier(self) -> str:
        """What tells this token from any other of its issuer.

        Its ``jti``, else the hash of its signing input; never its text, which has
        two valid spellings under ECDSA (*s* and *n* - *s*).
        """
        return self._claims.get("jti") or self._digest

    @property
    def identity(self) -> str:
        return self.subject or ""

    @property
    def display_name(self) -> str:
        return self.subject or ""


class StarletteAuth(Mapping[str, Any]):
    """What Starlette's ``request.auth`` is asked for: the claims, and `scopes`.

    Its `scopes` are those of the token and ``"authenticated"``, as Starlette's own
    backends give them.  It is not a `Token`: that scope is granted by nobody, and no
    `Rule` and no guard may be satisfied by it.
    """

    __slots__ = ("_token",)

    def __init__(self, token: Token) -> None:
        self._token = token

    def __getitem__(self, name: str) -> Any:
        return self._token[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._token)

    def __len__(self) -> int:
        return len(self._token)

    def __repr__(self) -> str:
        return f"<StarletteAuth of {self._token!r}>"

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes of the token, and ``"authenticated"``."""
        return self._token.scopes | {"authenticated"}


class Anonymous:
    """Nobody, in the shape of Starlette's ``request.user`` and ``request.auth``."""

    __slots__ = ()

    is_authenticated = False
    display_name = ""
    identity = ""
    scopes: frozenset[str] = frozenset()


ANONYMOUS = Anonymous()


def read_scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """The scopes in ``scope`` (RFC 8693 §4.2), else ``scp``: a string or a list."""
    value = claims.get("scope") or claims.get("scp")
    if isinstance(value, str):
        value = value.split(" ")  # RFC 6749 §3.3: by spaces, and by nothing else
    if not isinstance(value, list):
        return frozenset()
    return frozenset(scope for scope in value if isinstance(scope, str) and scope)
