"""The README's code runs, and what it says of options, texts and numbers is so."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

import jwt_middleware
from jwt_middleware import (
    Authenticator,
    Key,
    SessionCookies,
    StaticKeys,
    TokenIssuer,
    claims,
    compact,
    errors,
    fetch,
    keyset,
    looks,
    strength,
)
from jwt_middleware.jose import sign_compact
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

from .conftest import trusted

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
FLAT = re.sub(r"\s+", " ", TEXT)
PRIVATE = Key.generate("RS256")
MINT = TokenIssuer(
    "https://login.example.com", audience="https://api.example.com", key=PRIVATE
)


def public_pem() -> str:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = PRIVATE.public._material.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode()


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The names that stand after each Python block; they run one after another."""
    names: dict[str, Any] = {
        "__name__": "__main__",
        "PUBLIC_PEM": public_pem(),
        "JWKS_TEXT": json.dumps(MINT.jwks()),
        "SECRET": "0123456789abcdef" * 2,
        "FOLDER": tmp_path_factory.mktemp("readme"),
    }
    after, logger = [], logging.getLogger("jwt_middleware")
    level = logger.level
    for block in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)  # noqa: S102
        after.append(dict(names))
    logger.setLevel(level)  # a block sets it, for the whole process
    assert len(after) >= 10
    # There is no such issuer to ask.
    for names in after:
        names["login"].keys = StaticKeys(PRIVATE)
    return after


def test_the_flask_application_lets_in_who_has_a_token(
    blocks: list[dict[str, Any]],
) -> None:
    client = Client(blocks[0]["app"])
    assert client.get("/me").status_code == 401
    pair = MINT.issue("alice")
    answer = client.get("/me", headers={"Authorization": f"Bearer {pair.access_token}"})
    assert answer.json == {"user": "alice"}


def test_the_starlette_application_lets_in_who_has_a_token(
    blocks: list[dict[str, Any]],
) -> None:
    pair = MINT.issue("alice")
    assert ask(blocks[1]["app"], "/me") == (
        401,
        b'{"error_description": "An access token is required."}',
    )
    assert ask(blocks[1]["app"], "/me", pair.access_token) == (200, b'{"user":"alice"}')


