"""The interface of a store, and the values that go in and out.

A store holds rows of one vector space, and a ledger of the sources they came
from. Both change in one transaction: whenever the writer is killed, the ledger
says exactly which sources are whole. One thread at a time uses a store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from sidecar.engines.base import Float32
from sidecar.program import PROGRAM
from sidecar.stores.codes import StoreCode, StoreError

Scalar = str | int | float | bool

#: Version of the tables' layout; raised when an older reader would err.
LAYOUT = 1

#: A vector whose norm is further from 1 was not normalised.
_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Space:
    """What vectors must share to be compared: length and origin."""

    dim: int
    fingerprint: str
    #: Shown to people; the fingerprint decides.
    model: str


@dataclass(frozen=True, slots=True)
class Row:
    """One chunk of a source."""

    #: Unique in the table, and the same whenever the source is read again.
    id: str
    source: str
    #: Place within the source, from 0.
    ordinal: int
    #: Of text and metadata: equal hashes need no new vector.
    content_hash: str
    text: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceState:
    """A line of the ledger."""

    source: str
    #: Of the source's bytes and of how they were read and cut.
    source_hash: str
    #: Rows of the whole source; None while only a part of it is written.
    chunks: int | None

    @property
    def complete(self) -> bool:
        return self.chunks is not None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call writes: all of it or nothing."""

    rows: Sequence[Row]
    #: Shape ``(len(rows), dim)``, normalised.
    vectors: Float32
    #: Ledger lines of every source that ``rows`` and ``stale`` touch.
    sources: Sequence[SourceState]
    #: Ids of rows that their source no longer has.
    stale: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """One found row; ``score`` is the cosine similarity, 1 is the best."""

    id: str
    score: float
    source: str
    ordinal: int
    text: str
    metadata: Mapping[str, Scalar]


class IndexKind(StrEnum):
    """How a search finds its way. ``none``: it compares with every row, exactly."""

    NONE = "none"
    HNSW = "hnsw"
    IVFFLAT = "ivfflat"


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """Parameters of an index; None: the store's own default."""

    kind: IndexKind
    #: HNSW: links of a node, and candidates looked at while linking it.
    m: int | None = None
    ef_construction: int | None = None
    #: IVFFlat: number of lists.
    lists: int | None = None
    #: Memory that the build may take.
    memory_mb: int | None = None


class Store(Protocol):
    """A table of rows with vectors, and its ledger. Every method raises ``StoreError``."""

    def space(self) -> Space | None:
        """Return the space of the table; None when there is no table yet."""

    def begin(self, space: Space, *, replace: bool = False) -> None:
        """Open a transaction for rows of ``space``.

        The first call takes the table for this writer alone and makes it if it is
        not there. Every call checks the table's dimension and fingerprint before
        anything is written. ``replace``: what is committed takes the place of all
        that the table holds, of whatever space; until then readers see the old rows,
        and further calls go on with the same replacement.
        """

    def upsert(self, batch: Batch) -> None:
        """Write ``batch`` within the open transaction: rows by their id, ledger lines, removals."""

    def remove(self, sources: Sequence[str]) -> int:
        """Remove sources with all their rows, within the open transaction; return the number of rows."""

    def commit(self) -> None:
        """Make everything since ``begin`` durable and visible at once."""

    def rollback(self) -> None:
        """Undo everything since ``begin``. Does nothing when no transaction is open."""

    def sources(self) -> dict[str, SourceState]:
        """Return the ledger by source. A source that is not in it has no rows."""

    def chunks_of(self, source: str) -> dict[str, str]:
        """Return the rows of a source: content hash by id."""

    def count(self) -> int:
        """Return the number of rows."""

    def search(self, vector: Float32, k: int, *, exact: bool = False) -> list[Hit]:
        """Return the ``k`` nearest rows, best first. ``vector`` is normalised, shape ``(dim,)``.

        ``exact``: compare with every row, whatever index there is.
        """

    def supports(self, options: IndexOptions, dim: int) -> None:
        """Raise ``StoreError`` (STORE_INDEX_UNSUPPORTED) for an index that ``build_index`` could not build."""

    def build_index(self, options: IndexOptions) -> None:
        """Build or rebuild the index over what the table holds; ``none`` removes it."""

    def close(self) -> None:
        """End the connection; an open transaction is undone."""


