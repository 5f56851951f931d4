"""Rows and vectors for the tests of the stores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidecar.engines.base import Float32
from sidecar.stores import Batch, Row, SourceState, Space

DIM = 8
SPACE = Space(DIM, "fingerprint-a", "model-a")


def vectors(count: int, *, dim: int = DIM, seed: int = 0) -> Float32:
    """Return ``count`` unit vectors."""
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    unit: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def row(source: str, ordinal: int, text: str = "") -> Row:
    text = text or f"{source} {ordinal}"
    return Row(f"{source}#{ordinal}", source, ordinal, f"hash of {text}", text, {"page": ordinal, "title": "é"})


def batch(
    source: str,
    ordinals: Sequence[int],
    *,
    chunks: int | None,
    dim: int = DIM,
    seed: int = 0,
    text: str = "",
    source_hash: str = "h1",
    stale: Sequence[str] = (),
) -> Batch:
    """Return rows ``ordinals`` of one source, each with a vector of its own."""
    rows = [row(source, ordinal, text and f"{text} {ordinal}") for ordinal in ordinals]
    return Batch(rows, vectors(len(rows), dim=dim, seed=seed), [SourceState(source, source_hash, chunks)], stale)
