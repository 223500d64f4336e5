"""The hot path, by how many tokens are cached and by how many marks are held."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence

from jwt_middleware import Authenticator, MemoryStore

from .rounds import WARM, Effort, Group, Section, Turn, calls_for, take_turns
from .tokens import ISSUER, signer_of

NOTE = """\
`Authenticator.authenticate` with HS256. *Tokens*: each of so many came once, with twice
the `cache_size`, and now some come again, by chance. *Marks*: a `MemoryStore` holds so
many that are live; one token comes again."""
SAMPLE = 50
CACHED, MARKS = "by cached tokens", "by live marks"


def title(number: int) -> str:
    return f"{number:,}"


def filled(number: int) -> Authenticator:
    """Has seen so many tokens."""
    signer = signer_of("HS256")
    auth = signer.authenticator(cache_size=2 * number)
    for each in range(number):
        auth.authenticate(signer.mint(each))
    return auth


def coming_again(auth: Authenticator, number: int, effort: Effort) -> Turn:
    """Seconds for one of so many tokens; their texts are made anew each time."""
    signer, chance = signer_of("HS256"), random.Random(effort.seed)  # noqa: S311

    def seconds() -> float:
        chosen = [chance.randrange(number) for _ in range(SAMPLE)]
        return mean(auth, [signer.mint(each) for each in chosen])

    return seconds


def by_cached(effort: Effort) -> Mapping[str, Turn]:
    return {
        title(number): coming_again(filled(number), number, effort)
        for number in effort.cached
    }


def holding(number: int) -> Authenticator:
    """Has a store with so many marks on other tokens."""
    store, now = MemoryStore(), time.time()
    for each in range(number):
        store.put(f"jti {ISSUER} {each}", now, now + 3600)
    return signer_of("HS256").authenticator(store=store)


def one_again(auth: Authenticator, effort: Effort) -> Turn:
    (text,) = signer_of("HS256").distinct(1)

    def seconds(calls: int) -> float:
        return mean(auth, [text.encode().decode() for _ in range(calls)])

    seconds(SAMPLE)
    calls = calls_for(effort.turn_s, seconds(SAMPLE))
    return lambda: seconds(calls)


def by_marks(effort: Effort) -> Mapping[str, Turn]:
    return {
        title(number): one_again(holding(number), effort) for number in effort.marks
    }


def mean(auth: Authenticator, texts: Sequence[str]) -> float:
    for text in texts[:WARM]:
        auth.authenticate(text)
    began = time.perf_counter()
    for text in texts[WARM:]:
        auth.authenticate(text)
    return (time.perf_counter() - began) / (len(texts) - WARM)


def group(name: str, turns: Mapping[str, Turn], effort: Effort) -> Group:
    values = take_turns(turns, effort.rounds, effort.seed)
    in_us = {name: [1e6 * s for s in seconds] for name, seconds in values.items()}
    least, *more = in_us
    return Group(name, "µs", in_us, [(name, least) for name in more])


def measure(effort: Effort) -> Iterator[Section]:
    for name, turns in ((CACHED, by_cached), (MARKS, by_marks)):
        found = group(name, turns(effort), effort)
        yield Section(f"Hot path {name}", NOTE, [found])
