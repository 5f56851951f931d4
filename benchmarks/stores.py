"""Stores and ingests, measured: writing, recall, the share of the engine's rate, and staying up.

    python -m benchmarks.stores write    PostgreSQL: COPY in batches against one INSERT a row, statements of a batch
    python -m benchmarks.stores recall   approximate against exact search, on vectors of real texts
    python -m benchmarks.stores ingest   files into a store against the engine alone, on the same texts
    python -m benchmarks.stores soak     Chroma written and searched while an engine embeds, for --minutes

Needs the extras ``sqlite``, ``postgres``, ``chroma`` and ``ingest``, and the package pgserver for PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.texts import mixed_texts, queries
from preflight.wire import cpus
from preflight.wire.models import EMBEDDED_MODEL
from sidecar import environment
from sidecar.engines.base import Float32
from sidecar.ingest.connect import NONE, Connected, Wanted, connect
from sidecar.ingest.run import Job, ingest, opened
from sidecar.options import Options
from sidecar.stores import Batch, IndexKind, IndexOptions, Row, SourceState, Space, Store, open_store, parse
from tests.sidecar.stores.servers import postgres_address

_BATCH = 2048
_LEDGER_LINE = SourceState("source", "h", None)

#: Sources of a soak: so few that most of its batches replace rows.
_SOAKED_SOURCES = 50


def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "recall", "ingest", "soak"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--chars", type=int, default=160, help="of the texts of recall: embedding is not measured")
    parser.add_argument("--texts", type=int, default=2_000, help="texts of the ingest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0)
    given = parser.parse_args()
    environment.apply(cpus.usable_cores())
    warnings.simplefilter("ignore")
    {"write": write, "recall": recall, "ingest": measure_ingest, "soak": soak}[given.what](given)


def write(given: argparse.Namespace) -> None:
    """COPY and upsert by batches against the usual ways of inserting row by row, one after the other."""
    rows, vectors = _rows(given.rows), _random_vectors(given.rows, given.dim)
    space = Space(given.dim, "f", "m")
    with postgres_address() as server:
        store = open_store(parse(f"{server}&table=measured"))
        batches = max(_fill(store, space, rows, vectors) for _ in range(given.rounds))
        print(f"COPY and upsert, {_BATCH} rows a transaction: {batches:.0f} rows/s")
        for name, rate in _row_by_row(store, rows, vectors).items():
            print(f"one INSERT a row, {name}: {rate:.0f} rows/s, {batches / rate:.1f} times slower")
        for size in (10, 100, 1000):
            print(f"statements of a batch of {size} rows: {_statements(store, space, rows, vectors, size)}")
        store.close()


def _fill(store: Store, space: Space, rows: list[Row], vectors: Float32) -> float:
    """Fill the table anew by batches; return rows a second."""
    store.begin(space)
    store.remove(["source"])
    store.commit()
    began = time.perf_counter()
    for start in range(0, len(rows), _BATCH):
        end = start + _BATCH
        store.begin(space)
        store.upsert(Batch(rows[start:end], vectors[start:end], [_LEDGER_LINE]))
        store.commit()
    return len(rows) / (time.perf_counter() - began)


def _row_by_row(store: Any, rows: list[Row], vectors: Float32, count: int = 1000) -> dict[str, float]:
    """Insert ``count`` rows in the usual ways; return rows a second of each."""
    db, ledger = store._db, store._sql.write_ledger(store._sql.ledger)
    insert = (
        f"INSERT INTO {store._sql.table} (id, source, ordinal, content_hash, text, metadata, embedding) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s)"
    )

    def one(row: Row, vector: Any) -> None:
        db.execute(insert, (f"{row.id} {time.monotonic_ns()}", "source", 0, "h", row.text, "{}", vector))

    def with_ledger(row: Row, vector: Any) -> None:
        with db.transaction():
            one(row, vector)
            db.execute(ledger, (["source"], ["h"], [None]))

    ways: dict[str, Callable[[Row, Any], None]] = {
        "the vector as a list": lambda row, vector: one(row, vector.tolist()),
        "the vector as text": lambda row, vector: one(row, str(vector.tolist())),
        "the vector in binary": one,
        "the vector in binary, with its ledger line in the same transaction": with_ledger,
    }
    rates = {}
    for name, way in ways.items():
        began = time.perf_counter()
        for row, vector in zip(rows[:count], vectors[:count], strict=True):
            way(row, vector)
        rates[name] = min(count, len(rows)) / (time.perf_counter() - began)
    return rates


def _statements(store: Any, space: Space, rows: list[Row], vectors: Float32, size: int) -> int:
    """Count in the server's log what one batch sends."""
    log = Path(store._db.execute("SHOW data_directory").fetchone()[0]) / "log"
    store._db.execute("SET log_statement = 'all'")
    before = log.read_text("utf-8", "replace").count("LOG:  ")
    store.begin(space)
    store.upsert(Batch(rows[:size], vectors[:size], [_LEDGER_LINE], ["gone"]))
    store.commit()
    sent = log.read_text("utf-8", "replace").count("LOG:  ") - before
    store._db.execute("SET log_statement = 'none'")
    return sent


