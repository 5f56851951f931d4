"""The state of supervision: one frozen value, and what can be read off it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from preflight.wire import State
from supervisor.messages import Failure
from supervisor.policy import LEAST_BATCH_SHARE, STABLE_S, Breaker, Policy, allowance_s
from supervisor.stages import Stages
from supervisor.watchdog import Suspicion, Watch


class Phase(Enum):
    """Where supervision stands. Docs draw these; hosts see the coarser ``State``."""

    #: A process was ordered and has not been reported yet.
    SPAWNING = "spawning"
    #: It lives and is not ready.
    STARTING = "starting"
    READY = "ready"
    #: Ready before; the last round was bad.
    SUSPECT = "suspect"
    #: Being ended; ``after`` says what comes next.
    KILLING = "killing"
    #: Nothing lives; the next launch is due soon.
    BACKOFF = "backoff"
    #: Nothing lives; the breaker is open, the next probe is due.
    BROKEN = "broken"
    #: Nothing lives, on purpose; a request wakes it.
    IDLE = "idle"
    #: It lives and finishes what it has; ``after`` says what comes next.
    DRAINING = "draining"
    #: Being ended for good.
    STOPPING = "stopping"
    #: Nothing lives and nothing will.
    STOPPED = "stopped"


#: Phases in which a process of the present launch may be alive.
ALIVE = frozenset(
    {
        Phase.SPAWNING,
        Phase.STARTING,
        Phase.READY,
        Phase.SUSPECT,
        Phase.KILLING,
        Phase.DRAINING,
        Phase.STOPPING,
    }
)


class After(Enum):
    """What follows the end of the present launch."""

    FAILURE = "failure"
    RESTART = "restart"
    IDLE = "idle"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Launch:
    """What is known of the present launch, dead or alive; number 0 before the first."""

    number: int = 0
    stages: Stages = field(default_factory=Stages)
    greeted: bool = False
    #: Data of its ``error`` line.
    own_error: Mapping[str, Any] | None = None
    #: When its start-up last made structured progress.
    progressed_at: float = 0.0
    ready_at: float | None = None
    watch: Watch = field(default_factory=Watch)
    suspicion: Suspicion | None = None
    #: A call suspected of ending the engine runs on it, alone.
    on_trial: bool = False
    #: Rounds that said ok before the line that says so too.
    early_oks: int = 0
    #: Bad rounds since the suspicion, or of a standby; while draining, rounds without work.
    rounds: int = 0
    #: Nothing of it is left, and its standby is being waited for.
    gone: bool = False

    def is_stable(self, now: float) -> bool:
        """It has been ready for a stable minute."""
        return self.ready_at is not None and now - self.ready_at >= STABLE_S


class StandbyPhase(Enum):
    """Where the standby stands."""

    #: There is none, or none any more.
    ABSENT = "absent"
    SPAWNING = "spawning"
    STARTING = "starting"
    #: Loaded and healthy.
    READY = "ready"
    ENDING = "ending"


@dataclass(frozen=True, slots=True)
class Standby:
    """The second launch, which nobody calls; what it went through does not concern the first."""

    phase: StandbyPhase = StandbyPhase.ABSENT
    #: The last one's, where there is none.
    launch: Launch = field(default_factory=Launch)
    #: When its phase's timer runs out; absent: when the next may start.
    due: float | None = None
    #: It is being ended for a failure of its own.
    failed: bool = False
    #: Standbys failed since one was stable.
    failures: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    reason: str = ""

    @property
    def is_alive(self) -> bool:
        """A process of it may be alive."""
        return self.phase is not StandbyPhase.ABSENT

    @property
    def can_serve(self) -> bool:
        """It may take over, loaded or not: it is ahead of any launch that would be made."""
        return self.is_alive and self.phase is not StandbyPhase.ENDING


@dataclass(frozen=True, slots=True)
class Supervision:
    """Everything that decides what happens next. ``initial`` makes the first."""

    policy: Policy
    phase: Phase = Phase.IDLE
    launch: Launch = field(default_factory=Launch)
    #: When the phase's own timer runs out; None: it has none.
    due: float | None = None
    after: After = After.FAILURE
    #: What the present launch is being ended for, or what failed last.
    failure: Failure | None = None
    breaker: Breaker = field(default_factory=Breaker)
    #: Launches failed since the last stable minute.
    failures: int = 0
    #: Launches made to replace one that had been running or starting.
    restarts: int = 0
    memory_kills: int = 0
    #: When crashes were excused as a call's own.
    excused: tuple[float, ...] = ()
    has_been_ready: bool = False
    #: Whether the present launch replaces another.
    replaces: bool = False
    grace_until: float = 0.0
    reason: str = ""
    standby: Standby = field(default_factory=Standby)

    @property
    def next_number(self) -> int:
        """Number of the next launch, whichever it will be: numbers only grow."""
        return max(self.launch.number, self.standby.launch.number) + 1

    @property
    def batch_share(self) -> float:
        """Share of the batch budget for the next launch: halved by every end for want of memory."""
        return max(LEAST_BATCH_SHARE, 0.5**self.memory_kills)


def initial(policy: Policy) -> Supervision:
    """Return the state before the first launch; ``WakeRequested`` starts it."""
    return Supervision(policy)


_PUBLIC = {
    Phase.READY: State.READY,
    Phase.SUSPECT: State.SUSPECT,
    Phase.BACKOFF: State.RESTARTING,
    Phase.BROKEN: State.BROKEN,
    Phase.IDLE: State.IDLE,
    Phase.DRAINING: State.DRAINING,
    Phase.STOPPING: State.DRAINING,
    Phase.STOPPED: State.STOPPED,
}


def public_state(s: Supervision) -> State:
    """The state as hosts see it."""
    if s.phase is Phase.KILLING:
        return State.DRAINING if s.after is After.IDLE else State.RESTARTING
    if s.phase in {Phase.SPAWNING, Phase.STARTING}:
        return State.RESTARTING if s.replaces else State.STARTING
    return _PUBLIC[s.phase]


def next_due(s: Supervision) -> float | None:
    """When a ``Tick`` next changes something by time alone; None: only news can."""
    if s.phase is Phase.STARTING:
        return s.launch.progressed_at + allowance_s(s.launch.stages, s.policy)
    return s.due


def next_retry_s(s: Supervision, now: float) -> float | None:
    """Seconds until the next launch is due; None where none is waited for."""
    if s.phase not in {Phase.BACKOFF, Phase.BROKEN} or s.due is None:
        return None
    return round(max(0.0, s.due - now), 3)


def changes(before: Supervision, after: Supervision) -> tuple[str, ...]:
    """What a step changed, for the log."""
    found: list[str] = []
    if after.phase is not before.phase or after.launch.number != before.launch.number:
        found.append(f"{before.phase.value} -> {after.phase.value}, launch {after.launch.number}: {after.reason}")
    old, new = before.standby, after.standby
    if new.phase is not old.phase:
        found.append(f"standby {old.phase.value} -> {new.phase.value}, launch {new.launch.number}: {new.reason}")
    return tuple(line.removesuffix(": ") for line in found)


def standby_view(s: Supervision, pid: int | None) -> Mapping[str, Any] | None:
    """The standby as callers see it; None where none is kept. ``pid``: of its process."""
    if not s.policy.standby:
        return None
    b = s.standby
    launch = b.launch.number if b.is_alive else None
    return {"state": b.phase.value, "reason": b.reason, "launch": launch, "pid": pid if b.is_alive else None}
