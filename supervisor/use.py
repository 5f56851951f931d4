"""Who uses an environment, so that nobody replaces it under them.

Beside TARGET lies TARGET.users; every supervisor that runs in TARGET has a
file there, named by its pid and locked as long as it lives. The system lets go
of a lock with its holder, so a killed one leaves a file, and no claim.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from preflight.folders import MARKER
from preflight.wire import ErrorCode
from supervisor.start_error import StartError


@contextlib.contextmanager
def used(environment: Path) -> Iterator[None]:
    """Keep set-up from replacing ``environment`` while entered, if set-up made it."""
    fd = _claim(environment) if (environment / MARKER).is_file() else None
    try:
        yield
    finally:
        if fd is not None:
            os.close(fd)
            with contextlib.suppress(OSError):
                _file(_real(environment), os.getpid()).unlink()


def user_of(environment: Path) -> int | None:
    """Pid of a process that uses ``environment``; None when nobody does. Removes what killed ones left."""
    with contextlib.suppress(OSError):
        for path in sorted(_folder(environment).iterdir()):
            if path.stem.isdigit() and _is_held(path):
                return int(path.stem)
    return None


def refusal(environment: Path, user: int) -> StartError:
    """What to say to whoever wants to replace an environment that ``user`` runs in."""
    return StartError(
        ErrorCode.ALREADY_RUNNING,
        f"The environment {environment} is in use by process {user}, a running supervisor; it is not replaced.",
        "Stop that first: python3 -m supervisor stop; or let set-up wait for it: python3 -m supervisor setup --wait",
        {"pid": user, "venv": str(environment)},
    )


def _real(environment: Path) -> Path:
    return Path(os.path.realpath(environment))


def _folder(environment: Path) -> Path:
    return environment.with_name(environment.name + ".users")


def _file(environment: Path, pid: int) -> Path:
    return _folder(environment) / f"{pid}.lock"


def _claim(environment: Path) -> int | None:
    path = _file(_real(environment), os.getpid())
    try:
        path.parent.mkdir(exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # an environment of the system: nobody without its rights replaces it
        return None
    if not try_lock(fd):
        os.close(fd)
        return None
    return fd


def _is_held(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        if not try_lock(fd):
            return True
        with contextlib.suppress(OSError):
            path.unlink()
        return False
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Take the lock on the first byte of a file, without waiting; False when another process has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
