"""The operations that encoders are made of, in the form that the engine computes fastest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sidecar.prepare.checkpoint import Array, Checkpoint
from sidecar.prepare.families import Shape
from sidecar.prepare.library import openvino
from sidecar.prepare.pipeline import Dense, Step

Node = Any  # openvino publishes no types

#: torch's own floor under a norm.
_LEAST_NORM = 1e-12


class Blocks:
    """Makes nodes of a graph.

    ``fused`` False: nothing is written so that the engine would fuse it into a
    matrix product. In float32 a plain product goes to a kernel whose weights
    are packed once, whatever the number of tokens; a fused one goes to another,
    which packs them twice, once for few tokens and once for many (340 MB more on
    a model of the default's shape) and is a tenth slower. ``fused`` True, for
    bfloat16: products are so fast that each pass over their result shows.
    """

    def __init__(self, *, fused: bool) -> None:
        self.op = openvino().opset15
        self._fused = fused

    def integers(self, *values: int) -> Node:
        return self.op.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> Node:
        return self.op.constant(np.array(value, np.int64))

    def number(self, value: float) -> Node:
        return self.op.constant(np.float32(value))

    def constant(self, values: Array) -> Node:
        """A constant over the very memory of ``values``, which must stay."""
        return self.op.constant(np.ascontiguousarray(values), shared_memory=True)

    def linear(self, x: Node, weight: Array, bias: Array | None) -> Node:
        product = self.op.matmul(x, self.constant(weight), False, True)
        return product if bias is None else self.op.add(product, self.constant(bias))

    def norm(self, x: Node, weight: Array, bias: Array, epsilon: float) -> Node:
        op = self.op
        centred = op.mvn(x, self.integers(-1), True, epsilon, "inside_sqrt")
        return op.add(op.multiply(centred, self.constant(weight)), self.constant(bias))

    def query_scale(self, shape: Shape) -> float:
        """What queries are multiplied with beforehand; the rest is left to ``attend``."""
        return 1.0 if self._fused else 1.0 / math.sqrt(shape.hidden // shape.heads)

    def attend(self, queries: Node, keys: Node, values: Node, bias: Node) -> Node:
        """Attention over (texts, heads, width, head size), ``bias`` added to the scores."""
        if self._fused:
            return self.op.scaled_dot_product_attention(queries, keys, values, bias)
        return self.op.scaled_dot_product_attention(queries, keys, values, bias, self.number(1.0))

    def activate(self, x: Node, kind: str) -> Node:
        op = self.op
        table: dict[str, Callable[[], Node]] = {
            "identity": lambda: x,
            "gelu": lambda: op.gelu(x, "erf") if self._fused else self._gelu(x),
            "gelu_tanh": lambda: op.gelu(x, "tanh"),
            "relu": lambda: op.relu(x),
            "sigmoid": lambda: op.sigmoid(x),
            "silu": lambda: op.swish(x),
            "tanh": lambda: op.tanh(x),
        }
        return table[kind]()

    def _gelu(self, x: Node) -> Node:
        """x * (0.5 - 0.5 * erf(-x / sqrt 2)): with other signs the engine would recognise it, and fuse."""
        op = self.op
        error = op.erf(op.multiply(x, self.number(-math.sqrt(0.5))))
        return op.multiply(op.add(op.multiply(error, self.number(-0.5)), self.number(0.5)), x)

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
        return op.divide(x, op.maximum(norm, self.number(_LEAST_NORM)))

    def _dense(self, x: Node, step: Dense) -> Node:
        weights = Checkpoint(step.folder)
        bias = weights["linear.bias"] if step.has_bias else None
        return self.activate(self.linear(x, weights["linear.weight"], bias), step.activation)
