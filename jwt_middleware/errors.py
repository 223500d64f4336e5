"""Why a request is turned away.

AuthError
├── NoCredentials            401, a challenge without an error
├── InvalidRequest           400
│   ├── MultipleCredentials
│   ├── InsecureTransport
│   ├── AmbiguousPath
│   └── InvalidTokenRequest
├── InvalidToken             401
│   ├── MalformedToken
│   ├── UnknownIssuer
│   ├── UnknownKey
│   ├── BadSignature
│   ├── WrongType
│   ├── WrongAudience
│   ├── ClaimMissing
│   ├── ClaimInvalid
│   ├── TokenExpired
│   ├── TokenNotYetValid
│   ├── LifetimeExceeded
│   ├── TokenRevoked
│   └── TokenBound
├── InsufficientScope        403
├── StepUpRequired           401
├── CrossOrigin              403
├── UnsupportedGrantType     400, as the next two, for a token endpoint
├── InvalidGrant             400
│   ├── RefreshReused
│   └── InvalidScope
└── Unavailable              503 with Retry-After
    ├── KeysUnavailable
    └── RevocationsUnavailable
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from .quoting import ensure_quotable


class AuthError(Exception):
    """A request may not pass.

    A subclass says by its class attributes how HTTP tells of it, so no table
    elsewhere has to be kept in step.  ``str(error)`` is for the log alone: the
    client sees *error* and *description*, which are fixed texts.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.UNAUTHORIZED
    error: ClassVar[str | None] = None
    """The code that the client is told; RFC 6750 §3.1 where it has one."""
    description: str = "Access is refused."
    reason: ClassVar[str] = "refused"
    """A stable word for logs, metrics and tests."""
    in_challenge: ClassVar[bool] = True
    """Whether ``WWW-Authenticate`` repeats the error; not where other credentials
    would not help."""
    challenge_parameters: tuple[tuple[str, str], ...] = ()
    """More that the challenge says."""
    retry_after: int | None = None
    """Seconds, where it may be better then."""
    source: object = None
    """What found the credentials that are refused, where it was them."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("error", "description"):
            ensure_quotable(f"{cls.__name__}.{name}", getattr(cls, name))

    def told(self) -> dict[str, str]:
        """What the client may know."""
        if self.error is None:
            return {"error_description": self.description}
        return {"error": self.error, "error_description": self.description}

    def challenged(self) -> dict[str, str]:
        """What the challenge says beside its realm."""
        if self.error is None or not self.in_challenge:
            return {}
        return {**self.told(), **dict(self.challenge_parameters)}


class NoCredentials(AuthError):
    """Nothing was presented: RFC 6750 §3.1 wants a challenge without an error."""

    description = "An access token is required."
    reason = "no_credentials"

    def __init__(self, message: str = "", *, description: str | None = None) -> None:
        super().__init__(message)
        self.is_explained = description is not None
        """Whether the description already says what was sent and what was expected."""
        if description is not None:
            ensure_quotable("description", description)
            self.description = description


class InvalidRequest(AuthError):
    """The credentials are not written as the grammar asks."""

    status = HTTPStatus.BAD_REQUEST
    error = "invalid_request"
    description = "The credentials are malformed."
    reason = "malformed_credentials"


class MultipleCredentials(InvalidRequest):
    """Two tokens, and nothing says which one is meant (RFC 6750 §2)."""

    description = "More than one access token was sent."
    reason = "multiple_credentials"


class InsecureTransport(InvalidRequest):
    """Credentials came over plain http, where anyone on the way reads them."""

    description = "The access token was sent over plain http."
    reason = "insecure_transport"


class AmbiguousPath(InvalidRequest):
    """The path is too long, or can be read in too many ways, to be matched."""

    description = "The path of the request is too long or ambiguous."
    reason = "ambiguous_path"


class InvalidTokenRequest(InvalidRequest):
    """What came to a token endpoint is not written as RFC 6749 §6 asks."""

    description = "The token request is malformed."
    reason = "malformed_token_request"
    in_challenge = False


class InvalidToken(AuthError):
    """The token does not verify."""

    error = "invalid_token"
    description = "The access token is not valid."
    reason = "invalid_token"


class MalformedToken(InvalidToken):
    """Not a compact JWS of plain JSON objects, or one that is too long."""

    reason = "malformed"


class UnknownIssuer(InvalidToken):
    """``iss`` names nobody whom we trust."""

    reason = "unknown_issuer"


class UnknownKey(InvalidToken):
    """No key of the issuer fits the token's ``alg`` and ``kid``."""

    reason = "unknown_key"


