"""The encoder as an OpenVINO graph over packed tokens, in the blocks that all families share.

Tokens of all texts of a micro-batch lie behind one another, shape ``(tokens,
hidden)``, so that the matrix products, nine tenths of the work, see no padding.
For attention alone they are spread out to ``(texts, width)`` and collected
again. Inputs of the graph, in order:

| name        | shape                     | holds                                                       |
|-------------|---------------------------|-------------------------------------------------------------|
| `words`     | (tokens, hidden) f32      | word vectors: the vocabulary stays outside the graph        |
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

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.prepare.checkpoint import Array, Checkpoint, is_finite
from sidecar.prepare.families import EMBEDDING_NORM, POSITIONS, TOKEN_TYPES, Shape
from sidecar.prepare.library import openvino
from sidecar.prepare.pipeline import Dense, Step

Node = Any  # openvino publishes no types

#: torch's own floor under a norm.
_LEAST_NORM = 1e-12


def finite_half(weights: Checkpoint, name: str) -> Array:
    """Return a tensor as float16. Raises ``Failure`` (MODEL_CONVERSION_FAILED) where float16 does not hold it."""
    half = weights.half(name)
    require_finite(name, half)
    return half


def require_finite(name: str, half: Array) -> None:
    """Raise ``Failure`` (MODEL_CONVERSION_FAILED) when a tensor that became float16 is not finite any more."""
    if not is_finite(half):
        raise Failure(
            ErrorCode.MODEL_CONVERSION_FAILED,
            f"Tensor {name}: wanted numbers that float16 holds, found some beyond 65504 or not numbers at all.",
            hint="Check the model; if it is as it should be, use --engine torch.",
            details={"tensor": name, "wanted": "finite numbers up to 65504", "found": "others"},
        )


class Blocks:
    """The operations that the families are made of."""

    def __init__(self) -> None:
        self.op = openvino().opset15

    def integers(self, *values: int) -> Node:
        return self.op.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> Node:
        return self.op.constant(np.array(value, np.int64))

    def constant(self, values: Array) -> Node:
        """A constant over the very memory of ``values``."""
        return self.op.constant(np.ascontiguousarray(values), shared_memory=True)

    def matrix(self, half: Array) -> Node:
        """A float16 constant that computes as float32."""
        return self.op.convert(self.constant(half), "f32")

    def linear(self, x: Node, weight: Array, bias: Array | None) -> Node:
        """``weight`` is float16; vectors stay float32, since they cost nothing and their rounding shows."""
        product = self.op.matmul(x, self.matrix(weight), False, True)
        return product if bias is None else self.op.add(product, self.constant(bias))

    def norm(self, x: Node, weight: Array, bias: Array, epsilon: float) -> Node:
        op = self.op
        centred = op.mvn(x, self.integers(-1), True, epsilon, "inside_sqrt")
        return op.add(op.multiply(centred, self.constant(weight)), self.constant(bias))

    def activate(self, x: Node, kind: str) -> Node:
        op = self.op
        table: dict[str, Callable[[], Node]] = {
            "identity": lambda: x,
            "gelu": lambda: op.gelu(x, "erf"),
            "gelu_tanh": lambda: op.gelu(x, "tanh"),
            "relu": lambda: op.relu(x),
            "sigmoid": lambda: op.sigmoid(x),
            "silu": lambda: op.swish(x),
            "tanh": lambda: op.tanh(x),
        }
        return table[kind]()

    def rows(self, x: Node, indices: Node, axis: int = 0) -> Node:
        return self.op.gather(x, indices, self.scalar(axis))

    def steps(self, x: Node, steps: Sequence[Step]) -> Node:
        """Add what a pipeline does to rows of shape (texts, dim)."""
        for step in steps:
            x = self._dense(x, step) if isinstance(step, Dense) else self._unit(x)
        return x

    def _unit(self, x: Node) -> Node:
        op = self.op
        norm = op.sqrt(op.reduce_sum(op.multiply(x, x), self.integers(-1), keep_dims=True))
        return op.divide(x, op.maximum(norm, op.constant(np.float32(_LEAST_NORM))))

    def _dense(self, x: Node, step: Dense) -> Node:
        weights = Checkpoint(step.folder)
        bias = weights["linear.bias"] if step.has_bias else None
        return self.activate(self.linear(x, finite_half(weights, "linear.weight"), bias), step.activation)


class Encoder:
    """Builds one model's graph from its checkpoint."""

    def __init__(self, shape: Shape, weights: Checkpoint, prefix: str) -> None:
        self._shape = shape
        self._weights = weights
        self._prefix = prefix
        self._blocks = Blocks()

    def build(self, pooling: Sequence[str], steps: Sequence[Step], max_tokens: int) -> Node:
        """Return the model: packed tokens in, one row a text out."""
        op, hidden = self._blocks.op, self._shape.hidden
        words = op.parameter([-1, hidden], np.float32, name="words")
        positions = op.parameter([-1], np.int32, name="positions")
        spread = op.parameter([-1, -1], np.int32, name="spread")
        mask = op.parameter([-1, 1, 1, -1], np.float32, name="mask")
        collect = op.parameter([-1], np.int32, name="collect")
        inputs = [words, positions, spread, mask, collect]
        bias = mask
        if self._shape.family.relative_bias is not None:
            buckets = op.parameter([-1, -1], np.int32, name="buckets")
            bias = op.add(mask, self._relative_bias(buckets))
        x = self._embed(words, positions, max_tokens)
        first_only = tuple(pooling) == ("cls",)
        for number in range(self._shape.layers):
            last = number == self._shape.layers - 1
            x = self._layer(number, x, spread, bias, None if first_only and last else collect)
        if not first_only:
            x = self._pool(x, spread, mask, pooling, inputs)
        if self._shape.family.relative_bias is not None:
            inputs.append(buckets)
        return openvino().Model([self._blocks.steps(x, steps)], inputs, "encoder")

    def _tensor(self, name: str) -> Array:
        return self._weights[self._prefix + name]

    def _linear(self, x: Node, name: str) -> Node:
        weight = finite_half(self._weights, self._prefix + name + ".weight")
        return self._blocks.linear(x, weight, self._tensor(name + ".bias"))

    def _norm(self, x: Node, name: str) -> Node:
        """Checkpoints converted from TensorFlow call the parameters gamma and beta."""
        old = self._prefix + name + ".gamma" in self._weights
        weight, bias = ("gamma", "beta") if old else ("weight", "bias")
        return self._blocks.norm(
            x, self._tensor(f"{name}.{weight}"), self._tensor(f"{name}.{bias}"), self._shape.epsilon
        )

    def _embed(self, words: Node, positions: Node, max_tokens: int) -> Node:
        table = self._tensor(POSITIONS)[: self._shape.first_position + max_tokens]
        if self._shape.family.has_token_types:  # one text a row: every token is of type 0
            table = table + self._tensor(TOKEN_TYPES)[0]
        blocks = self._blocks
        x = blocks.op.add(words, blocks.rows(blocks.matrix(table.astype(np.float16)), positions))
        return self._norm(x, EMBEDDING_NORM)

    def _relative_bias(self, buckets: Node) -> Node:
        """Shape (1, heads, width, width)."""
        blocks = self._blocks
        table = blocks.constant(self._tensor(str(self._shape.family.relative_bias)))
        by_head = blocks.op.transpose(blocks.rows(table, buckets), blocks.integers(2, 0, 1))
        return blocks.op.unsqueeze(by_head, blocks.integers(0))

    def _layer(self, number: int, x: Node, spread: Node, bias: Node, collect: Node | None) -> Node:
        """One block. ``collect`` None: only each text's first token is wanted, shape (texts, hidden)."""
        family, op = self._shape.family, self._blocks.op
        at = f"{family.layer}{number}."
        keys, values = (self._heads(self._linear(x, at + name), spread) for name in (family.key, family.value))
        if collect is None:
            first = self._blocks.rows(spread, self._blocks.scalar(0), axis=1)
            x = self._blocks.rows(x, first)
            queries = self._split(op.unsqueeze(self._linear(x, at + family.query), self._blocks.integers(1)))
            bias = self._first_query(bias)
        else:
            queries = self._heads(self._linear(x, at + family.query), spread)
        attended = op.transpose(
            op.scaled_dot_product_attention(queries, keys, values, bias), self._blocks.integers(0, 2, 1, 3)
        )
        flat = op.reshape(attended, self._blocks.integers(-1, self._shape.hidden), False)
        if collect is not None:
            flat = self._blocks.rows(flat, collect)
        x = self._norm(op.add(x, self._linear(flat, at + family.attention_out)), at + family.attention_norm)
        inner = self._blocks.activate(self._linear(x, at + family.feed_in), self._shape.activation)
        return self._norm(op.add(x, self._linear(inner, at + family.feed_out)), at + family.output_norm)

    def _heads(self, x: Node, spread: Node) -> Node:
        """Packed tokens to (texts, heads, width, head size)."""
        return self._split(self._blocks.rows(x, spread))

    def _split(self, x: Node) -> Node:
        blocks, heads = self._blocks, self._shape.heads
        parts = blocks.op.reshape(x, blocks.integers(0, 0, heads, self._shape.hidden // heads), True)
        return blocks.op.transpose(parts, blocks.integers(0, 2, 1, 3))

    def _first_query(self, bias: Node) -> Node:
        """The rows of ``bias`` that belong to each text's first token."""
        if self._shape.family.relative_bias is None:
            return bias  # one row already
        return self._blocks.rows(bias, self._blocks.integers(0), axis=2)

    def _pool(self, x: Node, spread: Node, mask: Node, pooling: Sequence[str], inputs: list[Node]) -> Node:
        blocks, op = self._blocks, self._blocks.op
        places = blocks.rows(x, spread)
        weighted = [mode for mode in pooling if mode != "max"]
        parts: dict[str, Node] = {}
        if weighted:
            weights = op.parameter([-1, len(weighted), -1], np.float32, name="weights")
            inputs.append(weights)
            sums = op.matmul(weights, places, False, False)
            parts = {mode: blocks.rows(sums, blocks.scalar(row), axis=1) for row, mode in enumerate(weighted)}
        if "max" in pooling:
            past_end = op.transpose(op.squeeze(mask, blocks.integers(1)), blocks.integers(0, 2, 1))
            parts["max"] = op.reduce_max(op.add(places, past_end), blocks.integers(1))
        joined = [parts[mode] for mode in pooling]
        return joined[0] if len(joined) == 1 else op.concat(joined, -1)
