"""The remote engine against servers that answer as no server should, and against a sidecar of our own."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from preflight.wire import ErrorCode
from sidecar.engines.remote import RemoteOptions, RemoteScheduler, add_arguments, connect, find_key, options_of
from sidecar.engines.remote.answers import InvalidAnswer, read_rows
from sidecar.engines.remote.batches import requests, shorter
from sidecar.engines.remote.caller import Caller
from sidecar.engines.remote.errors import clean
from sidecar.engines.remote.pacing import Budget, Pace, retry_after, wait_before
from sidecar.engines.remote.providers import RequestLimits, price_of, request_limits
from sidecar.engines.remote.scheduler import fingerprint
from sidecar.failures import Failure
from sidecar.outcomes import BadVector, Closed, DeadlinePassed, Limits, Overloaded, SchedulerError, TextTooLong
from tests.sidecar.ingest.fakes import CARD, DIM, vector_of, vectors_of
from tests.sidecar.ingest.servers import listening, sidecar

pytest.importorskip("openai")

KEY = "sk-test-0123456789abcdef"
PROBE = "The first request tells the dimensions."

Reply = Callable[[web.Request, Sequence[str]], Awaitable[web.StreamResponse]]


def _rows(texts: Sequence[str], encoded: bool) -> list[dict[str, Any]]:
    def value(text: str) -> Any:
        row = vector_of(text)
        return base64.b64encode(row.astype("<f4").tobytes()).decode() if encoded else row.tolist()

    return [{"object": "embedding", "index": index, "embedding": value(text)} for index, text in enumerate(texts)]


def _good(texts: Sequence[str], encoded: bool = True) -> dict[str, Any]:
    tokens = sum(map(len, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": _rows(texts, encoded), "model": "m", "usage": usage}


def _error(status: int, message: str = "why", code: str | None = None, **headers: str) -> Reply:
    async def reply(_: web.Request, __: Sequence[str]) -> web.Response:
        body = {"error": {"message": message, "type": "t", "param": None, "code": code}}
        return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return reply


def _changed(change: Callable[[dict[str, Any]], None]) -> Reply:
    async def reply(_: web.Request, texts: Sequence[str]) -> web.Response:
        body = _good(texts, encoded=False)
        change(body)
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")

    return reply


async def _html(_: web.Request, __: Sequence[str]) -> web.Response:
    return web.Response(body=b"<html>welcome to the proxy", content_type="text/html")


async def _abort(request: web.Request, _: Sequence[str]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _late(_: web.Request, texts: Sequence[str]) -> web.Response:
    await asyncio.sleep(60)
    return web.json_response(_good(texts))


class Provider:
    """A server whose next answers are told beforehand; right ones when nothing is."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[list[str]] = []
        self.bodies: list[Mapping[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.most_items = 10_000
        self.most_chars = 10_000_000
        self.under_way = 0
        self.most_under_way = 0
        self.choose: Callable[[], Reply | None] = lambda: None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        texts = body["input"]
        self.seen.append(texts)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            reply = self.replies.pop(0) if self.replies else self.choose()
            return await (reply or self._usual)(request, texts)
        finally:
            self.under_way -= 1

    async def _usual(self, request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        if len(texts) > self.most_items:
            return await _error(422, f"batch size {len(texts)} > maximum allowed batch size {self.most_items}")(
                request, texts
            )
        if any(len(text) > self.most_chars for text in texts):
            return await _error(400, "This model's maximum context length is 8192 tokens")(request, texts)
        if "" in texts:
            return await _error(400, "input cannot be an empty string")(request, texts)
        return web.json_response(_good(texts))


@asynccontextmanager
async def _serving(**options: Any) -> AsyncIterator[tuple[Provider, RemoteScheduler, list[float]]]:
    """Yield a provider, a scheduler that is connected to it, and the seconds it was made to sleep."""
    provider, slept = Provider(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    app = web.Application(client_max_size=1 << 28)
    app.add_routes([web.post("/v1/embeddings", provider.handle)])
    async with listening(app) as url:
        wanted = RemoteOptions(f"{url}/v1", "m", **options)
        caller = Caller(wanted, KEY, price=0.5, sleep=sleep, jitter=lambda: 0.5)
        made = await connect(wanted, KEY, caller=caller)
        provider.seen.clear()
        provider.bodies.clear()
        provider.headers.clear()
        try:
            yield provider, made.scheduler, slept
        finally:
            await made.scheduler.close()


TEXTS = ["a", "b", "naïve 🙂", "a", "c"]


async def test_vectors_come_in_order_and_equal_texts_are_sent_once() -> None:
    async with _serving() as (provider, scheduler, _):
        found = await scheduler.embed(TEXTS, prompt="p: ")
        np.testing.assert_allclose(found.vectors, vectors_of("p: " + text for text in TEXTS), atol=1e-6)
        assert provider.seen == [["p: a", "p: b", "p: naïve 🙂", "p: c"]]
        assert provider.bodies[0]["encoding_format"] == "base64"
        assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert (await scheduler.embed([])).vectors.shape == (0, DIM)
        usage = scheduler.usage
        assert usage.tokens == found.tokens + len(PROBE)
        assert usage.cost_usd == pytest.approx(usage.tokens * 0.5 / 1e6)


async def test_the_empty_string_is_a_text() -> None:
    async with _serving() as (_, scheduler, __):
        np.testing.assert_allclose((await scheduler.embed([""])).vectors, vectors_of([" "]), atol=1e-6)


async def test_rows_in_another_order_come_back_in_ours() -> None:
    async with _serving() as (provider, scheduler, _):
        provider.replies = [_changed(lambda body: body["data"].reverse())]
        found = await scheduler.embed(["a", "b", "c"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a", "b", "c"]), atol=1e-6)


def _drop_row(body: dict[str, Any]) -> None:
    del body["data"][0]


def _double_index(body: dict[str, Any]) -> None:
    body["data"][0]["index"] = 1


def _short_row(body: dict[str, Any]) -> None:
    body["data"][0]["embedding"] = body["data"][0]["embedding"][:-1]


@pytest.mark.parametrize(
    "reply",
    [
        *(_html, _changed(_drop_row), _changed(_double_index), _changed(_short_row)),
        _changed(lambda body: body["data"][0].update(index="0")),
        _changed(lambda body: body["data"][0].update(embedding=None)),
        _changed(lambda body: body["data"][0].update(embedding="no base64!")),
        _changed(lambda body: body["data"][0].update(embedding=[True] * DIM)),
        _changed(lambda body: body.update(data={})),
        _changed(lambda body: body["data"].append(body["data"][0])),
    ],
)
async def test_an_answer_that_makes_no_sense_is_asked_for_once_more_and_then_told(reply: Reply) -> None:
    async with _serving() as (provider, scheduler, _):
        provider.replies = [reply]
        found = await scheduler.embed(["a", "b"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a", "b"]), atol=1e-6)
        provider.replies = [reply, reply]
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a", "b"])
        assert error.value.code is ErrorCode.HTTP_ERROR
        assert provider.replies == []


@pytest.mark.parametrize(("row", "index"), [([1e300] + [0.0] * (DIM - 1), 1), ([0.0] * DIM, 1), ([3.4e38] * DIM, 1)])
async def test_a_row_that_is_no_vector_names_its_text(row: list[float], index: int) -> None:
    async with _serving() as (provider, scheduler, _):
        provider.replies = [_changed(lambda body: body["data"][index].update(embedding=row))]
        with pytest.raises(BadVector) as error:
            await scheduler.embed(["a", "b", "c"])
        assert error.value.index == index


async def test_nan_in_json_is_no_json() -> None:
    nan = _changed(lambda body: body["data"][1]["embedding"].__setitem__(3, float("nan")))
    async with _serving() as (provider, scheduler, _):
        provider.replies = [nan, nan]
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a", "b"])
        assert error.value.code is ErrorCode.HTTP_ERROR


async def test_nan_in_base64_names_its_text() -> None:
    rows = np.full(DIM, np.nan, "<f4")

    def change(body: dict[str, Any]) -> None:
        body["data"][1]["embedding"] = base64.b64encode(rows.tobytes()).decode()

    async with _serving() as (provider, scheduler, _):
        provider.replies = [_changed(change)]
        with pytest.raises(BadVector) as error:
            await scheduler.embed(["a", "b", "b2"])
        assert error.value.index == 1


@pytest.mark.parametrize(
    ("reply", "slept"),
    [
        (_error(429, retry_after="7"), [7.0]),
        (_error(429, retry_after_ms="250"), [0.25]),
        (_error(429), [0.5]),
        (_error(500), [0.5]),
        (_error(503, retry_after="2"), [2.0]),
        (_error(408), [0.5]),
        (_abort, [0.5]),
    ],
)
async def test_what_passes_is_tried_again_when_the_provider_says(reply: Reply, slept: list[float]) -> None:
    async with _serving() as (provider, scheduler, waited):
        provider.replies = [reply]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        assert waited[:1] == pytest.approx(slept)
        assert scheduler.usage.retries == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (_error(429), ErrorCode.OVERLOADED),
        (_error(500), ErrorCode.NOT_READY),
        (_abort, ErrorCode.NOT_READY),
    ],
)
async def test_what_does_not_pass_ends_with_a_code(reply: Reply, code: ErrorCode) -> None:
    async with _serving() as (provider, scheduler, waited):
        provider.choose = lambda: reply
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a"])
        assert error.value.code is code
        assert len(provider.seen) == 8
        assert waited == sorted(waited)
        assert scheduler.usage.failures == 1


async def test_a_provider_that_is_down_is_not_buried_under_retries() -> None:
    async with _serving() as (provider, scheduler, _):
        provider.choose = lambda: _error(500)
        for _ in range(40):
            with pytest.raises(SchedulerError):
                await scheduler.embed(["a"])
        assert len(provider.seen) <= 40 + 20 + 0.2 * 40 + 1


@pytest.mark.parametrize(
    "reply",
    [
        _error(401, f"Incorrect API key provided: {KEY}"),
        _error(404, "The model `m` does not exist"),
        _error(400, "something else"),
        _error(429, "You exceeded your current quota", code="insufficient_quota"),
        _error(307, location="http://127.0.0.1:1/elsewhere"),
    ],
)
async def test_what_does_not_help_to_ask_again_is_asked_once(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sidecar"):
        async with _serving() as (provider, scheduler, slept):
            provider.replies = [reply]
            with pytest.raises(SchedulerError) as error:
                await scheduler.embed(["a"])
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert (len(provider.seen), slept) == (1, [])
    assert KEY not in str(error.value)
    assert KEY not in caplog.text


async def test_no_answer_in_time_is_tried_again_and_told() -> None:
    async with _serving(timeout=0.1) as (provider, scheduler, _):
        provider.replies = [_late]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        provider.replies = [_late]
        with pytest.raises(DeadlinePassed):
            await scheduler.embed(["a"], deadline_s=0.05)


async def test_requests_keep_the_providers_limits_and_learn_them() -> None:
    async with _serving(max_items=50) as (provider, scheduler, _):
        provider.most_items = 8
        texts = [f"text {number}" for number in range(200)]
        found = await scheduler.embed(texts)
        np.testing.assert_allclose(found.vectors, vectors_of(texts), atol=1e-6)
        provider.seen.clear()
        await scheduler.embed(texts)
        assert max(map(len, provider.seen)) <= 8  # learnt
        assert provider.most_under_way <= 4


async def test_a_text_alone_that_is_too_much_is_told() -> None:
    async with _serving() as (provider, scheduler, _):
        provider.choose = lambda: _error(413)
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a"])
        assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED


async def test_a_text_that_is_too_long_is_cut_to_what_fits_and_told() -> None:
    async with _serving() as (provider, scheduler, _):
        provider.most_chars = 1000
        texts = ["short", "x" * 5000, "also short", "y" * 200_000]
        found = await scheduler.embed(texts)
        assert found.truncated == (1, 3)
        sent = {text[0]: text for one in provider.seen for text in one if len(text) <= 1000}
        assert 700 < len(sent["x"]) <= 1000
        np.testing.assert_allclose(found.vectors[1], vector_of(sent["x"]), atol=1e-6)
        np.testing.assert_allclose(found.vectors[[0, 2]], vectors_of(["short", "also short"]), atol=1e-6)
        with pytest.raises(TextTooLong) as error:
            await scheduler.embed(texts, truncate=False)
        assert error.value.index in {1, 3}


async def test_a_server_without_base64_is_asked_for_numbers() -> None:
    async with _serving() as (provider, scheduler, _):
        provider.replies = [_error(400, "unsupported encoding_format: base64")]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        assert [body["encoding_format"] for body in provider.bodies] == ["base64", "float"]


async def test_dimensions_are_asked_for_and_checked() -> None:
    async with _serving(dimensions=DIM) as (provider, scheduler, _):
        await scheduler.embed(["a"])
        assert provider.bodies[0]["dimensions"] == DIM
    with pytest.raises(Failure) as error:
        async with _serving(dimensions=DIM - 1):
            pass
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED


async def test_rows_that_are_not_normalised_are_when_asked() -> None:
    def double(body: dict[str, Any]) -> None:
        body["data"][0]["embedding"] = [2 * number for number in body["data"][0]["embedding"]]

    async with _serving() as (provider, scheduler, _):
        provider.choose = lambda: _changed(double)
        np.testing.assert_allclose((await scheduler.embed(["a"])).vectors, vectors_of(["a"]), atol=1e-6)
        raw = await scheduler.embed(["a"], normalize=False)
        np.testing.assert_allclose(raw.vectors, 2 * vectors_of(["a"]), atol=1e-6)


async def test_admission_and_the_end() -> None:
    async with _serving() as (provider, scheduler, _):
        scheduler._limits = Limits(bulk_texts=10)
        provider.choose = lambda: _late
        tasks = [asyncio.create_task(scheduler.embed(["a"] * 9, priority="bulk")) for _ in range(2)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(done.pop().exception(), Overloaded)
        assert scheduler.work().queued == 9
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert scheduler.work().queued == 0
        await scheduler.close()
        with pytest.raises(Closed):
            await scheduler.embed(["a"])
        assert not scheduler.work().alive


async def test_faults_of_every_kind_give_right_vectors_or_a_code() -> None:
    randomness = random.Random(4)
    faults: list[Reply | None] = [
        *(_error(429, retry_after="1"), _error(429), _error(500), _error(503), _html, _abort),
        *(_changed(_drop_row), _changed(_double_index), _changed(lambda body: body["data"].reverse())),
        _changed(lambda body: body["data"][0]["embedding"].__setitem__(0, float("nan"))),
        *([None] * 8),
    ]
    async with _serving(max_items=3) as (provider, scheduler, _):
        provider.choose = lambda: randomness.choice(faults)
        right, wrong = 0, 0

        async def one(number: int) -> None:
            nonlocal right, wrong
            texts = [f"{number} {part}" for part in range(number % 7 + 1)]
            try:
                found = await scheduler.embed(texts)
            except SchedulerError as error:
                assert isinstance(error.code, ErrorCode)
                wrong += 1
            else:
                np.testing.assert_allclose(found.vectors, vectors_of(texts), atol=1e-6)
                right += 1

        for start in range(0, 60, 6):
            await asyncio.gather(*(one(number) for number in range(start, start + 6)))
        assert right + wrong == 60
        assert right > 10


async def test_a_sidecar_of_our_own_as_provider() -> None:
    async with sidecar() as url:
        made = await connect(RemoteOptions(f"{url}/v1", CARD.model_id), None)
        try:
            found = await made.scheduler.embed(TEXTS)
            np.testing.assert_allclose(found.vectors, vectors_of(TEXTS), atol=1e-6)
            card = made.engine.card
            assert (card.dim, card.engine, card.device) == (DIM, "remote", url.removeprefix("http://"))
            assert card.fingerprint != CARD.fingerprint
        finally:
            await made.scheduler.close()
            made.engine.close()


async def test_a_provider_that_is_not_there_is_told_at_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        options = RemoteOptions(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "m", deadline=0.01)
        with pytest.raises(Failure) as error:
            await connect(options, KEY)
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert KEY not in str(error.value) + str(error.value.details)


def test_the_fingerprint_tells_providers_models_and_lengths_apart() -> None:
    all_of_them = {fingerprint(h, m, d) for h in ("a", "b") for m in ("m", "n") for d in (8, 16)}
    assert len(all_of_them) == 8
    assert fingerprint("a", "m", 8) == fingerprint("a", "m", 8)


def test_the_key_comes_from_the_environment_and_only_where_nobody_reads_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engines.remote.options._from_keyring", lambda _: None)
    openai, other, local = "https://api.openai.com/v1", "https://example.org/v1", "http://127.0.0.1:1/v1"
    environ = {"OPENAI_API_KEY": "o"}
    assert (find_key(openai, environ), find_key(other, environ), find_key(local, environ)) == ("o", None, None)
    own = {"SIDECAR_REMOTE_KEY": "s", "OPENAI_API_KEY": "o"}
    assert (find_key(openai, own), find_key(other, own), find_key(local, own)) == ("s", "s", "s")
    with pytest.raises(Failure):
        find_key("http://example.org/v1", own)
    assert find_key("http://example.org/v1", {}) is None


def test_the_key_may_come_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Ring:
        @staticmethod
        def get_password(service: str, user: str) -> str:
            asked.append((service, user))
            return "ring"

    monkeypatch.setitem(__import__("sys").modules, "keyring", Ring)
    assert find_key("https://example.org:8443/v1", {}) == "ring"
    assert asked == [("embedding-sidecar", "example.org:8443")]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "example.org/v1"},
        {"url": "ftp://example.org"},
        {"url": "https://user:secret@example.org/v1"},
        {"model": " "},
        {"dimensions": 0},
        {"timeout": float("nan")},
        {"concurrency": 0},
        {"price": -1.0},
    ],
)
def test_options_that_cannot_be_meant_are_told(fields: dict[str, Any]) -> None:
    with pytest.raises(Failure) as error:
        RemoteOptions(**{"url": "https://example.org/v1", "model": "m", **fields})
    assert error.value.code is ErrorCode.INVALID_REQUEST
    assert "secret" not in str(error.value)


def test_arguments() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert options_of(parser.parse_args([])) is None
    found = options_of(parser.parse_args(["--remote-model", "text-embedding-3-small", "--remote-dimensions", "256"]))
    assert found == RemoteOptions("https://api.openai.com/v1", "text-embedding-3-small", 256)
    with pytest.raises(Failure):
        options_of(parser.parse_args(["--remote-url", "https://example.org"]))
    assert "key" not in {action.dest.rpartition("_")[2] for action in parser._actions}


def test_what_is_known_of_providers() -> None:
    assert request_limits("https://api.openai.com/v1").items == 2048
    assert request_limits("http://localhost:8080").items == 32
    assert price_of("https://api.openai.com/v1", "text-embedding-3-large") == 0.13
    assert price_of("http://localhost/v1", "text-embedding-3-large") is None


def test_texts_are_cut_into_requests_by_items_and_tokens() -> None:
    assert list(requests([1] * 5, RequestLimits(2, 100))) == [range(0, 2), range(2, 4), range(4, 5)]
    assert list(requests([60, 60, 10, 500, 1], RequestLimits(9, 100))) == [
        *(range(0, 1), range(1, 3), range(3, 4), range(4, 5)),
    ]
    assert list(requests([], RequestLimits(2, 100))) == []


def test_a_text_is_shortened_by_what_is_known() -> None:
    assert len(shorter("x" * 1000, 500, 250)) == 490
    assert len(shorter("x" * 1000, None, 250)) == 750
    assert len(shorter("x" * 100_000, None, 250)) == 4000
    assert shorter("x", None, 250) == "x"


def test_waits_between_tries() -> None:
    assert wait_before(1, 3.0, 0.9) == 3.0
    assert wait_before(1, 10_000.0, 0.9) == 120.0
    assert [wait_before(tries, None, 1.0) for tries in (1, 2, 3, 10)] == [1.0, 2.0, 4.0, 20.0]
    assert wait_before(1, None, 0.0) == 0.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Fri, 01 Jan 2027 00:00:10 GMT"}, 10.0),
        ({"retry-after": "Fri, 01 Jan 2026 00:00:10 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, datetime(2027, 1, 1, tzinfo=UTC)) == seconds


def test_pace_lends_a_minutes_room_and_then_waits() -> None:
    pace = Pace(60, 6000)
    assert [pace.reserve(0.0, 10) for _ in range(60)] == [0.0] * 60
    assert pace.reserve(0.0, 10) == pytest.approx(1.0)
    assert pace.reserve(1.0, 10) == pytest.approx(1.0)
    assert Pace(None, 600).reserve(0.0, 1200) == pytest.approx(60.0)
    assert Pace(None, None).reserve(0.0, 10**9) == 0.0
    pace = Pace(None, None)
    pace.pause(10.0, 5.0)
    assert (pace.reserve(12.0, 1), pace.reserve(16.0, 1)) == (3.0, 0.0)


def test_the_budget_lets_a_fifth_be_retries() -> None:
    budget = Budget()
    assert sum(budget.spend() for _ in range(100)) == 20
    for _ in range(50):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == 10


def test_messages_hold_no_key() -> None:
    assert KEY not in clean(f"bad key {KEY}", KEY)
    assert clean("Incorrect API key: sk-proj-abcdef123456", None) == "Incorrect API key: ***"
    assert clean("Authorization: Bearer xyz", None) == "Authorization: Bearer ***"
    assert len(clean("x" * 10_000, None)) == 500


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data": [1]}', b'{"data": [{"index": 0}]}', b"\xff\xfe"])
def test_bodies_that_are_no_answer(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        read_rows(body, 1, None)


def test_an_answer_without_index_or_usage_is_taken_in_order() -> None:
    rows = read_rows(b'{"data": [{"embedding": [1, 2]}, {"embedding": [3, 4.5]}]}', 2, 2)
    assert rows.vectors.tolist() == [[1, 2], [3, 4.5]]
    assert rows.tokens is None
