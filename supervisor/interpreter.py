"""Which environment to run in: look at the usual places in order, take the first that is complete.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preflight.checks import ENVIRONMENT_CHECKS
from preflight.dependencies import Extra, Profile, needed_for
from preflight.model import Folder, PassedOver, Report, Wanted
from preflight.probes.interpreter import venv_python
from supervisor import bundle
from supervisor.config import Settings
from supervisor.contents import Contents
from supervisor.contents import contents as contents_of
from supervisor.probing import found_python, look, probe_base
from supervisor.programs import OURS
from supervisor.start_error import StartError

#: Folder that holds our packages, and in a checkout the files beside them.
ROOT = OURS.root


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


def contents(settings: Settings) -> Contents:
    """What an environment that is made for ``settings`` holds."""
    return contents_of(ROOT, settings.wanted_profile, settings.wanted_extras)


def candidates(settings: Settings, root: Path = ROOT, *, bundled: bool = OURS.is_bundled) -> tuple[Candidate, ...]:
    """The places to look at, in order; the last is the one that may be made.

    ``bundled``: a bundle holds the profile ``lean``, and is neither made nor searched for.
    """
    if settings.venv is not None:
        return (Candidate("option", settings.venv),)
    if bundled and settings.wanted_profile is Profile.LEAN and not settings.wanted_extras:
        return (Candidate(bundle.SOURCE, None),)
    managed = Candidate("managed", settings.data_dir / _managed_name(settings.wanted_extras))
    if bundled:
        return (managed,)
    return (
        Candidate("project", root / ".venv"),
        Candidate("sidecar", root / "sidecar" / ".venv"),
        Candidate("running", None),
        managed,
    )


def _managed_name(extras: Sequence[Extra]) -> str:
    """Runs with extras have an environment of their own: neither takes away the other's, nor waits for it."""
    return "-".join(("venv", *(extra.value for extra in extras)))


def choose(places: Sequence[Candidate], probe: Probe) -> Choice:
    """Return the first complete environment, else the last place, which is then to be made or repaired."""
    passed: list[PassedOver] = []
    first = [candidate for candidate in places[:-1] if candidate.venv is None or candidate.venv.exists()]
    # Another interpreter takes its time, in which this one can look at itself.
    last = _Probing(probe, places[-1], at_once=[candidate.venv for candidate in first] == [None])
    for candidate in first:
        report = probe(candidate)
        if is_complete(report):
            last.forget()
            return Choice(candidate, replace(report, passed_over=tuple(passed)))
        if not _is_bare(report):
            passed.append(PassedOver(_where(candidate), candidate.source, _why(report)))
    return Choice(places[-1], replace(last.report(), passed_over=tuple(passed)))


class _Probing:
    """One probe, in a thread of its own when ``at_once``, else when it is asked for."""

    def __init__(self, probe: Probe, candidate: Candidate, *, at_once: bool) -> None:
        self._probe = probe
        self._candidate = candidate
        self._found: list[Report] = []
        self._thread = threading.Thread(target=self._run) if at_once else None
        if self._thread is not None:
            self._thread.start()

    def report(self) -> Report:
        """Return what was found; probes again, and so raises, where the thread came to nothing."""
        self.forget()
        return self._found[0] if self._found else self._probe(self._candidate)

    def forget(self) -> None:
        """Leave no process behind."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        self._found.append(self._probe(self._candidate))


def wanted(settings: Settings, candidate: Candidate, *, thorough: bool = False) -> Wanted:
    """What the checks must hold for a run with ``settings`` in ``candidate``; ``thorough``: for a report."""
    folders = [Folder("state", str(settings.state_dir)), Folder("log", str(settings.log_dir))]
    if candidate.source in {"managed", "option"} and candidate.venv is not None:
        folders.append(Folder("environment", str(candidate.venv.parent)))
    return Wanted(
        profile=settings.wanted_profile,
        venv=str(candidate.venv) if candidate.venv is not None else None,
        extras=settings.wanted_extras,
        pins=contents(settings).hashed(),
        spared=_models_not_served(settings) if candidate.source == bundle.SOURCE else (),
        embedded_model=settings.serves_embedded_model or settings.is_remote,
        folders=tuple(folders),
        host=settings.host,
        port=settings.port,
        instance_file=str(settings.state_dir / "instance.json"),
        thorough=thorough,
        setup_command=_setup_command(settings),
    )


def probe(settings: Settings, candidate: Candidate, *, thorough: bool = False) -> Report:
    """Run preflight in ``candidate``, or on its behalf where nothing can run in it yet. Never raises."""
    return look(wanted(settings, candidate, thorough=thorough), candidate.source, settings.python)


def is_made_with(python: Path, report: Report) -> bool:
    """Whether the environment of ``report`` runs the same minor release as the interpreter ``python``."""
    made = probe_base(python, Wanted()).python.version
    return made.split(".")[:2] == report.python.version.split(".")[:2]


def base_python(settings: Settings) -> str:
    """The interpreter to make environments with. Raises ``StartError`` when the one that was named will not do."""
    if settings.python is None:
        return found_python() or getattr(sys, "_base_executable", "") or sys.executable
    ask = Wanted(profile=settings.wanted_profile, extras=settings.wanted_extras)
    for finding in probe_base(settings.python, ask).errors:
        if finding.id.startswith("python."):
            raise StartError.of(finding, path=str(settings.python))
    return str(settings.python)


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
    engine = f" --engine {settings.engine}" if settings.is_remote else ""
    place = f' --venv "{settings.venv}"' if settings.venv is not None else ""
    return f"{launcher} setup{chosen}{engine}{place}"
