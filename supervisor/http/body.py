"""Bodies of requests, held whole so that a call can be made again; bounded one by one and together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from preflight.wire import ErrorCode
from preflight.wire.http import MAX_BODY_BYTES
from supervisor.http.errors import RefusedError, overloaded

#: Bytes of all bodies held at once.
MAX_HELD_BYTES = 128 * 1024 * 1024

#: Seconds for a whole body to arrive. A local client sends 16 MiB in a few milliseconds.
BODY_TIMEOUT_S = 30.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Budget:
    """A number of bytes that all calls share."""

    def __init__(self, limit: int = MAX_HELD_BYTES) -> None:
        self.limit = limit
        self.used = 0


class Room:
    """What one call has taken of the budget, for its body and for its answer. Closing gives all of it back."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._taken = 0
        self._closed = False

    def take(self, size: int) -> bool:
        """Take ``size`` more bytes; False, and nothing taken, when they are not left."""
        if self._closed or self._budget.used + size > self._budget.limit:
            return False
        self._budget.used += size
        self._taken += size
        return True

    def give(self, size: int) -> None:
        """Give ``size`` of the taken bytes back."""
        size = min(size, self._taken)
        self._budget.used -= size
        self._taken -= size

    def close(self) -> None:
        """Give everything back, for good."""
        self.give(self._taken)
        self._closed = True


class Bodies:
    """Reads bodies within their limits."""

    def __init__(
        self,
        budget: Budget,
        *,
        max_bytes: int = MAX_BODY_BYTES,
        timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def hold(self, request: web.Request) -> AsyncIterator[tuple[bytes, Room]]:
        """Read the whole body and count it, and what else is taken of the room, until the end of the block.

        Raises ``RefusedError``: ``REQUEST_TOO_LARGE`` (from the declared length
        alone, where there is one), ``OVERLOADED``, ``TIMEOUT`` (as 408), or
        ``INVALID_REQUEST`` when it does not arrive as declared.
        """
        declared = request.content_length or 0
        if declared > self._max_bytes:
            raise self._too_large(f"{declared} bytes")
        room = Room(self._budget)
        try:
            self._take(room, declared)
            await _invite(request)
            yield await self._read(request, room, declared), room
        finally:
            room.close()

    async def _read(self, request: web.Request, room: Room, declared: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._timeout_s):
                while chunk := await request.content.readany():
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise self._too_large("more")
                    self._take(room, min(len(chunk), size - declared))  # beyond what was taken at first
                    chunks.append(chunk)
        except TimeoutError:
            raise self._too_slow(size) from None
        except (web.RequestPayloadError, HttpProcessingError) as error:
            raise RefusedError(
                ErrorCode.INVALID_REQUEST,
                f"The body ends or is framed wrongly after {size} bytes.",
                "Send as many bytes as Content-Length declares, or well-formed chunks.",
                close=True,
            ) from error
        return b"".join(chunks)

    def _take(self, room: Room, size: int) -> None:
        if size > 0 and not room.take(size):
            raise overloaded(
                f"Calls under way hold {self._budget.used} bytes; together they may hold {self._budget.limit}.",
                "Send fewer requests at once, or smaller ones.",
            )

    def _too_large(self, found: str) -> RefusedError:
        return RefusedError(
            ErrorCode.REQUEST_TOO_LARGE,
            f"Body: wanted at most {self._max_bytes} bytes ({self._max_bytes / 2**20:g} MiB), found {found}.",
            "Send the texts in several requests.",
            details={"max_bytes": self._max_bytes},
            close=True,
        )

    def _too_slow(self, size: int) -> RefusedError:
        return RefusedError(
            ErrorCode.TIMEOUT,
            f"Body: wanted all of it within {self._timeout_s:g} s, found {size} bytes.",
            "Send the body at once.",
            status=408,
            close=True,
        )


async def _invite(request: web.Request) -> None:
    """Ask for the body where the client waits to be asked: only now do we know that we want it."""
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.writer.output_size == 0:
        await request.writer.write(_CONTINUE)
        request.writer.output_size = 0


async def no_early_invitation(_: web.Request) -> None:
    """The ``expect_handler`` of every route: aiohttp's own asks for the body before any check."""
