"""The reference pages of the manual say what the code says, and leave nothing out."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import jwt_middleware
from jwt_middleware import (
    AuthError,
    Key,
    RemoteKeys,
    Token,
    TokenIssuer,
    TokenPair,
    TrustedIssuer,
    asgi,
    errors,
    fastapi,
    flask,
    starlette,
    wsgi,
)
from jwt_middleware.fetch import Fetcher
from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

HERE = Path(__file__).resolve()
DOCS = next(up / "docs" for up in HERE.parents if (up / "pyproject.toml").exists())


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of every table under a header that begins with *heading*."""
    found = re.findall(
        rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE
    )
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for table in found
        for row in table.splitlines()
    ]


def refusals() -> list[type[AuthError]]:
    """Every class of the package that refuses a request."""
    found = [AuthError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in found if kind.__module__ == errors.__name__]


def test_every_reason_is_explained_and_none_is_invented() -> None:
    table = rows((DOCS / "errors.md").read_text(), "reason")
    explained = {tuple(cell.strip("`") for cell in row[:4]) for row in table}
    assert len(explained) == len(table)
    assert explained == {
        (kind.reason, str(int(kind.status)), kind.__name__, kind.error or "")
        for kind in refusals()
    }
    assert all(meaning and check for *_, meaning, check in table)


def test_every_description_is_listed_with_its_classes() -> None:
    table = rows((DOCS / "errors.md").read_text(), "`error_description`")
    listed = {
        (description, name)
        for description, names in table
        for name in re.findall(r"`(\w+)`", names)
    }
    assert listed == {(kind.description, kind.__name__) for kind in refusals()}


PUBLIC: dict[str, Any] = {
    **{name: getattr(jwt_middleware, name) for name in jwt_middleware.__all__},
    "Fetcher": Fetcher,
    "RedisStore": RedisStore,
    "SQLiteStore": SQLiteStore,
    "asgi": asgi,
    "fastapi": fastapi,
    "flask": flask,
    "starlette": starlette,
    "time": time,
    "wsgi": wsgi,
}
RETURNED = {"AuthError", "Token", "TokenPair", "current_token"}
"""Public names that an application does not configure."""
REFERENCE = {
    *(set(jwt_middleware.__all__) - RETURNED - {"Key"}),  # by its methods only
    *("Key.from_jwk", "Key.from_pem", "Key.from_secret", "Key.generate"),
    *("StaticKeys.from_jwks", "RemoteKeys.from_issuer", "Fetcher"),
    *("SQLiteStore", "RedisStore", "wsgi.JWTMiddleware", "asgi.JWTMiddleware"),
    *("flask.init_app", "starlette.init_app", "flask.requires"),
}
SAME = [
    ("flask.requires", "starlette.requires"),
    ("flask.requires", "fastapi.requires"),
    ("starlette.init_app", "fastapi.init_app"),
]
"""Of two with the same options the first is documented."""
ALIASES = {"Keys": "KeySource | Iterable[Key] | Mapping[str, Any]"}


def find(name: str) -> Any:
    """Return the public object that a heading names."""
    first, *rest = name.split(".")
    found = PUBLIC[first]
    for attribute in rest:
        found = getattr(found, attribute)
    return found


def options_of(name: str) -> list[tuple[str, str, object]]:
    """Each option as it is written, with its type and its default."""
    found = []
    for parameter in inspect.signature(find(name)).parameters.values():
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
        option = stars.get(parameter.kind.name, "") + parameter.name
        kind = str(parameter.annotation).replace("'", '"')
        for alias, meaning in ALIASES.items():
            kind = re.sub(rf"\b{alias}\b", meaning, kind)
        found.append((option, kind, parameter.default))
    return found