def recall(given: argparse.Namespace) -> None:
    """Recall@10 and time of a search, on vectors of real texts and on random ones, which are the hardest there are."""
    texts = list(dict.fromkeys(text[: given.chars] for text in mixed_texts(given.rows, seed=5)))
    asked = queries(200)
    vectors, questions = asyncio.run(_embedded(texts, asked))
    hard = _random_vectors(len(texts), vectors.shape[1])
    with postgres_address() as server, tempfile.TemporaryDirectory() as folder:
        for name, url in (
            ("pgvector HNSW", f"{server}&table=real_rows"),
            ("Chroma", f"chroma:{folder}/chroma"),
        ):
            print(f"{name}, {len(texts)} real texts: {_recall(url, vectors, questions)}")
        print(f"pgvector HNSW, random vectors: {_recall(f'{server}&table=hard_rows', hard, hard[:200] + questions)}")
        print(f"SQLite, {len(texts)} real texts: {_recall(f'sqlite:{folder}/v.db', vectors, questions)}")


def _recall(url: str, vectors: Float32, questions: Float32) -> str:
    questions = questions / np.linalg.norm(questions, axis=1, keepdims=True)
    store = open_store(parse(url))
    space = Space(vectors.shape[1], "f", "m")
    _fill(store, space, _rows(len(vectors)), vectors)
    if url.startswith("postgresql"):
        store.build_index(IndexOptions(IndexKind.HNSW, memory_mb=256))
    wanted = [{f"row {i}" for i in np.argsort(-(vectors @ question))[:10]} for question in questions]
    found, times = 0, []
    for question, exact in zip(questions, wanted, strict=True):
        began = time.perf_counter()
        hits = store.search(question, 10)
        times.append(time.perf_counter() - began)
        found += len(exact & {hit.id for hit in hits})
    store.close()
    return f"recall@10 {found / (10 * len(questions)):.4f}, median {1000 * statistics.median(times):.1f} ms a search"


def measure_ingest(given: argparse.Namespace) -> None:
    """The engine alone on the chunks of some files, then whole ingests of these files, by turns."""
    asyncio.run(_measure_ingest(given))


async def _measure_ingest(given: argparse.Namespace) -> None:
    connected = await _engine()
    with postgres_address() as server, tempfile.TemporaryDirectory() as folder:
        sources = Path(folder, "sources")
        files = _write_files(sources, mixed_texts(given.texts, seed=3))
        await _ingest(f"sqlite:{folder}/first.db", sources, connected)
        rows = _texts_of(f"{folder}/first.db")
        print(f"{given.texts} texts in {files} files are {len(rows)} chunks")
        shares: dict[str, list[tuple[float, float]]] = {"sqlite": [], "postgresql": []}
        for round_ in range(given.rounds):
            began, spent = time.perf_counter(), _spent(server)
            await connected.embedder.embed(rows, "document")
            alone = len(rows) / (time.perf_counter() - began)
            alone_cpu = (_spent(server) - spent) / len(rows)
            print(f"engine alone: {alone:.1f} chunks/s, {1000 * alone_cpu:.1f} ms of processor time a chunk")
            for url in (f"sqlite:{folder}/{round_}.db", f"{server}&table=round_{round_}"):
                kind, spent = url.partition(":")[0], _spent(server)
                count, seconds = await _ingest(url, sources, connected)
                cpu = (_spent(server) - spent) / count
                shares[kind].append((count / seconds / alone, alone_cpu / cpu))
                print(f"  ingest into {kind}: {count / seconds:.1f} chunks/s, {1000 * cpu:.1f} ms a chunk")
        for kind, found in shares.items():
            by_wall, by_cpu = (100 * statistics.median(column) for column in zip(*found, strict=True))
            print(f"{kind}, medians: {by_wall:.1f} % of the engine's rate, {by_cpu:.1f} % by processor time")
    await connected.close()


