"""Judges the bundle that this process runs from: everything it needs comes with it, and nobody can repair it here.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from preflight.checks import ENVIRONMENT_CHECKS
from preflight.dependencies import DEPENDENCIES
from preflight.model import Finding, Report, Status
from preflight.wire import ErrorCode

#: File in the folder of everything but the executables: the names of all files of the bundle, a line each.
NAMES = "files.txt"

#: Where a report says that this interpreter was found.
SOURCE = "bundle"

_SIDECAR = "bundle.sidecar"
_FILES = "bundle.files"
_HINT = "Install the app again: a file of it is missing or was changed."
_NO_MODEL = "Name a prepared model folder with --model; this bundle comes without the embedded model."
_FOREIGN = "Install the build of the app that is made for this system and processor."

#: Packages that bring a model and nothing else; a bundle may come without them.
_MODELS = {dependency.name for dependency in DEPENDENCIES if dependency.alone}

#: Lost files that a message names.
_NAMED = 3

#: As many bytes of an executable as tell its system and processor.
_HEAD_BYTES = 4096


def judged(report: Report, supervisor: Path, sidecar: Path) -> Report:
    """Return ``report``, made in the bundle whose executables are given, as a report about that bundle."""
    hint = _NO_MODEL if report.missing and set(report.missing) <= _MODELS else _HINT
    checks = tuple(_final(finding, hint) for finding in report.checks)
    files = files_finding(supervisor, Path(__file__).parents[1] / NAMES)
    return replace(report, checks=(*checks, sidecar_finding(supervisor, sidecar), files))


def _final(finding: Finding, hint: str) -> Finding:
    """What set-up would mend in an environment, only a new copy mends here."""
    if finding.code is ErrorCode.VENV_CREATE_FAILED:
        return Finding(finding.id, Status.OK, None, finding.wanted, "", "A bundle makes no environment of itself.")
    if finding.id in ENVIRONMENT_CHECKS and finding.status is Status.ERROR:
        return replace(finding, fixable=False, hint=hint)
    return finding


def sidecar_finding(supervisor: Path, sidecar: Path) -> Finding:
    """Look whether ``sidecar`` can be started where ``supervisor``, which is its neighbour, runs. Never raises."""
    try:
        with sidecar.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return _error(sidecar, "nothing there", _HINT)
    except OSError as error:
        return _error(sidecar, error.strerror or str(error), _HINT)
    if not os.access(sidecar, os.X_OK):
        return _error(sidecar, "a file that may not be executed", _HINT)
    if machine_of(head) != machine_of(_head(supervisor)):
        return _error(sidecar, "one that is not for this system and processor", _FOREIGN)
    return Finding(_SIDECAR, Status.OK, None, "an executable", "an executable", f"{sidecar} can be executed.")


def files_finding(supervisor: Path, names: Path) -> Finding:
    """Look whether every file that was built is there: copies lose links, and scanners take files away."""
    try:
        expected = names.read_text("utf-8").splitlines()
    except OSError as error:
        return _incomplete([names.name], 0, error.strerror or str(error))
    lost = [name for name in expected if not (supervisor.parent / name).exists()]
    if lost:
        return _incomplete(lost, len(expected), "missing")
    found = f"{len(expected)} files"
    return Finding(_FILES, Status.OK, None, found, found, f"All {found} of the bundle are there.")


def _incomplete(lost: Sequence[str], expected: int, why: str) -> Finding:
    found = f"{why}: {', '.join(lost[:_NAMED])}" + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
    return Finding(
        id=_FILES,
        status=Status.ERROR,
        code=ErrorCode.SIDECAR_START_FAILED,
        wanted=f"{expected} files" if expected else "a list of files",
        found=found,
        message=f"The bundle is not whole; {found}.",
        hint=_HINT,
    )


def machine_of(head: bytes) -> bytes:
    """Return what an executable's first bytes say of the system and processor it is for; empty for anything else."""
    if head[:4] == b"\x7fELF":
        return head[:6] + head[18:20]  # class, byte order, machine
    if head[:4] in {b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"}:  # Mach-O of one processor, and of several
        return head[:8]
    if head[:2] == b"MZ":
        at = int.from_bytes(head[0x3C:0x40], "little")
        return head[at : at + 6] if head[at : at + 4] == b"PE\0\0" else b""
    return b""


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _error(sidecar: Path, found: str, hint: str) -> Finding:
    return Finding(
        id=_SIDECAR,
        status=Status.ERROR,
        code=ErrorCode.SIDECAR_START_FAILED,
        wanted="an executable",
        found=found,
        message=f"The bundle's sidecar cannot be started: wanted an executable at {sidecar}, found {found}.",
        hint=hint,
    )
