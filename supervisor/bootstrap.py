"""From whatever Python was at hand into the environment that has everything: stages 1 to 3.

The process is replaced, so its pid and its streams stay: the host notices
nothing. What was found out is handed over in one variable.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preflight.checks import ENVIRONMENT_CHECKS
from preflight.model import Report
from preflight.probes.interpreter import is_inside
from preflight.wire import ErrorCode, Stage
from preflight.wire.environment import scrubbed
from supervisor import interpreter
from supervisor.config import Settings
from supervisor.entered import SETUP, Entered
from supervisor.interpreter import Choice
from supervisor.output import Output
from supervisor.probing import module_command
from supervisor.programs import OURS
from supervisor.start_error import StartError
from supervisor.stopping import Stopping

#: What set-up has beside an environment while it works.
REMAINS = (".stage", ".previous")

#: Takes percent (0 to 100, never going back) and what is being done.
Tell = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Replacement:
    """What this process is to become."""

    command: tuple[str, ...]
    environ: Mapping[str, str]

    def carry_out(self) -> int:
        """Become it. Returns on Windows only: the exit status, when it has ended. Raises ``StartError``.

        Close the output first: what is queued there would be lost.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            if sys.platform == "win32":  # exec would end this process there, and so tell the host that we are done
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # the new one hears Ctrl-C itself
                return subprocess.run(self.command, env=self.environ).returncode
            os.execve(self.command[0], self.command, self.environ)  # noqa: S606 - a list of our own
        except OSError as error:
            message = f"The interpreter {self.command[0]} could not be started: {error.strerror or error}."
            raise StartError(ErrorCode.VENV_BROKEN, message, f"Rebuild the environment: {SETUP}") from error


def enter_environment(
    settings: Settings, output: Output, stopping: Stopping, arguments: Sequence[str]
) -> Entered | Replacement:
    """Find or make the environment: ``Entered`` when this process runs in it, else what it must become.

    A bundle's supervisor has all that it needs, and stays what it is. Emits
    stages 1 to 3. ``arguments``: those of the command line, for the new
    process. Raises ``StartError`` and ``Stopped``.
    """
    output.emit_stage(Stage.SUPERVISOR_START, "Supervisor started")
    output.emit_stage(Stage.PREFLIGHT, "Checking this machine")
    choice = find(settings)
    refuse_hopeless(choice.report)
    if choice.is_complete:
        clear_remains(choice)
    else:
        choice = _make(settings, choice, output, stopping)
    output.emit_stage(Stage.VENV_RESOLVE, f"Environment: {choice.candidate.venv or sys.prefix}", 100.0)
    entered = Entered(choice.candidate.source, choice.candidate.venv)
    if entered.venv is None or OURS.is_bundled or is_inside(str(entered.venv)):
        return entered
    stopping.check()
    return _replacement(choice.python, entered, arguments)


def find(settings: Settings, *, thorough: bool = False) -> Choice:
    """Choose the environment, made already or not. ``thorough``: look at all that a report tells."""
    places = interpreter.candidates(settings)
    return interpreter.choose(places, lambda candidate: interpreter.probe(settings, candidate, thorough=thorough))


def make(
    settings: Settings, choice: Choice, tell: Tell, stopping: Stopping, *, anew: bool = False, wait: bool = False
) -> Choice:
    """Make or repair the chosen environment; returns the choice with the report of what came of it.

    ``anew``: even if it is complete. ``wait``: until nobody uses it, instead
    of refusing. Raises ``StartError`` and ``Stopped``.
    """
    from supervisor.provision.commands import Sources  # most runs make nothing
    from supervisor.provision.provisioning import Order, provision

    venv = choice.candidate.venv
    assert venv is not None, "only the last place is made, and it is an environment"

    def is_complete() -> bool:
        return not anew and interpreter.is_complete(interpreter.probe(settings, choice.candidate))

    sources = Sources(offline=settings.offline, index=settings.index_url, torch_index=settings.torch_index)
    python = interpreter.base_python(settings)
    order = Order(venv, python, interpreter.contents(settings), sources, wait=wait)
    with stopping.deferred() as check:
        provision(order, tell=tell, check=check, is_complete=is_complete)
    made = Choice(choice.candidate, interpreter.probe(settings, choice.candidate))
    if not made.is_complete:
        finding = next(finding for finding in made.report.errors if finding.id in ENVIRONMENT_CHECKS)
        raise StartError.of(finding, venv=str(venv), missing=list(made.report.missing))
    return made


def clear_remains(choice: Choice) -> None:
    """Remove what a set-up that was killed at its very end left of the environment before."""
    venv = choice.candidate.venv
    if venv is not None and any(venv.with_name(venv.name + ending).exists() for ending in REMAINS):
        from supervisor.provision.provisioning import clear_remains as clear

        clear(Path(os.path.realpath(venv)))


def refuse_hopeless(report: Report) -> None:
    """Raise ``StartError`` for the first error that making an environment would not mend."""
    for finding in report.errors:
        if not finding.fixable:
            raise StartError.of(finding)


def _make(settings: Settings, choice: Choice, output: Output, stopping: Stopping) -> Choice:
    def tell(percent: float, message: str) -> None:
        output.emit_stage(Stage.VENV_RESOLVE, message, percent)

    return make(settings, choice, tell, stopping)


def _replacement(python: Path, entered: Entered, arguments: Sequence[str]) -> Replacement:
    environ = {**scrubbed(os.environ, frozen=OURS.is_bundled), **entered.variable()}
    return Replacement(tuple(module_command(python, "supervisor", arguments)), environ)
