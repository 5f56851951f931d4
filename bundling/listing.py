"""What a built bundle holds, so that two builds can be compared and a copy be checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from supervisor import bundle

#: Folder in which PyInstaller puts everything but the executables.
INTERNAL = "_internal"


class Entry(NamedTuple):
    """One file or link. ``size`` in bytes, 0 for a link."""

    path: str
    size: int
    is_executable: bool
    #: Lower-case hexadecimal; of a link's target for a link.
    sha256: str


def of(folder: Path) -> list[Entry]:
    """Return every file and link in ``folder``, by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
    return [_entry(path, path.relative_to(folder).as_posix()) for path in paths]


def _entry(path: Path, name: str) -> Entry:
    if path.is_symlink():
        return Entry(name, 0, False, hashlib.sha256(str(path.readlink()).encode()).hexdigest())
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return Entry(name, path.stat().st_size, os.access(path, os.X_OK), content)


def digest(entries: Iterable[Entry]) -> str:
    """Return one hash of all paths, rights and contents."""
    lines = (f"{entry.sha256} {entry.is_executable:d} {entry.path}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def differing(first: Sequence[Entry], second: Sequence[Entry]) -> list[str]:
    """Return the paths that only one of the two has, or that are not the same in both."""
    return sorted({entry.path for entry in set(first) ^ set(second)})


def write_names(folder: Path) -> None:
    """Write the names of all files into the bundle, where its doctor looks whether they are all there."""
    names = [entry.path for entry in of(folder)]
    (folder / INTERNAL / bundle.NAMES).write_text("".join(f"{name}\n" for name in names), "utf-8")


def write_sums(folder: Path, entries: Iterable[Entry]) -> None:
    """Write beside ``folder`` what ``sha256sum --check`` reads there; links are left out."""
    lines = (f"{e.sha256}  {folder.name}/{e.path}\n" for e in entries if not (folder / e.path).is_symlink())
    folder.with_name(f"{folder.name}.sha256").write_text("".join(lines), "utf-8")
