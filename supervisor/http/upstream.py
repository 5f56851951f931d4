"""Calls of one launch of the sidecar: its connections, and what can become of a call.

One client session belongs to one launch and dies with it, so no connection,
pooled or new, can carry a call to another process by accident.
"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

import aiohttp
from aiohttp import hdrs
from yarl import URL

from preflight.wire import ErrorCode
from preflight.wire.http import NONCE_HEADER, TIMEOUT_HEADER
from supervisor.backend import Backend, Upstream
from supervisor.http.body import Room
from supervisor.http.dialect import Dialect
from supervisor.http.poison import call_digest

#: An answer up to this size is read whole before any of it is sent on, so that
#: a crash in the middle of it still leaves the call to be made again.
MAX_HELD_ANSWER = 32 * 1024 * 1024

#: Seconds to connect. A stopped process still accepts, through the system's backlog.
_CONNECT_S = 5.0

#: Pooled connections end sooner than the sidecar would end them.
_POOL_S = 30.0

_READ_SIZE = 1024 * 1024

#: Larger bodies are written in pieces; in one piece they would hold up the event loop.
_ONE_WRITE = 256 * 1024

#: Headers of the client that mean something to the sidecar.
_FORWARDED = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, "Prefer", TIMEOUT_HEADER, "X-Request-Id", "Traceparent", "Tracestate")

#: Headers of the sidecar that concern the connection between it and us.
_OURS_ALONE = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "upgrade"}
    | {NONCE_HEADER.lower()}
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
    response: aiohttp.ClientResponse
    launch: Launch

    @property
    def size(self) -> int | None:
        """Bytes of the body, where the sidecar declared them."""
        return self.response.content_length

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises ``LostError``."""
        while True:
            async with self.launch.life():
                piece = await self.response.content.readany()
            if not piece:
                return
            yield piece

    async def hold(self) -> Answer:
        """Read the body after all. Raises ``LostError``."""
        try:
            return Answer(self.status, self.headers, b"".join([piece async for piece in self.pieces()]))
        finally:
            self.close()

    def close(self) -> None:
        """Give the rest up."""
        self.response.close()


class Launch:
    """The connections to one launch, and the calls it has under way."""

    def __init__(self, upstream: Upstream) -> None:
        self.number = upstream.launch
        self._nonce = upstream.nonce
        self._base = upstream.url.rstrip("/")
        self._urls: dict[str, URL] = {}
        self._embedding = 0
        #: How many texts-carrying calls were under way when the first was lost; None while none was.
        self._crowd: int | None = None
        self._scopes: set[asyncio.Timeout] = set()
        self._left: deque[tuple[bytes, float]] = deque(maxlen=256)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_POOL_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            headers={hdrs.AUTHORIZATION: f"Bearer {upstream.token}"},
            skip_auto_headers=(hdrs.USER_AGENT, hdrs.ACCEPT_ENCODING),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_SIZE,
        )

    @property
    def lost_alone(self) -> bool:
        """Whether the launch ended while a single call was under way, and none had just been given up."""
        return self._crowd == 1 and not self.left_behind()

    def left_behind(self) -> list[bytes]:
        """Digests of the calls whose client left shortly before now."""
        since = asyncio.get_running_loop().time() - _LEFT_S
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
                self._left.append((call.digest, asyncio.get_running_loop().time()))
            raise
        finally:
            self._embedding -= embeds

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Raise ``LostError`` for whatever breaks within, and when the launch ends.

        Closing a session leaves a reader of one of its answers waiting for
        ever, so each is woken on its own.
        """
        try:
            async with asyncio.timeout(None) as scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise LostError(f"cannot connect: {error}", begun=False) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise LostError(f"{type(error).__name__}: {error}".rstrip(": "), begun=True) from error

    async def close(self) -> None:
        """Break every connection; calls under way raise ``LostError``."""
        now = asyncio.get_running_loop().time()
        for scope in self._scopes:
            scope.reschedule(now)
        await self._session.close()

    async def _exchange(self, call: Call) -> Answer | Flow:
        if self._session.closed:
            raise LostError("the launch has ended", begun=False)
        body = None if not call.body else call.body if len(call.body) <= _ONE_WRITE else io.BytesIO(call.body)
        url = self._url(call.path)
        async with self.life():
            response = await self._session.request(
                call.method, url, headers=call.headers, data=body, allow_redirects=False
            )
            try:
                self._check(response)
                return await self._take(response, call.room)
            except BaseException:
                response.close()
                raise

    def _check(self, response: aiohttp.ClientResponse) -> None:
        """Only this launch knows its nonce; another process that took its port does not."""
        if response.headers.get(NONCE_HEADER) != self._nonce:
            raise ForeignError(f"an answer {response.status} without this launch's nonce")
        if response.status == 401:
            raise ForeignError("this launch's token was refused")

    async def _take(self, response: aiohttp.ClientResponse, room: Room) -> Answer | Flow:
        headers = {name: value for name, value in response.headers.items() if name.lower() not in _OURS_ALONE}
        size = response.content_length
        if size is None or size > MAX_HELD_ANSWER or not room.take(size):
            return Flow(response.status, headers, response, self)
        try:
            body = await response.read()
            if response.status == 503 and ErrorCode.NOT_READY.value.encode() in body:
                raise DeclinedError
        except BaseException:
            room.give(size)
            raise
        return Answer(response.status, headers, body)

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._base + path, encoded=True)
        return url


class Launches:
    """The launches that may still be called, one session each."""

    def __init__(self, backend: Backend, buried: Callable[[Launch], None]) -> None:
        """``buried`` is told of each launch that was called and has ended."""
        self._backend = backend
        self._buried = buried
        self._open: dict[int, tuple[Launch, asyncio.Task[None]]] = {}

    def of(self, upstream: Upstream) -> Launch:
        """Return the launch to call through, making its session at the first call."""
        known = self._open.get(upstream.launch)
        if known is None:
            launch = Launch(upstream)
            known = self._open[upstream.launch] = (launch, asyncio.create_task(self._bury(launch)))
        return known[0]

    async def close(self) -> None:
        """Break every connection of every launch."""
        for launch, burial in self._open.values():
            burial.cancel()
            await launch.close()
        self._open.clear()

    async def _bury(self, launch: Launch) -> None:
        """Break the connections of a launch that is known dead: something it left behind may hold them open."""
        dead = False
        while not dead:
            dead = await self._backend.wait_dead(launch.number, 3600.0)
        self._open.pop(launch.number, None)
        self._buried(launch)
        await launch.close()


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of the client's headers that the sidecar is to see."""
    return {name: value for name in _FORWARDED if (value := headers.get(name)) is not None}
