"""Read, embed and write at the same time, with bounded queues between.

Groups keep their order from end to end, so whatever is written, all before it
is written too, and a ledger line holds when it is. A batch is one transaction:
a kill at any moment costs what the open one held, and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from sidecar.engines.base import Float32
from sidecar.ingest.embedders import Answer, Outcome, Persistent
from sidecar.ingest.reading import Group
from sidecar.ingest.report import Report
from sidecar.stores.base import Batch, SourceState, Space, Store
from sidecar.stores.codes import StoreError

#: Requests under way an engine: enough that it always has texts of like length to put together.
_IN_FLIGHT = 4

#: Groups that are read ahead an engine, and embedded groups that wait for a slow store.
_READ_AHEAD = 8
_EMBEDDED_AHEAD = 32

#: A transaction ends with so many rows, or after so many seconds.
BATCH_ROWS = 2048
BATCH_S = 2.0


@dataclass(frozen=True, slots=True)
class Embedded:
    """A group with its vectors, and the rows that got none."""

    group: Group
    outcome: Outcome


class Pipeline:
    """One run. ``store`` is used in the thread of ``store_thread`` alone, which the caller shares."""

    def __init__(
        self,
        groups: Iterator[Group],
        embedder: Persistent,
        store: Store,
        store_thread: ThreadPoolExecutor,
        space: Space,
        report: Report,
        *,
        replace_all: bool = False,
        engines: int = 1,
    ) -> None:
        """``engines``: how many of them work for ``embedder`` at the same time."""
        self._groups = groups
        self._embedder = embedder
        self._store = store
        self._store_thread = store_thread
        self._space = space
        self._report = report
        self._replace_all = replace_all
        self._engines = engines
        #: Sources of which a chunk was refused: they are not whole, so the next run tries them again.
        self._incomplete: set[str] = set()

    async def run(self) -> None:
        """Carry every group to the store. Raises what ended the run: ``CodedError`` or a fault of ours."""
        read: asyncio.Queue[Group | None] = asyncio.Queue(_READ_AHEAD * self._engines)
        under_way: asyncio.Queue[tuple[Group, asyncio.Task[Outcome]] | None] = asyncio.Queue(_IN_FLIGHT * self._engines)
        embedded: asyncio.Queue[Embedded | None] = asyncio.Queue(_EMBEDDED_AHEAD)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(read))
                tasks.create_task(self._start(read, under_way, tasks))
                tasks.create_task(self._collect(under_way, embedded))
                tasks.create_task(self._write(embedded))
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors

    async def _read(self, read: asyncio.Queue[Group | None]) -> None:
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "reader")
        try:
            while (group := await loop.run_in_executor(thread, next, self._groups, None)) is not None:
                await read.put(group)
            await read.put(None)
        finally:
            thread.shutdown(wait=False)  # a file that takes long must not hold up the end of the run

    async def _start(
        self,
        read: asyncio.Queue[Group | None],
        under_way: asyncio.Queue[tuple[Group, asyncio.Task[Outcome]] | None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        while (group := await read.get()) is not None:
            task = tasks.create_task(self._embed(group))
            await under_way.put((group, task))
        await under_way.put(None)

    async def _embed(self, group: Group) -> Outcome:
        return await self._embedder.embed([row.text for row in group.rows]) if group.rows else _NOTHING

    async def _collect(
        self,
        under_way: asyncio.Queue[tuple[Group, asyncio.Task[Outcome]] | None],
        embedded: asyncio.Queue[Embedded | None],
    ) -> None:
        while (item := await under_way.get()) is not None:
            group, task = item
            outcome = await task
            self._report.add(group, outcome)
            await embedded.put(Embedded(group, outcome))
        await embedded.put(None)

    async def _write(self, embedded: asyncio.Queue[Embedded | None]) -> None:
        loop = asyncio.get_running_loop()
        is_open = True
        while is_open:
            batch, is_open = await self._gather(embedded)
            merged = self._merge(batch)
            if merged is not None:
                await loop.run_in_executor(self._store_thread, self._commit, merged)
                self._report.wrote(len(merged.rows), len(merged.stale))

    async def _gather(self, embedded: asyncio.Queue[Embedded | None]) -> tuple[list[Embedded], bool]:
        """Wait for what makes a transaction; return it, and whether more comes."""
        found: list[Embedded] = []
        rows, deadline = 0, None
        while rows < BATCH_ROWS:
            try:
                async with asyncio.timeout_at(deadline):
                    item = await embedded.get()
            except TimeoutError:
                return found, True
            if item is None:
                return found, False
            found.append(item)
            rows += len(item.group.rows)
            deadline = deadline or asyncio.get_running_loop().time() + BATCH_S
        return found, True

    def _merge(self, items: Sequence[Embedded]) -> Batch | None:
        """Join groups into one batch; None when there is nothing to write."""
        rows, vectors, stale = [], [], []
        sources: dict[str, SourceState] = {}
        for item in items:
            group, refused = item.group, item.outcome.refused
            kept = [index for index in range(len(group.rows)) if index not in refused]
            rows += [group.rows[index] for index in kept]
            if kept:
                vectors.append(item.outcome.answer.vectors[kept])
            stale += [*group.stale, *(group.rows[index].id for index in refused)]
            self._incomplete |= {group.rows[index].source for index in refused}
            sources |= group.sources
        if not sources:
            return None
        states = [replace(s, chunks=None) if s.source in self._incomplete else s for s in sources.values()]
        joined: Float32 = np.concatenate(vectors) if rows else np.empty((0, self._space.dim), np.float32)
        return Batch(rows, joined, states, stale)

    def _commit(self, batch: Batch) -> None:
        """Runs in the store's thread. A replacement is committed by the caller, once it is whole."""
        try:
            self._store.begin(self._space, replace=self._replace_all)
            self._store.upsert(batch)
            if not self._replace_all:
                self._store.commit()
        except BaseException:
            with contextlib.suppress(StoreError):  # the first error says more
                self._store.rollback()
            raise


def _first(errors: BaseExceptionGroup) -> BaseException:
    """Return what ended the run: our own errors before whatever followed from them."""
    flat: list[BaseException] = []
    todo: list[BaseException] = [errors]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo += error.exceptions
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, Exception)), flat[0])


_NOTHING = Outcome(Answer(np.empty((0, 0), np.float32), 0, 0), {})
