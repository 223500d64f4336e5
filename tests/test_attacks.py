"""Every attack case goes in by each door that it names, and comes out as it must.

``vectors/attacks.json`` says of each case what is trusted, what is sent and which
answers are acceptable; what holds for all of them is asserted in `ensure_safe`.
"""

from __future__ import annotations

import json
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from jwt_middleware import (
    Authenticator,
    BearerHeader,
    Cookie,
    Key,
    MemoryStore,
    Rule,
    TrustedIssuer,
)
from jwt_middleware.trust import DEFAULT_TYPES

from .doors import Answer, ASGIDoor, Door, WSGIDoor

VECTORS = json.loads((Path(__file__).parent / "vectors" / "attacks.json").read_text())
DOORS = {"asgi": ASGIDoor, "wsgi": WSGIDoor}

LATER = {"dpop"}
"""Groups whose subject this version does not have yet."""

DEVIATIONS = {
    # id: the reason why another answer than the expected one is right
    "REV-011": "a token without jti is known by the hash of its signing input, so it "
    "can be revoked and need not be refused",
}

CASES = [
    pytest.param(case, name, id=f"{case['id']}-{name}")
    for case in VECTORS["cases"]
    for name in case["transports"]
    if case["group"] not in LATER
]


@pytest.mark.parametrize(("case", "name"), CASES)
def test_case(case: dict[str, Any], name: str, monkeypatch: Any, caplog: Any) -> None:
    """The case's own expectation, and what holds for every case."""
    expected = case["expected"]
    monkeypatch.setattr(socket.socket, "connect", no_network)
    caplog.set_level("DEBUG")
    try:
        auth = configure(case["config"])
    except ValueError:
        assert expected.get("config_error_ok") or is_refused_configuration(case)
        return
    door = DOORS[name](auth)
    prepare(case, door)
    began = time.perf_counter()
    answer = present(case["request"], door)
    ensure_in_time(expected, time.perf_counter() - began)
    ensure_safe(case, answer, caplog.text)
    if case["id"] in DEVIATIONS:
        assert not is_as_expected(expected, answer), "it is as expected after all"
    else:
        assert is_as_expected(expected, answer), (answer, expected)


def test_both_doors_give_the_same_answer() -> None:
    """Status, challenge, body and claims of every case that goes through both."""
    differing = [
        case["id"]
        for case in VECTORS["cases"]
        if set(case["transports"]) == {"asgi", "wsgi"} and case["group"] not in LATER
        if not is_same_by_both_doors(case)
    ]
    assert differing == []


def test_deviations_name_cases_that_exist() -> None:
    assert DEVIATIONS.keys() <= {case["id"] for case in VECTORS["cases"]}


def no_network(*_: Any) -> None:
    raise AssertionError("a request made us open a connection")


def is_refused_configuration(case: dict[str, Any]) -> bool:
    """Without issuer or audience nothing would be checked: refused at construction."""
    config = case["config"]
    return config["issuer"] is None or config["audience"] is None


def configure(config: dict[str, Any]) -> Authenticator:
    keys: Any = VECTORS["keysets"][config["keys"]]
    if "keys_pem" in config:
        keys = [Key.from_pem(config["keys_pem"], config["algorithms"][0])]
    named = config["issuer"]
    issuers = [
        TrustedIssuer(
            issuer,
            audience=config["audience"],
            keys=keys,
            algorithms=config["algorithms"],
            leeway=config["leeway"],
            max_lifetime=None,
            require=config["required_claims"],
            types=DEFAULT_TYPES if config["typ"] is None else (config["typ"],),
        )
        for issuer in (named if isinstance(named, list) else [named])
    ]
    rules = [Rule(path, public=True) for path in config.get("exclude", ())]
    rules.append(
        Rule(
            "/*",
            optional=config["optional"],
            scopes=config.get("required_scopes", ()),
        )
    )
    return Authenticator(
        *issuers,
        sources=[source(place, config) for place in config["sources"]],
        rules=rules,
        store=MemoryStore(lambda: config["now"]) if config.get("revocation") else None,
        now=lambda: config["now"],
    )


def source(place: dict[str, Any], config: dict[str, Any]) -> BearerHeader | Cookie:
    if place["in"] == "cookie":
        return Cookie(place["name"], trusted_origins=config.get("ws_origins", ()))
    return BearerHeader(place["name"], scheme=place["scheme"])


