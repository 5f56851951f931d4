"""Judges the environment: sound, filled, and with what. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from preflight.checks.verdict import Verdict, error, ok, skipped, warning
from preflight.facts import Facts, VenvFacts
from preflight.model import Status
from preflight.specifiers import contains
from preflight.wire import ErrorCode


def venv_sound(facts: Facts) -> Verdict:
    """The environment can start, and is what it was made as."""
    venv = facts.venv
    if venv is None:
        return skipped("No virtual environment: the interpreter is used as it is.")
    if not venv.exists:
        return skipped(f"{venv.path} is not made yet.")
    broken = _what_is_broken(venv)
    if broken is None:
        return ok(f"{venv.path} is sound.", found=venv.made_for or "")
    replaceable = venv.configured or venv.pins is not None
    hint = (
        f"Rebuild it: {facts.wanted.setup_command}"
        if replaceable
        else "Name another folder with --venv, or empty this one."
    )
    message = f"The environment {venv.path} {broken}."
    return error(ErrorCode.VENV_BROKEN, message, "a sound environment", broken, hint, fixable=replaceable)


def _what_is_broken(venv: VenvFacts) -> str | None:
    """Why the environment cannot be used; None when nothing is seen."""
    if not venv.configured:
        return "holds no readable pyvenv.cfg, so it is no virtual environment"
    if not venv.base_exists:
        return f"was made with a Python in {venv.base}, which is gone"
    if venv.python_problem:
        return f"is unusable: its interpreter {venv.python} {venv.python_problem}"
    if venv.made_for and venv.running and _minor(venv.made_for) != _minor(venv.running):
        return f"was made for Python {venv.made_for} and now runs {venv.running}"
    return None


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def venv_pins(facts: Facts) -> Verdict:
    """The environment holds what set-up would install now; only a warning."""
    venv, wanted = facts.venv, facts.wanted.pins
    if venv is None or not venv.exists or venv.pins is None or wanted is None:
        return skipped("Not filled by set-up.")
    if venv.pins == wanted:
        return ok("Filled from the present list of packages.", wanted, venv.pins)
    return Verdict(
        Status.WARNING,
        "The environment was filled from another list of packages than set-up has now; it still works.",
        wanted,
        venv.pins,
        ErrorCode.PYTHON_DEPS_INCOMPATIBLE,
        f"Bring it up to date: {facts.wanted.setup_command}",
        fixable=True,
    )


def deps_present(facts: Facts) -> Verdict:
    """Every package of the profile is installed, and its module is found."""
    if facts.packages is None:
        return skipped("Only the environment's own Python can tell.")
    names = missing(facts)
    wanted = f"{len(facts.packages)} packages of {facts.wanted.packages}"
    if not names:
        return ok(f"All {wanted} are installed.", wanted, wanted)
    found = f"missing: {', '.join(names)}"
    if len(names) == len(facts.packages):
        message = f"None of the {wanted} is installed."
    else:
        message = f"Of the {wanted}, {len(names)} cannot be found: {', '.join(names)}."
    return error(ErrorCode.PYTHON_DEPS_MISSING, message, wanted, found, _setup_hint(facts), fixable=True)


def deps_range(facts: Facts) -> Verdict:
    """Every installed package is within the range we run with."""
    installed = {p.name: p.version for p in facts.packages or () if p.version is not None}
    ranges = {d.name: d.specifier for d in facts.wanted.needed if d.name in installed}
    if not ranges:
        return skipped("Nothing is installed.")
    off = {name: version for name, version in installed.items() if not _is_within(ranges[name], version)}
    if not off:
        return ok("Every version is within its range.")
    wanted = ", ".join(name + ranges[name] for name in off)
    found = ", ".join(f"{name} {version}" for name, version in off.items())
    message = f"Wanted {wanted}; found {found}."
    return error(ErrorCode.PYTHON_DEPS_INCOMPATIBLE, message, wanted, found, _setup_hint(facts), fixable=True)


def deps_files(facts: Facts) -> Verdict:
    """Nothing of what the packages came with is gone or cut short."""
    files = facts.files
    if files is None:
        return skipped("Only a report looks at this, in an environment that set-up made.")
    if not files.missing and not files.changed:
        return ok(f"All {files.total} files of the packages are as they were installed.")
    parts = [f"{len(names)} {word}" for names, word in ((files.missing, "gone"), (files.changed, "changed")) if names]
    example = (files.missing + files.changed)[0]
    found = f"{' and '.join(parts)}, such as {example}"
    message = f"Of the {files.total} files of the packages, {found}."
    hint = f"Rebuild the environment: {facts.wanted.setup_command}"
    return error(ErrorCode.VENV_BROKEN, message, "every file as it was installed", found, hint, fixable=True)


def openmp_single(facts: Facts) -> Verdict:
    """One kind of OpenMP runtime: two in one process wait for each other."""
    kinds = facts.files.openmp if facts.files else ()
    if len(kinds) < 2:
        return ok("No two OpenMP runtimes meet.") if facts.files else skipped("Only a report looks at this.")
    found = ", ".join(kinds)
    return warning(
        ErrorCode.PYTHON_DEPS_INCOMPATIBLE,
        f"Packages bring {len(kinds)} OpenMP runtimes, {found}; together in one process they can stall it.",
        "one OpenMP runtime",
        found,
        "Keep other programs' packages out of this environment, or rebuild it: " + facts.wanted.setup_command,
    )


def _is_within(specifier: str, version: str) -> bool:
    try:
        return contains(specifier, version)
    except ValueError:  # metadata may hold anything
        return False


def _setup_hint(facts: Facts) -> str:
    return f"Install them: {facts.wanted.setup_command} ('run' does it by itself)"


def must_install(facts: Facts) -> bool:
    """Whether an environment has to be made before anything can run."""
    broken = facts.venv is not None and (not facts.venv.exists or _what_is_broken(facts.venv) is not None)
    return broken or bool(missing(facts)) or deps_range(facts).status is Status.ERROR


def missing(facts: Facts) -> tuple[str, ...]:
    """Names of the packages that are not installed, or whose module cannot be found."""
    return tuple(p.name for p in facts.packages or () if p.version is None or not p.importable)
