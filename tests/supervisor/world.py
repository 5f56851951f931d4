"""The least world around the machine: which processes live, and what may happen to them next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from preflight.wire import EventType
from supervisor.machine import step
from supervisor.messages import (
    DumpStack,
    Effect,
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
from supervisor.policy import Policy
from supervisor.progress import WireEvent
from supervisor.succession import next_due
from supervisor.supervision import ALIVE, Phase, StandbyPhase, Supervision, initial

HELLO = WireEvent(EventType.HELLO, {"wire": 1, "pid": 5, "nonce": "n", "version": "0", "port": 1})
OTHER_WIRE = WireEvent(EventType.HELLO, {**HELLO.data, "wire": 9})
LOADED = WireEvent(EventType.MODEL_LOADED, {})
WARM = WireEvent(EventType.WARMED_UP, {})
FATAL = WireEvent(EventType.ERROR, {"code": "MODEL_CORRUPT", "message": "m"})
MENDABLE = WireEvent(EventType.ERROR, {"code": "EMBEDDER_INIT_FAILED", "message": "m"})

SERVED = Work(done=9)
STUCK = Work(done=9, queued=1, running_tokens=10, tokens_per_s=100.0)

#: What callers may order at any time.
ORDERS: tuple[Input, ...] = (WakeRequested(), StopRequested("x"), RestartRequested(), RetryRequested())


@dataclass(frozen=True)
class World:
    """One moment: the machine's state, the live launch (0: none) and whether its process was reported; of two."""

    s: Supervision
    now: float = 0.0
    live: int = 0
    reported: bool = False
    standby: int = 0
    standby_reported: bool = False
    finished: bool = False

    def give(self, input_: Input) -> World:
        """Carry out one step and hold the invariants."""
        s, effects = step(self.s, input_, self.now)
        world = self._heard(input_) if isinstance(input_, Spawned | Exited | SpawnFailed) else self
        world = replace(world, s=s)
        if world.standby and world.standby == s.launch.number:
            assert world.live == 0, "a standby takes over from the dead"
            world = replace(world, live=world.standby, reported=world.standby_reported, standby=0)
        for effect in effects:
            world = world._carry_out(effect)
        return world.checked()

    def _heard(self, input_: Spawned | Exited | SpawnFailed) -> World:
        is_there = isinstance(input_, Spawned)
        if input_.launch == self.live:
            return replace(self, live=self.live if is_there else 0, reported=is_there)
        assert input_.launch == self.standby
        return replace(self, standby=self.standby if is_there else 0, standby_reported=is_there)

    def _carry_out(self, effect: Effect) -> World:
        assert not self.finished, "nothing follows the end"
        if isinstance(effect, Spawn):
            assert 0 < effect.batch_share <= 1
            if effect.launch == self.s.launch.number:
                assert self.live == 0, "at most one sidecar lives"
                return replace(self, live=effect.launch, reported=False)
            assert effect.launch == self.s.standby.launch.number > self.s.launch.number
            assert self.standby == 0, "and one standby"
            return replace(self, standby=effect.launch, standby_reported=False)
        if isinstance(effect, Kill | Terminate | DumpStack | PollHealth):
            assert effect.launch in {self.live, self.standby} - {0}, f"{effect} concerns a dead launch"
        if isinstance(effect, Finish):
            assert self.live == self.standby == 0, "the end is an empty tree"
            return replace(self, finished=True)
        return self

    def checked(self) -> World:
        """Hold what must be true of every moment."""
        s = self.s
        assert (self.live != 0) == (s.phase in ALIVE and not s.launch.gone), (self.live, s.phase)
        assert (self.standby != 0) == s.standby.is_alive, (self.standby, s.standby.phase)
        if s.phase in {Phase.BACKOFF, Phase.BROKEN, Phase.IDLE, Phase.STOPPING}:
            assert not s.standby.can_serve, "it takes over, or goes as well"
        if s.standby.phase in {StandbyPhase.SPAWNING, StandbyPhase.STARTING, StandbyPhase.ENDING}:
            assert next_due(s) is not None, f"a standby's {s.standby.phase} must end by time alone"
        assert self.finished == (s.phase is Phase.STOPPED)
        if s.phase in {Phase.KILLING, Phase.STOPPING, Phase.DRAINING, Phase.BACKOFF, Phase.BROKEN, Phase.STARTING}:
            due = next_due(s)
            assert due is not None, f"{s.phase} must end by time alone"
        return self

    def happenings(self) -> list[tuple[float, Input]]:
        """Everything that the environment may do next, with the time it takes."""
        launch, due = self.s.launch.number, next_due(self.s)
        found: list[tuple[float, Input]] = [(3.0, Tick(slept=True)), (61.0, Tick())]
        if due is not None:
            found.append((max(0.0, due - self.now), Tick()))
        if self.standby:
            found += self._happenings_of_standby()
        if self.s.policy.standby:
            return found + (self._few_happenings() if self.live else [])
        if self.live:
            found += [
                (0.0, Exited(launch, Exit(status=1))),
                (0.0, Exited(launch, Exit(status=2))),
                (0.0, Exited(launch, Exit(signal=9, out_of_memory=True))),
                (0.0, Suspected(launch, "x")),
                (0.0, TrialNoted(launch, under_way=True)),
                (0.0, HealthMissed(launch, "x")),
            ]
            found += [(0.0, ProgressSeen(launch, e)) for e in (HELLO, OTHER_WIRE, LOADED, WARM, FATAL, MENDABLE)]
            healths = (
                Health(True, "ok", Work()),
                Health(True, "ok", SERVED),
                Health(True, "ok", STUCK),
                Health(True, "loading", None),
                Health(True, "ok", Work(), 1e6),
                Health(False, "ok"),
            )
            found += [(0.0, HealthSeen(launch, health)) for health in healths]
            found += [(31.0, HealthSeen(launch, Health(True, "ok", STUCK)))]
        if self.live and not self.reported:
            found += [
                (0.0, Spawned(launch, 7)),
                (0.0, SpawnFailed(launch, "x", permanent=True)),
                (0.0, SpawnFailed(launch, "x", permanent=False)),
            ]
        return found

    def _few_happenings(self) -> list[tuple[float, Input]]:
        """One of each kind: beside a standby, all of them would be too many to search."""
        launch = self.s.launch.number
        found: list[tuple[float, Input]] = [
            (0.0, Exited(launch, Exit(status=1))),
            (0.0, Suspected(launch, "x")),
            (0.0, HealthMissed(launch, "x")),
            (0.0, HealthSeen(launch, Health(True, "ok", SERVED))),
            (0.0, ProgressSeen(launch, HELLO)),
            (0.0, ProgressSeen(launch, WARM)),
        ]
        return found if self.reported else [*found, (0.0, Spawned(launch, 7))]

    def _happenings_of_standby(self) -> list[tuple[float, Input]]:
        launch = self.standby
        found: list[tuple[float, Input]] = [
            (0.0, Exited(launch, Exit(status=1))),
            (0.0, HealthMissed(launch, "x")),
            (0.0, HealthSeen(launch, Health(True, "ok", Work()))),
        ]
        found += [(0.0, ProgressSeen(launch, event)) for event in (OTHER_WIRE, WARM)]
        if not self.standby_reported:
            found += [(0.0, Spawned(launch, 8)), (0.0, SpawnFailed(launch, "x", permanent=False))]
        return found

    def after(self, wait: float, input_: Input) -> World:
        """The world when ``input_`` comes ``wait`` seconds later."""
        return replace(self, now=self.now + wait).give(input_)


def new_world(policy: Policy) -> World:
    return World(initial(policy))
