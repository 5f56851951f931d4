"""What the HTTP side of the supervisor asks of its runtime.

The proxy and the control API know the sidecar only through this interface;
``runtime.Runtime`` implements it, and tests bring a small fake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from preflight.wire import ErrorCode, Stage, State


@dataclass(frozen=True, slots=True)
class Upstream:
    """A sidecar that may be called: one launch of it, and no other."""

    launch: int
    url: str
    nonce: str
    token: str


@dataclass(frozen=True, slots=True)
class View:
    """What is known at one moment; a value, safe to keep."""

    state: State
    stage: Stage
    launch: int
    restarts: int
    uptime_s: float
    reason: str = ""
    sidecar_pid: int | None = None
    next_retry_s: float | None = None
    #: Data of the last ``model_loaded``; kept through a restart of the sidecar.
    model: Mapping[str, Any] = field(default_factory=dict)
    #: The sidecar's last own ``/health`` answer, if it gave one in this launch.
    health: Mapping[str, Any] = field(default_factory=dict)
    #: How the second sidecar is; None where none is kept.
    standby: Mapping[str, Any] | None = None


class Command(StrEnum):
    """What a person or host may order."""

    STOP = "stop"
    RESTART = "restart"
    RETRY = "retry"


class UnavailableError(Exception):
    """No sidecar could be had in time.

    ``code`` is ``NOT_READY`` or ``CRASH_LOOP``, or the code of the start-up
    error when the supervisor gave up for a reason no retry mends.
    """

    def __init__(self, code: ErrorCode, message: str, hint: str, retry_after_s: float, stage: Stage) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.retry_after_s = retry_after_s
        self.stage = stage


class Backend(Protocol):
    """The runtime, as the HTTP side sees it. Call from the event loop's thread."""

    def view(self) -> View:
        """Return the present view; never waits."""

    async def upstream(self, timeout_s: float) -> Upstream:
        """Wait at most ``timeout_s`` for a ready sidecar. Raises ``UnavailableError``."""

    async def wait_dead(self, launch: int, timeout_s: float) -> bool:
        """Wait until no process of ``launch`` is left; False when time ran out.

        A call may be replayed on the next launch only after this returned True:
        a sidecar that still lives may still be working on it.
        """

    def suspect(self, launch: int, reason: str) -> None:
        """Tell that ``launch`` answered wrongly or not at all."""

    def command(self, command: Command) -> None:
        """Carry out an order soon; the outcome shows in ``view`` and the events."""
