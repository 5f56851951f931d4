"""A host in tests: runs a real supervisor over a fake sidecar, reads its lines, holds its standard input.

``python -m tests.supervisor.host STATE_DIR OPTIONS -- ACTIONS`` is what it runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]

Line = Mapping[str, Any]


def command_line(
    state_dir: Path, *actions: str, options: Sequence[str] = (), module: str = "tests.supervisor.host"
) -> list[str]:
    """What starts a supervisor over a fake that carries out ``actions``; run it in ``ROOT``."""
    return [sys.executable, "-m", module, str(state_dir), *options, "--", *actions]


class Host:
    """One supervisor; use it as a context. ``lines`` grows as it speaks."""

    def __init__(
        self,
        state_dir: Path,
        *actions: str,
        options: Sequence[str] = (),
        stdin: int = subprocess.PIPE,
        module: str = "tests.supervisor.host",
    ) -> None:
        argv = command_line(state_dir, *actions, options=options, module=module)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
        self.process = subprocess.Popen(argv, cwd=ROOT, env=environ, stdin=stdin, stdout=subprocess.PIPE)
        self.state_dir = state_dir
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(line))
                self._news.notify_all()

    def say(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def wait_for(self, condition: Callable[[Line], bool], deadline_s: float = 60.0) -> Line:
        """The first line, said already or later, that fulfils ``condition``."""
        seen, ends = 0, time.monotonic() + deadline_s
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if condition(line):
                        return line
                seen = len(self.lines)
                left = ends - time.monotonic()
                if left <= 0 or not self._news.wait(left):
                    raise AssertionError(f"not within {deadline_s} s; said: {self.lines}")

    def ready(self) -> Line:
        return self.wait_for(lambda line: line["channel"] == "supervisor:ready")

    def state(self, state: str, restarts: int = 0) -> Line:
        """The first line that tells ``state`` after at least so many restarts."""
        return self.wait_for(
            lambda line: (
                line["channel"] == "supervisor:state" and line["state"] == state and line["restarts"] >= restarts
            )
        )

    def error(self) -> Line:
        return self.wait_for(lambda line: line["channel"] == "startup:error")

    def exit_status(self, deadline_s: float = 60.0) -> int:
        return self.process.wait(deadline_s)

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.ready()['url']}/health", timeout=5) as answer:
            body: dict[str, Any] = json.load(answer)
            return body

    def post(self, path: str, body: object, token: str | None = None) -> tuple[int, Any]:
        url = f"{self.ready()['url']}{path}"
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer.status, json.load(answer)


def main(argv: Sequence[str]) -> int:
    """The supervisor itself, as ``run`` would start it in its environment."""
    from supervisor import arguments
    from supervisor.config import load
    from supervisor.launch import Plan
    from supervisor.output import Output
    from supervisor.serve import run
    from supervisor.start_error import StartError
    from tests.fakes import command

    state_dir, *rest = argv
    at = rest.index("--")
    options = ["run", "--state-dir", state_dir, "--port", "0", *rest[:at]]
    settings = load(arguments.parse(options), {})
    python, *program = command(*rest[at + 1 :])
    output = Output("jsonl", sys.stdout)
    try:
        return run(settings, output, Plan(python, tuple(program), {"PATH": os.environ.get("PATH", "")}))
    except StartError as error:
        output.emit_error(error.code, error.message, error.hint, error.details)
        return 1
    finally:
        output.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
