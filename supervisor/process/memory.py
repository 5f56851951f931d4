"""Memory of a launch: how much it holds, and whether the system ended processes for want of it."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path

from preflight.wire import heap

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_VMSTAT = Path("/proc/vmstat")


class MemoryKills:
    """Tells whether the kernel's count of out-of-memory kills rose since the last look."""

    def __init__(self, sources: Iterable[Path] | None = None) -> None:
        self._sources = tuple(_sources() if sources is None else sources)
        self._seen = self._count()

    def happened(self) -> bool:
        """True when at least one kill was counted since this was made or last asked; False where none are counted."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        """The first source that answers: our own cgroup before the whole machine."""
        for source in self._sources:
            try:
                lines = source.read_text("ascii").splitlines()
                return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
            except (OSError, ValueError, StopIteration, IndexError):
                continue
        return 0


def _sources() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    groups = [line[3:].lstrip("/") for line in lines if line.startswith("0::")]
    return [*(_CGROUP_ROOT / group / "memory.events" for group in groups), _VMSTAT]


def settle() -> None:
    """Give back what start-up freed, and spare later collections what it made to stay. Takes some 20 ms."""
    gc.collect()
    gc.freeze()
    heap.give_back()


def resident_mb(pid: int) -> float | None:
    """Resident memory of ``pid`` and its descendants in MB (10^6 bytes); None when it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(_resident_bytes(member) for member in family) / 1e6
    except psutil.Error:
        return None


def _resident_bytes(process: object) -> int:
    import psutil

    try:
        return int(process.memory_info().rss)  # type: ignore[attr-defined]
    except psutil.Error:
        return 0
