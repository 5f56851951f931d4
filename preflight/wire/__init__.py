"""What the three packages, the host and the clients agree on.

Stages, error codes, PROGRESS events, the error body and the environment of a
sidecar. Everything that two processes must spell alike is written once, here.

Constraint: CPython 3.8 or newer, standard library alone; no module outside
this package is imported but ``preflight.gate``.
"""

from __future__ import annotations

from preflight.wire.codes import CODES, CodeInfo, ErrorCode
from preflight.wire.events import (
    MAX_LINE_BYTES,
    PROGRESS_PREFIX,
    WIRE_VERSION,
    Channel,
    EventType,
    State,
    encode_progress,
)
from preflight.wire.stages import STAGES, Stage

__all__ = [
    "CODES",
    "MAX_LINE_BYTES",
    "PROGRESS_PREFIX",
    "STAGES",
    "WIRE_VERSION",
    "Channel",
    "CodeInfo",
    "ErrorCode",
    "EventType",
    "Stage",
    "State",
    "encode_progress",
]
