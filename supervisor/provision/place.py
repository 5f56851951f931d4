"""Folders of an environment being made: stage beside the target, swap by rename, roll back, clean up.

Beside TARGET stand, while they are needed: TARGET.stage (being made, or on its
way out), TARGET.previous (for the moment of the swap) and TARGET.lock. Every
state that a kill can leave is repaired by ``restore`` before anything else.

Call everything but ``Lock`` with the lock held.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from preflight.wire import ErrorCode
from supervisor import marker
from supervisor.start_error import StartError
from supervisor.use import try_lock

#: Larger files of a script folder are programs, not scripts with a path in their first line.
_MAX_SCRIPT_BYTES = 2 * 1024 * 1024

_RETRY_S = 0.2

#: Of renameat2(2), from linux/fcntl.h and linux/fs.h.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

#: The lock is on the first byte, which nobody else may then read on Windows; the holder's pid follows.
_PID_OFFSET = 1


def stage_of(target: Path) -> Path:
    """Where the environment for ``target`` is made."""
    return target.with_name(target.name + ".stage")


def _previous_of(target: Path) -> Path:
    return target.with_name(target.name + ".previous")


@contextlib.contextmanager
def locked(target: Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of ``target``; the system lets go of it when we die.

    ``waiting`` is called now and then, with the holder's pid, while another
    run has it; it may raise. Raises ``StartError`` when the place cannot be written.
    """
    path = target.with_name(target.name + ".lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _not_writable(target, error) from error
    try:
        while not try_lock(fd):
            waiting(_holder(fd))
            time.sleep(_RETRY_S)
        os.lseek(fd, _PID_OFFSET, os.SEEK_SET)
        os.write(fd, b"%-10d" % os.getpid())
        yield
    finally:
        os.close(fd)


def restore(target: Path) -> None:
    """Undo what an interrupted run left: put back a previous environment, remove what was half made."""
    previous = _previous_of(target)
    if previous.exists():
        if target.exists():
            _retire(previous, target)
        else:
            previous.rename(target)
    _remove(stage_of(target))


def require_replaceable(target: Path) -> None:
    """Raise ``StartError`` when ``target`` is something else than a virtual environment."""
    try:
        is_environment = (
            not target.exists()
            or (target / "pyvenv.cfg").exists()
            or marker.is_ours(target)
            or not any(target.iterdir())
        )
    except OSError:
        is_environment = False
    if not is_environment:
        raise StartError(
            ErrorCode.VENV_CREATE_FAILED,
            f"{target} is there and is no virtual environment; it is not replaced.",
            "Name another folder with --venv, or remove this one yourself.",
            {"path": str(target)},
        )


def put_in_place(target: Path) -> None:
    """Let the finished stage become ``target``; the environment that was there goes, or comes back if that fails.

    One that set-up did not make is kept beside, as ``TARGET.kept-N``.
    """
    stage, previous = stage_of(target), _previous_of(target)
    _rewrite_paths(stage, target)
    replaced = target.exists()
    if replaced and marker.is_ours(target) and exchange(stage, target):
        remove_stage(target)
        return
    try:
        if replaced:
            target.rename(previous)
        try:
            stage.rename(target)
        except OSError:
            if replaced:
                previous.rename(target)
            raise
    except OSError as error:
        raise StartError(
            ErrorCode.VENV_CREATE_FAILED,
            f"The new environment could not be moved to {target}: {error.strerror or error}.",
            "End the programs that use the old environment, then run the same command again.",
            {"path": str(target)},
        ) from error
    if replaced:
        _retire(previous, target)


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step, with no moment at which either name is missing; False where that cannot be had."""
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # some builds lack it

        library = ctypes.CDLL(None, use_errno=True)
        paths = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
        return bool(library.renameat2(*paths, _RENAME_EXCHANGE) == 0)
    except (ImportError, OSError, AttributeError):  # a C library that does not know it
        return False


def remove_stage(target: Path) -> None:
    """Throw away what was being made; what cannot be removed is left for the next run."""
    with contextlib.suppress(OSError):
        _remove(stage_of(target))


def _retire(previous: Path, target: Path) -> None:
    """Remove an environment of ours that was replaced; keep one that a person made."""
    if marker.is_ours(previous):
        # Through the stage's name: a removal cut short must not look like an environment to put back.
        _remove(stage_of(target))
        previous.rename(stage_of(target))
        remove_stage(target)
        return
    number = 1
    while (kept := target.with_name(f"{target.name}.kept-{number}")).exists():
        number += 1
    previous.rename(kept)


def _rewrite_paths(stage: Path, target: Path) -> None:
    """Scripts name their interpreter by its full path: replace the stage's by the target's."""
    scripts = stage / ("Scripts" if sys.platform == "win32" else "bin")
    old, new = os.fsencode(stage), os.fsencode(target)
    for path in (stage / "pyvenv.cfg", *sorted(scripts.iterdir())):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= _MAX_SCRIPT_BYTES:
            content = path.read_bytes()
            if old in content:
                path.write_bytes(content.replace(old, new))


def _remove(path: Path) -> None:
    """Remove a tree, read-only files included. Raises ``OSError`` when something stays."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=_make_writable)


def _make_writable(function: Callable[[str], Any], path: str, _: object) -> None:
    Path(path).chmod(stat.S_IRWXU)
    function(path)


def _holder(fd: int) -> str:
    """Pid of whoever holds the lock, as far as the file tells."""
    try:
        os.lseek(fd, _PID_OFFSET, os.SEEK_SET)
        return os.read(fd, 16).decode("ascii", "replace").strip(" \0")
    except OSError:
        return ""


def _not_writable(target: Path, error: OSError) -> StartError:
    return StartError(
        ErrorCode.PATH_NOT_WRITABLE,
        f"The environment cannot be made in {target.parent}: {error.strerror or error}.",
        "Let your user write there, or name another folder with --venv.",
        {"path": str(target)},
    )
