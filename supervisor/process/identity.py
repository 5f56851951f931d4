"""Which process is meant: a pid alone is recycled, a pid with its start time and boot is not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def start_time(pid: int) -> str | None:
    """An opaque mark of when ``pid`` started, equal for the same process only; None when there is none, or it is dead.

    On Linux clock ticks since boot, elsewhere seconds since 1970.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in {b"Z", b"X"} else fields[19].decode()
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    import psutil

    with contextlib.suppress(psutil.Error):
        return repr(psutil.Process(pid).create_time())
    return None


def boot_id() -> str:
    """A mark of this boot of the machine; start times of another boot mean nothing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))


def is_same(pid: int, started: str | None, boot: str) -> bool:
    """Whether the process so described is alive now."""
    return boot == boot_id() and started is not None and start_time(pid) == started


def own() -> tuple[int, str, str]:
    """Pid, start time and boot of this process."""
    return os.getpid(), start_time(os.getpid()) or "", boot_id()
