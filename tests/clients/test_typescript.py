"""The TypeScript package agrees with the project, and its own tests pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight.wire.version import VERSION

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "clients" / "typescript"
GENERATOR = PACKAGE / "scripts" / "generate_types.py"


def _manifest(name: str) -> Any:
    return json.loads((PACKAGE / name).read_text("utf-8"))


def test_generated_types_are_those_of_the_source() -> None:
    run = subprocess.run([sys.executable, GENERATOR, "--check"], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, f"{run.stdout}{run.stderr}: run python {GENERATOR.relative_to(ROOT)}"


def test_versions_and_licences_are_the_project_s() -> None:
    assert _manifest("package.json")["version"] == VERSION
    assert _manifest("package-lock.json")["packages"][""]["version"] == VERSION
    assert (PACKAGE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.fixture(scope="module")
def npm() -> str:
    """npm, with what the lock names installed."""
    found = shutil.which("npm")
    if found is None:
        pytest.skip("needs Node and npm")
    installed = PACKAGE / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < (PACKAGE / "package-lock.json").stat().st_mtime:
        subprocess.run([found, "ci"], cwd=PACKAGE, check=True, timeout=120)
    return found


def _run(*command: str) -> None:
    environment = {**os.environ, "SIDECAR_TEST_PYTHON": sys.executable}
    run = subprocess.run(command, cwd=PACKAGE, env=environment, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, f"{run.stdout[-8000:]}{run.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_package_s_own_tests_pass(npm: str) -> None:
    _run(npm, "test")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_page_s_modules_are_typed(npm: str) -> None:
    _run(npm, "exec", "--offline", "--", "tsc", "-p", str(ROOT / "supervisor" / "page" / "jsconfig.json"))
