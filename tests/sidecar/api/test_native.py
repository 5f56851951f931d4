from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from preflight.wire import EventType, Stage
from preflight.wire.http import NONCE_HEADER
from sidecar.api.schemas import EmbedRequest
from sidecar.engines.base import Parity
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.outcomes import DeadlinePassed, Limits
from tests.sidecar.api.fakes import BROKEN, CARD, DIM, NAN, NONCE, Served, TinyEngine, serve

LONG = "word " * 40


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as running:
        yield running


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 other threads make it true
            await asyncio.sleep(0.001)


async def _embed(served: Served, body: Any, status: int = 200, **arguments: Any) -> Any:
    async with served.client.post("/embed", json=body, **arguments) as response:
        answer = await response.json()
        assert response.status == status, answer
        return answer


async def test_health_of_a_loaded_model(served: Served) -> None:
    async with served.client.get("/health") as response:
        assert response.status == 200
        assert response.headers[NONCE_HEADER] == NONCE
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.json() == {
            "status": "ok",
            "model": "tiny",
            "dim": DIM,
            "device": "cpu",
            "model_loaded": True,
            "model_loading": False,
            "nonce": NONCE,
            "work": {"done": 0, "queued": 0, "running_tokens": None, "running_age_s": None, "tokens_per_s": None},
        }


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("org/tiny", "tiny"),
        ("embedded", "all-MiniLM-L6-v2"),
        ("/models/mine", "mine"),
        ("paraphrase-multilingual-mpnet-base-v2", "paraphrase-multilingual-mpnet-base-v2"),
    ],
)
async def test_health_before_there_is_a_model(model: str, name: str) -> None:
    async with serve(options=Options(model=model, nonce=NONCE), ready=False) as served:
        for event, stage in [
            (EventType.MODEL_CACHED, "model_resolve"),
            (EventType.DOWNLOAD_STARTED, "downloading"),
            (EventType.DOWNLOAD_PROGRESS, "downloading"),
            (EventType.CONVERSION_FINISHED, "downloading"),
            (EventType.MODEL_LOADED, "sidecar_ready"),
        ]:
            served.service.note(event)
            async with served.client.get("/health") as response:
                assert response.status == 503
                assert response.headers["Retry-After"] == "1"
                body = await response.json()
            assert body == {
                "status": "loading",
                "model": name,
                "dim": None,
                "device": None,
                "model_loaded": False,
                "model_loading": True,
                "nonce": NONCE,
                "work": None,
                "stage": stage,
            }


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/info"), ("GET", "/v1/models"), ("POST", "/embed"), ("POST", "/v1/embeddings")]
)
@pytest.mark.parametrize("draining", [False, True])
async def test_calls_that_need_a_model_are_told_when_to_come_back(method: str, path: str, draining: bool) -> None:
    async with serve(ready=draining) as served:
        served.service.draining = draining
        body = {"texts": ["a"], "input": "a"} if method == "POST" else None
        async with served.client.request(method, path, json=body) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
            error = (await response.json())["error"]
        assert error["code"] == "NOT_READY"
        assert error["retryable"] is True
        assert error["details"]["stage"] == ("ready" if draining else "model_resolve")


async def test_health_says_what_the_engine_does() -> None:
    engine = TinyEngine(gate=threading.Event())
    async with serve(engine) as served:
        call = asyncio.create_task(_embed(served, {"texts": ["one two", "three"]}))
        await _until(lambda: served.service.loaded and served.service.loaded.scheduler.work().running_tokens)
        async with served.client.get("/health") as response:
            work = (await response.json())["work"]
        assert work["done"] == 0
        assert work["running_tokens"] >= 3
        assert work["running_age_s"] >= 0
        assert engine.gate is not None
        engine.gate.set()
        await call
        async with served.client.get("/health") as response:
            assert (await response.json())["work"]["done"] == 2


