"""What goes wrong with Chroma."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.stores import IndexKind, IndexOptions, Space, StoreCode, StoreError, StoreUrl, open_store, parse
from sidecar.stores.chroma import ChromaStore
from sidecar.stores.chroma_errors import meaning_of
from tests.sidecar.stores.samples import DIM, SPACE, batch, vectors

chromadb = pytest.importorskip("chromadb")

OTHER = Space(DIM + 2, "fingerprint-b", "model-b")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def url(tmp_path: Path) -> StoreUrl:
    return parse(f"chroma:{tmp_path}/chroma")


def _code(error: pytest.ExceptionInfo[StoreError]) -> StoreCode:
    code = error.value.code
    assert isinstance(code, StoreCode)
    return code


def _filled(url: StoreUrl) -> ChromaStore:
    store = open_store(url)
    assert isinstance(store, ChromaStore)
    store.begin(SPACE)
    store.upsert(batch("a.txt", range(20), chunks=20))
    store.commit()
    return store


class Fuse:
    """Ends the process at the nth call that changes collections."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
        self.left = left
        self._wrap(monkeypatch, chromadb.api.client.Client, "delete_collection")
        self._wrap(monkeypatch, chromadb.Collection, "modify")

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize("step", range(6))
def test_a_swap_that_is_killed_at_any_step_is_old_or_new_and_heals(
    url: StoreUrl, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _filled(url)
    store.begin(OTHER, replace=True)
    store.upsert(batch("b.txt", range(7), chunks=7, dim=OTHER.dim))
    with monkeypatch.context() as patched:
        fuse = Fuse(patched, step)
        try:
            store.commit()
            assert fuse.left > 0 or step == 5
        except Killed:
            pass
    store.close()
    reader = open_store(url)
    found = (reader.space(), set(reader.sources()), reader.count())
    assert found in ((SPACE, {"a.txt"}, 20), (OTHER, {"b.txt"}, 7))
    reader.close()
    writer = open_store(url)
    space = found[0]
    assert space is not None
    writer.begin(space)
    writer.upsert(batch("c.txt", range(3), chunks=3, dim=space.dim))
    writer.commit()
    assert writer.count() == found[2] + 3
    names = {collection.name for collection in writer._collections._client.list_collections()}  # type: ignore[attr-defined]
    assert names == {url.table, f"{url.table}-sources"}
    writer.close()


def test_a_batch_that_is_killed_between_its_steps_leaves_the_source_in_part(
    url: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _filled(url)
    store.begin(SPACE)
    store.upsert(
        batch("a.txt", range(5), chunks=5, text="new", source_hash="h2", stale=[f"a.txt#{n}" for n in range(5, 20)])
    )

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(chromadb.Collection, "delete", killed)
        with pytest.raises(Killed):
            store.commit()
    store.close()
    again = open_store(url)
    assert again.sources()["a.txt"].chunks is None
    assert again.chunks_of("a.txt")["a.txt#0"] == "hash of new 0"
    again.close()


def test_a_collection_of_another_program_is_left_alone(url: StoreUrl) -> None:
    client = chromadb.PersistentClient(url.location, settings=chromadb.config.Settings(anonymized_telemetry=False))
    client.create_collection(url.table, embedding_function=None)
    client.close()
    store = open_store(url)
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_SCHEMA_MISMATCH
    store.close()


def test_a_folder_in_nowhere_and_a_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        open_store(parse(f"chroma:{tmp_path}/no/where")).begin(SPACE)
    assert _code(error) is StoreCode.STORE_UNREACHABLE
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as error:
        open_store(parse(f"chroma:{tmp_path}/file"))
    assert _code(error) is StoreCode.STORE_UNREACHABLE


def test_a_damaged_folder_is_told(url: StoreUrl) -> None:
    folder = Path(url.location)
    folder.mkdir()
    (folder / "chroma.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError) as error:
        open_store(url)
    assert _code(error) is StoreCode.STORE_CORRUPT


@pytest.mark.slow
def test_a_second_writer_in_another_process_is_told(url: StoreUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.stores.lock._WAIT_S", 0.1)
    store = _filled(url)
    program = (
        "import sys\nfrom sidecar.stores import lock, open_store, parse, Space, StoreError\nlock._WAIT_S = 0.1\n"
        f"try:\n    open_store(parse(sys.argv[1])).begin(Space({DIM}, {SPACE.fingerprint!r}, 'm'))\n"
        "except StoreError as error:\n    print(error.code.value)\n"
    )
    root = Path(__file__).parents[3]
    told = subprocess.run(
        [sys.executable, "-c", program, f"chroma:{url.location}"], cwd=root, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "STORE_LOCKED"
    store.close()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Exception("error returned from database: (code: 13) database or disk is full"), StoreCode.STORE_DISK_FULL),
        (Exception("(code: 8) attempt to write a readonly database"), StoreCode.STORE_READ_ONLY),
        (Exception("(code: 5) database is locked"), StoreCode.STORE_LOCKED),
        (ValueError("Could not connect to a Chroma server. Are you sure it is running?"), StoreCode.STORE_UNREACHABLE),
        (ConnectionResetError(104, "Connection reset by peer"), StoreCode.STORE_CONNECTION_LOST),
        (TimeoutError("timed out"), StoreCode.STORE_TIMEOUT),
        (PermissionError(13, "Permission denied"), StoreCode.STORE_READ_ONLY),
        (RuntimeError("something else"), StoreCode.STORE_FAILED),
    ],
)
def test_words_of_errors_have_codes(error: Exception, code: StoreCode) -> None:
    assert meaning_of(error).code is code


def test_an_unclear_error_on_a_full_disk_is_the_disks() -> None:
    assert meaning_of(RuntimeError("compaction"), free_bytes=1000).code is StoreCode.STORE_DISK_FULL
    assert meaning_of(RuntimeError("compaction"), free_bytes=10**9).code is StoreCode.STORE_FAILED


class Server:
    """Chroma's own server, which can be killed and started again with the same data and port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._folder = folder

    def start(self) -> None:
        program = Path(sys.executable).with_name("chroma")
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(
            [str(program), "run", "--path", str(self._folder), *address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline
            assert self._process.poll() is None
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if not Path(sys.executable).with_name("chroma").exists():
        pytest.skip("Chroma's command is not beside this Python")
    made = Server(tmp_path / "served")
    made.start()
    yield made
    made.kill()


@pytest.mark.slow
def test_a_server_of_chroma(server: Server) -> None:
    url = parse(f"chroma+http://127.0.0.1:{server.port}")
    store = _filled(url)
    store.begin(OTHER, replace=True)
    store.upsert(batch("b.txt", range(7), chunks=7, dim=OTHER.dim))
    store.commit()
    store.build_index(IndexOptions(IndexKind.HNSW))
    assert store.space() == OTHER
    assert len(store.search(vectors(1, dim=OTHER.dim)[0], 3)) == 3
    store.close()


@pytest.mark.slow
def test_a_server_that_restarts_costs_the_open_batch_alone(server: Server) -> None:
    url = parse(f"chroma+http://127.0.0.1:{server.port}")
    store = _filled(url)
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(30), chunks=30))
    server.kill()
    with pytest.raises(StoreError) as error:
        store.commit()
    assert _code(error) in {StoreCode.STORE_UNREACHABLE, StoreCode.STORE_CONNECTION_LOST}
    assert error.value.retryable
    store.rollback()
    server.start()
    again = open_store(url)
    assert (set(again.sources()), again.count()) == ({"a.txt"}, 20)
    again.begin(SPACE)
    again.upsert(batch("b.txt", range(30), chunks=30))
    again.commit()
    assert again.count() == 50
    again.close()
    store.close()


def test_no_server_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(StoreError) as error:
            open_store(parse(f"chroma+http://127.0.0.1:{taken.getsockname()[1]}"))
    assert _code(error) is StoreCode.STORE_UNREACHABLE
