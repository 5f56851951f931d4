"""Launches on Linux and macOS: a guard process, and pipes read in chunks by the event loop.

The end of a launch is heard of from the status pipe, whose only writer is the
guard, and never from standard output: a grandchild may hold that open for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Protocol

from supervisor.messages import Exit
from supervisor.process.base import Command, Listener, SpawnError, Stream
from supervisor.process.memory import MemoryKills
from supervisor.programs import OURS

#: A chunk small enough that a flood of output does not hold up the loop.
READ_BYTES = 16 * 1024

#: Output still in the pipes when everything is dead; a pipe holds 64 KiB, a socket pair a little more.
_DRAIN_BYTES = 1024 * 1024

#: The status pipe ends an instant before the guard can be waited for.
_RETRY_S = 0.002


STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Orphans(Protocol):
    """What a dead guard left behind."""

    #: How the sidecar ended, once that is known.
    exit: Exit | None

    def end(self) -> bool:
        """Kill what is found; True while anything may be left, and it must be called again."""


#: Made from the sidecar's pid (0: unknown) and the nonce of the launch.
Adopt = Callable[[int, str], Orphans]


class Pipes:
    """The five pipes of a launch; ends are closed exactly once."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        try:
            for name in ("stdin", "stdout", "stderr", "lifeline", "status"):
                self.ends[name + ":r"], self.ends[name + ":w"] = os.pipe()
        except OSError:
            self.close(*self.ends)
            raise

    def __getitem__(self, end: str) -> int:
        return self.ends[end]

    def close(self, *ends: str) -> None:
        """Close the named ends that are still open."""
        for end in ends:
            fd = self.ends.pop(end, None)
            if fd is not None:
                os.close(fd)


class PosixChild:
    """One launch behind its guard."""

    def __init__(self, command: Command, listener: Listener, adopt: Adopt) -> None:
        self._listener = listener
        self._program = command.argv[0]
        self._nonce = command.nonce
        self._adopt = adopt
        self._loop = asyncio.get_running_loop()
        self._pid = 0
        self._exit: Exit | None = None
        self._failed: SpawnError | None = None
        self._kills = 0
        self._memory = MemoryKills()
        self._reported = bytearray()
        self._pipes = Pipes()
        self._guard = self._start(command)
        for stream in STREAMS:
            self._read(stream + ":r", self._on_output(stream))
        self._read("status:r", self._on_status)

    def terminate(self) -> None:
        self._order(b"T")

    def dump_stack(self) -> None:
        self._order(b"D")

    def kill(self) -> None:
        self._kills += 1
        if self._kills == 1:
            self._order(b"K")
        else:  # it is stopped, or stuck: without it the sidecar dies, and the rest comes to us
            self._guard.kill()

    def _start(self, command: Command) -> subprocess.Popen[bytes]:
        pipes = self._pipes
        guard = [*OURS.guard(command.python), str(os.getpid()), str(pipes["lifeline:r"]), str(pipes["status:w"])]
        try:
            return subprocess.Popen(
                [*guard, *command.argv],
                stdin=pipes["stdin:r"],
                stdout=pipes["stdout:w"],
                stderr=pipes["stderr:w"],
                pass_fds=(pipes["lifeline:r"], pipes["status:w"]),
                env=command.environ,
                cwd=command.cwd,
                start_new_session=True,
            )
        except OSError as error:
            pipes.close(*list(pipes.ends))
            permanent = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
            raise SpawnError(f"{guard[0]}: {error.strerror}", permanent=permanent) from error
        finally:
            pipes.close("stdin:r", "stdout:w", "stderr:w", "lifeline:r", "status:w")

    def _read(self, end: str, callback: Callable[[bytes], None]) -> None:
        fd = self._pipes[end]
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._on_readable, end, callback)

    def _on_readable(self, end: str, callback: Callable[[bytes], None]) -> None:
        try:
            data = os.read(self._pipes[end], READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end(end)
        callback(data)

    def _end(self, end: str) -> None:
        fd = self._pipes.ends.get(end)
        if fd is not None:
            self._loop.remove_reader(fd)
            self._pipes.close(end)

    def _on_output(self, stream: Stream) -> Callable[[bytes], None]:
        def on_output(data: bytes) -> None:
            if data:
                self._listener.output(stream, data)

        return on_output

    def _on_status(self, data: bytes) -> None:
        self._reported += data
        *lines, rest = bytes(self._reported).split(b"\n")
        self._reported[:] = rest
        for line in lines:
            word, _, number = line.decode("ascii", "replace").partition(" ")
            self._on_report(word, int(number))
        if not data:
            self._on_guard_gone()

    def _on_report(self, word: str, number: int) -> None:
        if word == "pid":
            self._pid = number
            self._listener.spawned(number)
        elif word == "failed":
            permanent = number in _PERMANENT
            self._failed = SpawnError(f"{self._program}: {os.strerror(number)}", permanent=permanent)
        elif word == "signal":
            name = signal_name(number)
            self._exit = Exit(signal=number, signal_name=name, out_of_memory=self._out_of_memory(number))
        else:
            self._exit = Exit(status=number)

    def _out_of_memory(self, number: int) -> bool:
        return number == signal.SIGKILL and self._kills == 0 and self._memory.happened()

    def _on_guard_gone(self) -> None:
        if self._guard.poll() is None:
            self._loop.call_later(_RETRY_S, self._on_guard_gone)
            return
        if self._exit is None and self._failed is None:
            self._on_guard_died(self._adopt(self._pid, self._nonce))
        else:
            self._finish()

    def _on_guard_died(self, orphans: Orphans) -> None:
        """It reported no end: what it guarded is ours to end, however many rounds that takes."""
        if orphans.end():
            self._loop.call_later(_RETRY_S, self._on_guard_died, orphans)
            return
        self._exit = orphans.exit or Exit()
        if not self._pid:
            self._failed = SpawnError("its guard died before it could start it", permanent=False)
        self._finish()

    def _finish(self) -> None:
        for stream in STREAMS:
            self._drain(stream)
        self._end("status:r")
        self._pipes.close(*list(self._pipes.ends))
        if self._failed is not None:
            self._listener.failed(self._failed)
        else:
            self._listener.gone(self._exit or Exit())

    def _drain(self, stream: Stream) -> None:
        """Read what is left; whoever escaped with the pipe in hand is not waited for."""
        end, left = stream + ":r", _DRAIN_BYTES
        while left > 0 and end in self._pipes.ends:
            try:
                data = os.read(self._pipes[end], READ_BYTES)
            except OSError:
                break
            if not data:
                break
            left -= len(data)
            self._listener.output(stream, data)
        self._end(end)

    def _order(self, order: bytes) -> None:
        fd = self._pipes.ends.get("lifeline:w")
        if fd is not None:
            with contextlib.suppress(OSError):
                os.write(fd, order)


_PERMANENT = {2, 8, 13, 20}  # ENOENT, ENOEXEC, EACCES, ENOTDIR


def signal_name(number: int) -> str:
    """``9`` -> ``SIGKILL``; empty for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""
