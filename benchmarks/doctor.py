"""``python -m benchmarks.doctor``: how long a healthy report takes, from the start of the process to its end."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

#: Longest median that a healthy report may take, in milliseconds.
LIMIT_MS = 300.0


def main() -> int:
    """Print the median; 0 when it is within the limit and every report was clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--python", default=sys.executable, help="what runs the command")
    options, arguments = parser.parse_known_args()
    command = [options.python, "-m", "supervisor", "doctor", "--json", "--port", "0", *arguments]
    bare = statistics.median(_time([options.python, "-c", "pass"]) for _ in range(5))
    _time(command)  # compiles, and warms the disk
    times = sorted(_time(command) for _ in range(options.rounds))
    median = statistics.median(times)
    print(f"median {median:.0f} ms of {options.rounds} ({times[0]:.0f} to {times[-1]:.0f}); python alone {bare:.0f} ms")
    return 0 if median <= LIMIT_MS else 1


def _time(command: Sequence[str]) -> float:
    """Milliseconds of one run. Raises when it fails."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    sys.exit(main())
