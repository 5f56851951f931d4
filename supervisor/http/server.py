"""The listening side of the public port: limits that hold before a request is one.

A local port is reachable by every program on the machine, and a descriptor is
a thing we can run out of. So: a bound on connections (the longest idle one
makes room), a time limit for the first request, limits on header sizes, and
an error body of ours even where a request cannot be parsed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, TypedDict

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from preflight.wire import ErrorCode
from preflight.wire.connections import Idle, connection_limit
from supervisor.http.errors import RefusedError

log = logging.getLogger(__name__)

#: Seconds from the connection to its first complete request head.
FIRST_REQUEST_S = 10.0

#: Seconds a connection may be idle, or take over a later request head. Longer
#: than the clients in use keep theirs (5 s in httpx, 4 s in Node), so that the
#: client closes first and no request meets a closing connection.
KEEP_ALIVE_S = 75.0


class _Options(TypedDict):
    keepalive_timeout: float
    lingering_time: float
    max_line_size: int
    max_field_size: int
    max_headers: int
    auto_decompress: bool
    logger: logging.Logger


_OPTIONS: _Options = {
    "keepalive_timeout": KEEP_ALIVE_S,
    "lingering_time": 2.0,  # of a refused body, so that the client reads the answer rather than a reset
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 100,
    "auto_decompress": False,  # encoded bodies are refused; nothing of ours may inflate one
    "logger": log,
}

#: For ``web.Application(handler_args=...)``: the same limits under any runner,
#: and a handler that is cancelled when its client leaves.
HANDLER_ARGUMENTS: dict[str, Any] = {**_OPTIONS, "access_log": None, "handler_cancellation": True}


class Connection(web.RequestHandler):
    """One client's connection."""

    __slots__ = ("_first_request", "_idle", "_open")

    def __init__(self, manager: web.Server, idle: Idle, loop: asyncio.AbstractEventLoop) -> None:
        # None is how aiohttp is told to write no access log, whatever its annotation says.
        super().__init__(manager, loop=loop, access_log=None, **_OPTIONS)  # type: ignore[arg-type]
        self._idle = idle
        self._open = False
        self._first_request: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection and give it a while for its first request."""
        super().connection_made(transport)
        self._open = True
        self._idle.add(self)
        loop = asyncio.get_running_loop()
        self._first_request = loop.call_later(FIRST_REQUEST_S, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._open = False
        self._idle.remove(self)
        self._drop_timer()
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request has arrived."""
        self._drop_timer()
        self._idle.remove(self)

    def end(self) -> None:
        """Its answer is made."""
        if self._open:
            self._idle.add(self)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or not within the limits, with our error body."""
        self._drop_timer()
        if isinstance(exc, ConnectionError):
            raise exc  # nobody is left to answer, and that is no fault to log
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.debug("a request that cannot be read: %s", exc.message)
        return RefusedError(
            ErrorCode.INVALID_REQUEST,
            f"This is not a request that can be read: {exc.message[:200]}",
            f"Send HTTP/1.1 with a head of at most {_OPTIONS['max_field_size']} bytes a line.",
            close=True,
        ).answer()

    def _drop_timer(self) -> None:
        if self._first_request is not None:
            self._first_request.cancel()
            self._first_request = None


class _Site(web.BaseSite):
    def __init__(self, runner: web.AppRunner, sock: socket.socket, limit: int) -> None:
        super().__init__(runner)
        self._sock = sock
        self._idle = Idle(limit)

    @property
    def name(self) -> str:
        host, port = self._sock.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=self._sock, backlog=128)

    def _accept(self) -> asyncio.Protocol:
        manager = self._runner.server
        assert manager is not None
        if not self._idle.make_room(len(manager.connections)):
            return _Closing()
        return Connection(manager, self._idle, asyncio.get_running_loop())


class _Closing(asyncio.Protocol):
    """A connection too many while every other is at work."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


@web.middleware
async def track_idle(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when it is busy; the outermost middleware."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()


async def listen(
    app: web.Application, sock: socket.socket, *, shutdown_timeout_s: float = 1.0, max_connections: int | None = None
) -> web.AppRunner:
    """Serve ``app`` on the bound ``sock`` until the returned runner's ``cleanup`` is awaited.

    ``shutdown_timeout_s``: how long ``cleanup`` lets running answers finish.
    """
    runner = web.AppRunner(app, shutdown_timeout=shutdown_timeout_s)
    await runner.setup()
    await _Site(runner, sock, max_connections or connection_limit()).start()
    return runner
