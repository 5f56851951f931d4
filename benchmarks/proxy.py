"""What the public port costs: ``python -m benchmarks.proxy [--engine stand-in|auto|torch|openvino] [--seconds 5]``.

The same sidecar is called directly and through the proxy, turn by turn, on
kept connections: latency of single calls, one at a time, and texts per second
of several clients. ``stand-in`` answers at once with a ready-made body, so
that what is left is the proxy alone.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import io
import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from preflight.wire import PROGRESS_PREFIX, Stage, State
from preflight.wire.http import NONCE_HEADER
from supervisor.backend import Command, Upstream, View

ROOT = Path(__file__).parents[1]
NONCE = secrets.token_hex(8)
SIDECAR_TOKEN = secrets.token_hex(16)

#: Texts of a single call and of a bulk call.
SHAPES = {"1 text": 1, "32 texts": 32}


@dataclass(frozen=True)
class Settings:
    """What the public port reads."""

    state_dir: Path
    host: str = "127.0.0.1"
    hold_timeout_s: float = 30.0
    require_token: bool = False
    allow_origins: tuple[str, ...] = ()


class Fixed:
    """A backend whose one sidecar is always ready."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    def view(self) -> View:
        """Ready."""
        return View(State.READY, Stage.READY, 1, 0, 0.0)

    async def upstream(self, timeout_s: float) -> Upstream:
        """At once."""
        return self._upstream

    async def wait_dead(self, launch: int, timeout_s: float) -> bool:
        """Never."""
        await asyncio.sleep(timeout_s)
        return False

    def suspect(self, launch: int, reason: str) -> None:
        """A measurement with a failing sidecar is worthless."""
        raise RuntimeError(reason)

    def command(self, command: Command) -> None:
        """There is nothing to order."""


async def serve_proxy(upstream: str, state_dir: Path) -> None:
    """Run the public port in front of ``upstream`` and print where."""
    import socket

    from supervisor.http.app import build
    from supervisor.http.server import listen
    from supervisor.output import Output

    backend = Fixed(Upstream(1, upstream, os.environ["SIDECAR_NONCE"], os.environ["SIDECAR_TOKEN"]))
    output = Output("none", io.StringIO())
    token = secrets.token_hex(16)
    app = build(backend, Settings(state_dir), output, token, nonce=NONCE, doctor=dict, tail=lambda _: [])
    sock = socket.create_server(("127.0.0.1", 0))
    await listen(app, sock)
    await _announce(sock.getsockname()[1])


