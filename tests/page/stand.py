"""What the page's tests open: a real supervisor, over the fake sidecar or the real one.

``python -m tests.page.stand FOLDER OPTIONS -- ACTIONS`` keeps its state in FOLDER and speaks JSON lines. Without
actions it runs the real sidecar with the embedded model.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supervisor import arguments
from supervisor.config import load
from supervisor.instance import FILE_NAME
from supervisor.launch import Plan
from supervisor.output import Output
from supervisor.serve import run
from supervisor.start_error import StartError
from tests.page import child
from tests.supervisor.host import Host


class Stand(Host):
    """The host of such a supervisor; use it as a context."""

    def __init__(self, folder: Path, *actions: str, options: Sequence[str] = ()) -> None:
        super().__init__(folder, *actions, options=options, module="tests.page.stand")

    def instance(self) -> dict[str, Any]:
        """``instance.json``: address and token, known before the sidecar is ready."""
        ends = time.monotonic() + 60.0
        while time.monotonic() < ends:
            with contextlib.suppress(OSError, ValueError):
                record: dict[str, Any] = json.loads((self.state_dir / FILE_NAME).read_text("utf-8"))
                if record["url"]:
                    return record
            time.sleep(0.02)
        raise AssertionError(f"no address within 60 s; said: {self.lines}")

    def open_gate(self, name: str) -> None:
        """Let the fake go on."""
        (self.state_dir / name).touch()


def main(argv: Sequence[str]) -> int:
    """Serve until the standard input ends."""
    folder, *rest = argv
    at = rest.index("--")
    actions = rest[at + 1 :]
    options = ["run", "--state-dir", folder, "--port", "0", "--model", "embedded", "--offline", *rest[:at]]
    output = Output("jsonl", sys.stdout)
    try:
        return run(load(arguments.parse(options), {}), output, _plan(Path(folder), actions) if actions else None)
    except StartError as error:
        output.emit_error(error.code, error.message, error.hint, error.details)
        return 1
    finally:
        output.close()


def _plan(folder: Path, actions: Sequence[str]) -> Plan:
    python, *program = child.command(folder, *actions)
    return Plan(python, tuple(program), {"PATH": os.environ.get("PATH", "")})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
