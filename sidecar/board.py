"""The texts between the event loop and the inference thread: who waits for what, under one lock."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sidecar.batching import Lane
from sidecar.engines.base import Encoded, Float32, TokenIds
from sidecar.outcomes import BadVector, Closed, SchedulerError
from sidecar.planner import MicroBatch, Queue

#: A normalised row whose norm is further from 1 is an error, not a vector.
_NORM_TOLERANCE = 1e-3


@dataclass(slots=True, eq=False)
class Request:
    """One caller's texts, and the rows that are there already."""

    vectors: Float32
    missing: int
    normalize: bool
    future: asyncio.Future[None]
    keys: set[Hashable] = field(default_factory=set)


#: A request that is complete, or that failed.
Outcome = tuple[Request, SchedulerError | None]


@dataclass(slots=True)
class _Entry:
    """One distinct text, waiting or running, and the rows it answers."""

    ids: TokenIds
    waiters: list[tuple[Request, int]]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The board at one moment; ``running`` with the time at which it began."""

    done: int
    waiting: int
    waiting_tokens: int
    running: tuple[MicroBatch, float] | None
    rate: float
    is_measured: bool


class Board:
    """Every method may be called from both threads, and holds the lock for microseconds."""

    def __init__(self, queue: Queue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._changed = threading.Condition()
        self._entries: dict[Hashable, _Entry] = {}
        self._running: tuple[MicroBatch, float] | None = None
        self._done = 0
        self._closed = False

    def snapshot(self) -> Snapshot:
        """Return what there is now."""
        with self._changed:
            cost = self._queue.cost
            waiting, tokens = len(self._queue), self._queue.tokens
            return Snapshot(self._done, waiting, tokens, self._running, cost.rate, cost.is_measured)

    # The event loop's side.

    def put(self, request: Request, start: int, encoded: Sequence[Encoded], lane: Lane, deadline: float | None) -> None:
        """Let texts wait; ``start`` is the row of the first. Raises ``Closed``."""
        with self._changed:
            if self._closed:
                raise Closed("The engine is not running.")
            now = self._clock()
            for index, one in enumerate(encoded, start):
                key = one.ids.tobytes()
                entry = self._entries.get(key)
                if entry is None:
                    entry = self._entries[key] = _Entry(one.ids, [])
                    self._queue.put(key, len(one), lane, now, deadline)
                elif key in self._queue:  # otherwise it runs already
                    self._queue.put(key, len(one), lane, now, deadline)
                entry.waiters.append((request, index))
                request.keys.add(key)
            self._changed.notify()

    def withdraw(self, request: Request) -> None:
        """Forget a request that is answered or given up; texts nobody else wants leave the queue."""
        with self._changed:
            for key in request.keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                entry.waiters = [waiter for waiter in entry.waiters if waiter[0] is not request]
                if not entry.waiters and key in self._queue:
                    self._queue.remove(key)
                    del self._entries[key]
            request.keys.clear()

    def close(self) -> None:
        """Take nothing more, and let ``take`` return None."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    # The inference thread's side.

    def take(self) -> tuple[MicroBatch, list[TokenIds]] | None:
        """Wait for work and return it; None once the board is closed."""
        with self._changed:
            self._running = None
            while not self._closed:
                now = self._clock()
                for key in self._queue.drop_expired(now):
                    del self._entries[key]  # its requests' own timers answer them
                batch = self._queue.take(now)
                if batch is not None:
                    self._running = (batch, now)
                    return batch, self._ids(batch)
                self._changed.wait()
            return None

    def take_query(self) -> tuple[MicroBatch, list[TokenIds]] | None:
        """Return work that may go before the rest of what runs, without waiting; mostly there is none."""
        with self._changed:
            batch = self._queue.take_query(self._clock())
            return None if batch is None else (batch, self._ids(batch))

    def deliver(self, batch: MicroBatch, rows: Float32, seconds: float) -> list[Outcome]:
        """Note that ``batch`` is done, write its rows to whom they answer, return who is complete or failed."""
        with self._changed:
            self._queue.cost.observe(batch.width, batch.load, seconds)
            self._done += batch.rows
            waiters = [self._entries.pop(key).waiters for key in batch.keys]
        return list(_outcomes(rows, waiters))

    def fail(self, batch: MicroBatch, error: SchedulerError) -> list[Outcome]:
        """Note that ``batch`` failed, and return whom that concerns."""
        with self._changed:
            return [(request, error) for key in batch.keys for request, _ in self._entries.pop(key).waiters]

    def abandon(self, error: SchedulerError) -> list[Outcome]:
        """Close the board, throw away all that waits or runs, and return whom that concerns."""
        with self._changed:
            self._closed = True
            self._running = None
            requests = {id(r): r for entry in self._entries.values() for r, _ in entry.waiters}
            self._entries.clear()
            for key in self._queue.keys():  # noqa: SIM118 a list, since the loop removes
                self._queue.remove(key)
        return [(request, error) for request in requests.values()]

    def _ids(self, batch: MicroBatch) -> list[TokenIds]:
        return [self._entries[key].ids for key in batch.keys]


def _outcomes(rows: Float32, waiters: Sequence[list[tuple[Request, int]]]) -> Iterator[Outcome]:
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
