"""``python -m tests.interrupted_setup [--rounds 50]``: kill set-up at random moments; nothing may ever be lost.

Each round an environment that works is to be replaced, and the whole of set-up
is killed by SIGKILL somewhere between its first and its last moment. After
that the old environment works as it did, or the new one already; the next run
ends well and leaves no remains.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.bare_machine import BareMachine, make, outdate, uv_folder

#: What an environment must load to count as working.
MODULES = ("aiohttp", "numpy", "openvino", "tokenizers", "orjson")


class LostError(AssertionError):
    """An interruption left something that does not work."""


def main() -> int:
    """Run the rounds; prints one line a round, and 0 when none lost anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 100_000)
    parser.add_argument("--python", default=getattr(sys, "_base_executable", sys.executable))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="interrupted-") as scratch:
        variables = {"PATH": f"{uv_folder(Path(scratch))}:/usr/bin:/bin"}
        machine = make(options.python, Path(scratch) / "home", variables=variables)
        took = _time_of_one(machine)
        print(f"seed {options.seed}; set-up takes {took:.1f} s", flush=True)
        outcomes: Counter[str] = Counter()
        for number in range(1, options.rounds + 1):
            after = chance.uniform(0, took * 1.05)
            outcome = interrupt(machine, after)
            outcomes[outcome] += 1
            print(f"{number:3} killed after {after:5.2f} s, {outcome}", flush=True)
    print(f"{options.rounds} rounds, nothing lost: {dict(outcomes)}")
    return 0


def interrupt(machine: BareMachine, after_s: float) -> str:
    """One round; says what had happened by then. Raises ``LostError``."""
    outdate(machine)
    with machine.start("setup", stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        text = process.communicate()[0]
    ended = process.returncode == 0
    if not (machine.imports(*MODULES) or _is_between_renames(machine)):
        raise LostError(f"after {after_s} s the environment does not work: {text}")
    done = machine.run("setup")
    if done.status != 0:
        raise LostError(f"after {after_s} s the next run failed: {done.out}{done.err}")
    if not machine.imports(*MODULES):
        raise LostError(f"after {after_s} s the next run left an environment that does not work")
    remains = sorted(path.name for path in machine.venv.parent.iterdir())
    if set(remains) - {"venv", "venv.lock", "venv.users"}:
        raise LostError(f"after {after_s} s there are remains: {remains}")
    if ended:
        return "done already"
    return "the new one was in place" if done.out.startswith("Nothing to do") else "the old one was kept"


def _is_between_renames(machine: BareMachine) -> bool:
    """The old environment is whole, under the name it has for a moment; the next run puts it back."""
    return not machine.venv.exists() and (machine.venv.parent / "venv.previous").exists()


def _time_of_one(machine: BareMachine) -> float:
    outdate(machine)
    started = time.monotonic()
    done = machine.run("setup")
    if done.status != 0:
        raise LostError(done.err)
    return time.monotonic() - started


if __name__ == "__main__":
    sys.exit(main())
