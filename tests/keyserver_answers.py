"""How a key server may answer: soundly, or wrong in every way that it can be wrong.

An answer is a function of one `Exchange`.  They stand in tables by name, one for each
kind of fault, so that a test can go through all of a kind; `ANSWERS` is all of them.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
from functools import cache

from jwt_middleware import Key
from jwt_middleware.compact import base64url_encode

from .keyserver_exchange import (
    Answer,
    Exchange,
    chunk,
    head,
    page,
    raw,
    replaced_by,
    reply,
)

BIG = 100 * 1024 * 1024
"""Octets of the largest bodies, where the client takes them all."""
ELSEWHERE = "/elsewhere"
"""Where redirects lead on this server: a client that follows one is seen to."""

WEAK = {"kty": "RSA", "kid": "weak", "n": base64url_encode(b"\xff" * 128), "e": "AQAB"}
HUGE = {**WEAK, "kid": "huge", "n": base64url_encode(b"\xff" * 8192)}
PRIVATE = Key.generate("ES256", kid="private")
SECRET = Key.generate("HS256", kid="secret")
ENCRYPTION = Key.generate("ES256", kid="encryption")
RIVAL = Key.generate("ES256", kid="rival")
"""What a set holds that it should not; tests may sign with them."""


# Sound

ok = reply()


def cached(seconds: int) -> Answer:
    """What may be kept for *seconds*."""
    return reply(Cache_Control=f"public, max-age={seconds}")


def chunked(exchange: Exchange) -> None:
    """In pieces of seven octets."""
    body = exchange.body
    pieces = [chunk(body[at : at + 7]) for at in range(0, len(body), 7)]
    exchange.send(head(Transfer_Encoding="chunked") + b"".join(pieces) + chunk(b""))


def unframed(exchange: Exchange) -> None:
    """The body ends with the connection, as HTTP/1.0 has it."""
    exchange.send(head() + exchange.body)


SOUND: dict[str, Answer] = {
    "ok": ok,
    "cached": cached(300),
    "as_text_html": reply(Content_Type="text/html"),
    "as_jwk_set": reply(Content_Type="application/jwk-set+json"),
    "chunked": chunked,
    "unframed": unframed,
}

# Another status


def no_content(exchange: Exchange) -> None:
    exchange.send(head("204 No Content"))


STATUSES: dict[str, Answer] = {
    "status_204": no_content,
    "status_401": page("401 Unauthorized"),
    "status_404": page("404 Not Found"),
    "status_500": page("500 Internal Server Error"),
    "status_500_with_keys": reply(status="500 Internal Server Error"),
    "status_503": page("503 Service Unavailable"),
}

# Another body


def deep(body: bytes) -> bytes:
    """As sound as before, with a member that no recursive reader survives."""
    return b'{"deep":%b%b,%b' % (b"[" * 100_000, b"]" * 100_000, body[1:])


def twice(body: bytes) -> bytes:
    """Every name of the outer object a second time, and there with null."""
    nulls = b",".join(b"%b:null" % json.dumps(n).encode() for n in json.loads(body))
    return b"{%b,%b" % (nulls, body[1:])


@cache
def bomb() -> bytes:
    """A tenth of a megabyte that swells to `BIG` octets."""
    return gzip.compress(bytes(BIG))


def short(exchange: Exchange) -> None:
    """More is declared than comes before the end."""
    exchange.send(head(Content_Length=len(exchange.body) + 100) + exchange.body)


BODIES: dict[str, Answer] = {
    "html": page("200 OK"),
    "truncated": reply(lambda body: body[:-3]),
    "short": short,
    "empty": reply(replaced_by(b"")),
    "array": reply(replaced_by(b"[]")),
    "null": reply(replaced_by(b"null")),
    "empty_object": reply(replaced_by(b"{}")),
    "keys_is_an_object": reply(replaced_by(b'{"keys": {}}')),
    "no_keys": reply(replaced_by(b'{"keys": []}')),
    "utf_16": reply(lambda body: body.decode().encode("utf-16")),
    "utf_8_with_bom": reply(lambda body: b"\xef\xbb\xbf" + body),
    "invalid_utf_8": reply(lambda body: b'{"\xff": 0,' + body[1:]),
    "gzipped": reply(gzip.compress, Content_Encoding="gzip"),
    "gzip_bomb": reply(lambda _: bomb(), Content_Encoding="gzip"),
    "deep": reply(deep),
    "names_twice": reply(twice),
    "not_a_number": reply(lambda body: b'{"x": NaN,' + body[1:]),
}

# Too much, too slowly, or never


def big(exchange: Exchange) -> None:
    """White space, `BIG` octets of it, and then what is sound: valid JSON."""
    exchange.send(head(Content_Length=BIG + len(exchange.body)))
    for _ in range(BIG // 65_536):
        exchange.send(b" " * 65_536)
    exchange.send(exchange.body)


def big_in_chunks(exchange: Exchange) -> None:
    """The same, with no length declared."""
    exchange.send(head(Transfer_Encoding="chunked"))
    for _ in range(BIG // 65_536):
        exchange.send(chunk(b" " * 65_536))
    exchange.send(chunk(exchange.body) + chunk(b""))


def declared_tebibyte(exchange: Exchange) -> None:
    """The length of a tebibyte, the body, and then nothing."""
    exchange.send(head(Content_Length=1 << 40) + exchange.body)
    exchange.hold()


def endless_headers(exchange: Exchange) -> None:
    exchange.send(head()[:-2])
    exchange.flood(b"X-Line: and another one\r\n" * 100)


def endless_header(exchange: Exchange) -> None:
    """One line that does not end."""
    exchange.send(head()[:-2] + b"X-Line: ")
    exchange.flood(b"x" * 65_536)


def endless_continue(exchange: Exchange) -> None:
    """Interim answers, each of them sound."""
    exchange.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_trailers(exchange: Exchange) -> None:
    """A sound body in a chunk, and header lines after it."""
    exchange.send(head(Transfer_Encoding="chunked") + chunk(exchange.body) + b"0\r\n")
    exchange.flood(b"X-Line: and another one\r\n" * 100)


def endless_negative_chunk(exchange: Exchange) -> None:
    """A chunk of minus one octet: ``read(-1)`` means all that ever comes."""
    exchange.send(head(Transfer_Encoding="chunked") + b"-1\r\n")
    exchange.flood(b" " * 65_536)


ENDLESS: dict[str, Answer] = {
    "big": big,
    "big_in_chunks": big_in_chunks,
    "declared_tebibyte": declared_tebibyte,
    "endless_headers": endless_headers,
    "endless_header": endless_header,
    "endless_continue": endless_continue,
    "endless_trailers": endless_trailers,
    "endless_negative_chunk": endless_negative_chunk,
}


def hang(exchange: Exchange) -> None:
    """Nothing, not even a status line; after the release, what is sound."""
    exchange.hold()
    ok(exchange)


def hang_after_headers(exchange: Exchange) -> None:
    exchange.send(head(Content_Length=len(exchange.body)))
    exchange.hold()
    exchange.send(exchange.body)


def hang_in_body(exchange: Exchange) -> None:
    """All but one octet."""
    body = exchange.body
    exchange.send(head(Content_Length=len(body)) + body[:-1])
    exchange.hold()
    exchange.send(body[-1:])


def drip_headers(exchange: Exchange) -> None:
    """A header's value octet by octet; after the release, what is sound."""
    exchange.send(head(Content_Length=len(exchange.body))[:-2] + b"X-Slow: ")
    exchange.drip(b"x")
    exchange.send(b"\r\n\r\n" + exchange.body)


