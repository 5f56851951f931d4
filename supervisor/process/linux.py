"""What only Linux has: the supervisor as subreaper, adopted orphans, the sweep by environment."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from preflight.wire.environment import NONCE
from supervisor.messages import Exit
from supervisor.process import guard
from supervisor.process.base import Child, Command, Listener
from supervisor.process.posix import PosixChild, signal_name

#: Rounds of a sweep, each after a short wait: a process may fork while it is looked for.
_SWEEP_ROUNDS = 40
_SWEEP_WAIT_S = 0.005


class LinuxLauncher:
    """Launches behind a guard; what a killed guard leaves behind becomes a child of this process and is ended here."""

    def prepare(self) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(guard.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def spawn(self, command: Command, listener: Listener) -> Child:
        return PosixChild(command, listener, Adopted)

    def sweep(self, nonces: Collection[str]) -> int:
        return sweep(nonces)


class Adopted:
    """Processes of a launch that became our children when its guard died.

    A child of a child comes to us only when its parent is gone, so one look is
    never enough; and a zombie has no mark any more, so the found are remembered.
    """

    def __init__(self, sidecar: int, nonce: str) -> None:
        self.exit: Exit | None = None
        self._sidecar = sidecar
        self._nonce = nonce
        self._found: set[int] = set()

    def end(self) -> bool:
        for pid in guard.children(os.getpid()):
            if self._is_ours(pid):
                self._found.add(pid)
                guard.kill(pid, signal.SIGKILL)
        seen = bool(self._found)
        self._found = {pid for pid in self._found if not self._reap(pid)}
        return seen

    def _is_ours(self, pid: int) -> bool:
        # Guards of other launches carry their own nonce; other children of ours carry none.
        return carries(pid, {self._nonce}) or 0 < self._sidecar in {pid, _session(pid)}

    def _reap(self, pid: int) -> bool:
        try:
            ended, how = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True
        if ended and pid == self._sidecar:
            code = os.waitstatus_to_exitcode(how)
            self.exit = Exit(status=code) if code >= 0 else Exit(signal=-code, signal_name=signal_name(-code))
        return bool(ended)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def sweep(nonces: Collection[str]) -> int:
    """Kill every process of ours whose environment carries one of ``nonces``; returns how many were killed."""
    killed: set[int] = set()
    for _ in range(_SWEEP_ROUNDS):
        found = [pid for pid in _own_processes() if carries(pid, nonces)]
        if not found:
            break
        killed.update(pid for pid in found if _kill_if_carries(pid, nonces))
        time.sleep(_SWEEP_WAIT_S)
    return len(killed)


def _own_processes() -> Iterator[int]:
    uid, me = os.getuid(), os.getpid()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            pid = int(entry.name)
            if pid != me and entry.stat().st_uid == uid:
                yield pid


def carries(pid: int, nonces: Collection[str]) -> bool:
    """Whether the environment that ``pid`` was started with carries one of ``nonces``; a zombie's is empty."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(f"{NONCE}={nonce}".encode() in entries for nonce in nonces if nonce)


def _kill_if_carries(pid: int, nonces: Collection[str]) -> bool:
    """Kill through a descriptor opened before the last look, so that a recycled pid is never hit."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not carries(pid, nonces):
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
