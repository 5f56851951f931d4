"""What both engines that prepare models do around their own work: make ready once, compare, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from preflight.wire import EventType
from sidecar.engines.base import Engine, ModelCard
from sidecar.prepare.verify import Compared, is_verified, verify

Report = Callable[[EventType, Mapping[str, Any]], None]


class _Settable(Engine, Protocol):
    """An engine whose card is completed after it was made."""

    card: ModelCard


P = TypeVar("P", bound=Compared)
E = TypeVar("E", bound=_Settable)


def open_verified(prepare: Callable[[Report], P], make: Callable[[P], E], cache_dir: Path, report: Report) -> E:
    """Return the engine that ``make`` makes of what ``prepare`` prepares, with its parity on its card; blocks.

    ``report`` hears ``conversion_started`` and ``conversion_finished`` when
    there is something to do for the first time. Raises what both raise, and
    ``Failure``: MODEL_PARITY_FAILED, MODEL_CORRUPT.
    """
    began: list[float] = []

    def hear(type_: EventType, data: Mapping[str, Any]) -> None:
        """Let the first ``conversion_started`` through, and note when it was."""
        if not began:
            report(type_, data)
        began.append(time.monotonic())

    prepared = prepare(hear)
    engine = make(prepared)
    if not is_verified(engine, prepared, cache_dir):
        hear(EventType.CONVERSION_STARTED, {"model": engine.card.model_id, "engine": engine.card.engine})
    parity = verify(engine, prepared, cache_dir)
    engine.card = replace(engine.card, parity=parity)
    if began:
        seconds = round(time.monotonic() - began[0], 3)
        report(EventType.CONVERSION_FINISHED, {"seconds": seconds, "min_cosine": parity.min_cosine})
    return engine