def prepare(case: dict[str, Any], door: Door) -> None:
    for step in case["setup"]:
        if "revoke_token" in step:
            door.auth.revoke(step["revoke_token"])
        elif "revoke_jti" in step:
            issuer = case["config"]["issuer"]
            first = issuer[0] if isinstance(issuer, list) else issuer
            door.auth.revoke_jti(step["revoke_jti"], first)
        elif "revoke_subject" in step:
            door.auth.revoke_subject(step["revoke_subject"], before=step["before"])
        elif step.get("request_first"):
            present(case["request"], door)
        else:
            raise AssertionError(f"a step that nobody knows: {step}")


def present(request: dict[str, Any], door: Door) -> Answer:
    headers = [(name, whole(value)) for name, value in request["headers"]]
    cookies = [(name, whole(value)) for name, value in request["cookies"]]
    if request["type"] == "websocket":
        assert isinstance(door, ASGIDoor)
        answer, _ = door.websocket(
            request["path"],
            headers=headers,
            cookies=cookies,
            scheme=request["scheme"],
            host=request["host"],
        )
        return answer
    extra = dict(
        request.get("environ" if isinstance(door, WSGIDoor) else "scope") or {}
    )
    return door.request(
        request["method"],
        request["path"],
        headers=headers,
        cookies=cookies,
        scheme=request["scheme"],
        host=None if request.get("no_host") else request["host"],
        query=request["query"],
        extra=extra,
    )


def whole(value: str | list[Any]) -> str:
    """A header's value, of which a part may be written as text times a number."""
    if isinstance(value, str):
        return value
    return "".join(p if isinstance(p, str) else p["repeat"] * p["n"] for p in value)


def is_as_expected(expected: dict[str, Any], answer: Answer) -> bool:
    if expected["outcome"] == "accept":
        return is_accepted(expected, answer)
    if expected["outcome"] == "reject":
        return is_rejected(expected, answer)
    if expected["outcome"] == "passthrough":
        return answer.entered and answer.token is None
    assert expected["outcome"] == "either"
    is_public = expected.get("authenticated") is False and answer.token is None
    is_passed = answer.entered and is_public
    return is_accepted(expected, answer) or is_passed or 400 <= answer.status < 500


def is_accepted(expected: dict[str, Any], answer: Answer) -> bool:
    claims = expected.get("claims") or {}
    return (
        answer.entered
        and answer.token is not None
        and all(answer.token[name] == value for name, value in claims.items())
    )


def is_rejected(expected: dict[str, Any], answer: Answer) -> bool:
    return not answer.entered and any(
        answer.status == response["status"]
        and response["error"] in ("*", told_error(answer))
        for response in expected["responses"]
    )


def told_error(answer: Answer) -> str | None:
    found = re.search(r'error="([^"]*)"', answer.challenge or "")
    return found[1] if found else None


def ensure_in_time(expected: dict[str, Any], seconds: float) -> None:
    """A bound on work, ten times over: it is no measurement of speed."""
    assert seconds * 1000 <= 10 * expected.get("max_ms", 1000)


def ensure_safe(case: dict[str, Any], answer: Answer, log: str) -> None:
    assert answer.status in (101, 200, 400, 401, 403)
    assert answer.entered == (answer.status in (101, 200))
    text = "\n".join(f"{name}: {value}" for name, value in answer.headers)
    assert all(re.fullmatch(r"[\x20-\x7E]*", value) for _, value in answer.headers)
    if answer.status in (400, 401, 403):
        assert answer.challenge is not None
        assert re.match(r'Bearer realm="api"', answer.challenge)
        assert answer.header("cache-control") == "no-store"
    for part in secret_parts(case["request"]):
        assert part not in text + answer.body.decode("latin-1")
        assert part not in log
    if "head_no_body" in case["checks"]:
        assert answer.body == b""
    if "claims_encodable_or_reject" in case["checks"] and answer.token is not None:
        json.dumps(dict(answer.token), allow_nan=False, ensure_ascii=False).encode()


def secret_parts(request: dict[str, Any]) -> set[str]:
    """Every 16th run of 16 characters of what was presented."""
    values = [whole(value) for _, value in request["headers"] + request["cookies"]]
    return {
        run
        for value in values
        for run in re.findall(r"[A-Za-z0-9_-]{16}", value)
        if len(set(run)) > 4
    }


def is_same_by_both_doors(case: dict[str, Any]) -> bool:
    answers: list[tuple[Any, ...]] = []
    for door_class in DOORS.values():
        try:
            door = door_class(configure(case["config"]))
        except ValueError as error:
            answers.append((type(error),))
            continue
        prepare(case, door)
        if "environ" in case["request"] or "scope" in case["request"]:
            return True  # about one door alone
        answer = present(case["request"], door)
        claims = None if answer.token is None else dict(answer.token)
        answers.append((answer.status, answer.headers, answer.body, claims))
    return answers[0] == answers[1]
