from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.sidecar.api.fakes import CARD, DIM, Served, TinyEngine, serve


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as running:
        yield running


@pytest.fixture
async def matryoshka() -> AsyncIterator[Served]:
    async with serve(TinyEngine(replace(CARD, dimensions_allowed=True))) as running:
        yield running


async def _call(served: Served, body: Any, status: int = 200) -> Any:
    async with served.client.post("/v1/embeddings", json=body) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def test_the_answer_has_openais_shape(served: Served) -> None:
    answer = await _call(served, {"model": "tiny", "input": ["a b", "c"]})
    assert (answer["object"], answer["model"]) == ("list", "tiny")
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [(row["object"], row["index"]) for row in answer["data"]] == [("embedding", 0), ("embedding", 1)]
    vectors = np.array([row["embedding"] for row in answer["data"]])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


async def test_base64_holds_the_same_numbers(served: Served) -> None:
    plain = await _call(served, {"input": "a b"})
    coded = await _call(served, {"input": "a b", "encoding_format": "base64"})
    found = np.frombuffer(base64.b64decode(coded["data"][0]["embedding"]), "<f4")
    assert np.array_equal(found, np.array(plain["data"][0]["embedding"], np.float32))


async def test_vectors_are_those_of_the_native_call(served: Served) -> None:
    async with served.client.post("/embed", json={"texts": ["a b"]}) as response:
        native = await response.json()
    assert (await _call(served, {"input": "a b"}))["data"][0]["embedding"] == native["vectors"][0]


@pytest.mark.parametrize("name", ["tiny", "org/tiny", None])
async def test_the_model_may_be_named_or_not(name: str | None, served: Served) -> None:
    assert (await _call(served, {"input": "a"} | ({"model": name} if name else {})))["model"] == "tiny"


async def test_another_model_is_not_replaced_by_this_one(served: Served) -> None:
    error = (await _call(served, {"input": "a", "model": "text-embedding-3-small"}, status=404))["error"]
    assert error["code"] == "MODEL_NOT_FOUND"
    assert error["param"] == "model"
    assert "'tiny'" in error["message"]
    assert "text-embedding-3-small" in error["message"]


@pytest.mark.parametrize("wanted", [1, DIM - 1, DIM + 1])
async def test_dimensions_of_a_model_that_has_one_length(wanted: int, served: Served) -> None:
    error = (await _call(served, {"input": "a", "dimensions": wanted}, status=400))["error"]
    assert (error["code"], error["param"]) == ("INVALID_REQUEST", "dimensions")
    assert str(DIM) in error["message"]


async def test_its_own_dimensions_are_always_right(served: Served) -> None:
    assert len((await _call(served, {"input": "a", "dimensions": DIM}))["data"][0]["embedding"]) == DIM


async def test_dimensions_of_a_model_trained_for_it(matryoshka: Served) -> None:
    whole = np.array((await _call(matryoshka, {"input": "a"}))["data"][0]["embedding"])
    short = np.array((await _call(matryoshka, {"input": "a", "dimensions": 2}))["data"][0]["embedding"])
    assert np.allclose(short, whole[:2] / np.linalg.norm(whole[:2]), atol=1e-6)
    await _call(matryoshka, {"input": "a", "dimensions": DIM + 1}, status=400)


async def test_token_ids_are_refused_with_the_reason(served: Served) -> None:
    error = (await _call(served, {"input": [[101, 102]], "model": "tiny"}, status=400))["error"]
    assert "token ids" in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_truncation_is_told_in_a_header(served: Served) -> None:
    body = {"input": ["a", "word " * 40]}
    async with served.client.post("/v1/embeddings", json=body) as response:
        assert response.headers["X-Embedding-Truncated"] == "1"
    assert (await _call(served, {**body, "truncate": False}, status=400))["error"]["code"] == "TEXT_TOO_LONG"


async def test_the_one_model_is_listed(served: Served) -> None:
    async with served.client.get("/v1/models") as response:
        answer = await response.json()
    assert answer["object"] == "list"
    (model,) = answer["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("tiny", "model", "org")
