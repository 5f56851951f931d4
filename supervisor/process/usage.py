"""Memory and processor time that one process has used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple


class Usage(NamedTuple):
    """Resident memory in bytes; processor time, of user and system together, in seconds since its start."""

    resident_bytes: int
    cpu_s: float


def usage(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Look at ``pid``; None when it is gone. Linux tells without a library, which would stay loaded."""
    if sys.platform != "linux":
        return _by_library(pid)
    try:
        # The name, in brackets, may hold anything; fields after it are counted from 3 (proc_pid_stat(5)).
        fields = (proc / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        ticks = int(fields[14 - 3]) + int(fields[15 - 3])
        pages = int(fields[24 - 3])
    except (OSError, ValueError, IndexError):
        return None
    return Usage(pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK"))


def _by_library(pid: int) -> Usage | None:
    import psutil

    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        return Usage(process.memory_info().rss, times.user + times.system)
    except psutil.Error:
        return None
