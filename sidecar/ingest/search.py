"""Find what a store holds that is like a query."""

from __future__ import annotations

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Embedder, Persistent
from sidecar.ingest.run import StoreThread
from sidecar.stores import Hit, Store, StoreCode, StoreError
from sidecar.stores.base import check_space


async def search(
    query: str, k: int, embedder: Embedder, store: Store, thread: StoreThread, *, exact: bool = False
) -> list[Hit]:
    """Return the ``k`` rows most like ``query``, best first.

    Raises ``StoreError``, among others for a table that another model filled
    (STORE_FINGERPRINT_MISMATCH), and ``IngestError``.
    """
    found = await thread.call(store.space)
    if found is None:
        raise StoreError(
            StoreCode.STORE_NOT_FOUND,
            "Wanted a table that an ingest filled, found none.",
            hint="Fill it first: python -m sidecar ingest SOURCE --store URL.",
        )
    check_space(found, embedder.space)
    outcome = await Persistent(embedder).embed([query], "query")
    if outcome.refused:
        code, message = outcome.refused[0]
        raise IngestError(IngestCode.TEXT_REFUSED, f"The query has no vector: {code}: {message}")
    return await thread.call(lambda: store.search(outcome.answer.vectors[0], k, exact=exact))
