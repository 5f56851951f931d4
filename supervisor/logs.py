"""The log: bounded files, the sidecar's last lines in memory, and never a reason to stop.

Lines are handed to a thread that writes them; a full disk, a folder that
vanished or a disk that hangs costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TextIO

from supervisor.output import utc_now

FILE_NAME = "supervisor.log"

#: Contract, section 9: 5 files of 5 MB.
FILES = 5
FILE_BYTES = 5_000_000

#: The sidecar's lines kept in memory for error reports, and how many of them a report shows.
TAIL_LINES = 200
REPORT_LINES = 20

#: Tokens of past launches that late lines may still hold.
_PASSING_SECRETS = 4

#: Lines that wait for the disk.
_QUEUED = 2000

#: How long closing waits for the disk, twice.
_CLOSE_S = 1.0

#: A sidecar that floods its output is cut to so many lines a second, after a burst.
FLOOD_LINES_A_SECOND = 500.0
FLOOD_BURST = 4000.0

#: Read from the end of the newest files for a tail.
_TAIL_BYTES = 2_000_000

#: Every record of ours carries where it came from.
_SOURCE = "source"

#: So do the sidecar's, of their launch.
_LAUNCH = "launch"

#: Gets launch, level, source and line.
Emit = Callable[[int, str, str, str], None]


class Flood:
    """Lets lines through up to a rate and counts the rest. Time is handed in, in seconds."""

    def __init__(self, rate: float = FLOOD_LINES_A_SECOND, burst: float = FLOOD_BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._room = burst
        self._at = 0.0
        self._lost = 0

    def admit(self, now: float) -> int | None:
        """None: leave this line out. Otherwise how many were left out since the last that was let through."""
        self._room = min(self._burst, self._room + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._room < 1.0:
            self._lost += 1
            return None
        self._room -= 1.0
        lost, self._lost = self._lost, 0
        return lost


class BoundedFile(logging.handlers.RotatingFileHandler):
    """Rotated files that only the user reads; an error costs the line and is counted."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=FILES - 1, encoding="utf-8", delay=True)
        self.lost = 0

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the name is logging's
        """Drop what could not be written, so that the next line has a chance."""
        self.lost += 1
        stream: TextIO | None = self.stream
        self.stream = None  # opened anew by the next line
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()

    def close(self) -> None:
        """Close, whatever the disk says."""
        with contextlib.suppress(OSError, ValueError):
            super().close()


class _Queue(logging.handlers.QueueHandler):
    """Hands records to the writing thread, or drops them when it is far behind."""

    lost = 0

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 the name is logging's
        self.lost += 1

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # rendered by whoever writes it: the arguments of our records do not change


