"""Who embeds: a server, this process, a sidecar of our own, or a model elsewhere."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from aiohttp import web

from preflight.wire import EventType
from preflight.wire.models import EMBEDDED_MODEL, EMBEDDED_MODEL_ID, EMBEDDED_MODULE
from sidecar.engines.remote import RemoteOptions
from sidecar.ingest import connect as module
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.connect import AUTO, NONE, Wanted, connect
from sidecar.ingest.embedders import LocalEmbedder
from sidecar.ingest.http_embedder import HttpEmbedder
from sidecar.ingest.private import PrivateSidecar
from sidecar.ingest.tokens import EstimatedTokens, ModelTokens
from sidecar.options import Options
from tests.sidecar.ingest.fakes import CARD, vectors_of
from tests.sidecar.ingest.servers import answering, sidecar

WANTED = Wanted(AUTO, None, Options(model=EMBEDDED_MODEL), False, None, False)


def _silent(_: EventType, __: Mapping[str, Any]) -> None:
    """Nobody listens."""


async def _unused(_: web.Request) -> web.Response:
    raise AssertionError("nothing is embedded here")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """No server at the usual port."""
    monkeypatch.setattr(module, "DEFAULT_SERVER", "http://127.0.0.1:1")


async def test_a_server_that_is_named_is_used_and_its_tokens_estimated_where_its_model_is_not_here() -> None:
    async with sidecar() as url:
        found = await connect(dataclasses.replace(WANTED, server=url + "/"), _silent)
        assert isinstance(found.embedder, HttpEmbedder)
        assert isinstance(found.tokens, EstimatedTokens)
        assert (found.counted_by, found.where) == ("estimate", url)
        await found.close()


async def test_the_usual_server_is_used_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with sidecar() as url:
        monkeypatch.setattr(module, "DEFAULT_SERVER", url)
        found = await connect(WANTED, _silent)
        assert found.where == url
        await found.close()


async def test_another_model_than_the_named_one_is_refused() -> None:
    async with sidecar() as url:
        wanted = dataclasses.replace(WANTED, server=url, model_named=True)
        with pytest.raises(IngestError) as error:
            await connect(wanted, _silent)
        assert error.value.code is IngestCode.EMBEDDER_REFUSED
        named = dataclasses.replace(wanted, options=Options(model=CARD.model_id))
        await (await connect(named, _silent)).close()


async def test_a_named_server_that_is_not_there_is_told() -> None:
    with pytest.raises(IngestError) as error:
        await connect(dataclasses.replace(WANTED, server="http://127.0.0.1:1"), _silent)
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE


async def test_a_server_that_is_starting_is_waited_for() -> None:
    asked = []

    async def info(_: web.Request) -> web.Response:
        asked.append(1)
        if len(asked) < 3:
            return web.json_response({}, status=503, headers={"Retry-After": "0"})
        described = {"model_id": "x", "dim": 4, "fingerprint": "f", "max_tokens": 16}
        return web.json_response(described)

    async with answering(_unused, info) as url:
        found = await connect(dataclasses.replace(WANTED, server=url), _silent)
        assert (len(asked), found.embedder.space.dim) == (3, 4)
        await found.close()


def _folder() -> Path:
    return Path(pytest.importorskip(EMBEDDED_MODULE).__path__[0]) / "model"


async def test_the_tokenizer_of_a_servers_model_is_found_on_this_machine(tmp_path: Path) -> None:
    folder = _folder()

    async def info(_: web.Request) -> web.Response:
        return web.json_response({"model_id": EMBEDDED_MODEL_ID, "dim": 4, "fingerprint": "f", "max_tokens": 16})

    async with answering(_unused, info) as url:
        found = await connect(dataclasses.replace(WANTED, server=url), _silent)
        assert isinstance(found.tokens, ModelTokens)
        await found.close()
        with pytest.raises(IngestError) as error:
            await connect(dataclasses.replace(WANTED, server=url, tokenizer=tmp_path), _silent)
        assert error.value.code is IngestCode.EMBEDDER_REFUSED
        named = await connect(dataclasses.replace(WANTED, server=url, tokenizer=folder), _silent)
        assert named.counted_by == "model"
        await named.close()


async def test_a_model_elsewhere_is_used_when_it_is_named() -> None:
    pytest.importorskip("openai")
    async with sidecar() as url:
        wanted = dataclasses.replace(WANTED, remote=RemoteOptions(f"{url}/v1", CARD.model_id))
        found = await connect(wanted, _silent)
        try:
            answer = await found.embedder.embed(["a", "b"], "document")
            np.testing.assert_allclose(answer.vectors, vectors_of(["a", "b"]), atol=1e-6)
            assert found.embedder.space.fingerprint != CARD.fingerprint
        finally:
            await found.close()


@pytest.mark.slow
@pytest.mark.usefixtures("nobody")
async def test_an_engine_of_this_process_where_there_is_no_server() -> None:
    _folder()
    found = await connect(WANTED, _silent)
    try:
        assert isinstance(found.embedder, LocalEmbedder)
        assert found.embedder.space.dim == 384
        assert (found.counted_by, found.where) == ("model", "this process")
        answer = await found.embedder.embed(["a", "b"], "document")
        assert answer.vectors.shape == (2, 384)
    finally:
        await found.close()


@pytest.mark.slow
@pytest.mark.usefixtures("nobody")
async def test_a_sidecar_of_our_own_for_stores_that_want_no_engine_beside_them() -> None:
    _folder()
    events: list[EventType] = []
    found = await connect(dataclasses.replace(WANTED, apart=True), lambda type_, _: events.append(type_))
    children = psutil.Process().children()
    try:
        assert found.where == "a sidecar of our own"
        assert (await found.embedder.embed(["a"], "document")).vectors.shape == (1, 384)
        assert EventType.MODEL_LOADED in events
    finally:
        await found.close()
    assert not any(child.is_running() for child in children if "runpy" in " ".join(_command(child)))


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
async def test_a_sidecar_of_our_own_that_cannot_start_says_why() -> None:
    with pytest.raises(IngestError) as error:
        await PrivateSidecar.start(["--model", "/no/such/model"], 1, _silent)
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE
    assert "MODEL_NOT_FOUND" in error.value.message


async def test_a_sidecar_of_our_own_that_ends_without_a_word_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.ingest.private._PROGRAM", "print('log'); raise SystemExit(7)")
    with pytest.raises(IngestError) as error:
        await PrivateSidecar.start([], 1, _silent)
    assert "status 7" in error.value.message


async def test_no_server_is_asked_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def here(*_: Any) -> str:
        return "here"

    monkeypatch.setattr(module, "_here", here)
    monkeypatch.setattr(module, "_ask", lambda *_: asked.set())
    assert await connect(dataclasses.replace(WANTED, server=NONE), _silent) == "here"  # type: ignore[comparison-overlap]
    assert not asked.is_set()
