"""Chroma, in a folder or behind its own server.

Chroma has no transactions. What a batch changes is held back until ``commit``
and then written in an order that is safe to stop anywhere: the ledger says
"in part" before the first row of a source changes, and "whole" after the last.

Its libraries do not share a process with an engine: whoever uses this store
embeds in another one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.engines.base import Float32
from sidecar.stores.base import (
    Batch,
    Hit,
    IndexKind,
    IndexOptions,
    Row,
    SourceState,
    Space,
    check_batch,
    check_query,
    check_space,
    no_table,
)
from sidecar.stores.chroma_collections import PAGE, Collections, pages
from sidecar.stores.chroma_errors import meaning_of
from sidecar.stores.codes import StoreCode, StoreError
from sidecar.stores.lock import WriterLock
from sidecar.stores.url import Kind, StoreUrl

#: The ledger's collection needs vectors as well; nobody searches them.
_NO_VECTOR = [1.0]

#: Our own keys of a row's metadata; the others are the reader's.
_SOURCE, _ORDINAL, _HASH = "_source", "_ordinal", "_hash"
_PARTIAL = -1


class ChromaStore:
    """``Store`` in Chroma; see ``base.Store`` for the methods. A server keeps no second writer out."""

    def __init__(self, url: StoreUrl) -> None:
        """Open the folder if it is there, or connect. Raises ``StoreError``, ``DependencyMissing``."""
        self._place = f"{url.table} in {url.location}"
        self._address = url.location
        self._folder = Path(url.location).absolute() if url.kind is Kind.CHROMA else None
        self._lock = None if self._folder is None else WriterLock(self._folder.with_name(self._folder.name + ".lock"))
        self._collections = Collections(url.table, self._place)
        self._replacing = False
        self._pending: list[Batch] | None = None
        self._removed: list[str] = []
        if self._folder is None or self._folder.exists():
            self._connect()

    def space(self) -> Space | None:
        with self._translated():
            return self._collections.space() if self._collections.find() else None

    def begin(self, space: Space, *, replace: bool = False) -> None:
        if self._pending is not None:
            return  # a replacement goes on until ``commit``
        if self._lock is not None:
            self._lock.acquire()
        if not self._collections.is_open:
            self._connect()
        with self._translated():
            self._collections.settle()
            if replace or not self._collections.find():
                self._collections.create(space, as_replacement=replace)
            else:
                check_space(self._collections.space(), space)
        self._pending, self._replacing = [], replace

    def upsert(self, batch: Batch) -> None:
        pending = self._begun()
        check_batch(batch, self._collections.space().dim)
        if self._replacing:
            with self._translated():
                self._write(batch)
        else:
            pending.append(batch)

    def remove(self, sources: Sequence[str]) -> int:
        self._begun()
        self._removed += sources
        return sum(len(self.chunks_of(source)) for source in sources)

    def commit(self) -> None:
        pending = self._begun()
        with self._translated():
            for batch in pending:
                self._write(batch)
            for source in self._removed:
                self._remove(source)
            if self._replacing:
                self._collections.swap()
        self._pending, self._removed, self._replacing = None, [], False

    def rollback(self) -> None:
        was_replacing, self._replacing = self._replacing, False
        self._pending, self._removed = None, []
        if was_replacing:
            with self._translated():
                self._collections.settle()

    def sources(self) -> dict[str, SourceState]:
        with self._translated():
            found: dict[str, SourceState] = {}
            if self._collections.find():
                for page in pages(self._collections.ledger, ["metadatas"]):
                    found |= {i: _state_of(i, m) for i, m in zip(page["ids"], page["metadatas"], strict=True)}
            return found

    def chunks_of(self, source: str) -> dict[str, str]:
        with self._translated():
            found: dict[str, str] = {}
            if self._collections.find():
                for page in pages(self._collections.rows, ["metadatas"], {_SOURCE: source}):
                    found |= {i: m[_HASH] for i, m in zip(page["ids"], page["metadatas"], strict=True)}
            return found

    def count(self) -> int:
        with self._translated():
            return int(self._collections.rows.count()) if self._collections.find() else 0

    def search(self, vector: Float32, k: int, *, exact: bool = False) -> list[Hit]:
        space = self.space()
        if space is None:
            raise no_table(self._place)
        check_query(vector, space.dim)
        if exact:
            return self._search_exactly(vector, k)
        wanted = min(k, self.count())
        if not wanted:
            return []
        with self._translated():
            found = self._collections.rows.query(
                query_embeddings=[vector], n_results=wanted, include=["documents", "metadatas", "distances"]
            )
        columns = (found["ids"][0], found["distances"][0], found["documents"][0], found["metadatas"][0])
        return [_hit(id_, 1.0 - d, text, m) for id_, d, text, m in zip(*columns, strict=True)]

    def supports(self, options: IndexOptions, dim: int) -> None:
        if options.kind is IndexKind.IVFFLAT:
            raise StoreError(
                StoreCode.STORE_INDEX_UNSUPPORTED,
                "Wanted the index ivfflat, found Chroma, which keeps an HNSW index of its own.",
                hint="Leave --index out.",
            )

    def build_index(self, options: IndexOptions) -> None:
        """Chroma keeps its HNSW index up to date by itself."""
        self.supports(options, 0)

    def close(self) -> None:
        self._collections.close()
        if self._lock is not None:
            self._lock.release()

    def _connect(self) -> None:
        with self._translated():
            if self._folder is not None:
                self._collections.open_folder(self._folder)
            else:
                self._collections.open_server(self._address)

    def _begun(self) -> list[Batch]:
        if self._pending is None:
            message = f"{self._place}: wanted an open transaction, found none: call begin first."
            raise StoreError(StoreCode.STORE_FAILED, message)
        return self._pending

    def _write(self, batch: Batch) -> None:
        self._write_ledger([SourceState(s.source, s.source_hash, None) for s in batch.sources])
        size = self._collections.most_at_once
        for start in range(0, len(batch.rows), size):
            part = batch.rows[start : start + size]
            self._collections.rows.upsert(
                ids=[row.id for row in part],
                embeddings=batch.vectors[start : start + size],
                documents=[row.text for row in part],
                metadatas=[_metadata_of(row) for row in part],
            )
        self._delete(list(batch.stale))
        self._write_ledger([state for state in batch.sources if state.complete])

    def _write_ledger(self, states: Sequence[SourceState]) -> None:
        size = self._collections.most_at_once
        for start in range(0, len(states), size):
            part = states[start : start + size]
            self._collections.ledger.upsert(
                ids=[state.source for state in part],
                embeddings=[_NO_VECTOR] * len(part),
                metadatas=[
                    {"source_hash": s.source_hash, "chunks": _PARTIAL if s.chunks is None else s.chunks} for s in part
                ],
            )

    def _remove(self, source: str) -> None:
        self._write_ledger([SourceState(source, "", None)])
        self._delete(list(self.chunks_of(source)))
        self._collections.ledger.delete(ids=[source])

    def _delete(self, ids: list[str]) -> None:
        for start in range(0, len(ids), PAGE):
            self._collections.rows.delete(ids=ids[start : start + PAGE])

    def _search_exactly(self, vector: Float32, k: int) -> list[Hit]:
        best: list[Hit] = []
        with self._translated():
            for page in pages(self._collections.rows, ["metadatas", "documents", "embeddings"]):
                scores = (np.asarray(page["embeddings"], np.float32) @ vector).tolist()
                columns = zip(page["ids"], scores, page["documents"], page["metadatas"], strict=True)
                best += [_hit(id_, score, text, metadata) for id_, score, text, metadata in columns]
                best = sorted(best, key=lambda hit: -hit.score)[:k]
        return best

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn Chroma's errors into ours; it raises its own, httpx's and plain ones."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            meaning = meaning_of(error, free_bytes=self._free_bytes())
            raise StoreError(meaning.code, f"{self._place}: {error}", hint=meaning.hint) from error

    def _free_bytes(self) -> int | None:
        try:
            return shutil.disk_usage(self._folder).free if self._folder is not None else None
        except OSError:
            return None


def _metadata_of(row: Row) -> dict[str, Any]:
    return {**row.metadata, _SOURCE: row.source, _ORDINAL: row.ordinal, _HASH: row.content_hash}


def _hit(id_: str, score: float, text: str | None, metadata: dict[str, Any]) -> Hit:
    own = {key: value for key, value in metadata.items() if key not in {_SOURCE, _ORDINAL, _HASH}}
    return Hit(id_, score, metadata[_SOURCE], metadata[_ORDINAL], text or "", own)


def _state_of(source: str, metadata: dict[str, Any]) -> SourceState:
    chunks = metadata["chunks"]
    return SourceState(source, metadata["source_hash"], None if chunks == _PARTIAL else chunks)
