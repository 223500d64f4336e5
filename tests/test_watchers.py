"""Who is called when a name is marked."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from jwt_middleware.watchers import Watchers

THREADS = 8
ROUNDS = 300


class Count:
    """A call that counts how often it was made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1


@pytest.fixture
def watchers() -> Watchers:
    return Watchers()


def test_a_watched_name_makes_the_call_each_time(watchers: Watchers) -> None:
    count = Count()
    watchers.add(["a"], count)
    watchers.call("a")
    watchers.call("a")
    assert count.calls == 2


def test_another_name_makes_no_call(watchers: Watchers) -> None:
    count = Count()
    watchers.add(["a"], count)
    for name in ("", "A", "a ", b"a", None, 0):
        watchers.call(name)
    assert count.calls == 0


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_call_stands_under_each_of_its_names(watchers: Watchers, name: str) -> None:
    count = Count()
    watchers.add(["a", "b", "c"], count)
    watchers.call(name)
    assert count.calls == 1


def test_a_name_makes_all_the_calls_that_stand_under_it(watchers: Watchers) -> None:
    counts = [Count() for _ in range(3)]
    for count in counts:
        watchers.add(["a"], count)
    watchers.call("a")
    assert [count.calls for count in counts] == [1, 1, 1]


def test_a_call_that_was_removed_is_made_under_none_of_its_names(
    watchers: Watchers,
) -> None:
    gone, stays = Count(), Count()
    remove = watchers.add(["a", "b"], gone)
    watchers.add(["b"], stays)
    remove()
    for name in ("a", "b"):
        watchers.call(name)
    assert (gone.calls, stays.calls) == (0, 1)


def test_removing_twice_removes_nobody_else(watchers: Watchers) -> None:
    """Not even who came under the same name in between."""
    remove = watchers.add(["a"], Count())
    remove()
    later = Count()
    watchers.add(["a"], later)
    remove()
    watchers.call("a")
    assert later.calls == 1


def test_a_name_that_stands_twice_is_one(watchers: Watchers) -> None:
    count = Count()
    remove = watchers.add(["a", "a"], count)
    watchers.call("a")
    assert count.calls == 1
    remove()
    watchers.call("a")
    assert count.calls == 1


def test_no_name_is_no_watching(watchers: Watchers) -> None:
    count = Count()
    remove = watchers.add([], count)
    watchers.call("a")
    watchers.call_all()
    remove()
    assert count.calls == 0


def test_all_are_called_once_each_however_many_names_they_have(
    watchers: Watchers,
) -> None:
    one, two, gone = Count(), Count(), Count()
    watchers.add(["a", "b"], one)
    watchers.add(["b", "c"], two)
    watchers.add(["c"], gone)()
    watchers.call_all()
    assert (one.calls, two.calls, gone.calls) == (1, 1, 0)


def test_nothing_is_kept_of_those_who_left(watchers: Watchers) -> None:
    """Names are of tokens, and there is no end of them."""
    removals = [
        watchers.add([f"token {number}", "subject"], Count()) for number in range(100)
    ]
    for remove in removals:
        remove()
    assert not watchers._calls


def test_a_call_may_remove_itself_and_others_while_it_is_made(
    watchers: Watchers,
) -> None:
    """There is no deadlock, and no set that changes under the loop."""
    calls, removals = list[None](), list[Callable[[], None]]()

    def leave() -> None:
        calls.append(None)
        for remove in removals:
            remove()

    removals += [watchers.add(["a"], leave), watchers.add(["a", "b"], Count())]
    watchers.call("a")
    watchers.call("a")
    assert len(calls) == 1
    assert not watchers._calls


def test_a_call_may_add_another_while_it_is_made(watchers: Watchers) -> None:
    """Who comes in the midst of it looks for himself, so he need not be called."""
    late = Count()
    watchers.add(["a"], lambda: [watchers.add(["a"], late)].clear())
    watchers.call("a")
    watchers.call("a")
    assert late.calls == 1


def test_threads_may_come_go_and_call_at_a_time(watchers: Watchers) -> None:
    """Who stands all the time misses no call; who leaves leaves nothing behind."""
    steady, errors = Count(), list[BaseException]()
    remove_steady = watchers.add(["shared"], steady)
    start = threading.Barrier(THREADS)
    made = threading.Lock()
    calls = 0

    def come_and_go() -> None:
        nonlocal calls
        start.wait()
        try:
            for number in range(ROUNDS):
                own = Count()
                remove = watchers.add(["shared", number], own)
                watchers.call(number)
                assert own.calls >= 1
                remove()
                with made:
                    watchers.call("shared")
                    calls += 1
        except BaseException as error:
            errors.append(error)

    in_threads(come_and_go)
    assert errors == []
    assert steady.calls == calls == THREADS * ROUNDS
    remove_steady()
    assert not watchers._calls


def in_threads(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
