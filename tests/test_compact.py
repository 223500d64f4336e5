"""The compact form: each token has one spelling, and its JSON one meaning."""

from __future__ import annotations

import base64
import json
import math

import pytest

from jwt_middleware.compact import (
    MAX_DEPTH,
    MAX_LENGTH,
    base64url_decode,
    base64url_encode,
    read_compact,
    read_json_object,
    write_json,
)
from jwt_middleware.errors import MalformedToken

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SECRET = "hunter2hunter2"


def compact(
    header: bytes = b'{"alg":"ES256"}',
    payload: bytes = b'{"sub":"alice"}',
    signature: bytes = b"\xff\xfe\xfd",
) -> str:
    return ".".join(base64url_encode(part) for part in (header, payload, signature))


def nested(levels: int) -> bytes:
    """An object of so many levels; every second one is an array."""
    text = ""
    for level in range(levels, 0, -1):
        text = f"[{text}]" if level % 2 == 0 else '{"a":' + (text or "1") + "}"
    return text.encode()


# The three segments


def test_a_token_comes_apart() -> None:
    text = compact()
    parts = read_compact(text)
    assert parts.header == {"alg": "ES256"}
    assert parts.payload == b'{"sub":"alice"}'
    assert parts.signing_input.decode() == text.rpartition(".")[0]
    assert parts.signature == b"\xff\xfe\xfd"


def test_payload_and_signature_may_be_empty_here() -> None:
    """Whether nothing is a good signature is for the key to say."""
    parts = read_compact(compact(payload=b"", signature=b""))
    assert (parts.payload, parts.signature) == (b"", b"")


def test_the_payload_is_not_read_as_json_here() -> None:
    assert read_compact(compact(payload=b"\xff")).payload == b"\xff"


def test_a_repr_shows_neither_payload_nor_signature() -> None:
    shown = repr(read_compact(compact(payload=SECRET.encode())))
    assert shown == "Compact(header={'alg': 'ES256'})"


def test_a_token_has_a_longest_length() -> None:
    text = compact(payload=b"")
    room = MAX_LENGTH - len(text)
    header, _, signature = text.split(".")
    longest = f"{header}.{'A' * room}.{signature}"
    assert len(longest) == MAX_LENGTH
    assert read_compact(longest).payload == bytes(room * 3 // 4)
    with pytest.raises(MalformedToken, match=f"{MAX_LENGTH + 1} characters"):
        read_compact(f"{longest}A")


@pytest.mark.parametrize("text", ["é", "a.b.ｃ", "a\u200b.b.c", "\ud800.b.c"])
def test_a_token_is_ascii(text: str) -> None:
    with pytest.raises(MalformedToken, match="not ASCII"):
        read_compact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "abcd",
        compact().rpartition(".")[0],
        f"{compact()}.",
        f"{compact()}.AAAA",
        f"{compact()}.AAAA.AAAA",  # five segments: encrypted
        f" {compact()}",
        f"{compact()}\n",
        f"{compact()}\0",
        compact().replace(".", ". ", 1),
        compact().replace("_", "/"),
        f"{compact(signature=b'ab')}=",
        f"{compact()}~",
        f"{compact()}%2E",
        '{"payload":"e30","signatures":[]}',  # the JSON form
    ],
)
def test_a_token_is_three_segments_of_base64url(text: str) -> None:
    with pytest.raises(MalformedToken, match=r"not (three segments|base64url)"):
        read_compact(text)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("segment", "message"), [("AAAAA", "not base64url"), ("AB", "stray bits")]
)
def test_every_segment_is_decoded_strictly(
    place: int, segment: str, message: str
) -> None:
    segments = compact().split(".")
    segments[place] = segment
    with pytest.raises(MalformedToken, match=message):
        read_compact(".".join(segments))


@pytest.mark.parametrize("header", [b"", b"[]", b'{"alg":"a","alg":"b"}', b"\xff"])
def test_a_header_is_a_strict_json_object(header: bytes) -> None:
    with pytest.raises(MalformedToken, match="JSON"):
        read_compact(compact(header=header))


# base64url


@pytest.mark.parametrize("length", range(9))
def test_base64url_is_that_of_the_standard_library(length: int) -> None:
    """Both ways, with each octet in each place."""
    for first in range(256):
        octets = bytes((first + 85 * index) % 256 for index in range(length))
        text = base64.urlsafe_b64encode(octets).rstrip(b"=")
        assert base64url_encode(octets).encode() == text
        assert base64url_decode(text) == octets


