"""What a person at a terminal reads of a run. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.ingest.report import Progress, Report
from sidecar.stores import Hit
from sidecar.stores.codes import CodedError

_BAR_CELLS = 24

#: Errors shown one by one; ``--json`` has them all.
_SHOWN_ERRORS = 20
_SHOWN_CHARS = 400


def bar(progress: Progress) -> str:
    """Return one line: a bar, percent, chunks, rate and time left."""
    cells = round(progress.fraction * _BAR_CELLS)
    parts = [
        f"[{'#' * cells}{'.' * (_BAR_CELLS - cells)}] {100 * progress.fraction:3.0f} %",
        f"{progress.chunks} chunks",
    ]
    if progress.chunks_per_s is not None:
        parts.append(f"{progress.chunks_per_s:.0f}/s")
    if progress.seconds_left is not None and progress.fraction < 1:
        parts.append(f"{duration(progress.seconds_left)} left")
    if progress.errors:
        parts.append(f"{progress.errors} errors")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Return ``seconds`` as ``1 h 02 min``, ``3 min 05 s`` or ``7 s``."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def summary(report: Report, seconds: float) -> str:
    """Return what a run did, and its errors."""
    lines = [
        f"{report.files} files read, {report.unchanged} unchanged, {report.removed} removed, "
        f"{report.skipped} of unknown kind.",
        f"{report.chunks} chunks embedded ({report.tokens} tokens), {report.kept} there already, "
        f"{report.rows_removed} rows removed, in {duration(seconds)}.",
    ]
    if report.truncated:
        lines.append(f"{report.truncated} chunks were longer than the model takes and were cut.")
    lines += [f"{source}: {_error(error)}" for source, error in report.errors[:_SHOWN_ERRORS]]
    more = sum(report.codes.values()) - min(len(report.errors), _SHOWN_ERRORS)
    if more > 0:
        lines.append(f"and {more} errors more; --json lists them.")
    return "\n".join(lines)


def failure(error: CodedError) -> str:
    """Return what ended a run, and the next step."""
    return _error(error) + (f"\nNext step: {error.hint}" if error.hint else "")


def hits(found: Sequence[Hit]) -> str:
    """Return search results, best first."""
    return "\n\n".join(f"{hit.score:.4f}  {hit.id}{_metadata(hit)}\n{_short(hit.text)}" for hit in found)


def _error(error: CodedError) -> str:
    return f"{error.code.value}: {error.message}"


def _metadata(hit: Hit) -> str:
    pairs = ", ".join(f"{name}: {value}" for name, value in hit.metadata.items())
    return f"  ({pairs})" if pairs else ""


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SHOWN_CHARS else flat[: _SHOWN_CHARS - 1] + "…"
