"""Look at interpreter, packages, disk, memory and port, and return facts.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import os
import sys
from typing import Mapping

from preflight.facts import Facts, PackageFacts, VenvFacts
from preflight.model import Wanted
from preflight.probes import interpreter, machine, network, packages, surroundings


def collect(wanted: Wanted, source: str = "running") -> Facts:
    """Look at everything that ``wanted`` names, under the running interpreter.

    ``source``: how this interpreter was found, for the report. The probes run
    one after the other: together they take about 30 ms, most of it imports,
    which threads would not share.
    """
    path = wanted.venv or (sys.prefix if sys.prefix != sys.base_prefix else None)
    venv = interpreter.environment(path) if path else None
    return Facts(
        wanted=wanted,
        python=interpreter.running(source),
        packages=_packages(wanted, venv),
        venv=venv,
        disk=machine.disk(path or _written_to(wanted)),
        memory=machine.memory(),
        folders=tuple(machine.folder(folder) for folder in wanted.folders),
        port=network.port(wanted.host, wanted.port, wanted.instance_file) if wanted.port else None,
        files=packages.files() if wanted.thorough and _is_ours_to_read(venv) else None,
        around=surroundings.look(wanted) if wanted.thorough else None,
        instance=network.instance(wanted.instance_file),
    )


def _is_ours_to_read(venv: VenvFacts | None) -> bool:
    """Files are compared where set-up put them; elsewhere a person may have changed them on purpose."""
    return venv is not None and venv.pins is not None and interpreter.is_inside(venv.path)


def _written_to(wanted: Wanted) -> str:
    """Where logs go when no environment does: the interpreter may lie on a disk that is read only, and so full."""
    return wanted.folders[0].path if wanted.folders else sys.prefix


def _packages(wanted: Wanted, venv: VenvFacts | None) -> tuple[PackageFacts, ...] | None:
    """Those of the environment, which only its own interpreter sees; one not made yet has none."""
    if venv is None or interpreter.is_inside(venv.path):
        return packages.installed(wanted.needed)
    return None if venv.exists else packages.none_of(wanted.needed)


def platform() -> Mapping[str, str]:
    """The system, as the report shows it."""
    return {"system": sys.platform, "release": _release(), "machine": interpreter.machine()}


def _release() -> str:
    if sys.platform == "win32":
        return ".".join(str(number) for number in sys.getwindowsversion()[:3])
    return os.uname().release
