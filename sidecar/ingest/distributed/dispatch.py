"""Spread requests over workers that come and go; each request is answered once, whatever becomes of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.distributed.answers import Described
from sidecar.ingest.embedders import Answer, Busy, InputType, TooMany
from sidecar.models.metadata import Prompts
from sidecar.stores.base import Space
from sidecar.stores.codes import CodedError

log = logging.getLogger(__name__)

#: Requests that one worker has at once: its planner puts texts of like length together, and never waits for the next.
LANES = 4

#: A request under which so many workers ended is cut in halves, down to the text that ends them.
_DEATHS = 3

_POISON = "POISON_INPUT"

#: Between looks at a worker that is away.
_AWAY_S = 0.5


class Gone(Exception):  # noqa: N818
    """The worker's process or node ended. It may come back."""


class Handle(Protocol):
    """A worker as the dispatcher sees it."""

    @property
    def name(self) -> str:
        """For people."""

    async def start(self) -> Described:
        """Wait until its model is loaded. Raises ``Gone``, ``CodedError``."""

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        """As ``Embedder.embed``; raises ``Gone`` as well."""


@dataclass(eq=False)
class _Worker:
    handle: Handle
    busy: int = 0
    is_up: bool = False
    #: It will not come back.
    failure: CodedError | None = None
    down: asyncio.Event = field(default_factory=asyncio.Event)


class Engines:
    """``Embedder`` over many workers of one model. ``start`` it, and ``close`` it in the end."""

    def __init__(self, handles: Sequence[Handle], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._workers = [_Worker(handle) for handle in handles]
        self._sleep = sleep
        self._changed = asyncio.Condition()
        self._watchers: list[asyncio.Task[None]] = []
        self._described: Described | None = None
        #: Of requests under which a worker ended; kept while all workers are away and the caller asks anew.
        self._deaths: Counter[tuple[str, ...]] = Counter()
        #: Requests that were sent again because their worker ended.
        self.sent_again = 0

    async def start(self, patience_s: float) -> None:
        """Return once a worker is up; the others join when they are. Raises ``CodedError`` when none will be."""
        self._watchers = [asyncio.create_task(self._watch(worker)) for worker in self._workers]
        try:
            async with asyncio.timeout(patience_s), self._changed:
                await self._changed.wait_for(lambda: self.up or all(worker.failure for worker in self._workers))
        except TimeoutError as error:
            raise IngestError(
                IngestCode.EMBEDDER_UNREACHABLE,
                f"Wanted a worker within {patience_s:.0f} s, found none of {len(self._workers)}.",
                hint="Look at the cluster: ray status.",
            ) from error
        if not self.up:
            raise self._hopeless()

    @property
    def up(self) -> int:
        """Number of workers that answer."""
        return sum(worker.is_up for worker in self._workers)

    @property
    def size(self) -> int:
        """Number of workers, up or not."""
        return len(self._workers)

    async def all_up(self) -> None:
        """Wait until every worker is up or will never be."""
        async with self._changed:
            await self._changed.wait_for(lambda: all(w.is_up or w.failure for w in self._workers))

    @property
    def space(self) -> Space:
        return self._model.space

    @property
    def max_tokens(self) -> int:
        return self._model.max_tokens

    @property
    def prompts(self) -> Prompts:
        return self._model.prompts

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        """As ``Embedder.embed``. A worker that ends meanwhile costs time alone: another gets the request."""
        while True:
            worker = await self._take()
            try:
                answer = await worker.handle.embed(texts, input_type)
                self._deaths.pop(tuple(texts), None)
                return answer
            except Gone as error:
                log.warning("worker %s is gone (%s): its %d texts go to another", worker.handle.name, error, len(texts))
                worker.is_up = False
                worker.down.set()
                self._count_death(tuple(texts))
            finally:
                worker.busy -= 1
                await self._tell()

    def _count_death(self, texts: tuple[str, ...]) -> None:
        """Raises ``TooMany`` for texts under which too many workers ended."""
        self.sent_again += 1
        self._deaths[texts] += 1
        if self._deaths[texts] >= _DEATHS:
            del self._deaths[texts]
            raise TooMany(_POISON, f"{_DEATHS} workers ended while they embedded these {len(texts)} texts")

    async def close(self) -> None:
        """End the watch over the workers."""
        for task in self._watchers:
            task.cancel()
        for task in self._watchers:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def _model(self) -> Described:
        assert self._described is not None, "start() comes first"
        return self._described

    async def _take(self) -> _Worker:
        """Return the worker with the least to do, once one has room. Raises ``Busy`` when all are away."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.up or self._free())
            if not self.up:
                raise self._hopeless() if all(w.failure for w in self._workers) else Busy("no worker is up")
            worker = min(self._free(), key=lambda one: one.busy)
            worker.busy += 1
            return worker

    def _free(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.is_up and worker.busy < LANES]

    async def _watch(self, worker: _Worker) -> None:
        """Take the worker in whenever it is there; for ever, unless it cannot be used."""
        while worker.failure is None:
            try:
                self._take_in(worker, await worker.handle.start())
            except Gone as error:
                log.info("worker %s: %s", worker.handle.name, error)
                await self._sleep(_AWAY_S)
                continue
            except CodedError as error:
                log.error("worker %s cannot be used: %s", worker.handle.name, error)
                worker.failure = error
            await self._tell()
            if worker.failure is None:
                await worker.down.wait()

    def _take_in(self, worker: _Worker, described: Described) -> None:
        """Raises ``IngestError`` for a worker whose vectors are of another space."""
        first = self._described or described
        if described.space != first.space:
            raise IngestError(
                IngestCode.EMBEDDER_CHANGED,
                f"Worker {worker.handle.name}: wanted vectors of {first.space.fingerprint}, "
                f"found {described.space.fingerprint}.",
                hint="Give every node the same model, engine and precision.",
            )
        self._described = first
        worker.down.clear()
        worker.is_up = True

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _hopeless(self) -> CodedError:
        return next(worker.failure for worker in self._workers if worker.failure)
