"""OpenAI's own client and LangChain's, as they are installed, against the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sidecar.options import Options
from tests.sidecar.api.fakes import CARD, DIM, NONCE, Served, TinyEngine, serve

openai: Any = pytest.importorskip("openai")
langchain: Any = pytest.importorskip("langchain_openai")
httpx: Any = pytest.importorskip("httpx")

TOKEN = "a-token-for-this-launch"
TEXTS = ["a b c", "", "Grüße aus Köln 🙂", "a b c"]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    options = Options(model="org/tiny", nonce=NONCE, token=TOKEN)
    async with serve(TinyEngine(replace(CARD, dimensions_allowed=True)), options=options) as running:
        yield running


@pytest.fixture
def base_url(served: Served) -> str:
    return str(served.client.make_url("/v1"))


async def _wanted(served: Served, texts: list[str]) -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with served.client.post("/embed", json={"texts": texts}, headers=headers) as response:
        return np.array((await response.json())["vectors"], np.float32)


def _rows(answer: Any) -> Any:
    return np.array([row.embedding for row in answer.data], np.float32)


async def test_openai_sync(served: Served, base_url: str) -> None:
    def call() -> Any:
        with openai.OpenAI(base_url=base_url, api_key=TOKEN, max_retries=0) as client:
            return client.embeddings.create(model="tiny", input=TEXTS)  # base64 by its own choice

    answer = await asyncio.to_thread(call)
    assert np.array_equal(_rows(answer), await _wanted(served, TEXTS))
    assert [row.index for row in answer.data] == [0, 1, 2, 3]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    assert answer.model == "tiny"


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
async def test_openai_async(encoding_format: str, served: Served, base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=TOKEN, max_retries=0) as client:
        answer = await client.embeddings.create(model="org/tiny", input="a b c", encoding_format=encoding_format)
        short = await client.embeddings.create(model="tiny", input=TEXTS, dimensions=2)
        assert [model.id async for model in await client.models.list()] == ["tiny"]
    if encoding_format == "float":
        assert np.array_equal(_rows(answer), await _wanted(served, ["a b c"]))
    else:
        assert isinstance(answer.data[0].embedding, str)
    assert _rows(short).shape == (4, 2)
    assert np.allclose(np.linalg.norm(_rows(short), axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ({"model": "text-embedding-3-small", "input": "a"}, "NotFoundError", "MODEL_NOT_FOUND"),
        ({"model": "tiny", "input": [[1, 2, 3]]}, "BadRequestError", "INVALID_REQUEST"),
        ({"model": "tiny", "input": []}, "BadRequestError", "INVALID_REQUEST"),
        ({"model": "tiny", "input": "a", "dimensions": DIM + 1}, "BadRequestError", "INVALID_REQUEST"),
    ],
)
async def test_openai_understands_our_errors(arguments: dict[str, Any], error: str, code: str, base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key=TOKEN, max_retries=0) as client:
        with pytest.raises(getattr(openai, error)) as caught:
            await client.embeddings.create(**arguments)
    assert caught.value.code == code
    assert caught.value.param in {"model", "input", "dimensions"}
    assert caught.value.type


async def test_openai_with_a_wrong_key(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.embeddings.create(model="tiny", input="a")


async def test_langchain(served: Served, base_url: str) -> None:
    wanted = await _wanted(served, TEXTS)
    with httpx.Client() as client:  # its own are never closed
        async with httpx.AsyncClient() as async_client:
            embeddings = langchain.OpenAIEmbeddings(
                model="tiny",
                base_url=base_url,
                api_key=TOKEN,
                check_embedding_ctx_length=False,
                max_retries=0,
                http_client=client,
                http_async_client=async_client,
            )
            assert np.array_equal(np.array(await embeddings.aembed_documents(TEXTS), np.float32), wanted)
            assert np.array_equal(np.array(await embeddings.aembed_query(TEXTS[0]), np.float32), wanted[0])
            documents = await asyncio.to_thread(embeddings.embed_documents, TEXTS)
            assert np.array_equal(np.array(documents, np.float32), wanted)