@pytest.mark.parametrize("begin", ["A", "AA", "AAA", "AAAAA", "AAAAAA"])
def test_only_the_spelling_that_we_would_write_is_read(begin: str) -> None:
    """All 64 last characters: RFC 4648 §3.5 leaves stray bits to the reader."""
    for last in ALPHABET:
        text = begin + last
        padded = text + "=" * (-len(text) % 4)
        octets = base64.urlsafe_b64decode(padded)
        if base64url_encode(octets) == text:
            assert base64url_decode(text.encode()) == octets
        else:
            with pytest.raises(MalformedToken, match="stray bits"):
                base64url_decode(text.encode())


@pytest.mark.parametrize(
    "segment", [b"A", b"AAAAA", b"AA==", b"AAA=", b"AA+A", b"AA/A", b"AA A", b"AA\nA"]
)
def test_nothing_else_is_base64url(segment: bytes) -> None:
    with pytest.raises(MalformedToken, match="not base64url"):
        base64url_decode(segment)


# JSON


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' \t\r\n{ "a" : 1 } ', {"a": 1}),
        ('{"a":"\\u0000"}', {"a": "\0"}),
        ('{"a":"é\U0001f600"}', {"a": "é\U0001f600"}),
        ('{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),  # a pair that belongs together
        ('{"a":{"b":1},"c":{"b":2}}', {"a": {"b": 1}, "c": {"b": 2}}),
        ('{"a":1.5,"b":-0.0,"c":1e308}', {"a": 1.5, "b": -0.0, "c": 1e308}),
        ('{"a":[true,false,null]}', {"a": [True, False, None]}),
    ],
)
def test_an_object_is_read(text: str, value: object) -> None:
    assert read_json_object(text.encode()) == value


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":01}',
        b'{"a":"\n"}',
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',  # the same name in another spelling
        b'{"x":[{"a":1,"a":2}]}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":[-Infinity]}',
        b'{"a":1e309}',
        b'{"a":-1e400}',
        b'{"a":' + b"9" * 5000 + b"}",  # int() would take long, or refuse
        b'{"a":"\\ud800"}',
        b'{"a":"\\uDFFF"}',
        b'{"\\udBff":1}',
        b'{"a":"\\ude00\\ud83d"}',  # a pair the wrong way round
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}",
        b'{"a":' * 9000 + b"1" + b"}" * 9000,
    ],
    ids=lambda octets: repr(octets[:24]),
)
def test_json_that_parsers_disagree_on_is_refused(octets: bytes) -> None:
    with pytest.raises(MalformedToken, match=r"not strict JSON|nested deeper"):
        read_json_object(octets)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[]", "list"), ('"a"', "str"), ("1", "int"), ("null", "NoneType")],
)
def test_only_an_object_is_a_header_or_claims(text: str, kind: str) -> None:
    with pytest.raises(MalformedToken, match=f"JSON of type {kind}, not an object"):
        read_json_object(text.encode())


def test_json_may_be_32_levels_deep() -> None:
    read_json_object(nested(MAX_DEPTH))
    with pytest.raises(MalformedToken, match="deeper than 32 levels"):
        read_json_object(nested(MAX_DEPTH + 1))


def test_breadth_is_not_depth() -> None:
    wide = json.dumps({"a": [{"b": []}] * 100, "c": "[{" * 100})
    assert len(read_json_object(wide.encode())["a"]) == 100


@pytest.mark.parametrize(
    "octets",
    [
        f'{{"{SECRET}":1,"{SECRET}":2}}'.encode(),
        f'{{"a":"{SECRET}'.encode(),
        f'{{"a":"{SECRET}\\ud800"}}'.encode(),
        f'{{"a":"{SECRET}'.encode() + b'\xff"}',
        f'["{SECRET}"]'.encode(),
        f'{{"a":{SECRET}}}'.encode(),
    ],
)
def test_a_refusal_quotes_nothing_of_the_json(octets: bytes) -> None:
    with pytest.raises(MalformedToken) as refusal:
        read_json_object(octets)
    assert SECRET not in f"{refusal.value} {refusal.value!r}"


def test_json_is_written_short_and_as_utf8() -> None:
    written = write_json({"a": ["é", 1], "b": {}})
    assert written == '{"a":["é",1],"b":{}}'.encode()
    assert read_json_object(written) == {"a": ["é", 1], "b": {}}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800"])
def test_no_value_is_written_that_would_not_be_read(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates not allowed"):
        write_json({"a": value})


def test_only_plain_json_is_written() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json({"a": b"octets"})
