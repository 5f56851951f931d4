"""Memory of a sidecar: ``python -m benchmarks.memory [--model embedded|large] [--requests 10000]``.

The highest that it ever was, loading included, and what it grows by over
requests of random shapes. Independent of how busy the machine is.
"""

from __future__ import annotations

import argparse
import random

from benchmarks.running import MODELS, Connection, memory_mb, running
from benchmarks.texts import mixed_texts

#: Requests after which everything has been seen once.
_SETTLED = 500
_LOOK_EVERY = 500


def requests(count: int) -> list[list[str]]:
    """Return ``count`` requests of 1 to 12 texts; most texts are short, so that there can be many."""
    choose = random.Random(3)
    texts = [" ".join(text.split()[: choose.choice((8, 16, 40, 350))]) for text in mixed_texts(4_000)]
    return [choose.sample(texts, choose.randint(1, 12)) for _ in range(count)]


def main() -> None:
    """Print memory after loading, along the way, and the growth after the first 500 requests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    with running(options.model, "--precision", options.precision) as process:
        loaded = memory_mb(process)
        print(f"loaded: {_told(loaded)}", flush=True)
        connection = Connection(process)
        settled = loaded
        for number, texts in enumerate(requests(options.requests), 1):
            connection.embed(texts)
            if number == _SETTLED:
                settled = memory_mb(process)
            if number % _LOOK_EVERY == 0:
                print(f"after {number:6}: {_told(memory_mb(process))}", flush=True)
        connection.close()
        last = memory_mb(process)
    growth = last["VmRSS"] / settled["VmRSS"] - 1
    print(f"{options.model} {options.precision}: peak {last['VmHWM']:.0f} MB, growth after {_SETTLED}: {growth:+.1%}")


def _told(memory: dict[str, float]) -> str:
    return f"{memory['VmRSS']:.0f} MB resident, {memory['RssAnon']:.0f} of it private, peak {memory['VmHWM']:.0f}"


if __name__ == "__main__":
    main()
