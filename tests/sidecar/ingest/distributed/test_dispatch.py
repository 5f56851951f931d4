"""Requests over workers that come and go."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.distributed.answers import Described
from sidecar.ingest.distributed.dispatch import LANES, Engines, Gone
from sidecar.ingest.embedders import Answer, Busy, InputType, Persistent, TooMany
from sidecar.models.metadata import Prompts
from sidecar.stores import Space
from tests.sidecar.ingest.fakes import SPACE, vectors_of

_PATIENCE_S = 30.0


class FakeHandle:
    """A worker that is up while ``there`` is set; a text in ``deadly`` ends it."""

    def __init__(self, name: str, *, space: Space = SPACE, failure: IngestError | None = None) -> None:
        self.name = name
        self.there = asyncio.Event()
        self.there.set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.deadly: set[str] = set()
        self.calls: list[list[str]] = []
        self.starts = 0
        self.under_way = 0
        self.came = asyncio.Semaphore(0)
        self._space = space
        self._failure = failure

    async def start(self) -> Described:
        await self.there.wait()
        self.starts += 1
        if self._failure is not None:
            raise self._failure
        return Described(self._space, 256, Prompts(), "node", self.starts)

    async def embed(self, texts: Sequence[str], _: InputType) -> Answer:
        if not self.there.is_set():
            raise Gone("it is away")
        self.calls.append(list(texts))
        self.under_way += 1
        self.came.release()
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if not self.there.is_set() or self.deadly & set(texts):
            raise Gone("it ended")
        return Answer(vectors_of(texts), len(texts), 0)


@asynccontextmanager
async def _started(*handles: FakeHandle) -> AsyncIterator[Engines]:
    engines = Engines(handles, sleep=lambda _: asyncio.sleep(0))
    try:
        await engines.start(_PATIENCE_S)
        yield engines
    finally:
        await engines.close()


def _persistent(engines: Engines) -> Persistent:
    return Persistent(engines, 1e9, sleep=lambda _: asyncio.sleep(0))


async def _check(engines: Engines, texts: Sequence[str]) -> None:
    answer = await engines.embed(texts, "document")
    np.testing.assert_array_equal(answer.vectors, vectors_of(texts))


async def test_requests_go_to_who_has_the_least_to_do() -> None:
    one, two = FakeHandle("one"), FakeHandle("two")
    async with _started(one, two) as engines:
        await engines.all_up()
        assert (engines.up, engines.size, engines.space, engines.max_tokens) == (2, 2, SPACE, 256)
        for handle in (one, two):
            handle.gate.clear()
        tasks = [asyncio.create_task(_check(engines, [str(n)])) for n in range(2 * LANES)]
        for _ in range(LANES):
            await one.came.acquire()
            await two.came.acquire()
        for handle in (one, two):
            handle.gate.set()
        await asyncio.gather(*tasks)
    assert len(one.calls) == len(two.calls) == LANES


async def test_no_worker_has_more_than_its_lanes() -> None:
    handle = FakeHandle("one")
    handle.gate.clear()
    async with _started(handle) as engines:
        tasks = [asyncio.create_task(_check(engines, [str(n)])) for n in range(3 * LANES)]
        for _ in range(LANES):
            await handle.came.acquire()
        assert len(handle.calls) == LANES
        handle.gate.set()
        await asyncio.gather(*tasks)
        assert len(handle.calls) == 3 * LANES


async def test_what_a_lost_worker_had_goes_to_another() -> None:
    one, two = FakeHandle("one"), FakeHandle("two")
    async with _started(one, two) as engines:
        await engines.all_up()
        for handle in (one, two):
            handle.gate.clear()
        tasks = [asyncio.create_task(_check(engines, [str(n)])) for n in range(6)]
        for _ in range(3):
            await one.came.acquire()
        one.there.clear()
        for handle in (one, two):
            handle.gate.set()
        await asyncio.gather(*tasks)
        assert (engines.up, engines.sent_again) == (1, 3)
        one.there.set()
        await engines.all_up()
        assert (engines.up, one.starts) == (2, 2)


async def test_all_workers_away_is_waited_for() -> None:
    one = FakeHandle("one")
    async with _started(one) as engines:
        one.there.clear()
        with pytest.raises(Busy):
            await engines.embed(["a"], "document")
        one.there.set()
        outcome = await _persistent(engines).embed(["a"])
        np.testing.assert_array_equal(outcome.answer.vectors, vectors_of(["a"]))


async def test_a_text_that_ends_every_worker_is_found_and_the_others_are_embedded() -> None:
    one, two = FakeHandle("one"), FakeHandle("two")
    one.deadly = two.deadly = {"deadly"}
    texts = [f"text {n}" for n in range(7)] + ["deadly"]
    async with _started(one, two) as engines:
        with pytest.raises(TooMany):
            await _persistent(engines)._patiently(texts, "document")
        outcome = await _persistent(engines).embed(texts)
    assert outcome.refused[7][0] == "POISON_INPUT"
    np.testing.assert_array_equal(outcome.answer.vectors[:7], vectors_of(texts[:7]))


async def test_workers_that_come_late_join() -> None:
    one, two = FakeHandle("one"), FakeHandle("two")
    two.there.clear()
    async with _started(one, two) as engines:
        assert engines.up == 1
        await _check(engines, ["a"])
        two.there.set()
        await engines.all_up()
        assert engines.up == 2


async def test_a_worker_of_another_model_is_left_out() -> None:
    other = FakeHandle("other", space=dataclasses.replace(SPACE, fingerprint="other"))
    async with _started(FakeHandle("one"), other) as engines:
        await engines.all_up()
        assert (engines.up, engines.space) == (1, SPACE)
        await asyncio.gather(*(_check(engines, [str(n)]) for n in range(9)))
        assert other.calls == []


async def test_workers_that_cannot_load_their_model_say_why() -> None:
    failure = IngestError(IngestCode.EMBEDDER_REFUSED, "MODEL_OFFLINE: no network")
    with pytest.raises(IngestError) as error:
        async with _started(FakeHandle("one", failure=failure), FakeHandle("two", failure=failure)):
            raise AssertionError("nothing is up")
    assert error.value is failure


async def test_a_cluster_that_starts_nothing_is_told() -> None:
    handle = FakeHandle("one")
    handle.there.clear()
    engines = Engines([handle])
    with pytest.raises(IngestError) as error:
        await engines.start(0.01)
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE
    await engines.close()
