"""What the log says of a request or a configuration that is wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jwt_middleware import Authenticator, BearerHeader, Key, TokenIssuer
from jwt_middleware.wsgi import JWTMiddleware as WSGIMiddleware

from .conftest import Mint, authenticator, trusted
from .doors import Door


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Bearer Bearer {}", "the scheme stands twice"),
        ('Bearer "{}"', "the token is in quotes"),
        ("Bearer {} x", "a blank in the token"),
        ("Bearer {}!", "a character that no token has"),
    ],
)
def test_a_token_that_is_badly_written(
    door: Door, mint: Mint, caplog: Any, template: str, said: str
) -> None:
    token = mint()
    with caplog.at_level(logging.INFO, "jwt_middleware"):
        answer = door.get(headers=[("Authorization", template.format(token))])
    assert answer.status == 400
    assert said in caplog.text
    assert token not in caplog.text
    assert said.encode() not in answer.body


def test_issuers_that_are_none() -> None:
    issuer = TokenIssuer("https://a.example", audience="a", key=Key.generate())
    wrong: Any
    for wrong in (issuer, [trusted()]):
        with pytest.raises(ValueError, match=r"Authenticator\(a, b\).*trusted\(\)"):
            Authenticator(wrong)


def test_a_source_is_checked_at_construction() -> None:
    class Split(BearerHeader):
        challenge = "Bearer\r\nX: y"

    class Waiting(BearerHeader):
        async def find(self, request: Any) -> Any:  # type: ignore[override]
            return None

    with pytest.raises(ValueError, match="challenge of a source"):
        authenticator(sources=(Split(),))
    with pytest.raises(ValueError, match="plain method"):
        authenticator(sources=(Waiting(),))


def test_an_asgi_application_is_not_served_as_wsgi() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match=r"jwt_middleware\.asgi\.JWTMiddleware"):
        WSGIMiddleware(app, authenticator())  # type: ignore[arg-type]
