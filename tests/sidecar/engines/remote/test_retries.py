"""What is tried again, for how long, and what is not."""

from __future__ import annotations

import asyncio
import logging
import random

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.outcomes import DeadlinePassed, SchedulerError
from tests.sidecar.engines.remote.provider import (
    KEY,
    Reply,
    abort,
    changed,
    double_index,
    drop_row,
    error_of,
    html,
    late,
    serving,
)
from tests.sidecar.ingest.fakes import vectors_of

pytest.importorskip("openai")


@pytest.mark.parametrize(
    ("reply", "slept"),
    [
        (error_of(429, retry_after="7"), [7.0]),
        (error_of(429, retry_after_ms="250"), [0.25]),
        (error_of(429), [0.5]),
        (error_of(500), [0.5]),
        (error_of(503, retry_after="2"), [2.0]),
        (error_of(408), [0.5]),
        (abort, [0.5]),
    ],
)
async def test_what_passes_is_tried_again_when_the_provider_says(reply: Reply, slept: list[float]) -> None:
    async with serving() as (provider, scheduler, waited):
        provider.replies = [reply]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        assert waited[:1] == pytest.approx(slept)
        assert scheduler.usage.retries == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (error_of(429), ErrorCode.OVERLOADED),
        (error_of(500), ErrorCode.NOT_READY),
        (abort, ErrorCode.NOT_READY),
    ],
)
async def test_what_does_not_pass_ends_with_a_code(reply: Reply, code: ErrorCode) -> None:
    async with serving() as (provider, scheduler, waited):
        provider.choose = lambda: reply
        with pytest.raises(SchedulerError) as error:
            await scheduler.embed(["a"])
        assert error.value.code is code
        assert len(provider.seen) == 8
        assert waited == sorted(waited)
        assert scheduler.usage.failures == 1


async def test_a_provider_that_is_down_is_not_buried_under_retries() -> None:
    async with serving() as (provider, scheduler, _):
        provider.choose = lambda: error_of(500)
        for _ in range(40):
            with pytest.raises(SchedulerError):
                await scheduler.embed(["a"])
        assert len(provider.seen) <= 40 + 20 + 0.2 * 40 + 1


@pytest.mark.parametrize(
    "reply",
    [
        error_of(401, f"Incorrect API key provided: {KEY}"),
        error_of(404, "The model `m` does not exist"),
        error_of(400, "something else"),
        error_of(429, "You exceeded your current quota", code="insufficient_quota"),
        error_of(307, location="http://127.0.0.1:1/elsewhere"),
    ],
)
async def test_what_does_not_help_to_ask_again_is_asked_once(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "sidecar"):
        async with serving() as (provider, scheduler, slept):
            provider.replies = [reply]
            with pytest.raises(SchedulerError) as error:
                await scheduler.embed(["a"])
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert (len(provider.seen), slept) == (1, [])
    assert KEY not in str(error.value)
    assert KEY not in caplog.text


async def test_no_answer_in_time_is_tried_again_and_told() -> None:
    async with serving(timeout=0.5) as (provider, scheduler, _):
        provider.replies = [late]
        found = await scheduler.embed(["a"])
        np.testing.assert_allclose(found.vectors, vectors_of(["a"]), atol=1e-6)
        provider.replies = [late]
        with pytest.raises(DeadlinePassed):
            await scheduler.embed(["a"], deadline_s=0.05)


async def test_faults_of_every_kind_give_right_vectors_or_a_code() -> None:
    randomness = random.Random(4)
    faults: list[Reply | None] = [
        *(error_of(429, retry_after="1"), error_of(429), error_of(500), error_of(503), html, abort),
        *(changed(drop_row), changed(double_index), changed(lambda body: body["data"].reverse())),
        changed(lambda body: body["data"][0]["embedding"].__setitem__(0, float("nan"))),
        *([None] * 8),
    ]
    async with serving(max_items=3) as (provider, scheduler, _):
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
