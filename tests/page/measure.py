"""``python -m tests.page.measure [MINUTES]``: first paint, memory of an open tab, age of events on arrival.

Prints one line each. Compare runs only with a like load on the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from tests.page.chromium import Browser, browser
from tests.page.stand import Stand

START = ("hello", "cached", "loaded", "warm")

_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_STAMP = re.compile(r"stamp (\d+)")
_STAMPS = 250


def latencies(folder: Path) -> None:
    """A sidecar's line until the host has it, over standard output and over SSE, in ms."""
    over_stdout: list[float] = []
    over_sse: list[float] = []
    options = ["--log-level", "info"]

    class Listening(Stand):
        def _read(self) -> None:
            assert self.process.stdout is not None
            _collect(self._told(), over_stdout)

        def _told(self) -> Iterable[str]:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                yield line.decode()
                with self._news:
                    self.lines.append(json.loads(line))
                    self._news.notify_all()

    with contextlib.ExitStack() as stack:
        stand = stack.enter_context(Listening(folder, *START, f"stamps:{_STAMPS}", "serve", options=options))
        url = f"{stand.instance()['url']}/supervisor/events"
        stream = stack.enter_context(urllib.request.urlopen(url, timeout=30))
        _collect(map(bytes.decode, stream), over_sse)
    for name, times in (("stdout", over_stdout), ("SSE", over_sse)):
        times.sort()
        print(f"{name}: {len(times)} events, p50 {median(times):.2f} ms, p95 {times[int(0.95 * len(times))]:.2f} ms")


def _collect(lines: Iterable[str], into: list[float]) -> None:
    for line in lines:
        stamp = _STAMP.search(line)
        if stamp is not None:
            into.append((time.monotonic_ns() - int(stamp[1])) / 1e6)
        if len(into) >= _STAMPS:
            return


async def paint(chromium: Browser, url: str) -> None:
    """Eleven first visits, nothing cached."""
    times = []
    for _ in range(11):
        async with chromium.tab() as tab:
            await tab.call("Network.enable")
            await tab.call("Network.setCacheDisabled", cacheDisabled=True)
            await tab.open(url)
            times.append(await tab.until(_PAINT))
    print(f"first contentful paint: p50 {median(times):.0f} ms, most {max(times):.0f} ms")


async def memory(chromium: Browser, url: str, minutes: float) -> None:
    """The tab's heap and nodes, collected, at the start and after so long with 100 texts a second."""
    async with chromium.tab() as tab:
        await tab.open(url)
        await asyncio.sleep(10)
        before = await tab.heap()
        await asyncio.sleep(60 * minutes)
        after = await tab.heap()
    (heap, nodes), (heap_after, nodes_after) = before, after
    print(f"{minutes} min: heap {heap:.2f} -> {heap_after:.2f} MB, nodes {nodes} -> {nodes_after}")


async def main(argv: Sequence[str]) -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await asyncio.to_thread(latencies, folder / "latencies")
        with Stand(folder / "state", *START, "busy:100", "serve") as stand:
            url = stand.ready()["url"]
            async with browser(folder / "chromium") as chromium:
                await paint(chromium, url)
                await memory(chromium, url, float(argv[0]) if argv else 30.0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
