"""How many processors this process may use: physical cores within affinity and cgroup limits.

Inference gains nothing from a second hardware thread on a core it already
fills, and oversubscribed OpenMP teams spin against each other.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU_ROOT = Path("/sys/devices/system/cpu")
_CGROUP_ROOT = Path("/sys/fs/cgroup")


def usable_cores(cpu_root: Path = _CPU_ROOT, cgroup_root: Path = _CGROUP_ROOT) -> int:
    """Return the number of physical cores this process may use; at least 1."""
    cores = _physical_cores(_affinity(), cpu_root)
    quota = _cgroup_quota(cgroup_root)
    if quota is not None:
        cores = min(cores, max(1, math.floor(quota)))
    return max(1, cores)


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(cpus: set[int], root: Path) -> int:
    """Count distinct cores among ``cpus``; hardware threads of one core count once."""
    siblings = set()
    for cpu in cpus:
        try:
            siblings.add((root / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text("ascii").strip())
        except (OSError, ValueError):
            return _physical_by_library(len(cpus))
    return len(siblings)


def _physical_by_library(logical: int) -> int:
    """Where the system publishes no topology: ask psutil if it is there."""
    try:
        import psutil
    except ImportError:
        return logical
    return min(logical, psutil.cpu_count(logical=False) or logical)


def _cgroup_quota(root: Path) -> float | None:
    """Processors that the cgroup's CPU quota allows, version 2 then 1; None: no limit."""
    try:
        quota, period = (root / "cpu.max").read_text("ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota_us = int((root / "cpu" / "cpu.cfs_quota_us").read_text("ascii"))
        period_us = int((root / "cpu" / "cpu.cfs_period_us").read_text("ascii"))
        return quota_us / period_us if quota_us > 0 and period_us > 0 else None
    except (OSError, ValueError):
        return None
