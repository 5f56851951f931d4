"""What comes of a request to the scheduler: vectors, or one of these errors."""

from __future__ import annotations

from dataclasses import dataclass

from preflight.wire import ErrorCode
from sidecar.batching import Lane
from sidecar.engines.base import Float32


class SchedulerError(Exception):
    """Why a request got no vectors. ``code`` is the public code that says so."""

    code = ErrorCode.INTERNAL_ERROR


class Overloaded(SchedulerError):  # noqa: N818
    """The queue is full. ``retry_after_s``: when, at the measured rate, there is room."""

    code = ErrorCode.OVERLOADED

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The queue is full; there is room in about {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


class TextTooLong(SchedulerError):  # noqa: N818
    """Truncation was refused and text ``index`` has ``tokens`` > ``max_tokens``."""

    code = ErrorCode.TEXT_TOO_LONG

    def __init__(self, index: int, tokens: int, max_tokens: int) -> None:
        super().__init__(f"Text {index} has {tokens} tokens; the model takes {max_tokens}.")
        self.index = index
        self.tokens = tokens
        self.max_tokens = max_tokens


class BadVector(SchedulerError):  # noqa: N818
    """The engine's row for text ``index`` is not a vector; ``why`` says what is wrong with it."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"The model gave no usable vector for text {index}: {why}.")
        self.index = index
        self.why = why


class DeadlinePassed(SchedulerError):  # noqa: N818
    """The request's deadline passed before its last vector was there."""

    code = ErrorCode.TIMEOUT


class EngineFailed(SchedulerError):  # noqa: N818
    """The engine raised on the micro-batch that held a text of this request."""


class Closed(SchedulerError):  # noqa: N818
    """The scheduler is closed, or its inference thread has ended."""

    code = ErrorCode.NOT_READY


@dataclass(frozen=True, slots=True)
class Limits:
    """Most texts that may wait, by lane. Queries keep their own room while bulk is full."""

    bulk_texts: int = 16_384
    interactive_texts: int = 1_024

    def of(self, lane: Lane) -> int:
        return self.bulk_texts if lane is Lane.BULK else self.interactive_texts


@dataclass(frozen=True, slots=True)
class Embedded:
    """The answer to one request."""

    #: Shape ``(texts, dim)``, in the order of the texts.
    vectors: Float32
    #: Tokens that went into the model, special tokens included.
    tokens: int
    #: Indices of the texts that were cut to ``max_tokens``.
    truncated: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What the engine is doing, for the watchdog."""

    #: Texts embedded since the start.
    done: int
    #: Texts that wait, those at the tokenizer included.
    queued: int
    #: Tokens of the running micro-batch with padding, and how long it runs; None when idle.
    running_tokens: int | None
    running_age_s: float | None
    #: Measured rate with padding; None before the first micro-batch.
    tokens_per_s: float | None
    #: False once the inference thread has ended.
    alive: bool
