"""Runs one command of set-up: its lines as they come, its whole tree ended when we are stopped or killed.

The same launcher that guards the sidecar guards an installer, so that nothing
writes into an environment after the one who had it made is gone.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from preflight.wire.environment import NONCE
from supervisor.messages import Exit
from supervisor.process.base import Command, Launcher, SpawnError, Stream
from supervisor.process.platforms import platform_launcher
from supervisor.progress import LineParser, LogLine

#: How often we look whether someone wants us to stop.
_LOOK_S = 0.1

_KEPT_LINES = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended. ``status`` is negative for a signal; ``lines``: the last it printed."""

    status: int
    lines: tuple[str, ...]


class CommandTimeoutError(Exception):
    """The command took too long and was ended."""


def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    on_line: Callable[[str], None],
    check: Callable[[], None],
    limit_s: float | None = None,
) -> Outcome:
    """Run ``argv`` to its end. Call from the main thread, with no event loop running.

    ``check`` is called ten times a second; what it raises ends the command's
    tree and comes out of here. Raises ``SpawnError`` when there is no such
    program, ``CommandTimeoutError`` after ``limit_s``.
    """
    return asyncio.run(_run(platform_launcher(), list(argv), environ, _Listener(on_line), check, limit_s))


class _Listener:
    """Hears of one command."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._parsers: dict[Stream, LineParser] = {s: LineParser(events=False) for s in ("stdout", "stderr")}
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.ended = asyncio.Event()
        self.exit = Exit()
        self.error: SpawnError | None = None

    def spawned(self, pid: int) -> None:
        """Nothing to do: the end is what is waited for."""

    def failed(self, error: SpawnError) -> None:
        self.error = error
        self.ended.set()

    def output(self, stream: Stream, data: bytes) -> None:
        for item in self._parsers[stream].feed(data):
            self._take(item)

    def gone(self, exit_: Exit) -> None:
        for parser in self._parsers.values():
            for item in parser.close():
                self._take(item)
        self.exit = exit_
        self.ended.set()

    def _take(self, item: object) -> None:
        if isinstance(item, LogLine):
            self.lines.append(item.text)
            self._on_line(item.text)


async def _run(
    launcher: Launcher,
    argv: list[str],
    environ: Mapping[str, str],
    listener: _Listener,
    check: Callable[[], None],
    limit_s: float | None,
) -> Outcome:
    nonce = secrets.token_hex(16)
    launcher.prepare()
    child = launcher.spawn(Command(tuple(argv), {**environ, NONCE: nonce}, sys.executable, nonce), listener)
    deadline = time.monotonic() + limit_s if limit_s is not None else None
    try:
        while not listener.ended.is_set():
            check()
            if deadline is not None and time.monotonic() > deadline:
                raise CommandTimeoutError(f"{argv[0]} did not end within {limit_s:.0f} s")
            try:
                await asyncio.wait_for(listener.ended.wait(), _LOOK_S)
            except TimeoutError:
                continue
    except BaseException:
        child.kill()
        await listener.ended.wait()
        raise
    if listener.error is not None:
        raise listener.error
    ended = listener.exit
    status = -ended.signal if ended.signal is not None else ended.status
    return Outcome(-1 if status is None else status, tuple(listener.lines))
