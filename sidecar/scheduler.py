"""The asyncio front of an engine: many callers, one tokenizer thread, one inference thread.

``Scheduler.embed`` may be called by any number of tasks of one event loop. What
runs when is the planner's decision (``planner.Queue``); ``board`` holds what
waits, and ``inference`` runs it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sidecar.batching import PADDED, CostModel, Lane, Policy, Priority, buckets_for, lane_of
from sidecar.board import Board, Outcome, Request
from sidecar.engines.base import Encoded, Engine
from sidecar.inference import Inference
from sidecar.outcomes import (
    BadVector,
    Closed,
    DeadlinePassed,
    Embedded,
    EngineFailed,
    Limits,
    Overloaded,
    SchedulerError,
    TextTooLong,
    Work,
)
from sidecar.planner import Queue

__all__ = [
    "BadVector",
    "Closed",
    "DeadlinePassed",
    "Embedded",
    "EngineFailed",
    "Limits",
    "Overloaded",
    "Scheduler",
    "SchedulerError",
    "TextTooLong",
    "Work",
]

#: Texts and characters that the tokenizer takes at once; a query waits for one such chunk at most.
_CHUNK_TEXTS = 64
_CHUNK_CHARS = 64 * 1024

#: How long ``close`` waits for the running micro-batch.
_CLOSE_S = 5.0


class Scheduler:
    """Owns an engine's two threads. Make it within a running event loop; ``close`` it there.

    The engine itself stays the caller's to close, after the scheduler.
    ``batch_share``, in (0, 1]: part of the usual size that micro-batches may have.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits | None = None,
        *,
        batch_share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Engines that pad whole batches need not say so.
        policy: Policy = getattr(engine, "policy", PADDED)
        self._board = Board(Queue(buckets_for(engine.card.max_tokens), CostModel(), policy.shrunk(batch_share)), clock)
        self._admitted = dict.fromkeys(Lane, 0)
        self._tokenizer = ThreadPoolExecutor(1, "tokenizer")
        self._inference = Inference(engine, self._board, self._hand_over, clock)

    async def embed(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        normalize: bool = True,
        truncate: bool = True,
        priority: Priority = "auto",
        deadline_s: float | None = None,
    ) -> Embedded:
        """Embed ``texts`` and return their vectors in order.

        ``prompt`` goes before every text. ``deadline_s``: seconds from now.
        Cancelling the awaiting task withdraws what does not run yet. Raises
        ``Overloaded``, ``TextTooLong``, ``BadVector``, ``DeadlinePassed``,
        ``EngineFailed``, ``Closed``.
        """
        lane = lane_of(priority, len(texts), sum(map(len, texts)) + len(prompt) * len(texts))
        self._admit(lane, len(texts))
        dim = self._engine.card.dim
        request = Request(np.empty((len(texts), dim), np.float32), len(texts), normalize, self._loop.create_future())
        try:
            async with asyncio.timeout(deadline_s):
                tokens, truncated = await self._submit(request, texts, prompt, truncate, lane, deadline_s)
                if texts:
                    await request.future
        except TimeoutError:
            raise DeadlinePassed(f"{len(texts)} texts were not embedded within {deadline_s} s.") from None
        finally:
            self._board.withdraw(request)
            _forget(request.future)
            self._admitted[lane] -= len(texts)
        return Embedded(request.vectors, tokens, truncated)

    def work(self) -> Work:
        """Return what the engine is doing now; never waits for it."""
        board = self._board.snapshot()
        running = board.running
        admitted = sum(self._admitted.values()) - (running[0].rows if running else 0)
        return Work(
            done=board.done,
            queued=max(board.waiting, admitted),
            running_tokens=running[0].load if running else None,
            running_age_s=self._clock() - running[1] if running else None,
            tokens_per_s=board.rate if board.is_measured else None,
            alive=self._inference.is_alive,
        )

    async def close(self) -> None:
        """Refuse what waits with ``Closed``, let the running micro-batch end, end both threads."""
        self._board.close()
        await asyncio.to_thread(self._inference.join, _CLOSE_S)
        self._tokenizer.shutdown(wait=False, cancel_futures=True)
        self._settle(self._board.abandon(Closed("The server is stopping.")))

    def _admit(self, lane: Lane, texts: int) -> None:
        if not self._inference.is_alive:
            raise Closed("The engine is not running.")
        over = self._admitted[lane] + texts - self._limits.of(lane)
        if over > 0 and self._admitted[lane]:
            raise Overloaded(self._seconds_for(over))
        self._admitted[lane] += texts

    def _seconds_for(self, texts: int) -> float:
        """How long until ``texts`` of those that wait are done; whole seconds, at least 1."""
        board = self._board.snapshot()
        tokens_each = board.waiting_tokens / max(board.waiting, 1)
        return max(1.0, math.ceil(texts * tokens_each / board.rate))

    async def _submit(
        self,
        request: Request,
        texts: Sequence[str],
        prompt: str,
        truncate: bool,
        lane: Lane,
        deadline_s: float | None,
    ) -> tuple[int, tuple[int, ...]]:
        """Tokenize by chunks and queue each at once, so that inference starts on the first."""
        deadline = None if deadline_s is None else self._clock() + deadline_s
        tokens, truncated = 0, []
        for start, chunk in _chunks(texts, prompt):
            encoded = await self._loop.run_in_executor(self._tokenizer, self._tokenize, chunk)
            for index, one in enumerate(encoded, start):
                if one.truncated and not truncate:
                    raise TextTooLong(index, one.full_length, self._engine.card.max_tokens)
                if one.truncated:
                    truncated.append(index)
                tokens += len(one)
            self._board.put(request, start, encoded, lane, deadline)
        return tokens, tuple(truncated)

    def _tokenize(self, texts: list[str]) -> list[Encoded]:
        """Runs in the tokenizer's thread."""
        try:
            return self._engine.tokenize(texts)
        except Exception as error:
            raise EngineFailed(f"The tokenizer failed: {error}") from error

    def _hand_over(self, outcomes: list[Outcome]) -> None:
        """Runs in the inference thread."""
        if outcomes and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _settle(self, outcomes: Sequence[Outcome]) -> None:
        for request, error in outcomes:
            if request.future.done():
                continue
            if error is None:
                request.future.set_result(None)
            else:
                request.future.set_exception(error)


def _forget(future: asyncio.Future[None]) -> None:
    """Leave no future behind whose error nobody asked for."""
    if not future.cancel() and not future.cancelled():
        future.exception()


def _chunks(texts: Sequence[str], prompt: str) -> Iterator[tuple[int, list[str]]]:
    """Cut ``texts`` into pieces that the tokenizer is done with soon: (index of the first, texts)."""
    start, chars = 0, 0
    chunk: list[str] = []
    for index, text in enumerate(texts):
        if chunk and (len(chunk) == _CHUNK_TEXTS or chars + len(text) > _CHUNK_CHARS):
            yield start, chunk
            start, chunk, chars = index, [], 0
        chunk.append(prompt + text)
        chars += len(text)
    if chunk:
        yield start, chunk
