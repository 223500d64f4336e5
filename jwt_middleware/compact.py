"""The compact form of a JWS, taken apart and put together; nothing is believed yet.

Stricter than `base64` and `json`: a token has one spelling only, and its JSON
means the same to every parser (RFC 7515 §5.2 and §10.12, RFC 8725 §3.7).
"""

from __future__ import annotations

import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .errors import MalformedToken

MAX_LENGTH = 12 * 1024
"""Characters of a token: room for ML-DSA-87 and for 200 group identifiers."""
MAX_DEPTH = 32
"""Levels of nested JSON."""

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TO_STANDARD = bytes.maketrans(b"-_", b"+/")
STRICTLY = bytes.maketrans(b"-_+/=", b"+/!!!")  # the other spellings become nonsense
# By the number of characters beyond a multiple of four: the padding that a2b_base64
# wants, and the last characters that leave no stray bits.
PADDING = {0: b"", 2: b"==", 3: b"="}
LAST = {0: ALPHABET, 2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Compact(NamedTuple):
    """The parts of a compact JWS."""

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes
    segment: bytes
    """The header as it was sent."""

    def __repr__(self) -> str:  # neither claims nor a signature
        return f"Compact(header={self.header!r})"

    @property
    def digest(self) -> str:
        """What tells a token without ``jti`` from others: not its text, which has two
        valid spellings under ECDSA."""
        return hashlib.sha256(self.signing_input).hexdigest()


def read_compact(text: str, known: Mapping[bytes, Mapping[str, Any]] = {}) -> Compact:
    """Take *text* apart.  Raise MalformedToken where it is not a compact JWS.

    *known* are headers that need not be read again, as they were sent.
    """
    if len(text) > MAX_LENGTH:
        raise MalformedToken(f"{len(text)} characters")
    try:
        octets = text.encode("ascii")
    except UnicodeEncodeError:
        raise MalformedToken("not ASCII") from None
    segments = octets.split(b".", 3)
    if len(segments) != 3:
        raise MalformedToken("not three segments")
    segment, payload, signature = segments
    header = known.get(segment)
    if header is None:
        header = read_json_object(base64url_decode(segment))
    return Compact(
        header,
        base64url_decode(payload),
        octets[: -1 - len(signature)],
        base64url_decode(signature),
        segment,
    )


def base64url_decode(segment: bytes) -> bytes:
    """Decode base64url without padding, of which each value has one spelling."""
    surplus = len(segment) % 4
    if surplus == 1:
        raise MalformedToken("not base64url")
    padded = segment.translate(STRICTLY) + PADDING[surplus]
    try:
        octets = binascii.a2b_base64(padded, strict_mode=True)
    except binascii.Error:
        raise MalformedToken("not base64url") from None
    if segment and segment[-1] not in LAST[surplus]:
        raise MalformedToken("stray bits at the end of a segment")
    return octets


def base64url_encode(octets: bytes) -> str:
    """Encode *octets* as base64url without padding."""
    standard = binascii.b2a_base64(octets, newline=False).rstrip(b"=").decode()
    return standard.replace("+", "-").replace("/", "_")


def read_json_object(octets: bytes) -> dict[str, Any]:
    """Parse a JSON object: strict UTF-8, no name twice, nothing beyond RFC 8259.

    Raise MalformedToken also for numbers that are not finite, for lone surrogates
    and for more than 32 levels.
    """
    try:
        text = octets.decode("utf-8")
        value = _parse(text)
        if "\\u" in text and SURROGATE.search(text):
            _ensure_encodable(value)
    except (ValueError, RecursionError) as error:
        # The name of the error only: its text may quote what the client sent.
        raise MalformedToken(f"not strict JSON: {type(error).__name__}") from None
    if not isinstance(value, dict):
        raise MalformedToken(f"JSON of type {type(value).__name__}, not an object")
    # Counting brackets is cheap and never too low; only a suspect is measured.
    if octets.count(b"[") + octets.count(b"{") > MAX_DEPTH and _is_deep(
        value, MAX_DEPTH
    ):
        raise MalformedToken(f"JSON nested deeper than {MAX_DEPTH} levels")
    return value


def write_json(value: Mapping[str, Any]) -> bytes:
    """Write a JSON object without white space.  Raise ValueError or TypeError."""
    return json.dumps(
        value, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _parse(text: str) -> Any:
    if text[:1] == "{":
        value, end = DECODER.raw_decode(text)
        if end == len(text):
            return value
    return DECODER.decode(text)  # with white space around it, or no object


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number overflows")
    return number


def _no_constant(text: str) -> Any:
    raise ValueError("NaN or Infinity")


def _ensure_encodable(value: Any) -> None:
    json.dumps(value, ensure_ascii=False).encode("utf-8")


def _is_deep(value: Any, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    members = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deep(member, levels - 1) for member in members)


DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)
