"""From token states to a text's vector, in numpy: pooling, and the modules after it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sidecar.engines.base import Float32
from sidecar.prepare.checkpoint import Checkpoint
from sidecar.prepare.pipeline import Dense, Step

#: torch's own floor under a norm.
_LEAST_NORM = 1e-12

Int32 = npt.NDArray[np.int32]


class Head:
    """What a pipeline does after its encoder. ``pooling``: rows of several modes are joined in this order."""

    def __init__(self, pooling: Sequence[str], steps: Sequence[Step], hidden: int) -> None:
        """Raises ``Failure`` (MODEL_CORRUPT)."""
        self._pooling = tuple(pooling)
        self._steps: list[Callable[[Float32], Float32]] = []
        #: Numbers of a vector.
        self.dim = hidden * len(self._pooling)
        for step in steps:
            if isinstance(step, Dense):
                weights = Checkpoint(step.folder)
                self.dim = weights.shape("linear.weight")[0]
                self._steps.append(_dense(step, weights))
            else:
                self._steps.append(_unit)

    def rows(self, states: Float32, ends: Int32) -> Float32:
        """Return one row a text for ``states`` of shape (tokens, hidden); ``ends``: past each text's last token."""
        pooled = [_POOLING[mode](states, ends) for mode in self._pooling]
        rows = pooled[0] if len(pooled) == 1 else np.concatenate(pooled, axis=1)
        for step in self._steps:
            rows = step(rows)
        return np.ascontiguousarray(rows, np.float32)


def _starts(ends: Int32) -> Int32:
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1]
    return starts


def _counts(ends: Int32) -> Float32:
    return np.diff(ends, prepend=0).astype(np.float32)[:, None]


def _sum(states: Float32, ends: Int32) -> Float32:
    sums: Float32 = np.add.reduceat(states, _starts(ends), axis=0)
    return sums


def _weighted_mean(states: Float32, ends: Int32) -> Float32:
    """Later tokens weigh more: the first 1, the second 2 and so on."""
    counts = _counts(ends)
    order = np.arange(1, len(states) + 1, dtype=np.float32) - np.repeat(_starts(ends), np.diff(ends, prepend=0))
    weighted = _sum(states * order[:, None], ends) / (counts * (counts + 1) / 2)
    return weighted.astype(np.float32)


_POOLING: Mapping[str, Callable[[Float32, Int32], Float32]] = {
    "cls": lambda states, ends: states[_starts(ends)],
    "lasttoken": lambda states, ends: states[ends - 1],
    "max": lambda states, ends: np.maximum.reduceat(states, _starts(ends), axis=0),
    "mean": lambda states, ends: _sum(states, ends) / _counts(ends),
    "mean_sqrt_len_tokens": lambda states, ends: (_sum(states, ends) / np.sqrt(_counts(ends))).astype(np.float32),
    "weightedmean": _weighted_mean,
}


def _unit(rows: Float32) -> Float32:
    norms = np.sqrt(np.einsum("td,td->t", rows, rows))
    unit: Float32 = rows / np.maximum(norms, np.float32(_LEAST_NORM))[:, None]
    return unit


def _dense(step: Dense, weights: Checkpoint) -> Callable[[Float32], Float32]:
    weight = np.ascontiguousarray(weights["linear.weight"].T)
    bias = weights["linear.bias"] if step.has_bias else np.float32(0)
    activate = _ACTIVATIONS[step.activation]
    return lambda rows: activate(rows @ weight + bias)


def _gelu(x: Float32) -> Float32:
    error = np.array([math.erf(value) for value in (x * math.sqrt(0.5)).flat], np.float32).reshape(x.shape)
    return x * (np.float32(0.5) * (1 + error))


def _sigmoid(x: Float32) -> Float32:
    """In the form that does not overflow."""
    half: Float32 = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))
    return half


_ACTIVATIONS: Mapping[str, Callable[[Float32], Float32]] = {
    "identity": lambda x: x,
    "gelu": _gelu,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
}
