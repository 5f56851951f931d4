"""Runs into real stores, embedded by a fake model whose vectors are known."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sidecar.ingest import pipeline
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.connect import Connected
from sidecar.ingest.embedders import Answer, InputType, Refused
from sidecar.ingest.report import Report
from sidecar.ingest.run import Job, StoreThread, ingest, limits_for, opened
from sidecar.ingest.search import search
from sidecar.stores import Batch, IndexKind, IndexOptions, Kind, Store, StoreCode, StoreError, StoreUrl, parse
from tests.sidecar.ingest.fakes import SPACE, FakeEmbedder, connected, scheduled, vector_of
from tests.sidecar.stores.dump import dump


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def _paragraphs(name: str, count: int) -> str:
    return "\n\n".join(f"{name} paragraph {number}. It says {number * number}." for number in range(count))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sources"
    _write(made, {"a.txt": _paragraphs("A", 300), "b/c.txt": _paragraphs("C", 5), "empty.txt": ""})
    return made


@pytest.fixture
def sqlite(tmp_path: Path) -> StoreUrl:
    pytest.importorskip("apsw")
    pytest.importorskip("sqlite_vec")
    return parse(f"sqlite:{tmp_path}/vectors.db")


async def _run(url: StoreUrl, folder: Path, made: Connected | None = None, **changes: Any) -> Report:
    job = dataclasses.replace(
        Job((str(folder),), base=folder, chunk_tokens=24, overlap_tokens=0, patience_s=0), **changes
    )
    async with opened(url) as (store, thread):
        return await ingest(job, made or connected(), store, thread, lambda _: None)


def _check(url: StoreUrl, folder: Path) -> None:
    """Every row has its text's own vector, and every text of every file is there once."""
    found = dump(url)
    for row in found.rows.values():
        np.testing.assert_allclose(np.frombuffer(row.vector, np.float32), vector_of(row.text), atol=1e-6)
    for path in folder.rglob("*.txt"):
        name = path.relative_to(folder).as_posix()
        count = found.ledger[name][1]
        texts = [found.rows[f"{name}#{number}"].text for number in range(count or 0)]
        assert "".join("".join(texts).split()) == "".join(path.read_text().split())
    assert len(found.rows) == sum(chunks or 0 for _, chunks in found.ledger.values())


async def test_a_run_writes_everything_and_the_next_one_nothing(store_url: StoreUrl, folder: Path) -> None:
    report = await _run(store_url, folder)
    assert (report.files, report.unchanged, report.codes) == (3, 0, {})
    assert report.chunks == report.written > 100
    _check(store_url, folder)
    embedder = FakeEmbedder()
    again = await _run(store_url, folder, connected(embedder))
    assert (again.files, again.unchanged, again.chunks, embedder.calls) == (0, 3, 0, [])
    assert again.progress().fraction == 1


async def test_changed_files_change_and_gone_ones_go_with_sync(store_url: StoreUrl, folder: Path) -> None:
    await _run(store_url, folder)
    _write(folder, {"a.txt": _paragraphs("A", 200), "new.txt": "New text."})
    (folder / "b" / "c.txt").unlink()
    kept = await _run(store_url, folder)
    assert (kept.removed, "b/c.txt" in dump(store_url).ledger) == (0, True)
    synced = await _run(store_url, folder, sync=True)
    assert (synced.removed, synced.chunks) == (1, 0)
    assert kept.kept > 50  # most of a.txt is as it was
    _check(store_url, folder)


async def test_replace_leaves_nothing_of_before(store_url: StoreUrl, folder: Path, tmp_path: Path) -> None:
    await _run(store_url, folder)
    _write(tmp_path / "other", {"x.txt": "Another text."})
    await _run(store_url, tmp_path / "other", replace=True)
    assert set(dump(store_url).ledger) == {"x.txt"}
    _check(store_url, tmp_path / "other")


async def test_the_real_scheduler_and_search(store_url: StoreUrl, folder: Path) -> None:
    made = scheduled()
    try:
        await _run(store_url, folder, made)
        async with opened(store_url) as (store, thread):
            (first, *_) = await search("C paragraph 3. It says 9.", 3, made.embedder, store, thread, exact=True)
    finally:
        await made.close()
    _check(store_url, folder)
    assert first.source


