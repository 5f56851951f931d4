"""From the start of a sidecar's process to its first vector: ``python -m benchmarks.first_vector [--starts 5]``.

``prepared``: the model was compared with its reference before; ``unprepared``:
its cache is empty, but for the compiled kernels, which a bundle ships;
``nothing``: these are compiled too. Also tells whether torch was loaded.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.running import ENGINE, MODELS, Connection, memory_mb, model_folder
from tests.sidecar.process import sidecar


def start(model: str, prepared: Path) -> tuple[float, float, bool, float]:
    """Return seconds to the first vector, highest memory in MB, whether torch is in the process, seconds to health."""
    arguments = ("--model", str(model_folder(model)), "--engine", ENGINE)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with sidecar(Path(folder), *arguments, environ={"SIDECAR_CACHE_DIR": str(prepared)}) as process:
            process.call("/health")
            health = time.perf_counter() - began
            process.wait_for("warmed_up", 300)
            Connection(process).embed(["the first vector"])
            seconds = time.perf_counter() - began
            libraries = Path(f"/proc/{process.process.pid}/maps").read_text("utf-8")
            return seconds, memory_mb(process)["VmHWM"], "libtorch" in libraries, health


def main() -> None:
    """Print one line for each kind of start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        start(options.model, kept)
        (kept / "kernels").mkdir(exist_ok=True)  # there are none where another engine serves
        fresh = [Path(folder) / str(number) for number in range(2 * options.starts)]
        for cache in fresh[: options.starts]:
            shutil.copytree(kept / "kernels", cache / "kernels")
        kinds = {
            "prepared": [kept] * options.starts,
            "unprepared": fresh[: options.starts],
            "nothing": fresh[options.starts :],
        }
        found = {kind: [start(options.model, cache) for cache in caches] for kind, caches in kinds.items()}
    for kind, starts in found.items():
        seconds = [each[0] for each in starts]
        torch = "torch was loaded" if any(each[2] for each in starts) else "torch was not loaded"
        print(
            f"{kind}: first vector after {statistics.median(seconds):.2f} s, median of {len(starts)} "
            f"({min(seconds):.2f} to {max(seconds):.2f}); "
            f"/health after {statistics.median(each[3] for each in starts):.2f} s; "
            f"peak {max(each[1] for each in starts):.0f} MB; {torch}"
        )


if __name__ == "__main__":
    main()
