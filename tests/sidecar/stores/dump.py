"""What a store holds, read past its own interface."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

from sidecar.engines.base import Float32
from sidecar.stores import Kind, StoreUrl


class Stored(NamedTuple):
    """One row."""

    source: str
    content_hash: str
    text: str
    metadata: dict[str, Any]
    vector: bytes


class Dump(NamedTuple):
    """A whole table and its ledger: source hash and number of chunks by source."""

    rows: dict[str, Stored]
    ledger: dict[str, tuple[str, int | None]]


def dump(url: StoreUrl) -> Dump:
    """Return everything at ``url``; fails on a row without a vector or a vector without a row."""
    readers = {Kind.SQLITE: _sqlite, Kind.POSTGRES: _postgres, Kind.CHROMA: _chroma}
    return readers[url.kind](url)


def _sqlite(url: StoreUrl) -> Dump:
    apsw, extension = pytest.importorskip("apsw"), pytest.importorskip("sqlite_vec")
    db = apsw.Connection(url.location)
    db.enable_load_extension(True)
    db.load_extension(extension.loadable_path())
    table = url.table
    found = list(
        db.execute(
            f"SELECT r.id, r.source, r.content_hash, r.text, r.metadata, v.embedding FROM {table} r "
            f"JOIN {table}_vectors v ON v.rowid = r.rowid"
        )
    )
    for part in ("", "_vectors"):
        assert db.execute(f"SELECT count(*) FROM {table}{part}").fetchone()[0] == len(found)
    rows = {row[0]: Stored(row[1], row[2], row[3], json.loads(row[4]), row[5]) for row in found}
    ledger = {row[0]: (row[1], row[2]) for row in db.execute(f"SELECT * FROM {table}_sources")}
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    db.close()
    return Dump(rows, ledger)


def _postgres(url: StoreUrl) -> Dump:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(url.location) as db:
        found = db.execute(
            f"SELECT id, source, content_hash, text, metadata, embedding::text FROM {url.table}"
        ).fetchall()
        rows = {row[0]: Stored(row[1], row[2], row[3], row[4], _bytes(json.loads(row[5]))) for row in found}
        states = db.execute(f"SELECT source, source_hash, chunks FROM {url.table}_sources").fetchall()
    return Dump(rows, {row[0]: (row[1], row[2]) for row in states})


def _chroma(url: StoreUrl) -> Dump:
    chromadb = pytest.importorskip("chromadb")
    settings = chromadb.config.Settings(anonymized_telemetry=False)
    client = chromadb.PersistentClient(url.location, settings=settings)
    collections = client.list_collections()
    names = {collection.name for collection in collections}
    whole = {collection.name for collection in collections if (collection.metadata or {}).get("whole")}
    name = f"{url.table}-new" if f"{url.table}-new" in whole else url.table  # a swap that was cut short
    ledger_name = f"{name}-sources" if f"{name}-sources" in names else f"{url.table}-sources"
    found = client.get_collection(name).get(include=["metadatas", "documents", "embeddings"])
    rows = {}
    columns = (found["ids"], found["metadatas"], found["documents"], found["embeddings"])
    for id_, metadata, text, vector in zip(*columns, strict=True):
        own = {name: value for name, value in metadata.items() if not name.startswith("_")}
        rows[id_] = Stored(metadata["_source"], metadata["_hash"], text, own, _bytes(vector))
    states = client.get_collection(ledger_name).get(include=["metadatas"])
    client.close()
    ledger = {
        source: (m["source_hash"], None if m["chunks"] < 0 else m["chunks"])
        for source, m in zip(states["ids"], states["metadatas"], strict=True)
    }
    return Dump(rows, ledger)


def _bytes(vector: Any) -> bytes:
    row: Float32 = np.asarray(vector, np.float32)
    return row.tobytes()
