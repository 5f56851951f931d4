"""A worker without Ray around it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.ingest.codes import IngestError
from sidecar.ingest.distributed import worker as module
from sidecar.ingest.distributed.answers import hear_answer, hear_described
from sidecar.ingest.distributed.worker import Worker
from sidecar.ingest.embedders import Busy, LocalEmbedder
from sidecar.ingest.local import Local
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.scheduler import Scheduler
from tests.sidecar.ingest.fakes import CARD, SPACE, FakeEngine, vectors_of


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    """Workers load a fake engine; yields what they were asked for."""
    asked: list[Options] = []

    async def load(options: Options, _: Any) -> Local:
        asked.append(options)
        scheduler = Scheduler(FakeEngine())
        return Local(LocalEmbedder(CARD, Prompts({"document": "d: "}), scheduler), Path(), scheduler.close)

    monkeypatch.setattr(module, "load_local", load)
    monkeypatch.setattr("sidecar.environment.apply", lambda _: None)
    return asked


async def test_it_loads_once_and_embeds(loads: list[Options]) -> None:
    worker = Worker(Options(model="m"))
    with pytest.raises(Busy):
        hear_answer(await worker.embed(["a"], "document"))
    for _ in range(2):
        described = hear_described(await worker.start())
        assert (described.space, described.pid) == (SPACE, os.getpid())
    assert len(loads) == 1
    answer = hear_answer(await worker.embed(["a", "b"], "document"))
    np.testing.assert_allclose(answer.vectors, vectors_of(["d: a", "d: b"]), atol=1e-6)
    await worker.close()


async def test_a_model_that_is_not_there_is_told(loads: list[Options], monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> Local:
        raise Failure(ErrorCode.MODEL_NOT_FOUND, "no such model", hint="h")

    monkeypatch.setattr(module, "load_local", fail)
    with pytest.raises(IngestError) as error:
        hear_described(await Worker(Options(model="m")).start())
    assert "MODEL_NOT_FOUND" in error.value.message
    assert loads == []
