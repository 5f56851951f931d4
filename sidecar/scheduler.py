"""The asyncio front of an engine: many callers, one tokenizer thread, one inference thread.

``Scheduler.embed`` may be called by any number of tasks of one event loop. What
runs when is the planner's decision (``planner.Queue``); this module moves texts
into it and vectors out of it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from sidecar.engines.base import Encoded, Engine, Float32, TokenIds
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
from sidecar.planner import PADDED, CostModel, Lane, MicroBatch, Priority, Queue, buckets_for, lane_of

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

log = logging.getLogger(__name__)

#: Texts and characters that the tokenizer takes at once; a query waits for one such chunk at most.
_CHUNK_TEXTS = 64
_CHUNK_CHARS = 64 * 1024

#: A normalised row whose norm is further from 1 is an error, not a vector.
_NORM_TOLERANCE = 1e-3

#: How long ``close`` waits for the running micro-batch.
_CLOSE_S = 5.0


@dataclass(slots=True, eq=False)
class _Request:
    vectors: Float32
    missing: int
    normalize: bool
    future: asyncio.Future[None]
    keys: set[Hashable] = field(default_factory=set)


@dataclass(slots=True)
class _Entry:
    """One distinct text, waiting or running, and the rows it answers."""

    ids: TokenIds
    waiters: list[tuple[_Request, int]]


_Outcome = tuple[_Request, SchedulerError | None]


class Scheduler:
    """Owns an engine's two threads. Make it within a running event loop; ``close`` it there.

    The engine itself stays the caller's to close, after the scheduler.
    """

    def __init__(
        self, engine: Engine, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._limits = limits or Limits()
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        # Guards everything below; held for microseconds, by the event loop and the inference thread.
        self._ready = threading.Condition()
        # Engines that pad whole batches need not say so.
        policy = getattr(engine, "policy", PADDED)
        self._queue = Queue(buckets_for(engine.card.max_tokens), CostModel(), policy)
        self._entries: dict[Hashable, _Entry] = {}
        self._admitted = dict.fromkeys(Lane, 0)
        self._running: tuple[MicroBatch, float] | None = None
        self._done = 0
        self._closed = False
        self._tokenizer = ThreadPoolExecutor(1, "tokenizer")
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

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
        request = _Request(np.empty((len(texts), dim), np.float32), len(texts), normalize, self._loop.create_future())
        try:
            async with asyncio.timeout(deadline_s):
                tokens, truncated = await self._submit(request, texts, prompt, truncate, lane, deadline_s)
                if texts:
                    await request.future
        except TimeoutError:
            raise DeadlinePassed(f"{len(texts)} texts were not embedded within {deadline_s} s.") from None
        finally:
            self._withdraw(request)
            self._admitted[lane] -= len(texts)
        return Embedded(request.vectors, tokens, truncated)

    def work(self) -> Work:
        """Return what the engine is doing now; never waits for it."""
        with self._ready:
            running, done, queued = self._running, self._done, len(self._queue)
            rate = self._queue.cost.rate if self._queue.cost.is_measured else None
        return Work(
            done=done,
            queued=max(queued, sum(self._admitted.values()) - (running[0].rows if running else 0)),
            running_tokens=running[0].load if running else None,
            running_age_s=self._clock() - running[1] if running else None,
            tokens_per_s=rate,
            alive=self._thread.is_alive(),
        )

    async def close(self) -> None:
        """Refuse what waits with ``Closed``, let the running micro-batch end, end both threads."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        await asyncio.to_thread(self._thread.join, _CLOSE_S)
        self._tokenizer.shutdown(wait=False, cancel_futures=True)
        self._settle(self._abandon(Closed("The server is stopping.")))

    # The event loop's side.

    def _admit(self, lane: Lane, texts: int) -> None:
        if self._closed or not self._thread.is_alive():
            raise Closed("The engine is not running.")
        over = self._admitted[lane] + texts - self._limits.of(lane)
        if over > 0 and self._admitted[lane]:
            raise Overloaded(self._seconds_for(over))
        self._admitted[lane] += texts

    def _seconds_for(self, texts: int) -> float:
        """How long until ``texts`` of those that wait are done; whole seconds, at least 1."""
        with self._ready:
            tokens_each = self._queue.tokens / max(len(self._queue), 1)
            return max(1.0, math.ceil(texts * tokens_each / self._queue.cost.rate))

    async def _submit(
        self,
        request: _Request,
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
            self._enqueue(request, start, encoded, lane, deadline)
        return tokens, tuple(truncated)

    def _enqueue(
        self, request: _Request, start: int, encoded: Sequence[Encoded], lane: Lane, deadline: float | None
    ) -> None:
        with self._ready:
            if self._closed or not self._thread.is_alive():
                raise Closed("The server is stopping.")
            now = self._clock()
            for index, one in enumerate(encoded, start):
                key = one.ids.tobytes()
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._entries[key] = _Entry(one.ids, [])
                    self._queue.put(key, len(one), lane, now, deadline)
                elif key in self._queue:
                    self._queue.put(key, len(one), lane, now, deadline)
                entry.waiters.append((request, index))
                request.keys.add(key)
            self._ready.notify()

    def _withdraw(self, request: _Request) -> None:
        """Forget a request that is answered or given up; texts nobody else wants leave the queue."""
        with self._ready:
            for key in request.keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                entry.waiters = [waiter for waiter in entry.waiters if waiter[0] is not request]
                if not entry.waiters and key in self._queue:
                    self._queue.remove(key)
                    del self._entries[key]
            request.keys.clear()
        if not request.future.cancel() and not request.future.cancelled():
            request.future.exception()  # seen: the caller already got another error

    def _settle(self, outcomes: Sequence[_Outcome]) -> None:
        for request, error in outcomes:
            if request.future.done():
                continue
            if error is None:
                request.future.set_result(None)
            else:
                request.future.set_exception(error)

    def _tokenize(self, texts: list[str]) -> list[Encoded]:
        """Runs in the tokenizer's thread."""
        try:
            return self._engine.tokenize(texts)
        except Exception as error:
            raise EngineFailed(f"The tokenizer failed: {error}") from error

    # The inference thread's side.

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._hand_over(self._execute(*job))
        except BaseException:
            # A fault of this module, not of an engine: say it and refuse work, rather than hang callers.
            log.exception("The inference thread ended")
            self._hand_over(self._abandon(Closed("The inference thread ended by a fault of its own.")))

    def _next(self) -> tuple[MicroBatch, list[TokenIds]] | None:
        with self._ready:
            self._running = None
            while not self._closed:
                now = self._clock()
                for key in self._queue.drop_expired(now):
                    del self._entries[key]  # its requests' own timers answer them
                batch = self._queue.take(now)
                if batch is not None:
                    self._running = (batch, now)
                    return batch, [self._entries[key].ids for key in batch.keys]
                self._ready.wait()
            return None

    def _execute(self, batch: MicroBatch, ids: list[TokenIds]) -> list[_Outcome]:
        started = self._clock()
        try:
            rows = self._engine.infer(ids)
            if rows.shape != (len(ids), self._engine.card.dim):
                raise ValueError(f"wanted rows of shape {(len(ids), self._engine.card.dim)}, found {rows.shape}")
        except Exception as error:
            log.exception("The engine failed on %d texts of at most %d tokens", batch.rows, batch.width)
            with self._ready:
                failure = EngineFailed(f"The engine failed: {error}")
                failure.__cause__ = error
                return [(request, failure) for key in batch.keys for request, _ in self._entries.pop(key).waiters]
        seconds = self._clock() - started
        with self._ready:
            self._queue.cost.observe(batch.width, batch.load, seconds)
            self._done += batch.rows
            waiters = [self._entries.pop(key).waiters for key in batch.keys]
        return list(_deliver(rows, waiters))

    def _hand_over(self, outcomes: list[_Outcome]) -> None:
        if outcomes and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, outcomes)

    def _abandon(self, error: SchedulerError) -> list[_Outcome]:
        with self._ready:
            self._closed = True
            self._running = None
            requests = {id(r): r for entry in self._entries.values() for r, _ in entry.waiters}
            self._entries.clear()
            for key in self._queue.keys():  # noqa: SIM118 a list, since the loop removes
                self._queue.remove(key)
        return [(request, error) for request in requests.values()]


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


def _deliver(rows: Float32, waiters: Sequence[list[tuple[_Request, int]]]) -> Iterator[_Outcome]:
    """Write each row to whom it answers; yield the requests that are complete, or failed."""
    finite = np.asarray(np.isfinite(rows).all(axis=1))
    with np.errstate(all="ignore"):  # what goes wrong here shows in the norm of the unit row
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        norms: Float32 = np.linalg.norm(units, axis=1)
    is_unit = np.less_equal(np.abs(norms - 1), _NORM_TOLERANCE)
    for number, wanted in enumerate(waiters):
        for request, index in wanted:
            if not finite[number]:
                yield request, BadVector(index, "not every number is finite")
            elif request.normalize and not is_unit[number]:
                yield request, BadVector(index, "it cannot be normalised to 1")
            else:
                request.vectors[index] = units[number] if request.normalize else rows[number]
                request.missing -= 1
                if request.missing == 0:
                    yield request, None
