"""A short round of the quick scenarios: what must hold holds, and what counts is counted."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.results import Result, percentile

if sys.platform != "linux":
    pytest.skip("finds processes by /proc", allow_module_level=True)

from tests.chaos import crashes
from tests.chaos.scenarios import SCENARIOS


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rounds"), [("kills", 1), ("supervisor-killed", 1), ("suspended", 50)])
def test_nothing_is_broken_in_a_short_round(name: str, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "PAUSE_S", (0.0, 0.3))
    monkeypatch.setattr(crashes, "CLIENTS", 4)
    result = SCENARIOS[name].run(rounds, 1)
    assert not result.broken, f"{result}\n{result.notes}"


def test_a_broken_bound_of_correctness_fails_and_a_missed_time_does_not() -> None:
    result = Result("some")
    result.count("failed", 0, 0)
    result.measure("took", 2.0, " s", 1.0)
    assert not result.broken
    assert str(result).startswith("ok")
    assert "took 2 s (MISSED, <= 1 s)" in str(result)
    result.count("survivors", 1, 0)
    assert [fact.label for fact in result.broken] == ["survivors"]
    assert str(result).startswith("BROKEN some: ")


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(n) for n in range(100)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values[:10], 0.99) == 9.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
