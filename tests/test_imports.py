"""What an import costs: the rooms that are used, and no others."""

from __future__ import annotations

import ast
import importlib
import pickle
from pathlib import Path

import pytest

import jwt_middleware
from jwt_middleware import AuthError, TokenPair

from .interpreters import printed
from .test_architecture import TREES, loaded_after

NAMES = jwt_middleware.__all__
VERIFYING = (
    "from jwt_middleware import Authenticator, BearerHeader, Key, Rule, TrustedIssuer"
)
DOORS = {
    "asgi": "from jwt_middleware.asgi import JWTMiddleware",
    "wsgi": "from jwt_middleware.wsgi import JWTMiddleware",
}
NOT_TO_VERIFY = {
    "access",
    "claims",
    "connect",
    "cookies",
    "discovery",
    "fetch",
    "flight",
    "issuer",
    "jwks",
    "keyset",
    "pair",
    "refresh",
    "remote",
    "renewal",
    "requirement",
    "session_cookies",
    "sessions",
    "set_cookie",
    "upkeep",
}
"""Rooms for keys that are fetched, for tokens that are made, and for cookies."""
LIBRARIES_NOT_TO_VERIFY = {
    "asyncio",
    "cryptography",
    "http.client",
    "jwt",
    "random",
    "secrets",
    "socket",
    "ssl",
    "urllib.request",
}


def rooms(loaded: set[str]) -> set[str]:
    prefix = "jwt_middleware."
    return {name.removeprefix(prefix) for name in loaded if name.startswith(prefix)}


def promised() -> dict[str, str]:
    """Name and room, as type checkers read them."""
    return {
        alias.name: node.module or ""
        for node in ast.walk(TREES["__init__"])
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def test_the_package_alone_loads_nothing_else() -> None:
    more = loaded_after("import jwt_middleware") - loaded_after("pass")
    assert more == {"__future__", "jwt_middleware"}


@pytest.mark.parametrize("door", DOORS)
def test_an_app_that_verifies_loads_nothing_that_fetches_or_issues(door: str) -> None:
    loaded = loaded_after(f"{VERIFYING}\n{DOORS[door]}")
    assert {"authenticator", "trust", door} <= rooms(loaded)
    assert rooms(loaded) & NOT_TO_VERIFY == set()
    assert loaded & LIBRARIES_NOT_TO_VERIFY == set()


def test_keys_that_are_given_load_nothing_that_fetches() -> None:
    """Nor does a request: here one passes."""
    loaded = loaded_after(
        f"{VERIFYING}\n{DOORS['wsgi']}\n"
        "issuer = TrustedIssuer('https://a', audience='a', keys=[Key.generate()])\n"
        "app = JWTMiddleware(lambda *_: ['in'], Authenticator(\n"
        "    issuer, rules=[Rule('/', public=True)]))\n"
        "environ = {'REQUEST_METHOD': 'GET', 'wsgi.url_scheme': 'https',\n"
        "           'PATH_INFO': '/'}\n"
        "assert app(environ, None) == ['in']\n"
    )
    assert rooms(loaded) & NOT_TO_VERIFY == set()


def test_keys_that_are_found_load_what_fetches_them() -> None:
    loaded = loaded_after(f"{VERIFYING}\nTrustedIssuer('https://a', audience='a')\n")
    assert {"remote", "discovery", "fetch"} <= rooms(loaded)


def test_type_checkers_are_promised_what_there_is() -> None:
    assert promised() == jwt_middleware._ROOMS
    assert sorted(promised()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_its_room_defines(name: str) -> None:
    room = importlib.import_module(f"jwt_middleware.{promised()[name]}")
    thing = getattr(jwt_middleware, name)
    assert thing is getattr(room, name)
    assert thing.__module__ == room.__name__


@pytest.mark.parametrize("name", NAMES)
def test_each_name_comes_alone_in_either_way(name: str) -> None:
    """In a fresh process, where no other name has loaded its room."""
    out = printed(
        "-c",
        "import jwt_middleware\n"
        f"first = jwt_middleware.{name}\n"
        f"assert vars(jwt_middleware)['{name}'] is first\n"
        f"from jwt_middleware import {name}\n"
        f"print({name} is first)\n",
    )
    assert out == "True\n"


def test_an_unknown_name_is_told_as_of_any_module() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = jwt_middleware.Autenticator  # type: ignore[attr-defined]
    told = str(caught.value)
    assert told == "module 'jwt_middleware' has no attribute 'Autenticator'"
    with pytest.raises(ImportError, match="cannot import name 'Autenticator'"):
        exec("from jwt_middleware import Autenticator")  # noqa: S102  (as in a file)


def test_dir_lists_names_that_were_not_used_yet() -> None:
    listed = printed("-c", "import jwt_middleware\nprint(*dir(jwt_middleware))").split()
    assert {*NAMES, "__all__", "__doc__"} <= {*listed}
    assert listed == sorted(set(listed))
    assert {*listed} <= {*dir(jwt_middleware)}


def test_a_room_is_imported_from_the_package_as_before() -> None:
    assert printed(
        "-c", "from jwt_middleware import errors\nprint(errors.__name__)"
    ) == ("jwt_middleware.errors\n")


def test_what_was_pickled_is_read_by_a_process_that_used_no_name(
    tmp_path: Path,
) -> None:
    file = tmp_path / "pair"
    file.write_bytes(pickle.dumps(TokenPair("a", expires_in=600, session_id="s")))
    code = f"import pickle\nprint(pickle.load(open({str(file)!r}, 'rb')).expires_in)"
    assert printed("-c", code) == "600\n"
    assert pickle.loads(pickle.dumps(AuthError)) is AuthError  # noqa: S301  (our own)


def test_threads_that_use_names_at_once_get_the_same() -> None:
    """Each begins with another name, and all begin together.

    But for `collections.abc`, which Python 3.13.0 gives empty to threads that import it
    at once (python/cpython#125245).
    """
    out = printed(
        "-c",
        "import collections.abc, threading, jwt_middleware\n"
        "names, found = jwt_middleware.__all__, []\n"
        "count = len(names)\n"
        "start = threading.Barrier(count)\n"
        "def use(first):\n"
        "    start.wait()\n"
        "    turned = names[first:] + names[:first]\n"
        "    found.append({n: getattr(jwt_middleware, n) for n in turned})\n"
        "threads = [threading.Thread(target=use, args=(i,)) for i in range(count)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print(len(found) == count, all(each == found[0] for each in found))\n",
    )
    assert out == "True True\n"
