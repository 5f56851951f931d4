"""Ours and its peers on the same texts over HTTP, in turns: ``python -m benchmarks [--model embedded|large]``.

Every round gives every system the same requests, one system after the other,
and measures the machine's peak between them; what is printed are medians, and
ratios within a round, so that a machine whose speed drifts does not matter
much. Results go to RESULTS.md beside this file.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.peak import precisions
from benchmarks.results import Comparison, Measured, render, write
from benchmarks.running import ENGINES, MODELS, model_folder
from benchmarks.systems import System, fastapi, infinity, library, ours, peak
from benchmarks.texts import mixed_texts
from benchmarks.work import lengths, operations

_TEXTS_A_REQUEST = 32
#: A system whose vectors are further from ours does something else.
_SAME = 0.999
#: Requests for each system in each round: some seconds for the slowest.
_REQUESTS = {"embedded": 6, "large": 2}


@contextmanager
def systems(folder: str, wanted: Sequence[str], kind: str) -> Iterator[list[System]]:
    """Every system on the model in ``folder``, loaded and warm. Batches are those at which each was seen fastest."""
    with ExitStack() as stack:
        enter = stack.enter_context
        found = [enter(ours(folder, precision, engine)) for engine in ENGINES for precision in wanted]
        found += [enter(fastapi(folder, "sentence-transformers", batch)) for batch in (16, 8)]
        found += [enter(infinity(folder, batch)) for batch in (8, 32)]
        found.append(enter(fastapi(folder, "onnxruntime", 8)))
        if kind == "embedded":
            found.append(enter(library(folder, "sentence-transformers", 16)))
        yield found


def rate(system: System, requests: Sequence[Sequence[str]], clients: int) -> float:
    """Texts per second for ``requests``, dealt among ``clients`` that call back to back."""
    left, lock = iter(requests), threading.Lock()
    failures: list[BaseException] = []

    def client() -> None:
        try:
            call = system.connect()
            while True:
                with lock:
                    texts = next(left, None)
                if texts is None:
                    return
                call(texts)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    return sum(map(len, requests)) / seconds


def compare(model: str, wanted: Sequence[str], requests: int, rounds: int) -> Comparison:
    """Measure every system on ``model``."""
    path = model_folder(model)
    texts = mixed_texts(requests * _TEXTS_A_REQUEST)
    calls = [texts[start : start + _TEXTS_A_REQUEST] for start in range(0, len(texts), _TEXTS_A_REQUEST)]
    work = operations(path, lengths(path, texts)) / len(texts)
    with ExitStack() as stack:
        peaks = {precision: stack.enter_context(peak(precision)) for precision in wanted}
        found = stack.enter_context(systems(str(path), wanted, model))
        cosines = _cosines(found, texts[:64])
        measured = [Measured(s.name, clients) for s in found for clients in (1, 2) if clients <= s.clients]
        highest: dict[str, list[float]] = {precision: [] for precision in wanted}
        for number in range(rounds):
            _round(found, measured, calls, peaks, highest)
            print(f"{model}: round {number + 1} of {rounds}", flush=True)
    return Comparison(model, measured, highest, work, cosines)


def _round(
    found: Sequence[System],
    measured: Sequence[Measured],
    calls: Sequence[Sequence[str]],
    peaks: dict[str, Callable[[], float]],
    highest: dict[str, list[float]],
) -> None:
    by_name = {system.name: system for system in found}
    seen: dict[str, list[float]] = {precision: [] for precision in peaks}
    for one in measured:
        one.rates.append(rate(by_name[one.system], calls, one.clients))
        if one.system.startswith("ours"):
            for precision, measure in peaks.items():
                seen[precision].append(measure())
    for precision, values in seen.items():
        highest[precision].append(max(values))


def _cosines(found: Sequence[System], texts: Sequence[str]) -> dict[str, float]:
    """Warm every system, and compare its vectors with those of the first. Raises ``RuntimeError``: no peer."""
    wanted = found[0].vectors(texts)
    cosines = {}
    for system in found:
        rows = system.vectors(texts)
        if rows is not None:
            units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            cosines[system.name] = float((units * wanted).sum(axis=1).min())
            if cosines[system.name] < _SAME:
                raise RuntimeError(f"{system.name} gives other vectors, cosine {cosines[system.name]:.6f}: no peer")
    return cosines


def main() -> None:
    """Compare, print, and write RESULTS.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, action="append", help="again for more; default: all")
    parser.add_argument("--precision", choices=["f32", "bf16"], action="append", help="default: f32, and bf16 if any")
    parser.add_argument("--requests", type=int, help="of 32 texts, for each system in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    for model in options.model or MODELS:
        comparison = compare(
            model, options.precision or precisions(), options.requests or _REQUESTS[model], options.rounds
        )
        write(options.write, comparison)
        print(render(comparison))


if __name__ == "__main__":
    main()
