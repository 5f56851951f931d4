"""The command line as a shell runs it: status, standard output, standard error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.preflight.interpreters import ROOT

pytestmark = pytest.mark.slow


def _run(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), **variables}
    command = [sys.executable, "-m", "supervisor", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, input="")
    assert "Traceback" not in done.stdout + done.stderr
    return done


def _error(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    return error


def _broken(home: Path) -> list[str]:
    """Options that name an environment which can be mended."""
    venv = home / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").write_text("home = /gone/bin\nversion = 3.11.1\n", "utf-8")
    return ["--venv", str(venv), "--port", "0"]


MISUSES = [
    ([], "required"),
    (["paint"], "paint"),
    (["doctor", "--colour"], "--colour"),
    (["run", "--port", "x"], "a whole number"),
    (["run", "--engine", "steam"], "one of auto"),
    (["run", "--profile", "lean", "--engine", "torch"], "full"),
    (["run", "--engine", "remote"], "--remote-model: wanted the name"),
    (["run", "--remote-url", "http://localhost:1/v1"], "--remote-url: wanted engine remote beside it, found engine"),
    (["doctor", "--engine", "torch", "--remote-model", "m"], "--remote-model: wanted engine remote beside it"),
    (["models", "paint"], "paint"),
    (["models", "add"], "MODEL"),
    (["logs", "--tail", "x"], "--tail"),
]


@pytest.mark.parametrize(("arguments", "says"), MISUSES)
def test_a_command_line_that_cannot_be_used_is_status_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = _run(tmp_path, *arguments)
    assert done.returncode == 2
    assert "INVALID_REQUEST" in done.stderr
    assert says in done.stderr


def test_a_host_hears_of_a_misuse_on_its_line(tmp_path: Path) -> None:
    line = json.loads(_run(tmp_path, "run", "--port", "x").stdout)
    assert (line["channel"], line["code"]) == ("startup:error", "INVALID_REQUEST")


def test_a_doctor_that_finds_something_is_status_1_and_says_what(tmp_path: Path) -> None:
    done = _run(tmp_path, "doctor", "--json", *_broken(tmp_path))
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(report) >= {"ok", "duration_ms", "platform", "python", "missing", "checks"}
    first = next(check for check in report["checks"] if check["status"] == "error")
    assert (first["code"], first["fixable"]) == ("VENV_BROKEN", True)


def test_it_reads_well_in_80_columns(tmp_path: Path) -> None:
    lines = _run(tmp_path, "doctor", "--port", "0").stdout.splitlines()
    assert lines[0].startswith("Doctor: ")
    assert not [line for line in lines if len(line) > 80 and " " in line[25:].strip()], "but for a single long word"
    assert "\x1b" not in "".join(lines)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    options = _broken(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = _run(tmp_path, "doctor", "--fix", "--dry-run", *options)
    assert done.returncode == 1
    assert "Would do: Make the environment anew" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_mended_without_consent(tmp_path: Path) -> None:
    options = _broken(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = _run(tmp_path, "doctor", "--fix", "--json", *options)
    assert done.returncode == 1
    error = _error(done)
    assert "--yes" in error["hint"]
    assert len(error["details"]["plan"]) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["status", "stop", "restart", "logs", "events"])
def test_commands_to_an_instance_say_that_there_is_none(command: str, tmp_path: Path) -> None:
    done = _run(tmp_path, command, "--json", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert _error(done)["hint"]


def test_models_are_listed_in_the_environment(tmp_path: Path) -> None:
    done = _run(tmp_path, "models", "list", "--json", HF_HOME=str(tmp_path / "hf"))
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["models"]
    assert (row["model"], row["complete"]) == ("sentence-transformers/all-MiniLM-L6-v2", False) or row["complete"]


def test_an_unknown_model_has_its_code(tmp_path: Path) -> None:
    done = _run(tmp_path, "models", "verify", "./no/such/folder", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["models"][0]["code"] == "MODEL_NOT_FOUND"


def test_a_healthy_doctor_imports_no_torch_and_no_http(tmp_path: Path) -> None:
    code = (
        "import sys; from supervisor.cli import main; main(['doctor', '--port', '0']);"
        "print([name for name in ('torch', 'openvino', 'aiohttp', 'asyncio', 'http.client') if name in sys.modules])"
    )
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_once_inside_nothing_that_makes_environments_is_loaded(tmp_path: Path) -> None:
    """The supervisor lives as long as its host: what it imports, it keeps."""
    code = (
        "import sys, supervisor.cli, supervisor.serve;"
        "print([name for name in sys.modules if name.startswith('supervisor.') and name.partition('.')[2] in"
        " {'bootstrap', 'interpreter', 'probing', 'provision', 'examination', 'client', 'commands', 'diagnosis'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
