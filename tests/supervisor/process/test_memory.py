"""Counting kills for want of memory, and measuring a family."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from supervisor.process.memory import MemoryKills, resident_mb, settle


def test_only_a_rise_counts(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    kills = MemoryKills([tmp_path / "missing", events])
    assert not kills.happened()
    events.write_text("oom_kill 3\n")
    assert kills.happened()
    assert not kills.happened()


def test_no_or_odd_sources_count_nothing(tmp_path: Path) -> None:
    odd = tmp_path / "vmstat"
    odd.write_text("oom_kill\nnr_free_pages 1\n")
    assert not MemoryKills([odd]).happened()
    assert not MemoryKills([]).happened()
    MemoryKills()  # the machine's own


def test_resident_memory_of_a_living_and_a_dead_process() -> None:
    own = resident_mb(os.getpid())
    assert own is not None and 5 < own < 10_000
    assert resident_mb(2**22 + 1) is None


def test_settling_keeps_what_is_used() -> None:
    try:
        settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
