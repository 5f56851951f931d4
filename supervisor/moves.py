"""Moves of a launch that starts, serves and is watched. Pure; see ``endings`` for the shape of a move."""

from __future__ import annotations

from dataclasses import replace

from preflight.wire import WIRE_VERSION, ErrorCode, EventType
from supervisor.endings import SOON_S, Step, doom, drain
from supervisor.messages import (
    Effect,
    EmitDownload,
    EmitReady,
    EmitStage,
    Failure,
    HealthMissed,
    HealthSeen,
    PollHealth,
    ProgressSeen,
    Spawned,
    Suspected,
    Tick,
    TrialNoted,
    WakeRequested,
)
from supervisor.policy import GRACE_S, allowance_s
from supervisor.stages import fold
from supervisor.supervision import After, Launch, Phase, Supervision
from supervisor.watchdog import BAD_ROUNDS, Suspicion, Watch, forgiven, judge

#: Health may overtake the lines that are still in the pipe; so often it is asked again before they count as lost.
EARLY_OKS = 3

# --- starting ----------------------------------------------------------------


def spawned(s: Supervision, input_: Spawned, now: float) -> Step:
    """The process exists; its own progress counts from here."""
    launch = replace(s.launch, progressed_at=now)
    # Two pipes bring the news: it may have said everything before we hear that it exists.
    effects = (PollHealth(launch.number),) if launch.stages.is_warm else ()
    return replace(s, phase=Phase.STARTING, due=None, launch=launch), effects


def progressed(s: Supervision, input_: ProgressSeen, now: float) -> Step:
    """Take in a PROGRESS line; only news moves the deadline."""
    event = input_.event
    if event.type is EventType.ERROR:
        return replace(s, launch=replace(s.launch, own_error=event.data)), ()
    stages, reports, moved = fold(s.launch.stages, event)
    launch = replace(
        s.launch,
        stages=stages,
        greeted=s.launch.greeted or event.type is EventType.HELLO,
        progressed_at=now if moved else s.launch.progressed_at,
    )
    s = replace(s, launch=launch)
    if event.type is EventType.HELLO and event.data["wire"] != WIRE_VERSION:
        return doom(s, _other_wire(event.data["wire"]), now)
    effects: list[Effect] = [EmitStage(launch.number, r) for r in reports if not s.has_been_ready]
    if event.type is EventType.DOWNLOAD_PROGRESS:
        data = event.data
        effects.append(EmitDownload(launch.number, data["file"], data["loaded"], data["total"]))
    if event.type is EventType.WARMED_UP:
        effects.append(PollHealth(launch.number))
    return s, tuple(effects)


def _other_wire(found: object) -> Failure:
    return Failure(
        ErrorCode.SIDECAR_START_FAILED,
        f"The sidecar speaks version {found} of the protocol, wanted {WIRE_VERSION}.",
        "Supervisor and sidecar must be of one release; `python3 -m supervisor setup` repairs the environment.",
        terminal=True,
    )


def late_error(s: Supervision, input_: ProgressSeen, now: float) -> Step:
    """A line of a launch that serves or is being ended: only its reason to end counts."""
    if input_.event.type is not EventType.ERROR:
        return s, ()
    return replace(s, launch=replace(s.launch, own_error=input_.event.data)), ()


def start_overdue(s: Supervision, input_: Tick, now: float) -> Step:
    """End a start-up that makes no progress."""
    if input_.slept:
        return forgive(s, input_, now)
    still, allowance = now - s.launch.progressed_at, allowance_s(s.launch.stages, s.policy)
    return doom(s, _timed_out(s, still), now, dump=True) if still >= allowance else (s, ())


def spawn_overdue(s: Supervision, input_: Tick, now: float) -> Step:
    """End a launch whose process never appeared."""
    if input_.slept or s.due is None or now < s.due:
        return s, ()
    return doom(s, _timed_out(s, now - s.launch.progressed_at), now)


def _timed_out(s: Supervision, still: float) -> Failure:
    stage = s.launch.stages.current.value
    return Failure(
        ErrorCode.STARTUP_TIMEOUT,
        f"Start-up stage {stage!r} made no progress for {still:.0f} s.",
        "--startup-timeout SECONDS allows more on a slow machine.",
        details={"stage": stage, "allowance_s": allowance_s(s.launch.stages, s.policy)},
    )


def starting_health(s: Supervision, input_: HealthSeen, now: float) -> Step:
    """Ready when our sidecar says ok; a foreign answer twice is not to be waited for."""
    health = input_.health
    if not health.ours:
        launch = replace(s.launch, rounds=s.launch.rounds + 1)
        s = replace(s, launch=launch)
        foreign = Failure(ErrorCode.SIDECAR_NOT_HEALTHY, "Another process answers on the sidecar's port.")
        return doom(s, foreign, now) if launch.rounds >= BAD_ROUNDS else (s, ())
    if health.status != "ok" or not s.launch.greeted:
        effects = (PollHealth(s.launch.number, SOON_S),) if s.launch.stages.is_warm else ()
        return replace(s, launch=replace(s.launch, rounds=0)), effects
    if not s.launch.stages.is_warm and s.launch.early_oks < EARLY_OKS:
        return replace(s, launch=replace(s.launch, rounds=0, early_oks=s.launch.early_oks + 1)), ()
    watch, _ = judge(Watch(), input_, now)
    launch = replace(s.launch, ready_at=now, watch=watch, rounds=0)
    ready = replace(s, phase=Phase.READY, launch=launch, has_been_ready=True, failure=None, reason="")
    return ready, (EmitReady(launch.number, first=not s.has_been_ready),)


