"""The scenarios by name, and how many rounds each is run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.chaos import clocks, crashes, hangs, leaks, loops, orphans, poison
from tests.chaos.results import Result


class Scenario(NamedTuple):
    """``run(rounds, seed)`` returns its numbers; ``full``: rounds behind docs/reliability.md; ``few``: by default."""

    run: Callable[[int, int], Result]
    full: int
    few: int = 1


SCENARIOS = {
    "suspended": Scenario(clocks.suspended, 1000, 100),
    "alone": Scenario(leaks.alone, 6),
    "kills": Scenario(crashes.kills, 200, 2),
    "standby-kills": Scenario(crashes.standby_kills, 200, 2),
    "supervisor-killed": Scenario(orphans.supervisor_killed, 300, 3),
    "host-killed": Scenario(orphans.host_killed, 300, 3),
    "guard-killed": Scenario(orphans.guard_killed, 200, 2),
    "swept": Scenario(orphans.swept, 100),
    "stopped": Scenario(hangs.stopped, 20),
    "gil-held": Scenario(hangs.gil_held, 20),
    "deadlocked": Scenario(hangs.deadlocked, 20),
    "busy": Scenario(hangs.busy, 20),
    "poison-crash": Scenario(poison.crashing, 20),
    "poison-hang": Scenario(poison.hanging, 2),
    "crash-loop": Scenario(loops.crash_loop, 2),
    "restarts": Scenario(leaks.restarts, 500, 5),
}
