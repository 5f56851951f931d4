from __future__ import annotations

import multiprocessing
import sys

import pytest

from sidecar.ingest.workers import can_spawn, inside_worker


def test_a_program_of_its_own_is_no_worker() -> None:
    assert not inside_worker({})
    assert can_spawn({})


@pytest.mark.parametrize("name", ["RAY_RAYLET_PID", "JOBLIB_SPAWNED_PROCESS", "FORKED_BY_MULTIPROCESSING"])
def test_workers_of_other_libraries_are_known_by_their_variables(name: str) -> None:
    assert inside_worker({name: "1"})
    assert not can_spawn({name: "1"})


def test_a_worker_of_multiprocessing_is_known() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(inside_worker)


def test_a_bundle_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert not can_spawn({})
