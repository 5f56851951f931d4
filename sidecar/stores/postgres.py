"""PostgreSQL with pgvector: binary COPY into a staging table, then one upsert a batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
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
from sidecar.stores.optional import require
from sidecar.stores.postgres_errors import meaning_of
from sidecar.stores.postgres_session import Session, first_line
from sidecar.stores.postgres_sql import COLUMN_TYPES, Statements, check_index
from sidecar.stores.url import redacted

EXTRA = "postgres"

#: Candidates that HNSW looks at for one query, and lists that IVFFlat reads: at least these, and enough for k.
_EF_SEARCH, _MAX_EF_SEARCH = 100, 1000
_PROBES = 10


class PostgresStore:
    """``Store`` in a server; see ``base.Store`` for the methods. Needs a session of its own (no pooler that
    hands one connection to many clients): the staging tables and the writer's lock belong to it."""

    def __init__(self, conninfo: str, table: str) -> None:
        """Connect. Raises ``StoreError``, ``DependencyMissing``."""
        self._jsonb = require("psycopg.types.json", EXTRA).Jsonb
        self._pgvector = require("pgvector.psycopg", EXTRA)
        self._sql = Statements(table)
        self._place = f"{table} at {redacted(conninfo)}"
        self._session = Session(require("psycopg", EXTRA), conninfo, self._place)
        self._writing = False  # the table is ours alone, staging is there
        self._replacing: Space | None = None
        #: Rows of the open transaction were staged before.
        self._staged = False

    @property
    def _db(self) -> Any:
        return self._session.db

    def space(self) -> Space | None:
        with self._translated():
            return self._read_space(hold=False) if self._has_table() else None

    def begin(self, space: Space, *, replace: bool = False) -> None:
        if self._replacing is not None:
            return  # rows go to a table of our own until ``commit``
        self._take_table(space)
        with self._translated():
            if replace:
                self._run(*self._sql.create_replacement(space.dim))
                self._replacing = space
                return
            if not self._session.in_transaction:
                self._run("BEGIN")
                self._staged = False
            found = self._read_space(hold=True)
            if found is None:
                raise self._session.failed("Wanted the table's space, found none")
            check_space(found, space)

    def upsert(self, batch: Batch) -> None:
        with self._translated():
            self._require_begun()
            check_batch(batch, self._dim())
            if self._replacing is not None:
                self._run("BEGIN")
            table, ledger = self._target()
            self._stage(batch)
            self._run(self._sql.merge(table))
            if batch.stale:
                self._run(self._sql.delete(table), values=[list(batch.stale)])
            self._run(self._sql.write_ledger(ledger), values=_columns_of(batch.sources))
            if self._replacing is not None:
                self._run("COMMIT")

    def remove(self, sources: Sequence[str]) -> int:
        with self._translated():
            self._require_begun()
            table, ledger = self._target()
            removed = self._db.execute(self._sql.delete_sources(table), [list(sources)]).rowcount
            self._run(self._sql.delete_sources(ledger), values=[list(sources)])
            return int(removed)

    def commit(self) -> None:
        with self._translated():
            if self._replacing is not None:
                self._replace(self._replacing)
            else:
                self._run("COMMIT")

    def rollback(self) -> None:
        replacing, self._replacing = self._replacing, None
        if self._session.is_closed:
            return  # the server has undone it already
        with self._translated():
            self._session.undo()
            if replacing is not None:
                self._run(f"DROP TABLE IF EXISTS {self._sql.new_table}, {self._sql.new_ledger}")

    def sources(self) -> dict[str, SourceState]:
        with self._translated():
            if not self._has_table():
                return {}
            rows = self._db.execute(self._sql.read_ledger())
            return {row[0]: SourceState(*row) for row in rows}

    def chunks_of(self, source: str) -> dict[str, str]:
        with self._translated():
            if not self._has_table():
                return {}
            return dict(self._db.execute(self._sql.read_chunks(), [source]).fetchall())

    def count(self) -> int:
        with self._translated():
            if not self._has_table():
                return 0
            return int(self._db.execute(self._sql.count()).fetchone()[0])

    def search(self, vector: Float32, k: int, *, exact: bool = False) -> list[Hit]:
        space = self.space()
        if space is None:
            raise no_table(self._place)
        check_query(vector, space.dim)
        with self._translated(), self._db.transaction():
            self._run(*_search_settings(k, exact=exact))
            values = {"vector": _literal(vector), "k": k}
            rows = self._db.execute(self._sql.search(), values).fetchall()
        return [Hit(row[0], 1.0 - row[1], *row[2:]) for row in rows]

    def supports(self, options: IndexOptions, dim: int) -> None:
        check_index(options, dim)

    def build_index(self, options: IndexOptions) -> None:
        """Readers go on meanwhile, by the old index; a build that fails leaves that one."""
        space = self.space()
        if space is None:
            raise no_table(self._place)
        self.supports(options, space.dim)
        rows = self.count()
        with self._translated(), self._db.transaction():
            self._run("SET LOCAL statement_timeout = 0")
            if options.memory_mb is not None:
                self._run(f"SET LOCAL maintenance_work_mem = '{int(options.memory_mb)}MB'")
            self._run(f"DROP INDEX IF EXISTS {self._sql.index}")
            if options.kind is not IndexKind.NONE:
                self._run(self._sql.create_index(options, rows))
        with self._translated():
            self._run(f"ANALYZE {self._sql.table}")

    def close(self) -> None:
        self._session.close()  # the server undoes what is open and drops what is temporary

    def _take_table(self, space: Space) -> None:
        """Once a connection: lock out other writers, make the table and staging."""
        if self._writing:
            return
        with self._translated():
            self._run(self._sql.lock_writer())
            if self._db.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None:
                self._create_extension()
            self._pgvector.register_vector(self._db)
            if not self._has_table():
                with self._db.transaction():
                    self._run(*self._sql.create(space.dim))
                    self._run(self._sql.write_space(), values=[LAYOUT, space.dim, space.fingerprint, space.model])
            self._run(self._sql.create_staging())
        self._writing = True

    def _create_extension(self) -> None:
        """Whatever stops this, a right or a file, the extension is what is missing."""
        try:
            self._run("CREATE EXTENSION vector")
        except self._session.psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
                raise
            meaning = meaning_of("42704", connected=True)
            raise StoreError(meaning.code, f"{self._place}: {first_line(error)}", hint=meaning.hint) from error

    def _has_table(self) -> bool:
        found = self._db.execute(self._sql.exists()).fetchone()
        if any(found) and not all(found):
            raise StoreError(
                StoreCode.STORE_SCHEMA_MISMATCH,
                f"{self._place}: wanted {self._sql.table} with {self._sql.ledger} and {self._sql.meta}, "
                f"found {', '.join(str(name) for name in found if name)} alone.",
                hint="Name another table with ?table=NAME.",
            )
        return all(found)

    def _read_space(self, *, hold: bool) -> Space | None:
        row = self._db.execute(self._sql.read_space(hold=hold)).fetchone()
        if row is None:
            return None
        check_layout(row[0], self._sql.table)
        return Space(row[1], row[2], row[3])

    def _dim(self) -> int:
        space = self._replacing or self._read_space(hold=False)
        return space.dim if space else 0

    def _target(self) -> tuple[str, str]:
        if self._replacing is not None:
            return self._sql.new_table, self._sql.new_ledger
        return self._sql.table, self._sql.ledger

    def _stage(self, batch: Batch) -> None:
        if self._staged:  # a second batch of one transaction
            self._run(f"TRUNCATE {self._sql.staging}")
        self._staged = self._replacing is None
        with self._db.cursor() as cursor, cursor.copy(self._sql.copy()) as copy:
            copy.set_types(COLUMN_TYPES)
            for row, vector in zip(batch.rows, batch.vectors, strict=True):
                metadata = self._jsonb(dict(row.metadata))
                copy.write_row((row.id, row.source, row.ordinal, row.content_hash, row.text, metadata, vector))

    def _replace(self, space: Space) -> None:
        with self._db.transaction():
            self._run("SET LOCAL statement_timeout = 0")
            self._run(*self._sql.replace(space.dim))
            self._run(self._sql.write_space(), values=[LAYOUT, space.dim, space.fingerprint, space.model])
        self._replacing = None

    def _require_begun(self) -> None:
        if self._replacing is None and not self._session.in_transaction:
            raise self._session.failed("Wanted an open transaction, found none: call begin first")

    def _run(self, *statements: str, values: Sequence[Any] | None = None) -> None:
        self._session.run(*statements, values=values)

    def _translated(self) -> AbstractContextManager[None]:
        return self._session.translated()


def _columns_of(states: Sequence[SourceState]) -> list[list[Any]]:
    return [[s.source for s in states], [s.source_hash for s in states], [s.chunks for s in states]]


def _search_settings(k: int, *, exact: bool) -> tuple[str, ...]:
    if exact or k > _MAX_EF_SEARCH // 2:  # an index finds no more rows than it looks at
        return ("SET LOCAL enable_indexscan = off",)
    return (
        f"SET LOCAL hnsw.ef_search = {max(_EF_SEARCH, 2 * k)}",
        f"SET LOCAL ivfflat.probes = {max(_PROBES, k // 10)}",
    )


def _literal(vector: Float32) -> str:
    return "[" + ",".join(map(repr, vector.tolist())) + "]"
