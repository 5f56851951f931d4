"""PROGRESS lines: what the sidecar tells whoever started it.

``Progress.on_stdout`` keeps standard output to itself and points the process's
standard output at standard error: whatever a library prints, with a line end or
without, from Python or from C, is log and can never be part of a line.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from preflight.wire import EventType, encode_progress

#: Seconds between two lines of a download: at most 10 a second, the closing one included.
_DOWNLOAD_INTERVAL_S = 0.12

#: Longest message and hint of an error line; with details cut too it stays far below the line limit.
_MAX_TEXT = 4_000


class Progress:
    """Encodes and writes PROGRESS lines, whole, from any thread. Writing never raises."""

    def __init__(self, write: Callable[[bytes], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._last_download = -_DOWNLOAD_INTERVAL_S
        self._held: dict[str, Any] | None = None

    @classmethod
    def on_stdout(cls) -> Progress:
        """Take standard output over for PROGRESS lines; later prints go to standard error."""
        return cls(_claim_stdout())

    def report(self, type_: EventType, data: Mapping[str, Any]) -> None:
        """Write one line. Progress of a download may be held back, and is replaced by newer."""
        with self._lock:
            if type_ is EventType.DOWNLOAD_PROGRESS:
                self._report_download(dict(data))
                return
            if self._held is not None:
                self._line(EventType.DOWNLOAD_PROGRESS, self._held)
                self._held = None
            self._line(type_, data)

    def error(self, code: str, message: str, hint: str, details: Mapping[str, Any]) -> None:
        """Write the line that says why the sidecar is about to exit."""
        body = {"code": code, "message": message[:_MAX_TEXT], "hint": hint[:_MAX_TEXT], "details": dict(details)}
        try:
            encode_progress(EventType.ERROR, body)
        except (ValueError, TypeError):  # details too long, or not JSON
            body["details"] = {"omitted": str(details)[:_MAX_TEXT]}
        self.report(EventType.ERROR, body)

    def _report_download(self, data: dict[str, Any]) -> None:
        now = self._clock()
        if now - self._last_download < _DOWNLOAD_INTERVAL_S:
            self._held = data
            return
        self._last_download = now
        self._held = None
        self._line(EventType.DOWNLOAD_PROGRESS, data)

    def _line(self, type_: EventType, data: Mapping[str, Any]) -> None:
        try:
            self._write(encode_progress(type_, data).encode("ascii") + b"\n")
        except OSError:
            self._write = _discard  # nobody reads; serving goes on


def _discard(_: bytes) -> None:
    """Write nowhere."""


def _claim_stdout() -> Callable[[bytes], None]:
    """Return a writer to what standard output was, and let standard output be standard error.

    A stream that the process was started without is nowhere: for the
    libraries, too, which would fail on a print.
    """
    if sys.stderr is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 kept for good
    own = None
    if sys.stdout is not None:
        sys.stdout.flush()
        own = os.dup(1)  # not inherited by children
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return _discard if own is None else functools.partial(_write_all, own)


def _write_all(fd: int, line: bytes) -> None:
    while line:
        line = line[os.write(fd, line) :]
