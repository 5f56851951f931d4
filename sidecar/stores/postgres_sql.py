"""The statements that the PostgreSQL store sends. Pure: names in, text out.

Every batch is the same handful of statements, however many rows it has.
"""
# ruff: noqa: S608 names are all that is put into the texts, and ``url.parse`` let only plain ones through

from __future__ import annotations

from sidecar.stores.base import IndexKind, IndexOptions
from sidecar.stores.codes import StoreCode, StoreError

#: pgvector's index of type ``vector`` takes no more.
MAX_INDEXED_DIM = 2000

COLUMNS = ("id", "source", "ordinal", "content_hash", "text", "metadata", "embedding")
COLUMN_TYPES = ("text", "text", "int4", "text", "text", "jsonb", "vector")

#: Rows a list where the number of lists is not given, as pgvector advises; and never fewer lists than this.
_ROWS_A_LIST = 1000
_MIN_LISTS = 10


class Statements:
    """SQL for one table. ``table`` was checked by ``url.parse``: a name, or schema and name."""

    def __init__(self, table: str) -> None:
        schema, _, name = table.rpartition(".")
        self.name = name
        self.schema = schema or None
        prefix = f'"{schema}".' if schema else ""
        self.table = f'{prefix}"{name}"'
        self.ledger = f'{prefix}"{name}_sources"'
        self.meta = f'{prefix}"{name}_space"'
        self.index = f'{prefix}"{name}_embedding"'
        #: Temporary tables: they belong to this connection and end with it.
        self.staging = f'"{name}_staging"'
        self.new_table = f'"{name}_new"'
        self.new_ledger = f'"{name}_new_sources"'

    def exists(self) -> str:
        return f"SELECT to_regclass('{self.table}'), to_regclass('{self.ledger}'), to_regclass('{self.meta}')"

    def read_space(self, *, hold: bool) -> str:
        """``hold``: nobody may replace the table before the transaction ends."""
        return f"SELECT layout, dim, fingerprint, model FROM {self.meta}" + (" FOR SHARE" if hold else "")

    def create(self, dim: int) -> tuple[str, ...]:
        return (
            f"CREATE TABLE {self.table} ({_columns(dim)}, PRIMARY KEY (id))",
            f'CREATE INDEX "{self.name}_source" ON {self.table} (source)',
            f"CREATE TABLE {self.ledger} ({_LEDGER})",
            f"CREATE TABLE {self.meta} (one boolean PRIMARY KEY DEFAULT true CHECK (one), layout int4 NOT NULL, "
            "dim int4 NOT NULL, fingerprint text NOT NULL, model text NOT NULL)",
        )

    def write_space(self) -> str:
        return f"INSERT INTO {self.meta} (layout, dim, fingerprint, model) VALUES (%s, %s, %s, %s)"

    def lock_writer(self) -> str:
        """Held by the session; the server gives it back when the session ends."""
        return f"SELECT pg_advisory_lock(hashtextextended('embedding-sidecar {self.table}', 0))"

    def create_staging(self) -> str:
        return f"CREATE TEMPORARY TABLE IF NOT EXISTS {self.staging} ({_columns(None)}) ON COMMIT DELETE ROWS"

    def create_replacement(self, dim: int) -> tuple[str, ...]:
        return (
            f"DROP TABLE IF EXISTS {self.new_table}, {self.new_ledger}",
            f"CREATE TEMPORARY TABLE {self.new_table} ({_columns(dim)}, PRIMARY KEY (id))",
            f'CREATE INDEX "{self.name}_new_source" ON {self.new_table} (source)',
            f"CREATE TEMPORARY TABLE {self.new_ledger} ({_LEDGER})",
        )

    def replace(self, dim: int) -> tuple[str, ...]:
        """Empty the table and fill it, in the open transaction. Rights and views on it stay as they are."""
        return (
            f"TRUNCATE {self.table}, {self.ledger}, {self.meta}",
            f"DROP INDEX IF EXISTS {self.index}",
            f"ALTER TABLE {self.table} ALTER COLUMN embedding TYPE vector({dim})",
            f"INSERT INTO {self.table} SELECT * FROM {self.new_table}",
            f"INSERT INTO {self.ledger} SELECT * FROM {self.new_ledger}",
            f"DROP TABLE {self.new_table}, {self.new_ledger}",
        )

    def copy(self) -> str:
        return f"COPY {self.staging} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"

    def merge(self, target: str) -> str:
        changed = ", ".join(f"{column} = excluded.{column}" for column in COLUMNS[1:])
        return f"INSERT INTO {target} SELECT * FROM {self.staging} ON CONFLICT (id) DO UPDATE SET {changed}"

    def delete(self, target: str) -> str:
        return f"DELETE FROM {target} WHERE id = ANY(%s)"

    def delete_sources(self, target: str) -> str:
        return f"DELETE FROM {target} WHERE source = ANY(%s)"

    def read_ledger(self) -> str:
        return f"SELECT source, source_hash, chunks FROM {self.ledger}"

    def read_chunks(self) -> str:
        return f"SELECT id, content_hash FROM {self.table} WHERE source = %s"

    def count(self) -> str:
        return f"SELECT count(*) FROM {self.table}"

    def write_ledger(self, ledger: str) -> str:
        return (
            f"INSERT INTO {ledger} (source, source_hash, chunks) "
            "SELECT * FROM unnest(%s::text[], %s::text[], %s::int8[]) ON CONFLICT (source) DO UPDATE "
            "SET source_hash = excluded.source_hash, chunks = excluded.chunks, written_at = excluded.written_at"
        )

    def create_index(self, options: IndexOptions, rows: int) -> str:
        if options.kind is IndexKind.HNSW:
            given = {"m": options.m, "ef_construction": options.ef_construction}
        else:
            given = {"lists": options.lists or max(_MIN_LISTS, rows // _ROWS_A_LIST)}
        parameters = ", ".join(f"{name} = {value}" for name, value in given.items() if value is not None)
        return (
            f'CREATE INDEX "{self.name}_embedding" ON {self.table} USING {options.kind.value} '
            f"(embedding vector_cosine_ops)" + (f" WITH ({parameters})" if parameters else "")
        )

    def search(self) -> str:
        return (
            "SELECT id, embedding <=> %(vector)s::vector AS distance, source, ordinal, text, metadata "
            f"FROM {self.table} ORDER BY embedding <=> %(vector)s::vector LIMIT %(k)s"
        )


_LEDGER = (
    "source text PRIMARY KEY, source_hash text NOT NULL, chunks int8, written_at timestamptz NOT NULL DEFAULT now()"
)


def _columns(dim: int | None) -> str:
    length = "" if dim is None else f"({dim})"
    return (
        "id text NOT NULL, source text NOT NULL, ordinal int4 NOT NULL, content_hash text NOT NULL, "
        f"text text NOT NULL, metadata jsonb NOT NULL, embedding vector{length} NOT NULL"
    )


def check_index(options: IndexOptions, dim: int) -> None:
    """Raise ``StoreError`` (STORE_INDEX_UNSUPPORTED) for an index that pgvector would refuse after hours of work."""
    if options.kind is not IndexKind.NONE and dim > MAX_INDEXED_DIM:
        raise _unsupported(f"at most {MAX_INDEXED_DIM} dimensions", f"{dim}", "Ask the model for fewer dimensions.")
    for name, value, low, high in (
        ("m", options.m, 2, 100),
        ("ef_construction", options.ef_construction, 4, 1000),
        ("lists", options.lists, 1, 32768),
    ):
        if value is not None and not low <= value <= high:
            raise _unsupported(f"{name} from {low} to {high}", f"{value}", "")
    if options.kind is IndexKind.HNSW and (options.ef_construction or 64) < 2 * (options.m or 16):
        raise _unsupported("ef_construction of at least twice m", f"{options.ef_construction or 64}", "")


def _unsupported(wanted: str, found: str, hint: str) -> StoreError:
    return StoreError(StoreCode.STORE_INDEX_UNSUPPORTED, f"Index: wanted {wanted}, found {found}.", hint=hint)