async def serve_stand_in() -> None:
    """Answer every call with vectors made beforehand, shaped like a small model's."""
    answers = {}
    for count in SHAPES.values():
        scattered = (n * 2654435761 % 2**32 / 2**32 - 0.5 for n in range(384 * count))
        vectors = [[round(next(scattered) / 10, 9) for _ in range(384)] for _ in range(count)]
        answers[count] = json.dumps({"vectors": vectors, "dim": 384}).encode()

    async def embed(request: web.Request) -> web.Response:
        texts = json.loads(await request.read())["texts"]
        headers = {NONCE_HEADER: os.environ["SIDECAR_NONCE"]}
        return web.Response(body=answers[len(texts)], content_type="application/json", headers=headers)

    app = web.Application(client_max_size=2**24)
    app.router.add_post("/embed", embed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await _announce(runner.addresses[0][1])


async def _announce(port: int) -> None:
    print(PROGRESS_PREFIX + json.dumps({"type": "warmed_up", "data": {"port": port}}), flush=True)
    await asyncio.Event().wait()


@contextmanager
def spawned(*arguments: str) -> Iterator[int]:
    """Start a server of ours and yield its port once it is warm."""
    environment = {**os.environ, "SIDECAR_NONCE": NONCE, "SIDECAR_TOKEN": SIDECAR_TOKEN}
    command = [sys.executable, "-m", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert process.stdout is not None
    try:
        port = 0
        for line in process.stdout:
            if line.startswith(PROGRESS_PREFIX):
                event = json.loads(line.removeprefix(PROGRESS_PREFIX))
                port = event["data"].get("port", port)
                if event["type"] == "warmed_up":
                    break
        else:
            raise SystemExit(f"{' '.join(arguments)} ended with {process.wait()}")
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


class Client:
    """One kept connection."""

    def __init__(self, port: int, token: str | None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.connect()
        self._connection.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def embed(self, body: bytes) -> None:
        """Make one call and read its answer."""
        self._connection.request("POST", "/embed", body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {answer[:300]!r}")

    def latency_ms(self, body: bytes) -> float:
        """Make one call and time it."""
        began = time.perf_counter()
        self.embed(body)
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def body_of(count: int) -> bytes:
    """A call with ``count`` texts of mixed lengths."""
    return json.dumps({"texts": [f"text {n} " + "of some length " * (n % 12) for n in range(count)]}).encode()


def compare_latency(direct: Client, proxied: Client, seconds: float) -> None:
    """Print the percentiles of both ways and of the difference within each pair."""
    for name, count in SHAPES.items():
        body = body_of(count)
        for _ in range(20):
            direct.embed(body)
            proxied.embed(body)
        pairs = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pairs.append((direct.latency_ms(body), proxied.latency_ms(body)))
        plain, through = (statistics.quantiles(values, n=100) for values in zip(*pairs, strict=True))
        print(
            f"{name:9} latency, {len(pairs)} pairs: direct p50 {plain[49]:.2f} p99 {plain[98]:.2f} ms, "
            f"proxied p50 {through[49]:.2f} p99 {through[98]:.2f} ms, p50 difference {through[49] - plain[49]:+.2f} ms"
        )


def rate(make: Callable[[], Client], clients: int, seconds: float) -> float:
    """Texts per second of ``clients`` that each call back to back with 32 texts."""
    body = body_of(32)
    counts = [0] * clients
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        client = make()
        while time.perf_counter() < end:
            client.embed(body)
            counts[number] += 32
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def compare_rates(direct: Callable[[], Client], proxied: Callable[[], Client], seconds: float) -> None:
    """Print the rates both ways, taken in turns."""
    for clients in (1, 2, 8):
        turns = [(rate(direct, clients, seconds), rate(proxied, clients, seconds)) for _ in range(3)]
        plain, through = (statistics.median(values) for values in zip(*turns, strict=True))
        print(f"{clients} clients: direct {plain:.0f}, proxied {through:.0f} texts/s, ratio {through / plain:.3f}")


def measure(engine: str, seconds: float) -> None:
    """Start what is needed, compare, print."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        if engine == "stand-in":
            upstream = stack.enter_context(spawned("benchmarks.proxy", "--serve-stand-in"))
        else:
            arguments = ("sidecar", "--port", "0", "--model", "embedded", "--engine", engine)
            upstream = stack.enter_context(spawned(*arguments))
        address = f"http://127.0.0.1:{upstream}"
        port = stack.enter_context(spawned("benchmarks.proxy", "--serve-proxy", address, "--state-dir", folder))
        direct, proxied = partial(Client, upstream, SIDECAR_TOKEN), partial(Client, port, None)
        compare_latency(direct(), proxied(), seconds)
        compare_rates(direct, proxied, seconds)


def main() -> None:
    """Measure, or be one of the servers that are measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--serve-stand-in", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--serve-proxy", help=argparse.SUPPRESS)
    parser.add_argument("--state-dir", type=Path, help=argparse.SUPPRESS)
    options: Any = parser.parse_args()
    if options.serve_stand_in:
        asyncio.run(serve_stand_in())
    elif options.serve_proxy:
        asyncio.run(serve_proxy(options.serve_proxy, options.state_dir))
    else:
        measure(options.engine, options.seconds)


if __name__ == "__main__":
    main()
