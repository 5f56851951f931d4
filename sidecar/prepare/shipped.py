"""OpenVINO graphs that a model's own folder holds, as other exporters write them.

They end at the encoder's hidden states or at the finished row; what is missing
is added to the graph from ``modules.json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.prepare.blocks import Blocks, Node
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.library import openvino
from sidecar.prepare.manifest import FOLDER
from sidecar.prepare.pipeline import read_pipeline

#: Names of a finished row among the outputs.
_ROW_NAMES = {"sentence_embedding"}

_BEFORE_ANY = np.float32(-1e9)


def graph_path(folder: Path) -> Path:
    """Return the graph to serve. Raises ``UnsupportedError`` where several are there and none is the plain one."""
    graphs = sorted((folder / FOLDER).glob("*.xml"))
    plain = [path for path in graphs if path.name == "openvino_model.xml"] or graphs
    if len(plain) != 1:
        raise UnsupportedError(f"{len(graphs)} graphs in {folder / FOLDER}")
    return plain[0]


def complete(graph: Any, folder: Path) -> Any:
    """Return ``graph`` with one output, a row a text, adding pooling and later steps where it lacks them.

    Raises ``UnsupportedError`` for inputs or outputs that are not an encoder's.
    """
    names = {name for node in graph.inputs for name in node.get_names()}
    if not {"input_ids", "attention_mask"} <= names:
        raise UnsupportedError(f"inputs {sorted(names)}")
    for output in graph.outputs:
        if output.get_names() & _ROW_NAMES:
            return openvino().Model([output], graph.get_parameters(), "pipeline")
    if len(graph.outputs[0].get_partial_shape()) == 2:
        return openvino().Model([graph.outputs[0]], graph.get_parameters(), "pipeline")
    pipeline = read_pipeline(folder)
    mask = next(node for node in graph.inputs if "attention_mask" in node.get_names())
    states = graph.outputs[0].get_node().input_value(0)
    row = Blocks(fused=True).steps(_pool(states, mask, pipeline.pooling), pipeline.steps)
    return openvino().Model([row], graph.get_parameters(), "pipeline")


def _pool(states: Node, mask: Node, pooling: Sequence[str]) -> Node:
    """Return rows of shape (texts, modes * hidden) from states of shape (texts, width, hidden)."""
    blocks = Blocks(fused=True)
    op = blocks.op
    inside = op.unsqueeze(op.convert(mask, "f32"), blocks.integers(-1))
    total = op.reduce_sum(op.multiply(states, inside), blocks.integers(1))
    count = op.reduce_sum(inside, blocks.integers(1))
    modes = {
        "cls": lambda: blocks.rows(states, blocks.scalar(0), axis=1),
        "max": lambda: op.reduce_max(
            op.add(states, op.multiply(op.subtract(op.constant(np.float32(1)), inside), op.constant(_BEFORE_ANY))),
            blocks.integers(1),
        ),
        "mean": lambda: op.divide(total, count),
        "mean_sqrt_len_tokens": lambda: op.divide(total, op.sqrt(count)),
    }
    if not set(pooling) <= set(modes):
        raise UnsupportedError(f"pooling modes {pooling!r}")
    rows = [modes[mode]() for mode in pooling]
    return rows[0] if len(rows) == 1 else op.concat(rows, -1)
