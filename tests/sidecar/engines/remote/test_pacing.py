"""How long to wait, and how often to ask."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sidecar.engines.remote.pacing import Budget, Pace, retry_after, wait_before

pytest.importorskip("openai")


def test_waits_between_tries() -> None:
    assert wait_before(1, 3.0, 0.9) == 3.0
    assert wait_before(1, 10_000.0, 0.9) == 120.0
    assert [wait_before(tries, None, 1.0) for tries in (1, 2, 3, 10)] == [1.0, 2.0, 4.0, 20.0]
    assert wait_before(1, None, 0.0) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:10 GMT"}, 10.0),
        ({"retry-after": "Fri, 01 Jan 2026 00:00:10 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, datetime(2027, 1, 1, tzinfo=UTC)) == seconds


def test_pace_lends_a_minutes_room_and_then_waits() -> None:
    pace = Pace(60, 6000)
    assert [pace.reserve(0.0, 10) for _ in range(60)] == [0.0] * 60
    assert pace.reserve(0.0, 10) == pytest.approx(1.0)
    assert pace.reserve(1.0, 10) == pytest.approx(1.0)
    assert Pace(None, 600).reserve(0.0, 1200) == pytest.approx(60.0)
    assert Pace(None, None).reserve(0.0, 10**9) == 0.0
    pace = Pace(None, None)
    pace.pause(10.0, 5.0)
    assert (pace.reserve(12.0, 1), pace.reserve(16.0, 1)) == (3.0, 0.0)


def test_the_budget_lets_a_fifth_be_retries() -> None:
    budget = Budget()
    assert sum(budget.spend() for _ in range(100)) == 20
    for _ in range(50):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10
