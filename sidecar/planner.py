"""Which texts run together, and when: token counts, lanes and deadlines in, micro-batches out.

Padding is the cost of a batch, not Python: texts of like length go together,
and a micro-batch is short in time so that a query can go between two of bulk.
Widths and row counts come from finite lists, because an inference engine keeps
buffers for every shape it has seen.

Constraint: pure. Time is handed in as seconds of any one monotonic clock.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from sidecar.batching import PADDED, Buckets, CostModel, Lane, Policy, Priority, lane_of

__all__ = ["Lane", "MicroBatch", "Priority", "Queue", "lane_of"]

#: Time a micro-batch should take: longer amortises the call, shorter lets a query in sooner.
RELAXED_S = 0.050
ALERT_S = 0.030
#: How long after a query the next one is expected, and micro-batches are kept short for it.
ALERT_FOR_S = 5.0

#: Longest that waiting bulk is passed over for queries.
AGEING_S = 0.25

#: A text without a deadline counts as due this long after it came.
PATIENCE_S = 10.0


@dataclass(slots=True)
class _Item:
    key: Hashable
    tokens: int
    lane: Lane
    arrived: float
    due: float
    deadline: float | None


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What runs together: keys as they were put, all at most ``width`` tokens long."""

    keys: tuple[Hashable, ...]
    lane: Lane
    width: int
    #: Tokens of all texts together, and what they cost (``Policy.load``).
    tokens: int
    load: int

    @property
    def rows(self) -> int:
        return len(self.keys)


class _LaneQueue:
    """The items of one lane, by length and by due time. Removed ones leave the heap lazily."""

    def __init__(self) -> None:
        self.by_length: list[tuple[int, int]] = []
        self._by_due: list[tuple[float, int, int]] = []
        self.items: dict[int, _Item] = {}
        self.tokens = 0

    def add(self, number: int, item: _Item) -> None:
        self.items[number] = item
        self.tokens += item.tokens
        insort(self.by_length, (item.tokens, number))
        heapq.heappush(self._by_due, (item.due, -item.tokens, number))

    def remove(self, number: int) -> _Item:
        item = self.items.pop(number)
        self.tokens -= item.tokens
        del self.by_length[bisect_left(self.by_length, (item.tokens, number))]
        return item

    def first(self) -> int:
        """Number of the item that is due first, the longest of equals. The lane must not be empty."""
        while self._by_due[0][2] not in self.items:
            heapq.heappop(self._by_due)
        return self._by_due[0][2]


