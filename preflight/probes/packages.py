"""Which of our packages are installed, and in which version."""

from __future__ import annotations

import csv
import importlib.metadata
import importlib.util
import os
import re
import sysconfig
from pathlib import Path
from typing import Collection, Iterator

from preflight.dependencies import Profile, needed_for
from preflight.model import FilesFacts, PackageFacts

#: A runtime of OpenMP in a package's folder of libraries; two kinds in one process stall each other.
_OPENMP = re.compile(r"(?:^|/)(lib(?:gomp|iomp5|omp))(?:-[0-9a-f]+)?\.(?:so|dylib|dll)")


def installed(profile: Profile, spared: Collection[str] = ()) -> tuple[PackageFacts, ...]:
    """Look for every package of ``profile`` but those ``spared``; none of them is imported."""
    needed = (dependency for dependency in needed_for(profile) if dependency.name not in spared)
    return tuple(PackageFacts(d.name, _version(d.name), _is_importable(d.module)) for d in needed)


def none_of(profile: Profile) -> tuple[PackageFacts, ...]:
    """What an environment that does not exist holds."""
    return tuple(PackageFacts(d.name, None, False) for d in needed_for(profile))


def _version(name: str) -> str | None:
    """None as well for a package whose metadata an interrupted installation left half written."""
    try:
        version: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError, ValueError, OSError):
        return None
    return version or None


def _is_importable(module: str) -> bool:
    """A folder without ``__init__`` is found as a namespace; here it is what a removal left behind."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def files() -> FilesFacts:
    """Compare every file that the packages of this environment came with: is it there, and as long as it was?"""
    missing, changed, openmp, count = [], [], set(), 0
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for name, size in _recorded(Path(folder)):
            count += 1
            if found := _OPENMP.search(name):
                openmp.add(found[1])
            try:
                length = os.stat(folder + "/" + name).st_size  # noqa: PTH116 thousands of them
            except OSError:
                missing.append(name)
                continue
            if length != size:
                changed.append(name)
    return FilesFacts(count, tuple(missing), tuple(changed), tuple(sorted(openmp)))


def _recorded(folder: Path) -> Iterator[tuple[str, int]]:
    """Names and lengths of the installed files; scripts, which set-up rewrites, left out."""
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        try:
            rows = list(csv.reader(record.read_text("utf-8").splitlines()))
        except (OSError, ValueError, csv.Error):
            yield f"{record.parent.name}/RECORD", -1
            continue
        for row in rows:
            if len(row) == 3 and row[2].isdigit() and not row[0].startswith(".."):
                yield row[0], int(row[2])
