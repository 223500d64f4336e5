"""What a client sends to a token endpoint to refresh its tokens (RFC 6749 §6)."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

from .errors import InvalidTokenRequest, UnsupportedGrantType
from .quoting import shown
from .tracebacks import shows_no_token

FORM = "application/x-www-form-urlencoded"
MOST_OCTETS = 65_536
"""Of a body: a refresh token and a scope take far less."""
MOST_FIELDS = 50


class RefreshRequest(NamedTuple):
    """A refresh token that is to be taken for new tokens, for all or less scope."""

    refresh_token: str
    scope: str | None

    def __repr__(self) -> str:  # no token
        return f"<{type(self).__name__}>"


@shows_no_token
def read_refresh_request(content_type: str, body: bytes) -> RefreshRequest:
    """Read the body of a POST to a token endpoint.

    Raise InvalidTokenRequest where it is no form, or says something twice, and
    UnsupportedGrantType for any other grant.
    """
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise InvalidTokenRequest(f"Content-Type is {shown(content_type)}; send {FORM}")
    fields = _read_form(body)
    grant_type = fields.get("grant_type")
    if grant_type is None:
        raise InvalidTokenRequest("no grant_type; send grant_type=refresh_token")
    if grant_type != "refresh_token":
        raise UnsupportedGrantType(f"grant_type is {shown(grant_type)}")
    if "refresh_token" not in fields:
        raise InvalidTokenRequest("no refresh_token")
    return RefreshRequest(fields["refresh_token"], fields.get("scope"))


def _read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; an empty one counts as left out (RFC 6749 §3.2)."""
    if len(body) > MOST_OCTETS:
        raise InvalidTokenRequest(f"{len(body)} octets")
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=MOST_FIELDS)
    except ValueError:  # which holds the body
        raise InvalidTokenRequest("no form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidTokenRequest("a field stands twice")
    return fields
