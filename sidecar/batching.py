"""What a micro-batch may be: lanes, buckets, an engine's policy, and what it costs.

Constraint: pure, as ``planner`` is.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

Priority = Literal["auto", "interactive", "bulk"]

#: ``auto``: at most this many texts, of this many characters together, are a person's query.
INTERACTIVE_TEXTS = 4
INTERACTIVE_CHARS = 2_000

_ROWS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)
#: Tokens a second assumed before anything was measured: a small model on two slow cores.
_ASSUMED_RATE = 4_000.0
#: Weight of a new measurement in the moving average.
_ALPHA = 0.2


class Lane(StrEnum):
    """Who waits for the text: a person, or a program with many."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


def lane_of(priority: Priority, texts: int, chars: int) -> Lane:
    """Return the lane of a request of ``texts`` texts with ``chars`` characters together."""
    if priority == "auto":
        few_and_short = texts <= INTERACTIVE_TEXTS and chars <= INTERACTIVE_CHARS
        return Lane.INTERACTIVE if few_and_short else Lane.BULK
    return Lane(priority)


@dataclass(frozen=True, slots=True)
class Buckets:
    """The widths (tokens) and row counts that micro-batches may have; both ascending."""

    widths: tuple[int, ...]
    rows: tuple[int, ...] = _ROWS

    def width(self, tokens: int) -> int:
        """Return the narrowest width that holds ``tokens``; the widest where none does."""
        return self.widths[min(bisect_left(self.widths, tokens), len(self.widths) - 1)]

    def rows_within(self, count: int) -> int:
        """Return the largest row count that is at most ``count`` (>= 1)."""
        return max(rows for rows in self.rows if rows <= max(count, 1))

    def rows_for(self, count: int) -> int:
        """Return the smallest row count that is at least ``count``; ``count`` itself beyond the largest."""
        return next((rows for rows in self.rows if rows >= count), count)


def buckets_for(max_tokens: int) -> Buckets:
    """Return the buckets of a model: steps of 8 tokens at first, of a sixteenth to an eighth later."""
    widths, width = [], 0
    while width < max_tokens:
        step = 8
        while step * 16 <= width:
            step *= 2
        width += step
        widths.append(min(width, max_tokens))
    return Buckets(tuple(widths))


@dataclass(frozen=True, slots=True)
class Policy:
    """How an engine wants its micro-batches."""

    #: Texts go together when the shortest has at least this share of the longest's tokens.
    likeness: float
    #: The engine computes no padding, but for attention: tokens count, not rows times width.
    packed: bool
    #: Bounds of a micro-batch's load, whatever the time: below, matrix products are inefficient; above, nothing is
    #: gained any more, and buffers grow. ``least_alert``: the lower bound while queries are about.
    least_load: int
    least_alert: int
    most_load: int

    def load(self, width: int, rows: int, tokens: int) -> int:
        """Return what a micro-batch of ``rows`` texts with ``tokens`` together costs, in tokens."""
        return tokens if self.packed else width * rows

    def shrunk(self, share: float) -> Policy:
        """Return the policy for micro-batches of ``share``, in (0, 1], of the usual size; a single text always fits."""
        least, alert, most = (int(load * share) for load in (self.least_load, self.least_alert, self.most_load))
        return replace(self, least_load=least, least_alert=alert, most_load=most)


PADDED = Policy(likeness=0.8, packed=False, least_load=64, least_alert=64, most_load=2_048)
#: Queries go between the stages of a packed micro-batch, so it need not be short for them. Twice the tokens are 3 %
#: faster at best, and take 50 MB more on a small model, 150 on one of the default's size.
PACKED = Policy(likeness=0.6, packed=True, least_load=256, least_alert=128, most_load=256)

#: Nothing is padded at all, so texts of any lengths go together; half as many tokens would be as fast.
FLAT = Policy(likeness=0.0, packed=True, least_load=256, least_alert=128, most_load=256)


class CostModel:
    """Seconds that a micro-batch takes, learnt from the ones that ran. Loads are in tokens."""

    def __init__(self) -> None:
        self._rates: dict[int, float] = {}
        self._overall: float | None = None

    @property
    def rate(self) -> float:
        """Tokens a second over all widths; an assumption before the first measurement."""
        return self._overall or _ASSUMED_RATE

    @property
    def is_measured(self) -> bool:
        """Whether ``rate`` rests on a measurement."""
        return self._overall is not None

    def seconds(self, width: int, load: int) -> float:
        """Predict the time of one micro-batch."""
        return load / self._rates.get(width, self.rate)

    def load_within(self, width: int, seconds: float) -> int:
        """Return the load of texts of ``width`` that is done in ``seconds``."""
        return int(self._rates.get(width, self.rate) * seconds)

    def observe(self, width: int, load: int, seconds: float) -> None:
        """Learn from one micro-batch that took ``seconds`` > 0.

        The first run of a shape also prepares it, so one slow sample may at
        most halve what is believed of a width.
        """
        rate = load / max(seconds, 1e-6)
        self._rates[width] = _blend(self._rates.get(width), rate)
        self._overall = _blend(self._overall, rate)


def _blend(old: float | None, new: float) -> float:
    if old is None:
        return new
    return (1 - _ALPHA) * old + _ALPHA * max(new, old / 2)
