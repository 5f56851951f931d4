"""A model that needs no file: its vectors follow from the texts alone, its tokens are words."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.ingest.connect import Connected
from sidecar.ingest.embedders import Answer, InputType, LocalEmbedder
from sidecar.ingest.tokens import EstimatedTokens
from sidecar.models.metadata import Prompts
from sidecar.scheduler import Scheduler
from sidecar.stores import Space

DIM = 16
SPACE = Space(DIM, "fake-fingerprint", "fake/model")
CARD = ModelCard(SPACE.model, DIM, 256, "fake", "cpu", "f32", SPACE.fingerprint)


def vector_of(text: str, dim: int = DIM) -> Float32:
    """Return the unit vector of ``text``."""
    seed = int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")
    row = np.random.default_rng(seed).normal(size=dim).astype(np.float32)
    unit: Float32 = row / np.linalg.norm(row)
    return unit


def vectors_of(texts: Iterable[str]) -> Float32:
    rows = [vector_of(text) for text in texts]
    return np.stack(rows) if rows else np.empty((0, DIM), np.float32)


class FakeEngine:
    """``Engine`` whose ids are the bytes of the text."""

    def __init__(self, card: ModelCard = CARD) -> None:
        self._card = card

    @property
    def card(self) -> ModelCard:
        return self._card

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        ids = [np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) for text in texts]
        return [Encoded(one, len(one), truncated=False) for one in ids]

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        return vectors_of(ids.astype(np.uint8).tobytes().decode("utf-8") for ids in batch)

    def close(self) -> None:
        """Nothing to free."""


class WordTokens:
    """``Tokens``: every run of letters is one."""

    special = 2

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(re.findall(r"\S+", text)) for text in texts]

    def ends(self, text: str) -> list[int]:
        return [match.end() for match in re.finditer(r"\S+", text)]


class FakeEmbedder:
    """``Embedder`` that answers at once, unless ``fail`` says otherwise for the texts it gets."""

    def __init__(self, fail: Callable[[Sequence[str]], Exception | None] = lambda _: None) -> None:
        self._fail = fail
        self.calls: list[list[str]] = []
        self.under_way = 0
        self.most_under_way = 0

    @property
    def space(self) -> Space:
        return SPACE

    @property
    def max_tokens(self) -> int:
        return CARD.max_tokens

    @property
    def prompts(self) -> Prompts:
        return Prompts()

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        self.calls.append(list(texts))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            error = self._fail(texts)
            if error is not None:
                raise error
            return Answer(vectors_of(texts), sum(map(len, texts)), 0)
        finally:
            self.under_way -= 1


async def _nothing() -> None:
    """Nothing to end."""


def connected(embedder: FakeEmbedder | None = None) -> Connected:
    """Return a fake embedder as ``connect`` would; token counts are estimated, so that none needs a file."""
    return Connected(embedder or FakeEmbedder(), EstimatedTokens(), "estimate", "a fake", _nothing)


def scheduled() -> Connected:
    """Return a fake engine behind a real scheduler. Call it within a running event loop."""
    scheduler = Scheduler(FakeEngine())
    embedder = LocalEmbedder(CARD, Prompts(), scheduler)
    return Connected(embedder, EstimatedTokens(), "estimate", "a fake engine", scheduler.close)
