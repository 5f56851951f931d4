"""Who may call the engine now: many together, or one alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """First come, first served; a turn alone waits for all before it and holds up all behind it."""

    def __init__(self) -> None:
        self._running = 0
        self._alone = False
        self._queue: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._queue)

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Run beside others."""
        await self._enter(alone=False)
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Run while nobody else does."""
        await self._enter(alone=True)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, *, alone: bool) -> None:
        if not self._queue and self._fits(alone):
            self._take(alone)
            return
        turn = (alone, asyncio.get_running_loop().create_future())
        self._queue.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            if turn in self._queue:
                self._queue.remove(turn)
                self._admit()
            else:  # it was our turn already
                self._leave()
            raise

    def _leave(self) -> None:
        self._running -= 1
        self._alone = False
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            alone, future = self._queue.popleft()
            self._take(alone)
            future.set_result(None)

    def _fits(self, alone: bool) -> bool:
        return self._running == 0 if alone else not self._alone

    def _take(self, alone: bool) -> None:
        self._running += 1
        self._alone = alone
