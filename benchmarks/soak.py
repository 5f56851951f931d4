"""Many clients that leave at random: ``python -m benchmarks.soak [--clients 16] [--seconds 60] [--requests 1000]``.

Then as many whole requests of 32 texts with all cores busy. Every answer is
compared with the vectors that the same texts gave alone; at the end nothing may
wait. Independent of how busy the machine is; exit 1 when something was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from typing import Any

import numpy as np

from benchmarks.running import MODELS, Connection, running
from benchmarks.texts import mixed_texts
from tests.sidecar.process import Sidecar

_TEXTS_A_REQUEST = 32
_TOLERANCE = 1e-4
_LEAVES = 0.3
_EMPTY_WITHIN_S = 30.0


class Soak:
    """What the clients share: the texts, their vectors, and what went wrong."""

    def __init__(self, process: Sidecar) -> None:
        self.process = process
        self.texts = [" ".join(text.split()[:60]) for text in mixed_texts(600, seed=4)]
        connection = Connection(process)
        self.rows: Any = np.concatenate([connection.embed([text]) for text in self.texts])
        self.answered = self.left = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def one(self, connection: Connection, choose: random.Random, count: int) -> None:
        """Ask for ``count`` texts and compare the answer."""
        chosen = choose.choices(range(len(self.texts)), k=count)
        rows = connection.embed([self.texts[index] for index in chosen])
        difference = float(np.abs(rows - self.rows[chosen]).max())
        with self._lock:
            self.answered += 1
            if difference > _TOLERANCE:
                self.wrong.append(f"{count} texts differ by {difference:.1e}")

    def client(self, seed: int, seconds: float) -> None:
        """Ask until the time is over, hanging up in the middle now and then."""
        choose, end = random.Random(seed), time.monotonic() + seconds
        connection = Connection(self.process)
        while time.monotonic() < end:
            count = choose.randint(1, _TEXTS_A_REQUEST)
            if choose.random() < _LEAVES:
                connection.leave(choose.choices(self.texts, k=count))
                connection = Connection(self.process)
                with self._lock:
                    self.left += 1
            else:
                self.one(connection, choose, count)
        connection.close()

    def whole(self, requests: int) -> None:
        """Ask one request of 32 texts after the other."""
        choose, connection = random.Random(1), Connection(self.process)
        for _ in range(requests):
            self.one(connection, choose, _TEXTS_A_REQUEST)
        connection.close()

    def is_empty(self) -> bool:
        """Tell whether nothing waits or runs any more, within some time."""
        deadline = time.monotonic() + _EMPTY_WITHIN_S
        while time.monotonic() < deadline:
            work = self.process.call("/health")[1]["work"]
            if work["queued"] == 0 and work["running_tokens"] is None:
                return True
            time.sleep(0.1)
        return False


def _guarded(soak: Soak, seed: int, seconds: float) -> None:
    try:
        soak.client(seed, seconds)
    except Exception as error:
        soak.wrong.append(f"client {seed}: {error!r}")


def main() -> None:
    """Run both parts, print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--requests", type=int, default=1_000)
    options = parser.parse_args()
    with running(options.model) as process:
        soak = Soak(process)
        clients = [threading.Thread(target=_guarded, args=(soak, n, options.seconds)) for n in range(options.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        empty = soak.is_empty()
        print(f"{options.clients} clients: {soak.answered} requests answered, {soak.left} left in the middle")
        before, began = soak.answered, time.monotonic()
        soak.whole(options.requests)
        seconds = time.monotonic() - began
        print(f"{soak.answered - before} requests of {_TEXTS_A_REQUEST} texts in {seconds:.0f} s, no hang")
        print(f"wrong answers: {len(soak.wrong)} {soak.wrong[:3]}; queue empty after: {empty}")
        process.process.terminate()
        status, stderr = process.end(), process.stderr
        leaks = stderr.count("leaked") + stderr.count("resource_tracker")
        print(f"ended with {status}; leaks reported: {leaks}")
    sys.exit(1 if soak.wrong or not empty or status or leaks else 0)


if __name__ == "__main__":
    main()
