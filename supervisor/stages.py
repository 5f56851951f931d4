"""Folds the events of one launch into the numbered stages. Pure.

A stage is entered once and in order; ``downloading`` is skipped unless its
events come. Only news counts as progress: a line repeated moves no deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from preflight.wire import STAGES, EventType, Stage
from supervisor.progress import WireEvent

#: A model repository has far fewer; more names are counted as one file.
_MAX_FILES = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """One ``startup:stage`` line. ``progress``: 0 to 100, None where not known."""

    stage: Stage
    message: str
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """How far one launch came."""

    current: Stage = Stage.SIDECAR_SPAWN
    seen: frozenset[EventType] = frozenset()
    #: Bytes on disk by file, and the largest totals heard of.
    loaded: tuple[tuple[str, float], ...] = ()
    totals: tuple[tuple[str, float], ...] = ()
    bytes_total: float = 0.0
    percent: float = 0.0

    @property
    def is_converting(self) -> bool:
        """A one-time preparation runs; it reports no steps of its own."""
        return EventType.CONVERSION_STARTED in self.seen and EventType.CONVERSION_FINISHED not in self.seen

    @property
    def is_warm(self) -> bool:
        """The first inference is done."""
        return EventType.WARMED_UP in self.seen


def fold(stages: Stages, event: WireEvent) -> tuple[Stages, tuple[Report, ...], bool]:
    """Return the stages after ``event``, what to report, and whether it was structured progress."""
    if event.type is EventType.DOWNLOAD_PROGRESS:
        return _fold_bytes(stages, event.data)
    first = event.type not in stages.seen
    after = replace(stages, seen=stages.seen | {event.type})
    if event.type is EventType.DOWNLOAD_STARTED and first:
        after = replace(after, bytes_total=float(event.data["bytes_total"] or 0))
    reports: list[Report] = []
    for stage, message in _ENTERED.get(event.type, ()):
        at, already = STAGES.index(stage), STAGES.index(after.current)
        if at > already or (at == already and first):
            after = replace(after, current=stage)
            reports.append(Report(stage, message))
    if event.type is EventType.CONVERSION_FINISHED and first and after.current is Stage.DOWNLOADING:
        reports.append(Report(Stage.DOWNLOADING, "Model prepared", 100.0))
    return after, tuple(reports), first


def _fold_bytes(stages: Stages, data: Mapping[str, object]) -> tuple[Stages, tuple[Report, ...], bool]:
    name, now, total = str(data["file"]), _number(data["loaded"]), _number(data["total"])
    loaded, totals = dict(stages.loaded), dict(stages.totals)
    if name not in loaded and len(loaded) >= _MAX_FILES:
        name = ""
    moved = now > loaded.get(name, -1.0)
    loaded[name] = max(now, loaded.get(name, 0.0))
    totals[name] = max(total, totals.get(name, 0.0))
    whole = stages.bytes_total or sum(totals.values())
    percent = 100.0 * sum(loaded.values()) / whole if whole else 0.0
    after = replace(
        stages,
        loaded=tuple(loaded.items()),
        totals=tuple(totals.items()),
        percent=max(stages.percent, min(100.0, percent)),
    )
    if STAGES.index(stages.current) > STAGES.index(Stage.DOWNLOADING):
        return after, (), moved
    after = replace(after, current=Stage.DOWNLOADING)
    return after, (Report(Stage.DOWNLOADING, f"Downloading {name}", after.percent if whole else None),), moved


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


#: What is entered when a line comes. The sidecar starts its first inference as
#: soon as the model is loaded, so ``model_loaded`` opens ``warmup`` as well.
_ENTERED: dict[EventType, tuple[tuple[Stage, str], ...]] = {
    EventType.HELLO: ((Stage.MODEL_RESOLVE, "Looking for the model"),),
    EventType.DOWNLOAD_STARTED: ((Stage.DOWNLOADING, "Downloading the model"),),
    EventType.CONVERSION_STARTED: ((Stage.DOWNLOADING, "Preparing the model (once)"),),
    EventType.MODEL_LOADED: ((Stage.SIDECAR_READY, "Model loaded"), (Stage.WARMUP, "Running the first inference")),
}
