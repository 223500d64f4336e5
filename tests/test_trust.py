"""Whom we believe: what cannot be meant is refused, and told what to write."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jwt_middleware import Key, StaticKeys, TrustedIssuer
from jwt_middleware.bridge import run
from jwt_middleware.errors import KeysUnavailable, UnknownKey

from .conftest import AUDIENCE, ISSUER, NOW, SIGNING_KEY, trusted

EDWARDS, ED448 = Key.generate("Ed25519", kid="e"), Key.generate("Ed448", kid="g")
SECRET = Key.generate("HS256", kid="s")
PUBLIC_JWK = SIGNING_KEY.public.to_jwk()


# What is right


def test_the_defaults_are_those_of_real_issuers() -> None:
    policy = trusted().policy
    assert policy.types == {"at+jwt", "jwt"}
    assert (policy.leeway, policy.max_lifetime, policy.require) == (30, 86400, ())


def test_options_are_read_as_they_were_meant() -> None:
    issuer = TrustedIssuer(
        ISSUER,
        audience=iter(["one", "two"]),
        keys=iter([SIGNING_KEY]),
        types=["application/logout+JWT", "JWT"],
        leeway=0,
        max_lifetime=None,
        require=["sub", "tenant"],
    )
    assert issuer.issuer == issuer.policy.issuer == ISSUER
    assert issuer.policy.audiences == {"one", "two"}
    assert issuer.policy.types == {"logout+jwt", "jwt"}
    assert issuer.policy.leeway == 0
    assert issuer.policy.max_lifetime == math.inf
    assert issuer.policy.require == ("sub", "tenant")


def test_an_audience_may_have_spaces() -> None:
    """It is compared, and stands nowhere else."""
    assert trusted(audience="my api").policy.audiences == {"my api"}


def test_one_audience_and_one_type_may_be_a_string() -> None:
    policy = trusted(audience="one", types="at+jwt").policy
    assert policy.audiences == {"one"}
    assert policy.types == {"at+jwt"}


@pytest.mark.parametrize("leeway", [0, 0.5, 299.9, 300])
def test_leeway_is_a_few_minutes_at_most(leeway: float) -> None:
    assert trusted(leeway=leeway).policy.leeway == leeway


@pytest.mark.parametrize("lifetime", [1, 1.5, 86400, 10 * 365 * 86400])
def test_max_lifetime_is_ten_years_at_most(lifetime: float) -> None:
    assert trusted(max_lifetime=lifetime).policy.max_lifetime == lifetime


@pytest.mark.parametrize(
    "keys",
    [
        [SIGNING_KEY],
        {SIGNING_KEY},
        StaticKeys(SIGNING_KEY),
        {"keys": [PUBLIC_JWK]},
        {"keys": [{"kty": "XYZ"}, PUBLIC_JWK]},
    ],
    ids=["list", "set", "source", "JWK Set", "JWK Set with another kind"],
)
def test_keys_are_an_iterable_a_set_or_a_source(keys: Any) -> None:
    found = run(trusted(keys=keys).resolve({"alg": "ES256", "kid": "k1"}))
    assert [key.kid for key in found] == ["k1"]
    assert not found[0].can_sign


def test_the_profile_narrows_types_and_adds_claims() -> None:
    policy = trusted(profile="rfc9068", require=("tenant",)).policy
    assert policy.types == {"at+jwt"}
    claims = ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")
    assert policy.require == ("tenant", *claims)


def test_a_repr_names_the_issuer_alone() -> None:
    assert repr(trusted(keys=[SECRET])) == f"<TrustedIssuer '{ISSUER}'>"


# What is wrong


class Plain:
    """A source that forgot to be asynchronous."""

    def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        raise NotImplementedError


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"issuer": ""}, "issuer must be a string without spaces, not ''"),
    ({"issuer": "https://a b"}, "issuer must be a string without spaces"),
    ({"issuer": "https://a\n"}, "issuer must be a string without spaces"),
    ({"issuer": None}, "issuer must be a string without spaces, not None"),
    ({"issuer": b"https://a"}, "issuer must be a string without spaces"),
    ({"issuer": [ISSUER]}, "issuer must be a string without spaces"),
    ({"audience": None}, "audience takes several strings, not None"),
    ({"audience": ()}, "audience is empty; name at least one"),
    ({"audience": ""}, "each of audience must be a string without control characters"),
    ({"audience": b"a"}, "audience takes several; write audience=(b'a',)"),
    ({"audience": ["a", None]}, "each of audience must be a string without control"),
    ({"audience": "a\n"}, "each of audience must be a string without control"),
    ({"audience": 7}, "audience takes several strings, not 7"),
    (
        {"keys": None, "issuer": "login"},
        "keys are missing, and cannot be found by the issuer's name: 'login' is no "
        "address; write https://...; or give keys=[Key.from_pem(...)] or RemoteKeys",
    ),
    ({"keys": SIGNING_KEY}, "Key is not a set of keys; write keys=[Key.from_pem(...)]"),
    ({"keys": "-----BEGIN PUBLIC KEY-----"}, "str is not a set of keys; write keys=["),
    (
        {"keys": b"-----BEGIN PUBLIC KEY-----"},
        "bytes is not a set of keys; write",
    ),
    ({"keys": []}, "no key that verifies signatures; give at least one"),
    ({"keys": ["-----BEGIN"]}, "str is no Key; write Key.from_pem, Key.from_jwk or"),
    ({"keys": [PUBLIC_JWK]}, "dict is no Key; write Key.from_pem, Key.from_jwk or"),
    ({"keys": {}}, 'a JWK Set is an object with a list "keys"'),
    ({"keys": PUBLIC_JWK}, 'a JWK Set is an object with a list "keys"'),
    ({"keys": {"keys": []}}, "no key that verifies signatures; give at least one"),
    ({"keys": {"keys": [{**PUBLIC_JWK, "use": "enc"}]}}, "no key that verifies"),
    (
        {"keys": {"keys": [SIGNING_KEY.to_jwk(private=True)]}},
        "has the private member 'd'; keep it where tokens are signed, and write "
        "Key.from_jwk(...).public here",
    ),
    ({"keys": 7}, "int has no 'async def resolve(header)'"),
    ({"keys": object()}, "object has no 'async def resolve(header)'"),
    ({"keys": Plain()}, "Plain has no 'async def resolve(header)'"),
    ({"keys": StaticKeys}, "has no 'async def resolve(header)'"),
    ({"algorithms": ["none"]}, "'none' is none of the algorithms: ES256, ES384,"),
    ({"algorithms": "none"}, "'none' is none of the algorithms: ES256, ES384,"),
    ({"algorithms": ["ES256", "es256"]}, "'es256' is none of the algorithms: ES256,"),
    ({"algorithms": ["ES256K"]}, "'ES256K' is none of the algorithms: ES256, ES384,"),
    ({"algorithms": []}, "algorithms is empty; name at least one"),
    ({"algorithms": b"ES256"}, "algorithms takes several; write algorithms=("),
    ({"algorithms": ["RS256", "EdDSA"]}, "no key is for any of RS256, EdDSA"),
    ({"types": ()}, "types is empty; name at least one"),
    ({"types": [None]}, "each of types must be a string without spaces, not None"),
    ({"types": ["at jwt"]}, "each of types must be a string without spaces"),
    ({"leeway": math.nan}, "leeway must be a number of seconds from 0 to 300, not nan"),
    ({"leeway": True}, "leeway must be a number of seconds from 0 to 300, not True"),
    ({"leeway": -1}, "leeway must be a number of seconds from 0 to 300, not -1"),
    ({"leeway": -0.1}, "leeway must be a number of seconds from 0 to 300, not -0.1"),
    ({"leeway": 300.1}, "leeway must be a number of seconds from 0 to 300, not 300.1"),
    ({"leeway": math.inf}, "leeway must be a number of seconds from 0 to 300, not inf"),
    ({"leeway": "30"}, "leeway must be a number of seconds from 0 to 300, not '30'"),
    ({"leeway": None}, "leeway must be a number of seconds from 0 to 300, not None"),
    ({"max_lifetime": 0}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": 0.9}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": -1}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": math.nan}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": math.inf}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": True}, "max_lifetime must be a number of seconds from 1 to"),
    ({"max_lifetime": "1"}, "max_lifetime must be a number of seconds from 1 to"),
    ({"require": "sub"}, "require takes several; write require=('sub',)"),
    ({"require": None}, "require takes several strings, not None"),
    ({"require": [""]}, "each of require must be a string without spaces, not ''"),
    ({"profile": "RFC9068"}, "'RFC9068' is no profile; write profile='rfc9068'"),
    ({"profile": "rfc-9068"}, "'rfc-9068' is no profile; write profile='rfc9068'"),
    ({"profile": ""}, "'' is no profile; write profile='rfc9068'"),
    ({"profile": True}, "True is no profile; write profile='rfc9068'"),
    (
        {"profile": "rfc9068", "types": ("JWT",)},
        "profile='rfc9068' is for at+jwt; leave types out",
    ),
]


@pytest.mark.parametrize(
    ("options", "told"),
    WRONG,
    ids=[f"{', '.join(options)}-{told[:50]}" for options, told in WRONG],
)
def test_what_cannot_be_meant_is_told_what_to_write(
    options: dict[str, Any], told: str
) -> None:
    right: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "keys": [SIGNING_KEY],
    }
    with pytest.raises(ValueError, match=re.escape(told)):
        TrustedIssuer(**{**right, **options})


def test_an_audience_has_no_default() -> None:
    with pytest.raises(TypeError, match="audience"):
        TrustedIssuer(ISSUER, keys=[SIGNING_KEY])  # type: ignore[call-arg]


def test_no_check_can_be_switched_off() -> None:
    for option in ("verify", "verify_exp", "verify_aud", "verify_signature", "options"):
        with pytest.raises(TypeError, match=option):
            trusted(**{option: False})


# Which keys are its own


class Source:
    """Keys from elsewhere, which nobody has looked at before."""

    def __init__(self, answer: object) -> None:
        self.answer: Any = answer

    async def resolve(self, header: Mapping[str, Any]) -> Sequence[Key]:
        if isinstance(self.answer, Exception):
            raise self.answer
        found: Sequence[Key] = self.answer
        return found


def resolved(issuer: TrustedIssuer, **header: Any) -> list[str]:
    return [key.kid for key in run(issuer.resolve(header))]


def test_the_keys_that_a_header_may_mean_are_found() -> None:
    issuer = trusted(keys=[SIGNING_KEY, EDWARDS, SECRET])
    assert resolved(issuer, alg="ES256") == ["k1"]
    assert resolved(issuer, alg="ES256", kid="k1") == ["k1"]
    assert resolved(issuer, alg="EdDSA", kid="e") == ["e"]
    for header in ({"alg": "ES256", "kid": "e"}, {"alg": "none"}, {"alg": "RS256"}):
        with pytest.raises(UnknownKey, match="0 keys fit"):
            run(issuer.resolve(header))


def test_only_accepted_algorithms_are_resolved() -> None:
    issuer = trusted(keys=[SIGNING_KEY, EDWARDS], algorithms=["Ed25519"])
    assert resolved(issuer, alg="Ed25519") == ["e"]
    with pytest.raises(UnknownKey, match="alg 'ES256' is not among the issuer's"):
        run(issuer.resolve({"alg": "ES256"}))


def test_a_source_of_ones_own_is_trusted_no_further() -> None:
    """Its keys are chosen from as ours are, whatever it returns."""
    source = Source([SIGNING_KEY, EDWARDS, SECRET])
    assert resolved(trusted(keys=source), alg="HS256") == ["s"]
    narrow = trusted(keys=source, algorithms=["ES256", "EdDSA"])
    assert resolved(narrow, alg="Ed25519") == ["e"]
    for answer, alg in ((source.answer, "HS256"), ([], "ES256"), ((), "ES256")):
        with pytest.raises(UnknownKey, match=r"0 keys fit|alg 'HS256' is not among"):
            run(
                trusted(keys=Source(answer), algorithms=["ES256"]).resolve({"alg": alg})
            )


def test_what_a_source_says_of_itself_goes_through() -> None:
    for said in (KeysUnavailable("no answer"), UnknownKey("no answer")):
        with pytest.raises(type(said), match="no answer"):
            run(trusted(keys=Source(said)).resolve({"alg": "ES256"}))


@pytest.mark.parametrize(
    "answer",
    [ConnectionError("10.0.0.7"), KeyError("x"), None, 7, ["PEM"], [None], {"a": 1}],
    ids=repr,
)
@pytest.mark.parametrize("algorithms", [None, ["ES256"]])
def test_a_source_that_fails_makes_no_key_and_no_500(
    answer: object, algorithms: Any
) -> None:
    """Nobody knows, so nobody passes; the text of the error is for the log."""
    issuer = trusted(keys=Source(answer), algorithms=algorithms)
    with pytest.raises(KeysUnavailable, match=r"\Aresolve: \w+\Z"):
        run(issuer.resolve({"alg": "ES256"}))


def test_eddsa_is_another_name_of_both_curves() -> None:
    for key, name in ((EDWARDS, "Ed25519"), (ED448, "Ed448")):
        for accepted in (name, "EdDSA"):
            issuer = trusted(keys=[key], algorithms=[accepted])
            assert resolved(issuer, alg=name) == [key.kid]
            assert resolved(issuer, alg="EdDSA") == [key.kid]
    legacy = Key.generate("EdDSA", kid="l")
    assert resolved(trusted(keys=[legacy], algorithms=["Ed25519"]), alg="EdDSA") == [
        "l"
    ]


def test_ed448_is_not_accepted_where_ed25519_is() -> None:
    with pytest.raises(ValueError, match="no key is for any of Ed25519"):
        trusted(keys=[ED448], algorithms=["Ed25519"])
    legacy = Key.from_jwk({**ED448.to_jwk(), "alg": "EdDSA"})
    with pytest.raises(ValueError, match="no key is for any of Ed25519"):
        trusted(keys=[legacy], algorithms=["Ed25519"])
    issuer = trusted(keys=[EDWARDS, ED448], algorithms=["Ed25519"])
    assert resolved(issuer, alg="EdDSA") == ["e"]
    with pytest.raises(UnknownKey):
        run(issuer.resolve({"alg": "Ed448"}))


def test_a_key_of_a_set_without_alg_takes_the_first_accepted_algorithm() -> None:
    bare = {name: PUBLIC_JWK[name] for name in ("kty", "crv", "x", "y")}
    jwks = {"keys": [bare, {n: v for n, v in EDWARDS.to_jwk().items() if n != "alg"}]}
    issuer = trusted(keys=jwks, algorithms=["EdDSA", "ES256"])
    assert isinstance(issuer.keys, StaticKeys)
    assert [key.algorithm for key in issuer.keys.keys] == ["ES256", "EdDSA"]


class Choosy(Source):
    """A source that is told what its issuer accepts."""

    def __init__(self) -> None:
        super().__init__([SIGNING_KEY])
        self.told: list[Sequence[str]] = []

    def prefer(self, algorithms: Sequence[str]) -> None:
        if "HS256" in algorithms:
            raise ValueError("HS256 is of no key here")
        self.told.append(algorithms)


def test_a_source_that_asks_for_it_is_told_what_is_accepted() -> None:
    """As `RemoteKeys` is; whether there is a limit or none."""
    source = Choosy()
    assert trusted(keys=source).keys is source
    trusted(keys=source, algorithms=("ES256", "PS256"))
    assert source.told == [(), ("ES256", "PS256")]


def test_a_source_may_refuse_what_is_accepted() -> None:
    with pytest.raises(ValueError, match="HS256 is of no key here"):
        trusted(keys=Choosy(), algorithms=("HS256",))


# How long a mark is kept


def test_a_mark_is_kept_until_no_token_of_before_can_be_accepted() -> None:
    """Written ahead by the leeway, long by both, accepted late by the leeway."""
    issuer = trusted(leeway=10, max_lifetime=100)
    assert issuer.oldest == 110
    assert issuer.memory == 120
    longest = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 110}
    issuer.policy.check({}, longest, NOW + 119.5)
    assert trusted(max_lifetime=None).memory == math.inf
