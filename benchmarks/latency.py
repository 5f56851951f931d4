"""A person's query beside a program's bulk: ``python -m benchmarks.latency [--model embedded|large] [--seconds 30]``.

Two clients embed 32 texts a request, back to back; a third sends one short
query at a time. Bulk alone and bulk with queries take turns.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable
from itertools import cycle

from benchmarks.running import MODELS, Connection, running
from benchmarks.texts import mixed_texts, queries
from tests.sidecar.process import Sidecar

_TEXTS_A_REQUEST = 32
#: Between an answer and the next query: a person reads first.
_PAUSE_S = 0.5


class Bulk:
    """Two clients that embed for a while; ``done`` counts texts whose answer came."""

    def __init__(self, process: Sidecar) -> None:
        self.done = 0
        self._end = threading.Event()
        texts = mixed_texts(64 * _TEXTS_A_REQUEST)
        starts = (0, len(texts) // 2)
        self._threads = [
            threading.Thread(target=self._run, args=(process, texts[start:] + texts[:start])) for start in starts
        ]

    def __enter__(self) -> Bulk:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self, process: Sidecar, texts: list[str]) -> None:
        connection = Connection(process)
        for start in cycle(range(0, len(texts), _TEXTS_A_REQUEST)):
            connection.embed(texts[start : start + _TEXTS_A_REQUEST])
            self.done += _TEXTS_A_REQUEST
            if self._end.is_set():
                break
        connection.close()


def alone(process: Sidecar, seconds: float) -> float:
    """Texts a second of bulk without anything else."""
    return _rate(Bulk(process), lambda: time.sleep(seconds))


def with_queries(process: Sidecar, seconds: float, asked: list[str], latencies: list[float]) -> float:
    """Texts a second of bulk while queries come; their milliseconds go to ``latencies``."""

    def ask() -> None:
        connection = Connection(process)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            connection.embed([asked.pop()])
            latencies.append((time.perf_counter() - began) * 1000)
            time.sleep(_PAUSE_S)
        connection.close()

    return _rate(Bulk(process), ask)


def _rate(bulk: Bulk, meanwhile: Callable[[], None]) -> float:
    began = time.perf_counter()
    with bulk:
        meanwhile()
    return bulk.done / (time.perf_counter() - began)


def main() -> None:
    """Print the percentiles of queries and the rates of bulk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asked, latencies, ratios = queries(5_000), list[float](), list[float]()
    with running(options.model, "--precision", options.precision) as process:
        Connection(process).embed(mixed_texts(64))
        quiet = Connection(process)
        idle = sorted(_milliseconds(quiet, asked.pop()) for _ in range(50))
        for _ in range(options.rounds):
            plain = alone(process, options.seconds)
            mixed = with_queries(process, options.seconds, asked, latencies)
            ratios.append(mixed / plain)
            print(f"bulk alone {plain:.1f}, with queries {mixed:.1f} texts/s, ratio {mixed / plain:.3f}", flush=True)
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    print(f"a query alone: p50 {statistics.median(idle):.1f} ms, highest {idle[-1]:.1f} ms")
    print(
        f"{len(latencies)} queries beside bulk: p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, highest {max(latencies):.1f} ms"
    )
    print(f"bulk keeps {statistics.median(ratios):.1%} of its rate")


def _milliseconds(connection: Connection, text: str) -> float:
    began = time.perf_counter()
    connection.embed([text])
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
