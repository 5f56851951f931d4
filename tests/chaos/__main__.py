"""``python -m tests.chaos [--rounds N | --full] [--seed S] [--only NAME]...``: numbers beside bounds, a line each.

Exit status 1 when a bound of correctness is broken: failed calls, wrong
vectors, survivors, killed decoys, false kills. Times are told and fail nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from datetime import UTC, datetime

from tests.chaos.scenarios import SCENARIOS


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds of each scenario; without it, few")
    parser.add_argument("--full", action="store_true", help="as many rounds as docs/reliability.md states")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="leave the others out")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what a scenario started is ended on the way out
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {processor()}, load {os.getloadavg()[0]:.1f}, seed {options.seed}")
    broken = False
    for name in options.only or SCENARIOS:
        scenario = SCENARIOS[name]
        rounds = options.rounds or (scenario.full if options.full else scenario.few)
        began = time.monotonic()
        result = scenario.run(rounds, options.seed)
        print(f"{result} [{rounds} rounds, {time.monotonic() - began:.0f} s]", flush=True)
        for note in result.notes[:20]:
            print(f"       {note}", flush=True)
        broken = broken or bool(result.broken)
    return int(broken)


def processor() -> str:
    """Name of the processor and how many of it we may use."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{len(os.sched_getaffinity(0))} x {name}"


if __name__ == "__main__":
    sys.exit(main())
