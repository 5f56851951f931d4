"""What is measured: each a process that takes lists of texts, over HTTP or over a pipe."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environments import environment
from tests.integration.host import ROOT, Host

_START_S = 300.0

#: Takes texts and returns the answer's body as it came.
Call = Callable[[Sequence[str]], bytes]


@dataclass(frozen=True)
class System:
    """Something that embeds. ``connect`` makes a caller with a connection of its own."""

    name: str
    connect: Callable[[], Call]
    #: Most callers at once; the library alone takes one.
    clients: int = 8

    def vectors(self, texts: Sequence[str]) -> Any:
        """Return the rows for ``texts``, float32, or None where the system answers without."""
        body = self.connect()(texts).strip()
        if not body:
            return None
        answer = json.loads(body)
        rows = answer["vectors"] if "vectors" in answer else [row["embedding"] for row in answer["data"]]
        return np.array(rows, np.float32)


class HTTPCaller:
    """One kept connection. The body is read and not parsed: what a client does with it is its own cost."""

    def __init__(self, port: int, path: str, field: str, extra: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._path, self._field, self._extra = path, field, extra

    def __call__(self, texts: Sequence[str]) -> bytes:
        """Embed. Raises ``RuntimeError`` for any answer but 200."""
        body = json.dumps({self._field: list(texts), **self._extra}).encode()
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer[:300]!r}")
        return answer


@contextmanager
def ours(folder: str, precision: str, engine: str) -> Iterator[System]:
    """The supervisor's public port, as an application has it. The name ends with the precision."""
    arguments = ["--model", folder, "--engine", engine, "--precision", precision]
    with tempfile.TemporaryDirectory() as state, Host(arguments, Path(state) / "state") as host:
        port = host.wait_ready(_START_S)["port"]
        yield System(f"ours, engine {engine}, {precision}", lambda: HTTPCaller(port, "/embed", "texts", {}))


@contextmanager
def fastapi(folder: str, encoder: str, batch: int) -> Iterator[System]:
    """FastAPI around ``encoder``."""
    port = _free_port()
    command = _server(folder, encoder, batch, "--port", str(port))
    with _process(command):
        _wait_for(port, "/health")
        yield System(f"FastAPI + {encoder}, batch {batch}", lambda: HTTPCaller(port, "/embed", "texts", {}))


@contextmanager
def infinity(folder: str, batch: int) -> Iterator[System]:
    """Infinity with its torch engine, at f32, without its reports home."""
    port, python = _free_port(), environment("infinity")
    command = [str(python.parent / "infinity_emb"), "v2", "--model-id", folder, "--batch-size", str(batch)]
    command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32", "--no-bettertransformer"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "model", "--no-trust-remote-code"]
    with _process(command, stdout=subprocess.DEVNULL):
        _wait_for(port, "/health")
        yield System(f"Infinity, batch {batch}", lambda: HTTPCaller(port, "/embeddings", "input", {"model": "model"}))


@contextmanager
def library(folder: str, encoder: str, batch: int) -> Iterator[System]:
    """The library in a loop, without HTTP."""
    with _process(_server(folder, encoder, batch), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        call = _line_caller(process)
        yield System(f"{encoder} alone, batch {batch}", lambda: lambda texts: call(json.dumps(list(texts))), 1)


@contextmanager
def peak(precision: str) -> Iterator[Callable[[], float]]:
    """The machine's peak in a process of its own: a function that measures it, GFLOP/s."""
    command = [sys.executable, "-m", "benchmarks.peak", "--serve", "--precision", precision]
    with _process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        call = _line_caller(process)
        yield lambda: float(call(""))


def _server(folder: str, encoder: str, batch: int, *more: str) -> list[str]:
    server = str(Path(__file__).parent / "peers" / "server.py")
    return [str(environment("reference")), server, folder, "--encoder", encoder, "--batch", str(batch), *more]


@contextmanager
def _process(command: Sequence[str], **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    quiet = {"HF_HUB_OFFLINE": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log, cwd=ROOT, env={**os.environ, **quiet}, **pipes)
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(log.read()[-3000:].decode("utf-8", "replace"), file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait(10)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


def _line_caller(process: subprocess.Popen[bytes]) -> Callable[[str], bytes]:
    lock = threading.Lock()
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    stdout.readline()  # ready

    def call(line: str) -> bytes:
        with lock:
            stdin.write(line.encode() + b"\n")
            stdin.flush()
            answer = stdout.readline()
        if not answer:
            raise RuntimeError("the process ended")
        return answer

    return call


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_for(port: int, path: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing answers on port {port}")
        time.sleep(0.2)
