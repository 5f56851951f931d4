"""One supervisor a state folder: the lock that holds it, and the file that describes it.

The lock is the system's, held by the process and gone with it. The file only
tells: whoever reads it checks pid, start time and boot, because it outlives a
supervisor that was killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLock, Timeout

from preflight.wire import ErrorCode
from preflight.wire.version import VERSION
from supervisor.process import identity
from supervisor.start_error import StartError

FILE_NAME = "instance.json"
LOCK_NAME = "lock"

_FULL = {errno.ENOSPC, errno.EDQUOT}

log = logging.getLogger(__name__)


class Instance:
    """This supervisor's claim on its state folder."""

    def __init__(self, folder: Path, lock: FileLock, left: Mapping[str, Any]) -> None:
        """Use ``claim``."""
        self._folder = folder
        self._lock = lock
        self._launches: tuple[str, ...] = ()
        #: What a supervisor that did not end by itself left in the file; empty when there is none.
        self.left = left
        #: Identity of this supervisor, in its file and in its ``/health``.
        self.nonce = secrets.token_hex(16)
        pid, start_time, boot_id = identity.own()
        self._fields: dict[str, Any] = {
            "url": None,
            "pid": pid,
            "start_time": start_time,
            "boot_id": boot_id,
            "nonce": self.nonce,
            "token": None,
            "version": VERSION,
        }

    @classmethod
    def claim(cls, folder: Path) -> Instance:
        """Take the folder, or raise ``StartError``: ALREADY_RUNNING, PATH_NOT_WRITABLE or DISK_SPACE_LOW."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FileLock(folder / LOCK_NAME, timeout=0)
            lock.acquire()
        except Timeout as error:
            raise _already_running(folder) from error
        except (OSError, NotImplementedError) as error:
            raise _unusable(folder, error) from error
        found: object = lock
        if isinstance(found, SoftFileLock):  # what filelock turns into where the file system has no locks
            lock.release()
            raise _unusable(folder, OSError(errno.ENOSYS, "its file system has no locks"))
        instance = cls(folder, lock, read(folder))
        try:
            instance._write()
        except OSError as error:
            instance.release()
            raise _unusable(folder, error) from error
        return instance

    def stale_launches(self) -> frozenset[str]:
        """Nonces of launches that a killed supervisor may have left running."""
        launches = self.left.get("launches")
        if self.left.get("boot_id") != identity.boot_id() or not isinstance(launches, list):
            return frozenset()
        return frozenset(nonce for nonce in launches if isinstance(nonce, str) and nonce)

    def publish(self, url: str, token: str) -> None:
        """Tell where we listen. Raises ``StartError`` when that cannot be written."""
        self._fields |= {"url": url, "token": token}
        try:
            self._write()
        except OSError as error:
            raise _unusable(self._folder, error) from error

    def note_launches(self, nonces: Sequence[str]) -> None:
        """Write launches down before the last of them is made, so that a later start can find what is left of any."""
        self._launches = tuple(nonces)
        try:
            self._write()
        except OSError as error:  # a disk that filled up since must not stop us
            log.warning("cannot note the launch in %s: %s", self._folder / FILE_NAME, error)

    def release(self) -> None:
        """Give the folder back."""
        with contextlib.suppress(OSError):
            (self._folder / FILE_NAME).unlink(missing_ok=True)
        self._lock.release()

    def _write(self) -> None:
        """Replace the file as a whole; readable by its owner alone from its first byte on."""
        temporary = self._folder / f"{FILE_NAME}.{os.getpid()}.tmp"
        body = json.dumps({**self._fields, "launches": list(self._launches)}, indent=1).encode()
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(body)
            temporary.replace(self._folder / FILE_NAME)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def read(folder: Path) -> Mapping[str, Any]:
    """The file's content; empty when there is none, or none that can be read."""
    try:
        content = json.loads((folder / FILE_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _already_running(folder: Path) -> StartError:
    found = read(folder)
    url, pid = found.get("url"), found.get("pid")
    where = f"at {url}" if url else "and is still starting"
    return StartError(
        ErrorCode.ALREADY_RUNNING,
        f"A supervisor (process {pid}) uses {folder} already, {where}.",
        "Use that one (--attach), stop it with `python3 -m supervisor stop`, or name another --state-dir.",
        {"url": url, "pid": pid, "state_dir": str(folder)},
    )


def _unusable(folder: Path, error: OSError | NotImplementedError) -> StartError:
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL:
        return StartError(
            ErrorCode.DISK_SPACE_LOW,
            f"The disk of the state folder {folder} is full; a few kB are needed.",
            "Free some space, or name another folder with --state-dir.",
            {"path": str(folder)},
        )
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StartError(
        ErrorCode.PATH_NOT_WRITABLE,
        f"The state folder {folder} cannot be used: {why}.",
        "Make it writable for this user, or name another folder with --state-dir.",
        {"path": str(folder), "reason": why},
    )
