"""How our programs are started, from source and from a bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.process import guard
from supervisor.programs import OURS, SIDECAR, SUPERVISOR, Programs

BUNDLE = Programs(Path("/app/_internal/sources"), f"/app/{SUPERVISOR}", is_bundled=True)
ON_WINDOWS = Programs(Path("/app/_internal/sources"), f"/app/{SUPERVISOR}.exe", is_bundled=True)


def test_from_source_an_interpreter_runs_everything() -> None:
    assert not OURS.is_bundled
    assert OURS.executable == sys.executable
    for command in (OURS.guard("/usr/bin/python3"), OURS.sidecar(None)):
        assert Path(command[-1]).is_file()
    assert OURS.guard("/usr/bin/python3")[0] == "/usr/bin/python3"
    assert OURS.sidecar(Path(sys.prefix)) == OURS.sidecar(None)


def test_a_bundle_runs_its_own_executables() -> None:
    assert BUNDLE.guard("/usr/bin/python3") == (f"/app/{SUPERVISOR}", guard.ARGUMENT)
    assert BUNDLE.sidecar(None) == (f"/app/{SIDECAR}",)
    assert ON_WINDOWS.sidecar(None) == (f"/app/{SIDECAR}.exe",)


@pytest.mark.skipif(sys.platform == "win32", reason="the venv's layout is another")
def test_a_bundle_runs_its_sources_in_an_environment_and_writes_nothing_beside_them() -> None:
    python, *flags, program = BUNDLE.sidecar(Path("/venv"))
    assert (python, program) == ("/venv/bin/python", "/app/_internal/sources/sidecar/__main__.py")
    assert flags == ["-B", "-P"]


def test_hints_name_the_command_that_is_here() -> None:
    hint = "Run: python3 -m supervisor setup --profile full"
    assert OURS.worded(hint) == hint
    assert BUNDLE.worded(hint) == f'Run: "/app/{SUPERVISOR}" setup --profile full'


def test_the_version_is_told_before_anything_else_is_loaded() -> None:
    code = "import sys; from supervisor.__main__ import main; sys.argv[1:] = ['--version']; status = main();"
    code += "print(status, sorted(name for name in sys.modules if name.startswith('supervisor')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=OURS.root, check=True)
    version, rest = done.stdout.splitlines()
    assert version.startswith("embedding-sidecar ")
    assert rest == "0 ['supervisor', 'supervisor.__main__']"
