from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from preflight.wire.models import EMBEDDED_MODULE
from supervisor import programs
from tests.integration.host import ROOT

#: Where the tests build; what was built there before is replaced.
BUILT = ROOT / "build" / "bundle" / "tested"

#: Names a bundle that is built already, and is to be tested as it is; or says ``build``, which takes some 40 s.
GIVEN = "BUNDLE"
BUILD = "build"


def _build() -> Path:
    build = [sys.executable, str(ROOT / "scripts" / "build_bundle.py"), "--out", str(BUILT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return BUILT / "embedding-sidecar"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, built by its one command and then moved to where paths are awkward. Leave it as it is."""
    given = os.environ.get(GIVEN)
    if not given:
        pytest.skip(f"needs a bundle: {GIVEN}={BUILD} builds one, {GIVEN}=FOLDER names one; .ci/run does the first")
    built = _build() if given == BUILD else Path(given)
    moved = tmp_path_factory.mktemp("apps") / "Büro für alle" / "embedding-sidecar"
    shutil.copytree(built, moved, symlinks=True)
    return moved


@pytest.fixture(scope="module")
def supervisor(folder: Path) -> str:
    """The executable that a host starts."""
    return str(folder / programs.SUPERVISOR)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A prepared model folder, made by the bundle itself."""
    package = importlib.util.find_spec(EMBEDDED_MODULE)
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "model"
    prepared = folder.parent / "Modell"
    convert = [str(folder / programs.SIDECAR), "convert", str(source), str(prepared)]
    convert += ["--cache-dir", str(folder.parent / "cache")]
    done = subprocess.run(convert, capture_output=True, text=True, env={}, cwd="/")
    assert done.returncode == 0, done.stderr
    return prepared
