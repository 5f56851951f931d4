"""The scheduler with an engine that needs no model: a text's vector follows from its characters."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.scheduler import (
    BadVector,
    Closed,
    DeadlinePassed,
    Embedded,
    EngineFailed,
    Limits,
    Overloaded,
    Scheduler,
    SchedulerError,
    TextTooLong,
)

DIM = 8
MAX_TOKENS = 64


class LetterEngine:
    """One token a character. ``hold`` stops inference until it is set."""

    card = ModelCard("tests/letters", DIM, MAX_TOKENS, "letters", "cpu", "f32", "0" * 16)

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        self.threads.add(threading.current_thread().name)
        ids = [np.frombuffer(text.encode("utf-32-le"), np.int32) for text in texts]
        return [Encoded(one[:MAX_TOKENS], len(one), len(one) > MAX_TOKENS) for one in ids]

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        self.threads.add(threading.current_thread().name)
        self.batches.append([ids.tobytes().decode("utf-32-le") for ids in batch])
        self.entered.set()
        assert self.hold.wait(10)
        return np.stack([self.vector(ids) for ids in batch])

    def vector(self, ids: TokenIds) -> Float32:
        text = ids.tobytes().decode("utf-32-le")
        if text == "crash":
            raise ValueError("an engine's own fault")
        if text == "nan":
            return np.full(DIM, np.nan, np.float32)
        if text == "zero":
            return np.zeros(DIM, np.float32)
        if text == "huge":
            return np.full(DIM, 3e38, np.float32)
        return np.random.default_rng(ids.astype(np.uint32)).normal(size=DIM).astype(np.float32)

    def close(self) -> None:
        self.hold.set()


def expected(text: str) -> Float32:
    vector = LetterEngine().vector(np.frombuffer(text.encode("utf-32-le"), np.int32)[:MAX_TOKENS])
    unit: Float32 = vector / np.linalg.norm(vector)
    return unit


@pytest.fixture
def engine() -> LetterEngine:
    return LetterEngine()


@pytest.fixture
async def scheduler(engine: LetterEngine) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(engine)
    yield scheduler
    engine.hold.set()
    await scheduler.close()


async def busy(scheduler: Scheduler, engine: LetterEngine) -> asyncio.Task[object]:
    """Hold the inference thread inside a micro-batch; the returned task ends after ``hold`` is set."""
    engine.hold.clear()
    engine.entered.clear()
    task: asyncio.Task[object] = asyncio.create_task(scheduler.embed(["holding"]))
    assert await asyncio.to_thread(engine.entered.wait, 5)
    return task


async def queued(scheduler: Scheduler, count: int) -> None:
    """Wait until ``count`` texts wait and all of them are tokenized, so that they are planned together."""

    def is_so() -> bool:
        planned = sum(len(entry.waiters) for entry in scheduler._board._entries.values())
        return scheduler.work().queued == count and planned == sum(scheduler._admitted.values())

    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 the queue's depth has no event
            await asyncio.sleep(0.001)


async def test_vectors_come_in_the_order_of_the_texts(scheduler: Scheduler) -> None:
    texts = ["a" * n for n in range(1, 100)]
    random.Random(1).shuffle(texts)
    answer = await scheduler.embed(texts)
    np.testing.assert_allclose(answer.vectors, [expected(text) for text in texts], atol=1e-6)
    assert answer.vectors.dtype == np.float32
    assert answer.tokens == sum(min(len(text), MAX_TOKENS) for text in texts)
    assert answer.truncated == tuple(index for index, text in enumerate(texts) if len(text) > MAX_TOKENS)


async def test_no_texts_give_no_vectors(scheduler: Scheduler) -> None:
    assert (await scheduler.embed([])).vectors.shape == (0, DIM)


async def test_each_library_stays_in_its_one_thread(scheduler: Scheduler, engine: LetterEngine) -> None:
    await asyncio.gather(*(scheduler.embed([f"{n}", f"{n} more"]) for n in range(50)))
    assert {name.partition("_")[0] for name in engine.threads} == {"tokenizer", "inference"}
    assert len(engine.threads) == 2


async def test_the_prompt_goes_before_every_text(scheduler: Scheduler) -> None:
    answer = await scheduler.embed(["one", "two"], prompt="query: ")
    np.testing.assert_allclose(answer.vectors, [expected("query: one"), expected("query: two")], atol=1e-6)


async def test_rows_stay_as_they_are_without_normalize(scheduler: Scheduler, engine: LetterEngine) -> None:
    answer = await scheduler.embed(["raw"], normalize=False)
    np.testing.assert_array_equal(answer.vectors[0], engine.vector(np.frombuffer("raw".encode("utf-32-le"), np.int32)))


async def test_equal_texts_run_once(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    tasks = [asyncio.create_task(scheduler.embed(["same", "same", "holding"])) for _ in range(5)]
    await queued(scheduler, 15)
    engine.hold.set()
    for answer in await asyncio.gather(*tasks):
        np.testing.assert_allclose(answer.vectors, [expected(t) for t in ("same", "same", "holding")], atol=1e-6)
    await first
    assert sorted(text for batch in engine.batches for text in batch) == ["holding", "same"]


@pytest.mark.parametrize(("text", "why"), [("nan", "finite"), ("zero", "normalised"), ("huge", "normalised")])
async def test_a_row_that_is_no_vector_is_an_error(scheduler: Scheduler, text: str, why: str) -> None:
    with pytest.raises(BadVector, match=why) as caught:
        await scheduler.embed(["fine", text])
    assert caught.value.index == 1
    assert (await scheduler.embed(["fine"])).vectors.shape == (1, DIM)


async def test_a_zero_row_may_be_had_without_normalising(scheduler: Scheduler) -> None:
    assert not (await scheduler.embed(["zero"], normalize=False)).vectors.any()


async def test_a_failing_micro_batch_fails_its_own_requests_only(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    bad = asyncio.create_task(scheduler.embed(["crash"]))
    good = asyncio.create_task(scheduler.embed(["a longer text of another width"], priority="bulk"))
    await queued(scheduler, 2)
    engine.hold.set()
    with pytest.raises(EngineFailed, match="own fault") as caught:
        await bad
    assert isinstance(caught.value.__cause__, ValueError)
    assert (await good).vectors.shape == (1, DIM)
    await first
    assert scheduler.work().alive


async def test_rows_of_the_wrong_shape_are_a_failure(scheduler: Scheduler, engine: LetterEngine) -> None:
    engine.infer = lambda batch: np.zeros((len(batch) + 1, DIM), np.float32)  # type: ignore[method-assign]
    with pytest.raises(EngineFailed, match="shape"):
        await scheduler.embed(["one"])


async def test_refused_truncation_names_the_text(scheduler: Scheduler) -> None:
    with pytest.raises(TextTooLong) as caught:
        await scheduler.embed(["fine", "x" * 65], truncate=False)
    assert (caught.value.index, caught.value.tokens, caught.value.max_tokens) == (1, 65, MAX_TOKENS)
    await queued(scheduler, 0)


async def test_what_a_cancelled_request_left_never_runs(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    gone = asyncio.create_task(scheduler.embed(["gone", "shared"]))
    stays = asyncio.create_task(scheduler.embed(["shared"]))
    await queued(scheduler, 3)
    gone.cancel()
    await queued(scheduler, 1)
    engine.hold.set()
    await asyncio.gather(first, stays)
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert [text for batch in engine.batches for text in batch] == ["holding", "shared"]


async def test_a_passed_deadline_is_typed_and_its_texts_do_not_run(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    with pytest.raises(DeadlinePassed):
        await scheduler.embed(["late"], deadline_s=0.01)
    engine.hold.set()
    await first
    assert engine.batches == [["holding"]]


async def test_queries_go_before_bulk_that_came_first(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    bulk = asyncio.create_task(scheduler.embed([f"bulk {n}" for n in range(32)]))
    await queued(scheduler, 32)
    query = asyncio.create_task(scheduler.embed(["query"]))
    await queued(scheduler, 33)
    engine.hold.set()
    await asyncio.gather(first, bulk, query)
    assert engine.batches[1] == ["query"]


class SteppingEngine(LetterEngine):
    """Infers in three steps; ``paused`` is called between them."""

    def __init__(self, paused: Callable[[], None]) -> None:
        super().__init__()
        self.paused = paused
        self.trace: list[str] = []

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        self.trace.append("query")
        return super().infer(batch)

    def infer_in_steps(self, batch: Sequence[TokenIds]) -> Generator[None, None, Float32]:
        for step in range(3):
            self.trace.append(f"step {step}")
            if step < 2:
                self.paused()
                yield
        return super().infer(batch)


async def test_queries_go_between_the_steps_of_bulk() -> None:
    loop = asyncio.get_running_loop()

    def paused() -> None:
        """Put two queries and wait until both are there: one micro-batch of them goes here, with both."""
        for number in range(2):
            text = f"query {number} {len(engine.trace)}"
            queries.append(asyncio.run_coroutine_threadsafe(scheduler.embed([text]), loop))
        deadline = time.monotonic() + 5
        while scheduler._board.snapshot().waiting < 2 and time.monotonic() < deadline:
            time.sleep(0.001)

    queries: list[Future[Embedded]] = []
    engine = SteppingEngine(paused)
    scheduler = Scheduler(engine)
    bulk = await scheduler.embed([f"bulk text {n}" for n in range(5)])
    assert engine.trace == ["step 0", "query", "step 1", "query", "step 2"]
    np.testing.assert_allclose(bulk.vectors, [expected(f"bulk text {n}") for n in range(5)], atol=1e-6)
    for query in queries:
        assert (await asyncio.wrap_future(query)).vectors.shape == (1, DIM)
    await scheduler.close()


async def test_a_full_queue_refuses_with_an_honest_time(engine: LetterEngine) -> None:
    scheduler = Scheduler(engine, Limits(bulk_texts=10, interactive_texts=2))
    first = await busy(scheduler, engine)
    bulk = asyncio.create_task(scheduler.embed([f"bulk {n}" for n in range(10)]))
    await queued(scheduler, 10)
    with pytest.raises(Overloaded) as caught:
        await scheduler.embed(["more"] * 5)
    assert caught.value.retry_after_s >= 1
    assert caught.value.code is ErrorCode.OVERLOADED
    query = asyncio.create_task(scheduler.embed(["query"]))  # queries have room of their own
    engine.hold.set()
    await asyncio.gather(first, bulk, query)
    await scheduler.close()


async def test_one_request_larger_than_the_queue_is_served_when_alone(engine: LetterEngine) -> None:
    scheduler = Scheduler(engine, Limits(bulk_texts=10))
    assert len((await scheduler.embed([str(n) for n in range(50)])).vectors) == 50
    await scheduler.close()


async def test_work_tells_what_runs(scheduler: Scheduler, engine: LetterEngine) -> None:
    idle = scheduler.work()
    assert (idle.done, idle.queued, idle.running_tokens, idle.running_age_s, idle.tokens_per_s) == (
        0,
        0,
        None,
        None,
        None,
    )
    first = await busy(scheduler, engine)
    running = scheduler.work()
    assert running.running_tokens == 8
    assert running.running_age_s is not None and running.running_age_s >= 0
    engine.hold.set()
    await first
    done = scheduler.work()
    assert done.done == 1
    assert done.tokens_per_s is not None and done.tokens_per_s > 0


async def test_a_dead_inference_thread_is_visible(
    scheduler: Scheduler, engine: LetterEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await busy(scheduler, engine)
    waiting = asyncio.create_task(scheduler.embed(["waiting"]))
    await queued(scheduler, 1)

    def broken(now: float) -> None:
        raise RuntimeError("a fault of the scheduler")

    monkeypatch.setattr(scheduler._board._queue, "take", broken)
    engine.hold.set()
    with pytest.raises(Closed):
        await waiting
    await first
    await asyncio.to_thread(scheduler._inference.join, 5)
    assert not scheduler.work().alive
    with pytest.raises(Closed):
        await scheduler.embed(["more"])


async def test_a_tokenizer_that_fails_is_typed(scheduler: Scheduler, engine: LetterEngine) -> None:
    with pytest.raises(EngineFailed, match="tokenizer"):
        await scheduler.embed(["\ud800"])
    assert (await scheduler.embed(["fine"])).vectors.shape == (1, DIM)


async def test_close_refuses_what_waits_and_ends_both_threads(scheduler: Scheduler, engine: LetterEngine) -> None:
    first = await busy(scheduler, engine)
    waiting = asyncio.create_task(scheduler.embed(["waiting"]))
    await queued(scheduler, 1)
    closing = asyncio.create_task(scheduler.close())
    await asyncio.sleep(0)
    engine.hold.set()
    await closing
    await first
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await scheduler.embed(["more"])
    names = {thread.name for thread in threading.enumerate()}
    assert "inference" not in names


async def test_many_clients_that_leave_at_random(scheduler: Scheduler) -> None:
    """Whoever stays gets the right rows, and nothing is left behind."""
    choose = random.Random(7)
    words = [f"{'w' * choose.randint(0, 40)} {n}" for n in range(300)]

    async def client() -> None:
        for _ in range(12):
            texts = choose.choices(words, k=choose.randint(1, 32))
            task = asyncio.create_task(scheduler.embed(texts))
            if choose.random() < 0.4:
                await asyncio.sleep(choose.random() * 0.004)
                task.cancel()
            try:
                answer = await task
            except asyncio.CancelledError:
                continue
            np.testing.assert_allclose(answer.vectors, [expected(text) for text in texts], atol=1e-6)

    await asyncio.gather(*(client() for _ in range(16)))
    async with asyncio.timeout(5):
        while scheduler.work().running_tokens is not None:  # noqa: ASYNC110 what runs for who left runs to its end
            await asyncio.sleep(0.001)
    assert scheduler.work().queued == 0
    assert scheduler._board._entries == {}


def test_every_refusal_has_a_code() -> None:
    ours = [error for error in SchedulerError.__subclasses__() if error.__module__ == SchedulerError.__module__]
    assert {error.__name__: error.code for error in ours} == {
        "Overloaded": ErrorCode.OVERLOADED,
        "TextTooLong": ErrorCode.TEXT_TOO_LONG,
        "BadVector": ErrorCode.INTERNAL_ERROR,
        "DeadlinePassed": ErrorCode.TIMEOUT,
        "EngineFailed": ErrorCode.INTERNAL_ERROR,
        "Closed": ErrorCode.NOT_READY,
    }
