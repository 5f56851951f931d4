"""A second sidecar: when there is one, how it takes over, and that its troubles are its own."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from supervisor import standby, succession
from supervisor.machine import step
from supervisor.messages import (
    Effect,
    EmitReady,
    EmitState,
    Exit,
    Exited,
    Finish,
    Health,
    HealthMissed,
    HealthSeen,
    Kill,
    LaunchInput,
    ProgressSeen,
    RestartRequested,
    Spawn,
    Spawned,
    StopRequested,
    Terminate,
    Tick,
    WakeRequested,
    Work,
)
from supervisor.policy import STANDBY_AFTER_S, Policy
from supervisor.supervision import Phase, StandbyPhase
from tests.supervisor.world import FATAL, HELLO, OTHER_WIRE, WARM, World, new_world

P = StandbyPhase

OK = Health(True, "ok", Work())


def come_up(world: World, launch: int) -> World:
    for input_ in (Spawned(launch, 7), ProgressSeen(launch, HELLO), ProgressSeen(launch, WARM), HealthSeen(launch, OK)):
        world = world.give(input_)
    return world


def serving(**policy: object) -> World:
    """Launch 1 serves; the standby is due."""
    return come_up(new_world(Policy(standby=True, **policy)).give(WakeRequested()), 1)  # type: ignore[arg-type]


def both(**policy: object) -> World:
    """Launch 1 serves, launch 2 stands by."""
    return come_up(serving(**policy).after(STANDBY_AFTER_S, Tick()), 2)


def crash(launch: int) -> Exited:
    return Exited(launch, Exit(signal=9), 0.0)


def effects_of(world: World, input_: object) -> tuple[Effect, ...]:
    return step(world.s, input_, world.now)[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", list(P))
def test_every_input_that_concerns_it_has_a_place_in_every_phase_and_only_one(phase: StandbyPhase) -> None:
    handled, ignored = set(standby.TRANSITIONS[phase]), set(standby.IGNORED[phase])
    # Of a launch that is gone nothing is heard: nobody asks a standby that is absent.
    assert handled | ignored == ({Tick} if phase is P.ABSENT else {*get_args(LaunchInput), Tick})
    assert not handled & ignored


def test_it_is_started_a_little_after_the_first_became_ready() -> None:
    world = serving()
    assert world.s.standby.phase is P.ABSENT
    assert succession.next_due(world.s) == STANDBY_AFTER_S
    world = world.after(STANDBY_AFTER_S, Tick())
    assert (world.live, world.standby, world.s.standby.phase) == (1, 2, P.SPAWNING)
    assert come_up(world, 2).s.standby.phase is P.READY


def test_without_the_option_or_without_restarts_there_is_none() -> None:
    for policy in (Policy(), Policy(standby=True, auto_restart=False)):
        world = come_up(new_world(policy).give(WakeRequested()), 1).after(3600.0, Tick())
        assert (world.standby, succession.next_due(world.s)) == (0, None)


def test_a_loaded_one_serves_in_the_same_step_and_the_crash_is_told() -> None:
    world = both()
    told, *effects = effects_of(world, crash(1))
    assert isinstance(told, EmitState)
    assert (told.launch, told.state.value, told.restarts, told.failed) == (2, "ready", 1, 1)
    assert told.failure is not None and told.failure.code.value == "SIDECAR_CRASHED"
    assert EmitReady(2, first=False) in effects
    world = world.give(crash(1))
    assert (world.s.phase, world.live, world.standby) == (Phase.READY, 2, 0)
    assert world.s.breaker.score == 1, "the crash of the first counts"
    world = world.give(HealthSeen(2, OK))
    assert (world.s.reason, world.s.failure) == ("", None)
    assert world.after(STANDBY_AFTER_S, Tick()).standby == 3


def test_one_that_is_still_starting_goes_on_as_the_first() -> None:
    world = serving().after(STANDBY_AFTER_S, Tick()).give(Spawned(2, 7)).give(ProgressSeen(2, HELLO))
    world = world.give(crash(1))
    assert (world.s.phase, world.live, world.s.restarts) == (Phase.STARTING, 2, 1)
    world = world.give(ProgressSeen(2, WARM)).give(HealthSeen(2, OK))
    assert world.s.phase is Phase.READY


def test_its_own_crashes_feed_its_own_breaker_and_not_the_first_ones() -> None:
    world = both()
    for _ in range(6):
        world = world.give(crash(world.standby))
        assert world.s.phase is Phase.READY
        waits = (succession.next_due(world.s) or 0.0) - world.now
        world = world.after(waits, Tick())
    assert world.s.standby.breaker.is_open
    assert waits == 60.0
    assert (world.s.breaker.score, world.s.restarts, world.live) == (0.0, 0, 1)


@pytest.mark.parametrize("event", [OTHER_WIRE, FATAL])
def test_one_that_cannot_work_waits_for_its_next_try(event: object) -> None:
    world = serving().after(STANDBY_AFTER_S, Tick()).give(Spawned(2, 7)).give(ProgressSeen(2, event))  # type: ignore[arg-type]
    world = world.give(Exited(2, Exit(status=1), 0.0))
    assert (world.s.phase, world.s.standby.failures) == (Phase.READY, 1)
    assert world.s.standby.reason
    assert (succession.next_due(world.s) or 0.0) > world.now


def test_one_that_falls_silent_is_replaced() -> None:
    world = both()
    for _ in range(standby.BAD_ROUNDS_TOLERATED):
        world = world.give(HealthMissed(2, "timeout"))
    assert world.s.standby.phase is P.READY
    assert Kill(2) in effects_of(world, HealthMissed(2, "timeout"))
    assert world.give(HealthSeen(2, OK)).s.standby.launch.rounds == 0
    assert world.after(600.0, Tick(slept=True)).s.standby.launch.rounds == 0


def test_a_start_that_stands_still_is_ended() -> None:
    world = serving().after(STANDBY_AFTER_S, Tick()).give(Spawned(2, 7))
    due = succession.next_due(world.s) or 0.0
    world = world.after(due - world.now, Tick())
    assert (world.s.standby.phase, world.s.standby.failed) == (P.ENDING, True)
    assert Kill(2) in effects_of(replace(world, now=world.now + 1.0), Tick())


def test_with_an_open_breaker_it_is_the_half_open_try_and_gets_no_successor() -> None:
    world = both()
    for launch in range(1, 6):
        world = world.give(crash(launch)).after(STANDBY_AFTER_S, Tick())
        world = come_up(world, launch + 2)
    world = world.give(crash(6))
    assert (world.s.phase, world.s.breaker.is_open, world.live) == (Phase.READY, True, 7)
    world = world.after(60.0, Tick())
    assert world.standby == 0
    served = world.give(HealthSeen(7, OK)).give(HealthSeen(7, Health(True, "ok", Work(done=1))))
    assert not served.s.breaker.is_open
    assert world.give(crash(7)).s.phase is Phase.BROKEN


def test_a_restart_and_a_recycling_hand_over_to_it() -> None:
    world = both().give(RestartRequested())
    for _ in range(2):
        world = world.give(HealthSeen(1, OK))
    assert world.s.phase is Phase.KILLING
    world = world.give(Exited(1, Exit(status=0)))
    assert (world.s.phase, world.live, world.s.breaker.score) == (Phase.READY, 2, 0.0)


def test_it_goes_at_once_when_the_first_is_to_stop_and_is_waited_for() -> None:
    world = both()
    assert Terminate(2) in effects_of(world, StopRequested("stdin"))
    world = world.give(StopRequested("stdin"))
    for _ in range(2):
        world = world.give(HealthSeen(1, OK))
    world = world.give(Exited(1, Exit(status=0)))
    assert (world.s.phase, world.finished) == (Phase.STOPPING, False)
    assert effects_of(world, StopRequested("again")) == (), "the one that is gone is left alone"
    late = world.after(5.0, Tick())
    assert late.s.standby.is_alive and not late.finished
    assert Kill(2) in effects_of(replace(world, now=world.now + 5.0), Tick())
    assert Finish(0) in effects_of(world, Exited(2, Exit(status=0)))
    assert world.give(Exited(2, Exit(status=0))).give(Tick()).finished


def test_it_goes_when_the_first_is_unloaded() -> None:
    world = both(idle_unload_s=30.0).after(31.0, HealthSeen(1, OK))
    assert (world.s.phase, world.s.standby.phase) == (Phase.DRAINING, P.ENDING)
    for _ in range(2):
        world = world.give(HealthSeen(1, OK))
    world = world.give(Exited(1, Exit(status=0)))
    assert (world.s.phase, world.live, world.standby) == (Phase.IDLE, 0, 2)
    assert world.give(Exited(2, Exit(status=0))).standby == 0
    world = world.give(WakeRequested())
    assert world.live == 3, "numbers only grow"


def test_orders_to_spawn_are_for_different_numbers() -> None:
    world = both().give(crash(2))
    assert Spawn(3, 1.0) in effects_of(replace(world, now=1.0), Tick())
    assert Spawn(3, 1.0) in effects_of(both().give(crash(2)).give(crash(1)).after(1.0, WakeRequested()), Tick())
