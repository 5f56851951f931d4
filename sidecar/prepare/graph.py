"""An encoder as OpenVINO graphs over packed tokens, in the blocks that all families share.

Tokens of all texts of a micro-batch lie behind one another, shape ``(tokens,
hidden)``, so that the matrix products, nine tenths of the work, see no padding.
For attention alone they are spread out to ``(texts, width)`` and collected
again. The layers are cut into stages, one graph each, so that a query can go
between two stages of a long micro-batch. Inputs:

| name        | shape                     | holds                                                       |
|-------------|---------------------------|-------------------------------------------------------------|
| `words`     | (tokens, hidden) f32      | word vectors: the vocabulary stays outside the graph        |
| `states`    | (tokens, hidden) f32      | what the stage before gave; instead of `words` and          |
| `positions` | (tokens) i32              | row of the position table                                   |
| `spread`    | (texts, width) i32        | token at each place; places past a text's end: its first    |
| `mask`      | (texts, 1, 1, width) f32  | 0 for a token, a large negative number past a text's end    |
| `collect`   | (tokens) i32              | place of each token in (texts * width)                      |
| `weights`   | (texts, modes, width) f32 | pooling weight of each place; only where pooling has such   |
| `buckets`   | (width, width) i32        | bucket of the distance; only with a learnt relative bias    |

Places past a text's end hold that text's own first token, so that numbers that
are not finite stay within the text they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidecar.prepare.blocks import Blocks, Node
from sidecar.prepare.checkpoint import Array, Checkpoint
from sidecar.prepare.families import EMBEDDING_NORM, POSITIONS, TOKEN_TYPES, Shape, norm_names
from sidecar.prepare.library import openvino
from sidecar.prepare.pipeline import Step

_TYPES: dict[str, tuple[Sequence[int], Any]] = {
    "positions": ([-1], np.int32),
    "spread": ([-1, -1], np.int32),
    "mask": ([-1, 1, 1, -1], np.float32),
    "collect": ([-1], np.int32),
    "buckets": ([-1, -1], np.int32),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is built beside the encoder itself."""

    pooling: tuple[str, ...]
    steps: tuple[Step, ...]
    max_tokens: int
    #: Layers of each stage, in order.
    stages: tuple[int, ...]

    @property
    def first_only(self) -> bool:
        """Only each text's first token is pooled: the last layer need not compute the others."""
        return self.pooling == ("cls",)

    @property
    def weighted(self) -> tuple[str, ...]:
        """The pooling modes that take weights, in order."""
        return () if self.first_only else tuple(mode for mode in self.pooling if mode != "max")


class Encoder:
    """Builds the graphs of one model. ``fused``: see ``Blocks``."""

    def __init__(self, shape: Shape, weights: Checkpoint, prefix: str, plan: Plan, *, fused: bool) -> None:
        self._shape = shape
        self._weights = weights
        self._prefix = prefix
        self._plan = plan
        self._blocks = Blocks(fused=fused)

    def build(self) -> list[Any]:
        """Return the model of each stage: packed tokens into the first, one row a text out of the last."""
        models, layer = [], 0
        for stage, count in enumerate(self._plan.stages):
            models.append(_Stage(self, stage).build(range(layer, layer + count)))
            layer += count
        return models

    # What the stages are made of.

    @property
    def shape(self) -> Shape:
        return self._shape

    @property
    def plan(self) -> Plan:
        return self._plan

    @property
    def blocks(self) -> Blocks:
        return self._blocks

    def tensor(self, name: str) -> Array:
        """Return a tensor by its name within the encoder."""
        return self._weights[self._prefix + name]

    def linear(self, x: Node, name: str, scale: float = 1.0) -> Node:
        weight, bias = self.tensor(name + ".weight"), self.tensor(name + ".bias")
        if scale != 1.0:
            weight, bias = weight * np.float32(scale), bias * np.float32(scale)
        return self._blocks.linear(x, weight, bias)

    def norm(self, x: Node, name: str) -> Node:
        weight, bias = norm_names(self._prefix + name, self._weights)
        return self._blocks.norm(x, self._weights[weight], self._weights[bias], self._shape.epsilon)


