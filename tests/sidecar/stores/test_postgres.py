"""What goes wrong with a server, and what it is sent."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidecar.stores import IndexKind, IndexOptions, Store, StoreCode, StoreError, StoreUrl, open_store, parse
from tests.sidecar.stores.conftest import postgres_url
from tests.sidecar.stores.dump import dump
from tests.sidecar.stores.samples import SPACE, batch, vectors
from tests.sidecar.stores.servers import postgres_server, restart

psycopg = pytest.importorskip("psycopg")
if importlib.util.find_spec("pgserver") is None:
    pytest.skip("needs the package pgserver", allow_module_level=True)

_ROLES = itertools.count()


@pytest.fixture
def url(postgres: str) -> StoreUrl:
    return postgres_url(postgres)


@pytest.fixture
def admin(postgres: str) -> Iterator[Any]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(url: StoreUrl) -> Iterator[Store]:
    """A store that holds one source of 50 rows."""
    made = open_store(url)
    made.begin(SPACE)
    made.upsert(batch("a.txt", range(50), chunks=50))
    made.commit()
    yield made
    made.close()


def _code(error: pytest.ExceptionInfo[StoreError]) -> StoreCode:
    code = error.value.code
    assert isinstance(code, StoreCode)
    return code


def _whole(url: StoreUrl) -> bool:
    """Only what the fixture wrote is there."""
    found = dump(url)
    return set(found.ledger) == {"a.txt"} and len(found.rows) == 50


def _as(url: StoreUrl, role: str, database: str = "postgres") -> StoreUrl:
    location = url.location.replace("postgres:@/postgres", f"{role}:@/{database}")
    return url._replace(location=location)


def _role(admin: Any, *rights: str) -> str:
    name = f"role_{next(_ROLES)}"
    admin.execute(f"CREATE ROLE {name} LOGIN")
    for right in rights:
        admin.execute(right.format(role=name))
    return name


@pytest.mark.parametrize("rows", [10, 1000])
def test_a_batch_is_the_same_few_statements_however_long(store: Store, admin: Any, rows: int) -> None:
    log = _log_of(admin)
    store._db.execute("SET log_statement = 'all'")  # type: ignore[attr-defined]
    before = log.read_text("utf-8", "replace").count("LOG:  ")
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(rows), chunks=rows, stale=["gone"]))
    store.commit()
    sent = log.read_text("utf-8", "replace").count("LOG:  ") - before
    assert sent == 8  # BEGIN, space held, space read, COPY, upsert, removal, ledger, COMMIT


def _log_of(admin: Any) -> Path:
    return Path(admin.execute("SHOW data_directory").fetchone()[0]) / "log"


def test_a_connection_that_is_cut_in_a_batch_leaves_nothing_of_it(store: Store, url: StoreUrl, admin: Any) -> None:
    store.begin(SPACE)
    store.upsert(batch("b.txt", range(100), chunks=100))
    admin.execute("SELECT pg_terminate_backend(%s)", [store._db.info.backend_pid])  # type: ignore[attr-defined]
    with pytest.raises(StoreError) as error:
        store.commit()
    assert _code(error) is StoreCode.STORE_CONNECTION_LOST
    assert error.value.retryable
    store.rollback()  # nothing left to undo
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_CONNECTION_LOST
    assert _whole(url)
    again = open_store(url)
    again.begin(SPACE)
    again.commit()
    again.close()


def test_a_replacement_that_is_cut_leaves_the_old_rows(store: Store, url: StoreUrl, admin: Any) -> None:
    store.begin(SPACE, replace=True)
    store.upsert(batch("b.txt", range(100), chunks=100))
    admin.execute("SELECT pg_terminate_backend(%s)", [store._db.info.backend_pid])  # type: ignore[attr-defined]
    with pytest.raises(StoreError) as error:
        store.upsert(batch("c.txt", range(100), chunks=100))
    assert _code(error) is StoreCode.STORE_CONNECTION_LOST
    store.rollback()
    store.close()
    assert _whole(url)


def test_a_statement_that_takes_too_long_is_ended_by_the_server(store: Store, url: StoreUrl) -> None:
    db = store._db  # type: ignore[attr-defined]
    store.begin(SPACE)
    db.execute("SET LOCAL statement_timeout = '1ms'")
    with pytest.raises(StoreError) as error:
        store.upsert(batch("b.txt", range(2000), chunks=2000))
    assert _code(error) is StoreCode.STORE_TIMEOUT
    assert _whole(url)
    settings = db.execute("SELECT current_setting('statement_timeout'), current_setting('lock_timeout')").fetchone()
    assert settings == ("2min", "10s")


def test_a_table_that_another_program_holds_is_locked(store: Store, url: StoreUrl, admin: Any) -> None:
    store._db.execute("SET lock_timeout = '50ms'")  # type: ignore[attr-defined]
    with admin.transaction():
        admin.execute(f"LOCK TABLE {url.table} IN ACCESS EXCLUSIVE MODE")
        store.begin(SPACE)
        with pytest.raises(StoreError) as error:
            store.upsert(batch("b.txt", range(10), chunks=10))
    assert _code(error) is StoreCode.STORE_LOCKED
    assert _whole(url)


def test_a_user_who_may_only_read_can_search_alone(store: Store, url: StoreUrl, admin: Any) -> None:
    store.close()
    tables = f"{url.table}, {url.table}_sources, {url.table}_space"
    reader = open_store(_as(url, _role(admin, f"GRANT SELECT ON {tables} TO {{role}}")))
    assert len(reader.search(vectors(1)[0], 5)) == 5
    for replace in (False, True):
        with pytest.raises(StoreError) as error:
            reader.begin(SPACE, replace=replace)
            reader.commit()
        assert _code(error) is StoreCode.STORE_READ_ONLY
        reader.rollback()
    reader.close()
    assert _whole(url)


def test_a_session_that_is_read_only_is_told(store: Store, url: StoreUrl, admin: Any) -> None:
    store.close()
    role = _role(admin, "ALTER ROLE {role} SUPERUSER", "ALTER ROLE {role} SET default_transaction_read_only = on")
    reader = open_store(_as(url, role))
    with pytest.raises(StoreError) as error:
        reader.begin(SPACE)
    assert _code(error) is StoreCode.STORE_READ_ONLY
    reader.close()


def test_a_database_without_the_extension_is_told(url: StoreUrl, admin: Any) -> None:
    role = _role(admin)
    admin.execute(f"CREATE DATABASE bare_{role} OWNER {role}")
    bare = open_store(_as(url, role, f"bare_{role}"))
    with pytest.raises(StoreError) as error:
        bare.begin(SPACE)
    assert _code(error) is StoreCode.STORE_EXTENSION_MISSING
    assert "CREATE EXTENSION vector" in error.value.hint
    bare.close()
    owner = open_store(_as(url, "postgres", f"bare_{role}"))
    owner.begin(SPACE)  # who may, makes it
    owner.commit()
    owner.close()
    admin.execute(f"DROP DATABASE bare_{role}")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("postgres:@/postgres", "nobody:@/postgres"), StoreCode.STORE_AUTH_FAILED),
        (("@/postgres", "@/nowhere"), StoreCode.STORE_UNREACHABLE),
        (("host=%2F", "host=%2Fno%2F"), StoreCode.STORE_UNREACHABLE),
    ],
)
def test_a_server_that_lets_nobody_in_is_told(url: StoreUrl, change: tuple[str, str], code: StoreCode) -> None:
    with pytest.raises(StoreError) as error:
        open_store(url._replace(location=url.location.replace(*change)))
    assert _code(error) is code


def test_tables_of_another_program_are_left_alone(url: StoreUrl, admin: Any) -> None:
    admin.execute(f"CREATE TABLE {url.table} (x int)")
    store = open_store(url)
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_SCHEMA_MISMATCH
    store.close()


def test_a_schema_of_its_own(url: StoreUrl, admin: Any) -> None:
    admin.execute("CREATE SCHEMA IF NOT EXISTS apart")
    store = open_store(url._replace(table=f"apart.{url.table}"))
    for replace in (False, True):
        store.begin(SPACE, replace=replace)
        store.upsert(batch("a.txt", range(20), chunks=20))
        store.commit()
        store.build_index(IndexOptions(IndexKind.HNSW))
    assert store.count() == 20
    assert admin.execute(f"SELECT count(*) FROM apart.{url.table}").fetchone() == (20,)
    store.close()


def test_another_model_that_replaces_the_table_meanwhile_is_noticed(store: Store, url: StoreUrl, admin: Any) -> None:
    admin.execute(f"UPDATE {url.table}_space SET fingerprint = 'other'")
    with pytest.raises(StoreError) as error:
        store.begin(SPACE)
    assert _code(error) is StoreCode.STORE_FINGERPRINT_MISMATCH


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (IndexOptions(IndexKind.HNSW, m=8, ef_construction=40, memory_mb=32), "m='8', ef_construction='40'"),
        (IndexOptions(IndexKind.IVFFLAT, lists=5), "lists='5'"),
        (IndexOptions(IndexKind.IVFFLAT), "lists='10'"),
    ],
)
def test_an_index_is_built_with_its_parameters_and_used(
    store: Store, url: StoreUrl, admin: Any, options: IndexOptions, parameters: str
) -> None:
    store.build_index(options)
    definition = admin.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", [f"{url.table}_embedding"])
    text = definition.fetchone()[0]
    assert options.kind.value in text
    assert parameters in text
    exact = store.search(vectors(1, seed=3)[0], 10, exact=True)
    assert [hit.id for hit in store.search(vectors(1, seed=3)[0], 10)] == [hit.id for hit in exact]
    store.begin(SPACE, replace=True)
    store.upsert(batch("b.txt", range(5), chunks=5))
    store.commit()
    assert store.count() == len(store.search(vectors(1)[0], 10)) == 5
    store.build_index(IndexOptions(IndexKind.NONE))
    assert admin.execute("SELECT 1 FROM pg_indexes WHERE indexname = %s", [f"{url.table}_embedding"]).fetchone() is None


@pytest.mark.parametrize(
    ("options", "dim"),
    [
        (IndexOptions(IndexKind.HNSW), 2001),
        (IndexOptions(IndexKind.HNSW, m=1), 8),
        (IndexOptions(IndexKind.HNSW, m=50, ef_construction=60), 8),
        (IndexOptions(IndexKind.IVFFLAT, lists=0), 8),
    ],
)
def test_an_index_that_would_fail_after_hours_is_refused_now(store: Store, options: IndexOptions, dim: int) -> None:
    with pytest.raises(StoreError) as error:
        store.supports(options, dim)
    assert _code(error) is StoreCode.STORE_INDEX_UNSUPPORTED


@pytest.mark.slow
def test_a_server_that_restarts_costs_the_open_batch_alone() -> None:
    with postgres_server() as server:
        url = parse(server.get_uri())
        store = open_store(url)
        store.begin(SPACE)
        store.upsert(batch("a.txt", range(50), chunks=50))
        store.commit()
        store.begin(SPACE)
        store.upsert(batch("b.txt", range(50), chunks=50))
        restart(server)
        with pytest.raises(StoreError) as error:
            store.commit()
        assert _code(error) is StoreCode.STORE_CONNECTION_LOST
        assert _whole(url)
        store.close()


@pytest.mark.slow
def test_hnsw_finds_what_exact_search_finds(url: StoreUrl) -> None:
    store = open_store(url)
    centres, rng = vectors(200, dim=32), np.random.default_rng(1)
    store.begin(dataclasses.replace(SPACE, dim=32))
    for part in range(4):
        one = batch(f"{part}.txt", range(1000), chunks=1000, dim=32)
        near = centres[rng.integers(200, size=1000)] + 0.3 * vectors(1000, dim=32, seed=part)
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        store.upsert(dataclasses.replace(one, vectors=near.astype(np.float32)))
    store.commit()
    store.build_index(IndexOptions(IndexKind.HNSW))
    found = 0
    for query in vectors(20, dim=32, seed=9):
        exact = {hit.id for hit in store.search(query, 10, exact=True)}
        found += len(exact & {hit.id for hit in store.search(query, 10)})
    assert found >= 0.95 * 200
    store.close()
