"""Why a source could not be ingested: one row a code. ``sidecar.stores.codes`` has the stores'."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from sidecar.stores.codes import CodedError


class IngestCode(StrEnum):
    """A public code of the ingest."""

    SOURCE_NOT_FOUND = "SOURCE_NOT_FOUND"
    SOURCE_UNREADABLE = "SOURCE_UNREADABLE"
    SOURCE_FORMAT_UNSUPPORTED = "SOURCE_FORMAT_UNSUPPORTED"
    SOURCE_ENCODING = "SOURCE_ENCODING"
    SOURCE_DAMAGED = "SOURCE_DAMAGED"
    SOURCE_ENCRYPTED = "SOURCE_ENCRYPTED"
    SOURCE_COLUMN_MISSING = "SOURCE_COLUMN_MISSING"
    SOURCE_ID_DOUBLED = "SOURCE_ID_DOUBLED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    SOURCE_READ_TIMEOUT = "SOURCE_READ_TIMEOUT"
    SOURCE_READER_CRASHED = "SOURCE_READER_CRASHED"
    TEXT_REFUSED = "TEXT_REFUSED"
    EMBEDDER_UNREACHABLE = "EMBEDDER_UNREACHABLE"
    EMBEDDER_CHANGED = "EMBEDDER_CHANGED"
    EMBEDDER_ANSWER_INVALID = "EMBEDDER_ANSWER_INVALID"
    EMBEDDER_REFUSED = "EMBEDDER_REFUSED"


class IngestCodeInfo(NamedTuple):
    """What is known of a code wherever it is raised."""

    #: The same call may succeed later, with nothing changed by hand.
    retryable: bool
    #: The run ends; false: the source is reported and the others go on.
    ends_run: bool
    meaning: str


_C = IngestCode

INGEST_CODES: dict[IngestCode, IngestCodeInfo] = {
    _C.SOURCE_NOT_FOUND: IngestCodeInfo(False, False, "There is no such file or folder."),
    _C.SOURCE_UNREADABLE: IngestCodeInfo(False, False, "The file cannot be opened or read."),
    _C.SOURCE_FORMAT_UNSUPPORTED: IngestCodeInfo(False, False, "No reader knows files of this kind."),
    _C.SOURCE_ENCODING: IngestCodeInfo(False, False, "The file's text is in another encoding than was said."),
    _C.SOURCE_DAMAGED: IngestCodeInfo(False, False, "The file is not what its name says, or cut short."),
    _C.SOURCE_ENCRYPTED: IngestCodeInfo(False, False, "The file needs a password."),
    _C.SOURCE_COLUMN_MISSING: IngestCodeInfo(False, False, "A table lacks a column that was asked for."),
    _C.SOURCE_ID_DOUBLED: IngestCodeInfo(False, False, "Two rows of one table have the same id."),
    _C.SOURCE_CHANGED: IngestCodeInfo(True, False, "The file changed while it was read."),
    _C.SOURCE_READ_TIMEOUT: IngestCodeInfo(False, False, "Reading the file took too long; its reader was ended."),
    _C.SOURCE_READER_CRASHED: IngestCodeInfo(False, False, "The process that read the file ended by itself."),
    _C.TEXT_REFUSED: IngestCodeInfo(False, False, "The model gives no vector for a text of the file."),
    _C.EMBEDDER_UNREACHABLE: IngestCodeInfo(True, True, "The embedding server does not answer."),
    _C.EMBEDDER_CHANGED: IngestCodeInfo(False, True, "The embedding server serves another model than at the start."),
    _C.EMBEDDER_ANSWER_INVALID: IngestCodeInfo(False, True, "The embedding server's answer is not what it must be."),
    _C.EMBEDDER_REFUSED: IngestCodeInfo(False, True, "The embedding server refuses the request."),
}


class IngestError(CodedError):
    """A source, or the whole run, that failed; ``ends_run`` tells which."""

    def __init__(
        self, code: IngestCode, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(code, message, retryable=INGEST_CODES[code].retryable, hint=hint, details=details)
        self.ends_run = INGEST_CODES[code].ends_run