def test_the_log_says_why_a_token_was_refused(
    blocks: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    old = TokenIssuer(
        "https://login.example.com",
        audience="https://api.example.com",
        key=PRIVATE,
        now=lambda: 1e9,
    )
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        assert ask(blocks[1]["app"], "/me", old.issue("alice").access_token)[0] == 401
    shown = re.search(r"^INFO:jwt_middleware:(.*)$", TEXT, re.MULTILINE)
    assert shown is not None
    told = caplog.messages[-1]
    assert re.sub(r"\d+", "0", told) == re.sub(r"\d+", "0", shown[1])


def test_a_revoked_token_is_known_as_such(blocks: list[dict[str, Any]]) -> None:
    last = blocks[-1]
    assert last["read"](last["pair"].access_token) == "revoked"


def test_the_entra_example_takes_access_tokens_and_no_id_tokens(
    blocks: list[dict[str, Any]],
) -> None:
    """Both have the same ``iss``, ``aud``, ``typ`` and key, and here no nonce."""
    entra, now = blocks[-1]["entra"], int(time.time())
    entra.keys = StaticKeys(PRIVATE)
    auth = Authenticator(entra)
    both: dict[str, Any] = {
        "aud": "CLIENT-ID",
        "iss": "https://login.microsoftonline.com/TENANT/v2.0",
        "iat": now,
        "nbf": now,
        "exp": now + 4500,
        "aio": "AVQAq/8TAAAA",
        "name": "Alice",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
        "preferred_username": "alice@example.com",
        "rh": "0.AXQAI",
        "roles": ["Reader"],
        "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": "TENANT",
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "ver": "2.0",
    }
    by_user = {"azp": "SPA", "azpacr": "0", "scp": "access_as_user"}
    by_application = {"azp": "JOB", "azpacr": "1", "idtyp": "app"}
    for more, is_access in (({}, False), (by_user, True), (by_application, True)):
        payload = json.dumps({**both, **more}).encode()
        text = sign_compact({"typ": "JWT"}, payload, PRIVATE)
        if is_access:
            assert auth.authenticate(text).subject == both["sub"]
        else:
            with pytest.raises(errors.ClaimMissing, match="no azp"):
                auth.authenticate(text)


def test_what_is_shown_of_a_token_exists(blocks: list[dict[str, Any]]) -> None:
    token = blocks[-1]["auth"].authenticate(
        blocks[-1]["issuer"].issue("bob", scope="read").access_token
    )
    blocks[-1]["show"](token)


def test_every_option_is_told_with_its_default() -> None:
    """Each heading of the form ``name: type = default`` under the right class."""
    sections = re.split(r"^### `(\w+)", TEXT, flags=re.MULTILINE)[1:]
    told = dict(zip(sections[::2], sections[1::2], strict=True))
    for name in ("Authenticator", "TrustedIssuer", "RemoteKeys", "Rule"):
        parameters = inspect.signature(getattr(jwt_middleware, name)).parameters
        headings = re.findall(r"^#### `(\w+): (.+)`$", told[name], re.MULTILINE)
        assert [heading for heading, _ in headings] == list(parameters)
        for option, rest in headings:
            default = parameters[option].default
            _, equals, written = rest.rpartition(" = ")
            if equals:
                assert value_of(written) == default
            else:
                assert default in (inspect.Parameter.empty, None)


@pytest.mark.parametrize(
    ("made", "unlisted"),
    [
        (TokenIssuer, {"now"}),
        (SessionCookies, {"issuer"}),  # it is in the heading
        (SQLiteStore, {"now", "clock"}),
        (RedisStore, {"now"}),
    ],
)
def test_every_option_of_a_table_exists_with_its_default(
    made: type, unlisted: set[str]
) -> None:
    """Rows that begin with ``name: type = default``, or with the name alone."""
    heading = "argument" if made is TokenIssuer else rf"`{made.__name__}\(.*\)`"
    found = re.search(
        rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE
    )
    assert found is not None
    cells = [
        cell
        for row in found[1].splitlines()
        for cell in re.findall(r"`([^`]+)`", re.split(r"(?<!\\)\|", row)[1])
    ]
    told = dict(re.findall(r"^(\w+)(.*)$", "\n".join(cells), re.MULTILINE))
    parameters = inspect.signature(made).parameters
    assert told.keys() == parameters.keys() - unlisted
    for name, rest in told.items():
        if not rest:  # only its name is given
            continue
        _, equals, written = rest.rpartition(" = ")
        default = parameters[name].default
        expected = value_of(written) if equals else inspect.Parameter.empty
        assert expected == default, name


@pytest.mark.parametrize("name", ["BearerHeader", "Cookie"])
def test_the_signature_of_a_source_is_told(name: str) -> None:
    given = re.search(rf"^### `{name}\((.*)\)`$", TEXT, re.MULTILINE)
    assert given is not None
    parameters = inspect.signature(getattr(jwt_middleware, name)).parameters
    told = dict(re.findall(r"(\w+)=([^ ,]+)", given[1]))
    assert {option: value_of(text) for option, text in told.items()} == {
        option: parameter.default for option, parameter in parameters.items()
    }


def test_the_table_of_answers_has_every_text() -> None:
    table = TEXT.partition("## Answers")[2].partition("\n## ")[0]
    told = set(re.findall(r"\| ([^|]+\.) \|$", table, re.MULTILINE))
    classes = [errors.AuthError]
    for one in classes:
        classes += one.__subclasses__()
    texts = {one.description for one in classes if one.error and one.in_challenge}
    assert told == texts


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert f"{compact.MAX_LENGTH:,} characters" in FLAT
    assert f"at most {compact.MAX_DEPTH} levels" in FLAT
    assert f"counts from {keyset.SHORTEST_S} to {keyset.LONGEST_S}" in FLAT
    assert f"at most {fetch.MOST_OCTETS // 1024} KiB" in FLAT
    assert f"at most {looks.LOOK_S:g} seconds" in FLAT
    assert keyset.REFRESH_AT == 0.8
    assert "At four fifths of that" in FLAT
    assert f"{strength.RSA_BITS[0]} to {strength.RSA_BITS[-1]} bits" in FLAT
    told = re.findall(
        r"`(\w+)`",
        TEXT.partition("and without regard to case")[2].partition(". So are")[0],
    )
    secret = {name.replace("_", "") for name in told if name != "_"}
    assert secret == claims.SECRET_NAMES


def test_who_needs_no_tokens_in_a_browser_is_told_so() -> None:
    """I-21; and CK-15, of what a narrower path costs."""
    assert "the session cookie of your framework may be all that you need" in FLAT
    assert "| is sent | with every request | below `/session` only |" in TEXT


def test_an_issuer_is_trusted_as_the_readme_says() -> None:
    assert trusted().policy.types == {"at+jwt", "jwt"}


def test_both_commands_stand_on_one_line_each() -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert [command.count("\n") for command in commands] == [1, 1]
    assert all(command.startswith("python3 -m venv .venv && ") for command in commands)


def test_the_install_lines_name_our_distribution_and_warn_of_the_other() -> None:
    """``jwt-middleware`` on the package index belongs to another project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == "jwt-asgi-wsgi"
    assert 'pip install "jwt-asgi-wsgi @ git+' in TEXT
    assert "Do not write `pip install jwt-middleware`" in FLAT


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists()


def value_of(code: str) -> Any:
    return eval(code, {"time": time, **vars(jwt_middleware)})  # noqa: S307


def ask(app: Any, path: str, bearer: str | None = None) -> tuple[int, bytes]:
    """One GET of an ASGI application."""
    sent: list[Any] = []
    headers = (
        [] if bearer is None else [(b"authorization", f"Bearer {bearer}".encode())]
    )
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": headers,
        "query_string": b"",
    }

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def test_the_recipe_for_cors_answers_preflights_and_shows_refusals(
    blocks: list[dict[str, Any]],
) -> None:
    origin = "https://page.example"
    client = Client(blocks[-1]["with_cors"](blocks[0]["app"], origin))
    asking = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    for method, status in (("OPTIONS", 204), ("GET", 401)):
        headers = asking if method == "OPTIONS" else {"Origin": origin}
        answer = client.open("/me", method=method, headers=headers)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == origin
    foreign = {**asking, "Origin": "https://evil.example"}
    refused = client.open("/me", method="OPTIONS", headers=foreign)
    assert refused.status_code == 401
    assert "Access-Control-Allow-Origin" not in refused.headers
