from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.base import Float32, TokenIds
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Busy, LocalEmbedder, Persistent, Refused, TooMany
from sidecar.models.metadata import Prompts
from sidecar.scheduler import Limits, Scheduler
from tests.sidecar.ingest.fakes import CARD, FakeEmbedder, FakeEngine, vectors_of


class Sleeper:
    """Counts the seconds it was asked to sleep."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_busy_server_is_asked_again_when_it_says() -> None:
    answers: list[Exception | None] = [Busy("restarting", 3.0), Busy("no word"), Busy("no word"), None]
    sleeper = Sleeper()
    outcome = await Persistent(FakeEmbedder(lambda _: answers.pop(0)), 60, sleeper).embed(["a"])
    assert sleeper.slept == [3.0, 0.5, 1.0]
    np.testing.assert_array_equal(outcome.answer.vectors, vectors_of(["a"]))


async def test_patience_ends() -> None:
    sleeper = Sleeper()
    with pytest.raises(IngestError) as error:
        await Persistent(FakeEmbedder(lambda _: Busy("away", 0.0)), 10, sleeper).embed(["a"])
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE
    assert len(sleeper.slept) <= 41  # "now" still counts as a quarter of a second


async def test_what_is_too_much_is_halved_until_it_fits() -> None:
    def fail(texts: Sequence[str]) -> Exception | None:
        if "huge" in texts and len(texts) == 1:
            return TooMany("REQUEST_TOO_LARGE", "too large")
        return TooMany("REQUEST_TOO_LARGE", "too many") if len(texts) > 2 else None

    texts = ["a", "b", "huge", "d", "e"]
    outcome = await Persistent(FakeEmbedder(fail)).embed(texts)
    assert outcome.refused == {2: ("REQUEST_TOO_LARGE", "too large")}
    np.testing.assert_array_equal(outcome.answer.vectors[[0, 1, 3, 4]], vectors_of(["a", "b", "d", "e"]))


async def test_refused_texts_are_left_out_and_keep_their_place() -> None:
    def fail(texts: Sequence[str]) -> Exception | None:
        bad = [index for index, text in enumerate(texts) if text.startswith("bad")]
        return Refused({bad[0]: ("POISON_INPUT", texts[bad[0]])}) if bad else None

    texts = ["a", "bad 1", "b", "bad 2", "c"]
    outcome = await Persistent(FakeEmbedder(fail)).embed(texts)
    assert outcome.refused == {1: ("POISON_INPUT", "bad 1"), 3: ("POISON_INPUT", "bad 2")}
    np.testing.assert_array_equal(outcome.answer.vectors[[0, 2, 4]], vectors_of(["a", "b", "c"]))
    assert not outcome.answer.vectors[[1, 3]].any()
    nothing = await Persistent(FakeEmbedder(fail)).embed(["bad"])
    assert set(nothing.refused) == {0}


class _Engine(FakeEngine):
    """Fails on some texts as engines do."""

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        texts = [ids.astype(np.uint8).tobytes().decode() for ids in batch]
        if "crash" in texts:
            raise RuntimeError("the engine stumbles")
        rows = super().infer(batch)
        for index, text in enumerate(texts):
            if text == "nan":
                rows[index] = np.nan
        return rows


async def test_a_scheduler_of_this_process() -> None:
    scheduler = Scheduler(_Engine())
    try:
        outcome = await Persistent(LocalEmbedder(CARD, Prompts(), scheduler)).embed(["a", "nan", "b", "crash", "c"])
        assert {index: code for index, (code, _) in outcome.refused.items()} == {
            1: ErrorCode.INTERNAL_ERROR.value,
            3: ErrorCode.INTERNAL_ERROR.value,
        }
        np.testing.assert_allclose(outcome.answer.vectors[[0, 2, 4]], vectors_of(["a", "b", "c"]), atol=1e-6)
    finally:
        await scheduler.close()
    with pytest.raises(IngestError) as error:
        await LocalEmbedder(CARD, Prompts(), scheduler).embed(["a"], "document")
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE


async def test_prompts_go_before_the_texts() -> None:
    scheduler = Scheduler(FakeEngine(), Limits())
    try:
        embedder = LocalEmbedder(CARD, Prompts({"query": "q: ", "passage": "p: "}), scheduler)
        for input_type, prompt in (("query", "q: "), ("document", "p: ")):
            answer = await embedder.embed(["text"], input_type)  # type: ignore[arg-type]
            np.testing.assert_allclose(answer.vectors, vectors_of([prompt + "text"]), atol=1e-6)
    finally:
        await scheduler.close()
