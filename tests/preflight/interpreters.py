"""The real interpreters on this machine, old ones included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"

TOO_OLD_FOR_REPORT = ("2.7.18", "3.6.15", "3.7.16")
TOO_OLD = ("3.8.18", "3.9.18", "3.10.13")
SUPPORTED = ("3.11.7", "3.12.1", "3.13.0")


def interpreter(version: str) -> str:
    """Path of a real interpreter; skips the test where it is not installed."""
    path = _PYENV / version / "bin" / "python"
    if not path.exists():
        pytest.skip(f"Python {version} is not installed")
    return str(path)


def bare_environment(home: Path) -> dict[str, str]:
    """What a desktop app's child gets: a short PATH, a home, nothing else."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
