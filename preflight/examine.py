"""Look and judge: the whole of preflight in one call.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import time

from preflight.checks import judge, missing
from preflight.model import Interpreter, Report, Wanted
from preflight.probes.collecting import collect, platform


def examine(wanted: Wanted, source: str = "running") -> Report:
    """Run every check under the running interpreter. Blocks for some 30 ms; never raises for what it finds."""
    started = time.perf_counter()
    facts = collect(wanted, source)
    python = facts.python
    return Report(
        checks=judge(facts),
        python=Interpreter(python.path, python.dotted, python.machine, python.source),
        platform=platform(),
        missing=missing(facts),
        venv=facts.venv.path if facts.venv else None,
        duration_ms=round((time.perf_counter() - started) * 1000),
    )
