"""A store that is well is not taken for a silent one, however busy the threads are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jwt_middleware.redis import RedisStore
from jwt_middleware.sqlite import SQLiteStore

from .benchmarks.busy import ask_for
from .redis_server import RedisServer

STALENESS_S = 0.5
"""Much less than the default, so that the copy is too old again and again."""
SECONDS = 2.0


@pytest.fixture(params=["sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[SQLiteStore | RedisStore]:
    if request.param == "sqlite":
        with closing(SQLiteStore(tmp_path / "db", max_staleness=STALENESS_S)) as one:
            yield one
        return
    with (
        RedisServer() as server,
        closing(RedisStore(server.url, max_staleness=STALENESS_S)) as two,
    ):
        yield two


@pytest.mark.parametrize("threads", [16, 64])
def test_no_request_gets_503_beside_threads_that_are_busy(
    store: SQLiteStore | RedisStore, threads: int
) -> None:
    """A look that finds the copy too old reads the store itself."""
    seen = ask_for(store, threads, SECONDS)
    assert seen.stale == 0
    assert seen.answers > 0
