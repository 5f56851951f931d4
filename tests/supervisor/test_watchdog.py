"""Judging rounds: silence, strangers, and work that stands still."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from preflight.wire import ErrorCode
from supervisor.messages import Health, HealthMissed, HealthSeen, Work
from supervisor.watchdog import Suspicion, Watch, budget_s, judge, read_health

BUSY = Work(done=10, queued=5, running_tokens=500, running_age_s=0.1, tokens_per_s=5000.0)


def seen(work: Work | None, status: str = "ok", ours: bool = True) -> HealthSeen:
    return HealthSeen(1, Health(ours, status, work))


def rounds(*works: Work | None, every: float = 1.0) -> list[Suspicion | None]:
    watch, found = Watch(), []
    for number, work in enumerate(works):
        watch, suspicion = judge(watch, seen(work), number * every)
        found.append(suspicion)
    return found


def test_two_misses_are_tolerated_and_an_answer_forgets_them() -> None:
    watch, missed = Watch(), HealthMissed(1, "timeout")
    for _ in range(2):
        watch, suspicion = judge(watch, missed, 0.0)
        assert suspicion is None
    watch, _ = judge(watch, seen(Work()), 0.0)
    assert watch.misses == 0
    for _ in range(3):
        watch, suspicion = judge(watch, missed, 0.0)
    assert suspicion is not None and suspicion.code is ErrorCode.SIDECAR_HUNG


def test_a_stranger_and_a_bad_status_are_suspect_at_once() -> None:
    for answer in (seen(Work(), ours=False), seen(Work(), status="broken")):
        _, suspicion = judge(Watch(), answer, 0.0)
        assert suspicion is not None and suspicion.code is ErrorCode.SIDECAR_NOT_HEALTHY


def test_work_that_moves_is_never_suspect_however_long_it_takes() -> None:
    works = [replace(BUSY, done=number // 20, running_age_s=float(number % 20)) for number in range(600)]
    assert not any(rounds(*works))


def test_a_micro_batch_that_stands_still_is_suspect_after_its_budget() -> None:
    works = [replace(BUSY, running_age_s=float(number)) for number in range(40)]
    found = rounds(*works)
    first = next(number for number, suspicion in enumerate(found) if suspicion)
    assert first == 31
    assert "500 tokens" in found[first].reason  # type: ignore[union-attr]


def test_a_queue_that_nobody_serves_is_suspect() -> None:
    found = rounds(*[Work(done=3, queued=7)] * 40)
    assert found[30] is None and found[31] is not None
    assert "queue of 7 texts" in found[31].reason


def test_idle_and_unaccounted_work_age_nothing() -> None:
    assert not any(rounds(*[Work(done=3)] * 500))
    assert not any(rounds(*[None] * 500))


def test_slow_but_measured_work_gets_its_time() -> None:
    slow = Work(done=0, running_tokens=1000, running_age_s=0.0, tokens_per_s=50.0)
    assert budget_s(slow) == 200.0
    assert budget_s(replace(slow, tokens_per_s=None)) == 250.0
    assert budget_s(replace(slow, tokens_per_s=None, running_tokens=4)) == 120.0
    assert budget_s(replace(slow, tokens_per_s=1e9)) == 30.0


def test_served_means_texts_after_the_first_answer() -> None:
    watch, _ = judge(Watch(), seen(Work(done=2)), 0.0)
    assert not watch.has_served
    watch, _ = judge(watch, seen(Work(done=3)), 1.0)
    assert watch.has_served


@pytest.mark.parametrize(
    ("work", "wanted"),
    [
        (None, None),
        ("x", None),
        ([], None),
        ({}, Work()),
        (
            {"done": 1, "queued": 2, "running_tokens": 3, "running_age_s": 0.5, "tokens_per_s": 9},
            Work(1, 2, 3, 0.5, 9.0),
        ),
        (
            {"done": -1, "queued": "2", "running_tokens": float("nan"), "tokens_per_s": True, "running_age_s": 1e400},
            Work(),
        ),
        ({"done": 10**400}, Work()),
    ],
)
def test_reading_odd_accounts(work: Any, wanted: Work | None) -> None:
    health = read_health({"status": "ok", "nonce": "n", "work": work}, "n")
    assert health == Health(True, "ok", wanted)


def test_the_nonce_tells_ours_from_others() -> None:
    assert not read_health({"status": "ok"}, "n").ours
    assert not read_health({"status": "ok", "nonce": ["n"]}, "n").ours