# --- serving -------------------------------------------------------------------


def watched(s: Supervision, input_: HealthSeen | HealthMissed, now: float) -> Step:
    """One round of a launch that serves."""
    if now < s.grace_until and not _is_good(s.launch.watch, input_, now):
        return replace(s, launch=replace(s.launch, watch=forgiven(s.launch.watch, now))), ()
    watch, suspicion = judge(s.launch.watch, input_, now)
    launch = replace(s.launch, watch=watch)
    s = replace(s, launch=launch)
    if suspicion is not None:
        return _suspect(s, suspicion)
    if s.reason:  # why it took over
        s = replace(s, reason="", failure=None)
    if s.breaker.is_open and launch.is_stable(now) and watch.has_served:
        s = replace(s, breaker=s.breaker.cleared())
    if isinstance(input_, HealthSeen):
        return _housekeeping(s, input_, now)
    return s, ()


def _is_good(watch: Watch, round_: HealthSeen | HealthMissed, now: float) -> bool:
    return isinstance(round_, HealthSeen) and judge(watch, round_, now)[1] is None


def _suspect(s: Supervision, suspicion: Suspicion) -> Step:
    launch = replace(s.launch, suspicion=suspicion, rounds=0)
    return replace(s, phase=Phase.SUSPECT, launch=launch, reason=suspicion.reason), (PollHealth(launch.number),)


def _housekeeping(s: Supervision, input_: HealthSeen, now: float) -> Step:
    """Recycle what grew too large, unload what nobody uses."""
    policy, memory = s.policy, input_.health.memory_mb
    # A limit below what the model needs must not recycle for ever.
    if policy.memory_limit_mb and memory is not None and memory > policy.memory_limit_mb and s.launch.is_stable(now):
        reason = f"uses {memory:.0f} MB, limit {policy.memory_limit_mb:.0f} MB: recycled"
        return drain(s, After.RESTART, now, reason)
    if policy.idle_unload_s and now - s.launch.watch.busy_at >= policy.idle_unload_s:
        return drain(s, After.IDLE, now, f"no request for {policy.idle_unload_s:.0f} s")
    return s, ()


def suspected_by_proxy(s: Supervision, input_: Suspected, now: float) -> Step:
    """Look at once: a good answer ends the suspicion."""
    return _suspect(s, Suspicion(ErrorCode.SIDECAR_NOT_HEALTHY, input_.reason))


def suspect_round(s: Supervision, input_: HealthSeen | HealthMissed, now: float) -> Step:
    """A good round clears it; two more bad ones end it."""
    watch, suspicion = judge(s.launch.watch, input_, now)
    if isinstance(input_, HealthSeen) and suspicion is None:
        launch = replace(s.launch, watch=watch, suspicion=None, rounds=0)
        return replace(s, phase=Phase.READY, launch=launch, reason=""), ()
    if now < s.grace_until:
        return replace(s, launch=replace(s.launch, watch=forgiven(watch, now), rounds=0)), ()
    known = suspicion or s.launch.suspicion
    launch = replace(s.launch, watch=watch, suspicion=known, rounds=s.launch.rounds + 1)
    s = replace(s, launch=launch)
    return doom(s, _hung(launch), now, dump=True) if launch.rounds >= BAD_ROUNDS else (s, ())


def _hung(launch: Launch) -> Failure:
    found = launch.suspicion or Suspicion(ErrorCode.SIDECAR_HUNG, "no answer")
    silent = launch.watch.misses > 0
    return Failure(
        ErrorCode.SIDECAR_HUNG if silent else found.code,
        f"The sidecar does not work: {found.reason}.",
        "It is replaced. Its log has the stacks of its threads, where it could still write them.",
        details={"misses": launch.watch.misses, "reason": found.reason},
    )


def tried(s: Supervision, input_: TrialNoted, now: float) -> Step:
    """Remember whether a suspected call runs."""
    return replace(s, launch=replace(s.launch, on_trial=input_.under_way)), ()


def forgive(s: Supervision, input_: Tick, now: float) -> Step:
    """The machine slept: silence and age prove nothing for a while."""
    if not input_.slept:
        return s, ()
    launch = replace(s.launch, watch=forgiven(s.launch.watch, now), progressed_at=now, rounds=0)
    return replace(s, launch=launch, grace_until=now + GRACE_S), ()


def keep(s: Supervision, input_: WakeRequested, now: float) -> Step:
    """A request came while it was to be unloaded: it serves on."""
    if s.after is not After.IDLE:
        return s, ()
    watch = replace(s.launch.watch, busy_at=now)
    return replace(s, phase=Phase.READY, due=None, launch=replace(s.launch, watch=watch, rounds=0), reason=""), ()
