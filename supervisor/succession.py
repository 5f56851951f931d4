"""When a standby is wanted, and how it takes over. Pure."""

from __future__ import annotations

from dataclasses import replace

from supervisor import standby, supervision
from supervisor.messages import Effect, EmitReady, PollHealth
from supervisor.policy import STANDBY_AFTER_S, STOP_TERMINATE_S, TERMINATE_S
from supervisor.supervision import After, Phase, StandbyPhase, Supervision
from supervisor.watchdog import Watch

#: What a serving launch's phase is called that was a standby's.
_PHASES = {
    StandbyPhase.SPAWNING: Phase.SPAWNING,
    StandbyPhase.STARTING: Phase.STARTING,
    StandbyPhase.READY: Phase.READY,
}

#: Phases in which the one that serves may be succeeded soon.
_KEPT = frozenset({Phase.READY, Phase.SUSPECT, Phase.KILLING, Phase.DRAINING})


def promote(s: Supervision, now: float, reason: str) -> tuple[Supervision, tuple[Effect, ...]]:
    """The standby becomes the launch that serves, or starts; nothing of the one before may be alive."""
    b = s.standby
    launch, number = b.launch, b.launch.number
    effects: tuple[Effect, ...] = ()
    if b.phase is StandbyPhase.READY:
        launch = replace(launch, ready_at=now, watch=Watch(misses=launch.rounds, moved_at=now, busy_at=now), rounds=0)
        effects = (EmitReady(number, first=False), PollHealth(number))
    after = replace(
        s,
        phase=_PHASES[b.phase],
        launch=launch,
        due=b.due,
        after=After.FAILURE,
        replaces=True,
        restarts=s.restarts + 1,
        reason=reason,
        standby=replace(b, phase=StandbyPhase.ABSENT, due=None),
    )
    return after, effects


def attend(s: Supervision, now: float) -> tuple[Supervision, tuple[Effect, ...]]:
    """Have a standby where one is wanted, and none where it is not; after every step."""
    b = s.standby
    effects: tuple[Effect, ...] = ()
    if b.can_serve and not _keeps(s):
        b, effects = standby.end(b, now, STOP_TERMINATE_S if s.after is After.STOP else TERMINATE_S)
    elif (due := next_start(s)) is not None and now >= due:
        b, effects = standby.spawn(b, s.next_number, s.batch_share, now)
    return (s if b is s.standby else replace(s, standby=b)), effects


def next_start(s: Supervision) -> float | None:
    """When the next standby is to be started; None: none is wanted now, or there is one.

    While the breaker is open the launch that serves is itself on trial.
    """
    wanted = s.policy.standby and s.policy.auto_restart and s.phase is Phase.READY and not s.breaker.is_open
    if not wanted or s.standby.is_alive or s.launch.ready_at is None:
        return None
    return max(s.launch.ready_at + STANDBY_AFTER_S, s.standby.due or 0.0)


def next_due(s: Supervision) -> float | None:
    """When a ``Tick`` next changes something by time alone, of either launch; None: only news can."""
    dues = (supervision.next_due(s), standby.next_due(s.standby, s.policy), next_start(s))
    return min((due for due in dues if due is not None), default=None)


def _keeps(s: Supervision) -> bool:
    """Not for one that is unloaded or stopped."""
    if s.phase in {Phase.DRAINING, Phase.KILLING} and s.after in {After.IDLE, After.STOP}:
        return False
    return s.phase in _KEPT
