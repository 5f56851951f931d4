"""A sidecar of our own in another process, for stores whose libraries must not share one with an engine."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from preflight.wire import PROGRESS_PREFIX, EventType
from preflight.wire import environment as wire
from sidecar.ingest.codes import IngestCode, IngestError

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); runpy.run_module('sidecar', run_name='__main__')"

#: Longest line of standard output that is looked at; a PROGRESS line is at most 64 KiB.
_LINE_BYTES = 1 << 20

#: How long it may take to end once it is told to.
_STOP_S = 10.0

Tell = Callable[[EventType, Mapping[str, Any]], None]


class PrivateSidecar:
    """A running sidecar that ends with us, however we end: its standard input is a pipe of ours."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, token: str, drain: asyncio.Task[None]) -> None:
        self._process = process
        self._drain = drain
        self.url = url
        self.token = token

    @classmethod
    async def start(cls, arguments: Sequence[str], threads: int, tell: Tell) -> PrivateSidecar:
        """Start ``python -m sidecar`` with ``arguments`` and wait until it serves; ``tell`` hears its events.

        Raises ``IngestError`` with what the sidecar says of its failure.
        """
        token = secrets.token_urlsafe(24)
        frozen = bool(getattr(sys, "frozen", False))
        program = (sys.executable,) if frozen else (sys.executable, "-c", _PROGRAM, str(_ROOT))
        environ = wire.scrubbed(os.environ, frozen=frozen) | wire.sidecar_variables(threads, os.environ)
        environ |= {wire.TOKEN: token, wire.LIFELINE: "1", wire.NONCE: secrets.token_hex(16)}
        process = await asyncio.create_subprocess_exec(
            *(*program, "--host", "127.0.0.1", "--port", "0"),
            *("--threads", str(threads), "--log-level", "error", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environ,
            limit=_LINE_BYTES,
        )
        try:
            port = await _ready(process, tell)
        except BaseException:
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise
        return cls(process, f"http://127.0.0.1:{port}", token, asyncio.create_task(_read_on(process)))

    async def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._drain.cancel()


async def _ready(process: asyncio.subprocess.Process, tell: Tell) -> int:
    """Read events until the model is warm; return the port."""
    assert process.stdout is not None
    port = 0
    async for line in process.stdout:
        event = _event(line)
        if event is None:
            continue
        type_, data = event
        tell(type_, data)
        if type_ is EventType.HELLO:
            port = int(data["port"])
        elif type_ is EventType.WARMED_UP:
            return port
        elif type_ is EventType.ERROR:
            raise _failed(f"{data.get('code')}: {data.get('message')}", str(data.get("hint") or ""), data)
    raise _failed(f"it ended with status {await process.wait()}", "Run: python -m sidecar", {})


def _event(line: bytes) -> tuple[EventType, Mapping[str, Any]] | None:
    """Return the PROGRESS event in ``line``; None for anything else."""
    text = line.decode("utf-8", "replace")
    try:
        content = json.loads(text.removeprefix(PROGRESS_PREFIX)) if text.startswith(PROGRESS_PREFIX) else {}
        return EventType(content["type"]), content["data"]
    except (ValueError, KeyError, TypeError):
        return None


async def _read_on(process: asyncio.subprocess.Process) -> None:
    """Keep the pipe empty: a full one would stop the sidecar."""
    assert process.stdout is not None
    while await process.stdout.read(65_536):
        continue


def _failed(found: str, hint: str, data: Mapping[str, Any]) -> IngestError:
    return IngestError(
        IngestCode.EMBEDDER_UNREACHABLE,
        f"Wanted a sidecar of our own, found: {found}",
        hint=hint,
        details={"code": data.get("code")},
    )