class Queue:
    """Texts that wait, each known by a key; equal keys are one text and run once."""

    def __init__(self, buckets: Buckets, cost: CostModel, policy: Policy = PADDED) -> None:
        self.buckets = buckets
        self.cost = cost
        self._policy = policy
        self._lanes = {lane: _LaneQueue() for lane in Lane}
        self._numbers: dict[Hashable, int] = {}
        self._next_number = 0
        self._deadlines: list[tuple[float, int]] = []
        self._bulk_served = float("-inf")
        self._last_query = float("-inf")

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._numbers

    def keys(self) -> list[Hashable]:
        """Return the keys of all that waits."""
        return list(self._numbers)

    def texts(self, lane: Lane) -> int:
        """Texts that wait in ``lane``."""
        return len(self._lanes[lane].items)

    @property
    def tokens(self) -> int:
        """Tokens that wait in all lanes, without padding."""
        return sum(lane.tokens for lane in self._lanes.values())

    def put(self, key: Hashable, tokens: int, lane: Lane, now: float, deadline: float | None = None) -> None:
        """Let a text wait. An equal key that waits already takes on the more urgent of both."""
        due = now + PATIENCE_S if deadline is None else min(deadline, now + PATIENCE_S)
        item = _Item(key, tokens, lane, now, due, deadline)
        if key in self._numbers:
            item = _merged(self.remove(key), item)
        if lane is Lane.INTERACTIVE:
            self._last_query = now
        number = self._next_number
        self._next_number += 1
        self._numbers[key] = number
        self._lanes[item.lane].add(number, item)
        if item.deadline is not None:
            heapq.heappush(self._deadlines, (item.deadline, number))

    def remove(self, key: Hashable) -> _Item:
        """Take a waiting text out. Raises ``KeyError`` when it does not wait."""
        number = self._numbers.pop(key)
        lane = next(lane for lane in self._lanes.values() if number in lane.items)
        return lane.remove(number)

    def take(self, now: float) -> MicroBatch | None:
        """Take out what should run next; None when nothing waits.

        The text that is due first always goes, with those most like it.
        """
        lane = self._choose_lane(now)
        return None if lane is None else self._take(lane, now)

    def take_query(self, now: float) -> MicroBatch | None:
        """Take out queries that may go between the steps of what runs; None when none waits."""
        return self._take(Lane.INTERACTIVE, now) if self.texts(Lane.INTERACTIVE) else None

    def _take(self, lane: Lane, now: float) -> MicroBatch:
        if lane is Lane.BULK:
            self._bulk_served = now
        queue = self._lanes[lane]
        items = [queue.items[number] for number in self._around(queue, queue.first(), now)]
        for item in items:
            self.remove(item.key)
        width = self.buckets.width(max(item.tokens for item in items))
        tokens = sum(item.tokens for item in items)
        load = self._policy.load(width, len(items), tokens)
        return MicroBatch(tuple(item.key for item in items), lane, width, tokens, load)

    def drop_expired(self, now: float) -> list[Hashable]:
        """Take out, and return, the keys whose deadline has passed."""
        expired = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            item = next((lane.items[number] for lane in self._lanes.values() if number in lane.items), None)
            if item is not None:
                self.remove(item.key)
                expired.append(item.key)
        return expired

    def _choose_lane(self, now: float) -> Lane | None:
        bulk, queries = self._lanes[Lane.BULK], self._lanes[Lane.INTERACTIVE]
        if not queries.items:
            return Lane.BULK if bulk.items else None
        if not bulk.items:
            return Lane.INTERACTIVE
        oldest = bulk.items[bulk.first()].arrived
        passed_over_s = now - max(self._bulk_served, oldest)
        return Lane.BULK if passed_over_s >= AGEING_S else Lane.INTERACTIVE

    def _around(self, queue: _LaneQueue, first: int, now: float) -> Iterator[int]:
        """Numbers of ``first`` and of those nearest to it in length, as many as time and buckets allow."""
        order = queue.by_length
        low = high = bisect_left(order, (queue.items[first].tokens, first))
        tokens = order[low][0]
        alert = now - self._last_query < ALERT_FOR_S
        while low > 0 and self._fits(order[low - 1][0], order[high][0], high - low + 2, tokens, alert):
            low -= 1
            tokens += order[low][0]
        while high + 1 < len(order) and self._fits(order[low][0], order[high + 1][0], high - low + 2, tokens, alert):
            high += 1
            tokens += order[high][0]
        if not self._policy.packed:
            low, high = self._cut(low, high, order, first)
        return (number for _, number in order[low : high + 1])

    def _fits(self, shortest: int, longest: int, rows: int, tokens: int, alert: bool) -> bool:
        """Tell whether a micro-batch may have ``rows`` texts, ``tokens`` being those of all but the last."""
        width = self.buckets.width(longest)
        alike = shortest >= self._policy.likeness * longest or self.buckets.width(shortest) == width
        load = self._policy.load(width, rows, tokens + longest)
        return alike and rows <= self.buckets.rows[-1] and load <= self._most(width, alert)

    def _most(self, width: int, alert: bool) -> int:
        policy = self._policy
        seconds, least = (ALERT_S, policy.least_alert) if alert else (RELAXED_S, policy.least_load)
        return min(max(self.cost.load_within(width, seconds), least), policy.most_load)

    def _cut(self, low: int, high: int, order: list[tuple[int, int]], first: int) -> tuple[int, int]:
        """Cut to a row count of the list, at the end of the longest as far as ``first`` allows."""
        surplus = high - low + 1 - self.buckets.rows_within(high - low + 1)
        while surplus and order[high][1] != first:
            high, surplus = high - 1, surplus - 1
        return low + surplus, high


def _merged(old: _Item, new: _Item) -> _Item:
    """One text asked for twice: the earlier arrival, the more urgent lane, the later deadline."""
    lane = Lane.INTERACTIVE if Lane.INTERACTIVE in (old.lane, new.lane) else Lane.BULK
    deadline = None if old.deadline is None or new.deadline is None else max(old.deadline, new.deadline)
    return _Item(old.key, old.tokens, lane, old.arrived, min(old.due, new.due), deadline)
