"""Every answer of a provider is right, or told as what it is."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.remote.answers import InvalidAnswer, read_rows
from sidecar.outcomes import BadVector, SchedulerError
from tests.sidecar.engines.remote.provider import (
    KEY,
    PROBE,
    TEXTS,
    Reply,
    changed,
    double_index,
    drop_row,
    html,
    serving,
    short_row,
)
from tests.sidecar.ingest.fakes import DIM, vectors_of

pytest.importorskip("openai")


async def test_vectors_come_in_order_and_equal_texts_are_sent_once() -> None:
    async with serving() as (provider, scheduler, _):
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
    async with serving() as (_, scheduler, __):
        np.testing.assert_allclose((await scheduler.embed([""])).vectors, vectors_of([" "]), atol=1e-6)


async def test_rows_in_another_order_come_back_in_ours() -> None:
    async with serving() as (provider, scheduler, _):
        provider.replies = [changed(lambda body: body["data"].reverse())]
        found = await scheduler.embed(["a", "b", "c"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a", "b", "c"]), atol=1e-6)


@pytest.mark.parametrize(
    "reply",
    [
        *(html, changed(drop_row), changed(double_index), changed(short_row)),
        changed(lambda body: body["data"][0].update(index="0")),
        changed(lambda body: body["data"][0].update(embedding=None)),
        changed(lambda body: body["data"][0].update(embedding="no base64!")),
        changed(lambda body: body["data"][0].update(embedding=[True] * DIM)),
        changed(lambda body: body.update(data={})),
        changed(lambda body: body["data"].append(body["data"][0])),
    ],
)
async def test_an_answer_that_makes_no_sense_is_asked_for_once_more_and_then_told(reply: Reply) -> None:
    async with serving() as (provider, scheduler, _):
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
    async with serving() as (provider, scheduler, _):
        provider.replies = [changed(lambda body: body["data"][index].update(embedding=row))]
        with pytest.raises(BadVector) as error:
            await scheduler.embed(["a", "b", "c"])
        assert error.value.index == index


async def test_nan_in_json_is_no_json() -> None:
    nan = changed(lambda body: body["data"][1]["embedding"].__setitem__(3, float("nan")))
    async with serving() as (provider, scheduler, _):
        provider.replies = [nan, nan]
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a", "b"])
        assert error.value.code is ErrorCode.HTTP_ERROR


async def test_nan_in_base64_names_its_text() -> None:
    rows = np.full(DIM, np.nan, "<f4")

    def change(body: dict[str, Any]) -> None:
        body["data"][1]["embedding"] = base64.b64encode(rows.tobytes()).decode()

    async with serving() as (provider, scheduler, _):
        provider.replies = [changed(change)]
        with pytest.raises(BadVector) as error:
            await scheduler.embed(["a", "b", "b2"])
        assert error.value.index == 1


async def test_rows_that_are_not_normalised_are_when_asked() -> None:
    def double(body: dict[str, Any]) -> None:
        body["data"][0]["embedding"] = [2 * number for number in body["data"][0]["embedding"]]

    async with serving() as (provider, scheduler, _):
        provider.choose = lambda: changed(double)
        np.testing.assert_allclose((await scheduler.embed(["a"])).vectors, vectors_of(["a"]), atol=1e-6)
        raw = await scheduler.embed(["a"], normalize=False)
        np.testing.assert_allclose(raw.vectors, 2 * vectors_of(["a"]), atol=1e-6)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data": [1]}', b'{"data": [{"index": 0}]}', b"\xff\xfe"])
def test_bodies_that_are_no_answer(body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        read_rows(body, 1, None)


def test_an_answer_without_index_or_usage_is_taken_in_order() -> None:
    rows = read_rows(b'{"data": [{"embedding": [1, 2]}, {"embedding": [3, 4.5]}]}', 2, 2)
    assert rows.vectors.tolist() == [[1, 2], [3, 4.5]]
    assert rows.tokens is None
