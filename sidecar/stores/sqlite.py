"""A single SQLite file, searched exactly by sqlite-vec.

SQLite itself comes with apsw: many builds of Python (pyenv's, macOS's) cannot
load an extension into the SQLite of the standard library.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sidecar.engines.base import Float32
from sidecar.stores.base import (
    LAYOUT,
    Batch,
    Hit,
    IndexKind,
    IndexOptions,
    SourceState,
    Space,
    check_batch,
    check_layout,
    check_query,
    check_space,
    no_table,
)
from sidecar.stores.codes import StoreCode, StoreError
from sidecar.stores.lock import WriterLock
from sidecar.stores.optional import require

EXTRA = "sqlite"

#: A second writer of the file waits this long for the first one's transaction.
_BUSY_MS = 10_000

#: sqlite-vec refuses a larger k.
_MAX_K = 4096

_CODES = {
    "BusyError": (StoreCode.STORE_LOCKED, "End the program that writes to the file, then run this again."),
    "LockedError": (StoreCode.STORE_LOCKED, "End the program that writes to the file, then run this again."),
    "FullError": (StoreCode.STORE_DISK_FULL, "Free space on the disk, then run this again: it goes on where it was."),
    "ReadOnlyError": (StoreCode.STORE_READ_ONLY, "Allow writing to the file and its folder."),
    "PermissionsError": (StoreCode.STORE_READ_ONLY, "Allow writing to the file and its folder."),
    "AuthError": (StoreCode.STORE_READ_ONLY, "Allow writing to the file and its folder."),
    "CantOpenError": (StoreCode.STORE_UNREACHABLE, "Make the folder, or allow writing to it."),
    "NotADBError": (StoreCode.STORE_CORRUPT, "Name another file."),
    "CorruptError": (StoreCode.STORE_CORRUPT, "Restore the file from a copy, or name another one."),
    "ExtensionLoadingError": (StoreCode.STORE_EXTENSION_MISSING, "Install sqlite-vec again."),
}

_SCHEMA = """
CREATE TABLE {t} (
    rowid INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    content_hash TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL
) STRICT;
CREATE INDEX {t}_by_source ON {t} (source);
CREATE VIRTUAL TABLE {t}_vectors USING vec0(embedding float[{dim}] distance_metric=cosine);
CREATE TABLE {t}_sources (source TEXT PRIMARY KEY, source_hash TEXT NOT NULL, chunks INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE {t}_space (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    layout INTEGER NOT NULL,
    dim INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    model TEXT NOT NULL
) STRICT;
"""


class SqliteStore:
    """``Store`` in one file; see ``base.Store`` for the methods."""

    def __init__(self, path: str | Path, table: str) -> None:
        """Open ``path`` if it is there; ``begin`` makes it. Raises ``StoreError``, ``DependencyMissing``."""
        self._apsw = require("apsw", EXTRA)
        self._extension = require("sqlite_vec", EXTRA).loadable_path()
        self._path = Path(path).absolute()
        self._table = table
        self._lock = WriterLock(self._path.with_name(self._path.name + ".lock"))
        self._db: Any = None
        if self._path.exists():
            self._connect(create=False)

    def space(self) -> Space | None:
        with self._translated():
            row = self._one("SELECT layout, dim, fingerprint, model FROM {t}_space") if self._has_table() else None
        if row is None:
            return None
        check_layout(row[0], self._table)
        return Space(row[1], row[2], row[3])

    def begin(self, space: Space, *, replace: bool = False) -> None:
        if replace and self._db is not None and self._db.in_transaction:
            return  # the replacement goes on until ``commit``
        self._lock.acquire()
        if self._db is None:
            self._connect(create=True)
        with self._translated():
            self._run("BEGIN IMMEDIATE")
            found = self.space()
            if found is not None and replace:
                self._drop()
            if found is None or replace:
                self._create(space)
            else:
                check_space(found, space)

    def upsert(self, batch: Batch) -> None:
        with self._translated():
            self._require_transaction()
            space = self.space()
            check_batch(batch, space.dim if space else 0)
            self._delete([(id_,) for id_ in batch.stale])
            self._many(
                "INSERT INTO {t} (id, source, ordinal, content_hash, text, metadata) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET source = excluded.source, ordinal = excluded.ordinal, "
                "content_hash = excluded.content_hash, text = excluded.text, metadata = excluded.metadata",
                [(r.id, r.source, r.ordinal, r.content_hash, r.text, _dump(r.metadata)) for r in batch.rows],
            )
            # vec0 knows no upsert.
            self._many(_DELETE_VECTOR, [(row.id,) for row in batch.rows])
            self._many(
                "INSERT INTO {t}_vectors (rowid, embedding) SELECT rowid, ?2 FROM {t} WHERE id = ?1",
                [(row.id, vector.tobytes()) for row, vector in zip(batch.rows, batch.vectors, strict=True)],
            )
            self._many(
                "INSERT INTO {t}_sources VALUES (?, ?, ?) ON CONFLICT (source) DO UPDATE "
                "SET source_hash = excluded.source_hash, chunks = excluded.chunks",
                [(s.source, s.source_hash, s.chunks) for s in batch.sources],
            )

    def remove(self, sources: Sequence[str]) -> int:
        with self._translated():
            self._require_transaction()
            removed = 0
            for source in sources:
                ids = list(self._run("SELECT id FROM {t} WHERE source = ?", (source,)))
                self._delete(ids)
                self._run("DELETE FROM {t}_sources WHERE source = ?", (source,))
                removed += len(ids)
            return removed

    def commit(self) -> None:
        with self._translated():
            self._run("COMMIT")

    def rollback(self) -> None:
        if self._db is not None and self._db.in_transaction:
            with self._translated():
                self._run("ROLLBACK")

    def sources(self) -> dict[str, SourceState]:
        with self._translated():
            rows = self._run("SELECT source, source_hash, chunks FROM {t}_sources") if self._has_table() else ()
            return {row[0]: SourceState(*row) for row in rows}

    def chunks_of(self, source: str) -> dict[str, str]:
        with self._translated():
            if not self._has_table():
                return {}
            return dict(self._run("SELECT id, content_hash FROM {t} WHERE source = ?", (source,)))

    def count(self) -> int:
        with self._translated():
            return int(self._one("SELECT count(*) FROM {t}")[0]) if self._has_table() else 0

    def search(self, vector: Float32, k: int, *, exact: bool = False) -> list[Hit]:
        space = self.space()
        if space is None:
            raise no_table(f"{self._table} in {self._path}")
        check_query(vector, space.dim)
        with self._translated():
            found = self._run(
                "SELECT r.id, v.distance, r.source, r.ordinal, r.text, r.metadata FROM {t}_vectors v "
                "JOIN {t} r ON r.rowid = v.rowid WHERE v.embedding MATCH ? AND v.k = ? ORDER BY v.distance",
                (vector.tobytes(), min(k, _MAX_K)),
            )
            return [Hit(row[0], 1.0 - row[1], row[2], row[3], row[4], json.loads(row[5])) for row in found]

    def supports(self, options: IndexOptions, dim: int) -> None:
        if options.kind is not IndexKind.NONE:
            raise StoreError(
                StoreCode.STORE_INDEX_UNSUPPORTED,
                f"Wanted the index {options.kind.value}, found SQLite, which searches exactly and needs none.",
                hint="Leave --index out, or use PostgreSQL.",
            )

    def build_index(self, options: IndexOptions) -> None:
        space = self.space()
        self.supports(options, space.dim if space else 0)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()  # undoes what is open
            self._db = None
        self._lock.release()

    def _connect(self, *, create: bool) -> None:
        flags = self._apsw.SQLITE_OPEN_READWRITE | (self._apsw.SQLITE_OPEN_CREATE if create else 0)
        name = str(self._path)
        if not create and self._is_for_reading_alone():
            name, flags = f"{self._path.as_uri()}?immutable=1", self._apsw.SQLITE_OPEN_READONLY
        with self._translated():
            self._db = self._apsw.Connection(name, flags=flags | self._apsw.SQLITE_OPEN_URI)
            self._db.set_busy_timeout(_BUSY_MS)
            self._db.enable_load_extension(True)
            self._db.load_extension(self._extension)
            self._db.enable_load_extension(False)
            if not self._db.readonly("main"):
                # Readers go on while a writer writes; where the file system cannot, SQLite keeps its own mode.
                self._run("PRAGMA journal_mode = WAL")
                self._run("PRAGMA synchronous = NORMAL")

    def _is_for_reading_alone(self) -> bool:
        """Whether SQLite could not make its files beside ours, without which it reads no file in WAL mode.

        Where a writer has them already, they do: then it reads as usual.
        """
        beside = self._path.with_name(self._path.name + "-wal")
        return not os.access(self._path.parent, os.W_OK) and not beside.exists()

    def _create(self, space: Space) -> None:
        self._db.execute(_SCHEMA.format(t=self._table, dim=int(space.dim)))
        self._run("INSERT INTO {t}_space VALUES (1, ?, ?, ?, ?)", (LAYOUT, space.dim, space.fingerprint, space.model))

    def _drop(self) -> None:
        for suffix in ("", "_vectors", "_sources", "_space"):
            self._run("DROP TABLE {t}" + suffix)

    def _delete(self, ids: Sequence[tuple[str]]) -> None:
        self._many(_DELETE_VECTOR, ids)
        self._many("DELETE FROM {t} WHERE id = ?", ids)

    def _has_table(self) -> bool:
        if self._db is None:
            return False
        names = {row[0] for row in self._run("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        ours = {self._table + suffix for suffix in ("", "_sources", "_space")}
        found = names & ours
        if found and found != ours:
            raise StoreError(
                StoreCode.STORE_SCHEMA_MISMATCH,
                f"{self._path}: wanted the tables {', '.join(sorted(ours))}, found {', '.join(sorted(found))} alone.",
                hint="Name another table with ?table=NAME.",
            )
        return found == ours

    def _require_transaction(self) -> None:
        if self._db is None or not self._db.in_transaction:
            raise StoreError(StoreCode.STORE_FAILED, "Wanted an open transaction, found none: call begin first.")

    def _run(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self._db.execute(statement.replace("{t}", self._table), values)

    def _one(self, statement: str) -> Any:
        return self._run(statement).fetchone()

    def _many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._db.executemany(statement.replace("{t}", self._table), rows)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's errors into ours. The transaction is undone: nothing half-written can be committed."""
        try:
            yield
        except self._apsw.Error as error:
            self._undo()
            raise self._error(error) from error
        except StoreError:
            self._undo()
            raise

    def _undo(self) -> None:
        if self._db is not None and self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _error(self, error: Exception) -> StoreError:
        code, hint = _CODES.get(type(error).__name__, (StoreCode.STORE_FAILED, ""))
        return StoreError(code, f"{self._path}: {error}", hint=hint, details={"path": str(self._path)})


_DELETE_VECTOR = "DELETE FROM {t}_vectors WHERE rowid = (SELECT rowid FROM {t} WHERE id = ?)"


def _dump(metadata: Any) -> str:
    return json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True)