async def test_a_search_by_another_model_is_refused(sqlite: StoreUrl, folder: Path) -> None:
    class Other(FakeEmbedder):
        @property
        def space(self) -> Any:
            return dataclasses.replace(SPACE, fingerprint="other")

    await _run(sqlite, folder)
    async with opened(sqlite) as (store, thread):
        with pytest.raises(StoreError) as error:
            await search("x", 3, Other(), store, thread)
    assert error.value.code is StoreCode.STORE_FINGERPRINT_MISMATCH
    with pytest.raises(StoreError) as error:
        await _run(sqlite, folder, connected(Other()))
    assert error.value.code is StoreCode.STORE_FINGERPRINT_MISMATCH


async def test_a_search_in_nothing_is_told(sqlite: StoreUrl) -> None:
    async with opened(sqlite) as (store, thread):
        with pytest.raises(StoreError) as error:
            await search("x", 3, FakeEmbedder(), store, thread)
    assert error.value.code is StoreCode.STORE_NOT_FOUND


async def test_refused_texts_leave_their_file_in_part_until_they_pass(sqlite: StoreUrl, folder: Path) -> None:
    def fail(texts: Sequence[str]) -> Exception | None:
        bad = [index for index, text in enumerate(texts) if "A paragraph 7." in text]
        return Refused({bad[0]: ("POISON_INPUT", "it ends the engine")}) if bad else None

    report = await _run(sqlite, folder, connected(FakeEmbedder(fail)))
    assert report.codes == {IngestCode.TEXT_REFUSED.value: 1}
    found = dump(sqlite)
    assert found.ledger["a.txt"][1] is None
    assert found.ledger["b/c.txt"][1] is not None
    embedder = FakeEmbedder()
    again = await _run(sqlite, folder, connected(embedder))
    assert (again.chunks, again.files) == (1, 1)
    _check(sqlite, folder)


