from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import pytest

from sidecar.api import encoding
from sidecar.engines.base import Float32
from sidecar.outcomes import BadVector


def _vectors(rows: int, dim: int) -> Float32:
    drawn = np.random.default_rng(rows).standard_normal((rows, dim)).astype(np.float32)
    unit: Float32 = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize(
    ("rows", "dim"), [(1, 1), (1, 384), (170, 384), (171, 384), (342, 384), (3, 70_000), (200, 768)]
)
async def test_numbers_survive_whatever_the_pieces(rows: int, dim: int) -> None:
    vectors = _vectors(rows, dim)
    found = json.loads(await encoding.json_object(vectors, {"dim": dim, "truncated": []}))
    assert found["dim"] == dim
    assert np.array_equal(np.array(found["vectors"], np.float32), vectors)


async def test_extreme_numbers_survive() -> None:
    vectors = np.array([[0.0, -0.0, 1e-45, 3.4e38, -1e-7]], np.float32)
    assert np.array_equal(np.array(json.loads(await encoding.json_rows(vectors)), np.float32), vectors)


async def test_a_view_is_written_like_a_copy() -> None:
    vectors = _vectors(8, 16)[::2, :5]
    assert np.array_equal(np.array(json.loads(await encoding.json_rows(vectors)), np.float32), vectors)
    assert np.array_equal(np.frombuffer(encoding.raw(vectors), "<f4").reshape(4, 5), vectors)


async def test_others_get_their_turn_between_pieces() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await encoding.json_rows(_vectors(1000, 384))
    assert turns >= 5
    turns = 0
    await encoding.openai_data(_vectors(1000, 384), as_base64=True)
    assert turns >= 5
    other.cancel()


@pytest.mark.parametrize("as_base64", [False, True])
async def test_openai_rows_have_their_index(as_base64: bool) -> None:
    vectors = _vectors(3, 8)
    data = json.loads(await encoding.openai_data(vectors, as_base64=as_base64))
    assert [row["index"] for row in data] == [0, 1, 2]
    assert {row["object"] for row in data} == {"embedding"}
    for row, vector in zip(data, vectors, strict=True):
        found = np.frombuffer(base64.b64decode(row["embedding"]), "<f4") if as_base64 else row["embedding"]
        assert np.array_equal(np.array(found, np.float32), vector)


def test_shorter_vectors_are_unit_vectors_again() -> None:
    vectors = _vectors(5, 16)
    short = encoding.shortened(vectors, 4)
    assert short.shape == (5, 4)
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    assert np.allclose(short / short[:, :1], vectors[:, :4] / vectors[:, :1], rtol=1e-4)


def test_a_vector_without_a_start_cannot_be_shortened() -> None:
    vectors = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    with pytest.raises(BadVector) as caught:
        encoding.shortened(vectors, 2)
    assert caught.value.index == 1
