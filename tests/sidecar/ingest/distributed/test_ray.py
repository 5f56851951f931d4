"""Whole runs over Ray: two nodes on this machine, workers that are killed, a cluster that is not there."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire.models import EMBEDDED_MODEL, EMBEDDED_MODULE
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.connect import NONE, Connected, Wanted, connect
from sidecar.ingest.distributed.cluster import Cluster
from sidecar.ingest.distributed.connecting import Distribution
from sidecar.ingest.distributed.dispatch import Engines, Gone
from sidecar.ingest.embedders import Answer, InputType
from sidecar.ingest.report import Report
from sidecar.ingest.run import Job, ingest, opened
from sidecar.options import Options
from sidecar.stores import StoreUrl, parse
from tests.sidecar.ingest.kill_rounds import write_sources
from tests.sidecar.stores.dump import Dump, dump

if importlib.util.find_spec("ray") is None or importlib.util.find_spec(EMBEDDED_MODULE) is None:
    pytest.skip("needs Ray and the embedded model", allow_module_level=True)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray's own: sockets and processes that it leaves to the collector
]

_CHUNKS = 400
_PATIENCE_S = 120.0
_OPTIONS = Options(model=EMBEDDED_MODEL, threads=1, offline=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sources"
    write_sources(made, _CHUNKS, "Word")
    return made


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster of two nodes with a core each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        utils = importlib.import_module("ray.cluster_utils")
        cluster: Any = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def _wanted(distribution: Distribution | None) -> Wanted:
    return Wanted(NONE, None, _OPTIONS, True, None, False, distribution=distribution)


async def _connect(distribution: Distribution | None) -> Connected:
    return await connect(_wanted(distribution), lambda *_: None)


async def _run(url: StoreUrl, folder: Path, made: Connected) -> Report:
    job = Job((str(folder),), base=folder, chunk_tokens=24, overlap_tokens=0)
    async with opened(url) as (store, thread):
        return await ingest(job, made, store, thread, lambda _: None)


async def _undisturbed(url: StoreUrl, folder: Path) -> Dump:
    """The same files embedded by one engine of this process."""
    made = await _connect(None)
    try:
        await _run(url, folder, made)
    finally:
        await made.close()
    return dump(url)


def _same(found: Dump, wanted: Dump) -> None:
    """Rows and ledger are equal; vectors as nearly as another batch makes them."""
    assert found.ledger == wanted.ledger
    assert found.rows.keys() == wanted.rows.keys()
    for id_, row in wanted.rows.items():
        assert found.rows[id_]._replace(vector=b"") == row._replace(vector=b"")
        pair = [np.frombuffer(one.vector, np.float32) for one in (found.rows[id_], row)]
        assert float(pair[0] @ pair[1]) > 0.9999


async def test_two_nodes_write_what_one_process_does(address: str, folder: Path, tmp_path: Path) -> None:
    wanted = await _undisturbed(parse(f"sqlite:{tmp_path}/one.db"), folder)
    made = await _connect(Distribution(address))
    try:
        assert "2 workers on 2 nodes" in made.where
        assert isinstance(made.embedder, Engines)
        await made.embedder.all_up()
        report = await _run(parse(f"sqlite:{tmp_path}/two.db"), folder, made)
    finally:
        await made.close()
    assert (report.chunks, report.codes) == (_CHUNKS, {})
    _same(dump(parse(f"sqlite:{tmp_path}/two.db")), wanted)


class Killing:
    """``Embedder`` that kills one of the workers with the third request."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._requests = 0
        self.killed = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engines, name)

    async def pid(self) -> int:
        return (await self._engines._workers[0].handle.start()).pid

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        self._requests += 1
        if self._requests == 3:
            self.killed = await self.pid()
            os.kill(self.killed, signal.SIGKILL)
        return await self._engines.embed(texts, input_type)


async def test_a_worker_that_is_killed_costs_time_alone(folder: Path, tmp_path: Path) -> None:
    wanted = await _undisturbed(parse(f"sqlite:{tmp_path}/one.db"), folder)
    made = await _connect(Distribution("local", 2, 1))
    try:
        assert isinstance(made.embedder, Engines)
        await made.embedder.all_up()
        killing = Killing(made.embedder)
        report = await _run(parse(f"sqlite:{tmp_path}/two.db"), folder, made._replace(embedder=killing))
        assert report.chunks == _CHUNKS
        assert await _pid_of_the_next(killing) != killing.killed  # Ray has started it again
    finally:
        await made.close()
    _same(dump(parse(f"sqlite:{tmp_path}/two.db")), wanted)


async def _pid_of_the_next(killing: Killing) -> int:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            try:
                return await killing.pid()
            except Gone:
                await asyncio.sleep(0.2)


def test_a_cluster_that_is_not_there_is_told() -> None:
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        with pytest.raises(IngestError) as error:
            Cluster(address)
    assert error.value.code is IngestCode.EMBEDDER_UNREACHABLE
