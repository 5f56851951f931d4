"""``setup``: make or repair the managed environment."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TextIO

from preflight.model import Report, Status
from supervisor import bootstrap, interpreter
from supervisor.config import Settings
from supervisor.interpreter import Choice
from supervisor.programs import OURS
from supervisor.setup_view import SetupView
from supervisor.stopping import Stopping


def setup(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make the environment, unless it is as it would be made now."""
    started = time.perf_counter()
    # Set-up makes its own environment even where another one would do.
    place = interpreter.candidates(settings)[-1]
    choice = Choice(place, interpreter.probe(settings, place, thorough=True))
    current = choice.is_complete and (place.venv is None or not _is_outdated(settings, choice.report))
    if current:
        bootstrap.clear_remains(choice)
    else:
        bootstrap.refuse_hopeless(choice.report)
        choice = make(settings, choice, sys.stdout, anew=True, wait=arguments.wait)
    done = "Nothing to do" if current else f"Done in {time.perf_counter() - started:.0f} s"
    packages = interpreter.wanted(settings, place).packages
    where = place.venv or OURS.executable
    sys.stdout.write(f"{done}: {where} holds {packages} (Python {choice.report.python.version}).\n")
    return 0


def make(settings: Settings, choice: Choice, stream: TextIO, *, anew: bool, wait: bool = False) -> Choice:
    """Make or repair the environment, with its progress on ``stream``."""
    view = SetupView(stream.isatty())

    def tell(percent: float, message: str) -> None:
        stream.write(view.render(percent, message))
        stream.flush()

    try:
        with Stopping() as stopping:
            return bootstrap.make(settings, choice, tell, stopping, anew=anew, wait=wait)
    finally:
        stream.write(view.close())


def _is_outdated(settings: Settings, report: Report) -> bool:
    """The environment works, but set-up would make another one now."""
    if any(finding.id == "venv.pins" and finding.status is Status.WARNING for finding in report.checks):
        return True
    return settings.python is not None and not interpreter.is_made_with(settings.python, report)