class BadSignature(InvalidToken):
    """No key that fits verifies the signature."""

    reason = "bad_signature"


class WrongType(InvalidToken):
    """A JWT of another kind: an ID token, a proof, a logout token."""

    reason = "wrong_type"


class WrongAudience(InvalidToken):
    """The token was made for somebody else."""

    reason = "wrong_audience"


class ClaimMissing(InvalidToken):
    """A claim that we require is not there."""

    reason = "claim_missing"


class ClaimInvalid(InvalidToken):
    """A claim is of another type than RFC 7519 gives it."""

    reason = "claim_invalid"


class TokenExpired(InvalidToken):
    """``exp`` has passed."""

    description = "The access token expired."
    reason = "expired"


class TokenNotYetValid(InvalidToken):
    """``nbf`` or ``iat`` lies ahead."""

    description = "The access token is not yet valid."
    reason = "not_yet_valid"


class LifetimeExceeded(InvalidToken):
    """``exp`` lies further ahead than the issuer's ``max_lifetime``."""

    reason = "lifetime_exceeded"


class TokenRevoked(InvalidToken):
    """The token verifies, but was taken back."""

    description = "The access token was revoked."
    reason = "revoked"


class TokenBound(InvalidToken):
    """The token is bound to a key (``cnf``), and came without the proof of it."""

    description = "The access token is sender-constrained."
    reason = "sender_constrained"


class InsufficientScope(AuthError):
    """The token is good, but not for this."""

    status = HTTPStatus.FORBIDDEN
    error = "insufficient_scope"
    description = "The access token lacks a scope that is required."
    reason = "insufficient_scope"

    def __init__(self, message: str, *, scopes: tuple[str, ...]) -> None:
        super().__init__(message)
        for scope in scopes:
            ensure_quotable("each of scopes", scope)
        self.scopes = scopes
        self.challenge_parameters = (("scope", " ".join(scopes)),)


class StepUpRequired(AuthError):
    """The token is good, but its user must log in again, or better (RFC 9470)."""

    error = "insufficient_user_authentication"
    description = "A more recent or a stronger authentication is required."
    reason = "step_up_required"

    def __init__(self, message: str, *, demanded: Mapping[str, str]) -> None:
        super().__init__(message)
        for name, value in demanded.items():
            ensure_quotable(name, value)
        self.demanded = demanded
        """Parameters of the challenge: ``acr_values``, ``max_age``."""
        self.challenge_parameters = tuple(demanded.items())


class CrossOrigin(AuthError):
    """A cookie came along, but its owner's page did not send the request."""

    status = HTTPStatus.FORBIDDEN
    error = "cross_origin"
    description = "The request came from another origin."
    reason = "cross_origin"
    in_challenge = False


class UnsupportedGrantType(AuthError):
    """A token endpoint was asked for another grant than a refresh token's."""

    status = HTTPStatus.BAD_REQUEST
    error = "unsupported_grant_type"
    description = "The grant type is not supported."
    reason = "unsupported_grant_type"
    in_challenge = False


class InvalidGrant(AuthError):
    """A refresh token is forged, has ended, or was taken back (RFC 6749 §5.2)."""

    status = HTTPStatus.BAD_REQUEST
    error = "invalid_grant"
    description = "The refresh token is not valid."
    reason = "invalid_grant"
    in_challenge = False


class RefreshReused(InvalidGrant):
    """A refresh token was used before: who has stolen it, or from whom, is unknown."""

    reason = "refresh_reused"


class InvalidScope(InvalidGrant):
    """More scope was asked for than was granted."""

    error = "invalid_scope"
    description = "The requested scope exceeds the scope granted."
    reason = "invalid_scope"


class Unavailable(AuthError):
    """What the decision needs cannot be had: our fault, not the client's."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    error = "temporarily_unavailable"
    description = "The request cannot be checked at the moment."
    reason = "unavailable"
    in_challenge = False

    def __init__(self, message: str, *, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class KeysUnavailable(Unavailable):
    """The issuer's keys cannot be had."""

    reason = "keys_unavailable"


class RevocationsUnavailable(Unavailable):
    """Nobody can say whether the token was revoked."""

    reason = "revocations_unavailable"
