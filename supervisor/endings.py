"""Moves that end a launch, and what follows an end. Pure.

A move takes the state, an input and the time, and returns the next state and
the effects to carry out in order. ``machine.TRANSITIONS`` says where it is legal.
"""

from __future__ import annotations

from dataclasses import replace

from preflight.wire import ErrorCode, Stage
from supervisor.exits import classify
from supervisor.messages import (
    DumpStack,
    Effect,
    EmitError,
    EmitStage,
    Exited,
    Failure,
    Finish,
    HealthSeen,
    Kill,
    PollHealth,
    RestartRequested,
    RetryRequested,
    Spawn,
    Spawned,
    SpawnFailed,
    StopRequested,
    Terminate,
    Tick,
    WakeRequested,
)
from supervisor.policy import KILL_AGAIN_S, SPAWN_S, STOP_TERMINATE_S, TERMINATE_S, backoff_s, excuse
from supervisor.stages import Report
from supervisor.succession import promote
from supervisor.supervision import After, Launch, Phase, Supervision

Step = tuple[Supervision, tuple[Effect, ...]]

#: For the stack dump to reach the log.
DUMP_S = 0.5

#: The host allows 2 s for a stop: drain, then ask, then kill.
STOP_DRAIN_S = 0.8
STOP_KILL_AGAIN_S = 0.3

#: Finishing what it has before a restart, a recycling or an unloading.
DRAIN_S = 10.0

#: Between two looks at a launch that is about to change.
SOON_S = 0.05

#: A request may be in the sidecar and not yet in its queue; two rounds see it.
IDLE_ROUNDS = 2


def spawn(s: Supervision, now: float, *, replaces: bool, reason: str) -> Step:
    """Begin the next launch, or have the standby be it; nothing else may be alive."""
    if s.standby.can_serve:
        return promote(s, now, reason)
    number = s.next_number
    after = replace(
        s,
        phase=Phase.SPAWNING,
        launch=Launch(number, progressed_at=now),
        due=now + SPAWN_S,
        after=After.FAILURE,
        replaces=replaces,
        restarts=s.restarts + replaces,
        reason=reason,
    )
    effects: tuple[Effect, ...] = (Spawn(number, s.batch_share),)
    if not s.has_been_ready:
        effects = (EmitStage(number, Report(Stage.SIDECAR_SPAWN, "Starting the sidecar")), *effects)
    return after, effects


def doom(s: Supervision, failure: Failure, now: float, *, dump: bool = False) -> Step:
    """End a launch that does not work; with ``dump``, have it tell first where it stands."""
    number = s.launch.number
    effect: Effect = DumpStack(number) if dump else Kill(number)
    wait = DUMP_S if dump else KILL_AGAIN_S
    after = replace(
        s, phase=Phase.KILLING, after=After.FAILURE, failure=failure, due=now + wait, reason=failure.message
    )
    return after, (effect,)


def drain(s: Supervision, after: After, now: float, reason: str) -> Step:
    """Let the launch finish what it has; new calls wait."""
    wait = STOP_DRAIN_S if after is After.STOP else DRAIN_S
    launch = replace(s.launch, rounds=0)
    state = replace(s, phase=Phase.DRAINING, after=after, due=now + wait, launch=launch, reason=reason)
    return state, (PollHealth(launch.number),)


# --- what ends a launch ----------------------------------------------------


def ended(s: Supervision, input_: Exited | SpawnFailed, now: float) -> Step:
    """A launch that nobody asked to end is gone."""
    return _failed(s, _failure_of(s, input_), input_.jitter, now)


def killed(s: Supervision, input_: Exited | SpawnFailed, now: float) -> Step:
    """A launch that was being ended is gone."""
    if s.after is After.FAILURE:
        return _failed(s, s.failure or _failure_of(s, input_), input_.jitter, now)
    if s.after is After.IDLE:
        return replace(s, phase=Phase.IDLE, due=None, reason="unloaded while nobody asks"), ()
    if s.after is After.RESTART:
        return spawn(s, now, replaces=True, reason=s.reason)
    return stopped(s, 0)


