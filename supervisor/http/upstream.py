"""Calls of one launch of the sidecar: its connections, and what can become of a call.

Connections belong to one launch and die with it, so none, kept or new, can
carry a call to another process by accident.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from aiohttp import hdrs

from preflight.wire import ErrorCode
from preflight.wire.http import NONCE_HEADER, TIMEOUT_HEADER
from supervisor.backend import Backend, Upstream
from supervisor.http.body import Room
from supervisor.http.connection import Connection, Head, Pool, UnreadableError
from supervisor.http.dialect import Dialect
from supervisor.http.poison import call_digest

#: An answer up to this size is read whole before any of it is sent on, so that
#: a crash in the middle of it still leaves the call to be made again.
MAX_HELD_ANSWER = 32 * 1024 * 1024

#: Headers of the client that mean something to the sidecar.
_FORWARDED = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, "Prefer", TIMEOUT_HEADER, "X-Request-Id", "Traceparent", "Tracestate")

_NONCE = NONCE_HEADER.lower()

#: Headers of the sidecar that concern the connection between it and us.
_OURS_ALONE = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade", _NONCE}
)

#: A call whose client left is blamed for a crash within so many seconds: the engine may still have had it.
_LEFT_S = 120.0


class LostError(Exception):
    """The launch ended, or broke the connection, before its answer was complete.

    ``begun``: the call had been sent, so it may be what ended the launch.
    """

    def __init__(self, reason: str, *, begun: bool) -> None:
        super().__init__(reason)
        self.begun = begun


class ForeignError(Exception):
    """Whoever answered is not this launch."""


class DeclinedError(Exception):
    """The launch is on its way out and has not touched the call."""


@dataclass(frozen=True)
class Call:
    """A request to the sidecar, held whole. ``dialect`` is None where no text is embedded."""

    method: str
    path: str
    headers: Mapping[str, str]
    room: Room
    body: bytes = b""
    dialect: Dialect | None = None

    @cached_property
    def digest(self) -> bytes:
        """Identity of what is asked; costs time, so it is not asked for unless something crashed."""
        asked = (self.path, self.headers.get(hdrs.ACCEPT, ""), str(self.partial))
        return call_digest(*(part.encode("utf-8", "surrogatepass") for part in asked), self.body)

    @property
    def partial(self) -> bool:
        """Whether the client wants the other texts answered where one cannot be."""
        return "respond-partial" in self.headers.get("Prefer", "").lower()


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Flow:
    """An answer too large to hold: its head, and where the rest comes from. Whoever takes it closes it."""

    status: int
    headers: Mapping[str, str]
    #: Bytes of the body.
    size: int
    connection: Connection
    pool: Pool

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises ``LostError``."""
        left = self.size
        while left:
            with _broken():
                piece = await self.connection.read_some(left)
            left -= len(piece)
            yield piece

    async def hold(self) -> Answer:
        """Read the body after all. Raises ``LostError``."""
        try:
            return Answer(self.status, self.headers, b"".join([piece async for piece in self.pieces()]))
        finally:
            self.close()

    def close(self) -> None:
        """Give the rest up."""
        self.pool.drop(self.connection)


