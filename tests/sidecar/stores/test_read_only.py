"""A disk that may only be read: a file system in memory, where we may mount one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.stores import StoreCode, StoreError, StoreUrl, open_store, parse
from tests.integration.host import wait_until
from tests.sidecar.stores.samples import SPACE, batch, vectors


def _fill(url: StoreUrl) -> None:
    store = open_store(url)
    store.begin(SPACE)
    store.upsert(batch("a.txt", range(50), chunks=50))
    store.commit()
    store.close()


def _protect(folder: Path) -> None:
    """Refused while a file is open for writing, and Chroma closes its own a while after it said so."""
    command = ["mount", "-o", "remount,ro", str(folder)]
    wait_until(lambda: subprocess.run(command, capture_output=True).returncode == 0, 60.0)


def test_a_file_on_it_can_be_searched_alone(small: Path) -> None:
    pytest.importorskip("apsw")
    url = parse(f"sqlite:{small}/a b%20c.db")
    _fill(url)
    _protect(small)
    store = open_store(url)
    assert (store.space(), store.count()) == (SPACE, 50)
    assert len(store.search(vectors(1)[0], 5)) == 5
    for replace in (False, True):
        with pytest.raises(StoreError) as error:
            store.begin(SPACE, replace=replace)
        assert error.value.code is StoreCode.STORE_READ_ONLY
    assert store.count() == 50
    store.close()


def test_a_folder_on_it_is_told(small: Path) -> None:
    """Chroma writes to its folder whatever it is asked."""
    pytest.importorskip("chromadb")
    url = parse(f"chroma:{small}/chroma")
    _fill(url)
    _protect(small)
    with pytest.raises(StoreError) as error:
        open_store(url)
    assert error.value.code is StoreCode.STORE_READ_ONLY


@pytest.mark.parametrize("address", ["sqlite:{}/new.db", "chroma:{}/new"])
def test_nothing_can_be_made_on_it(small: Path, address: str) -> None:
    for module in ("apsw", "chromadb"):
        pytest.importorskip(module)
    _protect(small)
    store = open_store(parse(address.format(small)))
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert error.value.code is StoreCode.STORE_READ_ONLY
    store.close()
