"""The sidecar's own server over a model elsewhere: the same contract, and no key in sight."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from preflight.wire import ErrorCode, EventType
from sidecar.options import EngineName, Options, UsageError, parse
from tests.sidecar.engines.remote.provider import KEY, Provider, error_of
from tests.sidecar.ingest.fakes import DIM, vectors_of
from tests.sidecar.ingest.servers import listening
from tests.sidecar.process import Sidecar, sidecar

pytest.importorskip("openai")


def _ask(folder: Path, url: str) -> tuple[Mapping[str, object], list[tuple[int, object]], str]:
    """Start a sidecar over the provider at ``url``; return its ``model_loaded``, its answers, and all it said."""
    arguments = ("--engine", "remote", "--remote-url", f"{url}/v1", "--remote-model", "m")
    with sidecar(folder, *arguments, environ={"SIDECAR_REMOTE_KEY": KEY}) as started:
        started.wait_for(EventType.WARMED_UP.value)
        loaded = started.wait_for(EventType.MODEL_LOADED.value)
        calls = [
            started.call("/health"),
            started.call("/info"),
            started.call("/embed", {"texts": ["a", "b"]}),
            started.call("/v1/embeddings", {"input": ["a"], "model": "m"}),
        ]
        said = "\n".join([_metrics(started), started.stderr, *map(str, started.events), *map(str, calls)])
    return loaded, calls, said


def _metrics(started: Sidecar) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(started.url + "/metrics") as response:
        return str(response.read().decode())


@pytest.mark.slow
async def test_a_provider_behind_the_sidecars_contract(tmp_path: Path) -> None:
    provider = Provider()
    app = web.Application()
    app.add_routes([web.post("/v1/embeddings", provider.handle)])
    async with listening(app) as url:
        loaded, calls, said = await asyncio.to_thread(_ask, tmp_path, url)
    (_, health), (_, info), (status, embedded), (openai, _) = calls
    assert (loaded["engine"], loaded["dimensions"]) == ("remote", DIM)
    assert isinstance(health, dict)
    assert isinstance(info, dict)
    assert isinstance(embedded, dict)
    assert (health["status"], health["model"], health["device"]) == ("ok", "m", url.removeprefix("http://"))
    assert (info["engine"], info["fingerprint"]) == ("remote", loaded["fingerprint"])
    assert (status, openai) == (200, 200)
    np.testing.assert_allclose(np.array(embedded["vectors"], np.float32), vectors_of(["a", "b"]), atol=1e-6)
    assert provider.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert "embedding_sidecar_remote_requests_total 4" in said  # the probe, the warm-up and two calls
    assert KEY not in said


@pytest.mark.slow
async def test_a_key_that_is_refused_ends_the_start_with_its_code(tmp_path: Path) -> None:
    provider = Provider()
    provider.choose = lambda: error_of(401, f"Incorrect API key provided: {KEY}")
    app = web.Application()
    app.add_routes([web.post("/v1/embeddings", provider.handle)])

    def start(url: str) -> tuple[int, Mapping[str, object], str]:
        arguments = ("--engine", "remote", "--remote-url", f"{url}/v1", "--remote-model", "m")
        with sidecar(tmp_path, *arguments, environ={"SIDECAR_REMOTE_KEY": KEY}) as started:
            error = started.wait_for(EventType.ERROR.value)
            return started.end(60), error, started.stderr + str(started.events)

    async with listening(app) as url:
        status, error, said = await asyncio.to_thread(start, url)
    assert (status, error["code"]) == (1, ErrorCode.EMBEDDER_INIT_FAILED.value)
    assert KEY not in said


def test_options_by_command_line_and_environment() -> None:
    given = parse(
        ["--engine", "remote", "--remote-model", "m", "--remote-dimensions", "256"],
        {"SIDECAR_REMOTE_URL": "https://example.org/v1", "SIDECAR_REMOTE_MAX_ITEMS": "8"},
    )
    assert (given.engine, given.remote_model, given.remote_dimensions) == (EngineName.REMOTE, "m", 256)
    assert (given.remote_url, given.remote_max_items) == ("https://example.org/v1", 8)
    assert KEY not in repr(Options(token=KEY))


@pytest.mark.parametrize("given", [["--engine", "remote"], ["--remote-model", "m"]])
def test_no_engine_is_taken_for_another(given: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="both or neither"):
        parse(given, {})
