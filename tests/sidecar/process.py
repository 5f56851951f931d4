"""A sidecar as a process of its own: started, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_PREFIX = "PROGRESS:"


@dataclass
class Sidecar:
    """What is known of a running sidecar; ``events`` holds (type, data) of the lines so far."""

    process: subprocess.Popen[bytes]
    stderr_path: Path
    started: float = field(default_factory=time.monotonic)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _queue: queue.Queue[str | None] = field(default_factory=queue.Queue)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(line.decode())
        self._queue.put(None)

    def wait_for(self, type_: str, timeout_s: float = 60) -> dict[str, Any]:
        """Return the data of the first line of this type; fails at the deadline or at end of output."""
        for seen, data in self.events:
            if seen == type_:
                return data
        deadline = time.monotonic() + timeout_s
        while (line := self._queue.get(timeout=max(0.0, deadline - time.monotonic()))) is not None:
            self.lines.append(line)
            assert line.startswith(_PREFIX), line
            event = json.loads(line.removeprefix(_PREFIX))
            self.events.append((event["type"], event["data"]))
            if event["type"] == type_:
                return self.events[-1][1]
        raise AssertionError(f"output ended without {type_}: {self.events}; {self.stderr}")

    @property
    def stderr(self) -> str:
        return self.stderr_path.read_text("utf-8", "replace")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.wait_for('hello')['port']}"

    def call(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Return status and JSON body of a GET, or of a POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if data else dict(headers or {})
        request = urllib.request.Request(self.url + path, data=data, headers=sent)
        try:
            with _OPENER.open(request, timeout=100) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self, timeout_s: float = 60) -> int:
        """Wait for the process to end by itself; return its status."""
        return self.process.wait(timeout_s)


@contextlib.contextmanager
def sidecar(
    folder: Path,
    *arguments: str,
    command: Sequence[str] = ("-m", "sidecar"),
    environ: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    python: str = sys.executable,
) -> Iterator[Sidecar]:
    """Start a sidecar on any free port; its standard error goes to a file in ``folder``, prepared models beside it."""
    stderr = folder / "stderr.txt"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    with stderr.open("wb") as errors:
        process = subprocess.Popen(
            [python, *command, "--port", "0", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=cwd,
            env={**clean, "SIDECAR_CACHE_DIR": str(folder.parent / "sidecar-cache"), **(environ or {})},
        )
    started = Sidecar(process, stderr)
    listener = threading.Thread(target=started.listen, daemon=True)
    listener.start()
    try:
        yield started
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        listener.join(10)
        with contextlib.suppress(OSError):
            started.close_stdin()
        assert process.stdout is not None
        process.stdout.close()
