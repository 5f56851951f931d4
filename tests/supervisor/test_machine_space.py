"""Every reachable state of the machine, searched; and long random lives."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable
from functools import lru_cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisor import policy as policy_module
from supervisor import standby, supervision
from supervisor.messages import Exit, Exited, Health, HealthSeen, Input, ProgressSeen, Spawned, Tick, Work
from supervisor.policy import Policy
from supervisor.succession import next_due
from supervisor.supervision import Phase, StandbyPhase
from tests.chaos.clocks import sleepy_life
from tests.supervisor.world import HELLO, ORDERS, World, new_world

#: Everything on, so that every move can be reached.
ALL = Policy(idle_unload_s=30.0, memory_limit_mb=1000.0)
ONCE = Policy(auto_restart=False)
TWO = Policy(standby=True)


def key(world: World) -> Hashable:
    """What distinguishes worlds: times by their order, counts up to where they stop mattering."""
    s, launch, now = world.s, world.s.launch, world.now
    due = next_due(s)
    common = (
        *(s.phase, due is not None and due <= now, s.has_been_ready, s.breaker.is_open, len(s.breaker.crashes)),
        *key_of_standby(world),
    )
    if not world.live:
        return common
    error = launch.own_error and launch.own_error["code"]
    if s.phase in {Phase.SPAWNING, Phase.STARTING}:
        return (*common, error, world.reported, launch.greeted, launch.stages.is_warm, launch.early_oks, launch.rounds)
    if s.phase in {Phase.READY, Phase.SUSPECT}:
        watch = launch.watch
        counts = (launch.rounds, min(watch.misses, 3), watch.has_served, watch.work.is_idle)
        return (*common, error, *counts, launch.is_stable(now), now < s.grace_until, launch.on_trial, len(s.excused))
    terminal = s.failure.terminal if s.failure else None
    return (*common, s.after, world.reported, launch.rounds, terminal)


def key_of_standby(world: World) -> tuple[Hashable, ...]:
    b = world.s.standby
    if not world.s.policy.standby or not b.is_alive:
        return (b.phase, b.breaker.is_open)
    launch = b.launch
    return (b.phase, b.breaker.is_open, world.standby_reported, launch.stages.is_warm, launch.rounds, b.failed)


@pytest.fixture
def eager_breaker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second crash opens it: the same decisions in a space that can be searched."""
    monkeypatch.setattr(policy_module, "SCORE_OPENS", 1.5)
    monkeypatch.setattr(policy_module, "CRASHES_AN_HOUR", 2)
    monkeypatch.setattr(policy_module, "EXCUSED_AN_HOUR", 1)
    monkeypatch.setattr(standby, "BAD_ROUNDS_TOLERATED", 1)


@lru_cache
def explore(policy: Policy) -> tuple[dict[Hashable, World], dict[Hashable, set[Hashable]]]:
    """Return the reachable worlds by key, and the edges."""
    start = new_world(policy)
    worlds: dict[Hashable, World] = {key(start): start}
    edges: dict[Hashable, set[Hashable]] = {}
    todo = deque(worlds)
    while todo:
        here = todo.popleft()
        world = worlds[here]
        edges[here] = set()
        moves: list[tuple[float, Input]] = [*world.happenings(), *((0.0, order) for order in ORDERS)]
        for wait, input_ in moves:
            there = world.after(wait, input_)
            edges[here].add(key(there))
            if key(there) not in worlds:
                worlds[key(there)] = there
                todo.append(key(there))
    return worlds, edges


@pytest.mark.slow
@pytest.mark.usefixtures("eager_breaker")
@pytest.mark.parametrize("policy", [ALL, ONCE, TWO], ids=["all", "once", "two"])
def test_the_invariants_hold_everywhere_and_every_state_has_a_way_out(policy: Policy) -> None:
    worlds, edges = explore(policy)  # World.give holds the invariants on the way
    unreachable = set(Phase) - {world.s.phase for world in worlds.values()}
    assert unreachable == ({Phase.BACKOFF, Phase.BROKEN} if policy is ONCE else set())
    assert {world.s.standby.phase for world in worlds.values()} >= (set(StandbyPhase) if policy is TWO else set())
    backwards: dict[Hashable, set[Hashable]] = {}
    for here, theres in edges.items():
        for there in theres:
            backwards.setdefault(there, set()).add(here)
    good = {k for k, world in worlds.items() if world.s.phase in {Phase.READY, Phase.STOPPED}}
    todo = deque(good)
    while todo:
        for k in backwards.get(todo.popleft(), set()) - good:
            good.add(k)
            todo.append(k)
    assert good == set(worlds)


@pytest.mark.slow
@pytest.mark.usefixtures("eager_breaker")
def test_any_state_left_to_a_kind_world_reaches_ready_idle_or_stopped() -> None:
    """No order needed: time, obedient processes and good answers suffice."""
    for policy in (ALL, TWO):
        for world in explore(policy)[0].values():
            left_alone(world)


def left_alone(world: World) -> None:
    for _ in range(60):
        phase, launch = world.s.phase, world.s.launch.number
        if phase in {Phase.READY, Phase.IDLE, Phase.STOPPED}:
            return
        if phase in {Phase.KILLING, Phase.STOPPING}:
            world = world.give(Exited(world.live or world.standby, Exit(status=1)))
        elif phase is Phase.SPAWNING:
            world = world.after(0.01, Spawned(launch, 7))
        elif phase in {Phase.BACKOFF, Phase.BROKEN}:
            world = world.after(max(0.0, (supervision.next_due(world.s) or 0.0) - world.now), Tick())
        elif phase is Phase.STARTING and not world.s.launch.greeted:
            world = world.after(0.1, ProgressSeen(launch, HELLO))
        else:
            world = world.after(0.1, HealthSeen(launch, Health(True, "ok", Work(done=99))))
    raise AssertionError(f"still {world.s.phase} after 60 kind steps")


class Life(RuleBasedStateMachine):
    """Random inputs in random order, at random times."""

    policy = ALL

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(self.policy)
        self.launches = 0

    @rule(data=st.data(), wait=st.sampled_from([0.0, 0.3, 1.0, 5.0]))
    def something_happens(self, data: st.DataObject, wait: float) -> None:
        least, input_ = data.draw(st.sampled_from(self.world.happenings()))
        self.world = self.world.after(max(wait, least), input_)

    @rule(order=st.sampled_from([order for order in ORDERS if type(order).__name__ != "StopRequested"]))
    def someone_orders(self, order: Input) -> None:
        self.world = self.world.give(order)

    @precondition(lambda self: self.launches > 3)
    @rule()
    def someone_stops(self) -> None:
        self.world = self.world.give(ORDERS[1])

    @invariant()
    def launches_only_grow(self) -> None:
        assert self.world.s.launch.number >= self.launches
        self.launches = self.world.s.launch.number


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLife = pytest.mark.slow(Life.TestCase)


class LifeOfTwo(Life):
    """The same with a standby."""

    policy = TWO


LifeOfTwo.TestCase.settings = settings(max_examples=40, stateful_step_count=60, deadline=None)
TestLifeOfTwo = pytest.mark.slow(LifeOfTwo.TestCase)


@pytest.mark.slow
def test_a_thousand_lives_with_sleep_and_clock_jumps_see_no_restart() -> None:
    """A healthy busy sidecar, ten-minute suspends, jumps of a day; seeds, not luck."""
    for seed in range(1000):
        assert sleepy_life(random.Random(seed)) == 0
