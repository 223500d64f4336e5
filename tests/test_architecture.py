"""The house: imports point down, and every library lives in one room."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jwt_middleware

from .interpreters import printed

PACKAGE = Path(jwt_middleware.__file__).parent

FLOORS = (
    {"quoting"},
    {
        "errors",
        "issue_dates",
        "request",
        "token",
        "strength",
        "connect",
        "fork",
        "grace",
        "watchers",
        "workers",
        "pair",
        "signatures",
        "guards",
        "redis_scripts",
    },
    {
        "redis_forms",
        "redis_url",
        "options",
        "plain_http",
        "tracebacks",
        "pools",
        "current",
        "compact",
        "challenge",
        "kinds",
        "generations",
        "marks",
        "paths",
        "roots",
    },
    {
        "jwk",
        "grants",
        "redis_marks",
        "policy",
        "asgi_request",
        "rules",
        "claims",
        "session_ids",
        "credentials",
        "fetch",
        "bridge",
        "marks_table",
        "key_material",
    },
    {
        "flight",
        "pem",
        "loops",
        "store",
        "replica",
        "decision",
        "requirement",
        "matching",
        "cookies",
        "set_cookie",
        "discovery",
    },
    {
        "caching",
        "algorithms",
        "ending",
        "testing",
        "marks_connection",
        "healing",
        "looks",
    },
    {"jose", "stream", "marks_file"},
    {"keys", "jwks", "keyset", "refresh"},
    {"upkeep", "redis", "sqlite"},
    {"remote"},
    {"key_sources"},
    {"trust"},
    {"revocation", "origins"},
    {"cache"},
    {"verifier", "rotation", "access", "__main__"},
    {"revoking", "sessions"},
    {"authenticator", "issuer"},
    {"wsgi", "asgi", "renewal", "session_checks"},
    {"session_cookies", "startup", "flask_errors"},
    {"flask", "starlette"},
    {"fastapi", "__init__"},
)
"""From the ground up: a room imports only from floors below its own."""

OWNERS = {
    "jwt": "algorithms",
    "cryptography": "algorithms",  # and the room below it, to check
    "flask": "flask",
    "werkzeug": "flask",
    "starlette": "starlette",
    "fastapi": "fastapi",
    "django": "django",
    "redis": "redis",
    "pytest": "testing",
    "sqlite3": "marks_file",
}
"""The one room that may import each."""

BELOW_THE_OWNER = {
    "flask_errors": {"flask", "werkzeug"},
    "signatures": {"cryptography"},
    "key_material": {"cryptography"},
    "pem": {"cryptography"},
    "marks_connection": {"sqlite3"},
    "marks_table": {"sqlite3"},
}
"""The modules directly below an owner that may import its library as well."""

NEVER_AT_IMPORT = (
    *OWNERS,
    "asyncio",
    "trio",
    "http.client",
    "urllib.request",
    "requests",
    "httpx",
    "ssl",
)

MOST_LINES_OF_A_ROOM = 260
MOST_LINES_OF_A_FUNCTION = 30
LONG = {
    "errors": "one tree of all refusals, each a class of a few lines",
    "algorithms._common": "a table of 15 algorithms, with the imports that it needs",
}
"""What may be longer, and why."""

ROOMS = {path.stem: path for path in sorted(PACKAGE.glob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in ROOMS.items()}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def neighbours(room: str) -> Iterator[str]:
    """The rooms that *room* imports, wherever the import stands."""
    for node in ast.walk(TREES[room]):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [alias.name for alias in node.names]
            yield from [node.module] if node.module else names


def libraries(room: str) -> Iterator[str]:
    """What *room* imports from outside, by its first name."""
    for node in ast.walk(TREES[room]):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def functions(room: str) -> Iterator[tuple[str, Function]]:
    """Every function of *room* with its dotted name, nested ones too."""

    def within(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}.{getattr(child, 'name', '')}".rstrip(".")
            if isinstance(child, Function):
                yield name, child
            yield from within(child, name)

    return within(TREES[room], room)


def length(function: Function) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def floor_of(room: str) -> int:
    (floor,) = [index for index, rooms in enumerate(FLOORS) if room in rooms]
    return floor


def test_every_room_is_on_one_floor() -> None:
    listed = sorted(room for floor in FLOORS for room in floor)
    assert listed == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_down(room: str) -> None:
    wrong = [name for name in neighbours(room) if floor_of(name) >= floor_of(room)]
    assert wrong == []


def test_there_are_no_more_floors_than_are_needed() -> None:
    """The tower is as high as its longest chain of imports."""
    heights: dict[str, int] = {}
    for room in sorted(ROOMS, key=floor_of):
        heights[room] = 1 + max((heights[name] for name in neighbours(room)), default=0)
    assert max(heights.values()) == len(FLOORS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_inside_the_house_are_relative(room: str) -> None:
    """And of names: a star would hide which."""
    assert "jwt_middleware" not in libraries(room)
    stars = [
        node
        for node in ast.walk(TREES[room])
        if isinstance(node, ast.ImportFrom)
        if node.level > 1 or any(alias.name == "*" for alias in node.names)
    ]
    assert stars == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_library_lives_in_one_room(room: str) -> None:
    outside = {
        name
        for name in libraries(room)
        if name in OWNERS or name not in sys.stdlib_module_names
    }
    outside -= BELOW_THE_OWNER.get(room, set())
    assert {name for name in outside if OWNERS.get(name) != room} == set()


def test_a_room_named_after_a_library_is_its_owner() -> None:
    for room in ROOMS.keys() & OWNERS.keys():
        assert OWNERS[room] == room
        assert room in libraries(room)


@pytest.mark.parametrize("room", ROOMS)
def test_annotations_are_not_evaluated(room: str) -> None:
    """``from __future__ import annotations`` is the first thing after the docstring."""
    first = TREES[room].body[1]
    assert isinstance(first, ast.ImportFrom)
    assert (first.module, first.names[0].name) == ("__future__", "annotations")


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_waits_while_a_lock_is_held(room: str) -> None:
    """Under gevent another greenlet runs then, and may need the lock: for good."""
    waits = {
        *("start", "join", "wait", "sleep", "submit", "result", "ask", "run"),
        *(
            "open",
            "connect",
            "execute",
            "fetch",
            "recv",
            "recv_into",
            "send",
            "sendall",
        ),
    }
    for block in ast.walk(TREES[room]):
        if not isinstance(block, ast.With | ast.AsyncWith):
            continue
        if not any(ast.unparse(item).endswith("lock") for item in block.items):
            continue
        for node in ast.walk(block):
            assert not isinstance(node, ast.Await), f"line {node.lineno}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func).rpartition(".")[2]
                assert called not in waits, f"line {node.lineno}: {called}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_not_too_large(room: str) -> None:
    lines = len(ROOMS[room].read_text().splitlines())
    assert lines <= MOST_LINES_OF_A_ROOM or room in LONG


@pytest.mark.parametrize("room", ROOMS)
def test_a_function_is_not_too_long(room: str) -> None:
    long = {
        name: length(node)
        for name, node in functions(room)
        if length(node) > MOST_LINES_OF_A_FUNCTION
    }
    assert long.keys() - LONG.keys() == set()


def test_whatever_may_be_long_is() -> None:
    """A reason that is no longer needed goes."""
    lengths = {name: length(node) for room in ROOMS for name, node in functions(room)}
    lines = {room: len(path.read_text().splitlines()) for room, path in ROOMS.items()}
    for name, reason in LONG.items():
        assert reason
        assert (
            lengths.get(name, 0) > MOST_LINES_OF_A_FUNCTION
            or lines.get(name, 0) > MOST_LINES_OF_A_ROOM
        )


def loaded_after(statement: str) -> set[str]:
    """What a fresh interpreter has loaded after *statement*."""
    code = f"{statement}\nimport sys\nprint(*sys.modules, sep='\\n')"
    return set(printed("-c", code).split())


@pytest.mark.parametrize(
    "statement",
    [
        "from jwt_middleware import *",
        "from jwt_middleware.wsgi import JWTMiddleware",
        "from jwt_middleware.asgi import JWTMiddleware",
    ],
)
def test_an_import_costs_no_framework_no_loop_and_no_library(statement: str) -> None:
    """Whoever uses one door does not load the other's; keys load theirs when made."""
    loaded = loaded_after(statement)
    assert "jwt_middleware.authenticator" in loaded
    assert [name for name in NEVER_AT_IMPORT if name in loaded] == []


def test_one_door_does_not_load_the_other() -> None:
    assert "jwt_middleware.asgi" not in loaded_after("import jwt_middleware.wsgi")
    assert "jwt_middleware.wsgi" not in loaded_after("import jwt_middleware.asgi")


def test_wsgi_is_served_without_asyncio() -> None:
    """From the request to the answer."""
    loaded = loaded_after(
        "from jwt_middleware import *\n"
        "from jwt_middleware.wsgi import JWTMiddleware\n"
        "key = Key.generate('ES256')\n"
        "issuer = TokenIssuer('https://a.example', audience='a', key=key)\n"
        "auth = Authenticator(issuer.trusted(), store=MemoryStore())\n"
        "text = issuer.issue('alice').access_token\n"
        "environ = {'REQUEST_METHOD': 'GET', 'wsgi.url_scheme': 'https',\n"
        "           'HTTP_AUTHORIZATION': f'Bearer {text}'}\n"
        "seen = []\n"
        "JWTMiddleware(lambda environ, _: seen.append(current_token()) or [], auth)(\n"
        "    environ, None)\n"
        "assert seen[0]['sub'] == 'alice'\n"
    )
    assert not {"asyncio", "trio"} & loaded
    assert "cryptography" in loaded
