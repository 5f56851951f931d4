"""Whether this process is itself one worker of many.

A pool within a pool asks for more processes than there are cores, and where the
outer pool's workers are daemons it cannot even start. A worker therefore reads
everything itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping

#: Set in the workers of Ray, of joblib and of Celery, which do not start them through multiprocessing.
_VARIABLES = ("RAY_RAYLET_PID", "JOBLIB_SPAWNED_PROCESS", "FORKED_BY_MULTIPROCESSING")


def inside_worker(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a pool started this process."""
    return (
        multiprocessing.parent_process() is not None
        or multiprocessing.current_process().daemon
        or any(name in environ for name in _VARIABLES)
    )


def can_spawn(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a helper process of our own may be started: not in a worker, and not from a bundle,
    whose executable is no interpreter."""
    return not inside_worker(environ) and not getattr(sys, "frozen", False)
