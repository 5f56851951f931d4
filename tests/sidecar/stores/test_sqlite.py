"""What goes wrong with a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.stores import DependencyMissing, Store, StoreCode, StoreError, open_store, parse
from sidecar.stores import sqlite as module
from tests.sidecar.stores.dump import dump
from tests.sidecar.stores.samples import SPACE, batch

apsw = pytest.importorskip("apsw")
pytest.importorskip("sqlite_vec")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store that holds one source of 50 rows."""
    made = open_store(parse(str(path)))
    made.begin(SPACE)
    made.upsert(batch("a.txt", range(50), chunks=50))
    made.commit()
    yield made
    made.close()


def _code(error: pytest.ExceptionInfo[StoreError]) -> StoreCode:
    code = error.value.code
    assert isinstance(code, StoreCode)
    return code


def test_one_file_is_all_that_is_left(store: Store, path: Path) -> None:
    store.close()
    assert {name.name for name in path.parent.iterdir()} - {"vectors.db.lock"} == {"vectors.db"}


def test_a_full_disk_undoes_the_transaction_and_the_next_one_goes_on(store: Store, path: Path) -> None:
    db = store._db  # type: ignore[attr-defined]
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")  # the same error as a full disk gives
    store.begin(SPACE)
    with pytest.raises(StoreError) as error:
        store.upsert(batch("b.txt", range(3000), chunks=3000))
    assert _code(error) is StoreCode.STORE_DISK_FULL
    assert set(store.sources()) == {"a.txt"}
    db.execute("PRAGMA max_page_count = 100000")
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(3000), chunks=3000))
    store.commit()
    store.close()
    assert len(dump(parse(str(path))).rows) == 3050


def test_a_full_disk_in_a_replacement_leaves_the_old_rows(store: Store, path: Path) -> None:
    db = store._db  # type: ignore[attr-defined]
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    store.begin(SPACE, replace=True)
    with pytest.raises(StoreError) as error:
        store.upsert(batch("b.txt", range(3000), chunks=3000))
    assert _code(error) is StoreCode.STORE_DISK_FULL
    store.close()
    found = dump(parse(str(path)))
    assert (set(found.ledger), len(found.rows)) == ({"a.txt"}, 50)


def test_a_file_that_another_program_writes_to_is_locked(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.close()
    monkeypatch.setattr(module, "_BUSY_MS", 50)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    again = open_store(parse(str(path)))
    with pytest.raises(StoreError) as error:
        again.begin(SPACE)
    assert _code(error) is StoreCode.STORE_LOCKED
    assert error.value.retryable
    assert len(again.sources()) == 1  # reading goes on
    other.execute("ROLLBACK")
    again.begin(SPACE)
    again.rollback()
    again.close()
    other.close()


def test_a_writer_in_another_process_is_told(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()
    program = (
        "import sys\nfrom sidecar.stores import open_store, parse, Space\n"
        f"store = open_store(parse(sys.argv[1]))\nstore.begin(Space(8, {SPACE.fingerprint!r}, 'm'))\nstore.commit()\n"
        "print('taken', flush=True)\nsys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"taken\n"
    monkeypatch.setattr("sidecar.stores.lock._WAIT_S", 0.1)
    again = open_store(parse(str(path)))
    with pytest.raises(StoreError) as error:
        again.begin(SPACE)
    assert _code(error) is StoreCode.STORE_LOCKED
    other.kill()  # the lock goes with it
    other.communicate()
    again.begin(SPACE)
    again.rollback()
    again.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        open_store(parse(f"sqlite:{tmp_path}/no/where.db")).begin(SPACE)
    assert _code(error) is StoreCode.STORE_UNREACHABLE


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\x00" + b"\xff" * 4000])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        open_store(parse(str(path))).begin(SPACE)
    assert _code(error) is StoreCode.STORE_CORRUPT
    assert path.read_bytes() == content


def test_tables_of_another_program_are_left_alone(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE embeddings (x)")
    other.close()
    store = open_store(parse(str(path)))
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_SCHEMA_MISMATCH
    store.close()
    beside = open_store(parse(f"sqlite:{path}?table=mine"))
    beside.begin(SPACE)
    beside.commit()
    beside.close()


def test_tables_of_another_layout_are_left_alone(store: Store) -> None:
    store._db.execute("UPDATE embeddings_space SET layout = 99")  # type: ignore[attr-defined]
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_SCHEMA_MISMATCH


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
def test_a_file_that_may_only_be_read_can_be_searched_alone(store: Store, path: Path) -> None:
    store.close()
    path.chmod(0o400)
    again = open_store(parse(str(path)))
    assert again.count() == 50
    with pytest.raises(StoreError) as error:
        again.begin(SPACE)
    assert _code(error) is StoreCode.STORE_READ_ONLY
    again.close()


def test_a_missing_extension_is_told(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.close()
    monkeypatch.setattr("sqlite_vec.loadable_path", lambda: "/no/such/extension")
    with pytest.raises(StoreError) as error:
        open_store(parse(str(path)))
    assert _code(error) is StoreCode.STORE_EXTENSION_MISSING


def test_a_missing_package_names_its_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apsw", None)
    with pytest.raises(DependencyMissing) as error:
        open_store(parse(str(path)))
    assert error.value.as_dict()["code"] == "PYTHON_DEPS_MISSING"
    assert "embedding-sidecar[sqlite]" in error.value.hint


def test_readers_see_the_old_rows_while_a_writer_writes(store: Store, path: Path) -> None:
    store.begin(SPACE, replace=True)
    store.upsert(batch("b.txt", range(10), chunks=10))
    reader = open_store(parse(str(path)))
    assert reader.count() == 50
    store.commit()
    assert reader.count() == 10
    reader.close()