def _failure_of(s: Supervision, input_: Exited | SpawnFailed) -> Failure:
    if isinstance(input_, Exited):
        return classify(input_.exit, greeted=s.launch.greeted, own_error=s.launch.own_error)
    return Failure(
        ErrorCode.SIDECAR_START_FAILED,
        f"The sidecar's process could not be started: {input_.reason}.",
        "`python3 -m supervisor doctor` checks the environment.",
        terminal=input_.permanent,
    )


def _failed(s: Supervision, failure: Failure, jitter: float, now: float) -> Step:
    """Decide what follows a failed launch: the end, the open breaker, or the next try."""
    excused = excuse(s.excused, now) if s.launch.on_trial and s.policy.auto_restart else None
    if excused is not None:
        return spawn(replace(s, failure=failure, excused=excused), now, replaces=True, reason=failure.message)
    memory_kills = s.memory_kills + (failure.code is ErrorCode.SIDECAR_OUT_OF_MEMORY)
    failures = 0 if s.launch.is_stable(now) else s.failures + 1
    breaker = s.breaker.crashed(now)
    if failure.terminal and s.has_been_ready:
        breaker = breaker.forced_open()
    s = replace(s, failure=failure, failures=failures, breaker=breaker, memory_kills=memory_kills)
    if not s.policy.auto_restart or (failure.terminal and not s.has_been_ready):
        s, effects = stopped(s, 1, failure.message)
        return s, (EmitError(s.launch.number, failure), *effects)
    if s.standby.can_serve:  # with an open breaker, it is the half-open try
        return promote(s, now, failure.message)
    if breaker.is_open:
        return _broken(s, failure, now)
    delay = backoff_s(failures, jitter, s.policy.restart_delay_s)
    if delay <= 0:
        return spawn(s, now, replaces=True, reason=failure.message)
    return replace(s, phase=Phase.BACKOFF, due=now + delay, reason=failure.message), ()


def _broken(s: Supervision, failure: Failure, now: float) -> Step:
    wait = s.breaker.probe_after_s
    shown = failure
    if not failure.terminal:
        count = len(s.breaker.crashes)
        shown = Failure(
            ErrorCode.CRASH_LOOP,
            f"The sidecar failed {count} times in a short while; the next try is in {wait:.0f} s. "
            f"Last failure: {failure.message}",
            failure.hint,
            details={**failure.details, "failure": failure.code.value, "failures": count, "next_retry_s": wait},
        )
    state = replace(s, phase=Phase.BROKEN, due=now + wait, reason=shown.message)
    return state, (EmitError(s.launch.number, shown),)


def stopped(s: Supervision, exit_status: int, reason: str = "stopped as asked") -> Step:
    """The launch is gone: end, as soon as its standby is gone as well."""
    if s.standby.is_alive:
        launch, due = replace(s.launch, gone=True), None
        return replace(s, phase=Phase.STOPPING, after=After.STOP, due=due, launch=launch, reason=reason), ()
    return replace(s, phase=Phase.STOPPED, due=None, reason=reason), (Finish(exit_status),)


# --- while being ended -----------------------------------------------------


def kill_again(s: Supervision, input_: Tick, now: float) -> Step:
    """It should be gone by now."""
    if s.due is None or now < s.due or s.launch.gone:
        return s, ()
    wait = STOP_KILL_AGAIN_S if s.phase is Phase.STOPPING else KILL_AGAIN_S
    return replace(s, due=now + wait), (Kill(s.launch.number),)


def late_spawn(s: Supervision, input_: Spawned, now: float) -> Step:
    """It came into being after its end was decided."""
    return s, (Kill(s.launch.number),)


def turn_into_restart(s: Supervision, input_: RestartRequested | WakeRequested, now: float) -> Step:
    """A launch being unloaded is wanted again."""
    if s.after is not After.IDLE:
        return s, ()
    return replace(s, after=After.RESTART, reason="wanted again while being unloaded"), ()


