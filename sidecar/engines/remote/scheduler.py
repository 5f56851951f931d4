"""A remote model in the places of an engine and a scheduler."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from preflight.wire import ErrorCode
from sidecar.batching import Lane, Priority, lane_of
from sidecar.engines.base import Float32, ModelCard
from sidecar.engines.remote.batches import estimate, hopeless, requests, shorter
from sidecar.engines.remote.caller import TRIES_AT_START, Caller, Usage
from sidecar.engines.remote.errors import RemoteRefused, TooLong, TooMany
from sidecar.engines.remote.options import RemoteOptions
from sidecar.engines.remote.providers import (
    DEFAULT_MAX_TOKENS,
    MODELS,
    RequestLimits,
    host_of,
    is_openai,
    price_of,
    request_limits,
)
from sidecar.failures import Failure
from sidecar.outcomes import BadVector, Closed, DeadlinePassed, Embedded, Limits, Overloaded, TextTooLong, Work

#: OpenAI refuses the empty string, which is a valid text here.
_EMPTY = " "

_PROBE = "The first request tells the dimensions."

#: A text that is still too long after so many cuts is refused.
_MAX_CUTS = 40

_FINGERPRINT_DIGITS = 16


class Connected(NamedTuple):
    """A remote model that answers."""

    engine: RemoteEngine
    scheduler: RemoteScheduler


class RemoteEngine:
    """What is known of the remote model; stands where an engine does."""

    def __init__(self, card: ModelCard) -> None:
        self._card = card

    @property
    def card(self) -> ModelCard:
        return self._card

    def close(self) -> None:
        """Nothing to free: the scheduler ends the connections."""


class _Part(NamedTuple):
    """Rows of some texts, and which of these were cut."""

    vectors: Float32
    tokens: int
    cut: frozenset[int]


class RemoteScheduler:
    """Takes the calls of ``sidecar.scheduler.Scheduler``. Used from one event loop."""

    def __init__(self, caller: Caller, card: ModelCard, options: RemoteOptions, limits: Limits | None = None) -> None:
        self._caller = caller
        self._card = card
        self._limits = limits or Limits()
        known = request_limits(options.url)
        self._most = RequestLimits(options.max_items or known.items, known.tokens)
        self._slots = {lane: asyncio.Semaphore(options.concurrency) for lane in Lane}
        self._admitted = dict.fromkeys(Lane, 0)
        self._done = 0
        self._closed = False

    @property
    def usage(self) -> Usage:
        """Requests, tokens and estimated cost so far."""
        return self._caller.usage

    async def embed(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        normalize: bool = True,
        truncate: bool = True,
        priority: Priority = "auto",
        deadline_s: float | None = None,
    ) -> Embedded:
        """Embed ``texts`` and return their vectors in order, as ``Scheduler.embed`` does.

        Equal texts are sent once. Raises ``Overloaded``, ``TextTooLong``,
        ``BadVector``, ``DeadlinePassed``, ``Closed`` and the errors of
        ``remote.errors``.
        """
        if self._closed:
            raise Closed("The server is stopping.")
        lane = lane_of(priority, len(texts), sum(map(len, texts)) + len(prompt) * len(texts))
        if self._admitted[lane] and self._admitted[lane] + len(texts) > self._limits.of(lane):
            raise Overloaded(1.0)
        self._admitted[lane] += len(texts)
        try:
            async with asyncio.timeout(deadline_s):
                return await self._embed([prompt + text or _EMPTY for text in texts], normalize, truncate, lane)
        except TimeoutError:
            raise DeadlinePassed(f"{len(texts)} texts were not embedded within {deadline_s} s.") from None
        finally:
            self._admitted[lane] -= len(texts)

    def work(self) -> Work:
        """Return what goes on here: nothing that could hang.

        What waits for the provider is no queue of ours: a watchdog that counted it would restart us while
        we wait as long as the provider asked for.
        """
        return Work(self._done, 0, None, None, None, alive=not self._closed)

    @property
    def waiting(self) -> int:
        """Texts that the provider has not answered yet."""
        return sum(self._admitted.values())

    async def close(self) -> None:
        """Refuse what comes and end the connections."""
        self._closed = True
        await self._caller.close()

    async def _embed(self, texts: Sequence[str], normalize: bool, truncate: bool, lane: Lane) -> Embedded:
        places: dict[str, int] = {}
        order = [places.setdefault(text, len(places)) for text in texts]
        part = await self._all(list(places), order, truncate, lane)
        vectors = _checked(part.vectors[order], normalize)
        self._done += len(texts)
        return Embedded(vectors, part.tokens, tuple(i for i, place in enumerate(order) if place in part.cut))

    async def _all(self, texts: Sequence[str], order: Sequence[int], truncate: bool, lane: Lane) -> _Part:
        """Embed distinct texts, several requests at a time. The first error ends the others."""
        if not texts:
            return _Part(np.empty((0, self._card.dim), np.float32), 0, frozenset())
        spans = list(requests([estimate(text) for text in texts], self._most))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._one(texts, span, order, truncate, lane)) for span in spans]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        return _joined([task.result() for task in running])

    async def _one(self, texts: Sequence[str], span: range, order: Sequence[int], truncate: bool, lane: Lane) -> _Part:
        """Embed the texts of ``span``, in halves where they are too many or one of them is too long."""
        try:
            return await self._send([texts[index] for index in span], lane)
        except TooMany as error:
            if len(span) == 1:
                raise RemoteRefused(f"Text {order.index(span[0])} alone is more than the provider takes.") from error
            self._most = self._most._replace(items=max(1, min(self._most.items, len(span) // 2)))
        except TooLong as error:
            if len(span) == 1:
                return await self._cut(texts[span[0]], span[0], order, error.tokens, truncate, lane)
        middle = len(span) // 2
        halves = [await self._one(texts, half, order, truncate, lane) for half in (span[:middle], span[middle:])]
        return _joined(halves)

    async def _cut(
        self, text: str, place: int, order: Sequence[int], tokens: int | None, truncate: bool, lane: Lane
    ) -> _Part:
        """Embed the beginning of a text that is too long: as much as the provider takes."""
        limit = self._card.max_tokens
        for _ in range(_MAX_CUTS):
            if not truncate:
                break
            text = shorter(text, tokens, limit)
            try:
                part = await self._send([text], lane)
            except TooLong as error:
                tokens = error.tokens
            else:
                return part._replace(cut=frozenset({place}))
        raise TextTooLong(order.index(place), tokens or max(estimate(text), limit + 1), limit)

    async def _send(self, texts: Sequence[str], lane: Lane) -> _Part:
        if any(hopeless(text, self._card.max_tokens) for text in texts):
            raise TooLong(None)
        tokens = sum(map(estimate, texts))
        async with self._slots[lane]:
            rows = await self._caller.call(texts, tokens, self._card.dim)
        return _Part(rows.vectors, rows.tokens if rows.tokens is not None else tokens, frozenset())


def _joined(parts: Sequence[_Part]) -> _Part:
    cut = frozenset[int]().union(*(part.cut for part in parts))
    return _Part(np.concatenate([part.vectors for part in parts]), sum(part.tokens for part in parts), cut)


def _checked(vectors: Float32, normalize: bool) -> Float32:
    """Return the rows, normalised if asked. Raises ``BadVector`` for one that is none."""
    with np.errstate(all="ignore"):  # what goes wrong here is looked for below
        norms: Float32 = np.linalg.norm(vectors, axis=1)
        for index, norm in enumerate(norms):
            if not np.isfinite(norm):
                raise BadVector(index, "not every number is finite")
            if normalize and norm < np.finfo(np.float32).tiny:
                raise BadVector(index, "it cannot be normalised to 1")
        units: Float32 = vectors / norms[:, None] if normalize else vectors
    return units


async def connect(options: RemoteOptions, key: str | None, *, caller: Caller | None = None) -> Connected:
    """Ask the provider for one vector, which tells the dimensions and that key and model are right.

    Raises ``Failure``: EMBEDDER_INIT_FAILED with what the provider said, PYTHON_DEPS_MISSING.
    """
    known = MODELS.get(options.model) if is_openai(options.url) else None
    price = options.price if options.price is not None else price_of(options.url, options.model)
    caller = caller or Caller(options, key, price=price)
    try:
        rows = await caller.call([_PROBE], estimate(_PROBE), options.dimensions, TRIES_AT_START)
        _checked(rows.vectors, normalize=True)
    except Exception as error:
        await caller.close()
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The remote model {options.model!r} gave no vector: {error}",
            hint="Check --remote-url, --remote-model and SIDECAR_REMOTE_KEY.",
            details={"url": options.url, "model": options.model},
        ) from error
    dim = rows.vectors.shape[1]
    host = host_of(options.url)
    card = ModelCard(
        model_id=options.model,
        dim=dim,
        max_tokens=options.max_tokens or (known.max_tokens if known else DEFAULT_MAX_TOKENS),
        engine="remote",
        device=host,
        precision="f32",
        fingerprint=fingerprint(host, options.model, dim),
        dimensions_allowed=known.dimensions_allowed if known else False,
    )
    return Connected(RemoteEngine(card), RemoteScheduler(caller, card, options))


def fingerprint(host: str, model: str, dim: int) -> str:
    """Return what tells this provider's vectors from any others; nobody sees its weights."""
    identity = json.dumps(["remote", host, model, dim])
    return hashlib.sha256(identity.encode("utf-8")).hexdigest()[:_FINGERPRINT_DIGITS]
