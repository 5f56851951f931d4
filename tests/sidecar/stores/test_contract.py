"""What every store must do, run against each of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sidecar.stores import (
    Batch,
    IndexKind,
    IndexOptions,
    Kind,
    SourceState,
    Space,
    Store,
    StoreCode,
    StoreError,
    StoreUrl,
)
from tests.sidecar.stores.conftest import Opener
from tests.sidecar.stores.samples import DIM, SPACE, batch, row, vectors


def _write(store: Store, *batches: Batch, space: Space = SPACE, replace: bool = False) -> None:
    store.begin(space, replace=replace)
    for one in batches:
        store.upsert(one)
    store.commit()


def _code(error: pytest.ExceptionInfo[StoreError]) -> StoreCode:
    code = error.value.code
    assert isinstance(code, StoreCode)
    return code


def test_a_store_that_nobody_filled_is_empty_and_cannot_be_searched(store: Store) -> None:
    assert store.space() is None
    assert store.sources() == {}
    assert store.chunks_of("a") == {}
    assert store.count() == 0
    with pytest.raises(StoreError) as error:
        store.search(vectors(1)[0], 3)
    assert _code(error) is StoreCode.STORE_NOT_FOUND


def test_what_is_committed_is_found_again(store: Store, opener: Opener) -> None:
    written = batch("a.txt", range(5), chunks=5)
    _write(store, written)
    store.close()
    again = opener()
    assert again.space() == SPACE
    assert again.sources() == {"a.txt": SourceState("a.txt", "h1", 5)}
    assert again.chunks_of("a.txt") == {r.id: r.content_hash for r in written.rows}
    for wanted, vector in zip(written.rows, written.vectors, strict=True):
        hit = again.search(vector, 2)[0]
        assert (hit.id, hit.source, hit.ordinal, hit.text) == (wanted.id, "a.txt", wanted.ordinal, wanted.text)
        assert hit.metadata == wanted.metadata
        assert hit.score == pytest.approx(1.0, abs=1e-5)


def test_hits_come_best_first_and_exact_search_agrees(store: Store) -> None:
    written = batch("a.txt", range(50), chunks=50)
    _write(store, written)
    query = vectors(1, seed=9)[0]
    wanted = np.argsort(-(written.vectors @ query))[:10]
    for exact in (True, False):
        hits = store.search(query, 10, exact=exact)
        assert [hit.ordinal for hit in hits] == wanted.tolist()
        assert [hit.score for hit in hits] == pytest.approx((written.vectors @ query)[wanted].tolist(), abs=1e-5)


def test_more_hits_than_rows_are_all_rows(store: Store) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    assert len(store.search(vectors(1)[0], 2000)) == 3


def test_writing_a_row_again_replaces_it(store: Store) -> None:
    _write(store, batch("a.txt", range(4), chunks=4))
    new = batch("a.txt", [1, 2], chunks=4, seed=7, text="new", source_hash="h2")
    _write(store, new)
    assert store.count() == 4
    assert store.chunks_of("a.txt")["a.txt#1"] == "hash of new 1"
    assert store.sources()["a.txt"].source_hash == "h2"
    hit = store.search(new.vectors[1], 1)[0]
    assert (hit.id, hit.text) == ("a.txt#2", "new 2")


def test_stale_rows_go_with_the_batch(store: Store) -> None:
    _write(store, batch("a.txt", range(4), chunks=4))
    _write(store, batch("a.txt", [0], chunks=1, source_hash="h2", stale=["a.txt#1", "a.txt#2", "a.txt#3", "gone"]))
    assert list(store.chunks_of("a.txt")) == ["a.txt#0"]
    assert store.count() == 1


def test_a_batch_without_rows_may_finish_a_source(store: Store) -> None:
    nothing = np.empty((0, DIM), np.float32)
    _write(store, Batch([], nothing, [SourceState("empty.txt", "h1", 0)]))
    assert store.sources() == {"empty.txt": SourceState("empty.txt", "h1", 0)}


def test_several_batches_of_one_transaction(store: Store) -> None:
    _write(
        store, batch("a.txt", range(3), chunks=None), batch("a.txt", range(3, 6), chunks=6), batch("b", [0], chunks=1)
    )
    assert store.count() == 7
    assert store.sources()["a.txt"].chunks == 6


def test_sources_in_part_are_told_apart(store: Store) -> None:
    _write(store, batch("a.txt", range(3), chunks=None))
    assert store.sources()["a.txt"].chunks is None
    assert not store.sources()["a.txt"].complete


def test_removed_sources_leave_nothing(store: Store) -> None:
    _write(store, batch("a.txt", range(3), chunks=3), batch("b.txt", range(2), chunks=2, seed=1))
    store.begin(SPACE)
    assert store.remove(["a.txt", "never-there"]) == 3
    store.commit()
    assert set(store.sources()) == {"b.txt"}
    assert store.count() == 2
    assert {hit.source for hit in store.search(vectors(1)[0], 10)} == {"b.txt"}


def test_what_is_rolled_back_never_was(store: Store) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(3), chunks=3))
    store.rollback()
    assert set(store.sources()) == {"a.txt"}
    assert store.count() == 3
    store.rollback()  # nothing open: nothing to do


def test_what_is_not_committed_is_gone_after_close(store: Store, opener: Opener) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(3), chunks=3))
    store.close()
    assert set(opener().sources()) == {"a.txt"}


@pytest.mark.parametrize(
    ("space", "code"),
    [
        (dataclasses.replace(SPACE, dim=DIM + 1), StoreCode.STORE_DIMENSION_MISMATCH),
        (dataclasses.replace(SPACE, fingerprint="other"), StoreCode.STORE_FINGERPRINT_MISMATCH),
    ],
)
def test_vectors_of_another_space_are_refused_before_anything_is_written(
    store: Store, space: Space, code: StoreCode
) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    with pytest.raises(StoreError) as error:
        store.begin(space)
    assert _code(error) is code
    assert error.value.details["found"]["fingerprint"] == SPACE.fingerprint
    store.rollback()
    assert store.count() == 3
    _write(store, batch("a.txt", range(3), chunks=3))  # the right ones still go in


def test_replace_takes_the_place_of_everything_of_whatever_space(store: Store, opener: Opener) -> None:
    _write(store, batch("a.txt", range(3), chunks=3), batch("b.txt", range(3), chunks=3))
    other = Space(DIM + 4, "fingerprint-b", "model-b")
    _write(
        store,
        batch("c.txt", range(2), chunks=None, dim=other.dim),
        batch("c.txt", range(2, 4), chunks=4, dim=other.dim, seed=1),
        space=other,
        replace=True,
    )
    store.close()
    again = opener()
    assert again.space() == other
    assert again.sources() == {"c.txt": SourceState("c.txt", "h1", 4)}
    assert again.count() == 4
    assert len(again.search(vectors(1, dim=other.dim)[0], 10)) == 4
    _write(again, batch("d.txt", [0], chunks=1, dim=other.dim), space=other)
    assert again.count() == 5


@pytest.mark.parametrize("end", ["rollback", "close"])
def test_replace_that_is_not_committed_leaves_the_old_rows(store: Store, opener: Opener, end: str) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    store.begin(Space(DIM + 4, "fingerprint-b", "model-b"), replace=True)
    store.upsert(batch("c.txt", range(2), chunks=2, dim=DIM + 4))
    getattr(store, end)()
    store.close()
    again = opener()
    assert again.space() == SPACE
    assert set(again.sources()) == {"a.txt"}
    assert again.count() == 3
    _write(again, batch("b.txt", [0], chunks=1))
    assert again.count() == 4


def test_replace_fills_an_empty_store_too(store: Store) -> None:
    _write(store, batch("a.txt", range(3), chunks=3), replace=True)
    assert store.count() == 3


def _bad_batches() -> dict[str, Batch]:
    good = batch("a.txt", range(2), chunks=2)
    nan = good.vectors.copy()
    nan[1, 3] = np.nan
    return {
        "nan": dataclasses.replace(good, vectors=nan),
        "zero": dataclasses.replace(good, vectors=np.zeros_like(good.vectors)),
        "shape": dataclasses.replace(good, vectors=vectors(2, dim=DIM + 1)),
        "rows": dataclasses.replace(good, vectors=vectors(3)),
        "doubled": dataclasses.replace(good, rows=[row("a.txt", 0), row("a.txt", 0)]),
        "ledger": dataclasses.replace(good, sources=[]),
    }


@pytest.mark.parametrize("name", _bad_batches())
def test_a_bad_batch_is_refused_whole(store: Store, name: str) -> None:
    _write(store, batch("b.txt", [0], chunks=1))
    store.begin(SPACE)
    with pytest.raises(StoreError) as error:
        store.upsert(_bad_batches()[name])
    assert _code(error) is StoreCode.STORE_BAD_BATCH
    store.rollback()
    assert set(store.sources()) == {"b.txt"}


def test_upsert_without_begin_is_refused(store: Store) -> None:
    with pytest.raises(StoreError) as error:
        store.upsert(batch("a.txt", [0], chunks=1))
    assert _code(error) is StoreCode.STORE_FAILED


@pytest.mark.parametrize("query", [vectors(1, dim=DIM + 1)[0], np.full(DIM, np.nan, np.float32)])
def test_a_query_that_cannot_be_compared_is_refused(store: Store, query: np.ndarray) -> None:
    _write(store, batch("a.txt", [0], chunks=1))
    with pytest.raises(StoreError) as error:
        store.search(query, 3)
    assert _code(error) in {StoreCode.STORE_DIMENSION_MISMATCH, StoreCode.STORE_BAD_BATCH}


def test_a_second_writer_is_refused_while_the_first_lives(
    store: Store, opener: Opener, store_url: StoreUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.stores.lock._WAIT_S", 0.1)
    monkeypatch.setattr("sidecar.stores.postgres_session._SETTINGS", {"lock_timeout": "100ms"})
    _write(store, batch("a.txt", [0], chunks=1))
    if store_url.kind is Kind.CHROMA:
        pytest.skip("two clients of one folder share a process-wide object")
    with pytest.raises(StoreError) as error:
        opener().begin(SPACE)
    assert _code(error) is StoreCode.STORE_LOCKED
    assert error.value.retryable
    store.close()
    _write(opener(), batch("b.txt", [0], chunks=1))


def test_texts_of_every_kind_survive(store: Store) -> None:
    texts = ["'; DROP TABLE x; --", "naïve café", "日本語\n\tտ", "🙂" * 50, "\\N \\. %s {t}", " "]
    rows = [row("ünï çode/'\"%s.txt", n, text) for n, text in enumerate(texts)]
    written = Batch(rows, vectors(len(rows)), [SourceState(rows[0].source, "h", len(rows))])
    _write(store, written)
    for wanted, vector in zip(rows, written.vectors, strict=True):
        assert store.search(vector, 1)[0].text == wanted.text
    store.begin(SPACE)
    assert store.remove([rows[0].source]) == len(rows)
    store.commit()


def test_an_index_that_the_store_has_not_is_refused(store: Store, store_url: StoreUrl) -> None:
    _write(store, batch("a.txt", range(3), chunks=3))
    kind = IndexKind.HNSW if store_url.kind is Kind.SQLITE else IndexKind.IVFFLAT
    options = IndexOptions(kind, lists=0)
    with pytest.raises(StoreError) as error:
        store.build_index(options)
    assert _code(error) is StoreCode.STORE_INDEX_UNSUPPORTED
    store.build_index(IndexOptions(IndexKind.NONE))
