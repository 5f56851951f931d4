from __future__ import annotations

import os
from pathlib import Path

import pytest

from preflight.wire.cpus import _cgroup_quota, _physical_cores, usable_cores


def _topology(root: Path, siblings: dict[int, str]) -> Path:
    for cpu, text in siblings.items():
        folder = root / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(text + "\n")
    return root


def test_hardware_threads_of_one_core_count_once(tmp_path: Path) -> None:
    root = _topology(tmp_path, {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"})
    assert _physical_cores({0, 1, 2, 3}, root) == 2
    assert _physical_cores({0, 2}, root) == 1


def test_without_a_topology_no_more_than_the_affinity(tmp_path: Path) -> None:
    assert 1 <= _physical_cores({0}, tmp_path) <= 1


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu.max": "garbage"}, None),
        ({}, None),
    ],
)
def test_the_cgroups_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _cgroup_quota(tmp_path) == quota


def test_a_quota_below_one_core_still_gives_one(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000")
    assert usable_cores(cgroup_root=tmp_path) == 1


def test_on_this_machine() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