async def test_files_that_cannot_be_read_are_reported_and_the_rest_is_written(sqlite: StoreUrl, folder: Path) -> None:
    (folder / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    (folder / "bad.jsonl").write_text("no json")
    (folder / "x.bin").write_bytes(b"")
    report = await _run(sqlite, folder, sources=(str(folder), str(folder / "gone.txt")))
    assert report.codes == {"SOURCE_ENCODING": 1, "SOURCE_DAMAGED": 1, "SOURCE_NOT_FOUND": 1}
    assert report.skipped == 1
    assert len(dump(sqlite).rows) == report.chunks


class _Flaky:
    """A store that fails with a code at one of its transactions."""

    def __init__(self, store: Store, fail_at: int) -> None:
        self._store = store
        self._left = fail_at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def upsert(self, batch: Batch) -> None:
        self._store.upsert(batch)
        self._left -= 1
        if self._left == 0:
            raise StoreError(StoreCode.STORE_CONNECTION_LOST, "cut")


async def test_a_store_that_fails_ends_the_run_and_the_next_goes_on(
    store_url: StoreUrl, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH_ROWS", 32)
    job = Job((str(folder),), base=folder, chunk_tokens=24, overlap_tokens=0)
    async with opened(store_url) as (store, thread):
        with pytest.raises(StoreError) as error:
            await ingest(job, connected(), _Flaky(store, 2), thread, lambda _: None)
    assert error.value.code is StoreCode.STORE_CONNECTION_LOST
    assert 0 < len(dump(store_url).rows) < 200
    report = await _run(store_url, folder)
    assert report.kept > 0
    _check(store_url, folder)


async def test_an_embedder_that_fails_ends_the_run_with_its_code(sqlite: StoreUrl, folder: Path) -> None:
    wrong = IngestError(IngestCode.EMBEDDER_CHANGED, "another model")
    with pytest.raises(IngestError) as error:
        await _run(sqlite, folder, connected(FakeEmbedder(lambda _: wrong)))
    assert error.value is wrong
    assert dump(sqlite).rows == {}


async def test_a_run_that_is_cancelled_leaves_what_was_written(
    sqlite: StoreUrl, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "BATCH_ROWS", 16)
    job = Job((str(folder),), base=folder, chunk_tokens=24, overlap_tokens=0)

    class Stuck(FakeEmbedder):
        async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
            if self.calls:
                await asyncio.Event().wait()
            return await super().embed(texts, input_type)

    class Watched(_Flaky):
        def upsert(self, batch: Batch) -> None:
            self._store.upsert(batch)
            loop.call_soon_threadsafe(began.set)

    loop, began = asyncio.get_running_loop(), asyncio.Event()
    async with opened(sqlite) as (store, thread):
        task = asyncio.create_task(ingest(job, connected(Stuck()), Watched(store, 0), thread, lambda _: None))
        await began.wait()
        await thread.call(lambda: None)  # the batch under way is committed
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert 0 < len(dump(sqlite).rows) < 100
    await _run(sqlite, folder)
    _check(sqlite, folder)


async def test_no_more_is_under_way_than_the_queues_hold(sqlite: StoreUrl, folder: Path) -> None:
    embedder = FakeEmbedder()
    await _run(sqlite, folder, connected(embedder))
    assert embedder.most_under_way <= pipeline._IN_FLIGHT + 1


async def test_what_cannot_work_is_refused_before_anything_is_embedded(sqlite: StoreUrl, folder: Path) -> None:
    embedder = FakeEmbedder()
    with pytest.raises(StoreError) as store_error:
        await _run(sqlite, folder, connected(embedder), index=IndexOptions(IndexKind.HNSW))
    assert store_error.value.code is StoreCode.STORE_INDEX_UNSUPPORTED
    for changes in ({"chunk_tokens": 100_000}, {"chunk_tokens": 3}, {"overlap_tokens": 24}):
        with pytest.raises(IngestError):
            await _run(sqlite, folder, connected(embedder), **changes)
    with pytest.raises(IngestError) as error:
        await _run(sqlite, folder / "gone")
    assert error.value.code is IngestCode.SOURCE_NOT_FOUND
    (folder / "none").mkdir()
    with pytest.raises(IngestError):
        await _run(sqlite, folder / "none", replace=True)
    assert embedder.calls == []


async def test_the_default_chunk_is_what_the_model_takes(folder: Path) -> None:
    limits = limits_for(Job((str(folder),)), connected())
    assert limits == (252, 31)


async def test_a_worker_starts_no_process_of_its_own(
    sqlite: StoreUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("selectolax")
    monkeypatch.setenv("RAY_RAYLET_PID", "1")
    started: list[Any] = []
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: started.append(1))
    _write(tmp_path / "pages", {"a.html": "<p>Page."})
    report = await _run(sqlite, tmp_path / "pages")
    assert (report.chunks, started) == (1, [])


async def test_pages_are_read_beside_and_nothing_is_left(sqlite: StoreUrl, tmp_path: Path) -> None:
    pytest.importorskip("selectolax")
    before = {child.pid for child in psutil.Process().children()}
    _write(tmp_path / "pages", {"a.html": "<title>T</title><p>Page.", "b.html": "<p>Two."})
    report = await _run(sqlite, tmp_path / "pages")
    assert report.chunks == 2
    assert dump(sqlite).rows["a.html#0"].metadata == {"title": "T"}
    assert {child.pid for child in psutil.Process().children()} == before


async def test_the_store_is_closed_whatever_happens(sqlite: StoreUrl) -> None:
    with pytest.raises(RuntimeError, match="ours"):
        async with opened(sqlite) as (store, thread):
            store.begin(SPACE)
            raise RuntimeError("ours")
    assert isinstance(thread, StoreThread)
    async with opened(sqlite) as (store, thread):
        assert await thread.call(store.space) is None


async def test_an_index_is_built_at_the_end(store_url: StoreUrl, folder: Path) -> None:
    if store_url.kind is Kind.SQLITE:
        pytest.skip("SQLite searches exactly")
    await _run(store_url, folder, index=IndexOptions(IndexKind.HNSW, m=8, ef_construction=32))
    _check(store_url, folder)
