"""Being stopped before the event loop runs: by a signal, or because the host is gone.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
]  # fmt: skip

_FILE_TYPE_PIPE = 3  # winbase.h
_ERROR_BROKEN_PIPE = 109  # winerror.h


class Stopped(BaseException):
    """Someone who may do so asked us to end. No error, so no handler of errors may swallow it."""


class Stopping:
    """While entered, a signal raises ``Stopped`` in the main thread; within ``deferred``, at the next ``check``.

    Outside the main thread it only watches the host.
    """

    def __init__(self, lifeline: int | None = None) -> None:
        """``lifeline``: descriptor whose end means that the host is gone, if it is a pipe or socket."""
        self._lifeline = lifeline if lifeline is not None and is_lifeline(lifeline) else None
        self._depth = 0
        self._reason: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup asked for that
                    self._before[number] = signal.signal(number, self._asked)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._asked:  # the event loop may have put its own there
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[Callable[[], None]]:
        """Hold signals back; yields ``check``, which raises ``Stopped`` where it is safe to."""
        self._depth += 1
        try:
            yield self.check
        finally:
            self._depth -= 1
        self.check()

    def check(self) -> None:
        """Raise ``Stopped`` when asked to stop, or when the host is gone. Never waits."""
        if self._lifeline is not None and has_ended(self._lifeline):
            self._reason = "the host is gone"
        if self._reason is not None:
            raise Stopped(self._reason)

    def _asked(self, number: int, _: FrameType | None) -> None:
        self._reason = signal.Signals(number).name
        if self._depth == 0:
            raise Stopped(self._reason)


def is_lifeline(fd: int) -> bool:
    """Whether end of file on ``fd`` can mean that someone died: pipes and sockets, not terminals and files."""
    try:
        if sys.platform == "win32":
            import ctypes
            import msvcrt

            return bool(ctypes.windll.kernel32.GetFileType(msvcrt.get_osfhandle(fd)) == _FILE_TYPE_PIPE)
        mode = os.fstat(fd).st_mode
    except OSError:  # closed
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def has_ended(fd: int) -> bool:
    """Whether the other end of a pipe or socket is closed. Reads nothing: the first line may be a token."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        seen = kernel.PeekNamedPipe(msvcrt.get_osfhandle(fd), None, 0, None, None, None)
        return not seen and ctypes.get_last_error() == _ERROR_BROKEN_PIPE
    poll = select.poll()
    # A closed pipe is told without being asked for; a socket whose writer only shut its side down is not.
    poll.register(fd, getattr(select, "POLLRDHUP", 0))
    return any(event & ~select.POLLIN for _, event in poll.poll(0))
