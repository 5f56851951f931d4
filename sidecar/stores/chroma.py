"""Chroma, in a folder or behind its own server.

Chroma has no transactions. What a batch changes is held back until ``commit``
and then written in an order that is safe to stop anywhere: the ledger says
"in part" before the first row of a source changes, and "whole" after the last.
A replacement is filled in collections of its own and takes the names over once
it is marked whole.

Its libraries do not share a process with an engine: whoever uses this store
embeds in another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.engines.base import Float32
from sidecar.stores.base import (
    LAYOUT,
    Batch,
    Hit,
    IndexKind,
    IndexOptions,
    Row,
    SourceState,
    Space,
    check_batch,
    check_layout,
    check_query,
    check_space,
    no_table,
)
from sidecar.stores.chroma_errors import meaning_of
from sidecar.stores.codes import StoreCode, StoreError
from sidecar.stores.lock import WriterLock
from sidecar.stores.optional import require
from sidecar.stores.url import Kind, StoreUrl

EXTRA = "chroma"

#: Lines of the ledger, and ids, that are read at once.
_PAGE = 2_000

#: The ledger's collection needs vectors as well; nobody searches them.
_NO_VECTOR = [1.0]

#: Vectors are normalised, so that the inner product is the cosine; told "cosine", Chroma would normalise them again.
_HNSW = {"space": "ip", "ef_construction": 200, "max_neighbors": 16, "ef_search": 200}

#: Our own keys of a row's metadata; the others are the reader's.
_SOURCE, _ORDINAL, _HASH = "_source", "_ordinal", "_hash"
_PARTIAL = -1


class ChromaStore:
    """``Store`` in Chroma; see ``base.Store`` for the methods."""

    def __init__(self, url: StoreUrl) -> None:
        """Open the folder if it is there, or connect. Raises ``StoreError``, ``DependencyMissing``."""
        self._chromadb = require("chromadb", EXTRA)
        self._place = f"{url.table} in {url.location}"
        self._names = _Names(url.table)
        self._folder = Path(url.location).absolute() if url.kind is Kind.CHROMA else None
        self._address = url.location
        self._lock = None if self._folder is None else WriterLock(self._folder.with_name(self._folder.name + ".lock"))
        self._client: Any = None
        self._rows: Any = None
        self._ledger: Any = None
        self._replacing = False
        self._pending: list[Batch] | None = None
        self._removed: list[str] = []
        if self._folder is None or self._folder.exists():
            self._connect()

    def space(self) -> Space | None:
        return None if self._find() is None else _space_of(self._rows, self._place)

    def begin(self, space: Space, *, replace: bool = False) -> None:
        if self._pending is not None:
            return  # a replacement goes on until ``commit``
        if self._lock is not None:
            self._lock.acquire()
        if self._client is None:
            self._connect()
        with self._translated():
            self._recover()
            if replace:
                self._create(self._names.new, self._names.new_ledger, space)
                self._replacing = True
            elif self._find() is None:
                self._create(self._names.rows, self._names.ledger, space)
            else:
                self._rows = self._client.get_collection(self._names.rows, embedding_function=None)
                check_space(_space_of(self._rows, self._place), space)
            self._pending = []

    def upsert(self, batch: Batch) -> None:
        if self._pending is None:
            raise self._failed("Wanted an open transaction, found none: call begin first")
        check_batch(batch, _space_of(self._rows, self._place).dim)
        if self._replacing:
            with self._translated():
                self._write(batch)
        else:
            self._pending.append(batch)

    def remove(self, sources: Sequence[str]) -> int:
        if self._pending is None:
            raise self._failed("Wanted an open transaction, found none: call begin first")
        self._removed += sources
        return sum(len(self.chunks_of(source)) for source in sources)

    def commit(self) -> None:
        with self._translated():
            for batch in self._pending or ():
                self._write(batch)
            for source in self._removed:
                self._remove(source)
            if self._replacing:
                self._swap()
        self._pending, self._removed, self._replacing = None, [], False

    def rollback(self) -> None:
        was_replacing, self._replacing = self._replacing, False
        self._pending, self._removed = None, []
        if was_replacing:
            with self._translated():
                self._recover()

    def sources(self) -> dict[str, SourceState]:
        if self._find() is None:
            return {}
        with self._translated():
            found: dict[str, SourceState] = {}
            for ids, metadatas in _pages(self._ledger):
                found |= {id_: _state_of(id_, metadata) for id_, metadata in zip(ids, metadatas, strict=True)}
            return found

    def chunks_of(self, source: str) -> dict[str, str]:
        if self._find() is None:
            return {}
        with self._translated():
            pages = _pages(self._rows, where={_SOURCE: source})
            return {id_: m[_HASH] for ids, metadatas in pages for id_, m in zip(ids, metadatas, strict=True)}

    def count(self) -> int:
        if self._find() is None:
            return 0
        with self._translated():
            return int(self._rows.count())

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
            found = self._rows.query(
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
        if self._client is not None:
            self._client.close()
            self._client = self._rows = self._ledger = None
        if self._lock is not None:
            self._lock.release()

    def _connect(self) -> None:
        settings = self._chromadb.config.Settings(anonymized_telemetry=False)
        with self._translated():
            if self._folder is not None:
                self._folder.mkdir(exist_ok=True)
                self._client = self._chromadb.PersistentClient(str(self._folder), settings=settings)
            else:
                host, _, port = self._address.rpartition(":")
                host, port = (host, port) if port.isdecimal() else (self._address, "8000")
                self._client = self._chromadb.HttpClient(host=host, port=int(port), settings=settings)

    def _find(self) -> Any:
        """Return the rows' collection, the replacement's where a swap was cut short; None when there is neither."""
        if self._client is None:
            return None
        if self._rows is None:
            with self._translated():
                rows, ledger = self._get(self._names.rows), self._get(self._names.ledger)
                if rows is None:
                    new = self._get(self._names.new)
                    if new is not None and new.metadata.get("whole"):
                        rows, ledger = new, self._get(self._names.new_ledger) or ledger
                if rows is not None and ledger is None:
                    raise self._failed(f"Wanted the collection {self._names.ledger}, found none")
                self._rows, self._ledger = rows, ledger
        return self._rows

    def _get(self, name: str) -> Any:
        try:
            return self._client.get_collection(name, embedding_function=None)
        except self._chromadb.errors.NotFoundError:
            return None

    def _create(self, rows: str, ledger: str, space: Space) -> None:
        # The ledger first: rows without one would be unreadable.
        self._ledger = self._client.get_or_create_collection(ledger, embedding_function=None)
        metadata = {"layout": LAYOUT, "dim": space.dim, "fingerprint": space.fingerprint, "model": space.model}
        self._rows = self._client.create_collection(
            rows, embedding_function=None, metadata=metadata, configuration={"hnsw": _HNSW}
        )

    def _write(self, batch: Batch) -> None:
        self._write_ledger([SourceState(s.source, s.source_hash, None) for s in batch.sources])
        size = self._client.get_max_batch_size()
        for start in range(0, len(batch.rows), size):
            part = batch.rows[start : start + size]
            self._rows.upsert(
                ids=[row.id for row in part],
                embeddings=batch.vectors[start : start + size],
                documents=[row.text for row in part],
                metadatas=[_metadata_of(row) for row in part],
            )
        self._delete(list(batch.stale))
        self._write_ledger([state for state in batch.sources if state.complete])

    def _write_ledger(self, states: Sequence[SourceState]) -> None:
        size = self._client.get_max_batch_size()
        for start in range(0, len(states), size):
            part = states[start : start + size]
            self._ledger.upsert(
                ids=[state.source for state in part],
                embeddings=[_NO_VECTOR] * len(part),
                metadatas=[
                    {"source_hash": s.source_hash, "chunks": _PARTIAL if s.chunks is None else s.chunks} for s in part
                ],
            )

    def _remove(self, source: str) -> None:
        self._write_ledger([SourceState(source, "", None)])
        self._delete(list(self.chunks_of(source)))
        self._ledger.delete(ids=[source])

    def _delete(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _PAGE):
            self._rows.delete(ids=ids[start : start + _PAGE])

    def _swap(self) -> None:
        self._rows.modify(metadata={**self._rows.metadata, "whole": True})
        self._recover()

    def _recover(self) -> None:
        """Finish a replacement that is whole, drop one that is not. Safe to stop anywhere and to run again."""
        names = self._names
        new = self._get(names.new)
        if new is not None and new.metadata.get("whole"):
            self._drop(names.rows)
            if self._get(names.new_ledger) is not None:
                self._drop(names.ledger)
                self._get(names.new_ledger).modify(name=names.ledger)
            new.modify(name=names.rows, metadata={k: v for k, v in new.metadata.items() if k != "whole"})
        else:
            self._drop(names.new)
            self._drop(names.new_ledger)
        self._rows = self._ledger = None

    def _drop(self, name: str) -> None:
        if self._get(name) is not None:
            self._client.delete_collection(name)

    def _search_exactly(self, vector: Float32, k: int) -> list[Hit]:
        best: list[Hit] = []
        with self._translated():
            for ids, metadatas, vectors, texts in _vector_pages(self._rows):
                scores = np.asarray(vectors, np.float32) @ vector
                best += [_hit(i, float(s), t, m) for i, s, t, m in zip(ids, scores, texts, metadatas, strict=True)]
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
            meaning = meaning_of(error)
            raise StoreError(meaning.code, f"{self._place}: {error}", hint=meaning.hint) from error

    def _failed(self, message: str) -> StoreError:
        return StoreError(StoreCode.STORE_FAILED, f"{self._place}: {message}.")


class _Names:
    """Names of the collections of one table."""

    def __init__(self, table: str) -> None:
        self.rows, self.ledger = table, f"{table}-sources"
        self.new, self.new_ledger = f"{table}-new", f"{table}-new-sources"


def _space_of(collection: Any, place: str) -> Space:
    metadata = collection.metadata or {}
    try:
        check_layout(metadata["layout"], place)
        return Space(metadata["dim"], metadata["fingerprint"], metadata["model"])
    except KeyError as error:
        raise StoreError(
            StoreCode.STORE_SCHEMA_MISMATCH,
            f"{place}: wanted a collection that an ingest made, found one without {error}.",
            hint="Name another table with ?table=NAME.",
        ) from error


def _metadata_of(row: Row) -> dict[str, Any]:
    return {**row.metadata, _SOURCE: row.source, _ORDINAL: row.ordinal, _HASH: row.content_hash}


def _hit(id_: str, score: float, text: str | None, metadata: dict[str, Any]) -> Hit:
    own = {key: value for key, value in metadata.items() if key not in {_SOURCE, _ORDINAL, _HASH}}
    return Hit(id_, score, metadata[_SOURCE], metadata[_ORDINAL], text or "", own)


def _state_of(source: str, metadata: dict[str, Any]) -> SourceState:
    chunks = metadata["chunks"]
    return SourceState(source, metadata["source_hash"], None if chunks == _PARTIAL else chunks)


def _pages(collection: Any, where: dict[str, Any] | None = None) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    offset = 0
    while True:
        page = collection.get(where=where, limit=_PAGE, offset=offset, include=["metadatas"])
        if not page["ids"]:
            return
        yield page["ids"], page["metadatas"]
        offset += len(page["ids"])


def _vector_pages(collection: Any) -> Iterator[tuple[list[str], list[dict[str, Any]], Any, list[str]]]:
    offset = 0
    while True:
        page = collection.get(limit=_PAGE, offset=offset, include=["metadatas", "embeddings", "documents"])
        if not page["ids"]:
            return
        yield page["ids"], page["metadatas"], page["embeddings"], page["documents"]
        offset += len(page["ids"])
