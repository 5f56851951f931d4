"""The gate answers on every Python there is, and never with a traceback."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from preflight import gate
from tests.preflight.interpreters import ROOT, TOO_OLD, TOO_OLD_FOR_REPORT, interpreter

#: Runs the gate alone, as the first lines of each program do.
GATE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from preflight import gate; %s; print('passed')"


def _run(version: str, call: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [interpreter(version), "-c", GATE % call, str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, cwd="/")


@pytest.mark.parametrize("version", TOO_OLD_FOR_REPORT + TOO_OLD)
def test_run_without_a_terminal_prints_one_error_line(version: str) -> None:
    done = _run(version, "gate.require_supported_python(['run', '--port', '0'])")
    assert (done.returncode, done.stderr) == (1, "")
    [line] = done.stdout.splitlines()
    error = json.loads(line)
    assert error["channel"] == "startup:error"
    assert error["code"] == "PYTHON_VERSION_INCOMPATIBLE"
    assert error["details"] == {"wanted": ">=3.11,<=3.14", "found": version}
    assert error["retryable"] is False
    assert error["time"].endswith("Z")


@pytest.mark.parametrize("version", TOO_OLD_FOR_REPORT)
def test_json_is_a_report_with_one_check(version: str) -> None:
    done = _run(version, "gate.require_supported_python(['doctor', '--json'])")
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert report["python"]["version"] == version
    [check] = report["checks"]
    assert (check["id"], check["status"], check["found"]) == ("python.version", "error", version)


@pytest.mark.parametrize("version", TOO_OLD_FOR_REPORT)
def test_a_person_reads_two_lines(version: str) -> None:
    done = _run(version, "gate.require_supported_python(['setup'], hint='Try the other one.')")
    assert done.stdout.splitlines() == [
        f"PYTHON_VERSION_INCOMPATIBLE: Python 3.11 to 3.14 is needed; this is Python {version}.",
        "Next step: Try the other one.",
    ]


@pytest.mark.parametrize("version", ["3.11.7", "3.13.0"])
def test_a_supported_python_passes(version: str) -> None:
    assert _run(version, "gate.require_supported_python(['run'])").stdout == "passed\n"


def test_a_lower_floor_may_be_asked() -> None:
    assert _run("3.8.18", "gate.require_supported_python([], oldest=gate.OLDEST_FOR_REPORT)").stdout == "passed\n"


@pytest.mark.parametrize(
    ("version", "supported"), [((3, 10, 99), False), ((3, 11, 0), True), ((3, 14, 9), True), ((3, 15), False)]
)
def test_both_ends_of_the_range(version: tuple[int, ...], supported: bool) -> None:
    assert gate.is_supported(version) is supported


def test_the_file_keeps_to_old_syntax() -> None:
    """Where no Python 2.7 is installed, the text itself is looked at."""
    text = (ROOT / "preflight" / "gate.py").read_text("utf-8")
    assert "from __future__ import annotations" not in text
    assert 'f"' not in text
    assert Path(gate.__file__).name == "gate.py"
