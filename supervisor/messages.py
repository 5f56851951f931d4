"""What goes into the machine and what comes out: plain values. Pure.

An input tells what happened; an effect says what to do about it. Inputs that
speak of a sidecar carry the number of its launch, so that news of a launch
already replaced can be told from news of the present one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.wire import ErrorCode, State
from supervisor.progress import WireEvent
from supervisor.stages import Report


@dataclass(frozen=True, slots=True)
class Exit:
    """How a sidecar ended: exactly one of ``status`` and ``signal``, or neither where the system did not tell."""

    status: int | None = None
    signal: int | None = None
    signal_name: str = ""
    #: The system ended a process for want of memory while this launch lived.
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a launch failed, in public words."""

    code: ErrorCode
    message: str
    hint: str = ""
    #: No restart mends it: end, unless the sidecar has already served.
    terminal: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Work:
    """The engine's own account, from ``/health``. Texts and tokens are counts, ages seconds."""

    done: int = 0
    queued: int = 0
    running_tokens: int | None = None
    running_age_s: float | None = None
    tokens_per_s: float | None = None

    @property
    def is_idle(self) -> bool:
        """Nothing runs and nothing waits."""
        return self.queued == 0 and self.running_tokens is None


@dataclass(frozen=True, slots=True)
class Health:
    """One answer to ``GET /health``."""

    #: It carries the launch's nonce: our sidecar answered, and nobody else.
    ours: bool
    status: str
    #: None where the sidecar does not account for its work.
    work: Work | None = None
    #: Resident memory of the launch's processes, where it is watched.
    memory_mb: float | None = None


# --- inputs ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawned:
    """The sidecar's process exists."""

    launch: int
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """No process came into being. ``permanent``: another try would fail the same way."""

    launch: int
    reason: str
    permanent: bool
    #: Uniform in [0, 1): spreads restarts.
    jitter: float = 0.5


@dataclass(frozen=True, slots=True)
class Exited:
    """The sidecar ended and nothing of its launch is left alive."""

    launch: int
    exit: Exit
    #: Uniform in [0, 1): spreads restarts.
    jitter: float = 0.5


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """A PROGRESS line was read."""

    launch: int
    event: WireEvent


@dataclass(frozen=True, slots=True)
class HealthSeen:
    """``/health`` was answered, by whomever."""

    launch: int
    health: Health


@dataclass(frozen=True, slots=True)
class HealthMissed:
    """``/health`` was not answered in time, or not in a form of ours."""

    launch: int
    reason: str


@dataclass(frozen=True, slots=True)
class Suspected:
    """The proxy found that the sidecar answers wrongly or not at all."""

    launch: int
    reason: str


@dataclass(frozen=True, slots=True)
class TrialNoted:
    """A call suspected of ending the engine runs alone, or went well. A crash meanwhile is the call's own."""

    launch: int
    under_way: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time went on. ``slept``: so much passed unseen that recent silence proves nothing."""

    slept: bool = False


@dataclass(frozen=True, slots=True)
class WakeRequested:
    """A sidecar is wanted: at the start, or by a request while it is unloaded."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """End everything. A second one ends it without grace."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartRequested:
    """Replace the sidecar, for a person's reasons."""


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """Try now instead of waiting for the next try."""


Input = (
    Spawned
    | SpawnFailed
    | Exited
    | ProgressSeen
    | HealthSeen
    | HealthMissed
    | Suspected
    | TrialNoted
    | Tick
    | WakeRequested
    | StopRequested
    | RestartRequested
    | RetryRequested
)

#: Inputs that speak of one launch.
LaunchInput = Spawned | SpawnFailed | Exited | ProgressSeen | HealthSeen | HealthMissed | Suspected | TrialNoted


# --- effects --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a sidecar; answer with ``Spawned`` or ``SpawnFailed``, later ``Exited``."""

    launch: int
    #: Share of the usual batch budget it may use, in (0, 1].
    batch_share: float = 1.0


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the sidecar to end by itself."""

    launch: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End every process of the launch; when asked again, by harder means."""

    launch: int


@dataclass(frozen=True, slots=True)
class DumpStack:
    """Have the sidecar write its threads' stacks to its log, where it can."""

    launch: int


@dataclass(frozen=True, slots=True)
class PollHealth:
    """Ask ``/health`` in ``in_s`` seconds instead of at the next round."""

    launch: int
    in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EmitStage:
    """Publish ``startup:stage``."""

    launch: int
    report: Report


@dataclass(frozen=True, slots=True)
class EmitDownload:
    """Publish ``model:download:progress``. ``loaded`` and ``total`` are bytes; None: not known."""

    launch: int
    file: str
    loaded: float | None
    total: float | None


@dataclass(frozen=True, slots=True)
class EmitState:
    """Publish ``supervisor:state``. ``failure``: what led here, if something failed; ``failed``: which launch."""

    launch: int
    state: State
    reason: str
    restarts: int
    next_retry_s: float | None = None
    failure: Failure | None = None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class EmitError:
    """Publish ``startup:error``, with the sidecar's last lines."""

    launch: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class EmitReady:
    """Publish ``supervisor:ready``, which names the new process; the ``first`` time with stage ``ready``."""

    launch: int
    first: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is alive any more; end the supervisor."""

    exit_status: int


Effect = (
    Spawn
    | Terminate
    | Kill
    | DumpStack
    | PollHealth
    | EmitStage
    | EmitDownload
    | EmitState
    | EmitError
    | EmitReady
    | Finish
)
