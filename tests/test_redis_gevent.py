"""RedisStore in gunicorn's gevent and gthread workers."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from jwt_middleware import Key, TokenIssuer

from .redis_server import RedisServer
from .servers import fetch, serving

pytest.importorskip("gevent", reason="gevent is not installed")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

KEY = Key.generate("HS256", kid="served")
ISSUER = TokenIssuer("https://issuer.example", audience="api", key=KEY)
AT_ONCE = 4


@pytest.mark.parametrize(
    "options",
    [
        ["--worker-class=gevent"],
        ["--worker-class=gevent", "--preload"],
        ["--worker-class=gthread", "--threads=4"],
    ],
    ids=["gevent", "gevent, preload", "gthread"],
)
def test_simultaneous_first_requests_are_answered(options: Sequence[str]) -> None:
    """And what one of them revokes, the worker refuses afterwards."""
    headers = {"Authorization": f"Bearer {ISSUER.issue('alice').access_token}"}
    command = ("gunicorn", "tests.served_redis:wsgi_app", "--bind=fd://{fd}", *options)
    with RedisServer() as server:
        environment = {
            "SERVED_KEY": json.dumps(KEY.to_jwk(private=True)),
            "SERVED_REDIS": server.url,
        }
        with (
            serving(*command, environment=environment) as port,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            asked = [
                pool.submit(fetch, port, "/", headers=headers) for _ in range(AT_ONCE)
            ]
            assert [answer.result(20)[0] for answer in asked] == [200] * AT_ONCE
            assert fetch(port, "/revoke", headers=headers)[0] == 200
            assert fetch(port, "/", headers=headers)[0] == 401