def check_space(found: Space, wanted: Space) -> None:
    """Raise ``StoreError`` unless vectors of ``wanted`` may be compared with those of a table of ``found``."""
    details = {
        "wanted": {"dim": wanted.dim, "fingerprint": wanted.fingerprint, "model": wanted.model},
        "found": {"dim": found.dim, "fingerprint": found.fingerprint, "model": found.model},
    }
    hint = "Use the model that filled the table, name another table, or fill it anew with --replace."
    if found.dim != wanted.dim:
        raise StoreError(
            StoreCode.STORE_DIMENSION_MISMATCH,
            f"Wanted a table of {wanted.dim} dimensions ({wanted.model}), found {found.dim} ({found.model}).",
            hint=hint,
            details=details,
        )
    if found.fingerprint != wanted.fingerprint:
        raise StoreError(
            StoreCode.STORE_FINGERPRINT_MISMATCH,
            f"Wanted a table of fingerprint {wanted.fingerprint} ({wanted.model}), "
            f"found {found.fingerprint} ({found.model}).",
            hint=hint,
            details=details,
        )


def check_layout(found: int, table: str) -> None:
    """Raise ``StoreError`` (STORE_SCHEMA_MISMATCH) for tables of another version."""
    if found != LAYOUT:
        raise StoreError(
            StoreCode.STORE_SCHEMA_MISMATCH,
            f"Table {table}: wanted layout {LAYOUT}, found {found}.",
            hint="Use the version that made the table, or name another table.",
            details={"wanted": LAYOUT, "found": found},
        )


def check_batch(batch: Batch, dim: int) -> None:
    """Raise ``StoreError`` for a batch that would leave the table wrong: nothing of it may be written."""
    if batch.vectors.shape != (len(batch.rows), dim):
        raise _bad(f"wanted vectors of shape {(len(batch.rows), dim)}, found {batch.vectors.shape}")
    if len({row.id for row in batch.rows}) != len(batch.rows):
        raise _bad("an id comes twice")
    known = {state.source for state in batch.sources}
    missing = {row.source for row in batch.rows} - known
    if missing:
        raise _bad(f"no ledger line for {sorted(missing)[0]!r}")
    for row, norm in zip(batch.rows, np.linalg.norm(batch.vectors, axis=1), strict=True):
        if not math.isfinite(norm) or abs(norm - 1) > _NORM_TOLERANCE:
            raise _bad(f"the vector of {row.id!r} has the norm {norm}, wanted 1")


def check_query(vector: Float32, dim: int) -> None:
    """Raise ``StoreError`` unless ``vector`` can be compared with rows of ``dim`` dimensions."""
    if vector.shape != (dim,):
        raise StoreError(
            StoreCode.STORE_DIMENSION_MISMATCH,
            f"Wanted a query of {dim} dimensions, found {vector.shape}.",
            hint="Embed the query with the model that filled the table.",
        )
    if not np.isfinite(vector).all():
        raise _bad("the query vector is not finite")


def no_table(name: str) -> StoreError:
    """Return the error of a read where nothing was ever written."""
    return StoreError(
        StoreCode.STORE_NOT_FOUND,
        f"Wanted a table {name}, found none.",
        hint=f"Fill it first: {PROGRAM} ingest SOURCE --store URL.",
    )


def _bad(why: str) -> StoreError:
    return StoreError(StoreCode.STORE_BAD_BATCH, f"The batch cannot be written: {why}.")
