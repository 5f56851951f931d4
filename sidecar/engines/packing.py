"""A micro-batch as the inputs of a packed graph (``prepare.graph`` lists them).

Token counts, texts and widths are rounded up to values from finite lists: the
engine keeps buffers and compiled kernels for every shape it has seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sidecar.batching import Buckets
from sidecar.engines.base import Float32, TokenIds
from sidecar.prepare.checkpoint import Checkpoint

#: Tokens are packed up to a multiple of this.
TOKEN_STEP = 16

#: Far below any score, far from the end of every float type's range.
_MASKED = np.float32(-1e9)

#: Distances from which the relative bias no longer tells tokens apart, as MPNet has it.
_MAX_DISTANCE = 128

Inputs = dict[str, npt.NDArray[Any]]


class Packer:
    """Makes graph inputs from token ids.

    Word vectors, ``words`` in ``weights``, stay in the file: they are most of a
    multilingual model, and a micro-batch reads a few hundred of them.
    ``pooling``: the modes that take weights, in order.
    """

    def __init__(
        self,
        weights: Checkpoint,
        words: str,
        buckets: Buckets,
        *,
        pooling: Sequence[str],
        padding_id: int | None = None,
        relative_buckets: int | None = None,
    ) -> None:
        self._weights = weights
        self._words = words
        self._hidden = weights.shape(words)[1]
        self._buckets = buckets
        self._pooling = tuple(pooling)
        self._padding_id = padding_id
        self._distances = None if relative_buckets is None else _distances(buckets.widths[-1], relative_buckets)

    def pack(self, batch: Sequence[TokenIds]) -> Inputs:
        """Return the inputs for ``batch`` of at least one text, none of them without tokens."""
        lengths = np.array([len(ids) for ids in batch], np.int32)
        texts, width = self._buckets.rows_for(len(batch)), self._buckets.width(int(lengths.max()))
        tokens = _rounded(int(lengths.sum()))
        starts = np.zeros(texts, np.int32)
        np.cumsum(lengths[:-1], out=starts[1 : len(batch)])
        places = np.arange(width, dtype=np.int32)
        inside = np.zeros((texts, width), np.bool_)
        inside[: len(batch)] = places < lengths[:, None]
        inputs: Inputs = {
            "words": np.zeros((tokens, self._hidden), np.float32),
            "positions": np.zeros(tokens, np.int32),
            "spread": np.where(inside, starts[:, None] + places, starts[:, None]),
            "mask": np.where(inside, np.float32(0), _MASKED)[:, None, None, :],
            "collect": np.zeros(tokens, np.int32),
        }
        count = int(lengths.sum())
        inputs["words"][:count] = self._weights.rows(self._words, np.concatenate(batch))
        inputs["positions"][:count] = positions_of(batch, self._padding_id)
        inputs["collect"][:count] = np.flatnonzero(inside)
        if self._pooling:
            inputs["weights"] = np.stack([_weights(mode, inside) for mode in self._pooling], axis=1)
        if self._distances is not None:
            inputs["buckets"] = np.ascontiguousarray(self._distances[:width, :width])
        return inputs


def positions_of(batch: Sequence[TokenIds], padding_id: int | None) -> TokenIds:
    """Return each token's row of the position table. ``padding_id``: ``Shape.padding_id``."""
    if padding_id is None:
        return np.concatenate([np.arange(len(ids), dtype=np.int32) for ids in batch])
    counted = [ids != padding_id for ids in batch]
    return np.concatenate([np.cumsum(mask, dtype=np.int32) * mask + padding_id for mask in counted], dtype=np.int32)


def _rounded(tokens: int) -> int:
    return -(-tokens // TOKEN_STEP) * TOKEN_STEP


def _weights(mode: str, inside: npt.NDArray[np.bool_]) -> Float32:
    """Return each place's weight in its text's row, shape ``(texts, width)``."""
    counts = np.maximum(inside.sum(axis=1, keepdims=True), 1).astype(np.float32)
    order = np.arange(1, inside.shape[1] + 1, dtype=np.float32)
    table: Mapping[str, npt.NDArray[Any]] = {
        "cls": order == 1,
        "lasttoken": order == counts,
        "mean": inside / counts,
        "mean_sqrt_len_tokens": inside / np.sqrt(counts),
        "weightedmean": inside * order / (counts * (counts + 1) / 2),
    }
    return np.broadcast_to(table[mode], inside.shape).astype(np.float32)


def _distances(width: int, buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of every distance between two places, shape ``(width, width)``."""
    places = np.arange(width)
    return buckets_of(places[None, :] - places[:, None], buckets)


def buckets_of(apart: npt.NDArray[Any], buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of every distance, as T5 and MPNet count.

    Half of the buckets are for each direction; of these, half are for one
    distance each, and the rest grow with the logarithm.
    """
    half = buckets // 2
    exact = half // 2
    distance = np.abs(apart)
    with np.errstate(divide="ignore"):
        scaled = np.log(distance.astype(np.float32) / exact) / math.log(_MAX_DISTANCE / exact) * (half - exact)
    far = np.minimum(exact + np.maximum(scaled, 0).astype(np.int32), half - 1)
    found: npt.NDArray[np.int32] = np.where(apart > 0, half, 0) + np.where(distance < exact, distance, far)
    return found.astype(np.int32)
