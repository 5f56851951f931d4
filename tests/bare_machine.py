"""A machine as a user has it: an empty home, a bare PATH, an interpreter without our packages, and this project.

Environments are made once and copied, for what breaks them must break nothing else.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflight.folders import MARKER

ROOT = Path(__file__).parents[1]

#: Variables of this machine that lead to its package index, and nothing else.
_NETWORK = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "CURL_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """What ``--json`` printed."""
        value: dict[str, Any] = json.loads(self.out)
        return value


@dataclass(frozen=True, slots=True)
class BareMachine:
    """A home folder, and how commands run in it."""

    home: Path
    python: str
    #: Added to the environment; an empty value takes a variable out.
    variables: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    @property
    def venv(self) -> Path:
        """The managed environment."""
        return self.home / "data" / "embedding-sidecar" / "venv"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.home / "state" / "embedding-sidecar"

    @property
    def venv_python(self) -> Path:
        """The managed environment's interpreter."""
        return self.venv / "bin" / "python"

    def environ(self) -> dict[str, str]:
        """The environment of every command."""
        kept = {name: value for name, value in os.environ.items() if name.upper().startswith(_NETWORK)}
        folders = {f"XDG_{name.upper()}_HOME": str(self.home / name) for name in ("data", "state", "cache", "config")}
        own = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1", **folders}
        return {name: value for name, value in {**kept, **own, **self.variables}.items() if value}

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start ``python -m supervisor`` with ``arguments``."""
        command = [self.python, "-m", "supervisor", *arguments]
        return subprocess.Popen(command, cwd=self.root, env=self.environ(), text=True, **options)

    def run(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run it to its end."""
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(*arguments, **pipe) as process:
            try:
                out, err = process.communicate(stdin, LIMIT_S)
            except BaseException:
                process.kill()
                raise
        return Done(process.returncode, out, err)

    def doctor(self, *arguments: str) -> Done:
        """Run the doctor on the managed environment, for the embedded model and any port."""
        chosen = ("--venv", str(self.venv), "--model", "embedded", "--port", "0")
        return self.run("doctor", "--json", *chosen, *arguments)

    def imports(self, *modules: str) -> bool:
        """Whether the managed environment loads ``modules``."""
        code = f"import {', '.join(modules)}"
        try:
            done = subprocess.run([str(self.venv_python), "-I", "-c", code], env=self.environ(), capture_output=True)
        except OSError:
            return False
        return done.returncode == 0

    def link_environment(self, source: Path) -> None:
        """Put ``source``, which set-up made elsewhere, in place, by links: whoever breaks a file replaces it."""
        self.venv.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-al", str(source), str(self.venv)], check=True)


def make(python: str, home: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> BareMachine:
    """Have set-up make an environment in ``home``."""
    machine = BareMachine(home, python, variables or {})
    done = machine.run("setup", *arguments)
    if done.status != 0:
        raise RuntimeError(f"set-up failed: {done.out}{done.err}")
    return machine


def uv_folder(scratch: Path) -> str:
    """A folder with uv in it, to be put on the PATH: fetched once, if this machine has none."""
    found = shutil.which("uv")
    if found:
        return str(Path(found).parent)
    target = scratch / "uv"
    if not (target / "bin" / "uv").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), "uv"]
        subprocess.run(command, check=True)
    return str(target / "bin")


def outdate(machine: BareMachine) -> None:
    """Let the environment look as if it had been filled from an older list of packages."""
    path = machine.venv / MARKER
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, "pins": "0" * 16}), "utf-8")
