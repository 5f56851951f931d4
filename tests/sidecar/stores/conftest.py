"""Real stores: a SQLite file, a PostgreSQL with pgvector from the package pgserver, a Chroma folder."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.stores import Kind, Store, StoreUrl, open_store, parse
from tests.sidecar.stores.servers import postgres_server

KINDS = (Kind.SQLITE, Kind.POSTGRES, Kind.CHROMA)
_NUMBERS = itertools.count()

Opener = Callable[[], Store]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of our own; it ends with the tests."""
    for module in ("psycopg", "pgvector"):
        pytest.importorskip(module)
    if importlib.util.find_spec("pgserver") is None:
        pytest.skip("needs the package pgserver")
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server.get_uri()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.value)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> StoreUrl:
    """Address of an empty store of each kind."""
    if request.param is Kind.SQLITE:
        pytest.importorskip("apsw")
        pytest.importorskip("sqlite_vec")
        return parse(f"sqlite:{tmp_path}/vectors.db")
    if request.param is Kind.CHROMA:
        pytest.importorskip("chromadb")
        return parse(f"chroma:{tmp_path}/chroma")
    return postgres_url(request.getfixturevalue("postgres"))


def postgres_url(server: str) -> StoreUrl:
    """Address of a table that nobody used before."""
    return parse(f"{server}&table=t{next(_NUMBERS)}_rows")


@pytest.fixture
def opener(store_url: StoreUrl) -> Iterator[Opener]:
    """A function that opens the store anew, as another process would; all are closed at the end."""
    opened: list[Store] = []

    def open_again() -> Store:
        opened.append(open_store(store_url))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(opener: Opener) -> Store:
    return opener()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not sys.platform.startswith("linux"):
        pytest.skip("mounts a file system in memory")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=777", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("may not mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
