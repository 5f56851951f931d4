from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Busy, Persistent, Refused, TooMany
from sidecar.ingest.http_embedder import HttpEmbedder
from sidecar.options import Options
from tests.sidecar.ingest.fakes import CARD, DIM, SPACE, vectors_of
from tests.sidecar.ingest.servers import Handler, answering, sidecar

GOOD = {"X-Embedding-Shape": f"2,{DIM}", "X-Embedding-Fingerprint": CARD.fingerprint, "X-Embedding-Tokens": "7"}
ROWS = vectors_of(["a", "b"]).astype("<f4").tobytes()


@asynccontextmanager
async def _connected(embed: Handler) -> AsyncIterator[HttpEmbedder]:
    async with answering(embed) as url:
        embedder = await HttpEmbedder.connect(url)
        try:
            yield embedder
        finally:
            await embedder.close()


def _answer(**fields: Any) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(**{"body": ROWS, "headers": GOOD, "content_type": "application/octet-stream", **fields})

    return handler


def _error(
    status: int, code: str, details: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Handler:
    body = {"error": {"code": code, "message": "why", "hint": "next", "details": details or {}}}

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return handler


async def test_a_real_sidecar_gives_its_vectors_and_its_model() -> None:
    async with sidecar() as url:
        embedder = await HttpEmbedder.connect(url)
        try:
            assert (embedder.space, embedder.max_tokens) == (SPACE, CARD.max_tokens)
            texts = ["a", "", "naïve 🙂", "a"]
            answer = await embedder.embed(texts, "document")
            np.testing.assert_allclose(answer.vectors, vectors_of(texts), atol=1e-6)
            assert answer.tokens > 0
        finally:
            await embedder.close()


async def test_a_limit_of_the_server_is_met_by_smaller_requests() -> None:
    async with sidecar(options=Options(max_texts=3)) as url:
        embedder = await HttpEmbedder.connect(url)
        try:
            texts = [f"text {number}" for number in range(10)]
            outcome = await Persistent(embedder).embed(texts)
            np.testing.assert_allclose(outcome.answer.vectors, vectors_of(texts), atol=1e-6)
        finally:
            await embedder.close()


async def test_the_token_is_sent() -> None:
    seen = []

    async def info(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(status=401, text="no")

    async with answering(_answer(), info) as url:
        with pytest.raises(IngestError) as error:
            await HttpEmbedder.connect(url, "secret")
    assert seen == ["Bearer secret"]
    assert error.value.code is IngestCode.EMBEDDER_REFUSED
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("handler", "kind", "check"),
    [
        (_error(503, "NOT_READY", headers={"Retry-After": "2"}), Busy, lambda e: e.retry_after_s == 2 and e.reached),
        (_error(429, "OVERLOADED"), Busy, lambda e: e.retry_after_s is None),
        (_error(504, "TIMEOUT"), Busy, None),
        (_answer(status=502, body=b"<html>bad gateway"), Busy, None),
        (_error(413, "REQUEST_TOO_LARGE"), TooMany, None),
        (_error(422, "POISON_INPUT", {"index": 1, "indices": [1]}), Refused, lambda e: set(e.texts) == {1}),
        (_error(422, "POISON_INPUT", {"index": None, "indices": []}), TooMany, lambda e: e.code == "POISON_INPUT"),
        (_error(422, "POISON_INPUT", {"index": 9}), TooMany, None),
        (_error(500, "INTERNAL_ERROR", {"index": 0, "why": "NaN"}), Refused, lambda e: set(e.texts) == {0}),
        (_error(500, "INTERNAL_ERROR"), TooMany, None),
    ],
)
async def test_answers_that_are_no_vectors_say_what_to_do(
    handler: Handler, kind: type[Exception], check: Callable[[Any], bool] | None
) -> None:
    async with _connected(handler) as embedder:
        with pytest.raises(kind) as error:
            await embedder.embed(["a", "b"], "document")
    assert check is None or check(error.value)


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (_error(401, "UNAUTHORIZED"), IngestCode.EMBEDDER_REFUSED),
        (_error(400, "INVALID_REQUEST"), IngestCode.EMBEDDER_REFUSED),
        (_answer(headers={**GOOD, "X-Embedding-Fingerprint": "other"}), IngestCode.EMBEDDER_CHANGED),
        (_answer(headers={}), IngestCode.EMBEDDER_CHANGED),
        (_answer(headers={**GOOD, "X-Embedding-Shape": f"3,{DIM}"}), IngestCode.EMBEDDER_ANSWER_INVALID),
        (_answer(body=ROWS[:-4]), IngestCode.EMBEDDER_ANSWER_INVALID),
        (_answer(body=b"\xff" * len(ROWS)), IngestCode.EMBEDDER_ANSWER_INVALID),
        (_answer(headers={**GOOD, "X-Embedding-Tokens": "many"}), IngestCode.EMBEDDER_ANSWER_INVALID),
    ],
)
async def test_wrong_answers_end_the_run_with_a_code(handler: Handler, code: IngestCode) -> None:
    async with _connected(handler) as embedder:
        with pytest.raises(IngestError) as error:
            await embedder.embed(["a", "b"], "document")
    assert error.value.code is code
    assert error.value.ends_run


async def test_a_server_that_is_not_there_is_told_apart_from_one_that_is_busy() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Busy) as error:
            await HttpEmbedder.connect(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert not error.value.reached
    with pytest.raises(IngestError) as refused:
        await HttpEmbedder.connect("no address")
    assert refused.value.code is IngestCode.EMBEDDER_UNREACHABLE


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"model_id": "x"}'])
async def test_something_else_at_the_address_is_told(body: bytes) -> None:
    async def info(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with answering(_answer(), info) as url:
        with pytest.raises(IngestError) as error:
            await HttpEmbedder.connect(url)
    assert error.value.code is IngestCode.EMBEDDER_ANSWER_INVALID


async def test_a_connection_cut_within_an_answer_is_tried_again() -> None:
    calls = []

    async def cut_once(request: web.Request) -> web.StreamResponse:
        calls.append(1)
        response = web.StreamResponse(headers=GOOD)
        response.content_length = len(ROWS)
        await response.prepare(request)
        if len(calls) == 1:
            await response.write(ROWS[:10])
            assert request.transport is not None
            request.transport.abort()
        else:
            await response.write(ROWS)
        return response

    async def now(_: float) -> None:
        return None

    async with _connected(cut_once) as embedder:
        outcome = await Persistent(embedder, sleep=now).embed(["a", "b"])
    assert len(calls) == 2
    np.testing.assert_allclose(outcome.answer.vectors, vectors_of(["a", "b"]))
