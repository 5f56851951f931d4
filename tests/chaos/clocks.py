"""Sleeping machines and jumping clocks, simulated on the pure machine."""

from __future__ import annotations

import random

from supervisor.messages import Health, HealthMissed, HealthSeen, ProgressSeen, Spawned, Tick, WakeRequested, Work
from supervisor.policy import AwakeClock, Policy
from supervisor.supervision import Phase
from tests.chaos.results import Result
from tests.supervisor.world import HELLO, WARM, World, new_world

#: Seconds that a step may be longer, or shorter: a suspend, a day either way, a small step back.
JUMPS_S = (600.0, 86400.0, -86400.0, -3.0)
STEPS = 20


def suspended(rounds: int, seed: int) -> Result:
    """Lives of a healthy and busy sidecar with suspends of ten minutes and jumps of a day."""
    result = Result("suspended")
    restarts = sum(sleepy_life(random.Random(number)) for number in range(seed, seed + rounds))
    result.measure("lives", rounds, "")
    result.count("restarts", restarts, 0)
    return result


def sleepy_life(dice: random.Random) -> int:
    """Live one such life; returns how often the sidecar was restarted."""
    raw = dice.uniform(0, 1e6)
    clock, world, done = AwakeClock(raw), new_world(Policy()), 0
    for input_ in (WakeRequested(), Spawned(1, 7), ProgressSeen(1, HELLO), ProgressSeen(1, WARM)):
        world = world.give(input_)
    for _ in range(STEPS):
        slept = dice.choice((0.0,) * 8 + JUMPS_S)
        raw += slept + 1.0
        now, gap = clock.advance(raw)
        world = World(world.s, now, world.live, world.reported).give(Tick(gap))
        if slept > 0:  # the connection broke, the answer was late
            for _ in range(dice.randrange(4)):
                world = world.give(HealthMissed(1, "timeout"))
        done += dice.randrange(3)
        work = Work(done, queued=dice.randrange(9), running_tokens=500, running_age_s=abs(slept), tokens_per_s=900.0)
        world = world.give(HealthSeen(1, Health(True, "ok", work)))
    return world.s.launch.number - 1 + (world.s.phase is not Phase.READY)
