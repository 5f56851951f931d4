"""Which environment to run in: look at the usual places in order, take the first that is complete.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from preflight import discovery, gate, render
from preflight.checks import ENVIRONMENT_CHECKS
from preflight.cli import to_argument
from preflight.dependencies import Profile, needed_for
from preflight.examine import examine
from preflight.model import Finding, Folder, PassedOver, Report, Status, Wanted
from preflight.probes.interpreter import environment, is_inside, venv_python
from preflight.wire import ErrorCode
from preflight.wire.environment import scrubbed
from supervisor import bundle
from supervisor.config import Settings
from supervisor.programs import OURS
from supervisor.provision import marker
from supervisor.start_error import StartError

#: Folder that holds our packages, and in a checkout the files beside them.
ROOT = OURS.root

#: Longest that a probe may take: a cold disk, a virus scanner at its first look.
PROBE_LIMIT_S = 20.0

#: Puts our packages, and nothing that lies beside them, within reach of any interpreter: where the project is
#: installed, its folder holds the packages of another environment.
_REACH = "import sys; sys.path[0] = sys.argv.pop(1); import preflight{others}; del sys.path[0]; "


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where an environment may be."""

    #: ``option``, ``project``, ``sidecar``, ``running``, ``managed`` or ``bundle``.
    source: str
    #: None: the running interpreter, or the bundle, as it is.
    venv: Path | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and what was found there. When it is not complete, it is to be made or repaired."""

    candidate: Candidate
    report: Report

    @property
    def is_complete(self) -> bool:
        """Nothing about the environment keeps us from running in it."""
        return is_complete(self.report)

    @property
    def python(self) -> Path:
        """The interpreter to run in, once the environment is complete."""
        return Path(sys.executable) if self.candidate.venv is None else venv_python(self.candidate.venv)


Probe = Callable[[Candidate], Report]


def is_complete(report: Report) -> bool:
    """Whether a report finds nothing wrong with the environment; the machine is another matter."""
    return not any(finding.id in ENVIRONMENT_CHECKS for finding in report.errors)


def requirements() -> Path | None:
    """The pins; None where the project is installed as a package, without them."""
    path = ROOT / "requirements.txt"
    return path if path.is_file() and (ROOT / "pyproject.toml").is_file() else None


def candidates(settings: Settings, root: Path = ROOT, *, bundled: bool = OURS.is_bundled) -> tuple[Candidate, ...]:
    """The places to look at, in order; the last is the one that may be made.

    ``bundled``: a bundle holds the profile ``lean``, and is neither made nor searched for.
    """
    if settings.venv is not None:
        return (Candidate("option", settings.venv),)
    if bundled and settings.wanted_profile is Profile.LEAN:
        return (Candidate(bundle.SOURCE, None),)
    if bundled:
        return (Candidate("managed", settings.data_dir / "venv"),)
    return (
        Candidate("project", root / ".venv"),
        Candidate("sidecar", root / "sidecar" / ".venv"),
        Candidate("running", None),
        Candidate("managed", settings.data_dir / "venv"),
    )


def choose(places: Sequence[Candidate], probe: Probe) -> Choice:
    """Return the first complete environment, else the last place, which is then to be made or repaired."""
    passed: list[PassedOver] = []
    for candidate in places[:-1]:
        if candidate.venv is not None and not candidate.venv.exists():
            continue
        report = probe(candidate)
        if is_complete(report):
            return Choice(candidate, replace(report, passed_over=tuple(passed)))
        if not _is_bare(report):
            passed.append(PassedOver(_where(candidate), candidate.source, _why(report)))
    report = probe(places[-1])
    return Choice(places[-1], replace(report, passed_over=tuple(passed)))


def wanted(settings: Settings, candidate: Candidate) -> Wanted:
    """What the checks must hold for a run with ``settings`` in ``candidate``."""
    profile = settings.wanted_profile
    folders = [Folder("state", str(settings.state_dir)), Folder("log", str(settings.log_dir))]
    if candidate.source in {"managed", "option"} and candidate.venv is not None:
        folders.append(Folder("environment", str(candidate.venv.parent)))
    return Wanted(
        profile=profile,
        venv=str(candidate.venv) if candidate.venv is not None else None,
        pins=marker.pins(profile, requirements()),
        spared=_models_not_served(settings) if candidate.source == bundle.SOURCE else (),
        embedded_model=settings.serves_embedded_model,
        folders=tuple(folders),
        host=settings.host,
        port=settings.port,
        instance_file=str(settings.state_dir / "instance.json"),
        setup_command=_setup_command(settings),
    )


def probe(settings: Settings, candidate: Candidate) -> Report:
    """Run preflight in ``candidate``, or on its behalf where nothing can run in it yet. Never raises."""
    ask = wanted(settings, candidate)
    if candidate.source == bundle.SOURCE:
        return bundle.judged(examine(ask, candidate.source), Path(OURS.executable), OURS.bundled_sidecar)
    if candidate.venv is None or is_inside(str(candidate.venv)):
        return examine(ask, candidate.source)
    facts = environment(str(candidate.venv))
    if facts.configured and facts.base_exists and facts.python_problem is None:
        return _probe_inside(str(venv_python(candidate.venv)), ask, candidate.source)
    if settings.python is not None:
        return _probe_base(settings.python, ask)
    if OURS.is_bundled:
        return _probe_found(ask)
    return examine(ask)


def is_made_with(python: Path, report: Report) -> bool:
    """Whether the environment of ``report`` runs the same minor release as the interpreter ``python``."""
    made = _probe_base(python, Wanted()).python.version
    return made.split(".")[:2] == report.python.version.split(".")[:2]


def base_python(settings: Settings) -> str:
    """The interpreter to make environments with. Raises ``StartError`` when the one that was named will not do."""
    if settings.python is None:
        return found_python() or getattr(sys, "_base_executable", "") or sys.executable
    ask = Wanted(profile=settings.wanted_profile)
    for finding in _probe_base(settings.python, ask).errors:
        if finding.id.startswith("python."):
            raise StartError.of(finding, path=str(settings.python))
    return str(settings.python)


@cache
def found_python() -> str | None:
    """The newest supported interpreter of this machine, for a bundle, which is none; None where there is none."""
    found = discovery.supported() if OURS.is_bundled else []
    return found[0].path if found else None


def module_command(python: str | Path, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs one of our packages under another interpreter, from any folder.

    The project's folder is within reach for our own packages only.
    """
    others = "" if module == "preflight" else f", {module}"
    code = _REACH.format(others=others) + f"from {module}.__main__ import main; sys.exit(main())"
    return [str(python), *OURS.flags, "-E", "-s", "-c", code, str(ROOT), *arguments]


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


