"""The second sidecar: loaded, called by nobody, there to take over. Pure.

Its own small table, beside that of ``machine``: it starts, is ready, and is
ended; how it fares concerns nobody but itself, so it has a backoff and a
breaker of its own. ``succession`` says when it is wanted and how it takes over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from preflight.wire import WIRE_VERSION, EventType
from supervisor.messages import (
    Effect,
    Exited,
    HealthMissed,
    HealthSeen,
    Input,
    Kill,
    PollHealth,
    ProgressSeen,
    Spawn,
    Spawned,
    SpawnFailed,
    Suspected,
    Terminate,
    Tick,
    TrialNoted,
)
from supervisor.policy import KILL_AGAIN_S, SPAWN_S, TERMINATE_S, Policy, allowance_s, backoff_s
from supervisor.stages import fold
from supervisor.supervision import Launch, Standby, StandbyPhase
from supervisor.watchdog import BAD_ROUNDS, MISSES_TOLERATED

P = StandbyPhase
Step = tuple[Standby, tuple[Effect, ...]]
Move = Callable[[Standby, Any, float, Policy], Step]

#: Rounds in a row that may go wrong before it is replaced; nobody waits for it.
BAD_ROUNDS_TOLERATED = MISSES_TOLERATED + BAD_ROUNDS - 1


def spawn(standby: Standby, number: int, batch_share: float, now: float) -> Step:
    """Begin a standby; none may be alive."""
    launch = Launch(number, progressed_at=now)
    after = replace(standby, phase=P.SPAWNING, launch=launch, due=now + SPAWN_S, failed=False, reason="")
    return after, (Spawn(number, batch_share),)


def end(standby: Standby, now: float, within_s: float = TERMINATE_S) -> Step:
    """It is not wanted any more: ask it to end."""
    after = replace(standby, phase=P.ENDING, due=now + within_s, failed=False, reason="not wanted now")
    return after, (Terminate(standby.launch.number),)


def _fail(standby: Standby, reason: str, now: float) -> Step:
    after = replace(standby, phase=P.ENDING, due=now + KILL_AGAIN_S, failed=True, reason=reason)
    return after, (Kill(standby.launch.number),)


# --- moves -------------------------------------------------------------------


def _spawned(b: Standby, input_: Spawned, now: float, policy: Policy) -> Step:
    effects = (PollHealth(b.launch.number),) if b.launch.stages.is_warm else ()
    return replace(b, phase=P.STARTING, due=None, launch=replace(b.launch, progressed_at=now)), effects


def _progressed(b: Standby, input_: ProgressSeen, now: float, policy: Policy) -> Step:
    event = input_.event
    if event.type is EventType.ERROR:
        return replace(b, reason=str(event.data["message"]), launch=replace(b.launch, own_error=event.data)), ()
    if event.type is EventType.HELLO and event.data["wire"] != WIRE_VERSION:
        return _fail(b, f"it speaks version {event.data['wire']} of the protocol, wanted {WIRE_VERSION}", now)
    stages, _, moved = fold(b.launch.stages, event)
    greeted = b.launch.greeted or event.type is EventType.HELLO
    progressed_at = now if moved else b.launch.progressed_at
    launch = replace(b.launch, stages=stages, greeted=greeted, progressed_at=progressed_at)
    effects = (PollHealth(launch.number),) if event.type is EventType.WARMED_UP else ()
    return replace(b, launch=launch), effects


def _health(b: Standby, input_: HealthSeen, now: float, policy: Policy) -> Step:
    """Ready when it says so; a round that says anything else later is a bad one."""
    health, launch = input_.health, b.launch
    if health.ours and health.status == "ok" and launch.stages.is_warm:
        ready_at = now if launch.ready_at is None else launch.ready_at
        launch = replace(launch, ready_at=ready_at, rounds=0)
        recovered = b.breaker.is_open and launch.is_stable(now)
        breaker = b.breaker.cleared() if recovered else b.breaker
        return replace(b, phase=P.READY, launch=launch, breaker=breaker, reason=""), ()
    if b.phase is P.STARTING and health.ours:
        return b, ()
    return _bad_round(b, "another process answers" if not health.ours else f"its health is {health.status!r}", now)


def _missed(b: Standby, input_: HealthMissed, now: float, policy: Policy) -> Step:
    return _bad_round(b, input_.reason, now)


def _bad_round(b: Standby, reason: str, now: float) -> Step:
    launch = replace(b.launch, rounds=b.launch.rounds + 1)
    b = replace(b, launch=launch)
    return _fail(b, reason, now) if launch.rounds > BAD_ROUNDS_TOLERATED else (b, ())


def _overdue(b: Standby, input_: Tick, now: float, policy: Policy) -> Step:
    """End a start that makes no progress; after a sleep, silence proves nothing."""
    if input_.slept:
        return replace(b, launch=replace(b.launch, progressed_at=now, rounds=0)), ()
    due = next_due(b, policy)
    return (b, ()) if due is None or now < due else _fail(b, "its start made no progress", now)


def _forgive(b: Standby, input_: Tick, now: float, policy: Policy) -> Step:
    return (replace(b, launch=replace(b.launch, rounds=0)) if input_.slept else b), ()


def _kill_again(b: Standby, input_: Tick, now: float, policy: Policy) -> Step:
    if b.due is None or now < b.due:
        return b, ()
    return replace(b, due=now + KILL_AGAIN_S), (Kill(b.launch.number),)


def _late_spawn(b: Standby, input_: Spawned, now: float, policy: Policy) -> Step:
    return b, (Kill(b.launch.number),)


def _gone(b: Standby, input_: Exited | SpawnFailed, now: float, policy: Policy) -> Step:
    """Nothing of it is left: when to try again depends on how it ended, and on nothing that the serving one does."""
    if b.phase is P.ENDING and not b.failed:
        return replace(b, phase=P.ABSENT, due=None), ()
    failures = 0 if b.launch.is_stable(now) else b.failures + 1
    breaker = b.breaker.crashed(now)
    floor = policy.restart_delay_s
    wait = breaker.probe_after_s if breaker.is_open else backoff_s(failures, input_.jitter, floor)
    reason = b.reason or "it ended by itself"
    return replace(b, phase=P.ABSENT, due=now + wait, failures=failures, breaker=breaker, reason=reason), ()


class Rule(NamedTuple):
    """A move and the phases it may lead to."""

    move: Move
    to: frozenset[StandbyPhase]


def _rule(move: Move, *to: StandbyPhase) -> Rule:
    return Rule(move, frozenset(to))


TRANSITIONS: dict[StandbyPhase, dict[type, Rule]] = {
    P.ABSENT: {},
    P.SPAWNING: {
        Spawned: _rule(_spawned, P.STARTING),
        SpawnFailed: _rule(_gone, P.ABSENT),
        Exited: _rule(_gone, P.ABSENT),
        ProgressSeen: _rule(_progressed, P.SPAWNING, P.ENDING),
        Tick: _rule(_overdue, P.SPAWNING, P.ENDING),
    },
    P.STARTING: {
        Exited: _rule(_gone, P.ABSENT),
        ProgressSeen: _rule(_progressed, P.STARTING, P.ENDING),
        HealthSeen: _rule(_health, P.STARTING, P.READY, P.ENDING),
        Tick: _rule(_overdue, P.STARTING, P.ENDING),
    },
    P.READY: {
        Exited: _rule(_gone, P.ABSENT),
        ProgressSeen: _rule(_progressed, P.READY, P.ENDING),
        HealthSeen: _rule(_health, P.READY, P.ENDING),
        HealthMissed: _rule(_missed, P.READY, P.ENDING),
        Tick: _rule(_forgive, P.READY),
    },
    P.ENDING: {
        Exited: _rule(_gone, P.ABSENT),
        SpawnFailed: _rule(_gone, P.ABSENT),
        Spawned: _rule(_late_spawn, P.ENDING),
        Tick: _rule(_kill_again, P.ENDING),
    },
}

#: What means nothing in a phase: orders concern the one that serves, and late news nobody.
IGNORED: dict[StandbyPhase, frozenset[type]] = {
    P.ABSENT: frozenset({Tick}),
    P.SPAWNING: frozenset({HealthSeen, HealthMissed, Suspected, TrialNoted}),
    P.STARTING: frozenset({Spawned, SpawnFailed, HealthMissed, Suspected, TrialNoted}),
    P.READY: frozenset({Spawned, SpawnFailed, Suspected, TrialNoted}),
    P.ENDING: frozenset({ProgressSeen, HealthSeen, HealthMissed, Suspected, TrialNoted}),
}


def step(standby: Standby, input_: Input, now: float, policy: Policy) -> Step:
    """Take one input that speaks of the standby, or a ``Tick``."""
    rule = TRANSITIONS[standby.phase].get(type(input_))
    if rule is None:
        if type(input_) not in IGNORED[standby.phase]:
            raise LookupError(f"{type(input_).__name__} has no place in phase {standby.phase.value} of a standby")
        return standby, ()
    after, effects = rule.move(standby, input_, now, policy)
    assert after.phase in rule.to, f"{rule.move.__name__} led from {standby.phase.value} to {after.phase.value}"
    return after, effects


def next_due(standby: Standby, policy: Policy) -> float | None:
    """When a ``Tick`` next changes something by time alone, while it is alive."""
    if standby.phase is P.STARTING:
        return standby.launch.progressed_at + allowance_s(standby.launch.stages, policy)
    return None if standby.phase in {P.ABSENT, P.READY} else standby.due
