"""A short turn of ``kill_rounds``; the long ones have a command of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.stores import Kind
from tests.sidecar.ingest.kill_rounds import Rounds

_NEEDS = {Kind.SQLITE: ("apsw", "sqlite_vec"), Kind.POSTGRES: ("psycopg", "pgserver")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", _NEEDS, ids=lambda kind: kind.value)
def test_nothing_is_lost_or_doubled_by_a_kill(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for module in _NEEDS[kind]:
        pytest.importorskip(module)
    server = request.getfixturevalue("postgres") if kind is Kind.POSTGRES else None
    rounds = Rounds(kind, tmp_path, server, chunks=300, seed=1, batch_rows=32, most_kills=1)
    rounds.run()
    assert rounds.outcome.wrong == []
