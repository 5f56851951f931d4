"""Latency of the public port's /health while embedding is busy: ``python -m benchmarks.health [--seconds 20]``."""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tests.integration.host import Host, call


def busy(host: Host, stop: threading.Event, rows: list[int]) -> None:
    """Send requests of 32 texts back to back until told to stop."""
    texts = [f"text number {number} " + "of some length " * (number % 8) for number in range(32)]
    while not stop.is_set():
        rows.append(len(call(f"{host.url}/embed", {"texts": texts}).body["vectors"]))


def sample(port: int, seconds: float) -> list[float]:
    """Milliseconds of each call on one kept-alive connection, a hundred a second."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    latencies = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        connection.request("GET", "/health")
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        latencies.append((time.perf_counter() - began) * 1000)
        time.sleep(0.01)
    connection.close()
    return latencies


def report(name: str, latencies: list[float]) -> None:
    """One line of percentiles, ms."""
    cuts = statistics.quantiles(latencies, n=1000, method="inclusive")
    percentiles = f"p50 {cuts[499]:.2f}, p99 {cuts[989]:.2f}, p99.9 {cuts[998]:.2f}, max {max(latencies):.2f} ms"
    print(f"{name}: {len(latencies)} calls, {percentiles}")


def main() -> None:
    """Print the percentiles, idle and busy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engine", default="auto")
    options = parser.parse_args()
    arguments = ["--model", "embedded", "--engine", options.engine]
    with tempfile.TemporaryDirectory() as folder, Host(arguments, Path(folder) / "state") as host:
        port = host.wait_ready()["port"]
        report("idle", sample(port, options.seconds / 4))
        stop, rows = threading.Event(), list[int]()
        client = threading.Thread(target=busy, args=(host, stop, rows))
        client.start()
        report("busy", sample(port, options.seconds))
        stop.set()
        client.join()
        print(f"meanwhile {sum(rows) / options.seconds:.0f} texts/s")


if __name__ == "__main__":
    main()
