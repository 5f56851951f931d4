"""When to try again, when to stop trying, how long to wait. Pure; times in seconds, handed in.

All times are of a monotonic clock that counts only while the supervisor runs
(``AwakeClock``), so a sleeping machine ages nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from preflight.wire import Stage
from supervisor.stages import Stages

#: Being ready this long, a launch counts as stable.
STABLE_S = 60.0

#: A process is there within milliseconds, or something is wrong with the machine.
SPAWN_S = 10.0

#: Graceful end of a launch that is to be replaced or unloaded; then it is killed, and again.
TERMINATE_S = 2.0
KILL_AGAIN_S = 1.0

#: The same for a launch whose supervisor has to be gone within 2 s.
STOP_TERMINATE_S = 0.6

#: A standby is started so long after the launch that serves became ready: callers that waited come first.
STANDBY_AFTER_S = 0.5

#: After a machine's sleep, silence and age prove nothing for this long.
GRACE_S = 10.0

BACKOFF_FIRST_S = 0.25
BACKOFF_MOST_S = 30.0

#: Each crash adds 1 to a score that halves in this time.
SCORE_HALF_LIFE_S = 120.0
SCORE_OPENS = 5.0
#: Slow crash loops escape the score; they do not escape the hour.
HOUR_S = 3600.0
CRASHES_AN_HOUR = 8
#: Waits before the half-open tries; the last repeats.
PROBES_S = (60.0, 120.0, 300.0, 600.0)

#: Crashes an hour that a call on trial may bring about without feeding the breaker.
EXCUSED_AN_HOUR = 24

#: Smallest share of the batch budget after launches that ran out of memory.
LEAST_BATCH_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Policy:
    """What a user may set. Seconds and MB; None: the default or no limit."""

    auto_restart: bool = True
    restart_delay_s: float = 0.0
    #: Replaces every stage's allowance.
    startup_timeout_s: float | None = None
    idle_unload_s: float | None = None
    memory_limit_mb: float | None = None
    #: Keep a second, loaded sidecar. Without ``auto_restart`` it would have nothing to take over.
    standby: bool = False


def backoff_s(failures: int, jitter: float, floor: float) -> float:
    """Wait before the next launch.

    ``failures``: launches failed since the last stable minute, this one
    included; 0 when the launch that just failed had been stable, which costs
    no wait. ``jitter`` in [0, 1) takes away up to half.
    """
    if failures <= 0:
        return floor
    full: float = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return max(floor, full * (1.0 - jitter / 2.0))


@dataclass(frozen=True, slots=True)
class Breaker:
    """Counts crashes and opens when there are too many; ``probes`` is None while closed.

    It closes by ``cleared`` alone. A first good health answer does not call
    it: a loop that serves for a second each time must still open it.
    """

    score: float = 0.0
    scored_at: float = 0.0
    crashes: tuple[float, ...] = ()
    #: Half-open tries that failed since it opened.
    probes: int | None = None

    @property
    def is_open(self) -> bool:
        """Open or half-open: only probes are launched."""
        return self.probes is not None

    @property
    def probe_after_s(self) -> float:
        """Wait before the next half-open try; the breaker is open."""
        return PROBES_S[min(self.probes or 0, len(PROBES_S) - 1)]

    def crashed(self, now: float) -> Breaker:
        """Count one crash at ``now``."""
        score = self.score * 0.5 ** ((now - self.scored_at) / SCORE_HALF_LIFE_S) + 1.0
        recent = (*(at for at in self.crashes if now - at < HOUR_S), now)[-CRASHES_AN_HOUR:]
        after = replace(self, score=score, scored_at=now, crashes=recent)
        if self.probes is not None:
            return replace(after, probes=self.probes + 1)
        if score >= SCORE_OPENS or len(recent) >= CRASHES_AN_HOUR:
            return replace(after, probes=0)
        return after

    def forced_open(self) -> Breaker:
        """Open it whatever the count: for failures that a quick restart cannot mend."""
        return self if self.is_open else replace(self, probes=0)

    def cleared(self) -> Breaker:
        """Close it and forget: after a stable minute and one inference for a caller."""
        return Breaker()


def excuse(excused: tuple[float, ...], now: float) -> tuple[float, ...] | None:
    """Count one more excused crash at ``now``; None when the hour has had its share."""
    recent = tuple(at for at in excused if now - at < HOUR_S)
    return (*recent, now) if len(recent) < EXCUSED_AN_HOUR else None


def allowance_s(stages: Stages, policy: Policy) -> float:
    """Longest wait for the next structured progress of a start-up.

    Measured starts: hello 0.1-0.5 s, load 0.3-9 s, warm-up under 1 s. The
    allowances are for a cold disk, a virus scanner and a far slower machine.
    """
    if policy.startup_timeout_s is not None:
        return policy.startup_timeout_s
    if stages.is_warm:
        return 30.0
    if stages.is_converting:
        return 900.0
    return _ALLOWANCES_S[stages.current]


_ALLOWANCES_S = {
    Stage.SIDECAR_SPAWN: 60.0,
    Stage.MODEL_RESOLVE: 300.0,  # also the load of a model that was on disk
    Stage.DOWNLOADING: 300.0,  # also the load after it
    Stage.SIDECAR_READY: 120.0,
    Stage.WARMUP: 120.0,
}


class Moment(NamedTuple):
    """What the awake clock shows."""

    now: float
    #: More time passed than the supervisor can have spent running.
    slept: bool


class AwakeClock:
    """Counts the seconds that the supervisor itself ran through.

    The raw monotonic clock stands still while the machine sleeps on Linux and
    macOS and runs on in Windows; wake-up events get lost. So own steps are
    counted, none for more than ``longest_step_s``, and a longer one means sleep
    (or that we were not scheduled, which deserves the same grace).
    """

    def __init__(self, raw: float, longest_step_s: float = 3.0) -> None:
        self._raw = raw
        self._longest = longest_step_s
        self._now = 0.0

    def peek(self, raw: float) -> float:
        """What ``advance`` would show, without a step."""
        return self._now + min(max(0.0, raw - self._raw), self._longest)

    def advance(self, raw: float) -> Moment:
        """Take the raw clock's time; call it at least once in ``longest_step_s``."""
        step = max(0.0, raw - self._raw)
        self._raw = raw
        self._now += min(step, self._longest)
        return Moment(self._now, step > self._longest)
