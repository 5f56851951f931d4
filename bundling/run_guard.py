"""Comes first in the bundle's supervisor: with a first argument of its own, it is the guard of one launch.

Constraint: nothing is imported that the guard does not need, and it runs before
PyInstaller's own hooks do: each millisecond here is one of every restart.
"""

from __future__ import annotations

import os
import sys

from supervisor.process import guard


def _give_back_loader_paths() -> None:
    """The guard executes the sidecar with its own environment, which the boot loader bent for this executable."""
    from preflight.wire.environment import scrubbed

    kept = scrubbed(os.environ, frozen=True)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(kept)


if __name__ == "__main__" and sys.argv[1:2] == [guard.ARGUMENT]:
    _give_back_loader_paths()
    sys.exit(guard.main(sys.argv[1:]))
