"""What only macOS has: no subreaper, so whatever lost its guard is found by its mark."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection

from supervisor.messages import Exit
from supervisor.process import guard
from supervisor.process.base import Child, Command, Listener
from supervisor.process.posix import Orphans, PosixChild


class DarwinLauncher:
    """Launches behind a guard. ``ps`` lists our processes with their environments."""

    def __init__(self, ps: Callable[[], str] = guard.list_processes) -> None:
        self._ps = ps

    def prepare(self) -> None:
        """Nothing can be arranged beforehand: the lifeline must do."""

    def spawn(self, command: Command, listener: Listener) -> Child:
        return PosixChild(command, listener, self._marked)

    def sweep(self, nonces: Collection[str]) -> int:
        listing = self._ps()
        found = {pid for nonce in nonces if nonce for pid in guard.marked(listing, nonce)} - {os.getpid()}
        for pid in found:
            guard.kill(pid, signal.SIGKILL)
        return len(found)

    def _marked(self, sidecar: int, nonce: str) -> Orphans:
        return _Marked(self, nonce)


class _Marked:
    """Orphans go to launchd, which reaps them: the sidecar's own status is lost with its guard."""

    exit: Exit | None = None

    def __init__(self, launcher: DarwinLauncher, nonce: str) -> None:
        self._launcher = launcher
        self._nonce = nonce

    def end(self) -> bool:
        return self._launcher.sweep({self._nonce}) > 0
