"""The collections of one table in Chroma: connect, find, make, replace.

A table is two collections, rows and ledger. Its replacement is two more, which
take the names over once the rows' collection is marked whole: that mark is the
moment of the change, whatever is killed before or after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecar.stores.base import LAYOUT, Space, check_layout
from sidecar.stores.codes import StoreCode, StoreError
from sidecar.stores.optional import require

EXTRA = "chroma"

#: A server that does not answer for so long is not waited for.
_TIMEOUT_S = 120.0

_DEFAULT_PORT = "8000"

#: Vectors are normalised, so that the inner product is the cosine; told "cosine", Chroma would normalise them again.
_HNSW = {"space": "ip", "ef_construction": 200, "max_neighbors": 16, "ef_search": 200}

#: Lines of the ledger, and ids, that are read or removed at once.
PAGE = 2_000

_WHOLE = "whole"


class Collections:
    """The collections of ``table`` in a folder or behind a server; every method raises Chroma's own errors."""

    def __init__(self, table: str, place: str) -> None:
        """Raises ``DependencyMissing``."""
        self._chromadb = require("chromadb", EXTRA)
        self._place = place
        self._names = (table, f"{table}-sources")
        self._new_names = (f"{table}-new", f"{table}-new-sources")
        self._client: Any = None
        self.rows: Any = None
        self.ledger: Any = None

    def open_folder(self, folder: Path) -> None:
        """Open or make ``folder``."""
        folder.mkdir(exist_ok=True)
        self._client = self._chromadb.PersistentClient(str(folder), settings=self._settings())

    def open_server(self, address: str) -> None:
        """Connect to ``host:port``."""
        host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdecimal() else (address, "", "")
        client = self._chromadb.HttpClient(host=host, port=int(port or _DEFAULT_PORT), settings=self._settings())
        self._client = client
        for session in self._sessions():  # Chroma itself sets no limit
            session.timeout = _TIMEOUT_S

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def most_at_once(self) -> int:
        """Rows that one call may write."""
        return int(self._client.get_max_batch_size())

    def close(self) -> None:
        """End the connection. Does nothing when there is none."""
        if self._client is not None:
            for session in self._sessions():  # Chroma itself leaves them open
                session.close()
            self._client.close()
            self._client = None
        self.forget()

    def forget(self) -> None:
        """Look the collections up anew with the next ``find``."""
        self.rows = self.ledger = None

    def find(self) -> bool:
        """Look up rows and ledger, the replacement's once that is whole; False when there is no table."""
        if self._client is None:
            return False
        if self.rows is None:
            rows, ledger = (self._get(name) for name in self._names)
            new, new_ledger = (self._get(name) for name in self._new_names)
            if _is_whole(new):
                rows, ledger = new, new_ledger or ledger
            if rows is not None and ledger is None:
                raise _foreign(self._place, f"no {self._names[1]}")
            self.rows, self.ledger = rows, ledger
        return self.rows is not None

    def space(self) -> Space:
        """Return the space of the rows. Raises ``StoreError`` for a collection that is not ours."""
        metadata = self.rows.metadata or {}
        try:
            check_layout(metadata["layout"], self._place)
            return Space(metadata["dim"], metadata["fingerprint"], metadata["model"])
        except KeyError as error:
            raise _foreign(self._place, f"one without {error}") from error

    def create(self, space: Space, *, as_replacement: bool) -> None:
        """Make rows and ledger."""
        rows, ledger = self._new_names if as_replacement else self._names
        # The ledger first: rows without one would be unreadable.
        self.ledger = self._client.get_or_create_collection(ledger, embedding_function=None)
        metadata = {"layout": LAYOUT, "dim": space.dim, "fingerprint": space.fingerprint, "model": space.model}
        self.rows = self._client.create_collection(
            rows, embedding_function=None, metadata=metadata, configuration={"hnsw": _HNSW}
        )

    def swap(self) -> None:
        """Put the replacement in the table's place."""
        self.rows.modify(metadata={**self.rows.metadata, _WHOLE: True})
        self.settle()

    def settle(self) -> None:
        """Finish a replacement that is whole, drop one that is not. Safe to stop anywhere and to run again."""
        new = self._get(self._new_names[0])
        if _is_whole(new):
            self._drop(self._names[0])
            new_ledger = self._get(self._new_names[1])
            if new_ledger is not None:
                self._drop(self._names[1])
                new_ledger.modify(name=self._names[1])
            new.modify(name=self._names[0], metadata={k: v for k, v in new.metadata.items() if k != _WHOLE})
        else:
            for name in self._new_names:
                self._drop(name)
        self.forget()

    def _settings(self) -> Any:
        return self._chromadb.config.Settings(anonymized_telemetry=False)

    def _sessions(self) -> Iterator[Any]:
        for client in (self._client, getattr(self._client, "_admin_client", None)):
            session = getattr(getattr(client, "_server", None), "_session", None)
            if session is not None:
                yield session

    def _get(self, name: str) -> Any:
        try:
            return self._client.get_collection(name, embedding_function=None)
        except self._chromadb.errors.NotFoundError:
            return None

    def _drop(self, name: str) -> None:
        if self._get(name) is not None:
            self._client.delete_collection(name)


def pages(collection: Any, include: list[str], where: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Yield what ``collection`` holds, page by page, as its ``get`` gives it."""
    offset = 0
    while True:
        page = collection.get(where=where, limit=PAGE, offset=offset, include=include)
        if not page["ids"]:
            return
        yield page
        offset += len(page["ids"])


def _is_whole(collection: Any) -> bool:
    return collection is not None and bool((collection.metadata or {}).get(_WHOLE))


def _foreign(place: str, found: str) -> StoreError:
    return StoreError(
        StoreCode.STORE_SCHEMA_MISMATCH,
        f"{place}: wanted collections that an ingest made, found {found}.",
        hint="Name another table with ?table=NAME.",
    )
