"""Where vectors are kept: SQLite, PostgreSQL or Chroma behind one small interface.

``open_store`` is the way in; ``base`` holds the interface.
"""

from __future__ import annotations

from sidecar.stores.base import Batch, Hit, IndexKind, IndexOptions, Row, SourceState, Space, Store
from sidecar.stores.codes import STORE_CODES, CodedError, DependencyMissing, StoreCode, StoreError
from sidecar.stores.url import Kind, StoreUrl, parse, redacted

__all__ = [
    "STORE_CODES",
    "Batch",
    "CodedError",
    "DependencyMissing",
    "Hit",
    "IndexKind",
    "IndexOptions",
    "Kind",
    "Row",
    "SourceState",
    "Space",
    "Store",
    "StoreCode",
    "StoreError",
    "StoreUrl",
    "open_store",
    "parse",
    "redacted",
]


def open_store(url: StoreUrl) -> Store:
    """Connect to the store at ``url``. Makes nothing yet. Raises ``StoreError``, ``DependencyMissing``."""
    if url.kind is Kind.SQLITE:
        from sidecar.stores.sqlite import SqliteStore

        return SqliteStore(url.location, url.table)
    if url.kind is Kind.POSTGRES:
        from sidecar.stores.postgres import PostgresStore

        return PostgresStore(url.location, url.table)
    from sidecar.stores.chroma import ChromaStore

    return ChromaStore(url)