# --- draining ----------------------------------------------------------------


def drained(s: Supervision, input_: HealthSeen, now: float) -> Step:
    """A round while draining: done when it has nothing to do, twice."""
    work = input_.health.work
    if work is None or not work.is_idle:
        return replace(s, launch=replace(s.launch, rounds=0)), (PollHealth(s.launch.number, SOON_S),)
    launch = replace(s.launch, rounds=s.launch.rounds + 1)
    s = replace(s, launch=launch)
    return end_drain(s, now) if launch.rounds >= IDLE_ROUNDS else (s, (PollHealth(launch.number, SOON_S),))


def drain_overdue(s: Supervision, input_: Tick, now: float) -> Step:
    """Enough of waiting."""
    return end_drain(s, now) if s.due is not None and now >= s.due else (s, ())


def end_drain(s: Supervision, now: float) -> Step:
    """Ask the launch to end."""
    if s.after is After.STOP:
        return stop_now(s, now)
    return replace(s, phase=Phase.KILLING, due=now + TERMINATE_S), (Terminate(s.launch.number),)


def stop_now(s: Supervision, now: float) -> Step:
    """Ask the launch to end for good."""
    state = replace(s, phase=Phase.STOPPING, after=After.STOP, due=now + STOP_TERMINATE_S)
    return state, (Terminate(s.launch.number),)


# --- orders --------------------------------------------------------------------


def stop_ready(s: Supervision, input_: StopRequested, now: float) -> Step:
    """Stop a launch that serves: let it answer first."""
    return drain(s, After.STOP, now, input_.reason)


def stop_starting(s: Supervision, input_: StopRequested, now: float) -> Step:
    """Stop a launch that serves nobody."""
    return stop_now(replace(s, reason=input_.reason), now)


def stop_killing(s: Supervision, input_: StopRequested, now: float) -> Step:
    """Stop what is being ended already, or a second time: without grace."""
    due = now + STOP_KILL_AGAIN_S
    state = replace(s, phase=Phase.STOPPING, after=After.STOP, due=due, reason=input_.reason)
    return state, () if s.launch.gone else (Kill(s.launch.number),)


def stop_draining(s: Supervision, input_: StopRequested, now: float) -> Step:
    """Stop a launch that drains: sooner; at the second order at once."""
    if s.after is After.STOP:
        return stop_now(s, now)
    due = min(now + STOP_DRAIN_S, now if s.due is None else s.due)
    return replace(s, after=After.STOP, due=due, reason=input_.reason), ()


def stop_dead(s: Supervision, input_: StopRequested, now: float) -> Step:
    """Stop while nothing is alive."""
    return stopped(s, 0, input_.reason)


def restart_ready(s: Supervision, input_: RestartRequested, now: float) -> Step:
    """Replace a launch that serves."""
    return drain(s, After.RESTART, now, "restart requested")


def restart_starting(s: Supervision, input_: RestartRequested, now: float) -> Step:
    """Replace a launch that serves nobody."""
    state = replace(s, phase=Phase.KILLING, after=After.RESTART, due=now + KILL_AGAIN_S, reason="restart requested")
    return state, (Kill(s.launch.number),)


def restart_draining(s: Supervision, input_: RestartRequested, now: float) -> Step:
    """Come back instead of being unloaded."""
    return (s, ()) if s.after is After.STOP else (replace(s, after=After.RESTART, reason="restart requested"), ())


def launch_now(s: Supervision, input_: RestartRequested | RetryRequested, now: float) -> Step:
    """Do not wait for the next try."""
    return spawn(s, now, replaces=True, reason="tried again as asked")


def launch_due(s: Supervision, input_: Tick, now: float) -> Step:
    """The wait for the next try is over."""
    return spawn(s, now, replaces=True, reason=s.reason) if s.due is not None and now >= s.due else (s, ())


def wake(s: Supervision, input_: WakeRequested | RestartRequested | RetryRequested, now: float) -> Step:
    """Start the first launch, or one that was unloaded."""
    return spawn(s, now, replaces=False, reason="")
