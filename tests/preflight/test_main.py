"""``python -m preflight`` under every real interpreter on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from preflight.dependencies import Extra, Profile
from preflight.model import Folder, Wanted
from preflight.question import to_argument
from tests.preflight.interpreters import (
    ROOT,
    SUPPORTED,
    TOO_OLD,
    TOO_OLD_FOR_REPORT,
    bare_environment,
    interpreter,
)


def _run(python: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "preflight", *arguments],
        cwd=ROOT,
        env=bare_environment(home),
        capture_output=True,
        text=True,
        timeout=30,
    )


def _report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("version", TOO_OLD_FOR_REPORT)
def test_the_oldest_refuse_in_the_report_s_own_shape(version: str, tmp_path: Path) -> None:
    done = _run(interpreter(version), tmp_path, "--json")
    report = _report(done)
    assert done.returncode == 1
    assert [check["code"] for check in report["checks"]] == ["PYTHON_VERSION_INCOMPATIBLE"]


@pytest.mark.parametrize("version", TOO_OLD)
def test_old_ones_explain_themselves(version: str, tmp_path: Path) -> None:
    done = _run(interpreter(version), tmp_path, "--json")
    report = _report(done)
    assert done.returncode == 1
    first = report["checks"][0]
    assert (first["id"], first["code"], first["found"]) == ("python.version", "PYTHON_VERSION_INCOMPATIBLE", version)
    assert len(report["checks"]) > 5


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_bare_supported_one_lacks_the_packages_only(version: str, tmp_path: Path) -> None:
    report = _report(_run(interpreter(version), tmp_path, "--json", "--port", "0"))
    errors = {check["id"] for check in report["checks"] if check["status"] == "error"}
    assert "deps.present" in errors
    assert errors <= {"deps.present", "deps.range"}  # someone may have installed this or that
    assert "aiohttp" in report["missing"]
    assert "torch" not in report["missing"]


def test_the_development_environment_is_healthy(tmp_path: Path) -> None:
    done = _run(sys.executable, tmp_path, "--json", "--profile", "full")
    assert _report(done)["ok"] is True
    assert done.returncode == 0


def test_text_is_for_people(tmp_path: Path) -> None:
    assert _run(sys.executable, tmp_path).stdout.startswith("Doctor: ")


def test_wanted_goes_as_one_argument(tmp_path: Path) -> None:
    wanted = Wanted(Profile.FULL, str(tmp_path / "none"), "abc", True, (Folder("log", str(tmp_path)),), port=None)
    report = _report(_run(sys.executable, tmp_path, "--json", "--wanted", to_argument(wanted), "--source", "managed"))
    assert report["python"]["source"] == "managed"
    assert report["venv"] == str(tmp_path / "none")
    assert "torch" in report["missing"]


def test_what_an_engine_needs_is_missed_only_where_it_is_asked_for(tmp_path: Path) -> None:
    missing = {}
    for extras in ((), (Extra.REMOTE,)):
        wanted = Wanted(venv=str(tmp_path / "none"), extras=extras)
        report = _report(_run(sys.executable, tmp_path, "--json", "--wanted", to_argument(wanted)))
        missing[extras] = set(report["missing"])
    assert missing[(Extra.REMOTE,)] - missing[()] == {"keyring", "openai"}


def test_a_newer_caller_may_say_more(tmp_path: Path) -> None:
    text = json.dumps({"profile": "lean", "of_tomorrow": 1})
    assert _report(_run(sys.executable, tmp_path, "--json", "--wanted", text))["ok"] is True


@pytest.mark.parametrize("arguments", [["--profile", "fat"], ["--port", "x"], ["--wanted", "{"], ["--odd"]])
def test_wrong_arguments_are_a_usage_error(arguments: list[str], tmp_path: Path) -> None:
    done = _run(sys.executable, tmp_path, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr
