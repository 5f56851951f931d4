"""A disk that is really full: a small file system in memory, where we may mount one."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from sidecar.stores import StoreCode, StoreError, StoreUrl, open_store, parse
from tests.sidecar.stores.conftest import postgres_url
from tests.sidecar.stores.dump import dump
from tests.sidecar.stores.samples import SPACE, batch

#: No database makes it smaller.
_TEXT = random.Random(1).randbytes(1500).hex()


def _fill(url: StoreUrl) -> None:
    """Write a little, then too much; then only the little is there, and once there is room, it goes on."""
    store = open_store(url)
    store.begin(SPACE)
    store.upsert(batch("a.txt", range(50), chunks=50))
    store.commit()
    with pytest.raises(StoreError) as error:
        for number in range(20):
            store.begin(SPACE)
            store.upsert(batch(f"{number}.txt", range(500), chunks=500, text=_TEXT))
            store.commit()
    assert error.value.code is StoreCode.STORE_DISK_FULL
    store.rollback()
    store.close()


def _check(url: StoreUrl) -> None:
    found = dump(url)
    for source, (_, chunks) in found.ledger.items():
        if chunks is not None:
            assert sum(row.source == source for row in found.rows.values()) == chunks
    assert found.ledger["a.txt"][1] == 50
    assert {row.source for row in found.rows.values()} <= set(found.ledger)


def _grow(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)


def _goes_on(url: StoreUrl) -> None:
    store = open_store(url)
    store.begin(SPACE)
    store.upsert(batch("more.txt", range(500), chunks=500, text=_TEXT))
    store.commit()
    assert store.sources()["more.txt"].chunks == 500
    store.close()


def test_sqlite(small: Path) -> None:
    pytest.importorskip("apsw")
    url = parse(f"sqlite:{small}/vectors.db")
    _fill(url)
    _grow(small)
    _check(url)
    _goes_on(url)


def test_postgres(small: Path, postgres: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    url = postgres_url(postgres)
    for parent in small.parents:
        if parent != Path("/tmp").parent and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    with psycopg.connect(postgres, autocommit=True) as admin:
        user = Path(admin.execute("SHOW data_directory").fetchone()[0]).owner()
        (small / "space").mkdir()
        subprocess.run(["chown", user, str(small / "space")], check=True)
        admin.execute(f"CREATE TABLESPACE small LOCATION '{small}/space'")
        admin.execute("ALTER ROLE postgres SET default_tablespace = small")
        try:
            _fill(url)
            _grow(small)
            _check(url)
            _goes_on(url)
        finally:
            admin.execute("ALTER ROLE postgres RESET default_tablespace")
            admin.execute(f"DROP TABLE IF EXISTS {url.table}, {url.table}_sources, {url.table}_space")
            admin.execute("DROP TABLESPACE small")


@pytest.mark.slow
def test_chroma(small: Path) -> None:
    pytest.importorskip("chromadb")
    url = parse(f"chroma:{small}/chroma")
    _fill(url)
    _grow(small)
    _check(url)
    _goes_on(url)
