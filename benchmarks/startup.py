"""How long from nothing to a vector: ``python -m benchmarks.startup [--engine torch] [--profile full] [--starts 5]``.

Clones the project's last commit into an empty folder, gives it an empty HOME and a Python without our packages, and
runs the README's command: once with everything to install, then again with nothing left to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.integration.host import ROOT, Host, call


@dataclass(frozen=True)
class Start:
    """Seconds since the process was started."""

    ready_s: float
    vector_s: float
    #: Unique memory of the supervisor and of all below it, MB.
    memory_mb: dict[str, float]


def clone(folder: Path) -> Path:
    """A fresh checkout of what is committed."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def start(checkout: Path, home: Path, python: str, arguments: list[str]) -> Start:
    """One run from process start to the first vector, then a clean stop."""
    began = time.perf_counter()
    folders = dict.fromkeys(["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"], "")
    environment = {"HOME": str(home), **folders}
    with Host(arguments, home / "state", environment, python=python, cwd=checkout) as host:
        host.wait_ready(1800)
        ready = time.perf_counter() - began
        assert call(f"{host.url}/embed", {"texts": ["the first vector"]}).status == 200
        vector = time.perf_counter() - began
        memory = {" ".join(p.cmdline()[1:4])[:40]: p.memory_full_info().uss / 1e6 for p in host.family()}
        host.close_stdin()
        assert host.process.wait(10) == 0
    return Start(ready, vector, memory)


def size_mb(folder: Path) -> float:
    """Space on disk below ``folder``, each file once, MB."""
    seen = {(s.st_dev, s.st_ino): s.st_blocks * 512 for s in (p.lstat() for p in folder.rglob("*"))}
    return sum(seen.values()) / 1e6


def main() -> None:
    """Print one line a start, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--profile", choices=["lean", "full"])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--python", default=getattr(sys, "_base_executable", sys.executable))
    options = parser.parse_args()
    arguments = ["--model", options.model, "--engine", options.engine]
    arguments += ["--profile", options.profile] if options.profile else []
    os.environ.pop("VIRTUAL_ENV", None)
    with tempfile.TemporaryDirectory() as folder:
        checkout, home = clone(Path(folder) / "project"), Path(folder) / "home"
        home.mkdir()
        first = start(checkout, home, options.python, arguments)
        print(f"first start, installing: ready {first.ready_s:.1f} s, vector {first.vector_s:.1f} s")
        print(f"on disk: {size_mb(home):.0f} MB in HOME, {size_mb(checkout):.0f} MB in the checkout")
        later = [start(checkout, home, options.python, arguments) for _ in range(options.starts)]
    for each in later:
        print(f"start: ready {each.ready_s:.2f} s, vector {each.vector_s:.2f} s")
    ready, vector = (statistics.median(s) for s in zip(*((s.ready_s, s.vector_s) for s in later), strict=True))
    print(f"median of {len(later)}: ready {ready:.2f} s, vector {vector:.2f} s")
    for name, megabytes in later[-1].memory_mb.items():
        print(f"memory: {megabytes:6.1f} MB  {name}")
    print(f"processors: {psutil.cpu_count()}")


if __name__ == "__main__":
    main()
