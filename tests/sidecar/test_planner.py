"""The planner: every text exactly once, like lengths together, nobody starves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.batching import PACKED, PADDED, Buckets, CostModel, Lane, Policy, buckets_for, lane_of
from sidecar.planner import AGEING_S, ALERT_FOR_S, ALERT_S, PATIENCE_S, RELAXED_S, MicroBatch, Queue

MAX_TOKENS = 256
BUCKETS = buckets_for(MAX_TOKENS)


def queue(rate: float = 10_000.0, policy: Policy = PADDED) -> Queue:
    cost = CostModel()
    for width in BUCKETS.widths:
        cost.observe(width, width, width / rate)
    return Queue(BUCKETS, cost, policy)


def drain(waiting: Queue, now: float = 0.0) -> list[MicroBatch]:
    batches = []
    while (batch := waiting.take(now)) is not None:
        batches.append(batch)
        now += waiting.cost.seconds(batch.width, batch.load)
    return batches


lengths = st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=200)


policies = st.sampled_from([PADDED, PACKED])


@given(lengths, policies, st.data())
def test_every_text_is_planned_exactly_once(tokens: list[int], policy: Policy, data: st.DataObject) -> None:
    waiting = queue(policy=policy)
    for key, count in enumerate(tokens):
        waiting.put(key, count, data.draw(st.sampled_from(Lane)), now=0.0)
    planned = [key for batch in drain(waiting) for key in batch.keys]
    assert sorted(map(str, planned)) == sorted(map(str, range(len(tokens))))
    assert len(waiting) == 0
    assert waiting.tokens == 0


@given(lengths, policies, st.sampled_from([0.5, 0.25, 0.125]))
def test_a_shrunk_policy_makes_batches_of_its_share_and_leaves_no_text_out(
    tokens: list[int], policy: Policy, share: float
) -> None:
    waiting = queue(rate=1e6, policy=policy.shrunk(share))
    for key, count in enumerate(tokens):
        waiting.put(key, count, Lane.BULK, now=0.0)
    batches = drain(waiting)
    assert sum(batch.rows for batch in batches) == len(tokens)
    assert all(batch.load <= policy.most_load * share or batch.rows == 1 for batch in batches)


@given(lengths, st.floats(100, 1e6), policies)
def test_batches_keep_to_buckets_likeness_and_time(tokens: list[int], rate: float, policy: Policy) -> None:
    waiting = queue(rate, policy)
    for key, count in enumerate(tokens):
        waiting.put(key, count, Lane.BULK, now=0.0)
    for batch in drain(waiting):
        sizes = [tokens[int(str(key))] for key in batch.keys]
        assert batch.tokens == sum(sizes)
        assert batch.width == BUCKETS.width(max(sizes))
        assert batch.load == (sum(sizes) if policy.packed else batch.rows * batch.width)
        assert batch.rows <= BUCKETS.rows[-1]
        assert policy.packed or batch.rows in BUCKETS.rows
        assert min(sizes) >= policy.likeness * max(sizes) or BUCKETS.width(min(sizes)) == batch.width
        most = min(max(rate * RELAXED_S * 1.01, policy.least_load), policy.most_load)
        assert batch.rows == 1 or batch.load <= most


@given(st.lists(st.tuples(st.integers(1, MAX_TOKENS), st.sampled_from(Lane)), min_size=1, max_size=80))
def test_removed_texts_never_run(texts: list[tuple[int, Lane]]) -> None:
    waiting = queue()
    for key, (tokens, lane) in enumerate(texts):
        waiting.put(key, tokens, lane, now=0.0)
    gone = set(range(0, len(texts), 2))
    for key in gone:
        waiting.remove(key)
    planned = {key for batch in drain(waiting) for key in batch.keys}
    assert planned == set(range(len(texts))) - gone


@given(st.lists(st.tuples(st.integers(1, MAX_TOKENS), st.integers(1, 64)), min_size=1, max_size=60))
def test_bulk_is_served_while_queries_never_stop(arrivals: list[tuple[int, int]]) -> None:
    """However many queries come, waiting bulk moves at least once in every ageing period."""
    waiting, now, last = queue(rate=1_000.0), 0.0, 0.0
    for key in range(64):
        waiting.put(("bulk", key), 16, Lane.BULK, now)
    for number, (tokens, count) in enumerate(arrivals):
        for one in range(count):
            waiting.put((number, one), tokens, Lane.INTERACTIVE, now)
        before = waiting.texts(Lane.BULK)
        batch = waiting.take(now)
        assert batch is not None
        if waiting.texts(Lane.BULK) < before:
            last = now
        assert not before or now - last <= AGEING_S + 0.3  # the one micro-batch that was running
        now += waiting.cost.seconds(batch.width, batch.load)


@given(st.lists(st.integers(1, MAX_TOKENS), min_size=1, max_size=60))
def test_the_oldest_goes_first_whatever_comes_after(later: list[int]) -> None:
    waiting = queue()
    waiting.put("old", 100, Lane.BULK, now=0.0)
    for key, tokens in enumerate(later):
        waiting.put(key, tokens, Lane.BULK, now=0.001 * (key + 1))
    batch = waiting.take(1.0)
    assert batch is not None
    assert "old" in batch.keys


def test_a_deadline_goes_before_patience_but_does_not_starve_it() -> None:
    waiting = queue()
    waiting.put("patient", 200, Lane.BULK, now=0.0)
    waiting.put("pressed", 10, Lane.BULK, now=1.0, deadline=3.0)
    assert waiting.take(1.0).keys == ("pressed",)  # type: ignore[union-attr]
    late = PATIENCE_S + 1
    waiting.put("pressed", 10, Lane.BULK, now=late, deadline=late + 0.5)
    assert waiting.take(late).keys == ("patient",)  # type: ignore[union-attr]


def test_queries_go_before_bulk_and_shorten_its_batches() -> None:
    relaxed, alert = queue(), queue()
    for waiting in (relaxed, alert):
        for key in range(64):
            waiting.put(key, 20, Lane.BULK, now=0.0)
    alert.put("query", 9, Lane.INTERACTIVE, now=0.0)
    assert alert.take(0.0).keys == ("query",)  # type: ignore[union-attr]
    long, short = relaxed.take(0.0), alert.take(0.0)
    assert long is not None and short is not None
    assert long.rows == 20  # 50 ms at 10,000 tokens/s in rows of 24
    assert short.rows == 12
    assert short.load / 10_000 <= ALERT_S


def test_a_machine_too_slow_for_the_time_still_shortens_bulk_while_queries_are_about() -> None:
    waiting = queue(500.0, PACKED)
    for key in range(60):
        waiting.put(key, 32, Lane.BULK, now=0.0)
    loads = []
    for now in (0.0, 0.1, 0.1 + ALERT_FOR_S):
        if now == 0.1:
            waiting.put("query", 5, Lane.INTERACTIVE, now)
            assert waiting.take(now) is not None
        bulk = waiting.take(now)
        assert bulk is not None
        loads.append(bulk.load)
    assert loads == [PACKED.least_load, PACKED.least_alert, PACKED.least_load]


def test_equal_texts_run_once_with_the_more_urgent_wish() -> None:
    waiting = queue()
    waiting.put("same", 20, Lane.BULK, now=0.0, deadline=1.0)
    waiting.put("same", 20, Lane.INTERACTIVE, now=0.5)
    assert len(waiting) == 1
    assert waiting.texts(Lane.INTERACTIVE) == 1
    assert waiting.drop_expired(2.0) == []  # the second asker set no deadline
    assert [batch.keys for batch in drain(waiting)] == [("same",)]


def test_expired_texts_leave_the_queue() -> None:
    waiting = queue()
    waiting.put("late", 20, Lane.BULK, now=0.0, deadline=1.0)
    waiting.put("fine", 20, Lane.BULK, now=0.0)
    assert waiting.drop_expired(0.9) == []
    assert waiting.drop_expired(1.0) == ["late"]
    assert waiting.keys() == ["fine"]


def test_removing_what_does_not_wait_is_an_error() -> None:
    with pytest.raises(KeyError):
        queue().remove("unknown")


@given(st.integers(1, 8192))
def test_widths_are_few_ascending_and_reach_the_longest_text(max_tokens: int) -> None:
    buckets = buckets_for(max_tokens)
    assert list(buckets.widths) == sorted(set(buckets.widths))
    assert buckets.widths[-1] == max_tokens
    assert len(buckets.widths) <= 72
    for tokens in {1, max_tokens, max_tokens // 2 + 1}:
        width = buckets.width(tokens)
        assert tokens <= width
        assert width - tokens < max(8, width / 8 + 1)


def test_a_text_over_the_widest_bucket_gets_the_widest() -> None:
    assert Buckets((8, 16)).width(99) == 16


@pytest.mark.parametrize(("count", "below", "above"), [(1, 1, 1), (7, 6, 8), (64, 64, 64), (1000, 64, 1000)])
def test_row_counts_come_from_the_list(count: int, below: int, above: int) -> None:
    assert BUCKETS.rows_within(count) == below
    assert BUCKETS.rows_for(count) == above


class TestCostModel:
    def test_assumes_until_it_has_measured(self) -> None:
        cost = CostModel()
        assert (cost.is_measured, cost.rate > 0) == (False, True)
        cost.observe(64, 256, 0.1)
        assert cost.rate == pytest.approx(2_560)

    def test_knows_widths_apart(self) -> None:
        cost = CostModel()
        cost.observe(8, 64, 0.064)
        cost.observe(256, 2_048, 0.2048)
        assert cost.seconds(8, 8) == pytest.approx(0.008)
        assert cost.seconds(256, 256) == pytest.approx(0.0256)

    def test_one_slow_run_does_not_undo_what_is_known(self) -> None:
        cost = CostModel()
        for _ in range(50):
            cost.observe(64, 256, 0.01)
        before = cost.rate
        cost.observe(64, 256, 100.0)
        assert cost.rate > 0.85 * before

    def test_says_what_is_done_in_time(self) -> None:
        cost = CostModel()
        cost.observe(64, 256, 0.1)
        assert cost.load_within(64, 0.05) == 128


@pytest.mark.parametrize(
    ("priority", "texts", "chars", "lane"),
    [
        ("auto", 1, 50, Lane.INTERACTIVE),
        ("auto", 4, 2_000, Lane.INTERACTIVE),
        ("auto", 5, 50, Lane.BULK),
        ("auto", 1, 2_001, Lane.BULK),
        ("bulk", 1, 1, Lane.BULK),
        ("interactive", 500, 10**6, Lane.INTERACTIVE),
    ],
)
def test_lane_of(priority: str, texts: int, chars: int, lane: Lane) -> None:
    assert lane_of(priority, texts, chars) is lane  # type: ignore[arg-type]
