"""Why the supervisor could not start, in public words.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.model import Finding
from preflight.wire import CODES, ErrorCode


class StartError(Exception):
    """Carries what ``startup:error`` says; whoever raises it keeps the cause."""

    def __init__(self, code: ErrorCode, message: str, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details or {})

    @property
    def retryable(self) -> bool:
        """Whether the same may work when tried again."""
        return CODES[self.code].retryable

    @classmethod
    def of(cls, finding: Finding, **details: Any) -> StartError:
        """The failure that a finding of preflight stands for."""
        assert finding.code is not None
        said = {"check": finding.id, "wanted": finding.wanted, "found": finding.found}
        return cls(finding.code, finding.message, finding.hint, {**said, **details})