class _Stage:
    """Builds one graph: some layers in a row, what goes before the first and after the last."""

    def __init__(self, encoder: Encoder, number: int) -> None:
        self._encoder = encoder
        self._shape = encoder.shape
        self._blocks = encoder.blocks
        self._first = number == 0
        self._last = number == len(encoder.plan.stages) - 1
        self._inputs: dict[str, Node] = {}

    def build(self, layers: range) -> Any:
        plan = self._encoder.plan
        x = self._embed() if self._first else self._input("states", [-1, self._shape.hidden], np.float32)
        bias = self._bias()
        for layer in layers:
            narrow = plan.first_only and self._last and layer == layers[-1]
            x = self._layer(layer, x, bias, narrow=narrow)
        if self._last:
            x = self._blocks.steps(x if plan.first_only else self._pool(x), plan.steps)
        return openvino().Model([x], list(self._inputs.values()), "encoder")

    def _input(self, name: str, shape: Sequence[int] | None = None, type_: Any = None) -> Node:
        """Return an input, the same one each time."""
        if name not in self._inputs:
            if shape is None:
                shape, type_ = _TYPES[name]
            self._inputs[name] = self._blocks.op.parameter(list(shape), type_, name=name)
        return self._inputs[name]

    def _embed(self) -> Node:
        words = self._input("words", [-1, self._shape.hidden], np.float32)
        table = self._encoder.tensor(POSITIONS)[: self._shape.first_position + self._encoder.plan.max_tokens]
        if self._shape.family.has_token_types:  # one text a row: every token is of type 0
            table = table + self._encoder.tensor(TOKEN_TYPES)[0]
        positions = self._blocks.rows(self._blocks.constant(table), self._input("positions"))
        return self._encoder.norm(self._blocks.op.add(words, positions), EMBEDDING_NORM)

    def _bias(self) -> Node:
        """What is added to attention scores: (texts, 1, 1, width), or (texts, heads, width, width)."""
        mask, name = self._input("mask"), self._shape.family.relative_bias
        if name is None:
            return mask
        blocks, op = self._blocks, self._blocks.op
        by_place = blocks.rows(blocks.constant(self._encoder.tensor(name)), self._input("buckets"))
        by_head = op.transpose(by_place, blocks.integers(2, 0, 1))
        return op.add(mask, op.unsqueeze(by_head, blocks.integers(0)))

    def _layer(self, number: int, x: Node, bias: Node, *, narrow: bool) -> Node:
        """One block. ``narrow``: only each text's first token is wanted, shape (texts, hidden)."""
        encoder, family, op = self._encoder, self._shape.family, self._blocks.op
        at = f"{family.layer}{number}."
        keys = self._heads(encoder.linear(x, at + family.key))
        values = self._heads(encoder.linear(x, at + family.value))
        if narrow:
            x = self._blocks.rows(x, self._blocks.rows(self._input("spread"), self._blocks.scalar(0), axis=1))
        queries = encoder.linear(x, at + family.query, self._blocks.query_scale(self._shape))
        if narrow:
            queries = self._split(op.unsqueeze(queries, self._blocks.integers(1)))
            if family.relative_bias is not None:  # the rows of each text's first token
                bias = self._blocks.rows(bias, self._blocks.integers(0), axis=2)
        else:
            queries = self._heads(queries)
        attended = op.transpose(self._blocks.attend(queries, keys, values, bias), self._blocks.integers(0, 2, 1, 3))
        flat = op.reshape(attended, self._blocks.integers(-1, self._shape.hidden), False)
        if not narrow:
            flat = self._blocks.rows(flat, self._input("collect"))
        x = encoder.norm(op.add(x, encoder.linear(flat, at + family.attention_out)), at + family.attention_norm)
        inner = self._blocks.activate(encoder.linear(x, at + family.feed_in), self._shape.activation)
        return encoder.norm(op.add(x, encoder.linear(inner, at + family.feed_out)), at + family.output_norm)

    def _heads(self, x: Node) -> Node:
        """Packed tokens to (texts, heads, width, head size)."""
        return self._split(self._blocks.rows(x, self._input("spread")))

    def _split(self, x: Node) -> Node:
        blocks, heads = self._blocks, self._shape.heads
        parts = blocks.op.reshape(x, blocks.integers(0, 0, heads, self._shape.hidden // heads), True)
        return blocks.op.transpose(parts, blocks.integers(0, 2, 1, 3))

    def _pool(self, x: Node) -> Node:
        """Packed tokens to rows; those of several modes are joined in their order."""
        blocks, op, plan = self._blocks, self._blocks.op, self._encoder.plan
        places = blocks.rows(x, self._input("spread"))
        parts: dict[str, Node] = {}
        if plan.weighted:
            weights = self._input("weights", [-1, len(plan.weighted), -1], np.float32)
            sums = op.matmul(weights, places, False, False)
            parts = {mode: blocks.rows(sums, blocks.scalar(row), axis=1) for row, mode in enumerate(plan.weighted)}
        if "max" in plan.pooling:
            past_end = op.transpose(op.squeeze(self._input("mask"), blocks.integers(1)), blocks.integers(0, 2, 1))
            parts["max"] = op.reduce_max(op.add(places, past_end), blocks.integers(1))
        joined = [parts[mode] for mode in plan.pooling]
        return joined[0] if len(joined) == 1 else op.concat(joined, -1)
