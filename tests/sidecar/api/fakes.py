"""An engine small enough to know every number of, behind the real scheduler and the real application."""

from __future__ import annotations

import contextlib
import threading
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from aiohttp.test_utils import TestClient, TestServer

from sidecar.app import build
from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.outcomes import Limits
from sidecar.scheduler import Scheduler
from sidecar.service import Loaded, Service

MAX_TOKENS = 16
DIM = 4
NONCE = "nonce-of-this-launch"

#: Texts that make the engine misbehave.
NAN, BROKEN = "give me NaN", "raise an error"

CARD = ModelCard(
    model_id="org/tiny",
    dim=DIM,
    max_tokens=MAX_TOKENS,
    engine="tiny",
    device="cpu",
    precision="f32",
    fingerprint="f1ngerpr1nt",
)


def _id(word: str) -> int:
    return 3 + zlib.crc32(word.encode()) % 1_000_003


@dataclass
class TinyEngine:
    """One token a word and two around them; the vector is made of the tokens. ``gate``: inference waits for it."""

    card: ModelCard = CARD
    gate: threading.Event | None = None
    seen: list[str] = field(default_factory=list)

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        self.seen += texts
        found = []
        for text in texts:
            words = text.split()
            ids = [1, *map(_id, words[: MAX_TOKENS - 2]), 2]
            found.append(Encoded(np.array(ids, np.int32), len(words) + 2, len(words) > MAX_TOKENS - 2))
        return found

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        if self.gate is not None:
            assert self.gate.wait(10)
        return np.stack([self._vector(ids) for ids in batch])

    def _vector(self, ids: TokenIds) -> Float32:
        if _id("NaN") in ids:
            return np.full(DIM, np.nan, np.float32)
        if _id("error") in ids:
            raise RuntimeError("the engine is broken")
        return np.array([ids.sum(), len(ids), ids[1], 1], np.float32)

    def close(self) -> None:
        """Nothing to free."""


@dataclass
class Served:
    """The application on a real port, and what is behind it."""

    client: TestClient  # type: ignore[type-arg]
    service: Service
    engine: TinyEngine


@contextlib.asynccontextmanager
async def serve(
    engine: TinyEngine | None = None,
    *,
    options: Options | None = None,
    prompts: Prompts | None = None,
    limits: Limits | None = None,
    ready: bool = True,
) -> AsyncIterator[Served]:
    """Serve ``engine``; ``ready``: the model is loaded already."""
    engine = engine or TinyEngine()
    service = Service(options or Options(model="org/tiny", nonce=NONCE))
    scheduler = Scheduler(engine, limits)
    if ready:
        service.ready(Loaded(engine, scheduler, prompts or Prompts(), frozenset({"org/tiny", "tiny"})))
    async with TestClient(TestServer(build(service))) as client:
        try:
            yield Served(client, service, engine)
        finally:
            if engine.gate is not None:
                engine.gate.set()
            await scheduler.close()