async def test_an_inference_thread_that_ended_is_not_health(served: Served) -> None:
    assert served.service.loaded is not None
    await served.service.loaded.scheduler.close()
    async with served.client.get("/health") as response:
        assert response.status == 503
        assert (await response.json())["status"] == "broken"


async def test_info_tells_all_there_is_to_know() -> None:
    prompts = Prompts({"query": "q: "})
    async with serve(prompts=prompts) as served, served.client.get("/info") as response:
        body = await response.json()
    assert body["parity"] == {"reference": Parity().reference, "min_cosine": None, "texts": 0}
    assert body["limits"] == {"max_texts": 2048, "max_body_bytes": 16_777_216, "max_tokens": 16, "threads": 1}
    assert body["prompts"] == {"query": "q: "}
    assert (body["model_id"], body["dim"], body["engine"]) == ("org/tiny", DIM, "tiny")
    assert (body["fingerprint"], body["precision"], body["device"]) == (CARD.fingerprint, "f32", "cpu")
    assert body["warnings"] == []


async def test_vectors_come_in_order_and_normalised(served: Served) -> None:
    answer = await _embed(served, {"texts": ["a b c", "", "a", "a b c"]})
    assert (answer["model"], answer["dim"], answer["fingerprint"]) == ("tiny", DIM, CARD.fingerprint)
    assert answer["usage"] == {"tokens": 5 + 2 + 3 + 5}
    assert answer["truncated"] == []
    vectors = np.array(answer["vectors"], np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(vectors[0], vectors[3])
    raw = np.array((await _embed(served, {"texts": ["a b c", "", "a"], "normalize": False}))["vectors"], np.float32)
    assert raw[:, 1].tolist() == [5, 2, 3], "the model's own numbers"
    assert np.allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), vectors[:3], atol=1e-6)


async def test_raw_rows(served: Served) -> None:
    texts = ["a b c", LONG, "a"]
    wanted = (await _embed(served, {"texts": texts}))["vectors"]
    headers = {"Accept": "application/json;q=0.5, application/octet-stream"}
    async with served.client.post("/embed", json={"texts": texts}, headers=headers) as response:
        assert response.content_type == "application/octet-stream"
        assert response.headers["X-Embedding-Shape"] == f"3,{DIM}"
        assert response.headers["X-Embedding-Fingerprint"] == CARD.fingerprint
        assert response.headers["X-Embedding-Tokens"] == str(5 + 16 + 3)
        assert response.headers["X-Embedding-Truncated"] == "1"
        rows = np.frombuffer(await response.read(), "<f4").reshape(3, DIM)
    assert np.array_equal(rows, np.array(wanted, np.float32))


@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/json", "application/octet-stream;q=0", ""])
async def test_json_unless_raw_is_asked_for_by_name(accept: str, served: Served) -> None:
    async with served.client.post("/embed", json={"texts": ["a"]}, headers={"Accept": accept}) as response:
        assert response.content_type == "application/json"


async def test_truncation_is_told_or_refused(served: Served) -> None:
    assert (await _embed(served, {"texts": ["a", LONG, "b", LONG]}))["truncated"] == [1, 3]
    error = (await _embed(served, {"texts": ["a", LONG], "truncate": False}, status=400))["error"]
    assert error["code"] == "TEXT_TOO_LONG"
    assert error["details"] == {"index": 1, "tokens": 42, "max_tokens": 16}


@pytest.mark.parametrize(
    ("input_type", "seen"), [(None, "default: a"), ("query", "query: a"), ("document", "passage: a")]
)
async def test_prompts_go_before_the_text(input_type: str | None, seen: str) -> None:
    prompts = Prompts({"query": "query: ", "passage": "passage: "}, "default: ")
    async with serve(prompts=prompts) as served:
        await _embed(served, {"texts": ["a"], "input_type": input_type})
        assert served.engine.seen == [seen]


