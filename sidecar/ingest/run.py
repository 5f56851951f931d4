"""One ingest from its sources to its store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sidecar.ingest.chunker import Limits
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.connect import Connected
from sidecar.ingest.embedders import PATIENCE_S, Persistent
from sidecar.ingest.files import Found, find
from sidecar.ingest.isolation import ReaderProcess
from sidecar.ingest.pipeline import Pipeline
from sidecar.ingest.readers import ReadOptions, require_for
from sidecar.ingest.reading import Cutting, Reader
from sidecar.ingest.report import Report
from sidecar.ingest.workers import can_spawn
from sidecar.stores import IndexOptions, SourceState, Space, Store, StoreUrl, open_store

T = TypeVar("T")

#: Default length of a chunk where the model would take more.
_CHUNK_TOKENS = 512
_MIN_CHUNK_TOKENS = 8

#: A cut within a word may make one token more at each end.
_MARGIN = 2

#: Sources removed in one transaction.
_REMOVED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be ingested, and how."""

    sources: tuple[str, ...]
    #: Names are told from here; None: absolutely.
    base: Path | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    #: None: what suits the model.
    chunk_tokens: int | None = None
    overlap_tokens: int | None = None
    #: The table's rows are replaced, in one transaction.
    replace: bool = False
    #: Rows of files that are gone from the sources are removed.
    sync: bool = False
    #: Built at the end; None: left as it is.
    index: IndexOptions | None = None
    #: How long an embedding server may be away.
    patience_s: float = PATIENCE_S


class StoreThread:
    """A store and the one thread that uses it."""

    def __init__(self, url: StoreUrl) -> None:
        self.executor = ThreadPoolExecutor(1, "store")
        self._url = url
        self._store: Store | None = None

    async def open(self) -> Store:
        """Connect. Raises ``StoreError``, ``DependencyMissing``."""
        self._store = await self.call(open_store, self._url)
        return self._store

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Run ``function`` in the store's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, function, *arguments)

    async def close(self) -> None:
        if self._store is not None:
            await self.call(self._store.close)
        self.executor.shutdown(wait=False)


@asynccontextmanager
async def opened(url: StoreUrl) -> AsyncIterator[tuple[Store, StoreThread]]:
    """Open the store at ``url`` in a thread of its own, and close it in the end."""
    thread = StoreThread(url)
    try:
        yield await thread.open(), thread
    finally:
        await thread.close()


async def ingest(
    job: Job, connected: Connected, store: Store, thread: StoreThread, started: Callable[[Report], None]
) -> Report:
    """Carry out ``job``; ``started`` gets the report as soon as there is one, to watch it.

    What was written before an error stays, but for a replacement, of which
    nothing does. Raises ``IngestError``, ``StoreError``, ``DependencyMissing``.
    """
    found = await asyncio.to_thread(find, job.sources, job.base)
    _check(job, found)
    space = connected.embedder.space
    cutting = Cutting(limits_for(job, connected), connected.tokens, connected.counted_by)
    if job.index is not None:
        store.supports(job.index, space.dim)
    ledger = await thread.call(_open_table, store, space, job.replace)
    report = Report(sum(file.size for file in found.files), skipped=found.skipped)
    for source, error in found.errors:
        report.failed(source, error)
    started(report)
    isolated = ReaderProcess() if can_spawn() else None
    try:
        reader = Reader(
            cutting,
            job.read,
            ledger,
            lambda source: thread.executor.submit(store.chunks_of, source).result(),
            isolated=isolated,
        )
        pipeline = Pipeline(
            reader.groups(found.files),
            Persistent(connected.embedder, job.patience_s),
            store,
            thread.executor,
            space,
            report,
            replace_all=job.replace,
            engines=connected.engines,
        )
        await pipeline.run()
    finally:
        if isolated is not None:
            isolated.close()
    if job.replace:
        await thread.call(store.commit)
    elif job.sync:
        await _sync(found, ledger, store, thread, space, report)
    if job.index is not None:
        await thread.call(store.build_index, job.index)
    return report


def limits_for(job: Job, connected: Connected) -> Limits:
    """Return the sizes of chunks. Raises ``IngestError`` for one that the model cannot take."""
    embedder, tokens = connected.embedder, connected.tokens
    prompt = tokens.count([embedder.prompts.of("document")])[0]
    room = embedder.max_tokens - tokens.special - prompt - _MARGIN
    chunk = job.chunk_tokens if job.chunk_tokens is not None else min(room, _CHUNK_TOKENS)
    if not _MIN_CHUNK_TOKENS <= chunk <= room:
        raise _too_long("--chunk-tokens", f"{_MIN_CHUNK_TOKENS} to {room} for {embedder.space.model}", chunk)
    overlap = job.overlap_tokens if job.overlap_tokens is not None else chunk // 8
    if not 0 <= overlap < chunk:
        raise _too_long("--overlap-tokens", f"0 to {chunk - 1}", overlap)
    return Limits(chunk, overlap)


def _too_long(option: str, wanted: str, found: int) -> IngestError:
    return IngestError(IngestCode.EMBEDDER_REFUSED, f"{option}: wanted {wanted}, found {found}.")


def _check(job: Job, found: Found) -> None:
    """Raise now what would otherwise come after hours, or cost the rows that are there."""
    require_for({file.format for file in found.files})
    if found.files or (job.sync and found.roots and not job.replace):
        return
    if found.errors:
        raise found.errors[0][1]
    raise IngestError(
        IngestCode.SOURCE_NOT_FOUND,
        f"Wanted files to ingest, found none in {', '.join(job.sources)[:300]}.",
        hint="Name files or folders with txt, md, html, pdf, csv, tsv, jsonl or parquet files.",
    )


def _open_table(store: Store, space: Space, replace: bool) -> Mapping[str, SourceState]:
    """Make the table or check it; return its ledger. Runs in the store's thread."""
    store.begin(space, replace=replace)
    if replace:
        return {}
    store.commit()
    return store.sources()


async def _sync(
    found: Found,
    ledger: Mapping[str, SourceState],
    store: Store,
    thread: StoreThread,
    space: Space,
    report: Report,
) -> None:
    present = {file.name for file in found.files}
    gone = [name for name in ledger if name not in present and found.covers(name)]

    def remove(names: list[str]) -> int:
        store.begin(space)
        rows = store.remove(names)
        store.commit()
        return rows

    for start in range(0, len(gone), _REMOVED_AT_ONCE):
        names = gone[start : start + _REMOVED_AT_ONCE]
        report.wrote(0, await thread.call(remove, names))
        report.removed += len(names)
