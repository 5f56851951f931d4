"""What a provider's failures mean to our callers. Each is a ``SchedulerError`` with a public code."""

from __future__ import annotations

import re

from preflight.wire import ErrorCode
from sidecar.outcomes import SchedulerError

#: Anything that looks like a key, whoever printed it.
_KEYS = re.compile(r"\b(?:sk|pk|api|key)[-_][A-Za-z0-9_*-]{6,}|(?<=[Bb]earer )\S+")

_MESSAGE_CHARS = 500

_TOO_LONG = re.compile(
    r"context length|maximum.{0,20}tokens|too long|must have less than|token limit|tokens? exceed", re.IGNORECASE
)
_TOO_MANY = re.compile(
    r"batch size|too many inputs|max.{0,20}(?:batch|inputs|items)|array.{0,20}(?:long|length)", re.IGNORECASE
)
_TOKENS = re.compile(r"(?:requested|resulted in|has|got|contains?) (\d{2,9})(?: input)? tokens", re.IGNORECASE)


class RemoteUnavailable(SchedulerError):  # noqa: N818
    """The provider does not answer, or not in time. ``retry_after_s``: when to ask again."""

    code = ErrorCode.NOT_READY

    def __init__(self, message: str, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RemoteRefused(SchedulerError):  # noqa: N818
    """The provider refuses the key, the model or the request: asking again does not help."""

    code = ErrorCode.EMBEDDER_INIT_FAILED


class RemoteAnswerInvalid(SchedulerError):  # noqa: N818
    """The provider's answer holds no vectors for what was asked."""

    code = ErrorCode.HTTP_ERROR


class TooLong(Exception):  # noqa: N818
    """A text of the request has more tokens than the model takes; ``tokens`` where the provider told."""

    def __init__(self, tokens: int | None) -> None:
        super().__init__(tokens)
        self.tokens = tokens


class TooMany(Exception):  # noqa: N818
    """The request holds more texts, or more bytes, than the provider takes."""


def clean(text: str, key: str | None) -> str:
    """Return a message without the key, or what looks like one, and of bearable length."""
    if key:
        text = text.replace(key, "***")
    return _KEYS.sub("***", text)[:_MESSAGE_CHARS]


def refusal_of(status: int, message: str) -> Exception | None:
    """Return what an answer of 400, 413 or 422 says of the texts; None: nothing of them."""
    if status == 413 or (status in {400, 422} and _TOO_MANY.search(message)):
        return TooMany()
    if status in {400, 422} and _TOO_LONG.search(message):
        told = _TOKENS.search(message)
        return TooLong(int(told[1]) if told else None)
    return None


def is_transient(status: int, code: str | None) -> bool:
    """Tell whether the same request may succeed later. An empty account does not fill up by waiting."""
    return code != "insufficient_quota" and (status in {408, 409, 425, 429} or status >= 500)