def drip_body(exchange: Exchange) -> None:
    """White space octet by octet; after the release, what is sound."""
    exchange.send(head())
    exchange.drip(b" ")
    exchange.send(exchange.body)


def drip_chunks(exchange: Exchange) -> None:
    """The same, each octet in a chunk of its own."""
    exchange.send(head(Transfer_Encoding="chunked"))
    exchange.drip(chunk(b" "))
    exchange.send(chunk(exchange.body) + chunk(b""))


def drip_continue(exchange: Exchange) -> None:
    """Interim answers, one by one; after the release, what is sound."""
    exchange.drip(b"HTTP/1.1 100 Continue\r\n\r\n")
    ok(exchange)


SLOW: dict[str, Answer] = {
    "hang": hang,
    "hang_after_headers": hang_after_headers,
    "hang_in_body": hang_in_body,
    "drip_headers": drip_headers,
    "drip_body": drip_body,
    "drip_chunks": drip_chunks,
    "drip_continue": drip_continue,
}

# No answer, or none in HTTP


def close(exchange: Exchange) -> None:
    """The end, where the answer should be."""


def reset(exchange: Exchange) -> None:
    """The connection is torn down: RST, not FIN."""
    now = struct.pack("ii", 1, 0)
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)


def reset_in_body(exchange: Exchange) -> None:
    exchange.send(head(Content_Length=len(exchange.body)) + exchange.body[:-1])
    reset(exchange)


