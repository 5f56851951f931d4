"""Disk, memory, and folders that we must write to."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path

from preflight.facts import DiskFacts, FolderFacts, FolderProblem, MemoryFacts
from preflight.model import Folder

_CGROUP_ROOT = Path("/sys/fs/cgroup")

#: Written to tell a full disk from one that has room for a name only.
_SAMPLE = b"\0" * 4096

_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)


def disk(path: str) -> DiskFacts | None:
    """Free space where ``path`` is, or will be made; None where the system does not tell."""
    try:
        return DiskFacts(path, shutil.disk_usage(str(nearest_existing(Path(path)))).free)
    except OSError:
        return None


def folder(wanted: Folder) -> FolderFacts:
    """Write a nameless file to the folder, or to the nearest one above it that exists."""
    target = nearest_existing(Path(wanted.path))
    try:
        with tempfile.TemporaryFile(dir=str(target)) as file:
            file.write(_SAMPLE)
    except OSError as error:
        problem = FolderProblem.FULL if error.errno in _FULL else FolderProblem.DENIED
        return FolderFacts(wanted, problem, f"{target}: {error.strerror or error}")
    return FolderFacts(wanted)


def nearest_existing(path: Path) -> Path:
    """``path`` itself or the nearest folder above it that exists."""
    for candidate in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):  # a folder that may not be searched hides what is in it
            if candidate.exists():
                return candidate
    return Path(path.absolute().anchor)


def memory(proc: Path = Path("/proc"), cgroup_root: Path = _CGROUP_ROOT) -> MemoryFacts:
    """Memory of the machine, or of the control group when that is less."""
    if sys.platform == "win32":
        return _windows_memory()
    facts = _proc_memory(proc) if sys.platform == "linux" else _sysconf_memory()
    limit = _cgroup_limit(proc, cgroup_root)
    if limit is None or facts.total is None or limit.total is None or limit.total >= facts.total:
        return facts
    known = [value for value in (facts.available, limit.available) if value is not None]
    return MemoryFacts(limit.total, min(known) if known else None)


def _proc_memory(proc: Path) -> MemoryFacts:
    try:
        lines = (proc / "meminfo").read_text("ascii").splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if rest}
    except (OSError, ValueError, IndexError):
        return MemoryFacts(None, None)
    return MemoryFacts(sizes.get("MemTotal"), sizes.get("MemAvailable"))


def _sysconf_memory() -> MemoryFacts:
    try:
        return MemoryFacts(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None)
    except (AttributeError, OSError, ValueError):
        return MemoryFacts(None, None)


def _cgroup_limit(proc: Path, root: Path) -> MemoryFacts | None:
    """The tightest limit from our control group up to the root; version 2, then 1."""
    own = ""
    with contextlib.suppress(OSError, ValueError):
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
        own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    group = root / own
    levels = [group, *(parent for parent in group.parents if root in parent.parents or parent == root)]
    files = [(level / "memory.max", level / "memory.current") for level in levels]
    files.append((root / "memory" / "memory.limit_in_bytes", root / "memory" / "memory.usage_in_bytes"))
    limits = [limit for limit in (_limit(*pair) for pair in files) if limit is not None]
    return min(limits, key=lambda limit: limit.total or 0) if limits else None


def _limit(limit_file: Path, used_file: Path) -> MemoryFacts | None:
    try:
        limit = int(limit_file.read_text("ascii"))
        return MemoryFacts(limit, max(0, limit - int(used_file.read_text("ascii"))))
    except (OSError, ValueError):  # "max": no limit here
        return None


def _windows_memory() -> MemoryFacts:
    if sys.platform == "win32":
        import ctypes

        class MemoryStatus(ctypes.Structure):
            _fields_ = (
                ("length", ctypes.c_uint32),
                ("load", ctypes.c_uint32),
                ("total", ctypes.c_uint64),
                ("available", ctypes.c_uint64),
                ("others", ctypes.c_uint64 * 5),
            )

        status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return MemoryFacts(status.total, status.available)
    return MemoryFacts(None, None)
