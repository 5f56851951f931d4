"""Which of our packages are installed, and in which version."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Collection, Iterator, Mapping

from preflight.dependencies import Dependency
from preflight.facts import FilesFacts, PackageFacts

_SEPARATORS = re.compile(r"[-_.]+")
_VERSION = re.compile(r"^Version:[ \t]*(\S+)", re.MULTILINE | re.IGNORECASE)

#: A runtime of OpenMP in a package's folder of libraries; two kinds in one process stall each other.
_OPENMP = re.compile(r"(?:^|/)(lib(?:gomp|iomp5|omp))(?:-[0-9a-f]+)?\.(?:so|dylib|dll)")


def installed(needed: Collection[Dependency]) -> tuple[PackageFacts, ...]:
    """Look for every package that is ``needed``; none of them is imported."""
    folders = _metadata_folders(sys.path)
    return tuple(PackageFacts(d.name, _version(folders.get(d.name)), _is_importable(d.module)) for d in needed)


def none_of(needed: Collection[Dependency]) -> tuple[PackageFacts, ...]:
    """What an environment that does not exist holds."""
    return tuple(PackageFacts(d.name, None, False) for d in needed)


def _metadata_folders(search: Collection[str]) -> Mapping[str, Path]:
    """Where each package, by its normal name, keeps its metadata. ``importlib.metadata`` takes 20 ms to load."""
    found: dict[str, Path] = {}
    for folder in search:
        try:
            entries = [path for path in Path(folder).iterdir() if path.suffix in {".dist-info", ".egg-info"}]
        except OSError:  # an archive, or a folder that is not there
            continue
        for path in entries:  # NAME-VERSION.dist-info, NAME-VERSION-py3.12.egg-info, NAME.egg-info
            name = _SEPARATORS.sub("-", path.stem.partition("-")[0])
            found.setdefault(name.lower(), path)
    return found


def _version(metadata: Path | None) -> str | None:
    """None as well for a package whose metadata an interrupted installation left half written."""
    for name in ("METADATA", "PKG-INFO", ""):  # of a wheel, of a source distribution, of one that is a file itself
        try:
            head = (metadata / name).read_text("utf-8", "replace").partition("\n\n")[0] if metadata else ""
        except OSError:
            continue
        found = _VERSION.search(head)
        return found[1] if found else None
    return None


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
