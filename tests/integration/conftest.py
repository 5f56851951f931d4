from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.host import Host


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One supervisor that serves the embedded model for a whole module; leave it as you found it."""
    with Host(["--model", "embedded"], tmp_path_factory.mktemp("host") / "state") as started:
        started.wait_ready()
        yield started


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"
