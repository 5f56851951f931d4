"""Carries repairs out.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from preflight.wire import ErrorCode
from preflight.wire.environment import scrubbed
from supervisor import bootstrap, client
from supervisor.commands.setup import make
from supervisor.config import Settings
from supervisor.fixing import Means, Repair
from supervisor.interpreter import Choice
from supervisor.probing import module_command
from supervisor.programs import OURS
from supervisor.start_error import StartError

#: How long a process may take to end when asked to, and then when made to.
_END_S = 3.0
_LOOK_S = 0.05


def carry_out(repair: Repair, settings: Settings, choice: Choice, *, wait: bool) -> None:
    """Do what ``repair`` says; progress goes to standard error. Raises ``StartError`` and ``Stopped``."""
    if repair.means is Means.PORT:
        end_instance(settings)
    elif repair.means is Means.ENVIRONMENT:
        make(settings, choice, sys.stderr, anew=True, wait=wait)
    else:
        fetch_model(settings)


def end_instance(settings: Settings) -> None:
    """End the instance of the state folder, which does not answer; its sidecar ends with it."""
    running = client.recorded(settings.state_dir)
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        if not client.is_alive(running):  # pid and start time: nobody else's process is ended
            return
        os.kill(running.pid, number)
        deadline = time.monotonic() + _END_S
        while client.is_alive(running) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
    if client.is_alive(running):
        raise StartError(
            ErrorCode.PORT_IN_USE,
            f"Process {running.pid} could not be ended.",
            "End it yourself, or restart the machine.",
            {"pid": running.pid},
        )


def fetch_model(settings: Settings) -> None:
    """Have the model's missing and damaged files fetched, in the environment."""
    python = bootstrap.find(settings).python
    command = module_command(python, "sidecar.models", ["add", settings.model])
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, env=scrubbed(os.environ, frozen=OURS.is_bundled), stdout=sys.stderr
    )
    if done.returncode != 0:
        raise StartError(
            ErrorCode.MODEL_DOWNLOAD_FAILED,
            f"The model {settings.model} could not be completed; the lines above say why.",
            f"Try again: python3 -m supervisor models add {settings.model}",
        )
