"""Why a store, or an ingest into one, could not do what it was asked: one row a code."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from preflight.wire import CODES, ErrorCode


class StoreCode(StrEnum):
    """A public code of the stores."""

    STORE_URL_INVALID = "STORE_URL_INVALID"
    STORE_NOT_FOUND = "STORE_NOT_FOUND"
    STORE_UNREACHABLE = "STORE_UNREACHABLE"
    STORE_CONNECTION_LOST = "STORE_CONNECTION_LOST"
    STORE_AUTH_FAILED = "STORE_AUTH_FAILED"
    STORE_READ_ONLY = "STORE_READ_ONLY"
    STORE_LOCKED = "STORE_LOCKED"
    STORE_TIMEOUT = "STORE_TIMEOUT"
    STORE_DISK_FULL = "STORE_DISK_FULL"
    STORE_EXTENSION_MISSING = "STORE_EXTENSION_MISSING"
    STORE_DIMENSION_MISMATCH = "STORE_DIMENSION_MISMATCH"
    STORE_FINGERPRINT_MISMATCH = "STORE_FINGERPRINT_MISMATCH"
    STORE_SCHEMA_MISMATCH = "STORE_SCHEMA_MISMATCH"
    STORE_BAD_BATCH = "STORE_BAD_BATCH"
    STORE_INDEX_UNSUPPORTED = "STORE_INDEX_UNSUPPORTED"
    STORE_CORRUPT = "STORE_CORRUPT"
    STORE_FAILED = "STORE_FAILED"


class StoreCodeInfo(NamedTuple):
    """What is known of a code wherever it is raised."""

    #: The same call may succeed later, with nothing changed by hand.
    retryable: bool
    meaning: str


_C = StoreCode

STORE_CODES: dict[StoreCode, StoreCodeInfo] = {
    _C.STORE_URL_INVALID: StoreCodeInfo(False, "The address of the store cannot be read."),
    _C.STORE_NOT_FOUND: StoreCodeInfo(False, "There is no such store, or nothing was ever written to its table."),
    _C.STORE_UNREACHABLE: StoreCodeInfo(True, "The store does not answer, or its folder is not there."),
    _C.STORE_CONNECTION_LOST: StoreCodeInfo(True, "The connection ended; the open transaction is undone."),
    _C.STORE_AUTH_FAILED: StoreCodeInfo(False, "The store refuses the user or the password."),
    _C.STORE_READ_ONLY: StoreCodeInfo(False, "The user, the file or the server may only read."),
    _C.STORE_LOCKED: StoreCodeInfo(True, "Another program holds the table, the file or a row."),
    _C.STORE_TIMEOUT: StoreCodeInfo(True, "The store ended a statement that took too long."),
    _C.STORE_DISK_FULL: StoreCodeInfo(False, "The store has no room left; the open transaction is undone."),
    _C.STORE_EXTENSION_MISSING: StoreCodeInfo(False, "The store lacks the extension that holds vectors."),
    _C.STORE_DIMENSION_MISMATCH: StoreCodeInfo(False, "The table holds vectors of another length."),
    _C.STORE_FINGERPRINT_MISMATCH: StoreCodeInfo(False, "The table holds vectors of another model."),
    _C.STORE_SCHEMA_MISMATCH: StoreCodeInfo(False, "A table of that name is not ours, or of another version."),
    _C.STORE_BAD_BATCH: StoreCodeInfo(False, "A batch holds what no table may: NaN, a doubled id, a wrong shape."),
    _C.STORE_INDEX_UNSUPPORTED: StoreCodeInfo(False, "The store has no such index, or not for so many dimensions."),
    _C.STORE_CORRUPT: StoreCodeInfo(False, "The store's files are damaged, or not a store at all."),
    _C.STORE_FAILED: StoreCodeInfo(False, "The store failed in a way that has no code of its own."),
}


class CodedError(Exception):
    """A failure with a public code: what was wanted and found, and the next step.

    ``details`` are JSON-ready. ``retryable``: whether the same call may succeed
    later with nothing changed by hand.
    """

    def __init__(
        self,
        code: StrEnum | ErrorCode,
        message: str,
        *,
        retryable: bool,
        hint: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.details = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        """Return the error as JSON shows it (contract, section 5)."""
        return {
            "code": self.code.value,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "details": self.details,
        }


class StoreError(CodedError):
    """A store could not do what it was asked. Nothing of the open transaction is kept."""

    def __init__(
        self, code: StoreCode, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, retryable=STORE_CODES[code].retryable, hint=hint, details=details)


class DependencyMissing(CodedError):  # noqa: N818
    """A package of an extra is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        code = ErrorCode.PYTHON_DEPS_MISSING
        super().__init__(
            code,
            f"Wanted the package {module!r}, found none.",
            retryable=CODES[code].retryable,
            hint=f"Install it: pip install 'embedding-sidecar[{extra}]'.",
            details={"missing": [module], "extra": extra},
        )
