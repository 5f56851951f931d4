from __future__ import annotations

import tomllib
from pathlib import Path

from preflight.wire.version import VERSION


def test_the_version_is_that_of_the_project_file() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION
