"""The listening side of the port: limits on every connection, and an error body of ours even for what is not HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from preflight.wire import ErrorCode
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
    __slots__ = ()

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


class Site(web.BaseSite):
    """Serves a runner's application on a socket that listens already."""

    def __init__(self, runner: web.AppRunner, sock: socket.socket) -> None:
        super().__init__(runner)
        self._sock = sock

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
            return _Connection(manager, loop=loop, **_OPTIONS)

        self._server = await loop.create_server(accept, sock=self._sock, backlog=128)
