"""A real Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--enable-precise-memory-info",
    "--force-prefers-reduced-motion",
)

_START_S = 60.0
_WAIT_S = 60.0


def executable() -> str | None:
    """Chromium's path: $CHROMIUM, or the first that is on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


class Tab:
    """One page. ``problems`` collects what its console complains about, exceptions and refusals by its policy."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Carry out one command of the protocol."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_WAIT_S):
            result: dict[str, Any] = await answer
            return result

    async def open(self, url: str) -> None:
        """Go to ``url`` and wait until its scripts have run."""
        failed = (await self.call("Page.navigate", url=url)).get("errorText")
        assert not failed, f"{url}: {failed}"
        await self.until("document.readyState === 'complete'")

    async def js(self, expression: str) -> Any:
        """The value of an expression, promises awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def until(self, expression: str, within_s: float = _WAIT_S) -> Any:
        """The value of an expression as soon as it is true."""
        deadline = asyncio.get_running_loop().time() + within_s
        while not (value := await self.js(expression)):
            if asyncio.get_running_loop().time() > deadline:
                text = await self.js("document.body.innerText")
                raise AssertionError(f"not within {within_s} s: {expression}; console: {self.problems}; page:\n{text}")
            await asyncio.sleep(0.02)
        return value

    async def sees(self, selector: str, text: str, within_s: float = _WAIT_S) -> None:
        """Wait until the element's text, as shown, holds ``text``."""
        shown = f"(document.querySelector({json.dumps(selector)})?.innerText ?? '')"
        await self.until(f"{shown}.includes({json.dumps(text)})", within_s)

    async def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    async def look(self, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Choose the window's size and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def heap(self) -> tuple[float, int]:
        """What its scripts hold once the garbage is collected, in MB, and the nodes of its document."""
        await self.call("HeapProfiler.collectGarbage")
        usage = await self.call("Runtime.getHeapUsage")
        counters = await self.call("Memory.getDOMCounters")
        return usage["usedSize"] / 1e6, int(counters["nodes"])

    async def screenshot(self, path: Path, most: int) -> None:
        """Write the page as PNG, from its top to ``most`` pixels below it."""
        size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(most, size["height"]), "scale": 1}
        shot = await self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))  # noqa: ASYNC240 a small file

    async def close(self) -> None:
        """End the connection; the page goes with the browser."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                self._answered(data)
            elif data["method"] == "Runtime.exceptionThrown":
                details = data["params"]["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", details["text"]))
            elif data["method"] == "Log.entryAdded" and data["params"]["entry"]["source"] != "network":
                self.problems.append(str(data["params"]["entry"]["text"]))

    def _answered(self, data: dict[str, Any]) -> None:
        answer = self._answers.pop(data["id"])
        if answer.done():
            return
        if "error" in data:
            answer.set_exception(AssertionError(str(data["error"])))
        else:
            answer.set_result(data["result"])


class Browser:
    """A running Chromium."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    @contextlib.asynccontextmanager
    async def tab(self) -> AsyncIterator[Tab]:
        """A page of its own, desk-sized and light."""
        async with self._session.put(f"{self._address}/json/new?about:blank") as answer:
            target = json.loads(await answer.text())
        socket = await self._session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        tab = Tab(socket)
        try:
            for domain in ("Page", "Runtime", "Log"):
                await tab.call(f"{domain}.enable")
            await tab.look()
            yield tab
        finally:
            await tab.close()
            async with self._session.get(f"{self._address}/json/close/{target['id']}"):
                pass


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Chromium with ``folder`` for its profile; ended, with all of its processes, at the end."""
    path = executable()
    assert path is not None
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        path, *_FLAGS, *sandbox, f"--user-data-dir={folder}", stdin=quiet, stdout=quiet, stderr=quiet
    )
    try:
        port = await _port(folder / "DevToolsActivePort")
        async with aiohttp.ClientSession(trust_env=False) as session:
            yield Browser(f"http://127.0.0.1:{port}", session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _port(path: Path) -> int:
    async with asyncio.timeout(_START_S):
        while True:
            with contextlib.suppress(OSError, IndexError, ValueError):
                return int(path.read_text("ascii").splitlines()[0])  # noqa: ASYNC240 a small file
            await asyncio.sleep(0.02)
