"""Ingests over several workers, measured on this machine.

    python -m benchmarks.scale workers    workers over Ray against one process with as many threads
    python -m benchmarks.scale driver     what one run reads, cuts and writes when embedding costs nothing: its ceiling

Chunks a second of wall time are told, and of processor time of all processes involved: on a machine that does other
things as well, the second is the one to compare. Each needs the extras ``sqlite`` and ``ingest``, ``driver`` also
``postgres`` and the package pgserver, ``workers`` also ``distributed``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from benchmarks.texts import mixed_texts
from preflight.wire.models import EMBEDDED_MODEL
from sidecar import environment
from sidecar.engines.base import Float32
from sidecar.ingest.connect import NONE, Connected, Wanted, connect
from sidecar.ingest.distributed.connecting import Distribution
from sidecar.ingest.distributed.dispatch import Engines
from sidecar.ingest.embedders import Answer, Embedder, InputType
from sidecar.ingest.run import Job, ingest, opened
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.stores import Space, parse
from tests.sidecar.stores.servers import postgres_address

_CHUNK_TOKENS = 128


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["workers", "driver"])
    parser.add_argument("--texts", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each worker")
    given = parser.parse_args()
    environment.apply(given.workers * given.threads)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder, "sources")
        sources.mkdir()
        texts = mixed_texts(given.texts, seed=3)
        for number in range(0, len(texts), 20):
            (sources / f"{number}.txt").write_text(".\n\n".join(texts[number : number + 20]), "utf-8")
        asyncio.run({"workers": workers, "driver": driver}[given.what](given, Path(folder), sources))


async def workers(given: argparse.Namespace, folder: Path, sources: Path) -> None:
    """The same files by turns: an engine of this process with all threads, and workers that share them."""
    cores = given.workers * given.threads
    ratios = []
    for round_ in range(given.rounds):
        alone = await _connected(cores, None)
        one = await _ingest(f"sqlite:{folder}/one{round_}.db", sources, alone)
        await alone.close()
        spread = await _connected(cores, Distribution("local", given.workers, given.threads))
        assert isinstance(spread.embedder, Engines)
        await spread.embedder.all_up()
        many = await _ingest(f"sqlite:{folder}/many{round_}.db", sources, spread)
        await spread.close()
        ratios.append((many.wall / one.wall, many.cpu / one.cpu))
        print(f"one process, {cores} threads: {one}; {given.workers} workers: {many}")
    wall, cpu = (100 * statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"workers keep {wall:.1f} % by wall time, {cpu:.1f} % by processor time (medians of {given.rounds})")


async def driver(given: argparse.Namespace, folder: Path, sources: Path) -> None:
    """Vectors that cost nothing, of the model's own length, through the whole of a run."""
    made = await _connected(1, None)
    free = made._replace(embedder=Free(made.embedder))
    with postgres_address() as server:
        for round_ in range(given.rounds):
            for url in (f"sqlite:{folder}/free{round_}.db", f"{server}&table=free_{round_}"):
                print(f"read, cut and written into {url.partition(':')[0]}: {await _ingest(url, sources, free)}")
    await made.close()


class Free:
    """``Embedder`` that answers at once: one vector for all texts."""

    def __init__(self, like: Embedder) -> None:
        self._like = like
        self._row: Float32 = np.zeros(like.space.dim, np.float32)
        self._row[0] = 1

    @property
    def space(self) -> Space:
        return self._like.space

    @property
    def max_tokens(self) -> int:
        return self._like.max_tokens

    @property
    def prompts(self) -> Prompts:
        return self._like.prompts

    async def embed(self, texts: Sequence[str], _: InputType) -> Answer:
        return Answer(np.tile(self._row, (len(texts), 1)), 0, 0)


async def _connected(threads: int, distribution: Distribution | None) -> Connected:
    options = Options(model=EMBEDDED_MODEL, threads=threads, offline=True)
    wanted = Wanted(NONE, None, options, True, None, False, distribution=distribution)
    return await connect(wanted, lambda *_: None)


class Rate(NamedTuple):
    """Chunks a second of wall time and of processor time."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} chunks/s, {self.cpu:.1f} a second of processor time"


async def _ingest(url: str, sources: Path, made: Connected) -> Rate:
    began, spent = time.perf_counter(), _cpu_s()
    job = Job((str(sources),), chunk_tokens=_CHUNK_TOKENS)
    async with opened(parse(url)) as (store, thread):
        report = await ingest(job, made, store, thread, lambda _: None)
    assert not report.codes, report.as_dict()
    return Rate(report.chunks / (time.perf_counter() - began), report.chunks / (_cpu_s() - spent))


def _cpu_s() -> float:
    """Processor time of this process and of all below it, but for a store's server, which is not ours to count."""
    ours = psutil.Process()
    processes = [ours, *(child for child in ours.children(recursive=True) if child.name() != "postgres")]
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
