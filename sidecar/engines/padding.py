"""A micro-batch as the inputs of a padded graph: ids and mask of shape ``(texts, width)``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sidecar.batching import Buckets
from sidecar.engines.base import TokenIds
from sidecar.engines.packing import Inputs


class Padder:
    """Makes graph inputs from token ids. ``names``: the inputs that the graph has."""

    def __init__(self, buckets: Buckets, names: frozenset[str], *, padding_id: int = 0) -> None:
        self._buckets = buckets
        self._names = names
        self._padding_id = padding_id

    def pack(self, batch: Sequence[TokenIds]) -> Inputs:
        """Return the inputs for ``batch`` of at least one text; surplus rows repeat nothing and mean nothing."""
        texts, width = self._buckets.rows_for(len(batch)), self._buckets.width(max(map(len, batch)))
        ids = np.full((texts, width), self._padding_id, np.int64)
        mask = np.zeros_like(ids)
        mask[:, 0] = 1  # a row without any token would divide by zero
        for row, one in enumerate(batch):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        inputs: Inputs = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._names:
            inputs["token_type_ids"] = np.zeros_like(ids)
        if "position_ids" in self._names:
            inputs["position_ids"] = np.broadcast_to(np.arange(width), ids.shape).copy()
        return inputs
