"""What a process knows that replaced another one to run in the environment.

Constraint: standard library alone, importable on a bare Python; and little of
it, for the supervisor keeps this loaded as long as it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.wire import ErrorCode
from supervisor.programs import FROM_SOURCE
from supervisor.start_error import StartError

#: Set for the process that replaces this one, read and removed by it.
ENTERED = "SUPERVISOR_ENTERED"

SETUP = f"{FROM_SOURCE} setup"


@dataclass(frozen=True, slots=True)
class Entered:
    """The environment that this process runs in; beside a bundle's supervisor, the one that its sidecar runs in."""

    #: Where it was found: ``option``, ``project``, ``sidecar``, ``running``, ``managed`` or ``bundle``.
    source: str
    #: None: the interpreter, or the bundle, as it is.
    venv: Path | None

    def variable(self) -> Mapping[str, str]:
        """What hands this over to the process that comes next."""
        return {ENTERED: json.dumps({"source": self.source, "venv": str(self.venv)})}


def handed_over() -> Entered | None:
    """What the process that we replaced found out; None in a first process. Raises ``StartError``."""
    text = os.environ.pop(ENTERED, None)
    if text is None:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        data = json.loads(text)
        entered = Entered(str(data["source"]), Path(data["venv"]))
        if os.path.realpath(sys.prefix) == os.path.realpath(str(entered.venv)):
            return entered
        raise StartError(
            ErrorCode.VENV_BROKEN,
            f"The interpreter of {entered.venv} runs in {sys.prefix} instead.",
            f"Rebuild the environment: {SETUP}",
            {"venv": str(entered.venv), "prefix": sys.prefix},
        )
    return None