async def test_a_row_that_is_no_vector_is_an_error(served: Served) -> None:
    error = (await _embed(served, {"texts": ["a", NAN]}, status=500))["error"]
    assert error["code"] == "INTERNAL_ERROR"
    assert error["details"]["index"] == 1
    assert "vectors" not in error


async def test_an_engine_that_fails_fails_one_call(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    error = (await _embed(served, {"texts": [BROKEN]}, status=500))["error"]
    assert error["code"] == "INTERNAL_ERROR"
    assert (await _embed(served, {"texts": ["a"]}))["dim"] == DIM
    assert "the engine is broken" in caplog.text


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"{", 400, "PARSE_ERROR"),
        (b'{"texts": ["\xff"]}', 400, "PARSE_ERROR"),
        (b"[1]", 400, "INVALID_REQUEST"),
        (b'{"texts": ["a", "\\ud800"]}', 400, "INVALID_REQUEST"),
        (b'{"texts": [' + b'"a",' * 2048 + b'"a"]}', 413, "REQUEST_TOO_LARGE"),
        (b'{"texts": ["' + b"x" * 17_000_000 + b'"]}', 413, "REQUEST_TOO_LARGE"),
    ],
)
async def test_bad_bodies_are_named(data: bytes, status: int, code: str, served: Served) -> None:
    headers = {"Content-Type": "application/json"}
    async with served.client.post("/embed", data=io.BytesIO(data), headers=headers) as response:
        assert response.status == status
        error = (await response.json())["error"]
    assert error["code"] == code
    assert error["hint"]
    assert (await _embed(served, {"texts": ["still here"]}))["dim"] == DIM


async def test_a_body_without_a_length_has_the_same_limit() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 1024

    async with serve(options=Options(max_body_bytes=32 * 1024, nonce=NONCE)) as served:
        headers = {"Content-Type": "application/json"}
        async with served.client.post("/embed", data=chunks(), headers=headers) as response:
            assert response.status == 413
            error = (await response.json())["error"]
    assert "32768 bytes" in error["message"]


async def test_a_deadline_that_passes() -> None:
    async with serve(TinyEngine(gate=threading.Event())) as served:
        with pytest.raises(DeadlinePassed):
            await served.service.embed(EmbedRequest(["a"]), 0.02)


async def test_a_bad_deadline_is_refused(served: Served) -> None:
    answer = await _embed(served, {"texts": ["a"]}, status=400, headers={"X-Request-Timeout": "soon"})
    assert answer["error"]["param"] == "X-Request-Timeout"


async def test_a_full_queue_says_when_to_come_back() -> None:
    engine = TinyEngine(gate=threading.Event())
    async with serve(engine, limits=Limits(bulk_texts=4, interactive_texts=2)) as served:
        first = asyncio.create_task(_embed(served, {"texts": ["a", "b"]}))
        await _until(lambda: engine.seen)
        async with served.client.post("/embed", json={"texts": ["c"]}) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) >= 1
            assert (await response.json())["error"]["code"] == "OVERLOADED"
        assert engine.gate is not None
        engine.gate.set()
        await first


async def test_texts_of_a_client_that_left_are_not_embedded() -> None:
    engine = TinyEngine(gate=threading.Event())
    async with serve(engine) as served:
        loaded = served.service.loaded
        assert loaded is not None
        running = asyncio.create_task(_embed(served, {"texts": ["running"]}))
        await _until(lambda: loaded.scheduler.work().running_tokens)
        leaving = asyncio.create_task(_embed(served, {"texts": ["waiting one", "waiting two"]}))
        await _until(lambda: loaded.scheduler.work().queued == 2)
        leaving.cancel()
        await _until(lambda: loaded.scheduler.work().queued == 0)
        assert engine.gate is not None
        engine.gate.set()
        await running
        await _until(lambda: served.service.under_way == 0)
        assert loaded.scheduler.work().done == 1
        assert served.service.answered["/embed", "POST", 499] == 1


async def test_the_stage_of_a_ready_service_is_the_last(served: Served) -> None:
    assert served.service.stage is Stage.READY
