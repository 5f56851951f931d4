"""What a run has done so far, how fast it goes and how long it takes yet. Pure but for the clock handed in."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Outcome
from sidecar.ingest.reading import Group
from sidecar.stores.codes import CodedError

#: The rate shown is that of so many of the last seconds.
_WINDOW_S = 30.0

#: Errors that are kept word for word; the others are counted.
_MAX_ERRORS = 1000


class Progress(NamedTuple):
    """A moment of a run."""

    #: 0 to 1, by bytes of the sources.
    fraction: float
    chunks: int
    chunks_per_s: float | None
    tokens_per_s: float | None
    seconds_left: float | None
    errors: int


@dataclass
class Report:
    """Counts of one run. Used from the event loop."""

    bytes_total: int
    clock: Callable[[], float] = time.monotonic
    #: Files read whole, passed over as unchanged, removed because they are gone; files that no reader knows.
    files: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    #: Chunks embedded now, there already, refused by the model, cut by it, and rows removed.
    chunks: int = 0
    kept: int = 0
    refused: int = 0
    truncated: int = 0
    rows_removed: int = 0
    #: Rows that are in the store for good.
    written: int = 0
    tokens: int = 0
    errors: list[tuple[str, CodedError]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._bytes_done = 0
        self._bytes_passed = 0
        #: (time, chunks, tokens, bytes), oldest first.
        self._marks = [(self._began, 0, 0, 0)]

    def add(self, group: Group, outcome: Outcome) -> None:
        """Count a group that is embedded."""
        self.files += group.finished
        self.unchanged += group.unchanged
        self.kept += group.kept
        self.chunks += len(group.rows) - len(outcome.refused)
        self.tokens += outcome.answer.tokens
        self.truncated += outcome.answer.truncated
        self._bytes_done += group.size
        self._bytes_passed += group.passed
        for source, error in group.errors:
            self.failed(source, error)
        for index, (code, message) in outcome.refused.items():
            self.refused += 1
            self.failed(group.rows[index].source, _refusal(group.rows[index].id, code, message))
        self._mark()

    def wrote(self, rows: int, removed: int) -> None:
        """Count a batch that is committed, or part of a replacement."""
        self.written += rows
        self.rows_removed += removed

    def failed(self, source: str, error: CodedError) -> None:
        """Note what went wrong with a source."""
        self.codes[error.code.value] += 1
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append((source, error))

    def progress(self) -> Progress:
        """Return how far the run is."""
        now = self.clock()
        begun, chunks, tokens, done = self._marks[0]
        seconds = now - begun
        to_do = self.bytes_total - self._bytes_passed - self._bytes_done
        bytes_per_s = (self._bytes_done - done) / seconds if seconds > 0 else 0.0
        is_measured = seconds > 0 and self.chunks > 0
        return Progress(
            fraction=min(1.0, (self._bytes_passed + self._bytes_done) / self.bytes_total) if self.bytes_total else 1.0,
            chunks=self.chunks + self.kept,
            chunks_per_s=(self.chunks - chunks) / seconds if is_measured else None,
            tokens_per_s=(self.tokens - tokens) / seconds if is_measured else None,
            seconds_left=max(0, to_do) / bytes_per_s if bytes_per_s > 0 else None,
            errors=sum(self.codes.values()),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        seconds = self.clock() - self._began
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {
            "ok": not self.codes,
            **counts,
            "seconds": round(seconds, 3),
            "chunks_per_s": round(self.chunks / seconds, 1) if seconds > 0 else None,
            "codes": dict(self.codes),
            "errors": [{"source": source, **error.as_dict()} for source, error in self.errors],
        }

    def _mark(self) -> None:
        now = self.clock()
        self._marks.append((now, self.chunks, self.tokens, self._bytes_done))
        while len(self._marks) > 2 and self._marks[1][0] < now - _WINDOW_S:
            self._marks.pop(0)


_COUNTS = (
    *("files", "unchanged", "removed", "skipped", "chunks", "kept", "refused", "truncated", "rows_removed"),
    *("written", "tokens"),
)


def _refusal(row: str, code: str, message: str) -> IngestError:
    return IngestError(
        IngestCode.TEXT_REFUSED,
        f"{row}: {code}: {message}",
        hint="Look at the text, or leave the file out; the next run tries it again.",
        details={"row": row, "code": code},
    )
