"""``python -m tests.page.pictures``: take the pictures of docs/page anew. Takes a minute; look at them afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.page.chromium import Browser, browser
from tests.page.stand import Stand

PLACE = Path(__file__).parents[2] / "docs" / "page"

TRAFFIC_S = 25

_CALL = """fetch('/embed', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(
    {texts: Array.from({length: 8}, (_, i) => 'A line of some file, number ' + i + ' of many.')})}).then(() => 0)"""


async def at_work(chromium: Browser, folder: Path) -> None:
    """The real sidecar with traffic, and a crash in the middle of it."""
    with Stand(folder) as stand:
        ready = stand.ready()
        async with chromium.tab() as tab:
            await tab.open(ready["url"])
            loop = asyncio.get_running_loop()
            for part in range(2):
                ends = loop.time() + TRAFFIC_S / 2
                while loop.time() < ends:
                    await tab.js(_CALL)
                    await asyncio.sleep(0.05)
                if part == 0:
                    os.kill(ready["sidecar_pid"], signal.SIGKILL)
                    await tab.sees("#incidents", "ready again after")
            await tab.js(
                "document.querySelector('#compare-run').click(); document.querySelector('#doctor-run').click()"
            )
            await tab.sees("#cosine", "dimensions")
            await tab.sees("#doctor", "checks in")
            for scheme in ("light", "dark"):
                await tab.look(scheme=scheme)
                await asyncio.sleep(1.5)
                await tab.screenshot(PLACE / f"at-work-{scheme}.png", 880)


async def first_start(chromium: Browser, folder: Path) -> None:
    """A download under way, on a phone's width."""
    sizes = [f"download:model.safetensors:{loaded}000000:1112000000" for loaded in (0, 457)]
    with Stand(folder, "hello", *sizes, "gate:never") as stand:
        async with chromium.tab() as tab:
            await tab.look(width=400, height=700)
            await tab.open(stand.instance()["url"])
            await tab.sees("#stage-numbers", "41 %")
            await asyncio.sleep(1)
            await tab.screenshot(PLACE / "first-start-narrow.png", 1000)


async def broken(chromium: Browser, folder: Path) -> None:
    """An open breaker."""
    lines = ("stderr:RuntimeError: the weights end in the middle of a tensor", "exit:3")
    with Stand(folder, *lines) as stand:
        async with chromium.tab() as tab:
            await tab.open(stand.instance()["url"])
            await tab.sees("#notices", "The sidecar keeps failing", within_s=40)
            await tab.js("document.querySelector('#notices summary').click()")
            await asyncio.sleep(2.5)
            await tab.screenshot(PLACE / "broken-light.png", 760)


async def main(wanted: Sequence[str]) -> None:
    """Take those that are named, or all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with browser(folder / "chromium") as chromium:
            for take in (at_work, first_start, broken):
                if not wanted or take.__name__ in wanted:
                    await take(chromium, folder / take.__name__)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
