"""A report as JSON (contract, section 7) and as text for 80 columns, a screen reader, or a log. Pure.

Constraint: CPython 3.8 or newer, standard library alone; no I/O.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any, Mapping

from preflight.model import Finding, Interpreter, PassedOver, Report, Status
from preflight.wire import ErrorCode

_WIDTH = 80
#: Columns of a finding's status and id; the message hangs after them.
_STATUS_WIDTH = 9
_ID_WIDTH = 16


def to_dict(report: Report) -> dict[str, Any]:
    """The report as a JSON-ready mapping."""
    return {
        "ok": report.ok,
        "duration_ms": report.duration_ms,
        "platform": dict(report.platform),
        "python": vars(report.python).copy(),
        "venv": report.venv,
        "missing": list(report.missing),
        "checks": [_finding_dict(finding) for finding in report.checks],
        "passed_over": [vars(environment).copy() for environment in report.passed_over],
    }


def to_json(report: Report) -> str:
    """The report as one line of ASCII JSON."""
    return json.dumps(to_dict(report))


def from_json(text: str) -> Report:
    """Read what ``to_json`` of this or a near version wrote. Raises ``ValueError`` for anything else."""
    try:
        data = json.loads(text)
        return Report(
            checks=tuple(_finding(row) for row in data["checks"]),
            python=Interpreter(**data["python"]),
            platform=data["platform"],
            missing=tuple(data["missing"]),
            venv=data.get("venv"),
            passed_over=tuple(PassedOver(**row) for row in data.get("passed_over", ())),
            duration_ms=data["duration_ms"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a preflight report: {error!r}") from error


def to_text(report: Report) -> str:
    """The report for a person: the outcome first, then one entry a check. Ends with a line end."""
    lines = [_headline(report), ""]
    arch = f", {report.python.arch}" if report.python.arch else ""
    lines += _entry("Python", f"{report.python.version}{arch}: {report.python.path} ({report.python.source})")
    lines += _entry("Environment", report.venv or "none; the interpreter is used as it is")
    for passed in report.passed_over:
        lines += _entry("Passed over", f"{passed.path} ({passed.source}): {passed.reason}")
    lines.append("")
    for finding in report.checks:
        lines += _finding_lines(finding)
    return "\n".join(lines) + "\n"


def summary(finding: Finding) -> str:
    """One finding in a sentence or two, for a line of its own."""
    return f"{finding.message} {finding.hint}".strip()


def _headline(report: Report) -> str:
    errors = len(report.errors)
    warnings = sum(finding.status is Status.WARNING for finding in report.checks)
    if not errors and not warnings:
        outcome = "Everything is fine"
    else:
        outcome = " and ".join(_count(*pair) for pair in ((errors, "error"), (warnings, "warning")) if pair[0])
    return f"Doctor: {outcome} ({report.duration_ms} ms)."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _entry(name: str, value: str) -> list[str]:
    return _hanging(f"{name}: ", value, 4)


def _finding_lines(finding: Finding) -> list[str]:
    head = f"{finding.status.value:<{_STATUS_WIDTH}}{finding.id:<{_ID_WIDTH}}"
    lines = _hanging(head, finding.message, len(head))
    if finding.code is not None:
        lines += _hanging(" " * _STATUS_WIDTH, f"Code: {finding.code.value}", _STATUS_WIDTH)
    if finding.hint:
        lines += _hanging(" " * _STATUS_WIDTH, f"Next step: {finding.hint}", _STATUS_WIDTH + 4)
    return lines


def _hanging(head: str, text: str, indent: int) -> list[str]:
    """Wrap without breaking paths and commands that a person will copy; where one is too long, hang it less far."""
    words = text.split()
    first = head
    if max(map(len, words), default=0) > _WIDTH - indent:
        indent = min(indent, _STATUS_WIDTH)
        if len(head) + len(words[0]) > _WIDTH:
            first = " " * indent
    lines = textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines if first is head else [head.rstrip(), *lines]


def _finding_dict(finding: Finding) -> dict[str, Any]:
    code = finding.code.value if finding.code is not None else None
    return {**vars(finding), "status": finding.status.value, "code": code}


def _finding(row: Mapping[str, Any]) -> Finding:
    code = ErrorCode(row["code"]) if row["code"] is not None else None
    return Finding(**{**row, "status": Status(row["status"]), "code": code})
