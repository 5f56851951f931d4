"""``GET /supervisor/events``: the events of the host's stdout as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from aiohttp import hdrs, web

from preflight.wire import ErrorCode
from supervisor.http.errors import RefusedError, overloaded
from supervisor.output import Event, Output

#: Streams at once; a host needs one, a page another.
MAX_STREAMS = 32

#: Seconds of silence after which a comment shows that the stream lives.
HEARTBEAT_S = 15.0

#: Seconds that a reader may leave the stream unread.
STALLED_S = 30.0


class Events:
    """The streams of one instance."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._streams: set[asyncio.Event] = set()
        self._closing = False

    @property
    def open(self) -> int:
        """Streams that are read now."""
        return len(self._streams)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send kept events after ``Last-Event-ID`` (all without one), then each as it comes."""
        last_id = self._resume_at(request.headers.get("Last-Event-ID"))
        if len(self._streams) >= MAX_STREAMS:
            raise overloaded(f"{MAX_STREAMS} event streams are open.", "Close one.", HEARTBEAT_S)
        headers: dict[str, str] = {hdrs.CONTENT_TYPE: "text/event-stream", hdrs.CACHE_CONTROL: "no-store"}
        response = web.StreamResponse(headers=headers)
        response.force_close()
        await response.prepare(request)
        wake = asyncio.Event()
        self._streams.add(wake)
        unsubscribe = self._output.subscribe(_waker(wake))
        try:
            await self._send(response, wake, last_id)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            unsubscribe()
            self._streams.discard(wake)
        return response

    def close(self) -> None:
        """End every stream after the events that are there."""
        self._closing = True
        for wake in self._streams:
            wake.set()

    async def _send(self, response: web.StreamResponse, wake: asyncio.Event, last_id: int) -> None:
        while True:
            wake.clear()
            events = self._output.events_after(last_id)
            if events:
                last_id = events[-1].id
                async with asyncio.timeout(STALLED_S):
                    await response.write(b"".join(map(_message, events)))
            if self._closing:
                return
            if not await _within(wake, HEARTBEAT_S):
                async with asyncio.timeout(STALLED_S):
                    await response.write(b":\n\n")

    def _resume_at(self, header: str | None) -> int:
        """Return the id to go on after. One that is ahead of us is of an earlier instance, and tells nothing."""
        if not header:
            return 0
        if not (header.isascii() and header.isdecimal() and len(header) <= 18):
            raise RefusedError(
                ErrorCode.INVALID_REQUEST,
                f"Last-Event-ID: wanted the id of an event, found {header[:100]!r}.",
                "Leave it out to get every event that is kept.",
            )
        last_id = int(header)
        kept = self._output.events_after(0)
        return last_id if kept and last_id <= kept[-1].id else 0


def _message(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.channel.value}\ndata: {event.line}\n\n".encode()


def _waker(wake: asyncio.Event) -> Callable[[Event], None]:
    loop = asyncio.get_running_loop()

    def callback(_: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before the supervisor has
            loop.call_soon_threadsafe(wake.set)

    return callback


async def _within(wake: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    return True
