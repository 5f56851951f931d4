"""Environments for the peers: made once from ``peers/<name>.txt``, then reused."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

_PEERS = Path(__file__).parent / "peers"


def cache() -> Path:
    """Where environments and made models are kept between runs."""
    return platformdirs.user_cache_path("embedding-sidecar-benchmarks", appauthor=False)


def environment(name: str) -> Path:
    """Return the interpreter of the peers' environment ``name``, installing it at the first call."""
    wanted = _PEERS / f"{name}.txt"
    folder = cache() / f"{name}-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (folder / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {wanted.name} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", wanted], check=True)
        (folder / "done").touch()
    return python