BROKEN: dict[str, Answer] = {
    "close": close,
    "reset": reset,
    "reset_in_body": reset_in_body,
    "no_http": raw(b"220 mail.example ESMTP\r\n"),
    "no_status": raw(b"HTTP/1.1 OK\r\n\r\n"),
    "no_length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"),
    "no_chunk": raw(head(Transfer_Encoding="chunked") + b"many\r\n{}\r\n0\r\n\r\n"),
}

# Somewhere else


def redirect(location: str, status: str = "302 Found") -> Answer:
    """To *location*, where ``{url}`` is this server's and ``{path}`` what was asked."""

    def answer(exchange: Exchange) -> None:
        port = exchange.url.rpartition(":")[2]
        to = location.format(url=exchange.url, path=exchange.path, port=port)
        exchange.send(head(status, Location=to, Content_Length=0))

    return answer


REDIRECTS: dict[str, Answer] = {
    "to_itself": redirect("{path}"),
    "to_itself_for_good": redirect("{url}{path}", "301 Moved Permanently"),
    "elsewhere": redirect("{url}" + ELSEWHERE),
    "elsewhere_307": redirect("{url}" + ELSEWHERE, "307 Temporary Redirect"),
    "to_another_host": redirect("//localhost:{port}" + ELSEWHERE),
    "to_a_file": redirect("file:///etc/passwd"),
}

# Sets with members that should not be there, before those that should


def among_good(*members: object) -> Answer:
    return reply(
        lambda body: json.dumps(
            {"keys": [*members, *json.loads(body)["keys"]]}
        ).encode()
    )


def crowd(size: int) -> Answer:
    """A set of *size* keys, each with a name of its own; ours are the last."""
    jwk = RIVAL.public.to_jwk()

    def crowded(body: bytes) -> bytes:
        ours = json.loads(body)["keys"]
        others = [{**jwk, "kid": f"crowd-{i}"} for i in range(size - len(ours))]
        return json.dumps({"keys": [*others, *ours]}).encode()

    return reply(crowded)


def kid_twice(body: bytes) -> bytes:
    """The first key's name is borne by another key too."""
    ours = json.loads(body)["keys"]
    rival = {**RIVAL.public.to_jwk(), "kid": ours[0]["kid"]}
    return json.dumps({"keys": [rival, *ours]}).encode()


SETS: dict[str, Answer] = {
    "malformed_member": among_good({"kty": "EC", "crv": "P-256", "x": 7}),
    "member_without_kty": among_good({}),
    "member_that_is_no_object": among_good(None, "key", 7, []),
    "weak_member": among_good(WEAK),
    "huge_member": among_good(HUGE),
    "private_member": among_good(PRIVATE.to_jwk(private=True)),
    "secret_member": among_good(SECRET.to_jwk(private=True)),
    "encryption_member": among_good({**ENCRYPTION.public.to_jwk(), "use": "enc"}),
    "unknown_kty": among_good({"kty": "XYZ", "kid": "unknown"}),
    "kid_twice": reply(kid_twice),
    "crowd": crowd(5000),
    "small_crowd": crowd(300),
}

ANSWERS: dict[str, Answer] = {
    **SOUND,
    **STATUSES,
    **BODIES,
    **ENDLESS,
    **SLOW,
    **BROKEN,
    **REDIRECTS,
    **SETS,
}

# Metadata that is valid JSON and says what it should not


def stating(**changes: object) -> Answer:
    """Metadata with *changes*; ``...`` leaves a name out, ``{issuer}`` and ``{url}``
    stand for what is true."""

    def answer(exchange: Exchange) -> None:
        true = {"url": exchange.url, "issuer": exchange.document["issuer"]}
        stated = {
            name: value.format(**true) if isinstance(value, str) else value
            for name, value in {**exchange.document, **changes}.items()
            if value is not ...
        }
        reply(replaced_by(json.dumps(stated).encode()))(exchange)

    return answer


METADATA: dict[str, Answer] = {
    "wrong_issuer": stating(issuer="https://someone-else.example"),
    "issuer_with_slash": stating(issuer="{issuer}/"),
    "issuer_that_is_no_string": stating(issuer=["{issuer}"]),
    "no_issuer": stating(issuer=...),
    "no_jwks_uri": stating(jwks_uri=...),
    "jwks_uri_on_another_host": stating(jwks_uri="http://keys.example/jwks"),
    "jwks_uri_of_a_file": stating(jwks_uri="file:///etc/passwd"),
    "jwks_uri_that_is_no_string": stating(jwks_uri=7),
    "jwks_uri_that_is_null": stating(jwks_uri=None),
    "jwks_uri_that_is_empty": stating(jwks_uri=""),
    "jwks_uri_that_is_relative": stating(jwks_uri="/jwks"),
}
