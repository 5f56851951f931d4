"""``python -m tests.bundle.measure FOLDER MODEL [--rounds N]``: size and times of a built bundle, medians.

``MODEL``: a prepared model folder. Run it on a quiet machine; the load is printed beside the numbers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from supervisor import programs
from tests.integration.host import Host, alive, call, wait_until

_MB = 1000 * 1000


def main(argv: Sequence[str]) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bundle.measure", allow_abbrev=False)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=10, metavar="N")
    arguments = parser.parse_args(argv)
    supervisor = str(arguments.folder.absolute() / programs.SUPERVISOR)
    files = [path for path in arguments.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    print(f"{'size':24} {sum(path.stat().st_size for path in files) / _MB:8.1f} MB")
    _print("prints its version", [_timed(lambda: _run(supervisor, "--version")) for _ in range(arguments.rounds)])
    guard = (supervisor, "--guard", "0", "0", "0", "/")  # ends at once: 0 is not its parent
    _print("starts a guard", [_timed(lambda: _run(*guard, check=False)) for _ in range(arguments.rounds)])
    rounds = [_round(supervisor, arguments.model.absolute()) for _ in range(arguments.rounds)]
    for name, times in zip(("ready", "first embedding", "gone after SIGKILL"), zip(*rounds, strict=True), strict=True):
        _print(name, times)
    print(f"{'load of the machine':24} {os.getloadavg()[0]:8.2f}")
    return 0


def _print(name: str, seconds: Sequence[float]) -> None:
    middle, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    print(f"{name:24} {middle:8.1f} ms, at most {worst:.1f} ms in {len(seconds)} rounds")


def _timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, env={}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=check)


def _round(supervisor: str, model: Path) -> tuple[float, float, float]:
    """One start in an empty environment, one embedding, one kill; seconds each, the first two since the start."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        state = Path(folder) / "state"
        with Host(["--model", str(model)], state, program=[supervisor], inherits=False, cwd=Path("/")) as host:
            host.wait_ready(30)
            ready = time.perf_counter() - started
            call(f"{host.url}/embed", {"texts": ["How fast is it?"]})
            embedded = time.perf_counter() - started
            family = host.family()
            killed = time.perf_counter()
            host.process.kill()
            host.process.wait(5)
            wait_until(lambda: not alive(family), 5)
            return ready, embedded, time.perf_counter() - killed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
