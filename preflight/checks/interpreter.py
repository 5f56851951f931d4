"""Judges the interpreter: version, architecture, completeness. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from preflight import gate
from preflight.checks.environment import must_install
from preflight.checks.verdict import Verdict, error, ok
from preflight.facts import Facts
from preflight.wire import ErrorCode


def python_version(facts: Facts) -> Verdict:
    """CPython within the supported range, with the GIL."""
    python = facts.python
    found = python.dotted
    if python.implementation != "cpython":
        found += " of " + python.implementation
    elif python.free_threaded:
        found += " without the GIL"
    elif gate.is_supported(python.version):
        return ok(f"Python {found} is supported.", gate.WANTED, found)
    message = f"Python {gate.dotted(gate.OLDEST)} to {gate.dotted(gate.NEWEST)} is needed; this is Python {found}."
    return error(ErrorCode.PYTHON_VERSION_INCOMPATIBLE, message, gate.WANTED, found, gate.HINT)


def python_arch(facts: Facts) -> Verdict:
    """64 bit, and not translated from another processor's code."""
    python = facts.python
    found = f"{python.machine}, {python.bits} bit"
    if python.bits == 64 and python.emulated_on is None:
        return ok(f"Built for {found}.", "64 bit, native", found)
    if python.emulated_on is not None:
        found += f", emulated on {python.emulated_on}"
    wanted = f"64 bit, built for {python.emulated_on or python.machine}"
    return error(
        ErrorCode.PYTHON_ARCH_MISMATCH,
        f"The interpreter must be {wanted}; this one is {found}.",
        wanted,
        found,
        "Install the 64-bit Python that is made for this machine's processor.",
    )


def python_modules(facts: Facts) -> Verdict:
    """Nothing of the standard library that we need is split off or left out."""
    lacking = facts.python.missing_modules
    to_make = [name for name in lacking if name in {"ensurepip", "venv"}]
    if not lacking or (to_make == list(lacking) and not must_install(facts)):
        return ok("The standard library is complete.")
    code = ErrorCode.VENV_CREATE_FAILED if to_make else ErrorCode.PYTHON_DEPS_MISSING
    names = ", ".join(lacking)
    return error(
        code,
        f"This Python lacks parts of the standard library: {names}.",
        "a complete standard library",
        f"without {names}",
        "On Debian and Ubuntu install the packages python3-venv and python3-full; elsewhere reinstall Python.",
    )
