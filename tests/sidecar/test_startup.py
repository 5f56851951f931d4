from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from preflight.wire import ErrorCode, EventType, Stage
from sidecar import startup
from sidecar.engines.loader import Chosen
from sidecar.failures import Failure
from sidecar.models import ResolvedModel, Source
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.progress import Progress
from sidecar.service import Service
from tests.sidecar.api.fakes import BROKEN, CARD, NONCE, TinyEngine

Report = Callable[[EventType, Mapping[str, Any]], None]
TINY = ResolvedModel("org/tiny", Path("/models/tiny"), Source.FOLDER, "./tiny")


class Told:
    """The lines of a start, and the service's stage at each."""

    def __init__(self) -> None:
        self.service = Service(Options(model="./tiny", nonce=NONCE))
        self.progress = Progress(self._write)
        self.events: list[tuple[str, Stage]] = []
        self.data: list[Mapping[str, Any]] = []

    def _write(self, line: bytes) -> None:
        event = json.loads(line.removeprefix(b"PROGRESS:"))
        self.events.append((event["type"], self.service.stage))
        self.data.append(event["data"])


def _loading(monkeypatch: pytest.MonkeyPatch, load: Callable[[Report], Chosen]) -> None:
    monkeypatch.setattr(startup, "_load", lambda options, report: (TINY, Prompts({"query": "q: "}), load(report)))


async def test_each_step_is_told_and_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    instead_of = Failure(ErrorCode.MODEL_PARITY_FAILED, "other vectors")

    def load(report: Report) -> Chosen:
        report(EventType.MODEL_CACHED, {"model": "org/tiny", "path": "/models/tiny"})
        report(EventType.CONVERSION_STARTED, {"model": "org/tiny", "engine": "tiny"})
        report(EventType.CONVERSION_FINISHED, {"seconds": 1, "min_cosine": 1.0})
        return Chosen(TinyEngine(), instead_of)

    _loading(monkeypatch, load)
    await startup.start(told.service, told.progress)
    assert told.events == [
        ("model_cached", Stage.MODEL_RESOLVE),
        ("conversion_started", Stage.DOWNLOADING),
        ("conversion_finished", Stage.DOWNLOADING),
        ("model_loaded", Stage.SIDECAR_READY),
        ("warmed_up", Stage.READY),
    ]
    loaded = told.data[3]
    assert loaded["load_ms"] >= 0
    assert (loaded["model"], loaded["dimensions"], loaded["fingerprint"]) == ("org/tiny", CARD.dim, CARD.fingerprint)
    assert told.service.health()["status"] == "ok"
    info = told.service.info()
    assert info["prompts"] == {"query": "q: "}
    assert info["warnings"] == [{"code": "MODEL_PARITY_FAILED", "message": "other vectors"}]
    assert told.service.loaded is not None
    assert told.service.loaded.names == {"org/tiny", "tiny", "./tiny"}
    await told.service.loaded.scheduler.close()


async def test_the_event_loop_runs_while_the_model_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    told, gate = Told(), threading.Event()

    def load(_: Report) -> Chosen:
        assert gate.wait(10)
        return Chosen(TinyEngine())

    _loading(monkeypatch, load)
    starting = asyncio.create_task(startup.start(told.service, told.progress))
    await asyncio.sleep(0)
    assert told.service.health()["model_loading"] is True
    gate.set()
    await starting
    assert told.service.loaded is not None
    await told.service.loaded.scheduler.close()


async def test_a_typed_failure_keeps_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure(ErrorCode.MODEL_CORRUPT, "half a tensor")

    def load(_: Report) -> Chosen:
        raise failure

    _loading(monkeypatch, load)
    with pytest.raises(Failure) as caught:
        await startup.start(Told().service, Told().progress)
    assert caught.value is failure


@pytest.mark.parametrize("where", ["load", "first inference"])
async def test_anything_else_is_an_engine_that_cannot_start(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Report) -> Chosen:
        if where == "load":
            raise OSError("no such library")
        return Chosen(TinyEngine())

    _loading(monkeypatch, load)
    monkeypatch.setattr(startup, "_WARM_UP", [BROKEN])
    told = Told()
    with pytest.raises(Failure) as caught:
        await startup.start(told.service, told.progress)
    assert caught.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert caught.value.__cause__ is not None
    assert caught.value.hint
    assert told.service.loaded is None


async def test_a_start_that_is_given_up_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def load(_: Report) -> Chosen:
        gate.wait(10)
        return Chosen(TinyEngine())

    _loading(monkeypatch, load)
    starting = asyncio.create_task(startup.start(Told().service, Told().progress))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    gate.set()
    for thread in threading.enumerate():
        if thread.name == startup.LOADER_THREAD:
            await asyncio.to_thread(thread.join, 5)
