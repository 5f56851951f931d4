"""Preflight under other interpreters: that of an environment, one that was named, the newest of this machine.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from preflight import gate, render
from preflight.model import Finding, Report, Status, Wanted
from preflight.probes.interpreter import environment, is_inside, venv_python
from preflight.question import to_argument
from preflight.wire import ErrorCode
from preflight.wire.environment import scrubbed
from supervisor import bundle
from supervisor.programs import OURS

#: Longest that a probe may take: a cold disk, a virus scanner at its first look.
PROBE_LIMIT_S = 20.0

#: Puts our packages, and nothing that lies beside them, within reach of any interpreter: where the project is
#: installed, its folder holds the packages of another environment.
_REACH = "import sys; sys.path[0] = sys.argv.pop(1); import preflight{others}; del sys.path[0]; "


def look(ask: Wanted, source: str, python: Path | None) -> Report:
    """Run preflight where ``ask`` is to run, or on its behalf where nothing can run yet. Never raises.

    ``source``: how the place was found. ``python``: the interpreter that was named to make environments with.
    """
    if source == bundle.SOURCE:
        return bundle.judged(examine(ask, source), Path(OURS.executable), OURS.bundled_sidecar)
    if ask.venv is None or is_inside(ask.venv):
        return examine(ask, source)
    facts = environment(ask.venv)
    if facts.configured and facts.base_exists and facts.python_problem is None:
        return _probe_inside(str(venv_python(Path(ask.venv))), ask, source)
    if python is not None:
        return probe_base(python, ask)
    if OURS.is_bundled:
        return _probe_found(ask)
    return examine(ask)


def examine(ask: Wanted, source: str = "running") -> Report:
    """Run preflight in this process, which most reports leave to the environment's interpreter."""
    from preflight.examine import examine as here  # 30 ms, of all the probes

    return here(ask, source)


@cache
def found_python() -> str | None:
    """The newest supported interpreter of this machine, for a bundle, which is none; None where there is none."""
    if not OURS.is_bundled:
        return None
    from preflight import discovery

    found = discovery.supported()
    return found[0].path if found else None


def module_command(python: str | Path, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs one of our packages under another interpreter, from any folder.

    The project's folder is within reach for our own packages only. In a bundle
    without an environment there is no such interpreter: the sidecar has a
    command of the module's name.
    """
    if OURS.is_bundled and str(python) == OURS.executable:
        return [str(OURS.bundled_sidecar), module.rpartition(".")[2], *arguments]
    others = "" if module == "preflight" else f", {module}"
    code = _REACH.format(others=others) + f"from {module}.__main__ import main; sys.exit(main())"
    return [str(python), *OURS.flags, "-E", "-s", "-c", code, str(OURS.root), *arguments]


def _probe_inside(python: str, ask: Wanted, source: str) -> Report:
    try:
        report = _run_preflight(python, ask, source)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return _not_answering(examine(ask, source), ask, python, error)
    return replace(report, checks=tuple(_mended_by_rebuilding(f, ask) for f in report.checks))


def _mended_by_rebuilding(finding: Finding, ask: Wanted) -> Finding:
    """An environment of the wrong Python is rebuilt with the right one."""
    if finding.status is Status.ERROR and finding.id.startswith("python."):
        return replace(finding, fixable=True, hint=f"Rebuild the environment: {ask.setup_command}")
    return finding


def probe_base(python: Path, ask: Wanted) -> Report:
    """Ask the interpreter that was named; its report is about an environment it would make."""
    try:
        return _run_preflight(str(python), ask, "option")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        finding = Finding(
            id="python.version",
            status=Status.ERROR,
            code=ErrorCode.PYTHON_NOT_FOUND,
            wanted="an interpreter",
            found=_reason(error),
            message=f"--python: {python} does not run: {_reason(error)}.",
            hint="Name the full path of a Python, such as /usr/bin/python3.",
        )
        report = examine(ask)
        return replace(report, checks=tuple(_replaced(report.checks, finding)))


def _probe_found(ask: Wanted) -> Report:
    """Ask the interpreter that an environment would be made with, out of those of this machine."""
    python = found_python()
    if python is not None:
        return probe_base(Path(python), ask)
    missing = Finding(
        id="python.version",
        status=Status.ERROR,
        code=ErrorCode.PYTHON_NOT_FOUND,
        wanted=gate.WANTED,
        found="no interpreter",
        message=f"Python {gate.WANTED} is needed for {ask.packages}; none was found on this machine.",
        hint="Install Python, name one with --python, or use --engine openvino, which needs none.",
    )
    report = examine(ask)
    return replace(report, checks=tuple(_replaced(report.checks, missing)))


def _run_preflight(python: str, ask: Wanted, source: str) -> Report:
    arguments = ["--json", "--wanted", to_argument(ask), "--source", source]
    done = subprocess.run(
        module_command(python, "preflight", arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=scrubbed(os.environ, frozen=OURS.is_bundled),
        timeout=PROBE_LIMIT_S,
    )
    try:
        return render.from_json(done.stdout.decode("utf-8", "replace"))
    except ValueError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError(lines[-1] if lines else f"exit status {done.returncode}") from None


def _not_answering(report: Report, ask: Wanted, python: str, error: Exception) -> Report:
    """The environment looks sound from outside, yet its interpreter does not do its work."""
    message = f"The environment {ask.venv} is unusable: its interpreter {python} does not run: {_reason(error)}."
    broken = Finding(
        id="venv.sound",
        status=Status.ERROR,
        code=ErrorCode.VENV_BROKEN,
        wanted="a sound environment",
        found=_reason(error),
        message=message,
        hint=f"Rebuild it: {ask.setup_command}",
        fixable=True,
    )
    return replace(report, checks=tuple(_replaced(report.checks, broken)))


def _replaced(findings: Sequence[Finding], finding: Finding) -> Iterator[Finding]:
    return (finding if old.id == finding.id else old for old in findings)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {PROBE_LIMIT_S:.0f} s"
    return str(getattr(error, "strerror", None) or error)
