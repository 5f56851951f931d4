"""What is asked of a provider: no more than it takes at once, and texts no longer than it takes."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.remote.batches import requests, shorter
from sidecar.engines.remote.providers import RequestLimits
from sidecar.failures import Failure
from sidecar.outcomes import Closed, Limits, Overloaded, SchedulerError, TextTooLong
from tests.sidecar.engines.remote.provider import error_of, late, serving
from tests.sidecar.ingest.fakes import DIM, vector_of, vectors_of

pytest.importorskip("openai")


async def test_requests_keep_the_providers_limits_and_learn_them() -> None:
    async with serving(max_items=50) as (provider, scheduler, _):
        provider.most_items = 8
        texts = [f"text {number}" for number in range(200)]
        found = await scheduler.embed(texts)
        np.testing.assert_allclose(found.vectors, vectors_of(texts), atol=1e-6)
        provider.seen.clear()
        await scheduler.embed(texts)
        assert max(map(len, provider.seen)) <= 8  # learnt
        assert provider.most_under_way <= 4


async def test_a_text_alone_that_is_too_much_is_told() -> None:
    async with serving() as (provider, scheduler, _):
        provider.choose = lambda: error_of(413)
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a"])
        assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED


async def test_a_text_that_is_too_long_is_cut_to_what_fits_and_told() -> None:
    async with serving() as (provider, scheduler, _):
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
    async with serving() as (provider, scheduler, _):
        provider.replies = [error_of(400, "unsupported encoding_format: base64")]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        assert [body["encoding_format"] for body in provider.bodies] == ["base64", "float"]


async def test_dimensions_are_asked_for_and_checked() -> None:
    async with serving(dimensions=DIM) as (provider, scheduler, _):
        await scheduler.embed(["a"])
        assert provider.bodies[0]["dimensions"] == DIM
    with pytest.raises(Failure) as error:
        async with serving(dimensions=DIM - 1):
            pass
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED


async def test_admission_and_the_end() -> None:
    async with serving() as (provider, scheduler, _):
        scheduler._limits = Limits(bulk_texts=10)
        provider.choose = lambda: late
        tasks = [asyncio.create_task(scheduler.embed(["a"] * 9, priority="bulk")) for _ in range(2)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(done.pop().exception(), Overloaded)
        assert (scheduler.waiting, scheduler.work().queued) == (9, 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert scheduler.waiting == 0
        await scheduler.close()
        with pytest.raises(Closed):
            await scheduler.embed(["a"])
        assert not scheduler.work().alive


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
