"""The numbered start-up stages of one launch."""

from __future__ import annotations

from enum import Enum


class Stage(str, Enum):
    """A start-up stage. Format with ``.value``: ``str()`` differs by version."""

    SUPERVISOR_START = "supervisor_start"
    PREFLIGHT = "preflight"
    VENV_RESOLVE = "venv_resolve"
    SIDECAR_SPAWN = "sidecar_spawn"
    MODEL_RESOLVE = "model_resolve"
    DOWNLOADING = "downloading"
    SIDECAR_READY = "sidecar_ready"
    WARMUP = "warmup"
    READY = "ready"
    ERROR = "error"

    @property
    def number(self) -> int | None:
        """1 to 9, as hosts show it; None for ``error``, which has no number."""
        return STAGES.index(self) + 1 if self in STAGES else None


#: The stages in their only legal order; ``downloading`` may be skipped.
STAGES = tuple(stage for stage in Stage if stage is not Stage.ERROR)
