"""What the commands other than ``run`` do: a function each, from settings and arguments to exit status.

Each is imported when it is carried out. They raise ``StartError`` and ``Stopped``.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import argparse

from supervisor.config import Settings
from supervisor.start_error import StartError


def carry_out(settings: Settings, arguments: argparse.Namespace) -> int:
    """Carry out ``arguments.command``; returns the exit status."""
    name = arguments.command
    if name == "doctor":
        from supervisor.commands.doctor import doctor

        return doctor(settings, arguments)
    if name == "setup":
        from supervisor.commands.setup import setup

        return setup(settings, arguments)
    if name == "diagnose":
        from supervisor.commands.diagnose import diagnose

        return diagnose(settings, arguments)
    if name == "models":
        from supervisor.commands.models import models

        return models(settings, arguments)
    return _ask(settings, arguments)


def _ask(settings: Settings, arguments: argparse.Namespace) -> int:
    """Carry out a command to the running instance."""
    from supervisor.client import ClientError
    from supervisor.commands import running

    command = {
        "status": running.status,
        "stop": running.stop,
        "restart": running.restart,
        "logs": running.logs,
        "events": running.events,
    }[arguments.command]
    try:
        return command(settings, arguments)
    except ClientError as error:
        raise StartError(error.code, error.message, error.hint) from error
