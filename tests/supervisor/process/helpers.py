"""Real processes in tests: starting, counting, waiting with a deadline."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from preflight.wire.environment import NONCE
from supervisor.messages import Exit
from supervisor.process import guard
from supervisor.process.base import Command, SpawnError, Stream


def fake_command(argv: tuple[str, ...], nonce: str = "test-nonce") -> Command:
    environ = {"PATH": os.environ["PATH"], NONCE: nonce}
    return Command(argv=argv, environ=environ, python=sys.executable, nonce=nonce)


class Ears:
    """A listener that remembers, and lets a test wait."""

    def __init__(self) -> None:
        self.pid = 0
        self.said: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.exit: Exit | None = None
        self.error: SpawnError | None = None
        self.order: list[str] = []

    def spawned(self, pid: int) -> None:
        self.pid = pid
        self.order.append("spawned")

    def failed(self, error: SpawnError) -> None:
        self.error = error
        self.order.append("failed")

    def output(self, stream: Stream, data: bytes) -> None:
        assert self.exit is None, "nothing is heard after the end"
        self.said[stream] += data
        if self.order[-1:] != ["output"]:
            self.order.append("output")

    def gone(self, exit_: Exit) -> None:
        self.exit = exit_
        self.order.append("gone")

    @property
    def ended(self) -> bool:
        return self.exit is not None or self.error is not None


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> float:
    """Wait until ``condition`` holds; returns the seconds it took, fails at the deadline."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, "not within the deadline"
        await asyncio.sleep(0.002)
    return time.monotonic() - started


def wait_until(condition: Callable[[], object], deadline_s: float = 10.0) -> float:
    """``until`` for tests without an event loop."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < deadline_s, "not within the deadline"
        time.sleep(0.002)
    return time.monotonic() - started


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def tree_pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def fakes_among_children() -> list[int]:
    """Our children that are fakes, zombies (which have no command line) included."""
    found = []
    for pid in guard.children(os.getpid()):
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"fakes.py" in line or not line:
            found.append(pid)
    return found
