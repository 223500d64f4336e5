"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import pytest

import jwt_middleware

from .conftest import authenticator

MODULES = [module.name for module in pkgutil.iter_modules(jwt_middleware.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module = importlib.import_module(f"jwt_middleware.{name}")
    names: dict[str, Any] = {
        # Asked for one by one: they are imported when they are first used.
        **{
            public: getattr(jwt_middleware, public) for public in jwt_middleware.__all__
        },
        **vars(module),
        "auth": authenticator(),
    }
    result = doctest.testmod(module, globs=names)
    assert result.failed == 0


def test_public_constructors_have_an_example() -> None:
    """But for what is only ever handed out."""
    for name in jwt_middleware.__all__:
        if name not in ("AuthError", "Token", "TokenPair", "current_token"):
            assert ">>> " in (getattr(jwt_middleware, name).__doc__ or ""), name