def documented_options() -> dict[str, list[tuple[str, str, object]]]:
    """The same of the page, by the name in the heading above."""
    found: dict[str, list[tuple[str, str, object]]] = {}
    text = (DOCS / "configuration.md").read_text()
    for mark, heading in re.findall(r"^(#{2,4}) `(.+)`$", text, re.MULTILINE):
        if mark != "####":
            options = found[heading] = []
            continue
        option, _, rest = heading.partition(": ")
        kind, equals, default = rest.partition(" = ")
        value = eval(default, PUBLIC) if equals else inspect.Parameter.empty  # noqa: S307
        options.append((option, kind, value))
    return {name: options for name, options in found.items() if options}


def test_every_public_class_is_in_the_reference() -> None:
    assert documented_options().keys() == REFERENCE


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_every_option_is_documented_with_its_type_and_default(name: str) -> None:
    assert documented_options()[name] == options_of(name)


@pytest.mark.parametrize(("documented", "other"), SAME)
def test_what_is_said_to_have_the_same_options_has_them(
    documented: str, other: str
) -> None:
    first, second = options_of(documented), options_of(other)
    assert [option[::2] for option in first] == [option[::2] for option in second]


def test_every_method_of_the_reference_exists_with_its_options() -> None:
    text = (DOCS / "configuration.md").read_text()
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = section.partition("\n")[0].strip("`")
        for cell, *_ in rows(section, "method"):
            for method, given in re.findall(r"`(\w+)\((.*?)\)`", cell):
                parameters = inspect.signature(getattr(find(name), method)).parameters
                told = {
                    part.partition("=")[0].lstrip("*") for part in given.split(", ")
                }
                assert told - {""} <= parameters.keys(), method


@pytest.mark.parametrize("made", [Token, TokenPair])
def test_every_attribute_of_what_is_returned_is_listed(made: type) -> None:
    text = (DOCS / "configuration.md").read_text()
    section = text.partition(f"## `{made.__name__}`\n")[2].partition("\n## ")[0]
    listed = {cell.strip("`") for cell, _ in rows(section, "attribute")}
    public = {name for name in vars(made) if not name.startswith("_")}
    assert listed == public - NOT_LISTED


NOT_LISTED = {"get", "is_authenticated", "identity", "display_name"}
"""What any mapping has, and what Starlette asks of a user."""

ISSUER = "https://login.example"
MADE: dict[str, Callable[..., object]] = {
    "TrustedIssuer": partial(
        TrustedIssuer, ISSUER, audience="api", keys=[Key.generate().public]
    ),
    "RemoteKeys": partial(RemoteKeys, f"{ISSUER}/keys"),
    "TokenIssuer": partial(TokenIssuer, ISSUER, audience="api", key=Key.generate()),
    "RedisStore": partial(RedisStore, "redis://localhost"),
}
BOUNDED = {
    ("TrustedIssuer", "leeway"),
    ("RemoteKeys", "lifetime"),
    ("RemoteKeys", "cooldown"),
    ("RemoteKeys", "timeout"),
    ("TokenIssuer", "access_lifetime"),
    ("TokenIssuer", "leeway"),
    ("SQLiteStore", "max_staleness"),
    ("RedisStore", "max_staleness"),
}


def documented_bounds() -> dict[tuple[str, str], tuple[float, float]]:
    """What is said of each option as "from 1 to 300", by class and option."""
    text = (DOCS / "configuration.md").read_text()
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = section.partition("\n")[0].strip("`")
        for option, meaning in re.findall(
            r"^#### `(\w+):.*`\n((?:(?!#).*\n)+)", section, re.MULTILINE
        ):
            if bounds := re.search(r"from ([\d.]+)\s+to\s+(\d+)[.;,]", meaning):
                found[name, option] = float(bounds[1]), float(bounds[2])
    return found


def test_the_bounds_of_times_are_those_of_the_code(tmp_path: Path) -> None:
    bounds = documented_bounds()
    assert bounds.keys() == BOUNDED
    made: dict[str, Callable[..., object]] = {
        **MADE,
        "SQLiteStore": partial(SQLiteStore, tmp_path / "entries.db"),
    }
    for (name, option), (least, most) in bounds.items():
        for value in (least, most):
            made[name](**{option: value})
        for value in (least - 0.01, most + 1):
            with pytest.raises(ValueError, match=option):
                made[name](**{option: value})
