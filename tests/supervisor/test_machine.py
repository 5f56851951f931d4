"""The machine, scenario by scenario. ``test_machine_space`` searches all of it."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

import pytest

from preflight.wire import ErrorCode, EventType, Stage, State
from supervisor.endings import SOON_S
from supervisor.machine import IGNORED, TRANSITIONS, step
from supervisor.messages import (
    DumpStack,
    Effect,
    EmitError,
    EmitReady,
    EmitStage,
    EmitState,
    Exit,
    Exited,
    Finish,
    Health,
    HealthMissed,
    HealthSeen,
    Input,
    Kill,
    PollHealth,
    ProgressSeen,
    RestartRequested,
    RetryRequested,
    Spawn,
    Spawned,
    SpawnFailed,
    StopRequested,
    Suspected,
    Terminate,
    Tick,
    TrialNoted,
    WakeRequested,
    Work,
)
from supervisor.policy import Breaker, Policy
from supervisor.progress import WireEvent
from supervisor.supervision import Phase, Supervision, initial, next_due

CRASH = Exit(signal=9, signal_name="SIGKILL")
IDLE_WORK = Work()


def hello(wire: int = 1) -> WireEvent:
    return WireEvent(EventType.HELLO, {"wire": wire, "pid": 5, "nonce": "n", "version": "0", "port": 1})


T = TypeVar("T")


class Rig:
    """Feeds inputs and keeps every effect; time moves only by ``wait``."""

    def __init__(self, **policy: Any) -> None:
        self.s: Supervision = initial(Policy(**policy))
        self.now = 0.0
        self.effects: list[Effect] = []

    @property
    def launch(self) -> int:
        return self.s.launch.number

    def at(self, phase: Phase) -> bool:
        return self.s.phase is phase

    def give(self, *inputs: Input) -> list[Effect]:
        new: list[Effect] = []
        for one in inputs:
            self.s, effects = step(self.s, one, self.now)
            new += effects
        self.effects += new
        return new

    def wait(self, seconds: float, slept: bool = False) -> list[Effect]:
        self.now += seconds
        return self.give(Tick(slept))

    def progress(self, type_: EventType, **data: Any) -> list[Effect]:
        return self.give(ProgressSeen(self.launch, WireEvent(type_, data)))

    def health(
        self, work: Work | None = IDLE_WORK, status: str = "ok", ours: bool = True, memory_mb: float | None = None
    ) -> list[Effect]:
        return self.give(HealthSeen(self.launch, Health(ours, status, work, memory_mb)))

    def miss(self) -> list[Effect]:
        return self.give(HealthMissed(self.launch, "timeout"))

    def start(self) -> None:
        self.give(WakeRequested())
        self.come_up()

    def come_up(self) -> None:
        self.give(Spawned(self.launch, 100 + self.launch), ProgressSeen(self.launch, hello()))
        self.progress(EventType.WARMED_UP)
        self.health()
        assert self.at(Phase.READY)

    def crash(self, exit_: Exit = CRASH, jitter: float = 0.0) -> list[Effect]:
        return self.give(Exited(self.launch, exit_, jitter))

    def states(self) -> list[str]:
        return [effect.state.value for effect in self.effects if isinstance(effect, EmitState)]


def one(effects: list[Effect], kind: type[T]) -> T:
    (found,) = [effect for effect in effects if isinstance(effect, kind)]
    return found


@pytest.mark.parametrize("phase", list(Phase))
def test_every_input_has_a_place_in_every_phase_and_only_one(phase: Phase) -> None:
    handled, ignored = set(TRANSITIONS[phase]), set(IGNORED[phase])
    assert handled | ignored == set(get_args(Input))
    assert not handled & ignored


def test_stages_are_reported_once_and_ready_for_each_launch() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7), ProgressSeen(1, hello()))
    rig.progress(EventType.MODEL_CACHED)
    rig.progress(EventType.MODEL_LOADED)
    assert PollHealth(1) in rig.progress(EventType.WARMED_UP)
    rig.health()
    stages = [effect.report.stage.number for effect in rig.effects if isinstance(effect, EmitStage)]
    assert stages == [4, 5, 7, 8]  # the driver adds the last with supervisor:ready
    assert rig.effects[0] == EmitState(1, State.STARTING, "", 0)
    assert rig.effects[-1] == EmitReady(1, first=True)
    rig.crash()
    rig.wait(1.0)
    rig.effects.clear()
    rig.come_up()
    assert [type(effect) for effect in rig.effects] == [PollHealth, EmitState, EmitReady]
    assert rig.effects[-1] == EmitReady(2, first=False)


def test_not_ready_before_hello_nor_on_another_status() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7))
    rig.health()
    rig.give(ProgressSeen(1, hello()))
    rig.health(status="loading")
    assert rig.at(Phase.STARTING)


def test_health_that_overtakes_the_lines_waits_for_them_and_not_for_ever() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7), ProgressSeen(1, hello()))
    for _ in range(3):
        rig.health()
        assert rig.at(Phase.STARTING)
    rig.health()
    assert rig.at(Phase.READY)


def test_first_crash_after_a_stable_minute_restarts_at_once() -> None:
    rig = Rig()
    rig.start()
    rig.wait(60.0)
    effects = rig.crash()
    assert one(effects, Spawn).launch == 2
    state = one(effects, EmitState)
    assert (state.state, state.restarts) == (State.RESTARTING, 1)
    assert state.failure is not None and state.failure.code is ErrorCode.SIDECAR_CRASHED


def test_the_floor_holds_for_every_restart() -> None:
    rig = Rig(restart_delay_s=2.0)
    rig.start()
    rig.wait(60.0)
    assert one(rig.crash(), EmitState).next_retry_s == 2.0


def test_crashes_at_every_start_back_off_and_open_the_breaker() -> None:
    rig = Rig()
    rig.give(WakeRequested())
    waits = []
    while not rig.at(Phase.BROKEN):
        rig.give(Spawned(rig.launch, 9))
        effects = rig.crash(Exit(status=1))
        waits.append(one(effects, EmitState).next_retry_s)
        if rig.at(Phase.BACKOFF):
            rig.wait((next_due(rig.s) or 0.0) - rig.now)
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 60.0]
    error = one(effects, EmitError).failure
    assert error.code is ErrorCode.CRASH_LOOP
    assert error.details["failure"] == "SIDECAR_START_FAILED"
    assert error.details["next_retry_s"] == 60.0


def broken_rig() -> Rig:
    rig = Rig()
    rig.give(WakeRequested())
    while not rig.at(Phase.BROKEN):
        rig.crash(Exit(status=1))
        if rig.at(Phase.BACKOFF):
            rig.give(RetryRequested())
    return rig


def test_probes_come_after_60_120_300_and_then_every_600_seconds() -> None:
    rig = broken_rig()
    waits = []
    for _ in range(5):
        waits.append((next_due(rig.s) or 0.0) - rig.now)
        rig.wait(waits[-1])
        assert rig.at(Phase.SPAWNING)
        rig.crash(Exit(status=1))
        assert rig.at(Phase.BROKEN)
    assert waits == [60.0, 120.0, 300.0, 600.0, 600.0]


def test_retry_tries_at_once_and_only_a_stable_minute_with_an_inference_closes() -> None:
    rig = broken_rig()
    assert one(rig.give(RetryRequested()), Spawn)
    rig.come_up()
    rig.wait(61.0)
    rig.health()
    assert rig.s.breaker.probes is not None
    rig.health(Work(done=1))
    assert rig.s.breaker == Breaker()
    rig.crash()
    assert rig.at(Phase.SPAWNING)


def test_ready_for_a_moment_does_not_close_the_breaker() -> None:
    rig = broken_rig()
    rig.give(RetryRequested())
    rig.come_up()
    rig.health(Work(done=5))
    rig.crash()
    assert rig.at(Phase.BROKEN)
    assert (next_due(rig.s) or 0) - rig.now == 120.0


def test_an_error_no_retry_mends_ends_the_start() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7))
    rig.progress(EventType.ERROR, code="MODEL_NOT_FOUND", message="no model", hint="h", details={})
    effects = rig.crash(Exit(status=1))
    assert one(effects, EmitError).failure.code is ErrorCode.MODEL_NOT_FOUND
    assert effects[-1] == Finish(1)
    assert rig.at(Phase.STOPPED)


def test_the_same_error_after_it_has_served_opens_the_breaker_instead() -> None:
    rig = Rig()
    rig.start()
    rig.progress(EventType.ERROR, code="MODEL_CORRUPT", message="m", hint="h", details={})
    effects = rig.crash(Exit(status=1))
    assert rig.at(Phase.BROKEN)
    assert one(effects, EmitError).failure.code is ErrorCode.MODEL_CORRUPT


def test_a_spawn_that_cannot_work_ends_the_start() -> None:
    rig = Rig()
    rig.give(WakeRequested())
    effects = rig.give(SpawnFailed(1, "no such file", permanent=True))
    assert one(effects, EmitError).failure.code is ErrorCode.SIDECAR_START_FAILED
    assert effects[-1] == Finish(1)


def test_another_protocol_version_ends_the_start() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7))
    assert Kill(1) in rig.give(ProgressSeen(1, hello(wire=2)))
    assert rig.crash()[-1] == Finish(1)


def test_without_auto_restart_a_crash_is_the_end() -> None:
    rig = Rig(auto_restart=False)
    rig.start()
    effects = rig.crash()
    assert one(effects, EmitError).failure.code is ErrorCode.SIDECAR_CRASHED
    assert effects[-1] == Finish(1)


def test_memory_halves_the_batch_share_down_to_an_eighth() -> None:
    rig = Rig()
    rig.start()
    shares = []
    for _ in range(5):
        rig.wait(700.0)
        shares.append(one(rig.crash(Exit(signal=9, out_of_memory=True)), Spawn).batch_share)
        rig.come_up()
    assert shares == [0.5, 0.25, 0.125, 0.125, 0.125]


def test_start_up_that_stands_still_dumps_then_kills_and_is_retried() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7), ProgressSeen(1, hello()))
    rig.wait(299.0)
    assert rig.at(Phase.STARTING)
    assert DumpStack(1) in rig.wait(1.0)
    assert rig.wait(0.4) == []
    assert rig.wait(0.2) == [Kill(1)]
    assert rig.wait(1.1) == [Kill(1)]
    state = one(rig.crash(), EmitState)
    assert state.failure is not None and state.failure.code is ErrorCode.STARTUP_TIMEOUT


def test_downloading_holds_the_deadline_off_only_while_bytes_come() -> None:
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7), ProgressSeen(1, hello()))
    for loaded in range(100):
        rig.wait(200.0)
        rig.progress(EventType.DOWNLOAD_PROGRESS, file="f", loaded=loaded, total=None)
    assert rig.at(Phase.STARTING)
    rig.wait(200.0)
    rig.progress(EventType.DOWNLOAD_PROGRESS, file="f", loaded=99, total=None)
    rig.wait(100.0)
    assert rig.at(Phase.KILLING)


def test_silence_becomes_suspicion_and_two_more_rounds_end_it() -> None:
    rig = Rig()
    rig.start()
    for _ in range(2):
        assert rig.miss() == []
    assert one(rig.miss(), EmitState).state is State.SUSPECT
    assert rig.miss() == []
    assert DumpStack(1) in rig.miss()
    assert rig.wait(0.5) == [Kill(1)]
    state = one(rig.crash(), EmitState)
    assert state.failure is not None and state.failure.code is ErrorCode.SIDECAR_HUNG


def test_one_good_round_clears_a_suspicion() -> None:
    rig = Rig()
    rig.start()
    assert PollHealth(1) in rig.give(Suspected(1, "connection reset"))
    rig.miss()
    rig.health()
    assert rig.at(Phase.READY)
    assert rig.states() == ["starting", "ready", "suspect", "ready"]


def test_a_stuck_engine_behind_a_living_health_is_replaced() -> None:
    rig = Rig()
    rig.start()
    stuck = Work(done=4, queued=1, running_tokens=100, running_age_s=0.0, tokens_per_s=1000.0)
    rig.health(stuck)
    for _ in range(34):
        rig.wait(1.0)
        rig.health(stuck)
    assert rig.at(Phase.KILLING)
    assert rig.s.failure is not None and rig.s.failure.code is ErrorCode.SIDECAR_HUNG


def test_a_foreign_answer_is_not_health() -> None:
    rig = Rig()
    rig.start()
    for _ in range(3):
        rig.health(ours=False)
    assert rig.s.failure is not None and rig.s.failure.code is ErrorCode.SIDECAR_NOT_HEALTHY
    rig = Rig()
    rig.give(WakeRequested(), Spawned(1, 7), ProgressSeen(1, hello()))
    for _ in range(2):
        rig.health(ours=False)
    assert rig.at(Phase.KILLING)


def test_sleep_proves_nothing() -> None:
    rig = Rig()
    rig.start()
    busy = Work(done=4, running_tokens=100, running_age_s=5.0, tokens_per_s=1000.0)
    rig.health(busy)
    for _ in range(10):
        rig.wait(3.0, slept=True)
        for _ in range(4):
            rig.miss()
        rig.health(busy)
    assert rig.at(Phase.READY)


def test_stop_drains_asks_then_kills_within_two_seconds() -> None:
    rig = Rig()
    rig.start()
    asked = rig.now
    assert PollHealth(1) in rig.give(StopRequested("SIGTERM"))
    kinds: list[type] = []
    while Kill not in kinds:
        kinds += [type(effect) for effect in rig.wait(0.1)]
    assert [kind for kind in kinds if kind in (Terminate, Kill)] == [Terminate, Kill]
    assert rig.now - asked < 1.8
    assert rig.crash()[-1] == Finish(0)


def test_stop_of_an_idle_sidecar_takes_two_rounds() -> None:
    rig = Rig()
    rig.start()
    rig.give(StopRequested("stdin"))
    assert rig.health() == [PollHealth(1, SOON_S)]
    assert rig.health() == [Terminate(1)]
    effects = rig.crash(Exit(status=0))
    assert effects == [EmitState(1, State.STOPPED, "stopped as asked", 0), Finish(0)]


def test_a_second_stop_has_no_grace() -> None:
    rig = Rig()
    rig.start()
    rig.give(StopRequested("SIGINT"))
    assert Terminate(1) in rig.give(StopRequested("SIGINT"))
    assert rig.give(StopRequested("SIGINT")) == [Kill(1)]


@pytest.mark.parametrize("inputs", [(), (WakeRequested(),), (WakeRequested(), Spawned(1, 7))])
def test_stop_before_ready(inputs: tuple[Input, ...]) -> None:
    rig = Rig()
    rig.give(*inputs, StopRequested("x"))
    if inputs:
        assert rig.at(Phase.STOPPING)
        rig.crash()
    assert rig.effects[-1] == Finish(0)


def test_a_restart_drains_and_comes_back_without_counting_as_a_crash() -> None:
    rig = Rig()
    rig.start()
    rig.give(RestartRequested())
    rig.health()
    rig.health()
    assert one(rig.crash(Exit(status=0)), Spawn).launch == 2
    assert rig.s.breaker.crashes == ()
    assert rig.s.restarts == 1


def test_unloads_when_idle_and_wakes_on_request() -> None:
    rig = Rig(idle_unload_s=100.0)
    rig.start()
    rig.wait(99.0)
    rig.health()
    assert rig.at(Phase.READY)
    rig.wait(1.0)
    rig.health()
    rig.health()
    rig.health()
    rig.crash(Exit(status=0))
    assert rig.at(Phase.IDLE)
    assert rig.states() == ["starting", "ready", "draining", "idle"]
    assert one(rig.give(WakeRequested()), Spawn).launch == 2
    rig.come_up()
    assert rig.s.restarts == 0
    assert rig.states()[-2:] == ["starting", "ready"]


def test_a_request_while_unloading_keeps_it() -> None:
    rig = Rig(idle_unload_s=10.0)
    rig.start()
    rig.wait(10.0)
    rig.health()
    rig.give(WakeRequested())
    assert rig.at(Phase.READY)
    rig.health()
    assert rig.at(Phase.READY)
    rig.wait(10.0)
    for _ in range(3):
        rig.health()
    assert rig.at(Phase.KILLING)
    rig.give(WakeRequested())
    assert one(rig.crash(), Spawn)


def test_crashes_of_a_call_on_trial_are_excused_within_a_cap() -> None:
    rig = Rig()
    rig.start()
    for _ in range(24):
        rig.give(TrialNoted(rig.launch, under_way=True))
        assert one(rig.crash(), Spawn)
        rig.come_up()
    assert rig.s.breaker == Breaker()
    rig.give(TrialNoted(rig.launch, under_way=True))
    rig.crash()
    assert rig.at(Phase.BACKOFF)


def test_a_trial_that_went_well_excuses_nothing() -> None:
    rig = Rig()
    rig.start()
    rig.give(TrialNoted(1, under_way=True), TrialNoted(1, under_way=False))
    rig.crash()
    assert rig.at(Phase.BACKOFF)


def test_recycles_over_the_memory_limit_but_not_in_a_loop() -> None:
    rig = Rig(memory_limit_mb=500.0)
    rig.start()
    rig.health(memory_mb=900.0)
    assert rig.at(Phase.READY)
    rig.wait(60.0)
    rig.health(memory_mb=900.0)
    assert rig.at(Phase.DRAINING)


def test_news_of_a_launch_already_replaced_changes_nothing() -> None:
    rig = Rig()
    rig.start()
    rig.crash()
    rig.wait(1.0)
    before = rig.s
    assert rig.give(Exited(1, CRASH), HealthMissed(1, "x"), Suspected(1, "x"), Spawned(1, 5)) == []
    assert rig.s is before


def test_a_pair_without_a_place_is_a_fault() -> None:
    class Unheard:
        pass

    with pytest.raises(LookupError, match="Unheard has no place in phase idle"):
        step(initial(Policy()), Unheard(), 0.0)  # type: ignore[arg-type]


def test_stage_names_the_failure_of_a_slow_start() -> None:
    rig = Rig(startup_timeout_s=5.0)
    rig.give(WakeRequested(), Spawned(1, 7))
    rig.wait(5.0)
    assert rig.s.failure is not None
    assert rig.s.failure.details == {"stage": Stage.SIDECAR_SPAWN.value, "allowance_s": 5.0}
