"""The README's host, run as it is written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.arguments import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_host_runs_as_written(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block
    environment = os.environ | {"SIDECAR_VENV": sys.prefix, "SIDECAR_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", block[1]], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("1 Supervisor started", "384 dimensions")


def test_every_command_is_there() -> None:
    named = set(re.findall(r"`(?:python3 -m supervisor )?(\w+)`|python3 -m supervisor (\w+)", README))
    assert {name for name, _, _ in COMMANDS} <= {word for pair in named for word in pair}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