class Launch:
    """The connections to one launch, and the calls it has under way."""

    def __init__(self, upstream: Upstream) -> None:
        self.number = upstream.launch
        self._nonce = upstream.nonce
        address = urlsplit(upstream.url)
        assert address.hostname is not None
        assert address.port is not None
        self._pool = Pool(address.hostname, address.port)
        self._about_us = f"Host: {address.netloc}\r\nAuthorization: Bearer {upstream.token}\r\n"
        self._embedding = 0
        #: How many texts-carrying calls were under way when the first was lost; None while none was.
        self._crowd: int | None = None
        self._left: deque[tuple[bytes, float]] = deque(maxlen=256)
        self._loop = asyncio.get_running_loop()

    @property
    def lost_alone(self) -> bool:
        """Whether the launch ended while a single call was under way, and none had just been given up."""
        return self._crowd == 1 and not self.left_behind()

    def left_behind(self) -> list[bytes]:
        """Digests of the calls whose client left shortly before now."""
        since = self._loop.time() - _LEFT_S
        return [digest for digest, left_at in self._left if left_at >= since]

    async def exchange(self, call: Call) -> Answer | Flow:
        """Make the call. Raises ``LostError``, ``ForeignError`` or ``DeclinedError``; cancelling gives the call up."""
        embeds = call.dialect is not None
        self._embedding += embeds
        try:
            return await self._exchange(call)
        except LostError as error:
            if self._crowd is None and error.begun and embeds:
                self._crowd = self._embedding
            raise
        except asyncio.CancelledError:
            if embeds:
                self._left.append((call.digest, self._loop.time()))
            raise
        finally:
            self._embedding -= embeds

    def close(self) -> None:
        """Break every connection; calls under way raise ``LostError``."""
        self._pool.close()

    async def _exchange(self, call: Call) -> Answer | Flow:
        try:
            connection = await self._pool.take()
        except OSError as error:
            raise LostError(f"cannot connect: {error}", begun=False) from error
        try:
            with _broken():
                head = await connection.ask(self._request(call), call.body)
                self._check(head)
                answer = await self._take(connection, head, call.room)
        except BaseException:
            self._pool.drop(connection)
            raise
        if isinstance(answer, Answer):
            self._pool.give_back(connection, is_last=head.is_last)
        return answer

    def _request(self, call: Call) -> bytes:
        """Return the head of a request. Raises ``ValueError`` for a header that would be two."""
        if any(mark in value for value in call.headers.values() for mark in "\r\n\0"):
            raise ValueError("a header's value wanted one line, found more")
        lines = "".join([f"{name}: {value}\r\n" for name, value in call.headers.items()])
        size = f"Content-Length: {len(call.body)}\r\n" if call.body or call.method != "GET" else ""
        text = f"{call.method} {call.path} HTTP/1.1\r\n{self._about_us}{lines}{size}\r\n"
        return text.encode("utf-8", "surrogateescape")

    def _check(self, head: Head) -> None:
        """Only this launch knows its nonce; another process that took its port does not."""
        if head.fields.get(_NONCE) != self._nonce:
            raise ForeignError(f"an answer {head.status} without this launch's nonce")
        if head.status == 401:
            raise ForeignError("this launch's token was refused")

    async def _take(self, connection: Connection, head: Head, room: Room) -> Answer | Flow:
        headers = {name: value for name, value in head.headers.items() if name.lower() not in _OURS_ALONE}
        if head.size > MAX_HELD_ANSWER or not room.take(head.size):
            return Flow(head.status, headers, head.size, connection, self._pool)
        try:
            body = await connection.read(head.size)
            if head.status == 503 and ErrorCode.NOT_READY.value.encode() in body:
                raise DeclinedError
        except BaseException:
            room.give(head.size)
            raise
        return Answer(head.status, headers, body)


@contextmanager
def _broken() -> Iterator[None]:
    """Raise what breaks within as ``LostError``, and what cannot be read as ``ForeignError``."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise LostError(f"{type(error).__name__}: {error}".rstrip(": "), begun=True) from error
    except UnreadableError as error:
        raise ForeignError(str(error)) from error


class Launches:
    """The launches that may still be called, each with its connections."""

    def __init__(self, backend: Backend, buried: Callable[[Launch], None]) -> None:
        """``buried`` is told of each launch that was called and has ended."""
        self._backend = backend
        self._buried = buried
        self._open: dict[int, tuple[Launch, asyncio.Task[None]]] = {}

    def of(self, upstream: Upstream) -> Launch:
        """Return the launch to call through, made at the first call."""
        known = self._open.get(upstream.launch)
        if known is None:
            launch = Launch(upstream)
            known = self._open[upstream.launch] = (launch, asyncio.create_task(self._bury(launch)))
        return known[0]

    async def close(self) -> None:
        """Break every connection of every launch."""
        for launch, burial in self._open.values():
            burial.cancel()
            launch.close()
        self._open.clear()

    async def _bury(self, launch: Launch) -> None:
        """Break the connections of a launch that is known dead: something it left behind may hold them open."""
        dead = False
        while not dead:
            dead = await self._backend.wait_dead(launch.number, 3600.0)
        self._open.pop(launch.number, None)
        self._buried(launch)
        launch.close()


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the client's headers that the sidecar is to see."""
    return {name: value for name in _FORWARDED if (value := headers.get(name)) is not None}
