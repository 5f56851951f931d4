"""What turns texts into vectors for an ingest or a search: a scheduler in this process, or a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from preflight.wire import CODES
from sidecar.engines.base import Float32, ModelCard
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.models.metadata import Prompts
from sidecar.outcomes import BadVector, Closed, Embedded, EngineFailed, Overloaded, SchedulerError
from sidecar.stores.base import Space

log = logging.getLogger(__name__)

InputType = Literal["query", "document"]

T = TypeVar("T")

#: How long a server may be away, restarting for example, before the run ends. It goes on with the next run.
PATIENCE_S = 300.0

#: Between tries where nobody says how long to wait: doubling from the first to the second, in seconds.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 5.0


class Refused(Exception):  # noqa: N818
    """The model gives no vector for some of the texts: the code and message by index."""

    def __init__(self, texts: Mapping[int, tuple[str, str]]) -> None:
        super().__init__(f"{len(texts)} texts have no vector")
        self.texts = dict(texts)


class Busy(Exception):  # noqa: N818
    """Not now: try again, after ``retry_after_s`` where it is known. ``reached``: a server said so itself."""

    def __init__(self, why: str, retry_after_s: float | None = None, *, reached: bool = True) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.reached = reached


class TooMany(Exception):  # noqa: N818
    """These texts together cannot be embedded; fewer may. ``code`` and the message are for a text alone."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Answer:
    """Vectors, shape ``(texts, dim)`` and normalised, and what they took."""

    __slots__ = ("tokens", "truncated", "vectors")

    def __init__(self, vectors: Float32, tokens: int, truncated: int) -> None:
        self.vectors = vectors
        self.tokens = tokens
        #: Number of texts that were cut to the model's limit.
        self.truncated = truncated


class Embedder(Protocol):
    """One model. ``embed`` may be called by several tasks at once."""

    @property
    def space(self) -> Space:
        """The space of the vectors."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text, prompt and special tokens included."""

    @property
    def prompts(self) -> Prompts:
        """The texts that the model wants before a query or a document."""

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        """Return the vectors of ``texts``. Raises ``Refused``, ``Busy``, ``TooMany``, ``IngestError``."""


class Caller(Protocol):
    """What an ingest needs of a scheduler."""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        normalize: bool = True,
        truncate: bool = True,
        priority: Literal["auto", "interactive", "bulk"] = "auto",
    ) -> Embedded:
        """As ``sidecar.scheduler.Scheduler.embed``."""


class LocalEmbedder:
    """A scheduler of this process."""

    def __init__(self, card: ModelCard, prompts: Prompts, scheduler: Caller) -> None:
        self._card = card
        self._prompts = prompts
        self._scheduler = scheduler

    @property
    def space(self) -> Space:
        return Space(self._card.dim, self._card.fingerprint, self._card.model_id)

    @property
    def max_tokens(self) -> int:
        return self._card.max_tokens

    @property
    def prompts(self) -> Prompts:
        return self._prompts

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        priority: Literal["interactive", "bulk"] = "bulk" if input_type == "document" else "interactive"
        try:
            found = await self._scheduler.embed(texts, prompt=self._prompts.of(input_type), priority=priority)
        except Overloaded as error:
            raise Busy(str(error), error.retry_after_s) from error
        except BadVector as error:
            raise Refused({error.index: (error.code.value, str(error))}) from error
        except EngineFailed as error:
            raise TooMany(error.code.value, str(error)) from error
        except Closed as error:
            raise IngestError(IngestCode.EMBEDDER_UNREACHABLE, str(error)) from error
        except SchedulerError as error:
            if CODES[error.code].retryable:
                raise Busy(str(error)) from error
            raise IngestError(IngestCode.EMBEDDER_REFUSED, str(error), details={"code": error.code.value}) from error
        return Answer(found.vectors, found.tokens, len(found.truncated))


async def patiently(
    call: Callable[[], Awaitable[T]],
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Return what ``call`` returns, called until it is not ``Busy``. Raises ``IngestError`` once patience ends."""
    waited, pause = 0.0, _FIRST_WAIT_S
    while True:
        try:
            return await call()
        except Busy as error:
            wait = error.retry_after_s if error.retry_after_s is not None else pause
            if waited + wait > patience_s:
                raise _impatient(error, waited) from error
            log.info("%s; trying again in %.1f s", error, wait)
            await sleep(wait)
            waited, pause = waited + max(wait, _FIRST_WAIT_S), min(2 * pause, _LONGEST_WAIT_S)


class Outcome(NamedTuple):
    """Vectors of the texts that have one; the row of a refused text is zero."""

    answer: Answer
    #: Code and message by index.
    refused: Mapping[int, tuple[str, str]]


class Persistent:
    """Embeds whatever it takes: waits for a server that is away, halves what is too much, goes round the refused."""

    def __init__(
        self,
        embedder: Embedder,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._embedder = embedder
        self._patience_s = patience_s
        self._sleep = sleep

    async def embed(self, texts: Sequence[str], input_type: InputType = "document") -> Outcome:
        """Return the vectors of ``texts``. Raises ``IngestError`` once patience ends."""
        try:
            return Outcome(await self._patiently(texts, input_type), {})
        except TooMany as error:
            return await self._in_halves(texts, input_type, error)
        except Refused as refusal:
            return await self._others(texts, input_type, refusal.texts)

    async def _patiently(self, texts: Sequence[str], input_type: InputType) -> Answer:
        return await patiently(lambda: self._embedder.embed(texts, input_type), self._patience_s, self._sleep)

    async def _in_halves(self, texts: Sequence[str], input_type: InputType, error: TooMany) -> Outcome:
        dim = self._embedder.space.dim
        if len(texts) == 1:
            return Outcome(Answer(np.zeros((1, dim), np.float32), 0, 0), {0: (error.code, str(error))})
        middle = len(texts) // 2
        first = await self.embed(texts[:middle], input_type)
        second = await self.embed(texts[middle:], input_type)
        answer = Answer(
            np.concatenate([first.answer.vectors, second.answer.vectors]),
            first.answer.tokens + second.answer.tokens,
            first.answer.truncated + second.answer.truncated,
        )
        return Outcome(answer, {**first.refused, **{middle + index: why for index, why in second.refused.items()}})

    async def _others(
        self, texts: Sequence[str], input_type: InputType, refused: Mapping[int, tuple[str, str]]
    ) -> Outcome:
        kept = [index for index in range(len(texts)) if index not in refused]
        vectors = np.zeros((len(texts), self._embedder.space.dim), np.float32)
        if not kept:
            return Outcome(Answer(vectors, 0, 0), refused)
        rest = await self.embed([texts[index] for index in kept], input_type)
        vectors[kept] = rest.answer.vectors
        answer = Answer(vectors, rest.answer.tokens, rest.answer.truncated)
        return Outcome(answer, {**refused, **{kept[index]: why for index, why in rest.refused.items()}})


def _impatient(error: Busy, waited: float) -> IngestError:
    return IngestError(
        IngestCode.EMBEDDER_UNREACHABLE,
        f"Wanted vectors, found after {waited:.0f} s of trying: {error}",
        hint="Look at: python -m supervisor status. What was written is kept; run this again to go on.",
    )


def error_details(body: Any) -> Mapping[str, Any]:
    """Return the ``error`` object of an answer's JSON body; empty when it has none."""
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
