"""Options as people write them: what cannot be meant is refused, and says so."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from jwt_middleware.options import (
    LATEST_DATE,
    SCOPE,
    TEXT,
    read_clock,
    read_count,
    read_date,
    read_flag,
    read_one_or_several,
    read_parts,
    read_seconds,
    read_word,
    read_words,
)


@pytest.mark.parametrize("word", ["a", "https://issuer.example/é", "a,b", "0"])
def test_a_word_is_kept_as_it_is(word: str) -> None:
    assert read_word("issuer", word) == word


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", "a\n", "\ta", "a\0", "a\x7f", "a\xa0", "a\u2028", None, 5, b"a"],
)
def test_a_word_has_no_white_space_and_no_control(value: object) -> None:
    message = re.escape(f"issuer must be a string without spaces, not {value!r}")
    with pytest.raises(ValueError, match=message):
        read_word("issuer", value)


@pytest.mark.parametrize("scope", ["read", "a:b/c.d", "!", "#[]~"])
def test_a_scope_is_a_word(scope: str) -> None:
    assert read_word("scope", scope, SCOPE) == scope


@pytest.mark.parametrize("scope", ['a"', "a\\b", "é", "a b", "", "a\x7f"])
def test_a_scope_has_the_characters_of_rfc_6749(scope: str) -> None:
    with pytest.raises(ValueError, match="scope must be a string"):
        read_word("scope", scope, SCOPE)


def test_a_text_may_have_spaces_but_no_controls() -> None:
    assert read_word("realm", "my api", TEXT) == "my api"
    assert read_one_or_several("audience", "my api", TEXT) == ("my api",)
    for value in ("", "a\n", "a\0", "\x7f", None, b"a"):
        with pytest.raises(ValueError, match="realm must be a string without control"):
            read_word("realm", value, TEXT)


@pytest.mark.parametrize("values", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}])
def test_several_are_any_iterable(values: object) -> None:
    assert read_words("require", values) == ("a", "b")
    assert read_words("require", iter(["a", "b"])) == ("a", "b")
    assert read_words("require", ()) == ()


@pytest.mark.parametrize("values", ["sub", b"sub"])
def test_a_string_for_several_is_told_how_to_write_it(values: object) -> None:
    message = re.escape(f"require takes several; write require=({values!r},)")
    with pytest.raises(ValueError, match=message):
        read_words("require", values)


@pytest.mark.parametrize("values", [None, 5, True])
def test_several_are_not_one_of_another_kind(values: object) -> None:
    with pytest.raises(
        ValueError, match=f"require takes several strings, not {values}"
    ):
        read_words("require", values)


@pytest.mark.parametrize("values", [[None], ["a", ""], ["a b"], [b"a"]])
def test_each_of_several_is_a_word(values: object) -> None:
    with pytest.raises(ValueError, match="each of require must be a string"):
        read_words("require", values)


def test_one_or_several_is_at_least_one() -> None:
    assert read_one_or_several("audience", "a") == ("a",)
    assert read_one_or_several("audience", ["a", "b"]) == ("a", "b")
    with pytest.raises(ValueError, match="audience is empty; name at least one"):
        read_one_or_several("audience", ())
    with pytest.raises(ValueError, match="each of audience must be a string"):
        read_one_or_several("audience", "")
    with pytest.raises(ValueError, match="audience takes several"):
        read_one_or_several("audience", b"a")


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 299.9, 300])
def test_seconds_are_within_their_bounds(value: float) -> None:
    assert read_seconds("leeway", value, least=0, most=300) == value


@pytest.mark.parametrize(
    "value",
    [-1, -0.1, 300.1, 10**400, math.nan, math.inf, -math.inf, True, None, "30", [30]],
)
def test_nothing_else_is_a_number_of_seconds(value: object) -> None:
    with pytest.raises(ValueError, match=r"leeway must be .* seconds from 0 to 300"):
        read_seconds("leeway", value, least=0, most=300)


def test_a_date_is_exact() -> None:
    assert read_date("before", 0) == 0
    assert read_date("before", 1_800_000_000.5) == 1_800_000_000.5
    assert read_date("before", LATEST_DATE) == LATEST_DATE
    for value in (-1, LATEST_DATE + 1, math.nan, math.inf, "2027", None):
        with pytest.raises(ValueError, match="before must be a number of seconds"):
            read_date("before", value)


def test_a_count_is_whole() -> None:
    assert read_count("cache_size", 0) == 0
    assert read_count("cache_size", 10_000) == 10_000
    for value in (-1, 1.0, True, "1", None, math.nan):
        with pytest.raises(ValueError, match="cache_size must be a whole number"):
            read_count("cache_size", value)


def test_a_flag_is_true_or_false() -> None:
    assert read_flag("require_https", True) is True
    assert read_flag("require_https", False) is False
    for value in ("false", "", 0, 1, None):
        with pytest.raises(ValueError, match="require_https must be True or False"):
            read_flag("require_https", value)


def test_a_clock_is_a_function() -> None:
    assert read_clock(float) is float
    others: list[Any] = [1_800_000_000.0, "now", None]
    for value in others:
        with pytest.raises(ValueError, match="now must be a function"):
            read_clock(value)


def test_parts_are_objects_that_can_do_something() -> None:
    assert read_parts("rules", ["a", "b"], "upper", "lower") == ("a", "b")
    assert read_parts("rules", iter(()), "upper") == ()


@pytest.mark.parametrize("values", ["a", b"a", {"a": 1}, None, 7, str])
def test_parts_are_several(values: object) -> None:
    told = r"rules takes several, not .*; write rules=\(Rule\("
    with pytest.raises(ValueError, match=told):
        read_parts("rules", values, "upper")


@pytest.mark.parametrize(
    ("value", "kind"), [(7, "a int"), (None, "None"), (str, "the class str")]
)
def test_a_part_that_cannot_is_told_what_it_lacks(value: object, kind: str) -> None:
    """So is a class, which has the methods and cannot be asked."""
    told = f"each of rules is an object with upper and lower, not {kind}"
    with pytest.raises(ValueError, match=told):
        read_parts("rules", ["a", value], "upper", "lower")
