"""What a check says, before its row adds the id. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

from typing import NamedTuple

from preflight.model import Status
from preflight.wire import ErrorCode


class Verdict(NamedTuple):
    """What a check says; the check's own row adds its id."""

    status: Status
    message: str
    wanted: str = ""
    found: str = ""
    code: ErrorCode | None = None
    hint: str = ""
    fixable: bool = False


def ok(message: str, wanted: str = "", found: str = "") -> Verdict:
    """As wanted."""
    return Verdict(Status.OK, message, wanted, found)


def skipped(message: str) -> Verdict:
    """Not looked at; ``message`` says why."""
    return Verdict(Status.SKIPPED, message)


def warning(code: ErrorCode, message: str, wanted: str, found: str, hint: str, fixable: bool = False) -> Verdict:
    """Worth a word, and no reason not to start."""
    return Verdict(Status.WARNING, message, wanted, found, code, hint, fixable)


def error(code: ErrorCode, message: str, wanted: str, found: str, hint: str, fixable: bool = False) -> Verdict:
    """It keeps us from starting."""
    return Verdict(Status.ERROR, message, wanted, found, code, hint, fixable)