def _probe_base(python: Path, ask: Wanted) -> Report:
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
        return _probe_base(Path(python), ask)
    missing = Finding(
        id="python.version",
        status=Status.ERROR,
        code=ErrorCode.PYTHON_NOT_FOUND,
        wanted=gate.WANTED,
        found="no interpreter",
        message=f"The profile {ask.profile.value} needs Python {gate.WANTED}; none was found on this machine.",
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


def _is_bare(report: Report) -> bool:
    """An interpreter without any of our packages was never meant as an environment: not worth a word."""
    return report.venv is None and {d.name for d in needed_for(Profile.LEAN)} <= set(report.missing)


def _where(candidate: Candidate) -> str:
    return str(candidate.venv) if candidate.venv is not None else sys.executable


def _why(report: Report) -> str:
    return " ".join(finding.message for finding in report.errors if finding.id in ENVIRONMENT_CHECKS)


def _models_not_served(settings: Settings) -> tuple[str, ...]:
    """Packages that bring a model; a bundle is whole without those that this run does not serve."""
    return () if settings.serves_embedded_model else tuple(d.name for d in needed_for(Profile.LEAN) if d.alone)


def _setup_command(settings: Settings) -> str:
    launcher = "py -m supervisor" if sys.platform == "win32" and not OURS.is_bundled else OURS.command
    chosen = f" --profile {settings.wanted_profile.value}" if settings.wanted_profile.value != "lean" else ""
    place = f' --venv "{settings.venv}"' if settings.venv is not None else ""
    return f"{launcher} setup{chosen}{place}"
