"""The host's end: standard input as its lifeline and bearer of one token, and the process it may name.

Only a pipe or socket is a lifeline: a terminal, a file and /dev/null end
without anybody having died.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Callable

from supervisor.process import identity
from supervisor.stopping import is_lifeline

log = logging.getLogger(__name__)

#: Longest first line: a token of 512 characters has room in it.
MAX_LINE_BYTES = 4096

#: A token travels in an HTTP header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")

_READ_BYTES = 65536
_HOST_POLL_S = 0.5


class TokenError(ValueError):
    """The first line is no token; says what was wanted and found, and never the line itself."""


def read_token(line: bytes) -> str | None:
    """Return the token of the first line of standard input; None for an empty line. Raises ``TokenError``."""
    if not line.strip():
        return None
    if len(line) > MAX_LINE_BYTES:
        raise TokenError(f"wanted at most {MAX_LINE_BYTES} bytes, found more")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise TokenError('wanted {"token": "..."}, found something that is not JSON') from None
    token = message.get("token") if isinstance(message, dict) else None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TokenError('wanted {"token": "..."} with 1 to 512 visible ASCII characters, found something else')
    return token


class Lifeline:
    """Reads a descriptor to its end: the first line may be a token, the rest is dropped, the end means goodbye."""

    def __init__(self, fd: int, gone: Callable[[str], None]) -> None:
        """``gone`` is called, with a reason, when the host is gone. A descriptor that is no lifeline is left alone.

        ``token`` raises ``TokenError`` for a first line that is not one.
        """
        self.token: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._gone = gone
        self._line: bytearray | None = bytearray()
        self.is_watched = is_lifeline(fd)
        if not self.is_watched:
            self._decide(None)
        elif sys.platform == "win32":
            threading.Thread(target=self._read_in_thread, name="stdin", daemon=True).start()
        else:
            self._loop.add_reader(fd, self._readable)

    def close(self) -> None:
        """Watch no longer."""
        if self.is_watched and sys.platform != "win32":
            self._loop.remove_reader(self._fd)

    def _readable(self) -> None:
        try:
            self.take(os.read(self._fd, _READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            self.take(b"")

    def _read_in_thread(self) -> None:
        data = b"."
        while data:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except OSError:
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.take, data)

    def take(self, data: bytes) -> None:
        """Take a chunk; empty: the end."""
        if self._line is not None:
            self._line += data[: MAX_LINE_BYTES + 1]
            end = self._line.find(b"\n")
            if end >= 0 or len(self._line) > MAX_LINE_BYTES or not data:
                self._first_line(bytes(self._line[:end] if end >= 0 else self._line))
        if not data:
            self.close()
            self._gone("the host closed standard input")

    def _first_line(self, line: bytes) -> None:
        self._line = None
        try:
            self._decide(read_token(line))
        except TokenError as error:
            if self.token.done():
                log.warning("the first line of standard input was refused: %s", error)
            else:
                self.token.set_exception(error)

    def _decide(self, token: str | None) -> None:
        if not self.token.done():
            self.token.set_result(token)
        elif token is not None and token != self.token.result():
            log.warning("a token on standard input came too late and was refused")


async def watch_process(pid: int, gone: Callable[[str], None]) -> None:
    """Call ``gone`` when the process ``pid`` ends; at once when there is none."""
    started = identity.start_time(pid)
    boot = identity.boot_id()
    while identity.is_same(pid, started, boot):  # noqa: ASYNC110 nobody would set an event
        await asyncio.sleep(_HOST_POLL_S)
    gone(f"the host (process {pid}) is gone")
