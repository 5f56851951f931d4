"""Which repairs a report calls for. Pure.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from preflight.checks import ENVIRONMENT_CHECKS
from preflight.model import Finding, Report, Status

#: Checks beyond preflight's, or judged again after it.
MODEL_CHECK = "model.cached"
PORT_CHECK = "port.free"
IMPORTS_CHECK = "deep.imports"


class Means(StrEnum):
    """How something is repaired."""

    PORT = "end the instance that does not answer"
    ENVIRONMENT = "make the environment anew beside the old one, and swap the two"
    MODEL = "fetch what the model lacks"


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing to do, and the findings that ask for it."""

    means: Means
    findings: tuple[Finding, ...]

    @property
    def text(self) -> str:
        """What will be done and why, in a sentence."""
        codes = ", ".join(dict.fromkeys(f.code.value for f in self.findings if f.code is not None))
        return f"{self.means.value.capitalize()} ({codes})."


def plan(report: Report) -> tuple[Repair, ...]:
    """Return what can be repaired, in the order to do it; empty when nothing can, or nothing needs to be."""
    fixable = [f for f in report.checks if f.fixable and f.status in {Status.ERROR, Status.WARNING}]
    groups: Iterable[tuple[Means, tuple[Finding, ...]]] = (
        (means, tuple(finding for finding in fixable if means_of(finding) is means)) for means in Means
    )
    return tuple(Repair(means, findings) for means, findings in groups if findings)


def means_of(finding: Finding) -> Means | None:
    """How ``finding`` is repaired; None when only a person can."""
    if finding.id in ENVIRONMENT_CHECKS or finding.id == IMPORTS_CHECK:
        return Means.ENVIRONMENT
    return {MODEL_CHECK: Means.MODEL, PORT_CHECK: Means.PORT}.get(finding.id)
