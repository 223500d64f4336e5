"""What a login gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a login gives."""

    access_token: str = field(repr=False)
    expires_in: int
    """Seconds from now."""
    session_id: str = field(repr=False)
    """``sid``; `Authenticator.revoke_session` ends it."""
    refresh_token: str | None = field(default=None, repr=False)
    refresh_expires_in: int | None = None
    """Seconds from now, by which the refresh token has to be used."""

    def as_dict(self) -> dict[str, Any]:
        """The answer of a token endpoint (RFC 6749 §5.1), to be sent with
        ``Cache-Control: no-store``."""
        answer = {
            "access_token": self.access_token,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
        }
        if self.refresh_token is not None:
            answer["refresh_token"] = self.refresh_token
        return answer
