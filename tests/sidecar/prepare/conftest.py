from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sidecar.prepare.checkpoints import make_model

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a model once a session; equal arguments give the same folder, which a test must not change."""
    root = tmp_path_factory.mktemp("models")
    made: dict[str, Path] = {}

    def make(*args: object, **options: object) -> Path:
        key = repr((args, sorted(options.items())))
        if key not in made:
            made[key] = make_model(root / f"model{len(made)}", *args, **options)  # type: ignore[arg-type]
        return made[key]

    return make
