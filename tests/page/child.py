"""The fake sidecar with what the page shows: gates in its start, downloads, work, vectors.

``python -I -S child.py FOLDER ACTION...``; beside the actions of ``tests.fakes``:

    gate:NAME                    wait until FOLDER/NAME exists
    download:FILE:LOADED:TOTAL   one line of progress; the first one opens the stage
    convert  converted           the one-time preparation
    busy:TEXTS_A_SECOND          count texts and tokens as if they had been embedded
    stamps:N                     write N lines that tell their own time, 50 a second, once it serves

Constraint: standard library alone.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fakes import Fake, progress, write

_POLL_S = 0.01


def command(folder: Path, *actions: str) -> tuple[str, ...]:
    """The command line of a child that carries out ``actions``."""
    return (sys.executable, "-I", "-S", str(Path(__file__).resolve()), str(folder), *actions)


def vector(text: str) -> list[float]:
    """A unit vector of four numbers that says something of ``text``: near for like words, far for others."""
    words = text.lower().split() or [""]
    sums = [sum(math.sin(sum(map(ord, word)) * (axis + 1)) for word in words) for axis in range(4)]
    length = math.hypot(*sums) or 1.0
    return [value / length for value in sums]


class Child(Fake):
    """The process itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.texts = 0.0
        self.rate = 0.0
        self.since = time.monotonic()
        self.downloading = False
        self.lock = threading.Lock()

    def do_gate(self, name: str) -> None:
        while not (self.folder / name).exists():
            time.sleep(_POLL_S)

    def do_download(self, argument: str) -> None:
        file, loaded, total = argument.split(":")
        if not self.downloading:
            self.downloading = True
            progress("download_started", model="fake/model", bytes_total=int(total))
        sizes = {"loaded": int(loaded), "total": int(total)}
        progress("download_progress", model="fake/model", file=file, bytes_per_second=12_500_000, **sizes)

    def do_convert(self, _: str) -> None:
        progress("conversion_started", model="fake/model", engine="fake")

    def do_converted(self, _: str) -> None:
        progress("conversion_finished", seconds=1.5, min_cosine=1.0)

    def do_busy(self, rate: str) -> None:
        self.texts_now()
        self.rate = float(rate)

    def do_stamps(self, most: str) -> None:
        def make() -> None:
            time.sleep(1.0)  # who measures has begun to listen
            for _ in range(int(most)):
                write(f"stamp {time.monotonic_ns()}\n".encode())
                time.sleep(0.02)

        threading.Thread(target=make, daemon=True).start()

    def texts_now(self) -> int:
        """Texts counted up to now; the watchdog sees them as work done."""
        with self.lock:
            now = time.monotonic()
            self.texts += self.rate * (now - self.since)
            self.since = now
            self.work["done"] = int(self.texts)
            return int(self.texts)

    def response(self, path: str, body: bytes) -> bytes:
        if path == "/metrics":
            return self._answer("text/plain; version=0.0.4", self._metrics().encode())
        if path == "/embed":
            texts = json.loads(body)["texts"]
            self.texts += len(texts)
            return self._answer("application/json", json.dumps(self._embedded(texts)).encode())
        self.texts_now()
        return super().response(path, body)

    def _embedded(self, texts: list[str]) -> dict[str, object]:
        vectors = [vector(text) for text in texts]
        tokens = sum(len(text.split()) + 2 for text in texts)
        return {"vectors": vectors, "model": "model", "dim": 4, "usage": {"tokens": tokens}, "truncated": []}

    def _metrics(self) -> str:
        texts = self.texts_now()
        return (
            "# TYPE embedding_sidecar_texts_total counter\n"
            f"embedding_sidecar_texts_total {texts}\n"
            f"embedding_sidecar_tokens_total {texts * 21}\n"
            "embedding_sidecar_queued_texts 0\n"
        )

    def _answer(self, kind: str, content: bytes) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
        return f"{head}X-Sidecar-Nonce: {self.nonce}\r\n\r\n".encode() + content


def main(folder: str, *actions: str) -> None:
    """Carry out ``actions`` in order."""
    child = Child(Path(folder))
    try:
        for action in actions:
            child.run(action)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
