"""A sidecar to measure: started, warm, called on kept connections, looked at from outside."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import cache
from benchmarks.models import embedded_model, large_model
from sidecar.kernels.compiling import is_suited
from tests.sidecar.process import Sidecar, sidecar

MODELS = ("embedded", "large")

#: What is measured: the engine of ``SIDECAR_ENGINE``, or the one that is chosen for this machine, beside the one that
#: serves where it is not chosen.
ENGINE = os.environ.get("SIDECAR_ENGINE", "auto")
ENGINES = ("fixed16", "openvino") if ENGINE == "auto" and is_suited() else (ENGINE,)


def model_folder(name: str) -> Path:
    """Return the folder of the model ``name``."""
    return embedded_model() if name == "embedded" else large_model(cache() / "large")


@contextmanager
def running(model: str, *arguments: str) -> Iterator[Sidecar]:
    """Start a sidecar with the model ``model`` and wait until it is warm. What it prepares is kept between runs."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {"SIDECAR_CACHE_DIR": str(cache() / "prepared")}
        arguments = ("--model", str(model_folder(model)), "--engine", ENGINE, *arguments)
        with sidecar(Path(folder), *arguments, environ=kept) as process:
            process.wait_for("warmed_up", 300)
            yield process


class Connection:
    """One kept connection that embeds; vectors travel as raw float32."""

    def __init__(self, process: Sidecar) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", process.wait_for("hello")["port"], timeout=600)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def embed(self, texts: Sequence[str]) -> Any:
        """Return one row a text, float32. Raises ``RuntimeError`` for any answer but 200."""
        headers = {"Content-Type": "application/json", "Accept": "application/octet-stream"}
        self._connection.request("POST", "/embed", json.dumps({"texts": list(texts)}).encode(), headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {body[:300]!r}")
        return np.frombuffer(body, np.float32).reshape(len(texts), -1)

    def leave(self, texts: Sequence[str]) -> None:
        """Ask, and hang up without waiting for the answer."""
        body = json.dumps({"texts": list(texts)}).encode()
        self._connection.request("POST", "/embed", body, {"Content-Type": "application/json"})
        self._connection.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def memory_mb(process: Sidecar) -> dict[str, float]:
    """Return resident memory now (``VmRSS``), at its highest (``VmHWM``) and the anonymous part (``RssAnon``), MB."""
    status = Path(f"/proc/{process.process.pid}/status").read_text("utf-8")
    found = re.findall(r"^(VmRSS|VmHWM|RssAnon):\s+(\d+) kB", status, re.MULTILINE)
    return {name: int(kilobytes) * 1024 / 1e6 for name, kilobytes in found}
