"""HTTP/1.1 with one sidecar: kept connections, and as much of the protocol as the sidecar speaks.

A general client took half of the time that the public port adds to a call. The
sidecar is ours, and declares the length of every answer; whoever answers
otherwise is not it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

#: Seconds to connect. A stopped process still accepts, through the system's backlog.
_CONNECT_S = 5.0

#: Unused connections end sooner than the sidecar would end them.
_KEPT_S = 30.0

#: Bytes of an answer read ahead of whoever takes them; half of what may lie in the buffer. A head has to fit.
_READ_AHEAD = 1024 * 1024

#: Larger bodies are written in pieces; in one piece they would hold up the event loop.
_ONE_WRITE = 256 * 1024

_END_OF_HEAD = b"\r\n\r\n"

#: Answers that have no body and declare none.
_BODILESS = frozenset({204, 304})


class UnreadableError(Exception):
    """What came back is no answer of a sidecar's."""


class Head(NamedTuple):
    """Begin of an answer. ``headers``: names as they were sent; ``fields``: the same in lower case."""

    status: int
    headers: Mapping[str, str]
    fields: Mapping[str, str]
    #: Bytes of the body.
    size: int

    @property
    def is_last(self) -> bool:
        """Whether the sidecar closes the connection after this answer."""
        return self.fields.get("connection", "").lower() == "close"


class Connection:
    """One connection, for one call at a time. Whatever raises leaves it useless: ``abort`` it.

    Each method raises ``OSError`` or ``EOFError`` when the connection breaks,
    also by ``abort`` while it waits.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """``open`` makes one."""
        self._reader = reader
        self._writer = writer
        #: When it was last given back, by the event loop's clock.
        self.idle_since = 0.0

    @classmethod
    async def open(cls, host: str, port: int) -> Connection:
        """Connect. Raises ``OSError``, which ``TimeoutError`` is."""
        async with asyncio.timeout(_CONNECT_S):
            return cls(*await asyncio.open_connection(host, port, limit=_READ_AHEAD))

    @property
    def is_open(self) -> bool:
        """False once either side has ended it, as far as is known."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def ask(self, head: bytes, body: bytes) -> Head:
        """Send a request and return the head of its answer. Raises ``UnreadableError`` as well."""
        if len(body) <= _ONE_WRITE:
            self._writer.write(head + body)
        else:
            self._writer.write(head)
            view = memoryview(body)
            for start in range(0, len(view), _ONE_WRITE):
                self._writer.write(view[start : start + _ONE_WRITE])
                await self._writer.drain()
        try:
            return parse_head(await self._reader.readuntil(_END_OF_HEAD))
        except asyncio.LimitOverrunError as error:
            raise UnreadableError("a head without end") from error

    async def read(self, size: int) -> bytes:
        """Return the whole body, of ``size`` bytes."""
        return await self._reader.readexactly(size)

    async def read_some(self, most: int) -> bytes:
        """Return what is there of the body, at most ``most`` bytes and at least one."""
        piece = await self._reader.read(min(most, _ONE_WRITE))
        if not piece:
            raise EOFError("the connection ended within an answer")
        return piece

    def abort(self) -> None:
        """Break it at once."""
        self._writer.transport.abort()


class Pool:
    """The connections to one address. Closing it breaks those in use as well."""

    def __init__(self, host: str, port: int) -> None:
        """Make it inside the running event loop."""
        self._address = host, port
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._all: set[Connection] = set()
        #: Those that carry no call, the latest used last.
        self._kept: deque[Connection] = deque()
        self._thinning: asyncio.TimerHandle | None = None

    async def take(self) -> Connection:
        """Return a kept connection or a new one, to be given back or dropped. Raises ``OSError``."""
        while self._kept:
            connection = self._kept.pop()
            if connection.is_open:
                return connection
            self.drop(connection)
        self._check()
        connection = await Connection.open(*self._address)
        self._all.add(connection)
        try:
            self._check()  # it may have been closed meanwhile
        except ConnectionAbortedError:
            self.drop(connection)
            raise
        return connection

    def give_back(self, connection: Connection, *, is_last: bool) -> None:
        """Keep a connection whose answer was read to its end, unless that was its last one."""
        if is_last or self._is_closed:
            self.drop(connection)
            return
        connection.idle_since = self._loop.time()
        self._kept.append(connection)
        if self._thinning is None:
            self._thinning = self._loop.call_later(_KEPT_S, self._thin)

    def drop(self, connection: Connection) -> None:
        """Break a connection that was taken."""
        connection.abort()
        self._all.discard(connection)

    def close(self) -> None:
        """Break every connection, for good."""
        self._is_closed = True
        if self._thinning is not None:
            self._thinning.cancel()
        self._kept.clear()
        while self._all:
            self._all.pop().abort()

    def _check(self) -> None:
        if self._is_closed:
            raise ConnectionAbortedError("the launch has ended")

    def _thin(self) -> None:
        """Drop the connections that nobody used for long."""
        now = self._loop.time()
        while self._kept and now - self._kept[0].idle_since >= _KEPT_S:
            self.drop(self._kept.popleft())
        self._thinning = None
        if self._kept:
            self._thinning = self._loop.call_later(_KEPT_S - (now - self._kept[0].idle_since), self._thin)


def parse_head(data: bytes) -> Head:
    """Read an answer's head, its empty line included. Raises ``UnreadableError``."""
    first, *lines = data.decode("utf-8", "surrogateescape").removesuffix("\r\n\r\n").split("\r\n")
    version, _, rest = first.partition(" ")
    digits = rest[:3]
    if version != "HTTP/1.1" or not _is_number(digits) or not 200 <= int(digits) <= 599:
        raise UnreadableError(f"a first line {first[:100]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise UnreadableError(f"a header {line[:100]!r}")
        headers[name] = value.strip()
    fields = {name.lower(): value for name, value in headers.items()}
    return Head(int(digits), headers, fields, _size(int(digits), fields))


def _size(status: int, fields: Mapping[str, str]) -> int:
    declared = fields.get("content-length", "0" if status in _BODILESS else "")
    if "transfer-encoding" in fields or not _is_number(declared):
        raise UnreadableError(f"an answer {status} that does not declare its length")
    return int(declared)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
