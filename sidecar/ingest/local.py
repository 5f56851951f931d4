"""An engine of this process, with the scheduler that plans its micro-batches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire import EventType
from sidecar.ingest.embedders import LocalEmbedder
from sidecar.models import resolve
from sidecar.models.metadata import read_prompts
from sidecar.options import Options

Tell = Callable[[EventType, Mapping[str, Any]], None]


class Local(NamedTuple):
    """A loaded model."""

    embedder: LocalEmbedder
    folder: Path
    close: Callable[[], Awaitable[None]]


async def load_local(options: Options, tell: Tell) -> Local:
    """Resolve and load the model of ``options``. Raises ``Failure``."""
    from sidecar.engines.loader import load
    from sidecar.scheduler import Scheduler

    resolved = await asyncio.to_thread(resolve, options.model, report=tell)
    engine = (await asyncio.to_thread(load, resolved, options, tell)).engine
    scheduler = Scheduler(engine)

    async def close() -> None:
        await scheduler.close()
        engine.close()

    return Local(LocalEmbedder(engine.card, read_prompts(resolved.folder), scheduler), resolved.folder, close)
