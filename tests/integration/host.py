"""What a desktop app does with the supervisor, as small as it can be: spawn, read lines, hold stdin, call."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
Event = dict[str, Any]

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer whose body is JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


def call(
    url: str,
    body: object = None,
    *,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Answer:
    """GET, or POST when there is a body. An error status is an answer like any other."""
    if body is not None:
        data = json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})} if data is not None else dict(headers or {})
    request = urllib.request.Request(url, data=data, headers=sent)
    try:
        with _OPENER.open(request, timeout=timeout_s) as response:
            return Answer(response.status, dict(response.headers), json.loads(response.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), json.loads(error.read()))


@dataclass
class Host:
    """A supervisor and what it said. Use as a context manager: the end kills what is left."""

    arguments: Sequence[str]
    state_dir: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    #: What starts the supervisor; empty: ``python -m supervisor``.
    program: Sequence[str] = ()
    #: Whether ``environment`` comes on top of our own, or is all there is.
    inherits: bool = True
    cwd: Path = ROOT
    events: list[Event] = field(default_factory=list)
    url: str = ""
    token: str = ""

    def __enter__(self) -> Host:
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self._stderr = (self.state_dir.parent / f"{self.state_dir.name}.stderr").open("w+b")
        self.process = subprocess.Popen(
            [
                *(self.program or (self.python, "-m", "supervisor")),
                "run",
                "--port",
                "0",
                "--state-dir",
                str(self.state_dir),
                *self.arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self.cwd,
            env={**(os.environ if self.inherits else {}), **self.environment},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        family = self.family()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        for process in psutil.wait_procs(family, timeout=5)[1]:
            process.kill()
        self._reader.join(10)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self._stderr.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._queue.put(json.loads(line))
        self._queue.put(None)

    @property
    def stderr(self) -> str:
        """What the supervisor wrote to stderr so far."""
        return Path(self._stderr.name).read_text("utf-8", "replace")

    def wait_for(self, matches: Callable[[Event], bool], timeout_s: float = 60.0) -> Event:
        """Return the first event, from now on, that matches. Fails at the deadline or at end of output."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                event = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no such event in {timeout_s} s; had {self.events[-5:]}") from None
            if event is None:
                raise AssertionError(f"stdout ended; had {self.events[-5:]}; stderr: {self.stderr[-2000:]}")
            self.events.append(event)
            if matches(event):
                return event

    def wait_ready(self, timeout_s: float = 90.0) -> Event:
        """Wait for ``supervisor:ready`` and remember the address it gives."""
        ready = self.wait_for(lambda event: event["channel"] == "supervisor:ready", timeout_s)
        self.url, self.token = ready["url"], ready.get("token", "")
        return ready

    def wait_state(self, state: str, timeout_s: float = 60.0) -> Event:
        """Wait for a ``supervisor:state`` line with this state."""
        return self.wait_for(lambda e: e["channel"] == "supervisor:state" and e["state"] == state, timeout_s)

    def drain(self, timeout_s: float = 20.0) -> list[Event]:
        """Wait until the supervisor ended and return every event it printed."""
        self.process.wait(timeout_s)
        while (event := self._queue.get(timeout=timeout_s)) is not None:
            self.events.append(event)
        return self.events

    def family(self) -> list[psutil.Process]:
        """The supervisor and everything below it, alive now."""
        try:
            supervisor = psutil.Process(self.process.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def health(self) -> Answer:
        """GET /health."""
        return call(f"{self.url}/health", timeout_s=10)

    def sidecar_pid(self) -> int:
        """The pid of the sidecar that serves now, as /health gives it."""
        pid: int = self.health().body["supervisor"]["sidecar_pid"]
        return pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def close_stdin(self) -> None:
        """What the system does when the host dies."""
        assert self.process.stdin is not None
        self.process.stdin.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Poll until ``condition`` holds; fail at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.01)


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those of ``processes`` that still run; zombies are not running."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
