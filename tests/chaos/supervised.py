"""The real supervisor over the sidecar of ``faulty``: ``python -m tests.chaos.supervised run OPTIONS``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from supervisor import programs
from supervisor.entered import Entered


class WithFaults(programs.Programs):
    """Our programs, but for the sidecar."""

    __slots__ = ()

    def sidecar(self, venv: Path | None) -> tuple[str, ...]:
        return (sys.executable, "-P", str(Path(__file__).with_name("faulty.py")))


if __name__ == "__main__":
    programs.OURS = WithFaults(*programs.OURS)
    os.environ.update(Entered("running", Path(sys.prefix)).variable())  # the environment is this one
    from supervisor import cli  # takes ``OURS`` as it is now

    sys.exit(cli.main(sys.argv[1:]))
