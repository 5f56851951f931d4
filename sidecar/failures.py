"""Why a sidecar cannot start: a public code, what was wanted and found, and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.wire import ErrorCode


class Failure(Exception):  # noqa: N818
    """A start-up failure. ``details`` are JSON-ready and hold ``wanted`` and ``found`` where both exist."""

    def __init__(
        self, code: ErrorCode, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details or {})


def missing_package(error: ImportError) -> Failure:
    """Return the failure of an environment that lacks a package of ours."""
    name = error.name or str(error)
    return Failure(
        ErrorCode.PYTHON_DEPS_MISSING,
        f"The environment lacks a package: {error}.",
        hint="Run: python3 -m supervisor setup",
        details={"missing": [name], "wanted": name, "found": None},
    )
