"""The steps of making one environment: create, fill, import, tidy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from preflight.dependencies import Profile
from preflight.probes.interpreter import venv_python
from preflight.wire import ErrorCode
from supervisor.contents import Contents
from supervisor.programs import OURS
from supervisor.provision import commands, failures
from supervisor.provision.command import Outcome, run
from supervisor.provision.commands import Sources, Step
from supervisor.provision.reading import Reading

#: Programs of ours that other interpreters run.
_SCRIPTS = OURS.root / "supervisor" / "provision"

#: Percent of the whole at which each step ends; measured on an installation of the lean profile.
_CREATED, _GOT_UV, _FILLED, _IMPORTED = 5.0, 15.0, 85.0, 98.0

#: Longest that creating and importing may take: a cold disk, and a virus scanner that reads every file.
_CREATE_LIMIT_S = 300.0
_IMPORT_LIMIT_S = 600.0

_UV_PLACES = ("~/.local/bin", "~/.cargo/bin", "/opt/homebrew/bin", "/usr/local/bin")

#: pip that prints bytes when it is asked for a raw progress bar.
_RAW_SINCE = (24, 1)


class Making:
    """One environment in the making, at ``stage``."""

    def __init__(
        self,
        stage: Path,
        base_python: str,
        sources: Sources,
        tell: Callable[[float, str], None],
        check: Callable[[], None],
    ) -> None:
        self._stage = stage
        self._base_python = base_python
        self._sources = sources
        self._tell = tell
        self._check = check
        self._python = str(venv_python(stage))
        self._scratch = stage / ".making"
        self._environ = commands.installer_environment(os.environ, self._scratch, frozen=OURS.is_bundled)
        self._pip_reports_bytes = False
        self._uv: str | None = None
        self._uv_environ: dict[str, str] = {}

    def create(self) -> None:
        """Make the empty environment. Raises ``StartError``."""
        self._tell(0.0, "Making a virtual environment")
        script = str(_SCRIPTS / "make_venv.py")
        with failures.translated(self._stage, self._base_python):
            self._scratch.mkdir(parents=True)
            outcome = self._run([self._base_python, "-I", script, str(self._stage)], self._environ, _CREATE_LIMIT_S)
        if outcome.status != 0:
            raise failures.not_created(self._stage, outcome)
        version = next((line[4:] for line in outcome.lines if line.startswith("pip ")), "")
        self._pip_reports_bytes = _is_at_least(version, _RAW_SINCE)
        self._tell(_CREATED, "Made a virtual environment")

    def fill(self, contents: Contents) -> str:
        """Install ``contents``; returns the installer's name. Raises ``StartError``."""
        self._get_uv()
        steps = commands.steps(contents)
        if contents.profile is Profile.FULL and not contents.pins:
            self._install_torch(contents)  # no pins choose its build
        failed = self._try_installers(steps)
        if failed and failures.lacks_torch(failed.lines) and self._install_torch(contents):
            failed = self._try_installers(steps)
        if failed:
            explain = failures.not_cached if self._sources.offline else failures.understand
            raise explain(failed.lines, failed.status, self._tool)
        return self._tool

    def import_all(self, contents: Contents) -> None:
        """Import every module once, which also keeps its compiled form. Raises ``StartError``."""
        modules = [dependency.module for dependency in contents.needed]
        imported: list[str] = []

        def on_line(line: str) -> None:
            if line.startswith("ok "):
                imported.append(line)
                share = len(imported) / len(modules)
                self._tell(_FILLED + (_IMPORTED - _FILLED) * share, "Checking that the packages load")

        self._tell(_FILLED, "Checking that the packages load")
        script = str(_SCRIPTS / "import_check.py")
        argv = [self._python, "-I", script, *modules]
        # Some libraries leave files of their own in the home folder when they are imported.
        environ = {**self._environ, **dict.fromkeys(("HOME", "USERPROFILE"), str(self._scratch))}
        with failures.translated(self._stage, self._python):
            outcome = self._run(argv, environ, _IMPORT_LIMIT_S, on_line)
        if outcome.status != 0:
            raise failures.not_importable(outcome)

    def tidy(self) -> None:
        """Remove what only the making needed."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def _tool(self) -> str:
        return "uv" if self._uv else "pip"

    def _try_installers(self, steps: Sequence[Step]) -> Outcome | None:
        """uv, and pip when that fails: the two do not fail at the same things. None when all went well."""
        if self._uv:
            if self._may_have_all() and self._install(steps, replace(self._sources, offline=True)) is None:
                return None
            failed = self._install(steps, self._sources)
            if failed is None:
                return None
            if failures.understand(failed.lines, failed.status, "uv").code is ErrorCode.DISK_SPACE_LOW:
                return failed
            self._uv = None
            self._tell(_GOT_UV, "Trying again with pip")
        return self._install(steps, self._sources)

    def _may_have_all(self) -> bool:
        """Whether uv has a cache: what is in it need not be asked for, which is most of what takes time."""
        told = self._run([str(self._uv), "cache", "dir"], self._uv_environ)
        return not self._sources.offline and told.status == 0 and Path(told.lines[-1].strip()).is_dir()

    def _install(self, steps: Sequence[Step], sources: Sources) -> Outcome | None:
        """Carry out ``steps``; the outcome of the first that failed, or None."""
        total = sum(step.expected for step in steps)
        start = _GOT_UV
        for step in steps:
            share = (_FILLED - _GOT_UV) * step.expected / total
            outcome = self._install_step(step, sources, start, share)
            if outcome.status != 0:
                return outcome
            start += share
        return None

    def _install_step(self, step: Step, sources: Sources, start: float, share: float) -> Outcome:
        reading = Reading(step.expected)

        def on_line(line: str) -> None:
            if reading.feed(line):
                self._tell(start + share * reading.percent / 100, reading.message or "Looking for packages")

        self._tell(start, "Looking for packages")
        if self._uv:
            argv = commands.uv(self._uv, self._python, step.arguments, sources)
            return self._run(argv, self._uv_environ, on_line=on_line)
        argv = commands.pip(self._python, step.arguments, sources, reports_bytes=self._pip_reports_bytes)
        return self._run(argv, self._environ, on_line=on_line)

    def _get_uv(self) -> None:
        """Use uv where it is, or can be had: it takes a fifth of pip's time."""
        self._tell(_CREATED, "Fetching the installer")
        pip = [self._python, "-I", "-m", "pip", "--no-input", "--disable-pip-version-check"]
        config = self._run([*pip, "config", "list"], self._environ)
        found = _uv_of_this_machine()
        if found is None:
            folder = self._scratch / "uv"
            arguments = ["--no-deps", "--target", str(folder), "uv", "--retries", "1"]
            fetched = self._run(commands.pip(self._python, arguments, self._sources), self._environ)
            found = shutil.which("uv", path=str(folder / "bin")) if fetched.status == 0 else None
        self._uv = found
        self._uv_environ = commands.uv_environment(self._environ, "\n".join(config.lines))
        self._tell(_GOT_UV, "Looking for packages")

    def _install_torch(self, contents: Contents) -> bool:
        """Have uv install torch's CPU build alone; False when there is no uv, or it does not find it either."""
        found = self._uv or _uv_of_this_machine() or shutil.which("uv", path=str(self._scratch / "uv" / "bin"))
        if found is None or self._sources.offline:
            return False
        self._tell(_GOT_UV, "Looking for the CPU build of torch")
        return self._run(commands.torch_by_uv(found, self._python, contents), self._uv_environ).status == 0

    def _run(
        self,
        argv: Sequence[str],
        environ: dict[str, str],
        limit_s: float | None = None,
        on_line: Callable[[str], None] = lambda _: None,
    ) -> Outcome:
        return run(argv, environ, on_line=on_line, check=self._check, limit_s=limit_s)


def _uv_of_this_machine() -> str | None:
    """uv where its own installer and package managers put it: programs started from a menu have a bare PATH."""
    places = [os.environ.get("PATH", ""), *(str(Path(place).expanduser()) for place in _UV_PLACES)]
    return shutil.which("uv", path=os.pathsep.join(places))


def _is_at_least(version: str, wanted: tuple[int, int]) -> bool:
    parts = version.split(".")[:2]
    return all(part.isdigit() for part in parts) and tuple(map(int, parts)) >= wanted if version else False
