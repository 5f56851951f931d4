"""What the facts mean: one function a check, one tuple of them all. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from preflight.checks import environment, interpreter, machine, surroundings
from preflight.checks.environment import missing
from preflight.checks.verdict import Verdict
from preflight.facts import Facts
from preflight.model import Finding

__all__ = ["CHECKS", "ENVIRONMENT_CHECKS", "Check", "judge", "missing"]


class Check(NamedTuple):
    """One row: what is looked at, and how it is judged."""

    id: str
    judge: Callable[[Facts], Verdict]


CHECKS = (
    Check("python.version", interpreter.python_version),
    Check("python.arch", interpreter.python_arch),
    Check("python.modules", interpreter.python_modules),
    Check("venv.sound", environment.venv_sound),
    Check("venv.pins", environment.venv_pins),
    Check("deps.present", environment.deps_present),
    Check("deps.range", environment.deps_range),
    Check("deps.files", environment.deps_files),
    Check("deps.openmp", environment.openmp_single),
    Check("disk.space", machine.disk_space),
    Check("memory.free", machine.memory_free),
    Check("paths.writable", machine.paths_writable),
    Check("paths.local", surroundings.folders_local),
    Check("port.free", machine.port_free),
    Check("instance", surroundings.instance_running),
    Check("proxy.loopback", surroundings.proxy_spares_loopback),
    Check("clock.sane", surroundings.clock_sane),
    Check("cpu.features", surroundings.cpu_features),
)

#: Those that judge one environment; the others judge the machine.
ENVIRONMENT_CHECKS = frozenset(check.id for check in CHECKS if check.id.startswith(("python.", "venv.", "deps.")))


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Run every check; one finding a check, in the order of ``CHECKS``."""
    return tuple(_finding(check, check.judge(facts)) for check in CHECKS)


def _finding(check: Check, verdict: Verdict) -> Finding:
    return Finding(
        id=check.id,
        status=verdict.status,
        code=verdict.code,
        wanted=verdict.wanted,
        found=verdict.found,
        message=verdict.message,
        hint=verdict.hint,
        fixable=verdict.fixable,
    )
