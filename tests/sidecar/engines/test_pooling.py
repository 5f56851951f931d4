"""What comes after an encoder, against the definitions; test_families compares whole models."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidecar.engines.pooling import Head
from sidecar.prepare.checkpoint import write_tensors
from sidecar.prepare.pipeline import Dense, Normalize

STATES = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
TEXTS = [STATES[:2], STATES[2:3], STATES[3:]]
ENDS = np.array([2, 3, 9], np.int32)

POOLINGS: dict[str, Callable[[Any], Any]] = {
    "cls": lambda text: text[0],
    "lasttoken": lambda text: text[-1],
    "max": lambda text: text.max(axis=0),
    "mean": lambda text: text.mean(axis=0),
    "mean_sqrt_len_tokens": lambda text: text.sum(axis=0) / math.sqrt(len(text)),
    "weightedmean": lambda text: np.average(text, axis=0, weights=np.arange(1, len(text) + 1)),
}

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("mode", POOLINGS)
def test_a_mode(mode: str) -> None:
    wanted: Any = [POOLINGS[mode](text) for text in TEXTS]
    rows = Head([mode], [], 4).rows(STATES, ENDS)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, wanted, rtol=1e-5, atol=1e-6)


def test_modes_are_joined_in_their_order() -> None:
    head = Head(["max", "cls"], [], 4)
    assert head.dim == 8
    wanted: Any = [[*POOLINGS["max"](text), *POOLINGS["cls"](text)] for text in TEXTS]
    np.testing.assert_allclose(head.rows(STATES, ENDS), wanted, rtol=1e-6)


def test_unit_rows_and_one_that_is_zero() -> None:
    states = np.array([[3, 4], [0, 0]], np.float32)
    rows = Head(["cls"], [Normalize()], 2).rows(states, np.array([1, 2], np.int32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_dense_step(tmp_path: Path, activation: str, bias: bool) -> None:
    choose = np.random.default_rng(2)
    weight, shift = (choose.standard_normal(shape).astype(np.float32) * 3 for shape in ((5, 4), (5,)))
    write_tensors(tmp_path / "model.safetensors", [("linear.weight", weight), ("linear.bias", shift)])
    head = Head(["cls"], [Dense(tmp_path, activation, bias)], 4)
    assert head.dim == 5
    linear = np.array([text[0] @ weight.T + shift * bias for text in TEXTS])
    wanted: Any = np.vectorize(ACTIVATIONS[activation])(linear)
    np.testing.assert_allclose(head.rows(STATES, ENDS), wanted, rtol=1e-4, atol=1e-5)
