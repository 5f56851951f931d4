"""The sidecar's calls on the public port: held through a start or restart, made again after a crash, sent on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from aiohttp import web

from preflight.wire import ErrorCode
from preflight.wire.http import MAX_BODY_BYTES, MAX_TIMEOUT_S, TIMEOUT_HEADER
from supervisor.backend import Backend
from supervisor.http.body import BODY_TIMEOUT_S, MAX_HELD_BYTES, Bodies, Budget, Room
from supervisor.http.dialect import Dialect
from supervisor.http.errors import RefusedError
from supervisor.http.replay import Crash, Replay
from supervisor.http.upstream import Answer, Call, Flow, Launches, LostError, forwarded
from supervisor.http.ward import Memory, Ward

log = logging.getLogger(__name__)

#: Seconds that a client may leave a piece of its answer unread.
STALLED_S = 60.0

#: Bytes of one piece.
_PIECE = 256 * 1024


class Proxy:
    """Makes the calls of clients. ``memory``: file that keeps the digests of texts that end the engine."""

    def __init__(
        self,
        backend: Backend,
        memory: Path,
        *,
        hold_timeout_s: float,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_held_bytes: int = MAX_HELD_BYTES,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        self.budget = Budget(max_held_bytes)
        self._bodies = Bodies(self.budget, max_bytes=max_body_bytes, timeout_s=body_timeout_s)
        self._launches = Launches(backend, lambda launch: self.ward.buried(launch))
        self._replay = Replay(backend, self._launches, hold_timeout_s)
        self.ward = Ward(self._replay, Memory(memory), lambda: str(backend.view().model.get("fingerprint", "")))

    async def embed(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        """Answer a call that carries texts."""
        async with self._bodies.hold(request) as (body, room):
            call = Call("POST", request.path, forwarded(request.headers), room, body, dialect)
            seconds = _deadline(request.headers)
            try:
                async with asyncio.timeout(seconds):
                    answer = await self.ward.embed(call)
            except TimeoutError:
                raise RefusedError(
                    ErrorCode.TIMEOUT,
                    f"Wanted an answer within {seconds:g} s, found none yet.",
                    f"Send it again, or give it more time in {TIMEOUT_HEADER}.",
                ) from None
            return await send(request, answer)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Answer a call that carries none."""
        room = Room(self.budget)
        try:
            call = Call("GET", request.path, forwarded(request.headers), room)
            while isinstance(outcome := await self._replay.run(call), Crash):
                self.ward.counts.replayed += 1
            return await send(request, outcome)
        finally:
            room.close()

    async def scrape(self, path: str) -> bytes:
        """Return the body of the sidecar's own answer to a GET; empty when that is not 200."""
        room = Room(self.budget)
        try:
            outcome = await self._replay.run(Call("GET", path, {}, room))
            answer = await outcome.hold() if isinstance(outcome, Flow) else outcome
            return answer.body if isinstance(answer, Answer) and answer.status == 200 else b""
        except LostError:
            return b""
        finally:
            room.close()

    async def close(self) -> None:
        """Break off what is under way."""
        await self.ward.close()
        await self._launches.close()


def _deadline(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the client gives the call; what is not a number of them, the sidecar refuses."""
    try:
        seconds = float(headers.get(TIMEOUT_HEADER, "nan"))
    except ValueError:
        return None
    return seconds if 0 < seconds <= MAX_TIMEOUT_S else None


async def send(request: web.Request, answer: Answer | Flow) -> web.StreamResponse:
    """Send an answer on, at the speed of its reader but not at its mercy."""
    if isinstance(answer, Answer) and len(answer.body) <= _PIECE:
        return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body) if isinstance(answer, Answer) else answer.size
    try:
        await response.prepare(request)
        async for piece in _pieces(answer.body) if isinstance(answer, Answer) else answer.pieces():
            async with asyncio.timeout(STALLED_S):
                await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        raise  # the client has gone
    except (TimeoutError, LostError) as error:
        _break_off(request, error)
    finally:
        if isinstance(answer, Flow):
            answer.close()
    return response


async def _pieces(body: bytes) -> AsyncIterator[bytes | memoryview]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]


def _break_off(request: web.Request, error: Exception) -> None:
    """Half of an answer is out: the only honest end is a broken connection."""
    log.warning("the answer to %s was broken off: %s", request.path, error or type(error).__name__)
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the answer was broken off") from error
