from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from supervisor.http.poison import (
    KEPT,
    PROOF,
    REMEMBERED_S,
    STRIKES,
    SUSPECTED_S,
    Guilty,
    Search,
    Suspicions,
    call_digest,
    text_digest,
    without,
)


def run(search: Search, guilty: set[int]) -> tuple[int, int]:
    """Search as the driver does, with an engine that ends on any guilty text; return runs and crashes."""
    runs = crashes = 0
    while (group := search.group) is not None:
        assert group
        runs += 1
        crashed = bool(guilty & set(group))
        crashes += crashed
        search.report(crashed=crashed)
        assert runs < 10_000
    return runs, crashes


@given(st.data())
def test_one_guilty_text_is_found_with_few_crashes(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 2048))
    index = data.draw(st.integers(0, count - 1))
    known = data.draw(st.booleans())
    search = Search(count, stop_at_first=True, crashed=known)
    _, crashes = run(search, {index})
    assert search.guilty == [index]
    assert search.unresolved == ()
    assert crashes + known <= 1 + math.ceil(math.log2(max(count, 2))) + PROOF


def test_one_of_32_costs_at_most_eleven_restarts() -> None:
    for index in range(32):
        search = Search(32, stop_at_first=True)
        assert STRIKES + run(search, {index})[1] <= 11


@given(st.integers(1, 64), st.data())
def test_what_is_called_guilty_is(count: int, data: st.DataObject) -> None:
    guilty = data.draw(st.sets(st.integers(0, count - 1), max_size=6))
    search = Search(count, stop_at_first=False)
    run(search, guilty)
    assert set(search.guilty) <= guilty
    assert guilty <= set(search.guilty) | set(search.unresolved)
    if len(guilty) <= 1:
        assert set(search.guilty) == guilty


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=200))
def test_it_ends_whatever_the_engine_does(count: int, outcomes: list[bool]) -> None:
    search = Search(count, stop_at_first=False)
    for crashed in [*outcomes, *[True] * 500]:
        if search.group is None:
            break
        search.report(crashed=crashed)
    assert search.group is None


def test_a_single_crash_proves_nothing() -> None:
    search = Search(1, stop_at_first=True, crashed=True)
    search.report(crashed=False)
    assert search.group is None
    assert search.guilty == []


def test_when_only_the_whole_crashes_nobody_is_guilty() -> None:
    search = Search(8, stop_at_first=True, crashed=True)
    while (group := search.group) is not None:
        search.report(crashed=len(group) == 8)
    assert search.guilty == []
    assert search.unresolved == ()


def test_strikes_add_up_and_are_forgotten() -> None:
    suspicions = Suspicions()
    assert not suspicions
    assert not suspicions.strike(b"a", alone=True, now=0).enough
    assert suspicions.strike(b"a", alone=False, now=1).enough
    assert suspicions.of(b"a", 2).alone
    assert suspicions.of(b"b", 2).strikes == 0
    assert suspicions.of(b"a", 2 + SUSPECTED_S).strikes == 0
    suspicions.strike(b"a", alone=False, now=3)
    suspicions.clear(b"a")
    assert not suspicions


def test_memory_is_bounded_and_survives_storing() -> None:
    guilty = Guilty()
    for number in range(KEPT + 10):
        guilty.add(str(number), now=float(number))
    assert guilty.among(["0", "9", "10", str(KEPT)], now=2000.0) == [2, 3]
    stored = Guilty.load(guilty.dump(), now=2000.0)
    assert stored.among(["10", "x"], now=2000.0) == [0]
    assert stored.among(["10"], now=10 + REMEMBERED_S) == []


def test_a_damaged_store_is_an_empty_one() -> None:
    stores: list[object] = [None, [], {"a": "x"}, {"a": None}, {"a": 1e308}, "text"]
    for stored in stores:
        assert not Guilty.load(stored, now=0.0)


def test_digests_tell_models_and_texts_apart() -> None:
    assert text_digest("a", "m") == text_digest("a", "m")
    assert len({text_digest("a", "m"), text_digest("b", "m"), text_digest("a", "n"), text_digest("\ud800", "m")}) == 4
    assert call_digest(b"ab", b"c") != call_digest(b"a", b"bc")


def test_without() -> None:
    assert without(["a", "b", "c"], [1]) == ["a", "c"]
