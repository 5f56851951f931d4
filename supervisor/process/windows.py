"""Launches on Windows: one job a launch, inside a job of our own; pipes read by threads.

The process starts suspended and runs only once it is in its job, so nothing it
starts can be outside. A venv's ``python.exe`` is a launcher whose pid is not
the sidecar's: everything here goes by the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Callable, Collection
from typing import Any

from supervisor.messages import Exit
from supervisor.process.base import Child, Command, Listener, SpawnError, Stream
from supervisor.process.jobs import ERROR_ACCESS_DENIED, Job, JobError, Kernel, WindowsKernel

CREATE_SUSPENDED = 0x00000004
CREATE_NEW_PROCESS_GROUP = 0x00000200
CREATE_NO_WINDOW = 0x08000000

_READ_BYTES = 16 * 1024

#: How long readers may take to reach the end once the job is empty.
_DRAIN_S = 1.0
_EMPTY_POLL_S = 0.01

#: Chunks read and not yet heard: a flood waits in the pipe, not in our memory.
_CHUNKS_IN_FLIGHT = 8

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")

Popen = Callable[..., Any]


class WindowsLauncher:
    """``kernel`` and ``popen`` are replaced where there is no Windows."""

    def __init__(self, kernel: Kernel | None = None, popen: Popen = subprocess.Popen) -> None:
        self._kernel = kernel or WindowsKernel()
        self._popen = popen
        self._own: Job | None = None

    def prepare(self) -> None:
        """Enter a job of our own: its handle closes with us, however we end, and takes everything along."""
        job = Job(self._kernel)
        try:
            job.assign(self._kernel.current_process())
        except JobError:
            job.close()  # a host's job that allows no nesting: its own rules must do
            return
        self._own = job

    def spawn(self, command: Command, listener: Listener) -> Child:
        return WindowsChild(command, listener, self._kernel, self._popen)

    def sweep(self, nonces: Collection[str]) -> int:
        """Nothing can be left: the jobs ended with the supervisor that held them."""
        return 0


class WindowsChild:
    """One launch in its job."""

    def __init__(self, command: Command, listener: Listener, kernel: Kernel, popen: Popen) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._job = Job(kernel)
        try:
            self._process = self._start(command, popen)
            self._enter_job(kernel)
        except SpawnError:
            self._job.close()
            raise
        self._room = threading.Semaphore(_CHUNKS_IN_FLIGHT)
        self._readers = [self._read(stream) for stream in STREAMS]
        threading.Thread(target=self._wait, name="launch", daemon=True).start()
        self._loop.call_soon(listener.spawned, self._process.pid)

    def terminate(self) -> None:
        """The end of standard input is the only polite word that every process here understands."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def kill(self) -> None:
        self._job.terminate()

    def dump_stack(self) -> None:
        """No signal for it here; the sidecar's own timer dumps them when no thread can run."""

    def _start(self, command: Command, popen: Popen) -> Any:
        try:
            return popen(
                list(command.argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(command.environ),
                cwd=command.cwd,
                bufsize=0,
                creationflags=CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP | CREATE_NO_WINDOW,
            )
        except OSError as error:
            permanent = isinstance(error, FileNotFoundError | PermissionError)
            raise SpawnError(f"{command.argv[0]}: {error.strerror}", permanent=permanent) from error

    def _enter_job(self, kernel: Kernel) -> None:
        handle = int(self._process._handle)
        try:
            self._job.assign(handle)
        except JobError as error:
            ended = error.number == ERROR_ACCESS_DENIED and self._process.poll() is not None
            self._process.kill()
            with self._process:  # closes its pipes and waits for it
                pass
            why = "it ended before it ran" if ended else str(error)
            raise SpawnError(why, permanent=False) from error
        kernel.resume(handle)

    def _read(self, stream: Stream) -> threading.Thread:
        thread = threading.Thread(target=self._read_all, args=(stream,), name=stream, daemon=True)
        thread.start()
        return thread

    def _read_all(self, stream: Stream) -> None:
        pipe = getattr(self._process, stream)
        with contextlib.suppress(OSError, ValueError), pipe:
            while data := pipe.read(_READ_BYTES):
                self._room.acquire()
                self._tell(self._hear, stream, data)

    def _hear(self, stream: Stream, data: bytes) -> None:
        self._room.release()
        self._listener.output(stream, data)

    def _wait(self) -> None:
        """End what the sidecar leaves behind, hear all that it said, then tell of its end."""
        status = self._process.wait()
        self._job.terminate()
        while self._job.count():
            threading.Event().wait(_EMPTY_POLL_S)
        self._job.close()
        for reader in self._readers:
            reader.join(_DRAIN_S)
        self.terminate()
        self._tell(self._listener.gone, Exit(status=status))

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *arguments)
