"""``models``: carried out inside the environment, by the package that serves them."""

from __future__ import annotations

import argparse
import os
import subprocess

from preflight.wire import environment as env
from supervisor import bootstrap
from supervisor.config import Settings
from supervisor.probing import module_command
from supervisor.programs import OURS
from supervisor.start_error import StartError


def models(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command in the environment, and return its exit status. Raises ``StartError`` without one."""
    choice = bootstrap.find(settings)
    for finding in choice.report.errors:
        if not choice.is_complete:
            raise StartError.of(finding)
    flags = ["--json"] if arguments.json else []
    wanted = [arguments.action, *arguments.names, *flags]
    command = module_command(choice.python, "sidecar.models", wanted)
    environ = env.scrubbed(os.environ, frozen=OURS.is_bundled)
    environ.update(env.sidecar_variables(1, environ))
    if settings.offline:
        environ["HF_HUB_OFFLINE"] = "1"
    return subprocess.run(command, env=environ).returncode
