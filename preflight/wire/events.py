"""PROGRESS lines of a sidecar, channels and states of a supervisor."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Mapping

#: Version of the PROGRESS protocol; raised when a reader of the old one would err.
WIRE_VERSION = 1

PROGRESS_PREFIX = "PROGRESS:"

#: Longest line, prefix and line end included, that a sidecar may print.
MAX_LINE_BYTES = 64 * 1024


class EventType(str, Enum):
    """Type of a PROGRESS line."""

    HELLO = "hello"
    MODEL_CACHED = "model_cached"
    DOWNLOAD_STARTED = "download_started"
    DOWNLOAD_PROGRESS = "download_progress"
    CONVERSION_STARTED = "conversion_started"
    CONVERSION_FINISHED = "conversion_finished"
    MODEL_LOADED = "model_loaded"
    WARMED_UP = "warmed_up"
    ERROR = "error"


#: The data keys that every line of a type carries. More may be present; a
#: reader treats a line that lacks one as log.
EVENT_KEYS: dict[EventType, tuple[str, ...]] = {
    EventType.HELLO: ("wire", "pid", "nonce", "version", "port"),
    EventType.MODEL_CACHED: ("model", "path"),
    EventType.DOWNLOAD_STARTED: ("model", "bytes_total"),
    EventType.DOWNLOAD_PROGRESS: ("model", "file", "loaded", "total", "bytes_per_second"),
    EventType.CONVERSION_STARTED: ("model", "engine"),
    EventType.CONVERSION_FINISHED: ("seconds", "min_cosine"),
    EventType.MODEL_LOADED: ("model", "dimensions", "engine", "device", "precision", "fingerprint", "load_ms"),
    EventType.WARMED_UP: ("ms",),
    EventType.ERROR: ("code", "message", "hint", "details"),
}


class Channel(str, Enum):
    """``channel`` of a supervisor's JSON line."""

    STAGE = "startup:stage"
    ERROR = "startup:error"
    DOWNLOAD = "model:download:progress"
    READY = "supervisor:ready"
    STATE = "supervisor:state"
    LOG = "log"


class State(str, Enum):
    """``state`` of a supervisor, as hosts, ``/health`` and ``status`` show it."""

    STARTING = "starting"
    READY = "ready"
    SUSPECT = "suspect"
    RESTARTING = "restarting"
    BROKEN = "broken"
    IDLE = "idle"
    DRAINING = "draining"
    STOPPED = "stopped"


def encode_progress(type_: EventType, data: Mapping[str, Any]) -> str:
    """Return one PROGRESS line without its line end.

    Raises ``ValueError`` when a key of ``EVENT_KEYS`` is missing, when a number
    is not finite, or when the line would be over ``MAX_LINE_BYTES``.
    """
    missing = [key for key in EVENT_KEYS[type_] if key not in data]
    if missing:
        raise ValueError(f"PROGRESS {type_.value} lacks {', '.join(missing)}")
    body = json.dumps({"type": type_.value, "data": dict(data)}, separators=(",", ":"), allow_nan=False)
    line = PROGRESS_PREFIX + body
    if len(line) >= MAX_LINE_BYTES:  # json.dumps escapes to ASCII: characters are bytes
        raise ValueError(f"PROGRESS {type_.value} of {len(line)} bytes is over {MAX_LINE_BYTES}")
    return line
