"""Backoff, breaker, allowances and the awake clock; all with handed-in time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire import EventType, Stage
from supervisor.policy import (
    CRASHES_AN_HOUR,
    AwakeClock,
    Breaker,
    Policy,
    allowance_s,
    backoff_s,
)
from supervisor.stages import Stages


def test_backoff_doubles_from_a_quarter_second_to_thirty() -> None:
    assert [backoff_s(n, 0.0, 0.0) for n in range(10)] == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 60))
def test_backoff_is_bounded_by_floor_and_most(failures: int, jitter: float, floor: float) -> None:
    delay = backoff_s(failures, jitter, floor)
    assert floor <= delay <= max(30.0, floor)
    assert failures == 0 or delay >= min(0.125, floor or 0.125)


def crash_every(seconds: float, times: int) -> list[Breaker]:
    breakers, breaker = [], Breaker()
    for number in range(times):
        breaker = breaker.crashed(number * seconds)
        breakers.append(breaker)
    return breakers


def test_a_fast_loop_opens_at_the_score() -> None:
    assert [b.is_open for b in crash_every(0.0, 5)] == [False] * 4 + [True]
    assert [b.is_open for b in crash_every(10.0, 6)].index(True) == 5


def test_a_slow_loop_opens_by_the_hour() -> None:
    opened = [b.is_open for b in crash_every(400.0, 20)]
    assert opened.index(True) == CRASHES_AN_HOUR - 1
    assert not any(b.is_open for b in crash_every(600.0, 50))


def test_probes_wait_longer_each_time_and_only_clearing_closes() -> None:
    breaker = crash_every(0.0, 5)[-1]
    waits = []
    for _ in range(6):
        waits.append(breaker.probe_after_s)
        breaker = breaker.crashed(100_000.0)
    assert waits == [60.0, 120.0, 300.0, 600.0, 600.0, 600.0]
    assert breaker.is_open
    assert breaker.cleared() == Breaker()


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=200))
def test_the_breaker_stays_small(gaps: list[float]) -> None:
    breaker, now = Breaker(), 0.0
    for gap in gaps:
        now += gap
        breaker = breaker.crashed(now)
        assert len(breaker.crashes) <= CRASHES_AN_HOUR


@pytest.mark.parametrize(
    ("stages", "wanted"),
    [
        (Stages(), 60.0),
        (Stages(Stage.MODEL_RESOLVE), 300.0),
        (Stages(Stage.DOWNLOADING, frozenset({EventType.CONVERSION_STARTED})), 900.0),
        (Stages(Stage.WARMUP), 120.0),
        (Stages(Stage.WARMUP, frozenset({EventType.WARMED_UP})), 30.0),
    ],
)
def test_allowances_by_stage(stages: Stages, wanted: float) -> None:
    assert allowance_s(stages, Policy()) == wanted
    assert allowance_s(stages, Policy(startup_timeout_s=7.0)) == 7.0


def test_the_awake_clock_counts_running_time_only() -> None:
    clock = AwakeClock(raw=1000.0)
    assert clock.advance(1001.0) == (1.0, False)
    assert clock.advance(1601.0) == (4.0, True)
    assert clock.advance(1602.0) == (5.0, False)


@given(st.lists(st.floats(-1e5, 1e5), max_size=50))
def test_the_awake_clock_never_goes_back(raws: list[float]) -> None:
    clock, last = AwakeClock(0.0), 0.0
    for raw in raws:
        now = clock.advance(raw).now
        assert last <= now <= last + 3.0
        last = now