class _Writer(logging.handlers.QueueListener):
    """The writing thread."""

    def __init__(self, lines: queue.Queue[Any], handler: logging.Handler) -> None:
        super().__init__(lines, handler)
        self._lines = lines

    def stop(self) -> None:
        """Write what is queued and end, unless the disk hangs: then end without it."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_CLOSE_S)  # the base class's sentinel
        thread.join(_CLOSE_S)


class Secrets:
    """What is never shown. Replaced as a whole, so that the writing thread may read while it changes."""

    def __init__(self) -> None:
        self._lasting: tuple[str, ...] = ()
        self._passing: tuple[str, ...] = ()

    def add(self, secret: str, *, lasting: bool) -> None:
        if secret and lasting:
            self._lasting = (*self._lasting, secret)
        elif secret:
            self._passing = (*self._passing, secret)[-_PASSING_SECRETS:]

    def hidden(self, text: str) -> str:
        """``text`` without them."""
        for secret in (*self._lasting, *self._passing):
            text = text.replace(secret, "[hidden]")
        return text


class _Formatter(logging.Formatter):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        source = getattr(record, _SOURCE, "supervisor")
        text = f"{utc_now()} {source} {record.levelname.lower()} {super().format(record)}"
        return self._secrets.hidden(text)


class _Emitting(logging.Handler):
    """Publishes records as ``log`` events, for ``--log-level``."""

    def __init__(self, emit: Emit, secrets: Secrets) -> None:
        super().__init__()
        self.launch = 0
        self._emit = emit
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        line = self._secrets.hidden(record.getMessage())
        launch = getattr(record, _LAUNCH, self.launch)
        self._emit(launch, record.levelname.lower(), getattr(record, _SOURCE, "supervisor"), line)


class Logs:
    """Everything that is logged while the supervisor runs; use it from one thread."""

    def __init__(
        self,
        folder: Path,
        level: str | None = None,
        emit: Emit | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``level`` and ``emit``: also publish lines of that level and above."""
        self._path = folder / FILE_NAME
        self._clock = clock
        self._flood = Flood()
        #: Lines by launch.
        self._tails: dict[int, deque[str]] = {}
        self._secrets = Secrets()
        self._file = BoundedFile(self._path)
        self._file.setFormatter(_Formatter(self._secrets))
        lines: queue.Queue[Any] = queue.Queue(_QUEUED)
        self._queue = _Queue(lines)
        self._listener = _Writer(lines, self._file)
        self._handlers: list[logging.Handler] = [self._queue]
        self._emitting: _Emitting | None = None
        if level is not None and emit is not None:
            self._emitting = _Emitting(emit, self._secrets)
            self._emitting.setLevel(level.upper())
            self._handlers.append(self._emitting)
        self._sidecar = logging.Logger("sidecar", logging.DEBUG)
        self._root = logging.getLogger()

    def start(self) -> None:
        """Take over the process's logging."""
        for handler in self._handlers:
            self._root.addHandler(handler)
            self._sidecar.addHandler(handler)
        self._root.setLevel(min([logging.INFO, *(h.level for h in self._handlers if h.level)]))
        self._listener.start()

    def close(self) -> None:
        """Write out what is queued and give the process's logging back."""
        for handler in self._handlers:
            self._root.removeHandler(handler)
        self._listener.stop()
        self._file.close()

    def hide(self, secret: str, *, lasting: bool = True) -> None:
        """Never write ``secret`` to a file, whoever prints it; one that does not last, for a few more of its kind."""
        self._secrets.add(secret, lasting=lasting)

    def sidecar(self, stream: str, text: str, launch: int = 0) -> None:
        """Keep one line that the sidecar of ``launch`` printed."""
        self._tails.setdefault(launch, deque(maxlen=TAIL_LINES)).append(text)
        left_out = self._flood.admit(self._clock())
        if left_out is None:
            return
        if left_out:
            self._sidecar.warning("%d lines left out", left_out, extra={_SOURCE: "sidecar", _LAUNCH: launch})
        self._sidecar.info("%s", text, extra={_SOURCE: "sidecar", _LAUNCH: launch})

    def new_launch(self, number: int, beside: Collection[int] = ()) -> None:
        """There is a launch ``number``; the lines of all but those ``beside`` it are forgotten."""
        self._tails = {old: tail for old, tail in self._tails.items() if old in beside}
        if self._emitting is not None:
            self._emitting.launch = number

    def last_lines(self, most: int = REPORT_LINES, launch: int = 0) -> list[str]:
        """The last lines of the sidecar of ``launch``, oldest first; none when they are forgotten."""
        lines = list(self._tails.get(launch, ()))[-most:]
        return [self._secrets.hidden(line) for line in lines]

    def tail(self, most: int) -> list[str]:
        """The last ``most`` lines of the files, oldest first. Reads files; may be called in any thread."""
        lines: list[str] = []
        for path in (self._path, self._path.with_name(FILE_NAME + ".1")):
            if len(lines) < most:
                lines = [*_last_lines(path, most - len(lines)), *lines]
        return lines

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._file.lost + self._queue.lost


def _last_lines(path: Path, most: int) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[-most:] if most > 0 else []
