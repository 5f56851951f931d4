"""Prepared folders on disk: made aside, synced, then renamed, so that none is ever half there."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sidecar.prepare.checkpoint import corrupt
from sidecar.prepare.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from sidecar.prepare.memo import Memo, sha256_of

_TEMPORARY = ".making-"

#: What an interrupted preparation left is removed when it is this old.
_STALE_S = 24 * 3600.0

#: Prepared models that were not used for this long go when another is made.
_UNUSED_S = 60 * 24 * 3600.0


def publish(destination: Path, make: Callable[[Path], Manifest]) -> Manifest:
    """Let ``make`` fill an empty folder and move it to ``destination`` whole; return its manifest.

    Where another process published the same first, its folder stays. Raises
    what ``make`` raises, and ``OSError``; then nothing is left behind.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(destination.parent)
    made = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=destination.parent))
    try:
        manifest = make(made)
        files = {str(path.relative_to(made).as_posix()): sha256_of(path) for path in _files(made)}
        manifest = replace(manifest, files=files)
        write_manifest(made, manifest)
        _sync(made)
        made.chmod(0o755)  # mkdtemp's own is for secrets
        try:
            made.rename(destination)
        except OSError:
            if not (destination / MANIFEST).is_file():
                raise
        return manifest
    finally:
        shutil.rmtree(made, ignore_errors=True)


def check(folder: Path, memo: Memo) -> Manifest:
    """Return the manifest of a prepared folder. Raises ``Failure`` (MODEL_CORRUPT) for files not as they were made."""
    manifest = read_manifest(folder)
    for name, wanted in manifest.files.items():
        path = folder / name
        try:
            found = memo.file(path)
        except OSError as error:
            raise corrupt(path, "a file of the prepared model", error.strerror) from error
        if found != wanted:
            raise corrupt(path, f"SHA-256 {wanted}", found)
    return manifest


def discard(folder: Path) -> None:
    """Remove a folder that cannot be used, if it is there; readers in other processes keep what they have open."""
    if not folder.exists():
        return
    with contextlib.suppress(OSError):
        aside = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
        folder.rename(aside / folder.name)
        shutil.rmtree(aside, ignore_errors=True)


def touch(folder: Path) -> None:
    """Note that a prepared folder is in use."""
    with contextlib.suppress(OSError):
        os.utime(folder)


def remove_unused(models: Path, keep: Path, now: float | None = None) -> None:
    """Remove prepared folders in ``models`` that were not in use for two months."""
    now = time.time() if now is None else now
    for folder in models.glob("*"):
        with contextlib.suppress(OSError):
            if folder != keep and now - folder.stat().st_mtime > _UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    for folder in parent.glob(_TEMPORARY + "*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _STALE_S:
                shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sync(folder: Path) -> None:
    """Have the system write everything: a rename may reach the disk before the content does."""
    for path in _files(folder):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if hasattr(os, "O_DIRECTORY"):
        for path in (folder, *(one for one in folder.rglob("*") if one.is_dir()), folder.parent):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