def _spent(server: str) -> float:
    """Processor time in seconds: of this process, and of the server's, those that ended included."""
    with importlib.import_module("psycopg").connect(parse(server).location) as db:
        folder = db.execute("SHOW data_directory").fetchone()[0]
    postmaster = psutil.Process(int(Path(folder, "postmaster.pid").read_text().split()[0]))
    ended = postmaster.cpu_times()
    living = (process.cpu_times() for process in (postmaster, *postmaster.children()))
    servers: float = ended.children_user + ended.children_system + sum(t.user + t.system for t in living)
    return time.process_time() + servers


def _write_files(folder: Path, texts: list[str]) -> int:
    """Write ``texts`` into files of 20; return the number of files."""
    folder.mkdir()
    for number in range(0, len(texts), 20):
        (folder / f"{number}.txt").write_text(".\n\n".join(texts[number : number + 20]), "utf-8")
    return len(list(folder.iterdir()))


async def _ingest(url: str, sources: Path, connected: Connected) -> tuple[int, float]:
    began = time.perf_counter()
    async with opened(parse(url)) as (store, thread):
        report = await ingest(Job((str(sources),)), connected, store, thread, lambda _: None)
    assert not report.codes, report.as_dict()
    return report.chunks, time.perf_counter() - began


def _texts_of(path: str) -> list[str]:
    with closing(importlib.import_module("apsw").Connection(path)) as db:
        return [text for (text,) in db.execute("SELECT text FROM embeddings")]


def soak(given: argparse.Namespace) -> None:
    """Write to Chroma and search it without a pause, with vectors of an engine in another process."""
    asyncio.run(_soak(given.minutes))


async def _soak(minutes: float) -> None:
    connected = await _engine(apart=True)
    longest, writes, searches = 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        async with opened(parse(f"chroma:{folder}/chroma")) as (store, thread):
            until = time.monotonic() + 60 * minutes
            while time.monotonic() < until:
                texts = mixed_texts(64, seed=writes)
                answer = await connected.embedder.embed(texts, "document")
                began = time.monotonic()
                await thread.call(_write_texts, store, connected.embedder.space, texts, answer.vectors, writes)
                for vector in answer.vectors[:8]:
                    hits = await thread.call(store.search, vector, 10)
                    assert hits[0].score > 0.999, hits[0]
                    searches += 1
                writes += 1
                longest = max(longest, time.monotonic() - began)
            count = await thread.call(store.count)
    await connected.close()
    assert count == 64 * min(writes, _SOAKED_SOURCES), count
    print(f"{minutes} min: {writes} batches, {searches} searches, {count} rows at the end, longest {longest:.2f} s")


def _write_texts(store: Store, space: Space, texts: list[str], vectors: Float32, number: int) -> None:
    """The sources go round, so that rows are replaced as well as added."""
    source = f"source {number % _SOAKED_SOURCES}"
    rows = [Row(f"{source}#{i}", source, i, f"{number}", text) for i, text in enumerate(texts)]
    store.begin(space)
    store.upsert(Batch(rows, vectors, [SourceState(source, f"{number}", len(rows))]))
    store.commit()


async def _engine(*, apart: bool = False) -> Connected:
    options = Options(model=EMBEDDED_MODEL, threads=cpus.usable_cores(), offline=True)
    return await connect(Wanted(NONE, None, options, True, None, apart), lambda *_: None)


async def _embedded(texts: list[str], asked: list[str]) -> tuple[Float32, Float32]:
    connected = await _engine()
    try:
        found = [
            (await connected.embedder.embed(texts[start : start + 4096], "document")).vectors
            for start in range(0, len(texts), 4096)
        ]
        return np.concatenate(found), (await connected.embedder.embed(asked, "query")).vectors
    finally:
        await connected.close()


def _rows(count: int) -> list[Row]:
    text = "Some words of a text that is about as long as a chunk. " * 9
    return [Row(f"row {number}", "source", number, "0" * 32, text, {"page": number}) for number in range(count)]


def _random_vectors(count: int, dim: int) -> Float32:
    rows = np.random.default_rng(1).normal(size=(count, dim)).astype(np.float32)
    unit: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
