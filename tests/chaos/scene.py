"""A host, a supervisor and what they start, marked so that none of it is missed; and the signals sent to them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.faulty import BROKEN, PLANT
from tests.integration.host import Host, wait_until

#: Every process of a scene carries it in its environment.
MARK = "CHAOS_MARK"

#: A host of its own process: starts what its arguments say and holds its standard input open.
_HOST = "import subprocess, sys; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()"

PRODUCT = (sys.executable, "-m", "supervisor")
WITH_FAULTS = (sys.executable, "-m", "tests.chaos.supervised")

EMBEDDED = ("--model", "embedded")


@dataclass
class Scene:
    """A supervisor under test and its folder. ``program`` starts it; use as a context manager."""

    options: Sequence[str] = ()
    program: Sequence[str] = PRODUCT
    #: With a process between us and the supervisor, which can be killed.
    has_host: bool = False
    #: Has the sidecar of ``faulty`` start a tree that will not go.
    plants: bool = False
    #: Has the sidecar of ``faulty`` end at its start, until ``broken`` is removed.
    is_broken: bool = False
    environment: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Scene:
        self._stack = contextlib.ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        self.mark = secrets.token_hex(16)
        self._stack.callback(end_all, self.mark)
        if self.is_broken:
            self.broken.touch()
        self.host = self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> Host:
        """Start a supervisor in the scene's state folder; the second takes over from the first."""
        environment = {**self.environment, MARK: self.mark, BROKEN: str(self.broken), "TMPDIR": str(self.folder)}
        if self.plants:
            self.planted.unlink(missing_ok=True)
            environment[PLANT] = str(self.planted)
        program = (sys.executable, "-I", "-S", "-c", _HOST, *self.program) if self.has_host else self.program
        host = Host([*EMBEDDED, *self.options], self.folder / "state", environment, program=program)
        return self._stack.enter_context(host)

    @property
    def planted(self) -> Path:
        """Where the tree's pids are written."""
        return self.folder / "planted"

    @property
    def broken(self) -> Path:
        """While it exists, the sidecar of ``faulty`` ends at its start."""
        return self.folder / "broken"

    def introduce(self) -> None:
        """Learn address and token from the state folder, where there is no ``supervisor:ready`` to wait for."""
        wait_until(lambda: bool(self._instance().get("url")), 60.0)
        self.host.url, self.host.token = self._instance()["url"], self._instance()["token"]

    def _instance(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "state" / "instance.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def marked(self) -> set[int]:
        """Every living process of the scene."""
        return set(marked(self.mark))

    def nonce(self) -> str:
        """Mark of the youngest launch, as the state folder tells it."""
        return str(self._instance()["launches"][-1])


def marked(mark: str) -> Iterator[int]:
    """Every living process whose environment carries ``mark``."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def end_all(mark: str) -> None:
    """End whatever carries ``mark``."""
    while found := list(marked(mark)):
        for pid in found:
            kill(pid)
        time.sleep(0.01)


def command_line(pid: int) -> str:
    """Arguments of ``pid``, separated by spaces; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in {b"Z", b"X"}
    except OSError:
        return False


def until_gone(pids: Sequence[int], deadline_s: float) -> float:
    """Wait until none of ``pids`` runs, or the deadline; returns the seconds."""
    began = time.monotonic()
    left = list(pids)
    while left and time.monotonic() - began < deadline_s:
        left = [pid for pid in left if is_alive(pid)]
        time.sleep(0.001)
    return time.monotonic() - began
