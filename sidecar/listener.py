"""The listening side of the port: limits on every connection, and an error body of ours even for what is not HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from preflight.wire import ErrorCode
from preflight.wire.connections import Idle, connection_limit
from sidecar.api.errors import ApiError, answer

log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 8190

#: No access log, no inflating of encoded bodies (they are refused).
_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "auto_decompress": False,
    "keepalive_timeout": 75.0,
    "lingering_time": 5.0,  # of a refused body, so that the client reads the answer rather than a reset
    "max_line_size": _MAX_HEADER_BYTES,
    "max_field_size": _MAX_HEADER_BYTES,
    "logger": log,
}

#: For ``web.Application(handler_args=...)``: a handler is cancelled when its client leaves.
HANDLER_ARGUMENTS: dict[str, Any] = {**_OPTIONS, "handler_cancellation": True}


class _Connection(web.RequestHandler):
    __slots__ = ("_idle", "_open")

    def __init__(self, manager: web.Server, idle: Idle, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(manager, loop=loop, **_OPTIONS)
        self._idle = idle
        self._open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        super().connection_made(transport)
        self._open = True
        self._idle.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        self._open = False
        self._idle.remove(self)
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request has arrived."""
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
        """Answer what cannot be read as a request."""
        if isinstance(exc, ConnectionError):
            raise exc  # nobody is left to answer
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.debug("a request that cannot be read: %s", exc.message)
        response = answer(
            ApiError(
                ErrorCode.INVALID_REQUEST,
                f"This is not a request that can be read: {exc.message[:200]}",
                hint=f"Send HTTP/1.1 with a head of at most {_MAX_HEADER_BYTES} bytes a line.",
            )
        )
        response.force_close()
        return response


@web.middleware
async def track_idle(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection when it is busy; the outermost middleware."""
    connection = request.protocol
    if not isinstance(connection, _Connection):
        return await handler(request)
    connection.begin()
    try:
        return await handler(request)
    finally:
        connection.end()


class _Closing(asyncio.Protocol):
    """A connection too many while every other is at work."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class Site(web.BaseSite):
    """Serves a runner's application on a socket that listens already; the longest idle connection makes room."""

    def __init__(self, runner: web.AppRunner, sock: socket.socket, max_connections: int | None = None) -> None:
        super().__init__(runner)
        self._sock = sock
        self._idle = Idle(max_connections or connection_limit())

    @property
    def name(self) -> str:
        host, port = self._sock.getsockname()[:2]
        return f"http://{host}:{port}"

    async def start(self) -> None:
        """Accept connections from now on."""
        await super().start()
        loop = asyncio.get_running_loop()
        manager = self._runner.server
        assert manager is not None

        def accept() -> asyncio.Protocol:
            if not self._idle.make_room(len(manager.connections)):
                return _Closing()
            return _Connection(manager, self._idle, loop)

        self._server = await loop.create_server(accept, sock=self._sock, backlog=128)
