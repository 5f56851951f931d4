"""The development environment: ``.venv`` in the project, with everything pinned.

Constraint: standard library alone; it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv"
REQUIREMENTS = tuple(ROOT / f"requirements{which}.txt" for which in ("", "-remote", "-dev"))

#: Written last: an environment without it, or with another text, is not finished.
STAMP = FOLDER / "development-environment"


#: Most tests wait for processes, so two run at a time; the tests of one file stay together, for its fixtures.
#: ``tests/conftest.py`` has the order in which files are handed out.
PARALLEL = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")

#: Two workers share two cores: torch's threads that wait must not spin on the other's.
_QUIET = {"OMP_WAIT_POLICY": "passive"}


def main(arguments: Sequence[str]) -> int:
    """Run pytest with ``arguments`` in the environment and return its exit status."""
    ensure()
    command = [str(python()), "-m", "pytest", *PARALLEL, *arguments]
    return subprocess.run(command, cwd=ROOT, env={**_QUIET, **os.environ}).returncode


def python() -> Path:
    """The environment's interpreter."""
    return FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure() -> None:
    """Make or complete the environment. Raises ``CalledProcessError`` when the installer fails; run again then."""
    wanted = _fingerprint()
    if STAMP.exists() and STAMP.read_text("utf-8") == wanted and _starts():
        return
    print(f"Making the development environment in {FOLDER}: some minutes, once.", file=sys.stderr, flush=True)
    venv.EnvBuilder(with_pip=True, clear=FOLDER.exists() and not _starts(), upgrade_deps=False).create(FOLDER)
    chosen = [argument for path in REQUIREMENTS for argument in ("--requirement", str(path))]
    subprocess.run([str(python()), "-m", "pip", "install", "--quiet", *chosen], check=True)
    STAMP.write_text(wanted, "utf-8")


def _fingerprint() -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in REQUIREMENTS:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _starts() -> bool:
    """Whether the environment's interpreter still works: an upgrade may have taken its base away."""
    try:
        return subprocess.run([str(python()), "-c", "import pip"], capture_output=True).returncode == 0
    except OSError:
        return False
