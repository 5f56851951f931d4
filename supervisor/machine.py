"""The supervisor's one decision: what follows what. Pure.

``TRANSITIONS`` is the whole truth: by phase and input, the move that decides
and the phases it may lead to. ``IGNORED`` names the inputs that mean nothing
in a phase. A pair in neither is a fault of ours and raises ``LookupError``;
a move that leaves its row raises ``AssertionError``. The diagram in docs/ is
drawn from this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, get_args

from supervisor import endings as end
from supervisor import moves, standby, succession
from supervisor.endings import Step
from supervisor.messages import (
    Effect,
    EmitState,
    Exited,
    HealthMissed,
    HealthSeen,
    Input,
    LaunchInput,
    ProgressSeen,
    RestartRequested,
    RetryRequested,
    Spawned,
    SpawnFailed,
    StopRequested,
    Suspected,
    Tick,
    TrialNoted,
    WakeRequested,
)
from supervisor.supervision import Phase, Supervision, next_retry_s, public_state

P = Phase


class Rule(NamedTuple):
    """A move and the phases it may lead to."""

    move: Callable[[Supervision, Any, float], Step]
    to: frozenset[Phase]


def _rule(move: Callable[[Supervision, Any, float], Step], *to: Phase) -> Rule:
    return Rule(move, frozenset(to))


#: A launch is gone and nobody asked: next try, standby, open breaker, or the end.
_GONE = _rule(end.ended, P.SPAWNING, P.STARTING, P.READY, P.BACKOFF, P.BROKEN, P.STOPPED)
_KILLED = _rule(end.killed, P.SPAWNING, P.STARTING, P.READY, P.BACKOFF, P.BROKEN, P.IDLE, P.STOPPED)
_STOP_STARTING = _rule(end.stop_starting, P.STOPPING)
_STOP_DEAD = _rule(end.stop_dead, P.STOPPED, P.STOPPING)
_RESTART_STARTING = _rule(end.restart_starting, P.KILLING)
_LAUNCH_NOW = _rule(end.launch_now, P.SPAWNING)
_WAKE = _rule(end.wake, P.SPAWNING)

TRANSITIONS: dict[Phase, dict[type, Rule]] = {
    P.SPAWNING: {
        Spawned: _rule(moves.spawned, P.STARTING),
        SpawnFailed: _GONE,
        Exited: _GONE,
        ProgressSeen: _rule(moves.progressed, P.SPAWNING, P.KILLING),
        Tick: _rule(moves.spawn_overdue, P.SPAWNING, P.KILLING),
        StopRequested: _STOP_STARTING,
        RestartRequested: _RESTART_STARTING,
    },
    P.STARTING: {
        Exited: _GONE,
        ProgressSeen: _rule(moves.progressed, P.STARTING, P.KILLING),
        HealthSeen: _rule(moves.starting_health, P.STARTING, P.READY, P.KILLING),
        Tick: _rule(moves.start_overdue, P.STARTING, P.KILLING),
        StopRequested: _STOP_STARTING,
        RestartRequested: _RESTART_STARTING,
    },
    P.READY: {
        Exited: _GONE,
        ProgressSeen: _rule(moves.late_error, P.READY),
        HealthSeen: _rule(moves.watched, P.READY, P.SUSPECT, P.DRAINING),
        HealthMissed: _rule(moves.watched, P.READY, P.SUSPECT),
        Suspected: _rule(moves.suspected_by_proxy, P.SUSPECT),
        TrialNoted: _rule(moves.tried, P.READY),
        Tick: _rule(moves.forgive, P.READY),
        StopRequested: _rule(end.stop_ready, P.DRAINING),
        RestartRequested: _rule(end.restart_ready, P.DRAINING),
    },
    P.SUSPECT: {
        Exited: _GONE,
        ProgressSeen: _rule(moves.late_error, P.SUSPECT),
        HealthSeen: _rule(moves.suspect_round, P.SUSPECT, P.READY, P.KILLING),
        HealthMissed: _rule(moves.suspect_round, P.SUSPECT, P.KILLING),
        TrialNoted: _rule(moves.tried, P.SUSPECT),
        Tick: _rule(moves.forgive, P.SUSPECT),
        StopRequested: _STOP_STARTING,
        RestartRequested: _RESTART_STARTING,
    },
    P.KILLING: {
        Exited: _KILLED,
        SpawnFailed: _KILLED,
        Spawned: _rule(end.late_spawn, P.KILLING),
        Tick: _rule(end.kill_again, P.KILLING),
        WakeRequested: _rule(end.turn_into_restart, P.KILLING),
        RestartRequested: _rule(end.turn_into_restart, P.KILLING),
        StopRequested: _rule(end.stop_killing, P.STOPPING),
    },
    P.BACKOFF: {
        Tick: _rule(end.launch_due, P.BACKOFF, P.SPAWNING),
        RetryRequested: _LAUNCH_NOW,
        RestartRequested: _LAUNCH_NOW,
        StopRequested: _STOP_DEAD,
    },
    P.BROKEN: {
        Tick: _rule(end.launch_due, P.BROKEN, P.SPAWNING),
        RetryRequested: _LAUNCH_NOW,
        RestartRequested: _LAUNCH_NOW,
        StopRequested: _STOP_DEAD,
    },
    P.IDLE: {
        WakeRequested: _WAKE,
        RetryRequested: _WAKE,
        RestartRequested: _WAKE,
        StopRequested: _STOP_DEAD,
    },
    P.DRAINING: {
        Exited: _rule(end.killed, P.SPAWNING, P.STARTING, P.READY, P.IDLE, P.STOPPED, P.STOPPING),
        HealthSeen: _rule(end.drained, P.DRAINING, P.KILLING, P.STOPPING),
        Tick: _rule(end.drain_overdue, P.DRAINING, P.KILLING, P.STOPPING),
        WakeRequested: _rule(moves.keep, P.DRAINING, P.READY),
        RestartRequested: _rule(end.restart_draining, P.DRAINING),
        StopRequested: _rule(end.stop_draining, P.DRAINING, P.STOPPING),
    },
    P.STOPPING: {
        Exited: _rule(end.killed, P.STOPPED, P.STOPPING),
        SpawnFailed: _rule(end.killed, P.STOPPED, P.STOPPING),
        Spawned: _rule(end.late_spawn, P.STOPPING),
        Tick: _rule(end.kill_again, P.STOPPING),
        StopRequested: _rule(end.stop_killing, P.STOPPING),
    },
    P.STOPPED: {},
}

IGNORED: dict[Phase, frozenset[type]] = {
    # Nothing is known yet that health could speak of; a wake is under way.
    P.SPAWNING: frozenset({HealthSeen, HealthMissed, Suspected, TrialNoted, WakeRequested, RetryRequested}),
    # A loop busy with loading may miss health checks; the allowances watch it.
    P.STARTING: frozenset({Spawned, SpawnFailed, HealthMissed, Suspected, TrialNoted, WakeRequested, RetryRequested}),
    P.READY: frozenset({Spawned, SpawnFailed, WakeRequested, RetryRequested}),
    P.SUSPECT: frozenset({Spawned, SpawnFailed, Suspected, WakeRequested, RetryRequested}),
    # Its fate is decided.
    P.KILLING: frozenset({ProgressSeen, HealthSeen, HealthMissed, Suspected, TrialNoted, RetryRequested}),
    # Nothing is alive: news can only be late.
    P.BACKOFF: frozenset(get_args(LaunchInput)) | {WakeRequested},
    P.BROKEN: frozenset(get_args(LaunchInput)) | {WakeRequested},
    P.IDLE: frozenset(get_args(LaunchInput)) | {Tick},
    P.DRAINING: frozenset({Spawned, SpawnFailed, ProgressSeen, HealthMissed, Suspected, TrialNoted, RetryRequested}),
    P.STOPPING: frozenset(
        {
            ProgressSeen,
            HealthSeen,
            HealthMissed,
            Suspected,
            TrialNoted,
            WakeRequested,
            RetryRequested,
            RestartRequested,
        }
    ),
    P.STOPPED: frozenset(get_args(Input)),
}


def step(s: Supervision, input_: Input, now: float) -> tuple[Supervision, tuple[Effect, ...]]:
    """Return the next state and what to do, in order, before the next input.

    ``now``: seconds of the awake clock, never less than before.
    """
    after, effects = _step_of_standby(s, input_, now) if _concerns_standby(s, input_) else _step(s, input_, now)
    if isinstance(input_, Tick):
        after, more = _step_of_standby(after, input_, now)
        effects = (*effects, *more)
    after, more = succession.attend(after, now)
    if after.phase is P.STOPPING and after.launch.gone and not after.standby.is_alive:
        after, end_of_all = end.stopped(after, 0, after.reason)
        more = (*more, *end_of_all)
    return after, (*_announcement(s, after, now), *effects, *more)


def _concerns_standby(s: Supervision, input_: Input) -> bool:
    return isinstance(input_, LaunchInput) and s.standby.is_alive and input_.launch == s.standby.launch.number


def _step_of_standby(s: Supervision, input_: Input, now: float) -> Step:
    after, effects = standby.step(s.standby, input_, now, s.policy)
    return (s if after is s.standby else replace(s, standby=after)), effects


def _step(s: Supervision, input_: Input, now: float) -> Step:
    """The step of the launch that serves. News of a launch that is gone is nobody's."""
    if isinstance(input_, LaunchInput) and (input_.launch != s.launch.number or s.launch.gone):
        return s, ()
    rule = TRANSITIONS[s.phase].get(type(input_))
    if rule is None:
        if type(input_) not in IGNORED[s.phase]:
            raise LookupError(f"{type(input_).__name__} has no place in phase {s.phase.value}")
        return s, ()
    after, effects = rule.move(s, input_, now)
    assert after.phase in rule.to, f"{rule.move.__name__} led from {s.phase.value} to {after.phase.value}"
    return after, effects


def _announcement(before: Supervision, after: Supervision, now: float) -> tuple[EmitState, ...]:
    """Every change that hosts can see is published, whatever the move."""
    state = public_state(after)
    if state is public_state(before) and after.restarts == before.restarts and after.phase is not Phase.BACKOFF:
        return ()
    if after.phase is before.phase and after.launch.number == before.launch.number:
        return ()
    failed = after.phase in {P.BACKOFF, P.BROKEN} or after.failure is not before.failure
    failure = after.failure if failed else None
    retry = next_retry_s(after, now)
    failed_launch = before.launch.number if failure else 0
    return (EmitState(after.launch.number, state, after.reason, after.restarts, retry, failure, failed_launch),)
