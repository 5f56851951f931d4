from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.kernels import compiling


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels, compiled once a session."""
    path = tmp_path_factory.mktemp("kernels") / "encoder.so"
    compiling.compile_into(path)
    return path


@pytest.fixture
def kernels(compiled: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The kernels, as if they had been shipped."""
    monkeypatch.setattr(compiling, "SHIPPED", compiled)
    return compiled
